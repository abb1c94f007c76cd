"""What the references for memorization cost: similarity of windows, context mixture, copy oracle.

Similarity first: every window of 1,000 bases of a simulated genome against the rest of it, by exact
containment and longest match on other chromosomes, by containment from one in eight k-mers, and by
the nearest of all other windows. The genome is random, with copies of a few families, changed at
one base in twenty, on either strand; before a time is reported, windows with a copy and windows
without one have to be told apart. Then, given a genome, the context mixture and the copy oracle on
the card ``heldout_memory``, with what they score.

Every row is a process of its own, on one thread: CPU time, elapsed time, and the most memory that
the process ever had, its imports included.

    python benchmarks/speed/memorization.py --genome sacCer3.fa.gz --test chrIV chrX \
        --out reports/speed/memorization.md
"""

import argparse
import importlib.metadata
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lightning_dna.genome.alphabet import Codes, reverse_complement
from lightning_dna.genome.kmers import sketch
from lightning_dna.genome.similarity import best_matches
from lightning_dna.genome.similarity_windows import similarity_between_chromosomes

SIZES = (12, 25, 50, 100)  # million bases
WINDOW = 1000
K = 21
SCALED = 8
CHROMOSOME = 3_000_000
COPIED = 0.1  # share of the windows that are a copy of a family
CHANGED = 0.05
COPIES = 20  # of each family
HEAD = ("what", "million bases", "CPU s", "elapsed s", "peak MiB", "goal")
Shares = npt.NDArray[np.float64]


def simulated(million: int) -> tuple[list[Codes], npt.NDArray[np.bool_]]:
    """Return chromosomes, and which of their windows hold a copy of a family."""
    rng = np.random.default_rng(million)
    windows = million * 1_000_000 // WINDOW
    genome = rng.integers(0, 4, (windows, WINDOW), dtype=np.uint8)
    planted = np.zeros(windows, dtype=np.bool_)
    planted[rng.choice(windows, int(COPIED * windows), replace=False)] = True
    families = rng.integers(0, 4, (planted.sum() // COPIES, WINDOW), dtype=np.uint8)
    for number, window in enumerate(np.flatnonzero(planted).tolist()):
        copy = families[number % len(families)]
        changes = (rng.random(WINDOW) < CHANGED) * rng.integers(1, 4, WINDOW, dtype=np.uint8)
        copy = ((copy + changes) % 4).astype(np.uint8)
        genome[window] = reverse_complement(copy) if number % 2 else copy
    step = CHROMOSOME // WINDOW
    return [genome[at : at + step].ravel() for at in range(0, windows, step)], planted


def exact(chromosomes: Sequence[Codes]) -> Shares:
    """Look at every k-mer, and for the longest match, on other chromosomes."""
    return similarity_between_chromosomes(chromosomes, WINDOW, k=K).containment


def sampled(chromosomes: Sequence[Codes]) -> Shares:
    """Look at one in eight k-mers on other chromosomes."""
    found = similarity_between_chromosomes(chromosomes, WINDOW, k=K, scaled=SCALED, matches=False)
    return found.containment


def nearest(chromosomes: Sequence[Codes]) -> Shares:
    """Find the nearest other window of the whole genome, by one in eight k-mers."""
    windows = [one[at : at + WINDOW] for one in chromosomes for at in range(0, len(one), WINDOW)]
    sketches = sketch(windows, k=K, scaled=SCALED)
    return best_matches(sketches, sketches, other=True).containment


SIMILARITY: dict[str, tuple[str, Callable[[Sequence[Codes]], Shares]]] = {
    "exact": ("containment and longest match on other chromosomes, every k-mer", exact),
    "sampled": ("containment on other chromosomes, one in 8 k-mers", sampled),
    "nearest": ("nearest other window, one in 8 k-mers", nearest),
}


def measure_similarity(name: str, million: int) -> dict[str, float]:
    """Time one way on one size, and check that it finds what was planted."""
    chromosomes, planted = simulated(million)
    before, began = time.process_time(), time.perf_counter()
    found = np.nan_to_num(SIMILARITY[name][1](chromosomes))
    spent = {"cpu": time.process_time() - before, "elapsed": time.perf_counter() - began}
    # Copies of one source share (0.95 x 0.95)^21 = 12 % of their k-mers, those of a family more.
    if np.median(found[planted]) < 0.05 or np.quantile(found[~planted], 0.99) > 0.01:
        raise SystemExit(f"{name}: copies were not told from the rest")
    return spent


def measure_reference(name: str, genome_path: str, test: list[str]) -> dict[str, float]:
    """Time one reference on held-out and training windows of a genome."""
    from lightning_dna.genome.fasta import Genome
    from lightning_dna.genome.splits import ChromosomeSplit
    from lightning_dna.tasks.baselines.context_mixture import score_context_mixture
    from lightning_dna.tasks.baselines.copy_oracle import score_copy_oracle
    from lightning_dna.tasks.card import load_card
    from lightning_dna.tasks.heldout_mlm import HeldoutMLM

    genome = Genome.open(genome_path)
    split = ChromosomeSplit.by_names(genome.lengths, test=test)
    task = HeldoutMLM(load_card("heldout_memory"), genome, split, 512)
    score = {"context_mixture": score_context_mixture, "copy_oracle": score_copy_oracle}[name]
    before, began = time.process_time(), time.perf_counter()
    frame = score(task).frame
    spent = {"cpu": time.process_time() - before, "elapsed": time.perf_counter() - began}
    sums = frame.groupby("part")[["masked", "correct", "nats"]].sum()
    for part in ("test", "train"):
        spent[f"{part}_accuracy"] = float(sums["correct"][part] / sums["masked"][part])
        spent[f"{part}_bits"] = float(sums["nats"][part] / sums["masked"][part] / np.log(2))
    return spent | {"bases": float(sum(genome.lengths[chrom] for chrom in split.train))}


def in_child(*arguments: str) -> dict[str, float]:
    """Run one measurement in a process of its own, on one thread."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    found = subprocess.run(  # noqa: S603 - this very program
        [sys.executable, __file__, "--measure", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        env=os.environ | threads,
    )
    result: dict[str, float] = json.loads(found.stdout)
    return result


def row(what: str, million: float, spent: dict[str, float], goal: str) -> str:
    """Write one row of the table."""
    cells = (what, f"{million:.3g}", f"{spent['cpu']:.0f}", f"{spent['elapsed']:.0f}")
    return f"| {' | '.join([*cells, format(spent['peak'], '.0f'), goal])} |"


def child(arguments: list[str]) -> None:
    """Measure what the parent asks for, and print it as JSON."""
    name, *rest = arguments
    if name in SIMILARITY:
        spent = measure_similarity(name, int(rest[0]))
    else:
        spent = measure_reference(name, rest[0], rest[1:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(spent | {"peak": peak}))


def main() -> None:
    """Measure, print and, if asked to, write."""
    parser = argparse.ArgumentParser(description="References for memorization")
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--genome", help="FASTA file for the context mixture and the copy oracle")
    parser.add_argument("--test", nargs="*", default=["chrIV", "chrX"], help="its test chromosomes")
    parser.add_argument("--out", type=Path, help="Markdown file to write the table to")
    parser.add_argument("--measure", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        child(options.measure)
        return
    lines = [
        "# Memorization: similarity and references",
        "",
        "    python benchmarks/speed/memorization.py --genome sacCer3.softmask.fa.gz"
        " --out reports/speed/memorization.md",
        "",
        f"Similarity of every {WINDOW:,}-base window of a simulated genome to the rest of it, k ="
        f" {K}; references on windows of 512 bases, 15 % hidden. One process a row, one thread;"
        " peak memory with all imports.",
        "",
        f"Python {sys.version.split()[0]}, numpy {importlib.metadata.version('numpy')}. Load"
        f" average: {os.getloadavg()[0]:.1f}.",
        "",
        f"| {' | '.join(HEAD)} |",
        "|" + "---|" * len(HEAD),
    ]
    print("\n".join(lines), flush=True)
    for million in options.sizes:
        for name, (what, _) in SIMILARITY.items():
            goal = "60 s, 1024 MiB" if million <= 12 else ""
            lines.append(row(what, million, in_child(name, str(million)), goal))
            print(lines[-1], flush=True)
    if options.genome:
        scores = []
        for name in ("context_mixture", "copy_oracle"):
            spent = in_child(name, options.genome, *options.test)
            lines.append(row(f"`{name}`", spent["bases"] / 1e6, spent, "minutes, 1024 MiB"))
            print(lines[-1], flush=True)
            scores.append(
                f"`{name}`: held-out accuracy {spent['test_accuracy']:.2%},"
                f" {spent['test_bits']:.4f} bits per base; training windows, without their own"
                f" place, {spent['train_accuracy']:.2%}, {spent['train_bits']:.4f}."
            )
        lines += ["", *scores]
        print("\n".join(scores), flush=True)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

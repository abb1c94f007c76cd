"""Byte-pair training and encoding against the library ``tokenizers``, on real DNA.

    LIGHTNING_DNA_DATA=FOLDER python benchmarks/speed/byte_pair.py --out reports/speed/tokenizers.md

Encoding: both programs in one process, turn by turn, medians of CPU time; the ids are compared.
Training: each run in a process of its own, CPU time and growth of the peak memory over what the
process holds once everything is loaded and compiled; the merges are compared. Beside them
``sentencepiece``, where it is installed, which solves another problem: pieces of at most 16 bases
and ties of its own. Sizes beyond the real DNA are filled up with copies of it, 2 % of their bases
drawn anew. The file is not called after the library, which every other program of this folder would
then import in its place.
"""

import argparse
import gzip
import importlib.metadata
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np

FILES = (
    "human-windows/hg19.chr3_42000000_44000000.fa.gz",
    "human-windows/hg19.chr4_103000000_105000000.fa.gz",
    "human-windows/hg19.chr5_124000000_126000000.fa.gz",
    "human-windows/hg38.chr9_1_1000000.dna_sm.fa.gz",
    "human-windows/b37.chr20_1000001_2000000.fa.gz",
    "saccer3/sacCer3.softmask.fa.gz",
)
VOCABULARY = 4096
LENGTHS = (1_000, 10_000, 100_000, 1_000_000)

# One training in a process: prints CPU seconds, growth of the peak memory in MB, and the merges.
TRAIN = """
import json, sys, time
from pathlib import Path
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
import numpy as np
from lightning_dna.genome.alphabet import encode
from lightning_dna.tokenizers.bpe_training import Goal, train_exact, train_streamed

def megabytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

def lines_of(text):
    rng, at = np.random.default_rng(0), 0
    while at < len(text):
        length = int(rng.integers(1_000, 10_000))
        yield from filter(None, text[at : at + length].split("N"))
        at += length

program, path, size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
goal = Goal(vocab_size=size)

def library(text):
    tokenizer = Tokenizer(BPE())
    trainer = BpeTrainer(vocab_size=size, min_frequency=2, special_tokens=list(goal.special),
                         initial_alphabet=list("ACGT"), show_progress=False)
    tokenizer.train_from_iterator(lines_of(text), trainer)
    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]

def pieces(text):
    import io
    import sentencepiece
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines_of(text), model_writer=model, model_type="bpe", vocab_size=size,
        max_sentence_length=20_000, add_dummy_prefix=False, num_threads=1, minloglevel=2,
        normalization_rule_name="identity", hard_vocab_limit=False)
    return []

def ours(text):
    words = [encode(line) for line in lines_of(text)]
    corpus = lambda: words
    return (train_exact(words, goal) if program == "exact" else train_streamed(corpus, goal)).merges

train = {"tokenizers": library, "sentencepiece": pieces}.get(program, ours)
small = "".join(np.random.default_rng(0).choice([*"ACGT"], 4000))
size, wanted = 150, size
goal = Goal(vocab_size=size)
train(small)
size, goal = wanted, Goal(vocab_size=wanted)
text = path.read_text()
Path("/proc/self/clear_refs").write_text("5")
before, start = megabytes("VmRSS"), time.process_time()
merges = train(text)
seconds = time.process_time() - start
print(json.dumps([seconds, megabytes("VmHWM") - before, list(merges)]))
"""


def corpus(folder: Path) -> str:
    """Return the letters of all files, in upper case."""
    parts = []
    for name in FILES:
        with gzip.open(folder / "data" / name, "rt") as file:
            parts += [line.strip().upper() for line in file if not line.startswith(">")]
    return "".join(parts)


def enough(text: str, bases: int) -> str:
    """Return some of the text, or all of it and copies in which 2 % of the bases are others."""
    rng = np.random.default_rng(0)
    letters = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    parts, size = [text], len(text)
    while size < bases:
        copy = letters.copy()
        changed = np.flatnonzero(rng.random(len(copy)) < 0.02)
        copy[changed] = rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), len(changed))
        parts.append(copy.tobytes().decode("ascii"))
        size += len(copy)
    return "".join(parts)[:bases]


def seconds_of(run: Callable[[], object]) -> float:
    """Return the CPU seconds of a call."""
    before = time.process_time()
    run()
    return time.process_time() - before


def head(*names: str) -> Iterator[str]:
    """Yield the head of a table."""
    yield f"| {' | '.join(names)} |"
    yield "|" + "---|" * len(names)


def encoding_rows(folder: Path, text: str, repeats: int) -> Iterator[str]:
    """Measure encoding with DNABERT-2's vocabulary at each length."""
    from tokenizers import Tokenizer

    from lightning_dna.genome.alphabet import encode
    from lightning_dna.tokenizers.bpe import BPETokenizer

    path = folder / "data" / "dnabert2-tokenizer" / "tokenizer.json"
    library, tokenizer = Tokenizer.from_file(str(path)), BPETokenizer.from_file(path)
    plain = BPETokenizer.from_file(path, backend="python")
    plain.encode("ACGT")  # builds its tables
    yield from head(
        *("bases", "sequences", "tokenizers MB/s", "ours MB/s", "ratio", "codes MB/s"),
        *("without numba MB/s", "ids that differ", "goal"),
    )
    for length in LENGTHS:
        number = max(1, 500_000 // length)
        pieces = [text[at * length : (at + 1) * length] for at in range(number)]
        codes = [encode(piece) for piece in pieces]
        programs: dict[str, Callable[[], object]] = {
            "library": lambda p=pieces: [
                library.encode(x, add_special_tokens=False).ids for x in p
            ],
            "ours": lambda p=pieces: [tokenizer.encode(x) for x in p],
            "codes": lambda c=codes: [tokenizer.encode_codes(x) for x in c],
        }
        spent: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(repeats + 1):
            for name, run in programs.items():
                spent[name].append(seconds_of(run))
        without = seconds_of(lambda p=pieces: [plain.encode(x) for x in p])
        wrong = sum(
            int(
                (
                    np.array(library.encode(x, add_special_tokens=False).ids) != tokenizer.encode(x)
                ).sum()
            )
            for x in pieces
        )
        size = number * length / 1e6
        median = {name: statistics.median(times[1:]) for name, times in spent.items()}
        ratio = median["library"] / median["ours"]
        cells = [f"{length:,}", f"{number:,}", f"{size / median['library']:.2f}"]
        cells += [f"{size / median['ours']:.1f}", f"{ratio:.1f}x", f"{size / median['codes']:.1f}"]
        yield f"| {' | '.join([*cells, f'{size / without:.2f}', str(wrong), '4x, 10x'])} |"


def training_rows(text: str, sizes: list[int]) -> Iterator[str]:
    """Measure training at each size, every program in a process of its own."""
    yield from head(
        *("MB", "tokenizers CPU s, MB", "exact CPU s, MB", "CPU ratio", "memory ratio"),
        *("count-stream CPU s, MB", "CPU ratio", "memory ratio", "merges that differ"),
        *("goal CPU, memory", "sentencepiece CPU s, MB"),
    )
    programs = ["exact", "count-stream", "tokenizers"]
    programs += ["sentencepiece"] if importlib.util.find_spec("sentencepiece") else []
    for size in sizes:
        found = {}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "corpus.txt")
            path.write_text(enough(text, size * 1_000_000))
            for program in programs:
                command = [sys.executable, "-c", TRAIN, program, str(path), str(VOCABULARY)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
                found[program] = json.loads(done.stdout)
        theirs, exact, stream = (found[n] for n in ("tokenizers", "exact", "count-stream"))
        wrong = sum(
            a != b for ours in (exact[2], stream[2]) for a, b in zip(theirs[2], ours, strict=True)
        )
        cells = [str(size), f"{theirs[0]:.1f}, {theirs[1]:.0f}", f"{exact[0]:.2f}, {exact[1]:.0f}"]
        cells += [f"{theirs[0] / exact[0]:.1f}x", f"{theirs[1] / max(exact[1], 1):.1f}x"]
        cells += [f"{stream[0]:.2f}, {stream[1]:.0f}", f"{theirs[0] / stream[0]:.1f}x"]
        cells += [f"{theirs[1] / max(stream[1], 1):.1f}x", f"{wrong} of {2 * len(theirs[2]):,}"]
        cells.append("15x, 8x; 30x, 15x")
        pieces = found.get("sentencepiece")
        cells.append("not measured" if pieces is None else f"{pieces[0]:.1f}, {pieces[1]:.0f}")
        yield f"| {' | '.join(cells)} |"


def described(sizes: list[int]) -> list[str]:
    """Return the lines above the tables."""
    packages = ("numpy", "numba", "tokenizers")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return [
        "# Byte-pair encoding",
        "",
        "    python benchmarks/speed/byte_pair.py --out reports/speed/tokenizers.md",
        "",
        f"Real DNA (human windows and yeast, upper case). Training: {VOCABULARY:,} tokens, words of"
        f" 1 to 10 kb parted at Ns, {', '.join(map(str, sizes))} MB; growth of the peak memory over"
        " the loaded process, text included in neither. Encoding: DNABERT-2's vocabulary, strings"
        " in, ids out; `codes`: base codes in, with offsets.",
        "",
        f"Python {sys.version.split()[0]}, {versions}. Load average: {os.getloadavg()[0]:.1f}.",
    ]


def main() -> None:
    """Measure, print and, if asked to, write."""
    parser = argparse.ArgumentParser(description="Byte-pair training and encoding")
    parser.add_argument("--sizes", type=int, nargs="*", default=[1, 5, 20], help="MB to train on")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, help="Markdown file to write the tables to")
    options = parser.parse_args()
    folder = Path(os.environ.get("LIGHTNING_DNA_DATA", "."))
    if not (folder / "data" / FILES[0]).is_file():
        parser.error("set LIGHTNING_DNA_DATA to the folder that holds data/ with the real DNA")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    text = corpus(folder)
    lines = described(options.sizes)
    print("\n".join(lines), flush=True)
    for title, rows in (
        ("Encoding", encoding_rows(folder, text, options.repeats)),
        ("Training", training_rows(text, options.sizes)),
    ):
        if title == "Training" and not options.sizes:
            continue
        for line in chain(("", f"## {title}", ""), rows):
            lines.append(line)
            print(line, flush=True)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

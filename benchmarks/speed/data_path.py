"""How fast windows of a FASTA file become training batches, beside the usual Python ways.

Ours is the real path of a training run: `GenomeDataModule`, its batch sampler and its loader in the
training process. The peers do the same work on the same windows and strands:

tokenizer: ``pyfaidx`` slices to ``str``, reverse complement letter by letter, a slow character
    tokenizer on ``transformers.PreTrainedTokenizer``, one tensor per window, stacked. This is how
    HyenaDNA's data set goes about it.
list: ``pyfaidx`` raw slices, ``str.translate``, a dictionary look-up in a list comprehension.
array: ``pyfaidx`` raw slices, a numpy look-up table, no Python object per base.

All hand over int64 ids and int64 targets: the following base, or masked bases. The peers' masks
follow the recipe of the masked-LM collator of ``transformers``, in whole-tensor torch operations.
Before anything is timed, the ids of every peer are compared with ours.

Time is CPU time of the process on one thread. Ways take turns, so that a ratio compares neighbours.

    python benchmarks/speed/data_path.py --out reports/speed/data_path.md
"""

import argparse
import importlib.metadata
import itertools
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyfaidx
import torch
from torch import Tensor

from lightning_dna.data.config import DataConfig
from lightning_dna.data.length_schedule import LengthScheduleConfig
from lightning_dna.data.module import GenomeDataModule
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import SplitSpec
from lightning_dna.tokenizers.character import CharacterTokenizer

COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A", "N": "N"}
TABLE = str.maketrans(COMPLEMENT)
IDS = {token: number for number, token in enumerate(CharacterTokenizer.tokens)}
MASK, VOCABULARY, IGNORE = CharacterTokenizer.mask_id, CharacterTokenizer.vocab_size, -100
MASK_FRACTION = 0.15
SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "pad", "mask")}
INSTALL = "pip install transformers -c constraints.txt"


@dataclass(frozen=True)
class Window:
    """One window and the strand it is read on."""

    chrom: str
    start: int
    end: int
    flipped: bool


Encode = Callable[[Window], Tensor]


def write_fasta(path: Path, megabases: int, seed: int) -> None:
    """Write four chromosomes of random bases with 1 % N in runs, 60 letters a line."""
    generator = np.random.default_rng(seed)
    with path.open("wb") as file:
        for chrom in range(4):
            letters = generator.choice(np.frombuffer(b"ACGT", np.uint8), megabases * 250_000)
            for start in range(5_000, len(letters), 50_000):
                letters[start : start + 500] = ord("N")
            file.write(b">chr%d\n" % (chrom + 1))
            for start in range(0, len(letters), 60):
                file.write(letters[start : start + 60].tobytes() + b"\n")


def tokenizer_peer(path: Path) -> Encode:
    """Return the way of HyenaDNA's data set; ImportError without transformers."""
    from transformers import PreTrainedTokenizer

    class LetterTokenizer(PreTrainedTokenizer):
        """A slow tokenizer with one token per letter."""

        def __init__(self) -> None:
            super().__init__(**SPECIAL)

        @property
        def vocab_size(self) -> int:
            return len(IDS)

        def get_vocab(self) -> dict[str, int]:
            return dict(IDS)

        def _tokenize(self, text: str, **_: Any) -> list[str]:
            return list(text)

        def _convert_token_to_id(self, token: str) -> int:
            return IDS.get(token, IDS["[UNK]"])

        def _convert_id_to_token(self, index: int) -> str:
            return CharacterTokenizer.tokens[index]

    fasta, tokenizer = pyfaidx.Fasta(str(path)), LetterTokenizer()

    def encode(window: Window) -> Tensor:
        letters = str(fasta[window.chrom][window.start : window.end])
        if window.flipped:
            letters = "".join(COMPLEMENT[letter] for letter in reversed(letters))
        return torch.LongTensor(tokenizer(letters, add_special_tokens=False)["input_ids"])

    return encode


def list_peer(path: Path) -> Encode:
    """Return plain Python at its best: one dictionary look-up per base and nothing else."""
    fasta = pyfaidx.Fasta(str(path), as_raw=True)

    def encode(window: Window) -> Tensor:
        letters = fasta[window.chrom][window.start : window.end]
        if window.flipped:
            letters = letters.translate(TABLE)[::-1]
        return torch.tensor([IDS[letter] for letter in letters])

    return encode


def array_peer(path: Path) -> Encode:
    """Return letters to ids by a table over bytes."""
    fasta = pyfaidx.Fasta(str(path), as_raw=True)
    forward, turned = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for letter, complement in COMPLEMENT.items():
        forward[ord(letter)], turned[ord(letter)] = IDS[letter], IDS[complement]

    def encode(window: Window) -> Tensor:
        text = fasta[window.chrom][window.start : window.end].encode("ascii")
        raw = np.frombuffer(text, np.uint8)
        return torch.from_numpy(turned[raw[::-1]] if window.flipped else forward[raw])

    return encode


def hide(ids: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose 15 % of the positions; of these 80 % show the mask, 10 % a random token."""

    def chance(probability: float) -> Tensor:
        return torch.full(ids.shape, probability).bernoulli(generator=generator).bool()

    chosen = chance(MASK_FRACTION)
    targets = ids.masked_fill(~chosen, IGNORE)
    masked = chosen & chance(0.8)
    swapped = chosen & ~masked & chance(0.5)
    tokens = torch.randint(VOCABULARY, ids.shape, generator=generator)
    inputs = ids.masked_fill(masked, MASK)
    inputs[swapped] = tokens[swapped]
    return inputs, targets


def following(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ids and, as targets, the id after each."""
    targets = torch.full_like(ids, IGNORE)
    targets[:, :-1] = ids[:, 1:]
    return ids, targets


def peer_batches(
    encode: Encode, steps: list[list[Window]], masked: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of the given steps, over and over."""
    generator = torch.Generator().manual_seed(0)
    for windows in itertools.cycle(steps):
        ids = torch.stack([encode(window) for window in windows])
        yield hide(ids, generator) if masked else following(ids)


def our_module(genome: Genome, length: int, tokens: int, masked: bool) -> GenomeDataModule:
    """Return the data module of a training run."""
    return GenomeDataModule(
        DataConfig(
            length=length,
            reverse_complement=True,
            mask_fraction=MASK_FRACTION,
            split=SplitSpec(valid=(), test=()),
        ),
        LengthScheduleConfig(),
        tokens_per_step=max(1, tokens // length) * length,
        total_steps=10**9,
        objective="masked" if masked else "next_token",
        seed=0,
        genome=genome,
    )


def windows_of(module: GenomeDataModule, steps: int) -> list[list[Window]]:
    """Return the windows of our first steps, for the peers to read."""
    chroms = module.windows.chroms
    return [
        [
            Window(chroms[chrom], start, end, flipped)
            for chrom, start, end, flipped in zip(
                *(column.tolist() for column in module.sampler.rows(step)), strict=True
            )
        ]
        for step in range(steps)
    ]


def check(module: GenomeDataModule, peers: dict[str, Encode], steps: list[list[Window]]) -> None:
    """Stop unless every peer reads the ids that we read."""
    for batch, windows in zip(module.train_dataloader(), steps[:3], strict=False):
        for name, encode in peers.items():
            ids = torch.stack([encode(window) for window in windows])
            assert torch.equal(ids, batch.input_ids), f"{name} reads other bases than we do"


def rate(batches: Iterator[Any], seconds: float) -> float:
    """Return batches per second of CPU time."""
    count, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        next(batches)
        count += 1
    return count / spent


def measure(
    genome: Genome, peers: dict[str, Encode], length: int, masked: bool, options: argparse.Namespace
) -> dict[str, list[float]]:
    """Return windows per second of each way, once for each repeat."""
    steps = windows_of(our_module(genome, length, options.tokens, False), 64)
    check(our_module(genome, length, options.tokens, False), peers, steps)
    ways: dict[str, Iterator[Any]] = {
        name: peer_batches(encode, steps, masked) for name, encode in peers.items()
    }
    ways["ours"] = iter(our_module(genome, length, options.tokens, masked).train_dataloader())
    for batches in ways.values():
        next(batches)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(options.repeats):
        names = list(ways) if repeat % 2 else list(ways)[::-1]
        for name in names:
            rates[name].append(len(steps[0]) * rate(ways[name], options.seconds))
    return rates


def row(length: int, masked: bool, rates: dict[str, list[float]]) -> list[str]:
    """Return one line of the table: medians, and ratios taken within each repeat."""
    ours = statistics.median(rates["ours"])
    cells = [f"{length:,}", "masked" if masked else "next base", f"{ours:,.0f}"]
    cells.append(f"{ours * length / 1e6:,.0f}")
    for name, values in rates.items():
        if name != "ours":
            ratios = [a / b for a, b in zip(rates["ours"], values, strict=True)]
            cells.append(f"{statistics.median(values):,.0f}")
            cells.append(
                f"{statistics.median(ratios):,.1f}x ({min(ratios):,.1f}-{max(ratios):,.1f})"
            )
    return cells


def described(peers: dict[str, Encode], options: argparse.Namespace) -> list[str]:
    """Return the lines above the table."""
    packages = ["numpy", "torch", "pyfaidx", *(["transformers"] if "tokenizer" in peers else [])]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    lines = [
        "# From FASTA to training batches",
        "",
        "    python benchmarks/speed/data_path.py --out reports/speed/data_path.md",
        "",
        f"Windows per second of CPU time on one thread; half the windows are turned; about "
        f"{options.tokens:,} bases a batch; {options.megabases} Mb of random bases with 1 % N. "
        f"Median of {options.repeats} interleaved repeats of {options.seconds} s each; a ratio is "
        f"ours over the peer's within a repeat: median (lowest-highest). All ways read equal ids.",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, "
        f"{versions}. Load average when it started: {os.getloadavg()[0]:.1f}.",
        "",
        "- ours: `GenomeDataModule` as in training, its loader included. Its store of the FASTA "
        "file was made before the clock started, and so was the peers' index.",
        "- tokenizer: pyfaidx slices, reverse complement letter by letter, a slow character "
        "tokenizer on transformers' `PreTrainedTokenizer`, one tensor per window, stacked; the way "
        "of HyenaDNA's data set, written anew.",
        "- list: pyfaidx raw slices, `str.translate`, dictionary look-up in a list comprehension.",
        "- array: pyfaidx raw slices, numpy look-up table: the hardest peer.",
        "- next base: targets are the ids shifted by one. masked: 15 % of the bases, 80/10/10, the "
        "peers' in whole-tensor torch operations.",
        "",
    ]
    return lines if "tokenizer" in peers else [*lines, f"No tokenizer peer: `{INSTALL}`.", ""]


def main() -> None:
    """Measure, print and, if asked to, write."""
    parser = argparse.ArgumentParser(description="Windows per second from FASTA to training batch")
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1_000, 10_000, 100_000])
    parser.add_argument("--tokens", type=int, default=65_536, help="bases of a batch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="CPU time of one repeat")
    parser.add_argument("--megabases", type=int, default=24, help="size of the genome")
    parser.add_argument("--out", type=Path, help="Markdown file to write the table to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "genome.fa"
        write_fasta(path, options.megabases, seed=0)
        genome = Genome.open(path, cache_folder=Path(folder) / "cache")
        peers = {"list": list_peer(path), "array": array_peer(path)}
        try:
            peers = {"tokenizer": tokenizer_peer(path), **peers}
        except ImportError:
            print(f"transformers is missing, so is its peer: {INSTALL}", file=sys.stderr)
        heads = ["window", "targets", "ours /s", "ours Mb/s"]
        heads += [head for name in peers for head in (f"{name} /s", f"ours / {name}")]
        lines = described(peers, options)
        lines += [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
        print("\n".join(lines), flush=True)
        for length, masked in itertools.product(options.lengths, (False, True)):
            cells = row(length, masked, measure(genome, peers, length, masked, options))
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

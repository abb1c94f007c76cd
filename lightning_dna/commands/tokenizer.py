"""``lightning-dna tokenizer``: train a byte-pair vocabulary, and compare ways to train one."""

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lightning_dna.errors import ConfigError, DataError, unknown_name

if TYPE_CHECKING:
    from lightning_dna.genome.alphabet import Codes
    from lightning_dna.genome.fasta import Genome
    from lightning_dna.report.series import Mark
    from lightning_dna.tokenizers.base import Ids
    from lightning_dna.tokenizers.bpe import BPETokenizer
    from lightning_dna.tokenizers.bpe_training import Corpus, Goal, Trained

METHODS = {
    "exact": "in memory, two bytes a base",
    "count-stream": "the same merges in bounded memory, many passes",
    "iterative-vocab": "grown split by split; depends on their order",
    "merge-by-vote": "each split alone, tokens by votes",
    "subsample": "exact on windows drawn at random",
}
_BY_SPLIT = ("iterative-vocab", "merge-by-vote")
EPILOG = """\
Examples:
  lightning-dna tokenizer train genome.fa --hold-out chrIV --out tokenizer.json
  lightning-dna tokenizer train a.fa b.fa --method count-stream --vocab-size 8192 --out big.json
  lightning-dna tokenizer compare genome.fa --hold-out chrIV --out comparison
A split is a chromosome; words end at an N. Case is folded.
"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the two commands and their options."""
    commands = verb.add_subparsers(title="commands", required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train one vocabulary and write a tokenizer.json")
    _add_corpus(train)
    listed = "; ".join(f"{name}: {meaning}" for name, meaning in METHODS.items())
    train.add_argument("--method", default="exact", metavar="NAME", help=listed)
    train.add_argument("--out", type=Path, required=True, metavar="FILE", help="tokenizer.json")
    train.add_argument("--reverse", action="store_true", help="take the splits in reverse order")
    train.set_defaults(answer=run_train)
    compare = commands.add_parser("compare", help="train by several methods, each in a process")
    _add_corpus(compare)
    compare.add_argument(
        "--methods", default=",".join(METHODS), metavar="A,B", help="default: all of them"
    )
    compare.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="tables, figure, vocabularies"
    )
    compare.set_defaults(answer=run_compare)


def _add_corpus(verb: argparse.ArgumentParser) -> None:
    """Add the options that both commands have."""
    verb.add_argument("fasta", nargs="+", help="FASTA files, plain or gzip")
    verb.add_argument("--vocab-size", type=int, default=4096, metavar="V", help="default: 4096")
    verb.add_argument("--min-frequency", type=int, default=2, metavar="N", help="default: 2")
    verb.add_argument(
        "--hold-out", default="", metavar="A,B", help="chromosomes to leave out of the training"
    )
    verb.add_argument(
        "--window",
        type=int,
        default=0,
        metavar="BASES",
        help="cut chromosomes into words of this length (default: whole runs between Ns)",
    )
    verb.add_argument(
        "--sample-bases",
        type=int,
        default=1_000_000,
        metavar="BASES",
        help="bases that subsample draws (default: 1000000)",
    )
    verb.add_argument("--seed", type=int, default=0, help="of subsample (default: 0)")


def run(options: argparse.Namespace) -> str:
    """Run the chosen command and return its text.

    Raises:
        LightningDNAError: If a file or an option cannot be used.
    """
    return str(options.answer(options))


def run_train(options: argparse.Namespace) -> str:
    """Train one vocabulary, write it, and say what it is."""
    from lightning_dna.tokenizers.bpe_training import Goal

    if options.method not in METHODS:
        raise unknown_name("method", options.method, METHODS, where="--method")
    goal = Goal(vocab_size=options.vocab_size, min_frequency=options.min_frequency)
    splits, _ = _splits(options)
    before = time.perf_counter()
    trained = _trained(options, goal, splits)
    seconds = time.perf_counter() - before
    trained.tokenizer().save(options.out)
    found = len(trained.merges) + goal.vocab_size - goal.merges
    asked = f" of {goal.vocab_size:,} asked for, as no other pair stands often enough"
    short = "" if found == goal.vocab_size else asked
    return (
        f"{options.method}: {found:,} tokens{short}; {len(splits)} chromosome(s),"
        f" {seconds:.1f} s\nwritten: {options.out}\n"
    )


def run_compare(options: argparse.Namespace) -> str:
    """Train by each method in a process of its own; write tables, figure and vocabularies."""
    from lightning_dna import atomic

    methods = [name for name in options.methods.split(",") if name]
    for name in methods:
        if name not in METHODS:
            raise unknown_name("method", name, METHODS, where="--methods")
    if not methods:
        raise ConfigError(f"--methods names none; allowed: {', '.join(METHODS)}.")
    splits, held_out = _splits(options)
    if not held_out:
        raise ConfigError("--hold-out names no chromosome to measure on; give one or more.")
    methods = ["exact", *(name for name in methods if name != "exact")]
    options.out.mkdir(parents=True, exist_ok=True)
    # All processes first: the memory of a new one counts from that of the one that starts it.
    spent = [_trained_apart(options, method) for method in methods]
    pairs = zip(methods, spent, strict=True)
    rows = [_compared(options, method, cost, splits, held_out) for method, cost in pairs]
    files = {
        "table.csv": _csv(rows),
        "table.md": _markdown(rows, options),
        "figure.svg": _figure(rows),
    }
    for name, text in files.items():
        atomic.write_text(options.out / name, text)
    written = "".join(f"written: {options.out / name}\n" for name in files)
    return f"{_markdown(rows, options)}\n{written}"


class Row(NamedTuple):
    """What one method gave.

    Attributes:
        method: Its name.
        tokens: Tokens of the vocabulary.
        peak: Largest resident memory of the process, MB, measured from outside.
        seconds: CPU seconds of the process, start and compiled code included.
        bases_per_token: On the held-out chromosomes, Ns left out.
        overlap: Tokens shared with ``exact``, part of the tokens in either.
        order: The same between the splits in order and in reverse; 1 if order cannot matter.
        bits_0: Bits per base of the held-out chromosomes under a Markov model of tokens, order 0.
        bits_1: The same of order 1.
    """

    method: str
    tokens: int
    peak: float
    seconds: float
    bases_per_token: float
    overlap: float
    order: float
    bits_0: float
    bits_1: float


def _compared(
    options: argparse.Namespace,
    method: str,
    cost: tuple[float, float],
    splits: Sequence["Corpus"],
    held_out: Sequence["Codes"],
) -> Row:
    """Measure the vocabulary of one method, trained at some cost of memory and time."""
    from lightning_dna.tokenizers.bpe import BPETokenizer

    tokenizer = BPETokenizer.from_file(options.out / f"{method}.json")
    order = 1.0
    if method in _BY_SPLIT:
        other = BPETokenizer.from_file(options.out / f"{method}-reversed.json")
        order = _shared(tokenizer, other)
    exact = BPETokenizer.from_file(options.out / "exact.json")
    bases = sum(int((codes < 4).sum()) for codes in held_out)
    runs = [_ids(tokenizer, codes) for codes in held_out]
    tokens = sum(int((ids != tokenizer.unk_id).sum()) for ids in runs)
    if not tokens:
        raise DataError("the held-out chromosomes hold no A, C, G or T; name others.")
    return Row(
        method,
        tokenizer.vocab_size,
        *cost,
        bases / tokens,
        _shared(tokenizer, exact),
        order,
        *(bits / bases for bits in _markov_bits(tokenizer, splits, runs)),
    )


def _ids(tokenizer: "BPETokenizer", codes: "Codes") -> "Ids":
    """Return the ids of a chromosome, encoded in bounded memory."""
    import numpy as np

    return np.concatenate([ids for ids, _ in tokenizer.encode_stream([codes])])


def _markov_bits(
    tokenizer: "BPETokenizer", splits: Sequence["Corpus"], runs: Sequence["Ids"]
) -> tuple[float, float]:
    """Return the bits of held-out tokens under Markov models counted on the training ones."""
    import numpy as np

    from lightning_dna.tokenizers.token_markov import TokenMarkov

    known = np.array([bool(text) and set(text) <= set("ACGT") for text in tokenizer.tokens])
    training = (_ids(tokenizer, codes) for split in splits for codes in split())
    return TokenMarkov(training, known).bits(runs)


def _trained_apart(options: argparse.Namespace, method: str) -> tuple[float, float]:
    """Train by one method, and where it matters with the splits in reverse; return the cost."""
    cost = _measured(options, method, options.out / f"{method}.json")
    if method in _BY_SPLIT:
        _measured(options, method, options.out / f"{method}-reversed.json", "--reverse")
    return cost


def _measured(
    options: argparse.Namespace, method: str, out: Path, *more: str
) -> tuple[float, float]:
    """Train in a process; return its peak memory in MB and its CPU seconds."""
    command = [sys.executable, "-m", "lightning_dna", "tokenizer", "train", *options.fasta]
    command += ["--method", method, "--out", str(out), *more]
    for name in ("vocab_size", "min_frequency", "window", "sample_bases", "seed", "hold_out"):
        command.append(f"--{name.replace('_', '-')}={getattr(options, name)}")
    process = subprocess.Popen(  # noqa: S603 - our own command, without a shell
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with process:
        message = process.stderr.read() if process.stderr else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ConfigError(f"{method}: {message.strip().removeprefix('lightning-dna: ')}")
    return _megabytes(usage), usage.ru_utime + usage.ru_stime


def _megabytes(usage: resource.struct_rusage) -> float:
    """Return the peak memory, which the kernel counts in KiB, or on macOS in bytes."""
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _shared(one: object, other: object) -> float:
    """Return the part of the tokens of either vocabulary that both hold."""
    first, second = set(getattr(one, "tokens", ())), set(getattr(other, "tokens", ()))
    return len(first & second) / len(first | second)


def _splits(options: argparse.Namespace) -> tuple[list["Corpus"], list["Codes"]]:
    """Return the chromosomes to train on, each as a corpus, and those held out."""
    from lightning_dna.genome.fasta import Genome
    from lightning_dna.genome.joined import refuse_copies

    genomes = [Genome.open(path) for path in options.fasta]
    held_out = [name for name in options.hold_out.split(",") if name]
    known = {name for genome in genomes for name in genome.names}
    for name in held_out:
        if name not in known:
            raise unknown_name("chromosome", name, known, where="--hold-out")
    refuse_copies(zip(options.fasta, genomes, strict=True), apart=held_out)
    if options.window < 0:
        raise ConfigError(f"--window {options.window}; allowed: 0 (whole runs) or more bases.")
    splits = [
        _corpus(genome, name, options.window)
        for genome in genomes
        for name in genome.names
        if name not in held_out
    ]
    if not splits:
        raise DataError("every chromosome is held out; leave one or more to train on.")
    return splits, [g.codes(name) for g in genomes for name in g.names if name in held_out]


def _corpus(genome: "Genome", chrom: str, window: int) -> "Corpus":
    """Return one chromosome as a corpus, straight from the memory-mapped store."""

    def sequences() -> Iterable["Codes"]:
        codes = genome.stored(chrom)
        step = window or len(codes)
        return (codes[at : at + step] for at in range(0, len(codes), step))

    return sequences


def _trained(options: argparse.Namespace, goal: "Goal", splits: list["Corpus"]) -> "Trained":
    """Train by the chosen method."""
    from lightning_dna.tokenizers import bpe_training

    if options.reverse:
        splits = splits[::-1]

    def corpus() -> Iterable["Codes"]:
        return (codes for split in splits for codes in split())

    match options.method:
        case "exact":
            return bpe_training.train_exact(corpus(), goal)
        case "count-stream":
            return bpe_training.train_streamed(corpus, goal)
        case "iterative-vocab":
            return bpe_training.train_iteratively(splits, goal)
        case "merge-by-vote":
            return bpe_training.train_by_vote(splits, goal)
        case _:
            return bpe_training.train_on_sample(
                corpus, goal, bases=options.sample_bases, seed=options.seed
            )


_HEADS = (
    "method",
    "tokens",
    "peak memory, MB",
    "CPU s",
    "bases per token",
    "shared with exact",
    "shared after reversing the splits",
    "bits per base, token Markov order 0",
    "bits per base, token Markov order 1",
)


def _cells(row: Row) -> list[str]:
    """Return the cells of a row of the tables."""
    return [
        row.method,
        str(row.tokens),
        f"{row.peak:.0f}",
        f"{row.seconds:.1f}",
        f"{row.bases_per_token:.4f}",
        f"{row.overlap:.4f}",
        f"{row.order:.4f}",
        f"{row.bits_0:.4f}",
        f"{row.bits_1:.4f}",
    ]


def _csv(rows: list[Row]) -> str:
    """Return the table as CSV."""
    return "\n".join([",".join(Row._fields), *(",".join(_cells(row)) for row in rows)]) + "\n"


def _markdown(rows: list[Row], options: argparse.Namespace) -> str:
    """Return the table as Markdown, and what it was measured on."""
    lines = [f"| {' | '.join(_HEADS)} |", "|" + "---|" * len(_HEADS)]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    files = ", ".join(Path(path).name for path in options.fasta)
    note = (
        f"{files}; held out: {options.hold_out}. Memory and time are those of the whole process,"
        " measured from outside. Shared: tokens in both vocabularies, part of those in either."
        " Bits: code length of the held-out tokens under a Markov model of tokens counted on the"
        " training chromosomes (smoothed after Witten and Bell), divided by bases; what a network"
        " would reach is another matter, and the recipe `tokenizer` trains some."
    )
    return "\n".join([*lines, "", note, ""])


def _mark(method: str, value: float) -> "Mark":
    """Return a value without an interval: one run on one corpus."""
    from lightning_dna.report.series import Mark

    return Mark(label=method, kind="one corpus", value=value, low=value, high=value)


def _figure(rows: list[Row]) -> str:
    """Draw the table, one panel for each measure."""
    from lightning_dna.report.figures import shares
    from lightning_dna.report.series import Panel

    measures = (
        ("Memory", "peak, MB", "peak"),
        ("Time", "CPU seconds", "seconds"),
        ("Compression", "bases per token, held-out chromosomes", "bases_per_token"),
        ("Vocabulary", "tokens shared with exact", "overlap"),
        ("Order", "tokens shared after reversing the splits", "order"),
        ("Markov", "bits per base, order 1", "bits_1"),
    )
    panels = []
    for title, axis, field in measures:
        marks = tuple(_mark(row.method, getattr(row, field)) for row in rows)
        panels.append(Panel(title=title, axis=axis, marks=marks))
    return shares(panels, prefix="tokenizers")

"""``lightning-dna data leakage``: what of a test set stands in training or pretraining."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_dna.commands.prediction_files import number

if TYPE_CHECKING:
    from lightning_dna.genome.fasta import Genome
    from lightning_dna.genome.splits import ChromosomeSplit
    from lightning_dna.tasks.audit_parts import AuditPart
    from lightning_dna.tasks.leakage import LeakageAudit
    from lightning_dna.tasks.relations import LeakageSettings

EPILOG = """\
Examples:
  lightning-dna data leakage train.csv test.csv --valid dev.csv
  lightning-dna data leakage human_nontata_promoters/train human_nontata_promoters/test
  lightning-dna data leakage --suite gue --tasks-root data --out leakage
  lightning-dna data leakage train.csv test.csv --pretraining sacCer3.fa --split test=[chrI,chrII]
  lightning-dna data leakage train.parquet test.parquet --task enhancers
Files: CSV or Parquet with `sequence` and `label`, FASTA (>name|label), CSV of intervals with
`region,start,end`, or a folder with an entry for each class (GenomicBenchmarks).
"""


def add_command(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    answer: Callable[[argparse.Namespace], None],
) -> None:
    """Add ``data leakage``."""
    verb = verbs.add_parser(
        "leakage",
        help="copies, relatives and overlaps of a test set in training or pretraining",
        description="Copies, relatives and overlaps of a test set in training or pretraining.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.add_argument("train", nargs="?", type=Path, metavar="TRAIN", help="training examples")
    verb.add_argument("test", nargs="?", type=Path, metavar="TEST", help="test examples")
    verb.add_argument("--valid", type=Path, metavar="FILE", help="validation examples")
    verb.add_argument("--suite", metavar="NAME", help="audit the tasks of a suite instead")
    verb.add_argument(
        "--task",
        metavar="NAME",
        help="audit the task of one card instead; with TRAIN and TEST, the task that is read of "
        "Parquet files of several tasks",
    )
    verb.add_argument(
        "--tasks-root", type=Path, metavar="FOLDER", help="where task files are looked up first"
    )
    verb.add_argument(
        "--genome",
        type=Path,
        metavar="FASTA",
        help="genome of the examples: sequences of intervals, places of sequences",
    )
    verb.add_argument(
        "--coordinates", action="store_true", help="insist that places are known, and compare them"
    )
    verb.add_argument(
        "--pretraining", type=Path, metavar="FASTA", help="genome that a model was pretrained on"
    )
    verb.add_argument(
        "--split",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="chromosomes of the pretraining, as data.split of a recipe; may be repeated",
    )
    verb.add_argument("--k", default="11", help="bases of a k-mer, 2 to 31 (default: 11)")
    verb.add_argument(
        "--threshold", default="0.1", help="share of k-mers that makes relatives (default: 0.1)"
    )
    verb.add_argument(
        "--strands", default="both", help="both (default), or one: only sequences as written"
    )
    verb.add_argument(
        "--format", default="terminal", help="terminal (default), markdown, csv or json"
    )
    verb.add_argument(
        "--examples", default="parquet", help="form of the table of examples: parquet or csv"
    )
    verb.add_argument(
        "--out", type=Path, metavar="FOLDER", help="for table.csv, table.md and examples.parquet"
    )
    verb.set_defaults(verb=answer, subcommand=run)


def run(options: argparse.Namespace) -> tuple[str, tuple[Path, ...]]:
    """Audit files, a card or a suite.

    Returns:
        Text for stdout, and the files written.

    Raises:
        LightningDNAError: If a file or an option cannot be used, or the folder not be written to.
    """
    from lightning_dna.errors import ConfigError, unknown_name
    from lightning_dna.report.leakage import FORMS, leakage_text, write_leakage
    from lightning_dna.tasks.relations import LeakageSettings

    if options.format not in FORMS:
        raise unknown_name("format", options.format, FORMS, where="--format")
    if options.examples not in ("parquet", "csv"):
        raise unknown_name("form", options.examples, ("parquet", "csv"), where="--examples")
    if options.strands not in ("both", "one"):
        raise unknown_name("choice of strands", options.strands, ("both", "one"), where="--strands")
    if options.split and options.pretraining is None:
        raise ConfigError(
            "--split says how a pretraining was split; give its --pretraining genome."
        )
    settings = LeakageSettings(
        k=int(number(options.k, "--k", whole=True)),
        threshold=number(options.threshold, "--threshold"),
        both_strands=options.strands == "both",
    )
    found, title = _audited(options, settings)
    written: tuple[Path, ...] = ()
    if options.out is not None:
        written = write_leakage(found, options.out, title=title, examples=options.examples)
    return leakage_text(found, options.format), written


def _audited(
    options: argparse.Namespace, settings: "LeakageSettings"
) -> tuple["LeakageAudit", str]:
    """Audit what the options name; return a title too."""
    from lightning_dna.errors import ConfigError
    from lightning_dna.genome.fasta import Genome

    files = options.train is not None
    ways = [options.suite is not None, options.task is not None and not files, files]
    if sum(ways) != 1 or (files and options.test is None):
        raise ConfigError("give TRAIN and TEST, or --suite NAME, or --task NAME: one of them.")
    genome = None if options.genome is None else Genome.open(options.genome)
    pretraining = _pretraining(options)
    if files:
        parts = _files(options)
        name = options.task or options.test.name.split(".")[0]
        if name.lower() == "test":  # the folder says what it is a test of
            name = options.test.resolve().parent.name
        return _one(name, parts, options, settings, genome, pretraining), f"Leakage: {name}"
    return _cards(options, settings, genome, pretraining)


def _files(options: argparse.Namespace) -> dict[str, "AuditPart"]:
    """Read the files of the command line."""
    from lightning_dna.errors import ConfigError
    from lightning_dna.tasks.audit_parts import read_audit_part

    given = {"train": options.train, "valid": options.valid, "test": options.test}
    paths = {name: path for name, path in given.items() if path is not None}
    if len({path.resolve() for path in paths.values()}) < len(paths):
        raise ConfigError("TRAIN, TEST and --valid must be different files; one is given twice.")
    return {
        name: read_audit_part(path, name, genome=options.genome, task=options.task)
        for name, path in paths.items()
    }


def _cards(
    options: argparse.Namespace,
    settings: "LeakageSettings",
    genome: "Genome | None",
    pretraining: "tuple[Genome, ChromosomeSplit] | None",
) -> tuple["LeakageAudit", str]:
    """Audit a card, or the cards of a suite with two parts or more at hand."""
    from dataclasses import replace

    from tqdm import tqdm

    from lightning_dna.errors import DataError
    from lightning_dna.tasks.audit_parts import LABELLED_KINDS, parts_of_card
    from lightning_dna.tasks.card import load_card
    from lightning_dna.tasks.leakage import joined_audits
    from lightning_dna.tasks.suites import load_suite

    cards = load_suite(options.suite) if options.suite else [load_card(options.task)]
    audits, left_out = [], []
    for card in tqdm(cards, desc="tasks", unit="task", disable=len(cards) == 1):
        if card.kind not in LABELLED_KINDS:
            left_out.append(f"{card.name}: not audited; it is of kind '{card.kind}'.")
            continue
        parts, missing = parts_of_card(card, options.tasks_root)
        if len(parts) < 2:
            left_out.append(f"{card.name}: not audited; missing: {missing}.")
            continue
        one = _one(card.name, parts, options, settings, genome, pretraining)
        told = (f"{card.name}: audited without {missing}.",) if missing else ()
        audits.append(replace(one, notes=(*told, *one.notes)))
    if not audits:
        more = len(left_out) - 1
        raise DataError(
            f"no task can be audited: {left_out[0]} {f'And {more} more. ' if more else ''}Name the"
            f" folder of the files with --tasks-root; `lightning-dna data check` lists them."
        )
    found = joined_audits(audits)
    title = f"Leakage: {Path(options.suite or options.task).stem}"
    return replace(found, notes=(*found.notes, *left_out)), title


def _one(
    name: str,
    parts: dict[str, "AuditPart"],
    options: argparse.Namespace,
    settings: "LeakageSettings",
    genome: "Genome | None",
    pretraining: "tuple[Genome, ChromosomeSplit] | None",
) -> "LeakageAudit":
    """Audit one task."""
    from dataclasses import replace

    from lightning_dna.errors import DataError
    from lightning_dna.tasks.audit_parts import with_located
    from lightning_dna.tasks.leakage import audit_parts
    from lightning_dna.tasks.pretraining_overlap import with_pretraining

    notes = []
    if genome is not None:
        for part, examples in parts.items():
            parts[part], known = with_located(examples, genome)
            notes.append(f"{name}: {known:,} of {len(examples):,} {part} examples have a place.")
    if options.coordinates:
        for part, examples in parts.items():
            if examples.places is None or not examples.places.known.any():
                raise DataError(
                    f"--coordinates: no place of the {part} examples is known; give files of "
                    f"intervals, or the genome to find sequences in with --genome."
                )
    found = audit_parts(name, parts, settings)
    if pretraining is not None:
        found = with_pretraining(found, name, parts, *pretraining)
    return replace(found, notes=(*notes, *found.notes))


def _pretraining(options: argparse.Namespace) -> "tuple[Genome, ChromosomeSplit] | None":
    """Open the genome of a pretraining and split it; without a split all of it was trained on."""
    from lightning_dna import settings
    from lightning_dna.genome.fasta import Genome
    from lightning_dna.genome.splits import ChromosomeSplit, SplitSpec

    if options.pretraining is None:
        return None
    genome = Genome.open(options.pretraining)
    if not options.split:
        return genome, ChromosomeSplit(train=tuple(genome.names), valid=(), test=())
    content: dict[str, object] = {}
    for text in options.split:
        keys, value = settings.parse_dotted(text)
        content = settings.assign(content, keys, value)
    spec = settings.build(SplitSpec, content, where="--split")
    return genome, ChromosomeSplit.resolve(spec, genome.lengths)

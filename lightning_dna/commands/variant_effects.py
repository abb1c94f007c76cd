"""``lightning-dna variants score``: what a checkpoint makes of the variants of a file."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_dna.commands.devices import device_named
from lightning_dna.commands.prediction_files import number, split_list

if TYPE_CHECKING:
    from lightning_dna.genome.fasta import Genome
    from lightning_dna.tasks.card import TaskCard
    from lightning_dna.tasks.variant_data import VariantData

EPILOG = """\
Examples:
  lightning-dna variants score CHECKPOINT --card brca1-sge --tasks-root DATA --out brca1.csv
  lightning-dna variants score CHECKPOINT --genome hg38.fa --variants mine.vcf.gz --out mine.parquet
  lightning-dna variants score CHECKPOINT --genome hg38.fa --variants table.csv --window 2048 \\
      --columns position=pos,label=effect --positive damaging --negative neutral --out table.csv
CHECKPOINT is the folder of a published checkpoint (HyenaDNA, DNABERT-2, Nucleotide Transformer), of
one written by save_pretrained, or of a finished run of a study. An interrupted command goes on when
it is given again. The column 'score' is ready for `lightning-dna compare`.
"""
_DEFAULT_WINDOW = 1024
# Options that a card answers; those that it leaves open are given beside it.
_OF_FILES = (
    *("variants", "annotation", "columns", "positive", "negative", "shift", "origin", "chrom"),
    *("header_row", "stars", "alleles"),
)


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    answer: Callable[[argparse.Namespace], None],
) -> None:
    """Add ``variants score``; ``answer`` prints what `run` returns."""
    meaning = "score genetic variants with a checkpoint"
    group = commands.add_parser("variants", help=meaning, description=f"{meaning.capitalize()}.")
    verbs = group.add_subparsers(title="commands", required=True, metavar="COMMAND")
    verb = verbs.add_parser(
        "score",
        help="log-likelihood ratios and embedding distances of every variant",
        description="Zero-shot scores of variants from a VCF file or a table, REF checked.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(verb)
    verb.set_defaults(verb=answer, subcommand=run)


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the options of ``variants score``."""
    verb.add_argument("checkpoint", type=Path, help="folder of a checkpoint or of a finished run")
    verb.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=".csv, .tsv or .parquet"
    )
    verb.add_argument("--card", help="a task card that says all about the file (see `list tasks`)")
    verb.add_argument("--tasks-root", type=Path, metavar="FOLDER", help="of the card's files")
    verb.add_argument("--genome", metavar="FASTA", help="what the variants lie on")
    verb.add_argument(
        "--variants", metavar="FILE", help="VCF, or CSV, TSV, Parquet, Excel with a row for each"
    )
    verb.add_argument("--annotation", metavar="FILE", help="GTF, GFF3 or BED, for genes and exons")
    verb.add_argument(
        "--scores", metavar="A,B", help="default: llr,embedding_cosine; the first is ranked by"
    )
    verb.add_argument("--window", metavar="N", help=f"bases around (default: {_DEFAULT_WINDOW})")
    verb.add_argument(
        "--columns", metavar="ROLE=NAME,..", help="which column is which: position=pos,label=class"
    )
    verb.add_argument("--positive", metavar="A,B", help="labels that count as 1 (default: 1)")
    verb.add_argument("--negative", metavar="A,B", help="labels that count as 0 (default: 0)")
    verb.add_argument("--unit", help="of resampling: example (default), gene, exon, cluster, ...")
    verb.add_argument("--shift", metavar="N", help="added to every position (default: 0)")
    verb.add_argument("--origin", metavar="N", help="position of the FASTA's first base, from 1")
    verb.add_argument("--chrom", help="the chromosome that the FASTA's one sequence is part of")
    verb.add_argument("--header-row", metavar="N", help="line of the column names (default: 1)")
    verb.add_argument(
        "--alleles",
        choices=("ref_alt", "either"),
        help="what the columns ref and alt hold; either: the genome says which is REF",
    )
    verb.add_argument("--stars", metavar="N", help="fewest review stars of a ClinVar record")
    verb.add_argument(
        "--baselines",
        metavar="A,B",
        help="gc_content, composition, exon_edge, transversion, conservation, cadd",
    )
    verb.add_argument(
        "--untrained", metavar="SEED", help="control: initial weights of this seed instead"
    )
    verb.add_argument("--resamples", default="9999", metavar="N", help="default: 9999")
    verb.add_argument("--seed", default="0", help="of the resamples (default: 0)")
    verb.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")


def run(options: argparse.Namespace) -> tuple[str, tuple[Path, ...]]:
    """Score the variants of a file.

    Returns:
        Text for stdout, and the files written.

    Raises:
        LightningDNAError: If a file or an option cannot be used, or the table not be written.
    """
    from lightning_dna.report.variant_table import variant_text
    from lightning_dna.study.variant_scoring import judge, open_model, score_table
    from lightning_dna.tasks.variant_effect import damaging

    resamples, seed = _whole(options.resamples, "--resamples"), _whole(options.seed, "--seed")
    untrained = None if options.untrained is None else _whole(options.untrained, "--untrained")
    data = _data(options)
    scored = open_model(options.checkpoint, untrained=untrained)
    card, variants = data.card, data.variants
    frame = score_table(
        data,
        scored,
        out=options.out,
        device=device_named(options.device),
        progress=True,
    )
    if not variants.labelled:
        return variant_text(variants.notes, frame), (options.out,)
    turned = frame.assign(**{name: damaging(name, frame[name].to_numpy()) for name in card.scores})
    names = [*card.scores, *card.baselines]
    table = judge(turned, names, resamples=resamples, seed=seed, unit=card.unit)
    return variant_text(variants.notes, frame, table), (options.out,)


def _whole(text: str, option: str) -> int:
    """Parse a whole number of 0 or more."""
    return int(number(text, option, whole=True))


def _data(options: argparse.Namespace) -> "VariantData":
    """Open what the options describe."""
    from lightning_dna.errors import ConfigError
    from lightning_dna.tasks.variant_data import VariantData

    def no_genome() -> "Genome":
        raise ConfigError("the card has no genome of its own; give a FASTA file with --genome.")

    card = _of_card(options) if options.card else _of_options(options)
    needs_labels = bool(options.card or options.positive or options.negative)
    return VariantData(
        card,
        tasks_root=options.tasks_root,
        genome=no_genome,
        length=card.window_length or _DEFAULT_WINDOW,
        labelled=needs_labels,
    )


def _of_card(options: argparse.Namespace) -> "TaskCard":
    """Return the card that is named, with what may be changed about it."""
    from dataclasses import replace

    from lightning_dna.errors import ConfigError
    from lightning_dna.tasks.card import load_card
    from lightning_dna.tasks.variant_source import trained_scores

    given = [f"--{name.replace('_', '-')}" for name in _OF_FILES if getattr(options, name)]
    if given:
        raise ConfigError(f"--card says what {', '.join(given)} would; leave one of them out.")
    card = load_card(options.card)
    if card.kind != "variant_effect":
        raise ConfigError(
            f"task '{card.name}' is of kind '{card.kind}'; expected 'variant_effect'."
        )
    if options.genome:
        files = {**(card.files or {}), "genome": _absolute(options.genome)}
        card = replace(card, files=files)
    # Controls of untrained weights are tables of a study; here they are a call of their own.
    return replace(card, **{"scores": trained_scores(card.scores), **_asked(options)})


def _of_options(options: argparse.Namespace) -> "TaskCard":
    """Make a card of the options."""
    from lightning_dna.errors import ConfigError
    from lightning_dna.tasks.card import TaskCard
    from lightning_dna.tasks.variant_source import VariantSource

    if not (options.genome and options.variants):
        raise ConfigError("give --genome and --variants, or a --card that names them.")
    source: dict[str, Any] = {"chrom": options.chrom}
    for field in ("origin", "header_row", "stars"):
        text = getattr(options, field)
        if text is not None:
            source[field] = _whole(text, f"--{field.replace('_', '-')}")
    if options.shift is not None:
        source["shift"] = int(number(options.shift, "--shift"))
    if options.alleles is not None:
        source["alleles"] = options.alleles
    for field in ("positive", "negative"):
        if getattr(options, field):
            source[field] = tuple(split_list(getattr(options, field)))
    if options.columns:
        source["columns"] = _columns(options.columns)
    named = {part: getattr(options, part) for part in ("variants", "genome", "annotation")}
    return TaskCard(
        name="variants",
        kind="variant_effect",
        title=Path(options.variants).name,
        files={part: _absolute(path) for part, path in named.items() if path},
        variants=VariantSource(**source),
        **_asked(options),
    )


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of a card that may be asked for beside one."""
    from lightning_dna.errors import ConfigError
    from lightning_dna.tasks.variant_source import CONTROL_SCORES

    found: dict[str, Any] = {}
    for field in ("scores", "baselines"):
        if getattr(options, field):
            found[field] = tuple(split_list(getattr(options, field)))
    controls = [name for name in found.get("scores", ()) if name in CONTROL_SCORES]
    if controls:
        raise ConfigError(
            f"--scores: {', '.join(controls)} is of untrained weights; ask for the score itself "
            f"with --untrained SEED, in a call of its own."
        )
    if options.unit:
        found["unit"] = options.unit
    if options.window is not None:
        found["window_length"] = _whole(options.window, "--window")
    return found


def _absolute(path: str) -> str:
    """Return a path that no folder of a card is put before."""
    return str(Path(path).expanduser().absolute())


def _columns(text: str) -> dict[str, str]:
    """Parse ``role=name,role=name``."""
    from lightning_dna.errors import ConfigError

    found = {}
    for part in split_list(text):
        role, equals, name = part.partition("=")
        if not equals or not name:
            raise ConfigError(f"--columns: '{part}'; expected ROLE=NAME, such as position=pos.")
        found[role.strip()] = name.strip()
    return found

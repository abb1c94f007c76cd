"""``lightning-dna data``: its subcommands, and ``audit``: what each repeat policy costs.

Another subcommand is a file of its own, ``data_NAME.py``, with ``add_command(verbs, answer)`` that
sets ``verb=answer`` and ``subcommand=`` its own function; that function returns, as `run` does,
text for stdout and the files written. It is registered in ``_SUBCOMMANDS``. One that prints as it
goes is in ``_PAGED`` and sets ``pages=`` a generator of text.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from lightning_dna.commands import data_check, data_get, data_haplotypes, data_leakage, data_locate
from lightning_dna.commands.prediction_files import number, split_list

_SUBCOMMANDS = (data_get, data_leakage, data_locate, data_haplotypes)
_PAGED = (data_check,)

EPILOG = """\
Examples:
  lightning-dna data audit genome.fa.gz --annotation genes.gtf.gz
  lightning-dna data audit genome.fa --annotation genes.gff3 --repeats genome.fa.out --out audit
  lightning-dna data audit genome.fa --repeats genome.fa.out --classes LINE,SINE
Lower case in the FASTA file marks repeats, unless --repeats gives them.
"""


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    answer: Callable[[argparse.Namespace], None],
    answer_pages: Callable[[argparse.Namespace], None],
) -> None:
    """Add ``data`` and what it can do.

    Args:
        commands: Where to add it.
        answer: Prints what `run` returns.
        answer_pages: Prints what ``options.pages`` yields, as it comes.
    """
    meaning = "fetch data, and look at them before training"
    group = commands.add_parser("data", help=meaning, description=f"{meaning.capitalize()}.")
    verbs = group.add_subparsers(title="commands", required=True, metavar="COMMAND")
    verb = verbs.add_parser(
        "audit",
        help="bases lost under each repeat policy",
        description="Bases lost under each repeat policy: by chromosome, repeat class and region.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(verb)
    verb.set_defaults(verb=answer, subcommand=audit_genome)
    for subcommand in _SUBCOMMANDS:
        subcommand.add_command(verbs, answer)
    for paged in _PAGED:
        paged.add_command(verbs, answer_pages)


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the options of ``data audit``."""
    verb.add_argument("genome", help="FASTA file: plain, gzip or bgzip")
    verb.add_argument("--annotation", metavar="FILE", help="GTF, GFF3 or BED, for rows by region")
    verb.add_argument(
        "--repeats",
        metavar="FILE",
        help="RepeatMasker .out, or BED with a class in the fourth column, in place of lower case",
    )
    verb.add_argument(
        "--classes", metavar="A,B", help="treat only these classes of --repeats, e.g. LINE,SINE/Alu"
    )
    verb.add_argument(
        "--promoter",
        default="500,100",
        metavar="B,A",
        help="bases before and after a start that are its promoter (default: 500,100)",
    )
    verb.add_argument(
        "--min-length",
        default="64",
        metavar="N",
        help="shortest fragment that removal keeps (default: 64)",
    )
    verb.add_argument(
        "--weight", default="0.1", metavar="W", help="of repeats under downweight (default: 0.1)"
    )
    verb.add_argument("--seed", default="0", help="of the matched control (default: 0)")
    verb.add_argument(
        "--format", default="terminal", help="terminal (default), markdown, csv or json"
    )
    verb.add_argument(
        "--out", type=Path, metavar="FOLDER", help="for table.csv, table.md and figure.svg"
    )


def run(options: argparse.Namespace) -> tuple[str, tuple[Path, ...]]:
    """Run the subcommand that was named.

    Returns:
        Text for stdout, and the files written.

    Raises:
        LightningDNAError: If a file or an option cannot be used, or the folder not be written to.
    """
    answer: tuple[str, tuple[Path, ...]] = options.subcommand(options)
    return answer


def audit_genome(options: argparse.Namespace) -> tuple[str, tuple[Path, ...]]:
    """Audit a genome.

    Returns:
        Text for stdout, and the files written.

    Raises:
        LightningDNAError: If a file or an option cannot be used, or the folder not be written to.
    """
    from lightning_dna.data.audit import AuditSettings, audit
    from lightning_dna.errors import ConfigError, unknown_name
    from lightning_dna.genome.annotation import Annotation
    from lightning_dna.genome.fasta import Genome
    from lightning_dna.genome.repeat_annotation import RepeatAnnotation
    from lightning_dna.report.audit import FORMS, audit_text, write_audit

    if options.format not in FORMS:
        raise unknown_name("format", options.format, FORMS, where="--format")
    if options.classes and not options.repeats:
        raise ConfigError("--classes says which of --repeats count; give the file with --repeats.")
    promoter = [
        int(number(part, "--promoter", whole=True)) for part in split_list(options.promoter)
    ]
    if len(promoter) != 2:
        raise ConfigError(
            f"--promoter is {options.promoter}; expected two whole numbers, such as 500,100."
        )
    settings = AuditSettings(
        weight=number(options.weight, "--weight"),
        min_length=int(number(options.min_length, "--min-length", whole=True)),
        classes=tuple(split_list(options.classes)) if options.classes else (),
        seed=int(number(options.seed, "--seed", whole=True)),
    )
    settings.policy("remove-split")  # refuses values out of range before files are read
    genome = Genome.open(options.genome, mask_bed=options.repeats)
    repeats = RepeatAnnotation.read(options.repeats, genome.lengths) if options.repeats else None
    annotation = None
    if options.annotation:
        before, after = promoter
        annotation = Annotation.read(options.annotation, genome.lengths, promoter=(before, after))
    found = audit(genome, settings, annotation=annotation, repeats=repeats)
    written: tuple[Path, ...] = ()
    if options.out is not None:
        title = f"What repeat policies cost: {Path(options.genome).name}"
        written = write_audit(found, options.out, title=title)
    return audit_text(found, options.format), written

"""``lightning-dna data locate``: where the sequences of files stand in a genome."""

import argparse
from collections.abc import Callable
from pathlib import Path

from lightning_dna.commands.prediction_files import number

EPILOG = """\
Examples:
  lightning-dna data locate test.csv --genome sacCer3.fa.gz --out test.places.csv
  lightning-dna data locate train.csv dev.csv test.csv --genome sacCer3.fa.gz --out places.csv
  lightning-dna data locate test.parquet --task H3 --genome sacCer3.fa.gz
  lightning-dna data locate --task nt-h3 --tasks-root data --genome sacCer3.fa.gz
Matches are exact, on both strands; a sequence has one line for each place, and an empty one if it
has none.
"""


def add_command(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    answer: Callable[[argparse.Namespace], None],
) -> None:
    """Add ``data locate``."""
    verb = verbs.add_parser(
        "locate",
        help="where labelled sequences stand in a genome",
        description="Where labelled sequences stand in a genome: chromosome, place and strand.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="CSV, Parquet or FASTA of sequences"
    )
    verb.add_argument(
        "--task",
        metavar="NAME",
        help="of Parquet files of several tasks, the one to read; without FILE, a task card",
    )
    verb.add_argument(
        "--tasks-root", type=Path, metavar="FOLDER", help="where a card's files are looked up first"
    )
    verb.add_argument("--genome", required=True, type=Path, metavar="FASTA", help="the genome")
    verb.add_argument(
        "--seed-length", default="31", metavar="K", help="bases of a seed, 16 to 31 (default: 31)"
    )
    verb.add_argument("--out", type=Path, metavar="FILE", help="CSV file of the places")
    verb.set_defaults(verb=answer, subcommand=run)


def run(options: argparse.Namespace) -> tuple[str, tuple[Path, ...]]:
    """Locate the sequences of some files.

    Returns:
        A summary by file for stdout, and the file written.

    Raises:
        LightningDNAError: If a file cannot be used, or the table not be written.
    """
    from lightning_dna.errors import ConfigError
    from lightning_dna.genome.fasta import Genome
    from lightning_dna.report.plain_text import plain_table
    from lightning_dna.tasks.card import load_card
    from lightning_dna.tasks.locations import located_card, located_file, write_locations

    if not options.files and options.task is None:
        raise ConfigError("there is nothing to locate; give FILE, or the card of a task: --task.")
    if options.files and options.tasks_root is not None:
        raise ConfigError("--tasks-root is of a card's files; give --task without FILE.")
    k = int(number(options.seed_length, "--seed-length", whole=True))
    genome = Genome.open(options.genome)
    if options.files:
        found = [located_file(path, genome, k=k, task=options.task) for path in options.files]
    else:
        found = located_card(load_card(options.task), options.tasks_root, genome, k=k)
    headers = ["file", "sequences", "located", "share", "plus", "minus", "repeated", "too short"]
    table = plain_table(headers, [one.summary() for one in found], "l" + "r" * 7)
    written: tuple[Path, ...] = ()
    if options.out is not None:
        write_locations(found, options.out)
        written = (options.out,)
    return f"{table}\n", written

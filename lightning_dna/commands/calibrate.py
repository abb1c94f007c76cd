"""``lightning-dna calibrate``: do intervals and tests keep their promise?"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_dna.commands.prediction_files import (
    add_file_arguments,
    columns_from,
    number,
    reading_from,
    split_list,
)

if TYPE_CHECKING:
    from lightning_dna.stats.calibration.grid import GridSpec

EPILOG = """\
Examples:
  lightning-dna calibrate --out calibration                        simulated data, about a minute
  lightning-dna calibrate --out calibration --grid full --sets 2000   every kind of data, hours
  lightning-dna calibrate --out calibration alibi.csv hyena.csv    your predictions as equal arms
The same command goes on after an interruption. Exit status 1: some limit was not kept.
"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_file_arguments(verb, at_least="*")
    group = verb.add_argument_group("from files")
    group.add_argument("--metrics", metavar="A,B", help="default: what the columns allow")
    group.add_argument(
        "--unit", choices=("example", "cluster"), help="default: clusters where files have them"
    )
    group = verb.add_argument_group("simulated, without files")
    group.add_argument(
        "--grid",
        default="smoke",
        help="smoke (default); full: all sizes, classes, ties, correlations, clusters and seeds, or"
        " a part of it: independent, clusters, seeds; methods: all interval methods on small test"
        " sets",
    )
    group = verb.add_argument_group("run")
    group.add_argument("--sets", default="200", metavar="N", help="data sets each (default: 200)")
    group.add_argument("--resamples", default="999", metavar="B", help="default: 999")
    group.add_argument("--seed", default="0", help="of data and resampling (default: 0)")
    group.add_argument("--jobs", default="2", metavar="N", help="processes (default: 2)")
    verb.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="for table.csv, table.md, figure.svg, and the counts from which a run goes on",
    )


def run(options: argparse.Namespace) -> tuple[str, bool]:
    """Measure, and write the tables and the figure; progress goes to stderr.

    Returns:
        Text for stdout, and whether every judged cell kept its limits.

    Raises:
        LightningDNAError: If a file or an option cannot be used, or the folder not be written to.
    """
    from tqdm import tqdm

    from lightning_dna.report.calibration import summary, write_calibration
    from lightning_dna.stats.calibration.grid import null_grid
    from lightning_dna.stats.plan import ResamplingPlan

    plan = ResamplingPlan(
        n_resamples=_whole(options, "resamples", 2), seed=_whole(options, "seed"), n_threads=1
    )
    spec = _spec(options)
    with tqdm(unit="source", file=sys.stderr, disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.refresh()

        report = null_grid(
            spec,
            n_sets=_whole(options, "sets", 2),
            plan=plan,
            n_jobs=_whole(options, "jobs", 1),
            folder=options.out / "counts",
            progress=show,
        )
    files = write_calibration(report, options.out)
    written = "\n".join(f"written: {path}" for path in files)
    return f"{summary(report)}\n{written}\n", report.passed


def _spec(options: argparse.Namespace) -> "GridSpec":
    from lightning_dna.stats.calibration.specs import grid, grid_of_files

    if not options.files:
        return grid(options.grid)
    columns, reading = columns_from(options), reading_from(options)
    if options.unit == "cluster":
        from lightning_dna.stats.files.questions import check_unit
        from lightning_dna.stats.files.reading import read_entries

        check_unit(read_entries(options.files, columns, reading), options.unit)
    return grid_of_files(
        options.files,
        metrics=None if options.metrics is None else split_list(options.metrics),
        columns=columns,
        options=reading,
        unit=options.unit,
    )


def _whole(options: argparse.Namespace, name: str, least: int = 0) -> int:
    """Return a whole number given on the command line, which may not be too small."""
    from lightning_dna.errors import StatsError

    value = int(number(getattr(options, name), f"--{name}", whole=True))
    if value < least:
        raise StatsError(f"--{name} must be {least} or more, not {value}.")
    return value

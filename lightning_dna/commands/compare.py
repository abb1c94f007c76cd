"""``lightning-dna compare``: prediction files in, a table of differences out."""

import argparse
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
    from lightning_dna.stats.files.comparison import ComparisonChoices

_USAGE = "lightning-dna compare FILE [FILE ...] --baseline MODEL [options]"
EPILOG = """\
Examples:
  lightning-dna compare alibi.csv hyena.csv --baseline alibi
  lightning-dna compare A.csv B.csv --baseline A --metrics accuracy,mcc,auroc --format json
  lightning-dna compare long.parquet --baseline alibi --scope procedure --output table.html
"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    verb.usage = _USAGE
    add_file_arguments(verb)
    group = verb.add_argument_group("question")
    group.add_argument("--baseline", metavar="MODEL", help="model that the others are compared to")
    group.add_argument(
        "--metrics", metavar="A,B", help="default: what the columns allow, and it is printed"
    )
    group.add_argument(
        "--scope",
        metavar="SCOPE",
        help="checkpoint: these trained weights (default with one seed per model); procedure:"
        " training again with other seeds too",
    )
    group.add_argument("--level", default="0.95", metavar="L", help="coverage (default: 0.95)")
    group.add_argument(
        "--method",
        default="se-t",
        help="se-t (default), percentile, basic, symmetric, bca, studentized or analytic",
    )
    group.add_argument(
        "--alternative", default="two-sided", help="two-sided (default), greater or less"
    )
    group.add_argument("--multiplicity", default="max-t", help="max-t (default), holm, bh or none")
    group.add_argument(
        "--family", default="task,variant,metric", metavar="AXES",
        help="axes judged together (default: task,variant,metric: all rows are one family)",
    )  # fmt: skip
    group.add_argument(
        "--margin",
        metavar="M",
        help="largest difference that does not matter: a number, or accuracy=0.01,mcc=0.02",
    )
    group.add_argument(
        "--non-inferiority-margin", metavar="M", help="smallest loss that matters, likewise"
    )
    group.add_argument("--paired-seeds", action="store_true",
                       help="equal seeds mean equal initial weights and data order")  # fmt: skip
    group.add_argument(
        "--simultaneous", action="store_true", help="intervals that hold all together"
    )
    group.add_argument(
        "--unit", help="resample each example or each whole cluster (default: cluster if given)"
    )
    group.add_argument("--resamples", default="9999", metavar="B", help="default: 9999")
    group.add_argument("--seed", default="0", help="of the resampling (default: 0)")
    group.add_argument(
        "--aggregate",
        metavar="STATISTIC",
        help="add rows over all tasks: mean, median, iqm, mean_rank, probability_of_improvement",
    )
    group.add_argument(
        "--tasks", help="with --aggregate: fixed (these tasks) or random (tasks like these)"
    )
    group = verb.add_argument_group("output")
    group.add_argument("--format", help="terminal (default), markdown, latex, csv, json or html")
    group.add_argument(
        "--output", type=Path, metavar="FILE", help="write there; its ending gives the format"
    )


def run(options: argparse.Namespace) -> str:
    """Compare, and write the table; a look at test scores of a study is recorded there.

    Returns:
        Text for stdout; empty if the table went to a file.

    Raises:
        LightningDNAError: If a file or an option cannot be used.
    """
    from lightning_dna.atomic import write_text

    form = _format(options)
    from lightning_dna.report.comparison import write_comparison
    from lightning_dna.stats.files.comparison import compare_files
    from lightning_dna.stats.files.testable import check_testable
    from lightning_dna.study.file_looks import record_file_looks

    found = compare_files(
        options.files,
        choices_from(options),
        columns=columns_from(options),
        options=reading_from(options),
    )
    check_testable(found)
    text = write_comparison(found, form)
    record_file_looks(options.files, command="compare")
    if options.output is None:
        return text
    write_text(options.output, text)
    return ""


_ENDINGS = {
    ".txt": "terminal", ".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json",
    ".html": "html",
}  # fmt: skip


def _format(options: argparse.Namespace) -> str:
    """Return the format, from the ending of the file where it is not given."""
    from lightning_dna.errors import StatsError, unknown_name

    if options.output is not None and options.output.resolve() in map(Path.resolve, options.files):
        raise StatsError(
            f"--output {options.output} is one of the files of predictions and would be lost; name "
            "another file."
        )
    if options.format is not None:
        if options.format not in _ENDINGS.values():
            raise unknown_name("format", options.format, _ENDINGS.values(), where="--format")
        return str(options.format)
    if options.output is None:
        return "terminal"
    ending = options.output.suffix.lower()
    if ending not in _ENDINGS:
        raise StatsError(
            f"--output {options.output}: no format is known by '{ending}'; end it in "
            f"{', '.join(_ENDINGS)}, or give --format."
        )
    return _ENDINGS[ending]


def choices_from(options: argparse.Namespace) -> "ComparisonChoices":
    """Return what the options ask for, each checked against the values that it may have.

    Raises:
        LightningDNAError: If an option has a value that it may not have.
    """
    from typing import cast, get_args

    from lightning_dna.errors import unknown_name
    from lightning_dna.stats.adjust import Multiplicity
    from lightning_dna.stats.families import Axis
    from lightning_dna.stats.files.comparison import ComparisonChoices
    from lightning_dna.stats.intervals import Alternative, Method
    from lightning_dna.stats.plan import Unit
    from lightning_dna.stats.question import Scope
    from lightning_dna.stats.suites.rows import Tasks
    from lightning_dna.stats.suites.suite import Statistic

    family = split_list(options.family)
    for option, value, kind in (
        ("--scope", options.scope, Scope),
        ("--method", options.method, Method),
        ("--alternative", options.alternative, Alternative),
        ("--multiplicity", options.multiplicity, Multiplicity),
        ("--unit", options.unit, Unit),
        ("--aggregate", options.aggregate, Statistic),
        ("--tasks", options.tasks, Tasks),
        *(("--family", axis, Axis) for axis in family),
    ):
        if value is not None and value not in get_args(kind):
            raise unknown_name("value", value, get_args(kind), where=option)
    return ComparisonChoices(
        baseline=options.baseline,
        metrics=None if options.metrics is None else split_list(options.metrics),
        scope=options.scope,
        level=number(options.level, "--level"),
        method=options.method,
        alternative=options.alternative,
        multiplicity=options.multiplicity,
        family=cast("list[Axis]", family),  # each axis was checked above
        margin=margins_from(options.margin, "--margin"),
        non_inferiority_margin=margins_from(
            options.non_inferiority_margin, "--non-inferiority-margin"
        ),
        paired_seeds=options.paired_seeds,
        simultaneous=options.simultaneous,
        unit=options.unit,
        n_resamples=int(number(options.resamples, "--resamples", whole=True)),
        seed=int(number(options.seed, "--seed", whole=True)),
        aggregate=options.aggregate,
        tasks=options.tasks,
    )


def margins_from(text: str | None, option: str) -> float | dict[str, float] | None:
    """Return one number for all metrics, or numbers by metric.

    Raises:
        StatsError: If a number is none.

    Example:
        >>> margins_from("0.01", "--margin"), margins_from("mcc=0.02,f1=0.1", "--margin")
        (0.01, {'mcc': 0.02, 'f1': 0.1})
    """
    if text is None:
        return None
    if "=" not in text:
        return number(text, option)
    parts = [part.partition("=") for part in split_list(text)]
    return {name.strip(): number(value, option) for name, _, value in parts}

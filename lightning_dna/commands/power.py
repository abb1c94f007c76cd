"""``lightning-dna power``: how many test examples and seeds a difference needs."""

import argparse
from typing import TYPE_CHECKING

from lightning_dna.commands.compare import choices_from, margins_from
from lightning_dna.commands.prediction_files import (
    add_file_arguments,
    columns_from,
    number,
    reading_from,
)

if TYPE_CHECKING:
    from lightning_dna.stats.files.power import PlannedTest, PowerRow

_USAGE = """\
lightning-dna power FILE FILE ... --baseline MODEL [--effect X] [options]
       lightning-dna power --discordance D | --se SE --units N [--effect X] [options]"""
EPILOG = """\
Examples:
  lightning-dna power alibi.csv hyena.csv --baseline alibi --effect accuracy=0.01
  lightning-dna power --discordance 0.1 --effect 0.02
  lightning-dna power --se 0.012 --units 2000 --seed-variance 0.0004 --seeds 3 --effect 0.02
"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    verb.usage = _USAGE
    add_file_arguments(verb, at_least="*")
    group = verb.add_argument_group("question")
    group.add_argument(
        "--effect",
        metavar="X",
        help="difference to detect, in units of the metric (0.01 is one point of accuracy), or"
        " accuracy=0.01,mcc=0.02",
    )
    group.add_argument("--power", default="0.8", metavar="P", help="wanted (default: 0.8)")
    group.add_argument("--level", default="0.95", metavar="L", help="1 - alpha (default: 0.95)")
    group.add_argument("--alternative", default="two-sided", help="two-sided, greater or less")
    group = verb.add_argument_group("from files")
    group.add_argument("--baseline", metavar="MODEL", help="model that the others are compared to")
    group.add_argument("--metrics", metavar="A,B", help="default: what the columns allow")
    group.add_argument("--scope", help="checkpoint or procedure, as in `compare`")
    group.add_argument("--unit", help="example or cluster, as in `compare`")
    group.add_argument("--paired-seeds", action="store_true", help="as in `compare`")
    group.add_argument("--resamples", default="9999", metavar="B", help="default: 9999")
    group.add_argument("--seed", default="0", help="of the resampling (default: 0)")
    group = verb.add_argument_group("from numbers, without files")
    group.add_argument("--units", metavar="N", help="number of test examples (or clusters)")
    group.add_argument(
        "--discordance",
        metavar="D",
        help="share of examples on which exactly one of two models is right: gives the standard"
        " error of their difference in accuracy",
    )
    group.add_argument("--se", metavar="SE", help="standard error of a difference with --units")
    group.add_argument("--df", help="its degrees of freedom (default: many)")
    group.add_argument(
        "--seed-variance",
        metavar="V",
        help="variance of the difference between trainings (both arms together): plans seeds too",
    )
    group.add_argument("--seeds", metavar="S", help="number of seeds of each arm")
    group = verb.add_argument_group("output")
    group.add_argument("--format", default="terminal", help="terminal (default) or json")
    # A plan is about one comparison at a time: what joins or decides several is not offered.
    verb.set_defaults(
        method="se-t", multiplicity="none", family="task,variant,metric", margin=None,
        non_inferiority_margin=None, simultaneous=False, aggregate=None, tasks=None,
    )  # fmt: skip


def run(options: argparse.Namespace) -> str:
    """Plan, and write the table.

    Returns:
        Text for stdout.

    Raises:
        LightningDNAError: If a file or an option cannot be used.
    """
    from lightning_dna.errors import unknown_name

    if options.format not in ("terminal", "json"):
        raise unknown_name("format", options.format, ("terminal", "json"), where="--format")
    from lightning_dna.report.power import write_power
    from lightning_dna.stats.files.power import power_from_files
    from lightning_dna.stats.files.testable import check_testable
    from lightning_dna.study.file_looks import record_file_looks

    test = _test(options)
    if not options.files:
        return write_power((_from_numbers(options, test),), test, None, form=options.format)
    _refuse(options, ("units", "discordance", "se", "df", "seed_variance", "seeds"), "with files")
    found, rows = power_from_files(
        options.files,
        choices_from(options),
        test,
        columns=columns_from(options),
        options=reading_from(options),
    )
    check_testable(found)
    record_file_looks(options.files, command="power")
    return write_power(rows, test, found, form=options.format)


def _test(options: argparse.Namespace) -> "PlannedTest":
    """Return the test that is planned."""
    from typing import get_args

    from lightning_dna.errors import StatsError, unknown_name
    from lightning_dna.stats.files.power import PlannedTest
    from lightning_dna.stats.intervals import Alternative

    if options.alternative not in get_args(Alternative):
        allowed = get_args(Alternative)
        raise unknown_name("value", options.alternative, allowed, where="--alternative")
    level = number(options.level, "--level")
    if not 0 < level < 1:
        raise StatsError(f"--level must lie between 0 and 1, such as 0.95; found {options.level}.")
    effect = margins_from(options.effect, "--effect")
    for value in effect.values() if isinstance(effect, dict) else [effect]:
        if value == 0:
            raise StatsError("--effect 0 needs infinitely many examples; give a difference.")
    return PlannedTest(
        effect=effect,
        power=number(options.power, "--power"),
        alpha=1 - level,
        alternative=options.alternative,
    )


def _discordance(options: argparse.Namespace, test: "PlannedTest") -> float:
    """Return the share of examples that decide, if an effect can come from so many."""
    from lightning_dna.errors import StatsError

    share = number(options.discordance, "--discordance")
    if share == 0:
        raise StatsError("--discordance 0: models that are right alike do not differ; give more.")
    largest = abs(test.effect_on("accuracy"))
    if share < largest:
        raise StatsError(
            f"--effect {largest:g} is more than --discordance {share:g}: two accuracies differ at "
            "most by the share of examples on which exactly one of the models is right."
        )
    return share


def _from_numbers(options: argparse.Namespace, test: "PlannedTest") -> "PowerRow":
    """Plan from the numbers on the command line."""
    import math

    from lightning_dna.errors import StatsError
    from lightning_dna.stats.files.power import power_from_numbers
    from lightning_dna.stats.planning import paired_accuracy_se

    if (options.se is None) == (options.discordance is None):
        raise StatsError(
            "give files of predictions to measure the errors, or one of --discordance D (share of "
            "examples on which exactly one of two models is right) and --se SE --units N."
        )
    if options.se is not None and options.units is None:
        raise StatsError("--se is the standard error with some number of units: give --units N.")
    _refuse(options, ("baseline", "metrics", "scope", "unit"), "without files")
    units = 1000 if options.units is None else int(number(options.units, "--units", whole=True))
    if options.discordance is not None:
        discordance = _discordance(options, test)
        se = paired_accuracy_se(discordance, units)
    else:
        discordance, se = math.nan, number(options.se, "--se")
    given = options.seed_variance
    variance = None if given is None else number(given, "--seed-variance")
    if variance is not None and variance < 0:
        raise StatsError(f"--seed-variance must be 0 or more, not {variance:g}.")
    return power_from_numbers(
        se,
        units,
        test,
        df=math.inf if options.df is None else number(options.df, "--df"),
        metric="accuracy" if options.discordance is not None else "difference",
        discordance=discordance,
        sigma2_seed=variance,
        n_seeds=2 if options.seeds is None else int(number(options.seeds, "--seeds", whole=True)),
        is_planned=options.units is None,
    )


def _refuse(options: argparse.Namespace, names: tuple[str, ...], when: str) -> None:
    """Refuse options that say nothing here."""
    from lightning_dna.errors import StatsError

    for name in names:
        if getattr(options, name) is not None:
            raise StatsError(f"--{name.replace('_', '-')} has no meaning {when}; leave it out.")

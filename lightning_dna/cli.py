"""The command line: parse, call one verb, print.

Heavy imports stay inside the verbs. Data go to stdout, progress and messages to stderr. Exit
status: 0 done, 1 done but with failed cells, 2 the input was wrong (message only), 130
interrupted.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TextIO

from lightning_dna import __version__, catalog
from lightning_dna.commands import (
    calibrate,
    compare,
    data,
    embed,
    memorize,
    plan,
    power,
    tokenizer,
    upkeep,
    variant_effects,
    variants,
)
from lightning_dna.errors import LightningDNAError, unknown_name
from lightning_dna.models.variants import VARIANTS

if TYPE_CHECKING:
    from lightning_dna.study.study import Study

_HIDDEN = "worker"
_KINDS: tuple[catalog.Kind, ...] = ("recipe", "suite", "task", "source")
_VARIANT = "variant"  # a named model; these are rows of a table and not files
_EPILOG = """\
A study in four commands:
  lightning-dna list                      the shipped recipes, suites and tasks
  lightning-dna list variants             the named models
  lightning-dna plan quickstart           its arms, parameters, FLOPs, time and memory
  lightning-dna run quickstart --out out  run what is missing, then write out/report.html
  lightning-dna report out                the report again, from the results on disk
Predictions of your own models, from files:
  lightning-dna compare A.csv B.csv --baseline A
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: The words after the program's name; ``sys.argv`` by default.
    """
    try:
        try:
            options = _parse(sys.argv[1:] if arguments is None else list(arguments))
            return int(options.verb(options) or 0)
        finally:
            # Here and not at exit, so that a closed pipe or a full disk is still ours to report.
            print(end="", flush=True)
    except LightningDNAError as error:
        return _give_up(str(error), status=2)
    except KeyboardInterrupt:
        return _give_up("interrupted; run the same command to go on.", status=130)
    except BrokenPipeError:
        _drop(sys.stdout)  # the reader of a pipe (`| head`) left early, as readers may
        return 0
    except OSError as error:
        # What the machine refuses (space, permission) is not a mistake of ours: no traceback.
        _drop(sys.stdout)
        advice = "free space or check the permissions, then run the same command again."
        return _give_up(f"{error}; {advice}", status=2)


def _give_up(message: str, *, status: int) -> int:
    """Say why on stderr, which may itself be a file on a full disk, and return the status."""
    try:
        print(f"lightning-dna: {message}", file=sys.stderr, flush=True)
    except OSError:
        _drop(sys.stderr)
    return status


def _drop(stream: TextIO) -> None:
    """Send what is still buffered nowhere, so that the interpreter does not complain at exit."""
    # A stand-in for a stream (in a notebook, in a test) has no file to turn away.
    with contextlib.suppress(OSError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line; an unknown command gets the same answer as any unknown name.

    Raises:
        ConfigError: If there is no such command.
    """
    parser, commands = _parser()
    for word in arguments[:1]:
        if not word.startswith("-") and word not in commands:
            raise unknown_name("command", word, commands - {_HIDDEN})
    return parser.parse_args(arguments)


def _parser() -> tuple[argparse.ArgumentParser, frozenset[str]]:
    """Build the parser; also returns the names of its commands."""
    parser = argparse.ArgumentParser(
        prog="lightning-dna",
        description="Ablations and rigorous evaluation of DNA language models.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    verb = commands.add_parser("list", help="the shipped recipes, suites, tasks, or variants")
    everything = [f"{kind}s" for kind in (*_KINDS, _VARIANT)]
    verb.add_argument("kind", nargs="?", choices=everything, help="default: all but variants")
    verb.set_defaults(verb=_list)

    verb = commands.add_parser("show", help="print a recipe, suite, task card or named model")
    verb.add_argument("name", help="a shipped name, or a path")
    verb.add_argument(
        "--kind", choices=(*_KINDS, _VARIANT), help="where a name is of more than one kind"
    )
    verb.set_defaults(verb=_show)

    verb = commands.add_parser("plan", help="what a recipe would run, and its price")
    _add_recipe(verb)
    plan.add_arguments(verb)
    verb.set_defaults(verb=_plan)

    verb = commands.add_parser("run", help="run what is missing of a recipe, then report")
    _add_recipe(verb)
    verb.add_argument("--out", type=Path, help="results folder (default: ./NAME-OF-RECIPE)")
    upkeep.add_running(verb)
    verb.set_defaults(verb=_run)

    verb = commands.add_parser("retry", help="run the failed and missing cells of a study")
    verb.add_argument("study", type=Path, help="results folder")
    upkeep.add_running(verb)
    verb.set_defaults(verb=_retry)
    upkeep.add_commands(commands, _pages)

    verb = commands.add_parser("report", help="compare what is on disk and write the report")
    verb.add_argument("study", type=Path, help="results folder")
    verb.set_defaults(verb=_report)

    verb = commands.add_parser("tune", help="search settings under the same budget for every arm")
    _add_recipe(verb)
    verb.add_argument("--out", type=Path, help="folder (default: ./NAME-OF-RECIPE-tune)")
    verb.add_argument(
        "--storage",
        metavar="URL",
        help="database for Optuna's record, as postgresql+psycopg://USER@HOST/DATABASE (default: a"
        " journal in the folder, which all runners share either way)",
    )
    verb.set_defaults(verb=_tune)

    memorize.add_command(commands, _memorize)
    _add_predictions(commands)
    data.add_command(commands, _data, _pages)
    variant_effects.add_command(commands, _data)
    embed.add_command(commands, _data)

    verb = commands.add_parser(_HIDDEN)  # started by `run --workers`; not in the help
    verb.add_argument("study", type=Path)
    verb.add_argument("--threads", type=int, default=0)
    verb.add_argument("--parent", type=int, required=True)
    verb.add_argument("--only", action="append", default=[])
    verb.set_defaults(verb=_worker)
    return parser, frozenset(commands.choices)


def _add_predictions(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands that read files of predictions; their help ends in examples."""
    rooms: tuple[tuple[str, ModuleType, Callable[[argparse.Namespace], int | None], str], ...] = (
        ("compare", compare, _compare, "compare your own predictions"),
        ("power", power, _power, "how many examples and seeds a difference needs"),
        ("calibrate", calibrate, _calibrate, "do intervals and tests keep their promise?"),
        ("tokenizer", tokenizer, _tokenizer, "train byte-pair vocabularies, and compare them"),
    )
    for name, room, answer, meaning in rooms:
        verb = commands.add_parser(
            name,
            help=meaning,
            description=f"{meaning[:1].upper()}{meaning[1:]}{'' if meaning.endswith('?') else '.'}",
            epilog=room.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        room.add_arguments(verb)
        verb.set_defaults(verb=answer)


def _add_recipe(verb: argparse.ArgumentParser) -> None:
    """Add the arguments that name a recipe and change it."""
    verb.add_argument("recipe", help="a shipped name (see `list`) or the path of a YAML file")
    verb.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="extend",
        nargs="+",
        default=[],
        help="dotted overrides of any key, e.g. data.genome=PATH seeds=[0,1] model.width=64",
    )


def _list(options: argparse.Namespace) -> None:
    """Print the shipped entries with their first line of purpose."""
    from lightning_dna.settings import load_yaml

    if options.kind == f"{_VARIANT}s":
        print(variants.listing())
        return
    titles: dict[catalog.Kind, tuple[str, str]] = {
        "recipe": ("recipes", "question"),
        "suite": ("suites", "description"),
        "task": ("tasks", "title"),
        "source": ("sources", "title"),
    }
    for kind, (heading, key) in titles.items():
        if options.kind not in (None, heading):
            continue
        print(f"{heading}:")
        for name in catalog.names(kind):
            purpose = str(load_yaml(catalog.resolve(kind, name)).get(key, ""))
            print(f"  {name:<24} {' '.join(purpose.split())}")
        print()


def _show(options: argparse.Namespace) -> None:
    """Print what has this name: of recipe, suite, task and named model the first."""
    wanted = (*_KINDS, _VARIANT) if options.kind is None else (options.kind,)
    kinds = [kind for kind in _KINDS if kind in wanted]
    is_path = "/" in options.name or options.name.endswith((".yaml", ".yml"))
    named = [kind for kind in kinds if is_path or options.name in catalog.names(kind)]
    if not named and _VARIANT in wanted and options.name in VARIANTS:
        print(variants.describe(options.name), end="")
        return
    if not named:
        allowed = {name for kind in kinds for name in catalog.names(kind)}
        allowed |= set(VARIANTS) if _VARIANT in wanted else set()
        raise unknown_name(" or ".join(wanted), options.name, allowed)
    print(catalog.resolve(named[0], options.name).read_text(encoding="utf-8"), end="")


def _plan(options: argparse.Namespace) -> None:
    """Print what would run."""
    print(plan.run(options))


def _run(options: argparse.Namespace) -> int:
    """Run what is missing, compare and report."""
    from lightning_dna.study.study import load_study

    study = load_study(options.recipe, options.overrides)
    folder = options.out or Path(study.name)
    return _execute_and_report(study, folder, options)


def _retry(options: argparse.Namespace) -> int:
    """Clear the failures and run again."""
    from lightning_dna.study.run import clear_failures
    from lightning_dna.study.study import open_study

    study = open_study(options.study)
    cleared = clear_failures(study, options.study, options.only)
    print(f"{cleared} failed cell(s) will be tried again", file=sys.stderr)
    return _execute_and_report(study, options.study, options)


def _execute_and_report(study: "Study", folder: Path, options: argparse.Namespace) -> int:
    """Run a study's missing cells; report on what is done even where some failed."""
    from lightning_dna.study.run import execute

    outcome = execute(
        study,
        folder,
        workers=options.workers,
        only=options.only,
        limit_hours=options.cell_hours,
        cluster=upkeep.cluster_options(options),
    )
    if outcome.done and not options.only:
        _write_report(study, folder, options.verb.__name__.strip("_"))
    if outcome.failed:
        print(
            f"{outcome.failed} cell(s) failed; see `lightning-dna status {folder}`, "
            f"then `lightning-dna retry {folder}`.",
            file=sys.stderr,
        )
    return 1 if outcome.failed else 0


def _write_report(study: "Study", folder: Path, command: str = "report") -> None:
    """Compare, render, and print the main table."""
    from lightning_dna.report.page import render
    from lightning_dna.report.results import load_results
    from lightning_dna.report.tables import terminal_table
    from lightning_dna.study.compare import write_results

    write_results(study, folder, command=command)
    page = render(folder)
    print(terminal_table(load_results(folder)))
    print(f"\nreport: {page}")


def _pages(options: argparse.Namespace) -> None:
    """Print what a command yields, as it comes."""
    for page in options.pages(options):
        print(page, flush=True)


def _report(options: argparse.Namespace) -> None:
    """Compare and render again."""
    from lightning_dna.study.study import open_study

    _write_report(open_study(options.study), options.study)


def _tune(options: argparse.Namespace) -> None:
    """Search settings arm by arm."""
    from lightning_dna.report.tuning import write_tuning
    from lightning_dna.study.study import load_study
    from lightning_dna.study.tune import tune

    study = load_study(options.recipe, options.overrides)
    folder = options.out or Path(f"{study.name}-tune")
    found = tune(study, folder, storage=options.storage, progress=sys.stderr.isatty())
    print(write_tuning(found, folder))


def _memorize(options: argparse.Namespace) -> int:
    """Score what the memorization battery lacks, report, and print what it found."""
    study, folder = memorize.study_of(options)
    status = _execute_and_report(study, folder, options)
    print(memorize.findings(folder))
    return status


def _compare(options: argparse.Namespace) -> None:
    """Compare files of predictions."""
    text = compare.run(options)
    print(text, end="")
    if options.output is not None:
        print(f"written: {options.output}", file=sys.stderr)


def _calibrate(options: argparse.Namespace) -> int:
    """Measure false-positive rates and coverage; exit status 1 if a limit is not kept."""
    text, passed = calibrate.run(options)
    print(text, end="")
    return 0 if passed else 1


def _power(options: argparse.Namespace) -> None:
    """Print what a comparison can detect."""
    print(power.run(options), end="")


def _tokenizer(options: argparse.Namespace) -> None:
    """Train a vocabulary, or several and compare them."""
    print(tokenizer.run(options), end="")


def _data(options: argparse.Namespace) -> None:
    """Audit a genome."""
    text, written = data.run(options)
    print(text, end="")
    for path in written:
        print(f"written: {path}", file=sys.stderr)


def _worker(options: argparse.Namespace) -> None:
    """Work through a study's cells as one of several processes."""
    from lightning_dna.study.run import work

    work(options.study, threads=options.threads, parent=options.parent, only=options.only)


if __name__ == "__main__":
    raise SystemExit(main())

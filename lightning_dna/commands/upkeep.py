"""Running and looking after a results folder: ``status``, ``clean``, one line for each cell."""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_dna.errors import ConfigError

if TYPE_CHECKING:
    from lightning_dna.study.cluster import RayOptions
    from lightning_dna.study.jobs import Job
    from lightning_dna.study.study import Study

_CLEAR = "\033[H\033[J"  # a terminal's own way to start a page


def add_running(verb: argparse.ArgumentParser) -> None:
    """Add the options that say how cells are run."""
    verb.add_argument("--workers", type=int, default=1, help="processes (default: 1, in this one)")
    verb.add_argument(
        "--only",
        metavar="CELL",
        action="append",
        default=[],
        help="run this cell alone, as `status` names it; may be repeated; no report is written",
    )
    verb.add_argument(
        "--cell-hours",
        type=float,
        metavar="H",
        help="longest time for one attempt at a cell; it keeps its resume point",
    )
    group = verb.add_argument_group("on a Ray cluster, with storage that every node shares")
    group.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="local (default), auto for the cluster that runs here, or HOST:PORT",
    )
    group.add_argument("--ray-cpus", type=int, default=1, metavar="N", help="cores for each cell")
    group.add_argument(
        "--ray-gpus", type=float, metavar="X", help="share of a GPU (default: by predicted memory)"
    )
    group.add_argument(
        "--ray-memory", type=float, metavar="GIB", help="main memory (default: as predicted)"
    )


def cluster_options(options: argparse.Namespace) -> "RayOptions | None":
    """Return how cells are handed to a cluster, where one was asked for.

    Raises:
        ConfigError: If a value is not allowed.
    """
    if options.ray is None:
        return None
    from lightning_dna.study.cluster import RayOptions

    return RayOptions(
        address=options.ray,
        cpus=options.ray_cpus,
        gpus=options.ray_gpus,
        memory_gib=options.ray_memory,
    )


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    answer: Callable[[argparse.Namespace], None],
) -> None:
    """Add ``status`` and ``clean``; ``answer`` prints what ``options.pages`` yields."""
    verb = commands.add_parser("status", help="the state of every cell of a study")
    verb.add_argument("study", type=Path, help="results folder")
    verb.add_argument(
        "--watch",
        nargs="?",
        type=float,
        const=5.0,
        metavar="SECONDS",
        help="look again and again until nothing is left to do (default: every 5 s)",
    )
    verb.set_defaults(verb=answer, pages=status_pages)

    verb = commands.add_parser("clean", help="remove what no result of a study needs")
    verb.add_argument("study", type=Path, help="results folder")
    verb.add_argument("--dry-run", action="store_true", help="list it and remove nothing")
    verb.set_defaults(verb=answer, pages=clean_pages)


def shell_lines(study: "Study", options: argparse.Namespace) -> str:
    """Return one line for each cell, for a scheduler's job array or GNU parallel.

    Each may be run any number of times, in any order and at the same time as the others.
    """
    from lightning_dna.study.run import study_jobs
    from lightning_dna.study.scoring import Scorer

    out = options.out or Path(study.name)
    start = ["lightning-dna", "run", str(options.recipe), "--out", str(out)]
    end = ["--set", *options.overrides] if options.overrides else []
    return "\n".join(
        shlex.join([*start, "--only", job.name, *end]) for job in study_jobs(Scorer(study), out)
    )


def status_pages(options: argparse.Namespace) -> Iterator[str]:
    """Yield the state of every cell, once or until nothing is left.

    Raises:
        ConfigError: If the time between two looks is not above 0.
        ResultsError: If the folder is not a results folder.
    """
    from lightning_dna.study.jobs import summary
    from lightning_dna.study.upkeep import status_table

    jobs = _jobs_in(options.study)
    if options.watch is None:
        yield status_table(jobs, options.study)
        return
    if not options.watch > 0:
        raise ConfigError(f"--watch is {options.watch}; allowed: seconds above 0.")
    while True:
        table = status_table(jobs, options.study)
        yield f"{_CLEAR if sys.stdout.isatty() else ''}{table}"
        outcome = summary(jobs)
        if outcome.done + outcome.failed == len(jobs):
            return
        time.sleep(options.watch)


def clean_pages(options: argparse.Namespace) -> Iterator[str]:
    """Yield what is removed, and remove it.

    Raises:
        ResultsError: If the folder is not a results folder, or something cannot be removed.
    """
    from lightning_dna.study import looks
    from lightning_dna.study.upkeep import remove, tables_in, waste

    found = waste(_jobs_in(options.study), options.study)
    for item in found:
        place = item.path.relative_to(options.study)
        yield f"{place}: {item.size / 2**20:.1f} MiB, {item.reason}"
    if not options.dry_run:
        if tables := tables_in(found, options.study):
            entry = looks.Entry(kind="removed", command="clean", tables=tuple(tables))
            looks.add(options.study, entry)
        remove(found)
    done = "would be removed" if options.dry_run else "removed"
    yield f"{len(found)} item(s), {sum(i.size for i in found) / 2**20:.1f} MiB {done}"


def _jobs_in(folder: Path) -> "list[Job]":
    """List the cells of the study in a results folder."""
    from lightning_dna.study.run import study_jobs
    from lightning_dna.study.scoring import Scorer
    from lightning_dna.study.study import open_study

    study = open_study(folder)
    return study_jobs(Scorer(study), folder)

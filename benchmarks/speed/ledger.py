"""What the ledger costs for each cell, and whether that grows with the number of cells.

A study of cells without any work: each is claimed, begun, written as one empty file, ended and
told to the journal. Two worker processes share them, while the runner follows. Reported for each
cell: CPU time of the workers and of the runner, and what a second runner spends to find that
nothing is left. Start-up of the processes is measured with no cells and taken off.

    python benchmarks/speed/ledger.py --out reports/speed/ledger.md
"""

import argparse
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from lightning_dna import atomic
from lightning_dna.study.executors import Job, run_with_workers, work_through
from lightning_dna.study.journal import Journal
from lightning_dna.study.ledger import CellFolder

SIZES = (100, 1_000, 10_000)


def write(folder: Path, progress: bool) -> None:
    """Do what an empty cell owes."""
    (folder / "done").touch()


def jobs_in(root: Path, count: int) -> list[Job]:
    """List the cells of a study."""
    cells = [CellFolder(root / "runs" / f"{index:05d}", ("done",)) for index in range(count)]
    return [
        Job(name=cell.folder.name, folder=cell, work=partial(write, cell.folder)) for cell in cells
    ]


def worker(root: Path, count: int) -> None:
    """Work through the cells as one of several processes."""
    work_through(jobs_in(root, count), progress=False, journal=Journal(root / "journal"))


def measured(count: int) -> tuple[float, float, float, float]:
    """Return seconds: workers' CPU, runner's CPU, elapsed, and a second look at what is done."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        jobs = jobs_in(root, count)
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        own = time.process_time()
        outcome = run_with_workers(
            jobs,
            command=[sys.executable, __file__, "--worker", str(root), str(count)],
            workers=2,
            log_folder=root / "logs",
            journal=Journal(root / "journal"),
        )
        runner, elapsed = time.process_time() - own, time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if outcome.done != count or any(len(job.folder.attempts()) != 1 for job in jobs):
            raise AssertionError(f"of {count} cells {outcome.done} were done, or one twice")
        crew = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        own = time.process_time()
        work_through(jobs, progress=False)
        return crew, runner, elapsed, time.process_time() - own


def table(rounds: int) -> str:
    """Measure every size and return the table."""
    empty = [measured(0) for _ in range(rounds)]
    idle = [statistics.median(column) for column in zip(*empty, strict=True)]
    lines = [
        "| cells | workers' CPU, ms per cell | runner's CPU, ms per cell | elapsed, ms per cell "
        "| second look, ms per cell |",
        "|---|---|---|---|---|",
    ]
    for count in SIZES:
        rows = [measured(count) for _ in range(rounds)]
        medians = [statistics.median(column) for column in zip(*rows, strict=True)]
        each = [1e3 * (found - base) / count for found, base in zip(medians, idle, strict=True)]
        lines.append(f"| {count:,} | " + " | ".join(f"{value:.2f}" for value in each) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the table if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    parser.add_argument("--worker", nargs=2, metavar=("FOLDER", "CELLS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(Path(options.worker[0]), int(options.worker[1]))
        return
    text = "\n".join(
        (
            "# The ledger, for each cell",
            "",
            *(line for line in __doc__.splitlines()[2:] if not line.startswith("    ")),
            "",
            table(options.rounds),
            "",
            f"Medians of {options.rounds} rounds, {os.cpu_count()} cores, Python "
            f"{platform.python_version()}; every cell was done once. "
            "`python benchmarks/speed/ledger.py`",
        )
    ).replace("\n\n\n", "\n\n")
    print(text)
    if options.out:
        atomic.write_text(options.out, text + "\n")


if __name__ == "__main__":
    main()

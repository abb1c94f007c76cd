"""Running what is missing: in this process, or in worker processes that may die at any moment.

A worker takes the first cell that is free and not finished, works on it, and goes on until nothing
is left. The runner only starts workers, replaces those that were killed, and reports progress.
"""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from lightning_dna.atomic import UnwritableError, unwritable
from lightning_dna.errors import ResultsError
from lightning_dna.study.ledger import CellFolder

# A cell whose worker is killed this often in one command is taken to be the cause (memory, mostly).
MAX_DEATHS_PER_CELL = 12
# Workers that are killed this often in a row before they begin with any cell cannot run here.
MAX_DEATHS_AT_START = 25
_AT_START = ""  # the key of these deaths; no cell has an empty name
_POLL_SECONDS = 0.25
_LITTLE_SPACE = 64 * 1024  # bytes; a worker that could not even write its log met a full disk


@dataclass(frozen=True, kw_only=True)
class Job:
    """One cell as an executor sees it: a name to show, its folder, and the work."""

    name: str
    folder: CellFolder
    work: Callable[[bool], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How many cells ended how."""

    done: int
    failed: int


def work_through(jobs: Sequence[Job], *, progress: bool, wait: bool = True) -> Outcome:
    """Run every free, unfinished job in this process; failures are recorded and the rest goes on.

    Args:
        jobs: All cells of the study, in the order in which they should run.
        progress: Whether the work may show its own progress bars.
        wait: Whether to wait for cells that other processes hold.

    Returns:
        How many of all jobs are done and failed.

    Raises:
        UnwritableError: If a folder cannot be written to: no cell could record anything.
    """
    while True:
        left = [job for job in jobs if not job.folder.finished()]
        if not left:
            break
        ran = [_try_job(job, progress=progress) for job in left]
        if not any(ran):
            if not wait:
                break
            time.sleep(_POLL_SECONDS)
    return summary(jobs)


def summary(jobs: Sequence[Job]) -> Outcome:
    """Count the finished jobs."""
    done = sum(job.folder.done() for job in jobs)
    failed = sum(job.folder.failed() and not job.folder.done() for job in jobs)
    return Outcome(done=done, failed=failed)


def _try_job(job: Job, *, progress: bool) -> bool:
    """Run one job unless another process holds it or has finished it; tells whether it ran."""
    with job.folder.claim() as free:
        if not free or job.folder.finished():
            return False
        job.folder.record_attempt()
        try:
            job.work(progress)
            if not job.folder.done():
                raise ResultsError(f"it ended without writing {', '.join(job.folder.missing())}.")
        except UnwritableError:
            raise
        except Exception as error:
            job.folder.record_failure(
                kind=type(error).__name__, message=str(error), traceback=traceback.format_exc()
            )
        return True


def run_with_workers(
    jobs: Sequence[Job], *, command: Sequence[str], workers: int, log_folder: Path
) -> Outcome:
    """Run the jobs in worker processes and wait until all are finished.

    Args:
        jobs: All cells of the study.
        command: Command line of one worker; it must work through the same jobs and then end.
        workers: How many processes.
        log_folder: Where each worker's stderr is kept.

    Returns:
        How many jobs are done and failed.

    Raises:
        ResultsError: If workers end with an error of their own before the jobs are finished.
    """
    try:
        log_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(log_folder, error) from error
    deaths: Counter[str] = Counter()
    crew = [_Worker(command, log_folder / f"worker-{index}.log") for index in range(workers)]
    bar = tqdm(total=len(jobs), unit="cell", desc="study", file=sys.stderr, dynamic_ncols=True)
    shown = ""
    try:
        while True:
            bar.n = sum(job.folder.finished() for job in jobs)
            under_way = ", ".join(_under_way(jobs, crew))
            # A terminal shows the clock running; a log file gets a line when something changed.
            if sys.stderr.isatty() or f"{bar.n} {under_way}" != shown:
                bar.set_postfix_str(under_way)
                shown = f"{bar.n} {under_way}"
            if bar.n == len(jobs):
                break
            for worker in crew:
                _look_after(worker, jobs, deaths)
            time.sleep(_POLL_SECONDS)
    finally:
        bar.close()
        for worker in crew:
            worker.stop()
    return summary(jobs)


def _under_way(jobs: Sequence[Job], crew: Sequence["_Worker"]) -> list[str]:
    """Name the jobs that these workers started and have not finished."""
    pids = {worker.process.pid for worker in crew}
    return [
        job.name
        for job in jobs
        if not job.folder.finished() and any(a.pid in pids for a in job.folder.attempts()[-1:])
    ]


class _Worker:
    """One worker process and its log."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.command = command
        self.log = log
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own module, no shell
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def replace(self) -> None:
        """Start a new process in the place of one that ended."""
        self.process = self._start()

    def stop(self) -> None:
        """End the process, whose work so far is kept."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


def _look_after(worker: _Worker, jobs: Sequence[Job], deaths: Counter[str]) -> None:
    """Replace a worker that was killed; stop the study where it ended by an error of its own."""
    code = worker.process.poll()
    if code is None:
        return
    if code > 0:
        lines = worker.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if not lines and shutil.disk_usage(worker.log.parent).free < _LITTLE_SPACE:
            raise unwritable(worker.log, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        reason = lines[-1] if lines else f"exit status {code}"
        raise ResultsError(f"a worker stopped: {reason} (its log: {worker.log})")
    if code < 0 and not _blame(worker.process.pid, -code, jobs, deaths):
        deaths[_AT_START] += 1
        if deaths[_AT_START] >= MAX_DEATHS_AT_START:
            raise ResultsError(
                f"workers were killed {deaths[_AT_START]} times ({signal.Signals(-code).name})"
                f" before they began with a cell; use fewer of them (a log: {worker.log})"
            )
    if not all(job.folder.finished() for job in jobs):
        worker.replace()


def _blame(pid: int, number: int, jobs: Sequence[Job], deaths: Counter[str]) -> bool:
    """Count a death against the cell the worker was at; fail a cell with too many of them.

    Returns:
        Whether the worker was at a cell.
    """
    found = False
    for job in jobs:
        attempts = job.folder.attempts()
        if not attempts or attempts[-1].pid != pid or job.folder.finished():
            continue
        found = True
        deaths[_AT_START] = 0
        deaths[job.name] += 1
        if deaths[job.name] < MAX_DEATHS_PER_CELL:
            continue
        message = (
            f"its worker was killed {deaths[job.name]} times ({signal.Signals(number).name}); often"
            " that is memory: use fewer workers or a smaller model, then `lightning-dna retry`."
        )
        with job.folder.claim() as free:
            if free and not job.folder.finished():
                job.folder.record_failure(kind="WorkerKilled", message=message, traceback="")
    return found


def die_with_parent(parent: int) -> None:
    """End this process soon after its parent is gone, so that no orphan goes on holding a cell.

    Args:
        parent: Process id of the runner that started this worker.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

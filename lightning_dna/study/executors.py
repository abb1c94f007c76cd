"""Running what is missing: in this process, or in worker processes that may die at any moment.

A worker takes the first cell that is free and not finished, works on it, and goes on until nothing
is left. The runner only starts workers, replaces those that were killed, stops those that are over
their time, and reports progress. It learns what happens from the journal.
"""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from lightning_dna.atomic import UnwritableError, unwritable
from lightning_dna.errors import ResultsError
from lightning_dna.study.jobs import Job, Outcome, Step, steps, summary
from lightning_dna.study.journal import Journal
from lightning_dna.study.ledger import LostCellError, State, failure_state
from lightning_dna.study.progress_board import Board

# A cell whose worker is killed this often in one command is taken to be the cause (memory, mostly).
MAX_DEATHS_PER_CELL = 12
# Workers that are killed this often in a row before they begin with any cell cannot run here.
MAX_DEATHS_AT_START = 25
_AT_START = ""  # the key of these deaths; no cell has an empty name
_POLL_SECONDS = 0.25
_GRACE_SECONDS = 20.0  # for a step to end and a resume point to be written
_LITTLE_SPACE = 64 * 1024  # bytes; a worker that could not even write its log met a full disk


def work_through(
    jobs: Sequence[Job], *, progress: bool, wait: bool = True, journal: Journal | None = None
) -> Outcome:
    """Run every free, unfinished job in this process; failures are recorded and the rest goes on.

    Args:
        jobs: All cells of the study, in the order in which they should run.
        progress: Whether the work may show its own progress bars.
        wait: Whether to wait for cells that other processes hold.
        journal: Where to tell what begins and ends.

    Returns:
        How many of all jobs are done and failed.

    Raises:
        UnwritableError: If a folder cannot be written to: no cell could record anything.
    """
    left = [*steps(jobs)]
    while left := [step for step in left if not step.finished()]:
        ran = [_try_job(step.job, progress=progress, journal=journal) for step in _ready(left)]
        if not any(ran):
            if not wait:
                break
            time.sleep(_POLL_SECONDS)
    return summary(jobs)


def _ready(left: Iterable[Step]) -> Iterator[Step]:
    """Yield what can be begun, as it is found when its turn comes."""
    return (step for step in left if step.ready())


def _try_job(job: Job, *, progress: bool, journal: Journal | None) -> bool:
    """Run one job unless another process holds it or has finished it; tells whether it ran."""
    with job.folder.claim() as free:
        if not free or job.folder.finished():
            return False
        try:
            with job.folder.attempt(device=job.device) as attempt:
                if attempt is None:
                    return False
                if journal is not None:
                    journal.write("begin", job.name)
                job.work(progress)
                job.folder.check_root()
                if not job.folder.done():
                    raise ResultsError(
                        f"it ended without writing {', '.join(job.folder.missing())}."
                    )
        except (UnwritableError, KeyboardInterrupt):
            raise
        except LostCellError:  # it is in good hands
            time.sleep(_POLL_SECONDS)
        except Exception as error:
            _record(job, error)
        if journal is not None:
            journal.write("end", job.name)
        return True


def _record(job: Job, error: Exception) -> None:
    """Record a failure, unless it was memory and another attempt would need less."""
    state = failure_state(error)
    if state is State.OUT_OF_MEMORY and job.smaller(job.folder.times_out_of_memory()):
        return
    job.folder.record_failure(
        kind=type(error).__name__,
        message=str(error),
        traceback=traceback.format_exc(),
        state=state,
    )


def run_with_workers(
    jobs: Sequence[Job],
    *,
    command: Sequence[str],
    workers: int,
    log_folder: Path,
    journal: Journal,
    limit_seconds: float | None = None,
    environments: Sequence[Mapping[str, str]] = (),
) -> Outcome:
    """Run the jobs in worker processes and wait until all are finished.

    Args:
        jobs: All cells of the study.
        command: Command line of one worker; it must work through the same jobs, tell the same
            journal, and then end.
        workers: How many processes.
        log_folder: Where each worker's stderr is kept.
        journal: Where the workers tell what begins and ends.
        limit_seconds: Longest time for one attempt at a cell; its worker is then stopped and the
            cell recorded as out of time.
        environments: Variables to set for each worker, as the devices that it may use.

    Returns:
        How many jobs are done and failed.

    Raises:
        ResultsError: If workers end with an error of their own before the jobs are finished.
    """
    try:
        log_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(log_folder, error) from error
    todo = {step.job.name: step for step in steps(jobs)}
    board = Board(todo, journal)
    by_name = {name: step.job for name, step in todo.items()}
    deaths: Counter[str] = Counter()
    own = environments or [{}] * workers
    crew = [
        _Worker(command, log_folder / f"worker-{index}.log", own[index]) for index in range(workers)
    ]
    bar = tqdm(total=len(todo), unit="stage", desc="study", file=sys.stderr, dynamic_ncols=True)
    shown = ""
    try:
        while True:
            for job in jobs[:1]:  # all are in one results folder
                job.folder.check_root()
            board.look()
            bar.n = board.finished
            under_way = ", ".join(board.under_way(worker.process.pid for worker in crew))
            # A terminal shows the clock running; a log file gets a line when something changed.
            if sys.stderr.isatty() or f"{bar.n} {under_way}" != shown:
                bar.set_postfix_str(under_way)
                shown = f"{bar.n} {under_way}"
            if bar.n == len(todo):
                break
            for worker in crew:
                if limit_seconds is not None:
                    _stop_late(worker, by_name, board, limit_seconds)
                _look_after(worker, by_name, board, deaths)
            time.sleep(_POLL_SECONDS)
    finally:
        bar.close()
        for worker in crew:
            worker.stop()
    return summary(jobs)


class _Worker:
    """One worker process and its log."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.command = command
        self.log = log
        self.environment = {**os.environ, **environment}
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own module, no shell
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
            )

    def last_words(self) -> list[str]:
        """Return the lines of the log; none where it has vanished."""
        with contextlib.suppress(OSError):
            return self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return []

    def replace(self) -> None:
        """Start a new process in the place of one that ended."""
        self.process = self._start()

    def stop(self, grace: float = 5.0) -> None:
        """End the process, whose work so far is kept."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=grace)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


def _stop_late(worker: _Worker, jobs: dict[str, Job], board: Board, limit_seconds: float) -> None:
    """Stop a worker whose cell is over its time, record that, and start another."""
    name, seconds = board.busy_with(worker.process.pid)
    if name is None or seconds <= limit_seconds or worker.process.poll() is not None:
        return
    worker.stop(grace=_GRACE_SECONDS)
    board.forget(worker.process.pid)
    message = (
        f"it took longer than the limit of {limit_seconds / 3600:.4g} h for one attempt; "
        "`lightning-dna retry` goes on from its last resume point."
    )
    _fail(jobs[name], kind="TimeLimit", message=message, state=State.TIMEOUT)
    worker.replace()


def _look_after(worker: _Worker, jobs: dict[str, Job], board: Board, deaths: Counter[str]) -> None:
    """Replace a worker that was killed; stop the study where it ended by an error of its own."""
    code = worker.process.poll()
    if code is None:
        return
    if code > 0:
        lines = worker.last_words()
        if not lines and shutil.disk_usage(worker.log.parent).free < _LITTLE_SPACE:
            raise unwritable(worker.log, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        reason = lines[-1] if lines else f"exit status {code}"
        raise ResultsError(f"a worker stopped: {reason} (its log: {worker.log})")
    if code < 0 and not _blame(worker.process.pid, -code, jobs, board, deaths):
        deaths[_AT_START] += 1
        if deaths[_AT_START] >= MAX_DEATHS_AT_START:
            raise ResultsError(
                f"workers were killed {deaths[_AT_START]} times ({signal.Signals(-code).name})"
                f" before they began with a cell; use fewer of them (a log: {worker.log})"
            )
    board.scan()  # the journal may lack the last words of the dead
    if board.left:
        worker.replace()


def _blame(pid: int, number: int, jobs: dict[str, Job], board: Board, deaths: Counter[str]) -> bool:
    """Count a death against the cell the worker was at; fail a cell with too many of them.

    Returns:
        Whether the worker was at a cell.
    """
    board.look()
    name, _ = board.busy_with(pid)
    board.forget(pid)
    if name is None or jobs[name].folder.finished():
        return name is not None
    deaths[_AT_START] = 0
    deaths[name] += 1
    if deaths[name] >= MAX_DEATHS_PER_CELL:
        message = (
            f"its worker was killed {deaths[name]} times ({signal.Signals(number).name}); often"
            " that is memory: use fewer workers or a smaller model, then `lightning-dna retry`."
        )
        _fail(jobs[name], kind="WorkerKilled", message=message, state=State.FAILED)
    return True


def _fail(job: Job, *, kind: str, message: str, state: State) -> None:
    """Record a failure that the work itself could not record."""
    with job.folder.claim() as free:
        if free and not job.folder.finished():
            job.folder.record_failure(kind=kind, message=message, traceback="", state=state)

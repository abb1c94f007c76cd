"""The ledger: what state each cell of a study is in, read from the files the cell itself left.

A cell is one folder. On one machine its lock is held by the kernel for the process that works on
it, so a killed process leaves no claim behind; between machines that share a folder, the attempt's
file is the claim and its heartbeat says whether anyone is alive (`lightning_dna.study.attempts`).
Every file is written whole or not at all, so what is there can be trusted, and what is missing is
what is left to do. There is no table that could disagree with the files.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lightning_dna import atomic
from lightning_dna.study.attempts import STALE_SECONDS, Attempt, Attempts, beating


class State(StrEnum):
    """Where a cell stands."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    OUT_OF_MEMORY = "out of memory"
    TIMEOUT = "timeout"


STOPPED = "stopped"  # an attempt that was interrupted; the cell itself is planned again


class LostCellError(Exception):
    """Another runner took the cell over because this one showed no sign of life for too long."""


class CellFolder:
    """One cell's folder: its claim, its attempts, its failure and the files it owes.

    Args:
        folder: The cell's own folder; made on the first claim.
        owed: Paths, relative to ``base``, that exist when the cell is done.
        base: Where these lie; the folder by default.
        root: The results folder around it, in which ``study.json`` has to be as long as cells are
            worked on; ``None`` where there is none.
    """

    def __init__(
        self,
        folder: Path,
        owed: tuple[str, ...],
        *,
        base: Path | None = None,
        root: Path | None = None,
    ) -> None:
        self.folder = folder
        self.owed = owed
        self.base = folder if base is None else base
        self.root = root
        self._attempts = Attempts(folder / "attempts")

    @contextmanager
    def claim(self) -> Iterator[bool]:
        """Hold the cell for this process; yields whether it was free.

        The lock is the kernel's: it ends with the process, however the process ends. What killed
        writes left half-written in the folder is removed.

        Raises:
            UnwritableError: If the folder cannot be written to.
        """
        self._make()
        lock = FileLock(self.folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        except NotImplementedError:  # a file system without locks: attempts alone have to do
            pass
        except OSError as error:
            raise atomic.unwritable(self.folder, error) from error
        try:
            if self._runs_elsewhere():
                yield False
                return
            if not self.finished():  # else a stage of the cell may be at work beneath
                self._remove_partial()
            yield True
        finally:
            lock.release()

    @contextmanager
    def attempt(self, *, device: str = "") -> Iterator[Attempt | None]:
        """Begin an attempt within a claim; yields ``None`` where another machine was faster.

        How the block ends is written down: without an error as done, with one as the failure that
        it is (see `failure_state`), with an interruption as stopped. The error goes on its way.

        Raises:
            LostCellError: In place of any error but an interruption, if another runner took the
                cell over meanwhile.
            UnwritableError: If the folder cannot be written to.
        """
        attempt = self._attempts.begin(device=device)
        if attempt is None:
            yield None
            return
        with beating(self._attempts, attempt) as lost:
            try:
                yield attempt
            except Exception as error:
                if lost.is_set() or self._attempts.lost(attempt):
                    raise LostCellError(f"{self.folder} was taken over") from error
                self.check_root()
                if not isinstance(error, atomic.UnwritableError):
                    self._attempts.end(attempt, str(failure_state(error)), str(error))
                raise
            except BaseException:
                self._attempts.end(attempt, STOPPED)
                raise
        self._attempts.end(attempt, str(State.DONE))

    def state(self) -> State:
        """Return where the cell stands."""
        if self.done():
            return State.DONE
        failure = self.failure()
        if failure is not None:
            return State(failure.get("state", State.FAILED))
        return State.RUNNING if self._is_held() else State.PLANNED

    def done(self) -> bool:
        """Tell whether every owed file is there."""
        return all((self.base / name).is_file() for name in self.owed)

    def missing(self) -> list[str]:
        """List the owed files that are not there."""
        return [name for name in self.owed if not (self.base / name).is_file()]

    def failed(self) -> bool:
        """Tell whether a failure is recorded and waits for a retry."""
        return (self.folder / "failure.json").is_file()

    def finished(self) -> bool:
        """Tell whether nothing is left to do here; never touches the lock."""
        return self.done() or self.failed()

    def attempts(self) -> list[Attempt]:
        """List the starts of this cell in order."""
        return self._attempts.all()

    def times_out_of_memory(self) -> int:
        """Return how many attempts ended for want of memory."""
        return sum(attempt.outcome == State.OUT_OF_MEMORY for attempt in self.attempts())

    def record_failure(
        self, *, kind: str, message: str, traceback: str, state: State = State.FAILED
    ) -> None:
        """Record why the cell could not be finished."""
        self._make()
        atomic.write_json(
            self.folder / "failure.json",
            {
                "state": str(state),
                "kind": kind,
                "message": message,
                "traceback": traceback,
                "time": time.time(),
            },
        )

    def failure(self) -> dict[str, Any] | None:
        """Return the recorded failure, if there is one."""
        path = self.folder / "failure.json"
        return atomic.read_json(path) if path.is_file() else None

    def clear_failure(self) -> bool:
        """Make a failed cell runnable again; tells whether there was a failure."""
        path = self.folder / "failure.json"
        existed = path.is_file()
        path.unlink(missing_ok=True)
        return existed

    def check_root(self) -> None:
        """Refuse to go on in a results folder that has vanished.

        Raises:
            UnwritableError: If it has; what is written there would be found by nobody.
        """
        if self.root is not None and not (self.root / "study.json").is_file():
            raise atomic.UnwritableError(
                f"{self.root} has vanished while its cells were worked on: there is no study.json"
                " any more. If it is on another disk or a network, mount it again and run the same"
                " command; finished work is kept there. What is at that path now is a remainder,"
                " which may be removed."
            )

    def _remove_partial(self) -> None:
        """Remove what killed writes left in the folder, and of the files owed elsewhere."""
        atomic.remove_partial(self.folder)
        for name in self.owed if self.base != self.folder else ():
            path = self.base / name
            atomic.remove_partial(path.parent, start=path.stem)

    def _make(self) -> None:
        """Make the folder."""
        self.check_root()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise atomic.unwritable(self.folder, error) from error

    def _runs_elsewhere(self) -> bool:
        """Tell whether a process on another machine is alive here.

        A process on this machine would hold the lock, so its attempt without an end is a dead one.
        """
        last = self._attempts.last()
        if last is None or last.ended is not None or last.host == socket.gethostname():
            return False
        return self._attempts.age(last) < STALE_SECONDS

    def _is_held(self) -> bool:
        """Tell whether another process works here, without waiting."""
        path = self.folder / "lock"
        if not path.is_file():
            return False
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        except (NotImplementedError, OSError):  # no locks, or a folder that nobody can write to
            return self._runs_elsewhere()
        lock.release()
        return self._runs_elsewhere()


def failure_state(error: BaseException) -> State:
    """Return the state of a cell whose work ended with an error.

    Example:
        >>> failure_state(MemoryError()), failure_state(KeyError("x"))
        (<State.OUT_OF_MEMORY: 'out of memory'>, <State.FAILED: 'failed'>)
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    # By name, so that reading a ledger does not import torch. The allocator of the CPU raises a
    # plain RuntimeError and says what it is in words.
    if names & {"MemoryError", "OutOfMemoryError"}:
        return State.OUT_OF_MEMORY
    text = str(error).lower()
    words = ("can't allocate memory", "out of memory")
    if isinstance(error, RuntimeError) and any(phrase in text for phrase in words):
        return State.OUT_OF_MEMORY
    return State.FAILED

"""The ledger: what state each cell of a study is in, read from the files the cell itself left.

A cell is one folder. Its lock is held by the kernel for the process that works on it, so a killed
process leaves no claim behind. Every file is written whole or not at all, so what is there can be
trusted, and what is missing is what is left to do. There is no table that could disagree with the
files.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lightning_dna import atomic


class State(StrEnum):
    """Where a cell stands."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One start of a cell: the process that made it, and when (seconds since the epoch)."""

    pid: int
    started: float


class CellFolder:
    """One cell's folder: its lock, its attempts, its failure and the files it owes.

    Args:
        folder: The cell's own folder; made on the first claim.
        owed: Paths, relative to the folder, that exist when the cell is done.
    """

    def __init__(self, folder: Path, owed: tuple[str, ...]) -> None:
        self.folder = folder
        self.owed = owed

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
        except OSError as error:
            raise atomic.unwritable(self.folder, error) from error
        try:
            atomic.remove_partial(self.folder)
            yield True
        finally:
            lock.release()

    def state(self) -> State:
        """Return where the cell stands."""
        if self.done():
            return State.DONE
        if self.failed():
            return State.FAILED
        return State.RUNNING if self._is_held() else State.PLANNED

    def done(self) -> bool:
        """Tell whether every owed file is there."""
        return not self.missing()

    def missing(self) -> list[str]:
        """List the owed files that are not there."""
        return [name for name in self.owed if not (self.folder / name).is_file()]

    def failed(self) -> bool:
        """Tell whether a failure is recorded and waits for a retry."""
        return (self.folder / "failure.json").is_file()

    def finished(self) -> bool:
        """Tell whether nothing is left to do here; never touches the lock."""
        return self.done() or self.failed()

    def record_attempt(self) -> None:
        """Append this process to the cell's attempts.

        Raises:
            UnwritableError: If the folder cannot be written to.
        """
        line = json.dumps({"pid": os.getpid(), "started": time.time()}) + "\n"
        path = self.folder / "attempts.jsonl"
        try:
            with path.open("a", encoding="utf-8") as handle:
                handle.write(line)
        except OSError as error:
            raise atomic.unwritable(path, error) from error

    def attempts(self) -> list[Attempt]:
        """List the starts of this cell; a line cut short by a kill is passed over."""
        path = self.folder / "attempts.jsonl"
        if not path.is_file():
            return []
        found = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(Attempt(**json.loads(line)))
            except (ValueError, TypeError):
                continue
        return found

    def record_failure(self, *, kind: str, message: str, traceback: str) -> None:
        """Record why the cell could not be finished."""
        self._make()
        atomic.write_json(
            self.folder / "failure.json",
            {"kind": kind, "message": message, "traceback": traceback, "time": time.time()},
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

    def _make(self) -> None:
        """Make the folder."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise atomic.unwritable(self.folder, error) from error

    def _is_held(self) -> bool:
        """Tell whether another process holds the lock, without waiting."""
        path = self.folder / "lock"
        if not path.is_file():
            return False
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        except OSError:  # a folder that cannot be written to: nobody works there
            return False
        lock.release()
        return False

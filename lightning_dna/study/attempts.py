"""Attempts at a cell: who began, where, when it was last alive, and how it ended.

An attempt is one small file, ``attempts/0001.json`` and so on, made with the file system's own
"create only if absent". Whoever makes the next number holds the cell: two runners on two machines
that share a folder cannot both make it, whatever their locks are worth there. The file's time of
change is the heartbeat. It is compared with the time that the same file system gives to a file
made now, so that clocks that disagree do no harm.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightning_dna import atomic

HEARTBEAT_SECONDS = 10.0
# A file on a network may show a heartbeat late; a runner that is only slow must not lose its cell.
STALE_SECONDS = 90.0
_WIDTH = 4  # digits of a file's name, so that names sort


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One start of a cell.

    Attributes:
        number: Which attempt it is, from 1.
        host: Name of the machine.
        pid: Process on that machine.
        device: Where the work is done, as torch names it.
        started: When, in seconds since the epoch by that machine's clock.
        ended: When it ended; ``None`` while it runs, or where its process died.
        outcome: ``done``, ``failed``, ``out of memory``, ``timeout`` or ``stopped``; ``None`` as
            above.
        message: The first line of what went wrong, or "".
    """

    number: int
    host: str = "unknown"
    pid: int = 0
    device: str = ""
    started: float = 0.0
    ended: float | None = None
    outcome: str | None = None
    message: str = ""


class Attempts:
    """The attempts of one cell.

    Args:
        folder: ``attempts`` in the cell's own folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ahead: tuple[float, float] | None = None

    def count(self) -> int:
        """Return how often the cell was begun."""
        return max(self._numbers(), default=0)

    def all(self) -> list[Attempt]:
        """List the attempts in order; a file that its writer has only just made counts too."""
        return [self._read(number) for number in sorted(self._numbers())]

    def last(self) -> Attempt | None:
        """Return the latest attempt, if there is one."""
        number = self.count()
        return self._read(number) if number else None

    def begin(self, *, device: str = "") -> Attempt | None:
        """Make the next attempt; ``None`` where another runner made it first.

        Raises:
            UnwritableError: If the folder cannot be written to.
        """
        attempt = Attempt(
            number=self.count() + 1,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=device,
            started=time.time(),
        )
        path = self._path(attempt.number)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as handle:
                handle.write(json.dumps(asdict(attempt)))
        except FileExistsError as error:
            if path.is_file():
                return None
            raise atomic.unwritable(self.folder, error) from error
        except OSError as error:
            raise atomic.unwritable(path, error) from error
        return attempt

    def end(self, attempt: Attempt, outcome: str, message: str = "") -> None:
        """Write how an attempt ended.

        Raises:
            UnwritableError: If the folder cannot be written to.
        """
        lines = message.splitlines()
        content = asdict(attempt) | {
            "ended": time.time(),
            "outcome": outcome,
            "message": lines[0] if lines else "",
        }
        atomic.write_json(self._path(attempt.number), content)

    def lost(self, attempt: Attempt) -> bool:
        """Tell whether another runner took the cell over since."""
        return self._path(attempt.number + 1).exists()

    def beat(self, attempt: Attempt) -> None:
        """Show that the attempt is alive."""
        with contextlib.suppress(OSError):  # the next beat may come through; none is an error
            os.utime(self._path(attempt.number))

    def age(self, attempt: Attempt) -> float:
        """Return the seconds since the last heartbeat, by the clock of the file system."""
        probe = self.folder / f".clock.{os.getpid()}.{secrets.token_hex(4)}.partial"
        try:
            beat = self._path(attempt.number).stat().st_mtime
            probe.touch()
            age = probe.stat().st_mtime - beat
            return age if age >= 0 else self._seen_unchanged(beat)
        except OSError:  # a folder that cannot be written to: our own clock has to do
            with contextlib.suppress(OSError):
                return max(0.0, time.time() - self._path(attempt.number).stat().st_mtime)
            return float("inf")
        finally:
            with contextlib.suppress(OSError):
                probe.unlink(missing_ok=True)

    def _seen_unchanged(self, beat: float) -> float:
        """Return the seconds since this process first saw a heartbeat from the future.

        The file system's clock was put back, or a machine wrote its own. Whoever beats on changes
        the time; one that stays as it is would else keep a cell until the clock catches up.
        """
        now = time.monotonic()
        if self._ahead is None or self._ahead[0] != beat:
            self._ahead = (beat, now)
        return now - self._ahead[1]

    def _path(self, number: int) -> Path:
        """Return the file of one attempt."""
        return self.folder / f"{number:0{_WIDTH}d}.json"

    def _numbers(self) -> list[int]:
        """List the numbers that were given out."""
        try:
            names = [path.name for path in self.folder.iterdir()]
        except OSError:
            return []
        return [int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit()]

    def _read(self, number: int) -> Attempt:
        """Read one attempt; what its writer has not written yet, or never writes, is unknown."""
        try:
            content: Any = json.loads(self._path(number).read_text(encoding="utf-8"))
            known = {key: content[key] for key in Attempt.__dataclass_fields__ if key in content}
            return Attempt(**(known | {"number": number}))
        except (OSError, ValueError, TypeError):
            return Attempt(number=number)


@contextlib.contextmanager
def beating(attempts: Attempts, attempt: Attempt) -> Iterator[threading.Event]:
    """Beat while the block runs; yields an event that is set when the cell was taken over."""
    over, lost = threading.Event(), threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT_SECONDS):
            if attempts.lost(attempt):
                lost.set()
                return
            attempts.beat(attempt)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        over.set()
        thread.join()

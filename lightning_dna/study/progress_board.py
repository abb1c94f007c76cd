"""Which cells are left and who is at which, followed through the journal."""

import socket
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from lightning_dna.study.journal import Journal

_SCAN_SECONDS = 60.0  # between looks into every cell that is left, in case news were missed


class Finishing(Protocol):
    """What knows whether something is left to do in it."""

    def finished(self) -> bool:
        """Tell whether nothing is."""


class Board:
    """The cells of a study, and their stages, as a runner sees them.

    Args:
        cells: Every cell and stage by its name.
        journal: What processes tell; what they told before now is passed over.
    """

    def __init__(self, cells: Mapping[str, Finishing], journal: Journal) -> None:
        self.total = len(cells)
        self.left = dict(cells)
        self._journal = journal
        self._at: dict[tuple[str, int], tuple[str, float]] = {}
        self._host = socket.gethostname()
        journal.news()
        self.scan()

    @property
    def finished(self) -> int:
        """Number of cells that are done or failed."""
        return self.total - len(self.left)

    def look(self) -> None:
        """Take in what happened since the last look."""
        for host, pid, happening, cell in self._journal.news():
            if happening == "begin":
                self._at[host, pid] = (cell, time.monotonic())
                continue
            self._at.pop((host, pid), None)
            if cell in self.left and self.left[cell].finished():
                del self.left[cell]
        if time.monotonic() - self._scanned > _SCAN_SECONDS:
            self.scan()

    def scan(self) -> None:
        """Look into every cell that is left."""
        self.left = {name: cell for name, cell in self.left.items() if not cell.finished()}
        self._scanned = time.monotonic()

    def under_way(self, pids: Iterable[int]) -> list[str]:
        """Name the cells that these processes of this machine are at."""
        return [name for pid in pids if (name := self.busy_with(pid)[0]) is not None]

    def busy_with(self, pid: int) -> tuple[str | None, float]:
        """Return the cell that a process of this machine is at, and for how many seconds."""
        cell, since = self._at.get((self._host, pid), (None, 0.0))
        return cell, 0.0 if cell is None else time.monotonic() - since

    def forget(self, pid: int) -> None:
        """Take a process of this machine off the board: it ended without a word."""
        self._at.pop((self._host, pid), None)

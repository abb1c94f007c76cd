"""The journal: what processes began and ended, so that a runner need not look into every cell.

Each process appends to a file of its own; nobody else writes there, so no line is torn by another.
A reader follows the files from where it last was: the cost of a look grows with the processes at
work and what they did since, not with the number of cells. The journal is news, never the truth:
the cells' own files are, and they are read at the start and at the end.
"""

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Literal, NamedTuple

from lightning_dna import atomic

Happening = Literal["begin", "end"]


class Event(NamedTuple):
    """Something that a process did with a cell."""

    host: str
    pid: int
    happening: Happening
    cell: str


class Journal:
    """The journal of one results folder.

    Args:
        folder: Where the files are; made when something is first written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, int] = {}

    def write(self, happening: Happening, cell: str) -> None:
        """Append one line to this process's file.

        Raises:
            UnwritableError: If the folder cannot be written to.
        """
        path = self.folder / f"{socket.gethostname()}-{os.getpid()}.jsonl"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps([happening, cell]) + "\n")
        except OSError as error:
            raise atomic.unwritable(path, error) from error

    def news(self) -> list[Event]:
        """Return what was written since the last call, by process; half a line waits."""
        found: list[Event] = []
        try:
            names = sorted(path.name for path in self.folder.iterdir())
        except OSError:
            return []
        for name in names:
            host, _, pid = name.removesuffix(".jsonl").rpartition("-")
            if not name.endswith(".jsonl") or not pid.isdigit():
                continue
            found += [
                Event(host, int(pid), happening, cell) for happening, cell in self._lines(name)
            ]
        return found

    def _lines(self, name: str) -> list[tuple[Happening, str]]:
        """Read the whole lines that one file has gained."""
        start, path = self._read.get(name, 0), self.folder / name
        with contextlib.suppress(OSError):
            if path.stat().st_size == start:
                return []
            with path.open("rb") as handle:
                handle.seek(start)
                gained = handle.read()
            whole = gained[: gained.rfind(b"\n") + 1]
            self._read[name] = start + len(whole)
            return [event for line in whole.splitlines() if (event := _event(line)) is not None]
        return []


def _event(line: bytes) -> tuple[Happening, str] | None:
    """Read a line; one that another version or a full disk left is no news."""
    try:
        happening, cell, *_ = json.loads(line)
    except (ValueError, TypeError):
        return None
    return (happening, cell) if happening in ("begin", "end") else None

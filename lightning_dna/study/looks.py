"""Who looked at test scores when: a record that is only ever added to.

A study ends when all its cells are done. Whoever compares test scores before, may stop, go on, or
choose for what they saw, and no interval knows of that. So every comparison of an unfinished study
is recorded in the folder before it is written, and so is what was done to scores since; the report
says it. An entry is one file, ``looks/0001.json`` and so on, created only if absent: any number of
processes on any number of machines may add some, and none replaces another's.

What cannot be seen from here: a table of scores that is opened by other means than this program.
"""

import getpass
import json
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from lightning_dna import atomic

FOLDER = "looks"
Kind = Literal["look", "scored again", "removed"]
_WIDTH = 4  # digits of a file's name, so that names sort
_SHOWN = 4  # names in one sentence


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Something that was seen of test scores, or done to them.

    Attributes:
        kind: ``look``: scores were compared; ``scored again``: tables were given up to be scored
            afresh; ``removed``: tables were removed.
        command: The command that did it.
        time: When, ISO 8601, by the clock of the machine.
        user: Who.
        host: Where.
        finished: Cells that were done.
        total: Number of cells the study had.
        tables: The tables that were given up or removed.
    """

    kind: Kind
    command: str
    time: str = ""
    user: str = ""
    host: str = ""
    finished: tuple[str, ...] = ()
    total: int = 0
    tables: tuple[str, ...] = ()

    @property
    def early(self) -> bool:
        """Whether cells were left at that time."""
        return len(self.finished) < self.total


def entries(folder: Path) -> list[Entry]:
    """List what is recorded in a results folder, in order.

    Raises:
        ResultsError: If an entry cannot be read.
    """
    found = []
    for path in sorted((folder / FOLDER).glob("*.json")):
        content = atomic.read_json(path)
        known = {name: content[name] for name in Entry.__dataclass_fields__ if name in content}
        lists = {name: tuple(known.get(name, ())) for name in ("finished", "tables")}
        found.append(Entry(**{**known, **lists}))
    return found


def record_look(folder: Path, states: Mapping[str, str], *, command: str) -> None:
    """Record that test scores are about to be seen; a finished study is recorded once.

    Args:
        folder: Results folder.
        states: State of every cell by its name.
        command: The command that shows them.

    Raises:
        UnwritableError: If the folder cannot be written to: then nothing may be shown.
    """
    finished = tuple(name for name, state in states.items() if state == "done")
    now = Entry(kind="look", command=command, finished=finished, total=len(states))
    before = [entry for entry in entries(folder) if entry.kind == "look"]
    if not now.early and before and set(before[-1].finished) == set(finished):
        return
    add(folder, now)


def add(folder: Path, entry: Entry) -> None:
    """Add an entry, with time, user and host as they are.

    Raises:
        UnwritableError: If the folder cannot be written to.
    """
    content = asdict(entry) | {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "user": _user(),
        "host": socket.gethostname(),
    }
    number = len([*(folder / FOLDER).glob("*.json")]) + 1
    while True:
        try:
            with atomic.creating(folder / FOLDER / f"{number:0{_WIDTH}d}.json") as temporary:
                temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        except FileExistsError:
            number += 1
        else:
            return


def remarks(found: Sequence[Entry], cells: Iterable[str]) -> list[str]:
    """Say what a reader must know of it.

    Args:
        found: The entries of a study.
        cells: The cells that it has now.
    """
    return [*_early(found), *_extended(found, [*cells]), *_touched(found)]


def _early(found: Sequence[Entry]) -> list[str]:
    """Say how often results were seen while cells were left."""
    looks = [entry for entry in found if entry.kind == "look" and entry.early]
    if not looks:
        return []
    first, last = looks[0], looks[-1]
    ends = f"first at {len(first.finished)} of {first.total} cells"
    if len(looks) > 1:
        ends += f", last at {len(last.finished)} of {last.total}"
    times = "once" if len(looks) == 1 else f"{len(looks)} times"
    return [
        f"test results were looked at {times} before the study was complete ({ends}); intervals and"
        " p-values hold for a study that neither stopped nor changed for what was seen"
    ]


def _extended(found: Sequence[Entry], cells: Sequence[str]) -> list[str]:
    """Say where cells were added after all results had been seen."""
    whole = [entry for entry in found if entry.kind == "look" and not entry.early]
    sizes = dict.fromkeys(entry.total for entry in whole if entry.total < len(cells))
    if not sizes:
        return []
    listed = " and ".join(str(size) for size in sizes)
    return [
        f"the study was extended to {len(cells)} cells after the test results of all"
        f" {listed} it had before were seen; its size was not fixed in advance"
    ]


def _touched(found: Sequence[Entry]) -> list[str]:
    """Say which tables were given up."""
    said = []
    for kind, words in (
        ("scored again", "given up on request, to be scored afresh"),
        ("removed", "removed by `clean`"),
    ):
        tables = [name for entry in found if entry.kind == kind for name in entry.tables]
        if tables:
            more = f" and {len(tables) - _SHOWN} more" if len(tables) > _SHOWN else ""
            shown = ", ".join(tables[:_SHOWN])
            said.append(f"{len(tables)} table(s) of test scores were {words}: {shown}{more}")
    return said


def _user() -> str:
    """Return the name of the user, or the number where there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())

"""Looking after a results folder: the state of every cell, and what may be thrown away."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lightning_dna import atomic
from lightning_dna.study.attempts import Attempt
from lightning_dna.study.jobs import Job
from lightning_dna.study.ledger import CellFolder, State
from lightning_dna.training.run import RESUME


@dataclass(frozen=True, kw_only=True)
class Waste:
    """Something that no result needs.

    Attributes:
        path: File or folder.
        reason: Why nothing needs it.
        size: Bytes.
    """

    path: Path
    reason: str
    size: int


def status_table(jobs: Sequence[Job], folder: Path) -> str:
    """Return a line of counts, and one row for each cell: state, attempts, place, failure.

    A stage of a trained cell that runs or failed has a row of its own beneath it.

    Args:
        jobs: The cells of a study.
        folder: Its results folder.
    """
    rows, states = [], []
    for job in jobs:
        state = job.state()
        states.append(state)
        rows.append(_row(job, state, folder))
        for stage in job.stages if job.folder.done() else ():
            if (found := stage.folder.state()) not in (State.DONE, State.PLANNED):
                rows.append(_row(stage, found, folder))
    counts = ", ".join(f"{states.count(state)} {state}" for state in State if states.count(state))
    table = pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)
    return f"{len(jobs)} cells: {counts}\n\n{table}"


def _row(job: Job, state: State, folder: Path) -> dict[str, str | int]:
    """Return the row of a cell or a stage; the failure of a stage stands in its own."""
    place = job.folder
    attempts, failure = place.attempts(), place.failure() or {}
    message = str(failure.get("message", "")).splitlines()
    return {
        "cell": job.name,
        "state": str(state),
        "attempts": len(attempts),
        "last": _last(place, attempts, state),
        "folder": str(place.folder.relative_to(folder)),
        "failure": f"{failure['kind']}: {message[0] if message else ''}" if failure else "",
    }


def _last(place: CellFolder, attempts: list[Attempt], state: State) -> str:
    """Say in a few words where the last attempt was made, when, and what became of it."""
    if not attempts:
        return ""
    last = attempts[-1]
    begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(last.started))
    where = f"{last.host}:{last.pid}" + (f" {last.device}" if last.device else "")
    if last.ended is not None:
        return f"{begun}, {where}, {last.outcome} after {_duration(last.ended - last.started)}"
    if state is State.RUNNING:
        return f"{begun}, {where}, for {_duration(time.time() - last.started)}"
    # The last words of one that was killed between its last file and its farewell are missing too.
    return f"{begun}, {where}, {'done' if place.done() else 'died'}"


def _duration(seconds: float) -> str:
    """Write a duration for people."""
    if seconds < 100:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def waste(jobs: Sequence[Job], folder: Path) -> list[Waste]:
    """List what no result needs: half-written files, old resume points, cells of no arm.

    Cells under way are left alone.

    Args:
        jobs: The cells of a study.
        folder: Its results folder.
    """
    ours = {job.folder.folder for job in jobs}
    found = []
    for place in sorted([*(folder / "runs").glob("*"), *(folder / "baselines").glob("*")]):
        if place.is_dir() and place not in ours:
            found.append(_waste(place, "belongs to no cell of this study"))
    for job in jobs:
        state = job.state()
        if state is State.RUNNING:
            continue
        for path in sorted(job.folder.folder.rglob("*")):
            if path.is_file() and atomic.is_partial(path):
                found.append(_waste(path, "was never finished"))
        resume = job.folder.folder / RESUME
        if job.folder.done() and resume.is_file():
            found.append(_waste(resume, "its training is done"))
    return found


def tables_in(found: Sequence[Waste], folder: Path) -> list[str]:
    """List the tables of test scores that would be removed, relative to the results folder."""
    return [
        table.relative_to(folder).as_posix()
        for item in found
        for table in ([item.path] if item.path.is_file() else sorted(item.path.rglob("*.parquet")))
        if table.suffix == ".parquet"
    ]


def remove(found: list[Waste]) -> None:
    """Remove what was listed.

    Raises:
        UnwritableError: If the system refuses.
    """
    for item in found:
        try:
            if item.path.is_dir():
                shutil.rmtree(item.path)
            else:
                item.path.unlink(missing_ok=True)
        except OSError as error:
            raise atomic.unwritable(item.path, error) from error


def _waste(path: Path, reason: str) -> Waste:
    """Measure something to be removed."""
    files = [path] if path.is_file() else [part for part in path.rglob("*") if part.is_file()]
    return Waste(path=path, reason=reason, size=sum(part.stat().st_size for part in files))

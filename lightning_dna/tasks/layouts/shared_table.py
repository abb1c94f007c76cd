"""One Parquet table for all tasks of a suite, with a column ``task``.

Hugging Face serves the Nucleotide Transformer's tasks so: ``data/train-00000-of-00001.parquet``
with ``sequence, name, label, task``. A card that names ``FOLDER/TASK/train.fna`` finds its rows in
such a table of ``FOLDER``.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lightning_dna.errors import DataError, unknown_name
from lightning_dna.tasks.layouts.pieces import only_one, pieces_of, tables_of

COLUMN = "task"
_SHOWN = 20  # names of tasks in one message


def shared_table(path: Path) -> Path | None:
    """Find the table of all tasks that stands for ``FOLDER/TASK/PART.ending``.

    Returns:
        The table, of several pieces the first one that is there; ``None`` if there is no table with
        a column ``task``.

    Raises:
        DataError: If a folder holds more than one.
    """
    folder, part = path.parent.parent, path.name.partition(".")[0]
    for place in (folder, folder / "data"):
        names = [place / f"{part}.parquet", *tables_of(place, part)]
        tables = [table for table in names if table.is_file() and _holds_tasks(table)]
        if (found := only_one(tables, part)) is not None:
            return found
    return None


def _holds_tasks(path: Path) -> bool:
    """Tell whether a table has the column; a damaged one counts, so that reading it says so."""
    try:
        return COLUMN in pq.read_schema(path).names
    except (pa.ArrowException, OSError):
        return True


def task_in(names: set[str], task: str) -> str | None:
    """Return the name of a task as a table writes it, or ``None`` if it is not there.

    Publishers and folders differ in capitals, ``-`` and ``_``; where exactly one name is the same
    but for these, it is meant.

    Example:
        >>> task_in({"H3", "PROMOTER-ALL"}, "promoter_all")
        'PROMOTER-ALL'
    """
    if task in names:
        return task
    alike = [name for name in names if _plain(name) == _plain(task)]
    return alike[0] if len(alike) == 1 else None


def _plain(name: str) -> str:
    """Return a name without what spellings differ in."""
    return name.lower().replace("-", "_").replace(" ", "_")


def check_task(pieces: list[Path], task: str, *, shared: bool = False) -> str | None:
    """Return the task whose rows are wanted, or ``None`` if the table holds one task alone.

    Args:
        pieces: The files of a table with a column ``task``.
        task: The folder of the file that the card names, which is the name of its task.
        shared: Whether the table stands for those of all tasks, so that its only task must be this
            one. A table that a card names itself may hold one task of any name.

    Raises:
        DataError: If the table holds other tasks.
    """
    names = tasks_of(pieces)
    found = task_in(names, task)
    if found is not None:
        return found
    part = pieces[0].name.partition("-")[0].removesuffix(".parquet")
    if len(names) > 1:
        missing = f"none of them is {task!r}. Name" if task else "one at a time is read. Name"
        raise DataError(
            f"{pieces[0]}, column '{COLUMN}': {_listed(names)}; {missing} the rows of a "
            f"task in a card as FOLDER/TASK/{part}.parquet, with one of these as TASK, or on the "
            f"command line with --task TASK."
        )
    if shared:
        raise DataError(
            f"{pieces[0]}, column '{COLUMN}': {other_tasks(pieces, task)}. Fetch the table with "
            f"its rows, put a file of its own at {task}/{part}.parquet, or name these rows in a "
            f"card as FOLDER/TASK/{part}.parquet."
        )
    return None


def other_tasks(pieces: list[Path], task: str) -> str:
    """Say which tasks a table holds if not this one; nothing if it does.

    Raises:
        pyarrow.ArrowException: If a piece is damaged or has no column ``task``.
    """
    names = tasks_of(pieces)
    return "" if task_in(names, task) is not None else f"holds {_listed(names)}, not {task}"


def _listed(names: set[str]) -> str:
    """Return names in one line, the first ones if they are many."""
    shown = ", ".join(sorted(names)[:_SHOWN]) or "no row"
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def refuse_other_task(path: Path, task: str) -> None:
    """Check that a table holds rows of a task.

    Args:
        path: The file, or one of the pieces of a table.
        task: The task.

    Raises:
        DataError: If it is no Parquet file, or has no column ``task``.
        ConfigError: If its tasks are others.
    """
    try:
        held = COLUMN in pq.read_schema(path).names
    except (pa.ArrowException, OSError) as error:
        text = " ".join(str(error).split())
        raise DataError(
            f"cannot read {path} as Parquet ({text}); --task is of such files."
        ) from None
    if not held:
        raise DataError(
            f"{path} has no column '{COLUMN}', so it holds no tasks to choose from; leave --task "
            f"out, or give the name of a card and no files."
        )
    names = tasks_of(pieces_of(path))
    if task not in names:
        raise unknown_name(COLUMN, task, names, where=f"{path}, column '{COLUMN}'")


def tasks_of(pieces: list[Path]) -> set[str]:
    """Return the names in the column of a table's pieces."""
    columns = [pq.read_table(piece, columns=[COLUMN]).column(0) for piece in pieces]
    return {str(name) for column in columns for name in pc.unique(column).to_pylist()}

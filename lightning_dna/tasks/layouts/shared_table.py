"""One Parquet table for all tasks of a suite, with a column ``task``.

Hugging Face serves the Nucleotide Transformer's tasks so: ``data/train-00000-of-00001.parquet``
with ``sequence, name, label, task``. A card that names ``FOLDER/TASK/train.fna`` finds its rows in
such a table of ``FOLDER``.
"""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lightning_dna.errors import DataError, unknown_name

COLUMN = "task"
_PIECE = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.parquet")


def shared_table(path: Path) -> Path | None:
    """Find the table of all tasks that stands for ``FOLDER/TASK/PART.ending``.

    Returns:
        The table, of several pieces the first one that is there; ``None`` if there is no table with
        a column ``task``.
    """
    folder, part = path.parent.parent, path.name.partition(".")[0]
    if not path.parent.name:
        return None
    for place in (folder, folder / "data"):
        pieces = sorted(place.glob(f"{part}-?????-of-?????.parquet"))
        for found in (place / f"{part}.parquet", *pieces):
            if found.is_file() and _holds_tasks(found):
                return found
    return None


def _holds_tasks(path: Path) -> bool:
    """Tell whether a table has the column; a damaged one counts, so that reading it says so."""
    try:
        return COLUMN in pq.read_schema(path).names
    except (pa.ArrowException, OSError):
        return True


def pieces_of(path: Path) -> list[Path]:
    """Return all pieces of a table that lies in several files, or the one file.

    Raises:
        DataError: If pieces are missing.
    """
    found = _PIECE.fullmatch(path.name)
    if found is None:
        return [path]
    count = int(found["count"])
    names = [f"{found['stem']}-{number:05d}-of-{count:05d}.parquet" for number in range(count)]
    pieces = [path.with_name(name) for name in names]
    missing = [piece.name for piece in pieces if not piece.is_file()]
    if missing:
        raise DataError(
            f"{path.parent} lacks {', '.join(missing)} of the {count} pieces of one table; fetch "
            f"them too."
        )
    return pieces


def check_task(pieces: list[Path], task: str) -> str | None:
    """Return the task whose rows are wanted, or ``None`` if the table holds one task alone.

    Args:
        pieces: The files of a table with a column ``task``.
        task: The folder of the file that the card names, which is the name of its task.

    Raises:
        DataError: If the table holds several tasks, and not that one.
    """
    names = _tasks_in(pieces)
    if task in names:
        return task
    if len(names) > 1:
        missing = f"none of them is {task!r}. Name" if task else "one at a time is read. Name"
        part = pieces[0].name.partition("-")[0].removesuffix(".parquet")
        raise DataError(
            f"{pieces[0]}, column '{COLUMN}': {', '.join(sorted(names))}; {missing} the rows of a "
            f"task in a card as FOLDER/TASK/{part}.parquet, with one of these as TASK, or on the "
            f"command line with --task TASK."
        )
    return None


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
    names = _tasks_in(pieces_of(path))
    if task not in names:
        raise unknown_name(COLUMN, task, names, where=f"{path}, column '{COLUMN}'")


def _tasks_in(pieces: list[Path]) -> set[str]:
    """Return the names in the column of a table's pieces."""
    columns = [pq.read_table(piece, columns=[COLUMN]).column(0) for piece in pieces]
    return {str(name) for column in columns for name in pc.unique(column).to_pylist()}

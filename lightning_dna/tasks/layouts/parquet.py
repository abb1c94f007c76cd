"""Parquet files of labelled sequences, as Hugging Face serves them: ``sequence, name, label``."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lightning_dna.errors import DataError
from lightning_dna.tasks.layouts.pieces import pieces_of
from lightning_dna.tasks.layouts.shared_table import COLUMN, check_task
from lightning_dna.tasks.layouts.table import REQUIRED, LabelledTable, columns_of


def read_parquet(
    path: Path,
    *,
    required: tuple[str, ...] = REQUIRED,
    task: str = "",
    shared: bool = False,
) -> LabelledTable:
    """Read a Parquet file as text columns; only the columns that are needed are read.

    Args:
        path: The file, or one of ``NAME-00000-of-00002.parquet`` and so on, which are one table.
        required: Columns that it must have; ``seq`` counts as ``sequence``.
        task: Of a table of several tasks, with a column ``task``, the one whose rows are read.
        shared: Whether the table stands for those of all tasks, and must hold this one.

    Raises:
        DataError: If the file is not Parquet, lacks a column, has a missing value in a known
            column, no row, or other tasks but not this one.
    """
    pieces = pieces_of(path)
    wanted: str | None = None
    try:
        names = list(pq.read_schema(path).names)
        places = columns_of(path, names, required)
        if COLUMN in names:
            wanted = check_task(pieces, task, shared=shared)
        chosen = [names[place] for place in places.values()]
        only = None if wanted is None else pc.field(COLUMN) == wanted
        frame = pa.concat_tables([pq.read_table(p, columns=chosen, filters=only) for p in pieces])
    except (pa.ArrowException, OSError) as error:
        text = " ".join(str(error).split())
        raise DataError(f"cannot read {path} as Parquet: {text}; fetch it again.") from error
    if not frame.num_rows:
        raise DataError(f"{path} has no row; a task needs labelled sequences.")
    lines = range(1, frame.num_rows + 1)
    columns: dict[str, list[str]] = {}
    place = "row" if wanted is None else f"of the rows of task '{wanted}' row"
    table = LabelledTable(path=path, columns=columns, lines=lines, place=place)
    for index, name in enumerate(places):
        values = frame.column(index).to_pylist()
        empty = [row for row, value in enumerate(values) if value is None]
        if empty:
            raise table.refuse(empty, name, "the value is missing; remove the row.")
        columns[name] = [_text(value) for value in values]
    return table


def _text(value: object) -> str:
    """Return a value as a CSV file would hold it: whole numbers without a point."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(int(value)) if isinstance(value, bool) else str(value).strip()

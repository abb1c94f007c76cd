"""Tables on disk, read as columns: CSV, TSV and JSON lines (plain or gzip), and Parquet.

Cells of text files stay text, so that an id ``007`` keeps its zeros. Every row knows where it
stands in its file, in the numbers that an editor shows.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lightning_dna.errors import StatsError, nearest
from lightning_dna.stats.predictions import Array, Integers

Choice = Callable[[Sequence[str]], Sequence[str]]
"""From the columns that a file has to those that are wanted."""

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson", ".json")
_PARQUET = (".parquet", ".pq")
ENDINGS = (*_SEPARATORS, *_JSON_LINES, *_PARQUET)
_SHOWN = 5
_LONGEST_CELL = 2**31 - 1  # the csv module's own limit, 131,072, is shorter than some sequences
_JSON_KINDS = {
    "NoneType": "null", "list": "a list", "str": "a text", "bool": "true or false",
    "int": "a number", "float": "a number",
}  # fmt: skip
_SIGNATURES = {b"PAR1": "a Parquet file", b"\x1f\x8b": "a gzip file", b"PK\x03\x04": "a ZIP file"}


@dataclass(frozen=True, kw_only=True, eq=False)
class TableFile:
    """Some columns of one file.

    Attributes:
        path: The file.
        names: All columns that the file has, in its order.
        columns: (rows,) array for each wanted column: text (as objects) from CSV and TSV, numbers,
            text or objects from JSON lines and Parquet; (rows, k) where each cell is a list.
        places: (rows,) where each row stands: lines of a text file counted from 1, header included,
            or rows of a Parquet file counted from 1.
        counted: Whether ``places`` are lines or rows.
    """

    path: Path
    names: tuple[str, ...]
    columns: dict[str, Array]
    places: Integers
    counted: Literal["line", "row"]

    def at(self, rows: Sequence[int] | Integers) -> str:
        """Return where some rows stand, the first of them spelled out."""
        places = self.places[np.asarray(rows[:_SHOWN], dtype=np.int64)]
        more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
        plural = "s" if len(rows) > 1 else ""
        return f"{self.counted}{plural} {', '.join(map(str, places))}{more}"

    def refuse(self, column: str, rows: Sequence[int] | Integers, reason: str) -> StatsError:
        """Build the error for some rows of a column: file, column, first rows, reason."""
        return StatsError(f"{self.path}, column '{column}', {self.at(rows)}: {reason}")


def read_table(path: Path, choose: Choice) -> TableFile:
    """Read the wanted columns of a file; its ending says what it is.

    Args:
        path: A file that ends in one of ``ENDINGS``; text may be compressed (``.csv.gz``).
        choose: Gets the names of the columns and returns those to read.

    Returns:
        The columns, at least one row.

    Raises:
        StatsError: If the file is missing, a folder, empty, damaged, without rows, or not what its
            ending says.
    """
    path = Path(path)
    content = _content(path)
    ending = _ending(path)
    if ending in _PARQUET:
        table = _read_parquet(path, content, choose)
    elif ending in _JSON_LINES:
        table = _read_json_lines(path, _text(path, content), choose)
    else:
        table = _read_separated(path, _text(path, content), _SEPARATORS[ending], choose)
    if len(table.places) == 0:
        found = f" (columns: {', '.join(table.names)})" if table.names else ""
        raise StatsError(f"{path} has no row{found}; it needs one row for each example.")
    return table


def _ending(path: Path) -> str:
    """Return the ending that says what the file is, ``.gz`` taken off, or refuse it."""
    endings = [ending.lower() for ending in path.suffixes]
    packed = endings[-1:] == [".gz"]
    ending = (endings[:-1] if packed else endings)[-1:]
    if not ending or ending[0] not in ENDINGS:
        found = f"ends in '{path.suffix}'" if path.suffix else "has no ending"
        raise StatsError(
            f"{path} {found}; predictions are read from {', '.join(ENDINGS)}, text also with .gz "
            "added. Name the file after what it holds."
        )
    if packed and ending[0] in _PARQUET:
        raise StatsError(f"{path}: Parquet is compressed inside; unpack it (gunzip) first.")
    return ending[0]


def _content(path: Path) -> bytes:
    """Return the bytes of a file that is there and not empty."""
    if path.is_dir():
        inside = sorted(file.name for file in path.iterdir() if file.suffix.lower() in ENDINGS)
        holds = f"; it holds {', '.join(inside[:_SHOWN])}" if inside else ""
        raise StatsError(f"{path} is a folder{holds}. Name the files of predictions themselves.")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        guess = nearest(path.name, beside)
        hint = f" Did you mean '{path.parent / guess}'?" if guess else ""
        raise StatsError(f"there is no file {path}.{hint}") from None
    except OSError as error:
        raise StatsError(f"cannot read {path}: {error.strerror or error}.") from error
    if not content:
        raise StatsError(f"{path} is empty (0 bytes); write the predictions again.")
    return content


def _text(path: Path, content: bytes) -> str:
    """Decode a text file, unpacking it if its name ends in ``.gz``."""
    if path.suffix.lower() == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise StatsError(
                f"{path} is not a whole gzip file ({error}); compress it again or take .gz off."
            ) from error
    for start, kind in _SIGNATURES.items():
        if content.startswith(start):
            raise StatsError(f"{path} is {kind}, not text; give it the ending of what it is.")
    if b"\0" in content[:4096]:
        raise StatsError(f"{path} is binary, not text; give it the ending of what it holds.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise StatsError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8.") from error
    if not text.strip():
        raise StatsError(f"{path} is empty; write the predictions again.")
    return text


def _read_separated(path: Path, text: str, separator: str, choose: Choice) -> TableFile:
    """Read CSV or TSV as columns of text."""
    usual_limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        header = [name.strip() for name in next(reader)]
        _check_header(path, header, separator)
        wanted = [header.index(name) for name in _chosen(path, header, choose)]
        cells: list[list[str]] = [[] for _ in wanted]
        places, start = [], reader.line_num + 1
        for row in reader:
            if row:
                if len(row) != len(header):
                    raise StatsError(
                        f"{path}, line {start}: {len(row)} cell{'' if len(row) == 1 else 's'}, but "
                        f"the header has {len(header)}: {', '.join(header)}."
                    )
                for column, position in zip(cells, wanted, strict=True):
                    column.append(row[position].strip())
                places.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise StatsError(f"{path}, line {reader.line_num}: not valid CSV ({error}).") from error
    finally:
        csv.field_size_limit(usual_limit)
    return TableFile(
        path=path,
        names=tuple(header),
        columns={
            header[position]: np.array(column, dtype=object)
            for column, position in zip(cells, wanted, strict=True)
        },
        places=np.array(places, dtype=np.int64),
        counted="line",
    )


def _check_header(path: Path, header: Sequence[str], separator: str) -> None:
    """Refuse a first line that is plainly separated by something else."""
    others = {",": ".csv", "\t": ".tsv", ";": ""}
    for other, ending in others.items():
        if len(header) == 1 and other != separator and other in header[0]:
            advice = f"name it {ending}" if ending else "write it with commas"
            raise StatsError(
                f"{path}, line 1: the columns are separated by {other!r}, not by {separator!r}; "
                f"{advice}."
            )


def _chosen(path: Path, names: Sequence[str], choose: Choice) -> list[str]:
    """Return the wanted columns, refusing one whose name stands twice."""
    wanted = list(choose(names))
    for name in wanted:
        if list(names).count(name) > 1:
            raise StatsError(f"{path}: column '{name}' stands twice in the header; rename one.")
    return wanted


def _read_json_lines(path: Path, text: str, choose: Choice) -> TableFile:
    """Read one JSON object per line."""
    records, places = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_object)
        except _RepeatedKeyError as error:
            raise StatsError(
                f"{path}, line {number}: the key '{error}' stands twice in one object; keep one of "
                "them."
            ) from None
        except ValueError as error:
            reason = str(error).partition(": line")[0]
            raise StatsError(
                f"{path}, line {number}: not valid JSON ({reason}); each line must hold one whole "
                'object, such as {"id": "a", "label": 1, "pred": 0}.'
            ) from error
        if not isinstance(record, dict):
            raise StatsError(
                f"{path}, line {number}: holds {_JSON_KINDS[type(record).__name__]}, not an object "
                "of columns and values; write one object per line."
            )
        records.append(record)
        places.append(number)
    names = tuple(dict.fromkeys(name for record in records for name in record))
    return TableFile(
        path=path,
        names=names,
        columns={
            name: _typed([record.get(name) for record in records])
            for name in _chosen(path, names, choose)
        },
        places=np.array(places, dtype=np.int64),
        counted="line",
    )


class _RepeatedKeyError(Exception):
    """A key that stands twice in one JSON object; JSON readers would keep the last silently."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, refusing a key that stands twice."""
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _RepeatedKeyError(next(key for key in keys if keys.count(key) > 1))
    return record


def _read_parquet(path: Path, content: bytes, choose: Choice) -> TableFile:
    """Read the wanted columns of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not content.startswith(b"PAR1"):
        raise StatsError(
            f"{path} is not a Parquet file, whatever its name says; "
            f"give it the ending of what it is ({', '.join((*_SEPARATORS, '.jsonl'))})."
        )
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        names = tuple(file.schema_arrow.names)
        wanted = _chosen(path, names, choose)
        table = file.read(columns=wanted)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise StatsError(f"{path} is a damaged Parquet file ({reason}); write it again.") from error
    return TableFile(
        path=path,
        names=names,
        columns={name: _parquet_column(table.column(name)) for name in wanted},
        places=np.arange(1, file.metadata.num_rows + 1),
        counted="row",
    )


def _parquet_column(column: Any) -> Array:
    """Return a column as numbers where it holds nothing else, else as objects."""
    import pyarrow as pa

    plain = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if plain and column.null_count == 0 and column.type != pa.uint64():
        numbers: Array = column.to_numpy()
        return numbers.astype(np.int64 if numbers.dtype.kind in "iu" else np.float64)
    return _typed(column.to_pylist())


def _typed(values: list[Any]) -> Array:
    """Return values as int64, float64 or (rows, k) float64 where all are such, else as objects."""
    kinds = {type(value) for value in values}
    if kinds <= {int, float, bool}:
        try:
            return np.array(values, dtype=np.float64 if float in kinds else np.int64)
        except OverflowError:
            return np.array(values, dtype=object)
    if kinds == {list} and len({len(value) for value in values}) == 1:
        try:
            return np.array(values, dtype=np.float64)
        except (TypeError, ValueError):
            pass
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects

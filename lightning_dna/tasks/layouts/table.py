"""Labelled sequences as read from any layout: columns of text, or codes where text is not needed.

Also the CSV form. Sequences are checked later and in one place, so a table only knows where each
of its rows stood.
"""

import csv
import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import Codes
from lightning_dna.genome.intervals import Interval

REQUIRED = ("sequence", "label")
OPTIONAL = ("split", "id", "cluster", "name", "chrom", "start", "end", "strand")
ALIASES = {"seq": "sequence"}  # what GenomicBenchmarks calls the column in its tables
_LONGEST_FIELD = 2**31 - 1  # the csv module's own limit, 131,072, is shorter than some sequences
_SHOWN = 5  # offending rows named in a message


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledTable:
    """The rows of one part.

    Attributes:
        path: The file or folder.
        columns: Text of ``sequence`` and ``label``, and of ``split``, ``id``, ``cluster``,
            ``name``, ``chrom``, ``start``, ``end`` and ``strand`` where the file has them.
        lines: Where each row stands: a line number from 1, or a name.
        place: What ``lines`` are, for messages.
        codes: The sequences as base codes, where they were not read as text.
        coordinates: Where the sequences lie, if the layout is one of intervals.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: Sequence[int | str]
    place: str = "line"
    codes: list[Codes] | None = None
    coordinates: tuple[Interval | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.lines)

    def refuse(self, rows: Sequence[int], column: str, reason: str) -> DataError:
        """Build the error for some rows of a column: file, column, first lines, reason."""
        shown = ", ".join(str(self.lines[row]) for row in rows[:_SHOWN])
        more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
        where = f"column '{column}', {self.place} {shown}{more}"
        return DataError(f"{self.path}, {where}: {reason}")


def read_csv(path: Path, *, required: tuple[str, ...] = REQUIRED) -> LabelledTable:
    """Read a CSV file, plain or gzip, as text columns.

    Args:
        path: The file; gzip if its name ends in ``.gz``.
        required: Columns that it must have; ``seq`` counts as ``sequence``.

    Raises:
        DataError: If the file is damaged, lacks a column, has a row with more or fewer fields than
            its first line, or no row at all.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    columns: dict[str, list[str]] = {}
    lines: list[int | str] = []
    usual_limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            header = next(reader, [])
            places = columns_of(path, header, required)
            columns = {name: [] for name in places}
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(row)} fields, but the header has "
                        f"{len(header)}: {', '.join(header)}."
                    )
                for name, place in places.items():
                    columns[name].append(row[place].strip())
                lines.append(reader.line_num)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path} is not a whole gzip file ({error}); fetch or compress it again."
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path} as CSV: {error}") from error
    finally:
        csv.field_size_limit(usual_limit)
    if not lines:
        raise DataError(f"{path} has a header but no row; a task needs labelled sequences.")
    return LabelledTable(path=path, columns=columns, lines=lines)


def columns_of(path: Path, header: Sequence[str], required: tuple[str, ...]) -> dict[str, int]:
    """Return the place of every known column, or name those that are missing and those found.

    Raises:
        DataError: If a required column is missing or a known one stands twice.
    """
    found = [name.strip() for name in header]
    taken = {*found}
    names = [ALIASES.get(name, name) for name in found]
    names = [old if new in taken else new for old, new in zip(found, names, strict=True)]
    missing = [name for name in required if name not in names]
    if missing:
        raise DataError(
            f"{path}: missing columns: {', '.join(missing)}; found: "
            f"{', '.join(found) or 'an empty file'}. The first line must name "
            f"{', '.join(required)}."
        )
    known = [name for name in dict.fromkeys((*required, *OPTIONAL)) if name in names]
    repeated = [name for name in known if names.count(name) > 1]
    if repeated:
        raise DataError(f"{path}: column '{repeated[0]}' stands twice in the first line.")
    return {name: names.index(name) for name in known}


def check_ids(tables: Mapping[str, LabelledTable], ids: Mapping[str, Sequence[str]]) -> None:
    """Refuse an id that two examples of a task share, within a file or across files.

    Args:
        tables: Part to the rows of its file.
        ids: Part to the id of each row.

    Raises:
        DataError: If so; names both rows.
    """
    seen: dict[str, tuple[str, int]] = {}
    for part, table in tables.items():
        for row, name in enumerate(ids[part]):
            first, index = seen.setdefault(name, (part, row))
            if (first, index) == (part, row):
                continue
            other = tables[first]
            way = "number the rows through, or drop the column"
            if first != part:
                way = (
                    f"ids count for the whole task: drop the column, or write the part before "
                    f"each ({first}-{name})"
                )
            raise table.refuse(
                [row],
                "id",
                f"{name!r} stands twice, the second time in the {part} part; the first is in "
                f"{other.path}, {other.place} {other.lines[index]}. Every example needs an id of "
                f"its own; {way}.",
            )

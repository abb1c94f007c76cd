"""CSV files of labelled sequences: found, opened plain or gzip, and read as columns of text."""

import csv
import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_dna.errors import DataError
from lightning_dna.tasks.card import TaskCard

_REQUIRED = ("sequence", "label")
_OPTIONAL = ("split", "id", "cluster")
_LONGEST_FIELD = 2**31 - 1  # the csv module's own limit, 131,072, is shorter than some sequences
_SHOWN = 5  # offending rows named in a message


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledTable:
    """The columns of one CSV file as text.

    Attributes:
        path: The file.
        columns: Text of ``sequence`` and ``label``, and of ``split``, ``id`` and ``cluster`` where
            the file has them, one entry for each row.
        lines: Line of the file on which each row ends, from 1.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]

    def refuse(self, rows: Sequence[int], column: str, reason: str) -> DataError:
        """Build the error for some rows of a column: file, column, first lines, reason."""
        shown = ", ".join(str(self.lines[row]) for row in rows[:_SHOWN])
        more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
        return DataError(f"{self.path}, column '{column}', line {shown}{more}: {reason}")


def find_files(card: TaskCard, tasks_root: Path | None) -> dict[str, Path]:
    """Find every file of a card, in ``tasks_root`` or else in the card's folder.

    A name is tried as it stands and with ``.gz`` added.

    Returns:
        Part (``train``, ``valid``, ``test`` or ``all``) to path.

    Raises:
        DataError: If files are missing; all of them are named, and where they were looked for.
    """
    folders = [Path(folder) for folder in (tasks_root, card.folder) if folder is not None]
    folders = folders or [Path()]
    found: dict[str, Path] = {}
    missing: list[str] = []
    for part, name in (card.files or {}).items():
        # An absolute name replaces the folder that it is joined to.
        plain = [folder / Path(name).expanduser() for folder in folders]
        places = [place for path in plain for place in (path, path.with_name(f"{path.name}.gz"))]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            missing.append(f"{part}: {name}")
        else:
            found[part] = path
    if missing:
        raise DataError(
            f"task '{card.name}': missing files: {'; '.join(missing)} (with or without .gz). "
            f"Looked in {', '.join(map(str, folders))}. Put them there, or name their folder as "
            f"tasks_root in the recipe."
        )
    return found


def read_labelled_table(path: Path, *, split: bool) -> LabelledTable:
    """Read a CSV file, plain or gzip, as text columns.

    Args:
        path: The file; gzip if its name ends in ``.gz``.
        split: Whether the column ``split`` is needed too.

    Raises:
        DataError: If the file is damaged, lacks a column, has a row with more or fewer fields than
            its first line, or no row at all.
    """
    required = (*_REQUIRED, "split") if split else _REQUIRED
    opened = gzip.open if path.suffix == ".gz" else open
    columns: dict[str, list[str]] = {}
    lines: list[int] = []
    usual_limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            header = next(reader, [])
            places = _columns_of(path, header, required)
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


def _columns_of(path: Path, header: list[str], required: tuple[str, ...]) -> dict[str, int]:
    """Return the place of every known column, or name those that are missing and those found."""
    names = [name.strip() for name in header]
    missing = [name for name in required if name not in names]
    if missing:
        raise DataError(
            f"{path}: missing columns: {', '.join(missing)}; found: "
            f"{', '.join(names) or 'an empty file'}. The first line must name "
            f"{', '.join(required)}."
        )
    known = [name for name in (*_REQUIRED, *_OPTIONAL) if name in names]
    repeated = [name for name in known if names.count(name) > 1]
    if repeated:
        raise DataError(f"{path}: column '{repeated[0]}' stands twice in the first line.")
    return {name: names.index(name) for name in known}

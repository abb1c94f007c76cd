"""Parquet tables under the names that Hugging Face gives them, in one piece or in several."""

import re
from pathlib import Path

from lightning_dna.errors import DataError

_PIECE = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.parquet")


def own_table(path: Path) -> Path | None:
    """Find the table that stands for ``TASK/PART.ending`` in the folder of its own task.

    Returns:
        ``TASK/PART-00000-of-00002.parquet``, of several pieces the first one that is there, or
        ``TASK/PART/0000.parquet``; ``None`` if there is neither.

    Raises:
        DataError: If more than one table has such a name.
    """
    part = path.name.partition(".")[0]
    found = tables_of(path.parent, part)
    numbered = sorted((path.parent / part).glob("[0-9][0-9][0-9][0-9].parquet"))
    return only_one([*found, *numbered], part)


def tables_of(folder: Path, part: str) -> list[Path]:
    """Return the tables in pieces of one part, each as the first of its pieces that is there.

    The number of pieces tells tables apart: ``train-00000-of-00001`` is no piece of
    ``train-00000-of-00002``.
    """
    tables: dict[str, Path] = {}
    for piece in sorted(folder.glob(f"{part}-?????-of-?????.parquet")):
        if (named := _PIECE.fullmatch(piece.name)) is not None:
            tables.setdefault(named["count"], piece)
    return list(tables.values())


def only_one(tables: list[Path], part: str) -> Path | None:
    """Return the only table, or ``None`` where there is none.

    Raises:
        DataError: If there are several: which of them is meant cannot be known.
    """
    if len(tables) > 1:
        names = " and ".join(str(table) for table in tables)
        raise DataError(
            f"{names} are {len(tables)} tables for the part '{part}', and one is read; move the "
            f"others out of the folder, or join them into one {part}.parquet."
        )
    return tables[0] if tables else None


def pieces_of(path: Path) -> list[Path]:
    """Return all pieces of a table that lies in several files, or the one file.

    Raises:
        DataError: If pieces are missing.
    """
    pieces = _named_pieces(path)
    missing = missing_pieces(path)
    if missing:
        raise DataError(
            f"{path.parent} lacks {', '.join(missing)} of the {len(pieces)} pieces of one table; "
            f"fetch them too."
        )
    return pieces


def missing_pieces(path: Path) -> list[str]:
    """Return the names of the pieces of a table that are not beside the one that is there."""
    return [piece.name for piece in _named_pieces(path) if not piece.is_file()]


def _named_pieces(path: Path) -> list[Path]:
    """Return the paths of all pieces that the name of one speaks of, or of the one file."""
    named = _PIECE.fullmatch(path.name)
    if named is None:
        return [path]
    count = int(named["count"])
    names = [f"{named['stem']}-{number:05d}-of-{count:05d}.parquet" for number in range(count)]
    return [path.with_name(name) for name in names]

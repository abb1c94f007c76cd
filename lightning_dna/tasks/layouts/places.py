"""Where labelled sequences lie on a genome, as far as their file says it."""

import re
from typing import Literal

from lightning_dna.errors import DataError
from lightning_dna.genome.intervals import Interval
from lightning_dna.tasks.layouts.intervals import strand_of
from lightning_dna.tasks.layouts.table import LabelledTable

Places = tuple[Interval | None, ...]

_COLUMNS = ("chrom", "start", "end")
_NAMED = re.compile(r"(?P<chrom>[^\s:|]+):(?P<start>\d+)-(?P<end>\d+)(?:\((?P<strand>[+-])\))?")


def places_of(table: LabelledTable, lengths: list[int]) -> Places | None:
    """Return where each sequence lies, or ``None`` where no row says so.

    A file says it in columns ``chrom``, ``start``, ``end`` (0-based, half-open) and ``strand``, or
    in names such as ``chr1:100-600(-)``. Whether a name counts from 0 or from 1 shows in the length
    of the sequence; a name that fits neither says nothing.

    Args:
        table: The rows.
        lengths: Length of each sequence in bases.

    Raises:
        DataError: If the columns hold something else than whole numbers, or an interval is not as
            long as its sequence.
    """
    if table.coordinates is not None:
        return table.coordinates
    if all(name in table.columns for name in _COLUMNS):
        return tuple(_from_columns(table, row, length) for row, length in enumerate(lengths))
    if "name" in table.columns:
        rows = zip(table.columns["name"], lengths, strict=True)
        named = tuple(named_place(name, length) for name, length in rows)
        return named if any(place is not None for place in named) else None
    return None


def named_place(name: str, length: int) -> Interval | None:
    """Read the place of a sequence from its name.

    Example:
        >>> named_place("chr1:100-104", 4), named_place("chr1:101-104(-)", 4)
        (Interval(chrom='chr1', start=100, end=104, strand='.'), \
Interval(chrom='chr1', start=100, end=104, strand='-'))
        >>> named_place("promoter_17", 4) is None
        True
    """
    found = _NAMED.match(name)
    if found is None:
        return None
    start, end = int(found["start"]), int(found["end"])
    strands: dict[str | None, Literal["+", "-", "."]] = {None: ".", "+": "+", "-": "-"}
    if end - start == length - 1 and start > 0:
        start -= 1  # counted from 1, the last base included
    if end - start != length or length == 0:
        return None
    return Interval(found["chrom"], start, end, strands[found["strand"]])


def _from_columns(table: LabelledTable, row: int, length: int) -> Interval | None:
    """Read the place of one row from its columns; empty fields say nothing."""
    chrom, first, last = (table.columns[name][row] for name in _COLUMNS)
    if not (chrom or first or last):
        return None
    if not (chrom and first.isdigit() and last.isdigit()):
        raise _refuse(table, row, f"{chrom!r}, {first!r}, {last!r}; expected a name and numbers.")
    if int(last) - int(first) != length:
        raise _refuse(
            table,
            row,
            f"{chrom}:{first}-{last} is not as long as its sequence of {length} bases; start "
            f"counts from 0, and end is excluded.",
        )
    return Interval(chrom, int(first), int(last), strand_of(table, row))


def _refuse(table: LabelledTable, row: int, reason: str) -> DataError:
    """Build the error for the columns of a place."""
    return table.refuse([row], "start", reason)

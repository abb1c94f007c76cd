"""Intervals on chromosomes: 0-based and half-open, as arrays of shape ``(n, 2)``, and BED files.

A *set* of intervals below is an ``int64`` array of ``(start, end)`` rows, sorted, with no row empty
and no two rows touching or overlapping: what `merge` returns.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import DataError
from lightning_dna.genome.plaintext import text_lines

Intervals = npt.NDArray[np.int64]

_RUN_BLOCK = (
    1 << 24
)  # bases looked at together when finding runs: bounds the memory on a chromosome
_MITOCHONDRION = frozenset({"m", "mt", "mito", "mitochondrion", "mtdna"})


@dataclass(frozen=True)
class Interval:
    """One stretch of a chromosome.

    Args:
        chrom: Chromosome name.
        start: First base, 0-based, included.
        end: End, excluded; larger than ``start``.
        strand: ``"+"``, ``"-"``, or ``"."`` for none.

    Raises:
        DataError: If ``0 <= start < end`` does not hold, or the strand is another character.

    Example:
        >>> str(Interval("chr1", 10, 20))
        'chr1:10-20'
    """

    chrom: str
    start: int
    end: int
    strand: Literal["+", "-", "."] = "+"

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise DataError(f"interval {self}: expected 0 <= start < end, half-open, 0-based.")
        if self.strand not in ("+", "-", "."):
            raise DataError(f"interval {self}: strand {self.strand!r}; allowed: '+', '-', '.'.")

    def __len__(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.chrom}:{self.start}-{self.end}"


def as_intervals(rows: Iterable[tuple[int, int]]) -> Intervals:
    """Put (start, end) pairs into an ``(n, 2)`` array, also when there are none."""
    return np.array(list(rows), dtype=np.int64).reshape(-1, 2)


def merge(intervals: Intervals, *, gap: int = 0) -> Intervals:
    """Sort intervals and join those that overlap, touch, or lie at most ``gap`` bases apart.

    Args:
        intervals: Rows ``(start, end)`` in any order; empty rows are left out.
        gap: Largest distance, in bases, that is bridged.

    Returns:
        The set of covered stretches, shape ``(m, 2)`` with ``m <= n``.

    Example:
        >>> merge(as_intervals([(5, 8), (0, 3), (3, 4)])).tolist()
        [[0, 4], [5, 8]]
    """
    rows = intervals[intervals[:, 1] > intervals[:, 0]]
    if len(rows) == 0:
        return as_intervals([])
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    reach = np.maximum.accumulate(rows[:, 1])
    first = np.concatenate(([True], rows[1:, 0] > reach[:-1] + gap))
    last = np.concatenate((first[1:], [True]))
    return np.stack((rows[first, 0], reach[last]), axis=1)


def complement(intervals: Intervals, length: int) -> Intervals:
    """Return the set of stretches of ``[0, length)`` that the set leaves free.

    Example:
        >>> complement(as_intervals([(2, 4)]), 10).tolist()
        [[0, 2], [4, 10]]
    """
    inside = intersect(intervals, as_intervals([(0, length)]))
    edges = np.concatenate(([0], inside.ravel(), [length])).reshape(-1, 2)
    return edges[edges[:, 1] > edges[:, 0]].astype(np.int64)


def intersect(first: Intervals, second: Intervals) -> Intervals:
    """Return the stretches that lie in both sets.

    Example:
        >>> intersect(as_intervals([(0, 5), (7, 9)]), as_intervals([(3, 8)])).tolist()
        [[3, 5], [7, 8]]
    """
    # Row i of the first set meets the rows [low, high) of the second: both sets are sorted.
    low = np.searchsorted(second[:, 1], first[:, 0], side="right")
    high = np.searchsorted(second[:, 0], first[:, 1], side="left")
    counts = np.maximum(high - low, 0)
    row = np.repeat(np.arange(len(first)), counts)
    other = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) + low[row]
    starts = np.maximum(first[row, 0], second[other, 0])
    ends = np.minimum(first[row, 1], second[other, 1])
    return np.stack((starts, ends), axis=1)


def subtract(first: Intervals, second: Intervals) -> Intervals:
    """Return the stretches of the first set that the second does not cover.

    Example:
        >>> subtract(as_intervals([(0, 10)]), as_intervals([(3, 5)])).tolist()
        [[0, 3], [5, 10]]
    """
    if len(first) == 0:
        return as_intervals([])
    return intersect(first, complement(second, int(first[-1, 1])))


def runs(flags: npt.NDArray[np.bool_]) -> Intervals:
    """Return the maximal stretches in which a flag per base is set, shape ``(n, 2)``.

    Example:
        >>> runs(np.array([True, True, False, True])).tolist()
        [[0, 2], [3, 4]]
    """
    pieces = []
    for offset in range(0, len(flags), _RUN_BLOCK):
        block = np.concatenate(([False], flags[offset : offset + _RUN_BLOCK], [False]))
        pieces.append(np.flatnonzero(block[1:] != block[:-1]).reshape(-1, 2) + offset)
    return merge(np.concatenate(pieces)) if pieces else as_intervals([])


def covered(intervals: Intervals, start: int, end: int) -> npt.NDArray[np.bool_]:
    """Flag the bases of ``[start, end)`` that a set of intervals covers, shape ``(end - start,)``.

    Example:
        >>> covered(as_intervals([(1, 3)]), 0, 4).tolist()
        [False, True, True, False]
    """
    steps = np.zeros(end - start + 1, dtype=np.int8)
    # One stretch against many: a search in the sorted set, not a walk over all of it.
    inside = intersect(as_intervals([(start, end)]), intervals) - start
    steps[inside[:, 0]] = 1
    steps[inside[:, 1]] = -1
    return np.cumsum(steps[:-1], dtype=np.int8).astype(np.bool_)


def bases_before(intervals: Intervals, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Count the bases of a set that lie left of each position; differences count within windows.

    Example:
        >>> bases_before(as_intervals([(2, 5)]), np.array([0, 3, 9])).tolist()
        [0, 1, 3]
    """
    if len(intervals) == 0:
        return np.zeros(len(positions), dtype=np.int64)
    ends_before = np.searchsorted(intervals[:, 1], positions, side="left")
    totals = np.concatenate(([0], np.cumsum(intervals[:, 1] - intervals[:, 0])))
    row = np.minimum(ends_before, len(intervals) - 1)
    inside = np.where(ends_before < len(intervals), positions - intervals[row, 0], 0)
    return np.asarray(totals[ends_before] + np.maximum(inside, 0), dtype=np.int64)


def match_names(
    found: Iterable[str], known: Iterable[str], *, where: str, partly: bool = False
) -> dict[str, str]:
    """Map the chromosome names of an annotation to those of a genome.

    A name is taken as it is if the genome has it; otherwise ``chr1`` matches ``1``, and the names
    of the mitochondrion (``chrM``, ``MT``, ``Mito``) match each other, when that leaves no choice.

    Args:
        found: Names that stand in the annotation.
        known: Names of the genome's chromosomes.
        where: File name, for the message.
        partly: Whether names that match nothing are left out, as long as one matches: annotations
            of a whole assembly name sequences that a genome file may not hold.

    Returns:
        Name in the annotation to name in the genome, for every name found that has one.

    Raises:
        DataError: If a name matches no chromosome (``partly``: if none does), or two names would
            become the same one.
    """
    found, known = list(dict.fromkeys(found)), list(known)
    by_core: dict[str, list[str]] = {}
    for name in known:
        by_core.setdefault(_core(name), []).append(name)
    matches: dict[str, str] = {}
    unknown = []
    for name in found:
        candidates = [name] if name in known else by_core.get(_core(name), [])
        if len(candidates) == 1:
            matches[name] = candidates[0]
        else:
            unknown.append(name)
    if unknown and not (partly and matches):
        raise DataError(
            f"{where}: no chromosome of the genome is named {_some(unknown)} (also not with or "
            f"without 'chr'); the genome has {_some(known)}. Use the annotation of this assembly, "
            f"or keep only the lines on its chromosomes."
        )
    targets: dict[str, str] = {}
    for name, target in matches.items():
        if target in targets:
            raise DataError(
                f"{where}: '{targets[target]}' and '{name}' would both mean chromosome '{target}'; "
                f"write one name throughout."
            )
        targets[target] = name
    return matches


def _core(name: str) -> str:
    """Strip what assemblies disagree about: the prefix ``chr``, and the mitochondrion's name."""
    bare = name[3:] if name[:3].lower() == "chr" else name
    return "M" if bare.lower() in _MITOCHONDRION else bare


def _some(names: list[str], limit: int = 5) -> str:
    """Quote the first few names, and say how many more there are."""
    shown = ", ".join(f"'{name}'" for name in names[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


def read_bed(path: str | Path, lengths: Mapping[str, int]) -> dict[str, Intervals]:
    """Read the first three columns of a BED file, plain or gzip.

    Comment, ``track`` and ``browser`` lines are skipped, and so are intervals of no length. Names
    are matched with `match_names`.

    Args:
        path: The BED file; 0-based, half-open by definition of the format.
        lengths: Length of each chromosome of the genome, in bases.

    Returns:
        For every chromosome of ``lengths`` its rows ``(start, end)``, sorted, not merged; shape
        ``(0, 2)`` where the file has none.

    Raises:
        DataError: If the file is missing, unreadable or holds no interval; if a line is not BED, or
            lies outside its chromosome; if a chromosome name fits nothing in the genome.
    """
    path = Path(path).expanduser()
    rows: dict[str, list[tuple[int, int, int]]] = {}
    for number, line in enumerate(text_lines(path), start=1):
        if not line.strip() or line.startswith(("#", "track", "browser")):
            continue
        chrom, start, end = _bed_fields(line, f"{path}, line {number}")
        if end > start:
            rows.setdefault(chrom, []).append((start, end, number))
    if not rows:
        raise DataError(f"{path} holds no interval; expected lines of chrom, start, end.")
    intervals = {chrom: as_intervals([]) for chrom in lengths}
    for name, chrom in match_names(rows, lengths, where=str(path)).items():
        table = np.array(rows[name], dtype=np.int64)
        outside = np.flatnonzero(table[:, 1] > lengths[chrom])
        if len(outside):
            start, end, number = table[outside[0]].tolist()
            raise DataError(
                f"{path}, line {number}: interval {name}:{start}-{end} ends beyond chromosome "
                f"'{chrom}' of {lengths[chrom]} bases; the file belongs to another assembly."
            )
        intervals[chrom] = table[np.lexsort((table[:, 1], table[:, 0])), :2].copy()
    return intervals


def _bed_fields(line: str, where: str) -> tuple[str, int, int]:
    """Parse chrom, start and end of one line."""
    fields = line.split("\t") if "\t" in line else line.split()
    try:
        chrom, start, end = fields[0].strip(), int(fields[1]), int(fields[2])
    except (IndexError, ValueError):
        raise DataError(
            f"{where}: {line.strip()[:80]!r} is not BED; expected chrom, start, end separated by "
            f"tabs, with whole numbers."
        ) from None
    if not 0 <= start <= end:
        raise DataError(f"{where}: {chrom}:{start}-{end}: expected 0 <= start <= end, 0-based.")
    return chrom, start, end

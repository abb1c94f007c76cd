"""How intervals lie to a set of others: bases in common, and the distance to the nearest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import DataError
from lightning_dna.genome.intervals import Intervals, bases_before, merge

Integers = npt.NDArray[np.int64]

FAR = np.iinfo(np.int64).max
"""Distance where a chromosome has no other interval."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """Intervals on chromosomes, 0-based and half-open; an empty name means an unknown place.

    Attributes:
        chrom: Name of each chromosome, shape ``(n,)``.
        start: First base, shape ``(n,)``.
        end: End, excluded, shape ``(n,)``.

    Raises:
        DataError: If the columns differ in length, or a known interval is empty or begins before 0.
    """

    chrom: npt.NDArray[np.str_]
    start: Integers
    end: Integers

    def __post_init__(self) -> None:
        if not len(self.chrom) == len(self.start) == len(self.end):
            raise DataError("chromosomes, starts and ends differ in number; give one of each.")
        wrong = np.flatnonzero(self.known & ((self.start < 0) | (self.start >= self.end)))
        if len(wrong):
            first = int(wrong[0])
            raise DataError(
                f"{len(wrong)} intervals are empty or begin before 0, the first one "
                f"{self.chrom[first]}:{self.start[first]}-{self.end[first]}; expected 0-based, "
                f"half-open intervals with 0 <= start < end."
            )

    def __len__(self) -> int:
        return len(self.chrom)

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Whether each place is known, shape ``(n,)``."""
        return np.asarray(self.chrom != "")

    def select(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> "Places":
        """Return some of the places, by index or by flag."""
        return Places(chrom=self.chrom[rows], start=self.start[rows], end=self.end[rows])

    @classmethod
    def of(cls, rows: Sequence[tuple[str, int, int] | None]) -> "Places":
        """Put (chromosome, start, end) rows into columns; ``None`` is an unknown place.

        Example:
            >>> Places.of([("chr1", 5, 9), None]).known.tolist()
            [True, False]
        """
        filled = [("", 0, 0) if row is None else row for row in rows]
        return cls(
            chrom=np.array([row[0] for row in filled], dtype=np.str_),
            start=np.array([row[1] for row in filled], dtype=np.int64),
            end=np.array([row[2] for row in filled], dtype=np.int64),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Nearness:
    """How each of some places lies to a set of others; arrays of shape ``(n,)``.

    Attributes:
        overlap: Bases that the others cover, however many of them do.
        distance: Bases between the place and the nearest other; 0 where they overlap or touch,
            ``FAR`` where its chromosome has none or the place is unknown.
        identical: Whether another has the same chromosome, start and end.
    """

    overlap: Integers
    distance: Integers
    identical: npt.NDArray[np.bool_]


def nearness(places: Places, others: Places) -> Nearness:
    """Compare places with a set of others, whatever the strand.

    Args:
        places: What is asked about.
        others: What it is compared with; unknown ones are left out.

    Returns:
        Overlap, distance and identity of each place.

    Example:
        >>> found = nearness(
        ...     Places.of([("I", 0, 10), ("I", 20, 30), ("II", 0, 10)]), Places.of([("I", 5, 12)])
        ... )
        >>> found.overlap.tolist(), found.distance.tolist()[:2]
        ([5, 0, 0], [0, 8])
    """
    overlap = np.zeros(len(places), dtype=np.int64)
    distance = np.full(len(places), FAR, dtype=np.int64)
    identical = np.zeros(len(places), dtype=np.bool_)
    mine, theirs = np.flatnonzero(places.known), np.flatnonzero(others.known)
    if len(mine) and len(theirs):
        # All chromosomes on one line, further apart than any two places of one chromosome.
        reach = 1 + max(int(places.end[mine].max()), int(others.end[theirs].max()))
        names = np.concatenate((places.chrom[mine], others.chrom[theirs]))
        shift = 2 * reach * np.unique(names, return_inverse=True)[1].astype(np.int64)
        start = places.start[mine] + shift[: len(mine)]
        end = places.end[mine] + shift[: len(mine)]
        rows = np.stack((others.start[theirs], others.end[theirs]), axis=1)
        rows += shift[len(mine) :, None]
        covered = merge(rows)
        overlap[mine] = bases_before(covered, end) - bases_before(covered, start)
        gap = _gap(covered, start, end)
        distance[mine] = np.where(gap < reach, gap, FAR)
        known = set(map(tuple, rows.tolist()))
        pairs = zip(start.tolist(), end.tolist(), strict=True)
        identical[mine] = [pair in known for pair in pairs]
    return Nearness(overlap=overlap, distance=distance, identical=identical)


def _gap(covered: Intervals, start: Integers, end: Integers) -> Integers:
    """Return the bases between each interval and the nearest one of a merged set."""
    after = np.searchsorted(covered[:, 0], end, side="left")  # the first that begins at the end
    before = after - 1  # the last that begins within or left of the interval
    right = np.where(
        after < len(covered), covered[np.minimum(after, len(covered) - 1), 0] - end, FAR
    )
    left = np.where(before >= 0, start - covered[np.maximum(before, 0), 1], FAR)
    return np.asarray(np.minimum(np.maximum(left, 0), right), dtype=np.int64)

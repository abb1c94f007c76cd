"""Coordinates of a changed sequence: from its bases to those of the reference, and back."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Segment(NamedTuple):
    """A stretch of a changed sequence.

    Attributes:
        length: Bases.
        reference: Reference position of its first base; for inserted bases that of the base before.
        step: 1 where it follows the reference, -1 where it is inverted, 0 where it is inserted.
    """

    length: int
    reference: int
    step: int


class CoordinateMap:
    """The segments of one chromosome, in order.

    Args:
        segments: They make up the changed chromosome, end to end.

    Example:
        >>> there = CoordinateMap([Segment(3, 0, 1), Segment(2, 2, 0), Segment(4, 3, 1)])
        >>> there.to_reference(np.arange(9))[0].tolist()
        [0, 1, 2, 2, 2, 3, 4, 5, 6]
        >>> there.from_reference(np.array([2, 3, 7])).tolist()
        [2, 5, -1]
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        table = np.array(segments, dtype=np.int64).reshape(-1, 3)
        table = table[table[:, 0] > 0]
        self.lengths, self.references, self.steps = (np.ascontiguousarray(c) for c in table.T)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.length = int(self.lengths.sum())
        kept = np.flatnonzero(self.steps)
        # The lowest reference position of each stretch that is there, and what lies on it.
        low = np.minimum(self.references, self.references + self.steps * (self.lengths - 1))
        self._by_reference = kept[np.argsort(low[kept], kind="stable")]
        self._low = low[self._by_reference]

    def to_reference(self, positions: Positions) -> tuple[Positions, Flags]:
        """Return the reference position of some bases, and which of them are inserted.

        Args:
            positions: Positions in the changed chromosome, 0-based, any shape.

        Returns:
            Two arrays of that shape. Inserted bases have the position of the base before them.

        Raises:
            IndexError: If a position lies outside of the changed chromosome.
        """
        positions = np.asarray(positions, dtype=np.int64)
        if positions.size and not 0 <= positions.min() <= positions.max() < self.length:
            raise IndexError(f"positions outside of 0 to {self.length - 1}")
        row = np.searchsorted(self.starts, positions, side="right") - 1
        found = self.references[row] + self.steps[row] * (positions - self.starts[row])
        return found, self.steps[row] == 0

    def from_reference(self, positions: Positions) -> Positions:
        """Return the place of some reference bases in the changed chromosome; -1 where deleted.

        Args:
            positions: Reference positions, 0-based, any shape.
        """
        positions = np.asarray(positions, dtype=np.int64)
        if len(self._low) == 0:
            return np.full_like(positions, -1)
        place = np.searchsorted(self._low, positions, side="right") - 1
        row = self._by_reference[np.maximum(place, 0)]
        into = positions - self._low[np.maximum(place, 0)]
        inside = (place >= 0) & (into < self.lengths[row])
        along = np.where(self.steps[row] > 0, into, self.lengths[row] - 1 - into)
        return np.where(inside, self.starts[row] + along, -1).astype(np.int64)

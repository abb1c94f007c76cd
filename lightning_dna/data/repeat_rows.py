"""What a repeat policy changes in the rows of a step: joined stretches, classes, hidden repeats."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightning_dna.data.stream import Rows
from lightning_dna.genome.alphabet import SOFT_MASK, Codes, N
from lightning_dna.genome.intervals import Intervals, covered
from lightning_dna.genome.repeat_annotation import RepeatAnnotation


class JoinedStretches:
    """From coordinates along joined stretches back to pieces of the genome.

    Args:
        joined: The joined stretches of each chromosome, as in ``Windows.joined``.
    """

    def __init__(self, joined: Sequence[Intervals]) -> None:
        everything = np.concatenate([*joined])
        sizes = np.diff(everything).ravel()
        self._starts = everything[:, 0]
        self._ends = np.cumsum(sizes)  # of each stretch, along all chromosomes joined
        self._firsts = self._ends - sizes
        totals = [int(np.diff(stretches).sum()) for stretches in joined]
        self._bases = np.cumsum([0, *totals])[:-1]  # where each chromosome begins there

    def pieces(self, rows: Rows) -> Rows:
        """Cut rows at junctions: the same bases in the same order, in genomic coordinates.

        Args:
            rows: Rows whose ``starts`` and ``ends`` count along the joined stretches.

        Returns:
            One row or more for each; those of a row that is read on the reverse strand come last
            piece first.
        """
        low = self._bases[rows.chrom_index] + rows.starts
        high = self._bases[rows.chrom_index] + rows.ends
        first = np.searchsorted(self._ends, low, side="right")
        last = np.searchsorted(self._ends, high, side="left")
        counts = last - first + 1
        owner = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        flipped = rows.flipped[owner]
        piece = np.where(flipped, last[owner] - within, first[owner] + within)
        shift = self._starts[piece] - self._firsts[piece]
        return Rows(
            chrom_index=rows.chrom_index[owner],
            starts=np.maximum(low[owner], self._firsts[piece]) + shift,
            ends=np.minimum(high[owner], self._ends[piece]) + shift,
            flipped=flipped,
        )


class ClassMarks:
    """Marks only the repeats of some classes as repeats, in place of the soft mask.

    Args:
        repeats: Repeats by class.
        chroms: Chromosome names that rows point into.
        classes: Classes that are marked.
    """

    def __init__(
        self, repeats: RepeatAnnotation, chroms: Sequence[str], classes: Sequence[str]
    ) -> None:
        self._stretches = [repeats.intervals(chrom, classes) for chrom in chroms]

    def mark(self, stored: Codes, rows: Rows) -> None:
        """Set the soft-mask bit of the stored bytes of some rows anew, in place.

        Args:
            stored: The bytes of the rows one after the other, as `gather` returns them.
            rows: The rows, in genomic coordinates.
        """
        flags = np.empty(len(stored), dtype=np.bool_)
        at = 0
        columns = (column.tolist() for column in rows)
        for index, start, end, flipped in zip(*columns, strict=True):
            found = covered(self._stretches[index], start, end)
            flags[at : at + end - start] = found[::-1] if flipped else found
            at += end - start
        stored &= np.uint8(~SOFT_MASK & 0xFF)
        stored |= flags.view(np.uint8) * np.uint8(SOFT_MASK)


def hide_repeats(stored: Codes) -> None:
    """Turn marked bases into N, in place: seen as unknown, never predicted."""
    repeat: NDArray[np.bool_] = (stored & SOFT_MASK) != 0
    stored[repeat] = N

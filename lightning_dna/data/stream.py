"""The order in which training sees the genome: permuted windows laid end to end, without end.

Step ``s`` owns the tokens ``[s * T, (s + 1) * T)`` of this stream, whatever the row length of that
step. Arms with the same windows therefore see the same bases in the same order with the same masks,
with or without length warm-up, and resuming needs the number of the step and nothing else.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_dna.data.windows import Windows

_ORDER_STREAM = 0x6F726465  # "orde": keeps these draws apart from any other use of the same seed


class Rows(NamedTuple):
    """The rows of one step, in stream order; all arrays have shape (rows,).

    Attributes:
        chrom_index: Chromosome of each row, as in the windows.
        starts: First base on the forward strand, 0-based.
        ends: End on the forward strand, excluded.
        flipped: Whether the row is read on the reverse strand.
    """

    chrom_index: NDArray[np.int32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    flipped: NDArray[np.bool_]


class WindowStream:
    """Windows in an order drawn anew in every epoch, and the rows of any stretch of that stream.

    Args:
        windows: The training windows.
        seed: Seed of order and strand, 0 or more.
        reverse_complement: Whether each window is turned with probability one half in each epoch.
    """

    def __init__(self, windows: Windows, *, seed: int, reverse_complement: bool) -> None:
        self.windows = windows
        self.seed = seed
        self.reverse_complement = reverse_complement
        self._lengths = windows.lengths  # kept: a property that subtracts anew for every step
        self.total = int(self._lengths.sum())
        self._epoch = -1
        self._draw(0)

    def _draw(self, epoch: int) -> None:
        """Permute the windows for one epoch; kept until another epoch is asked for."""
        if epoch == self._epoch:
            return
        bits = np.random.Philox(key=self.seed, counter=[0, 0, _ORDER_STREAM, epoch])
        generator = np.random.Generator(bits)
        self._order = generator.permutation(len(self.windows))
        self._ends = np.cumsum(self._lengths[self._order])
        flips = generator.random(len(self.windows)) < 0.5
        self._flips = flips if self.reverse_complement else np.zeros_like(flips)
        self._epoch = epoch

    def rows(self, first: int, count: int, longest: int) -> Rows:
        """Return the rows that hold tokens ``[first, first + count)`` of the stream.

        The stretch is cut at window ends, and each piece into the fewest rows of at most
        ``longest`` bases, equally long but for one base.
        """
        parts = []
        while count > 0:
            epoch, local = divmod(first, self.total)
            take = min(count, self.total - local)
            self._draw(epoch)
            parts.append(self._pieces(local, local + take, longest))
            first, count = first + take, count - take
        if len(parts) == 1:
            return parts[0]
        return Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _pieces(self, low: int, high: int, longest: int) -> Rows:
        """Cut one stretch within an epoch."""
        a = int(np.searchsorted(self._ends, low, side="right"))
        b = int(np.searchsorted(self._ends, high, side="left")) + 1
        chosen = self._order[a:b]
        ends = self._ends[a:b]
        lengths = self._lengths[chosen]
        window_first = ends - lengths
        piece_low = np.maximum(window_first, low) - window_first
        piece_high = np.minimum(ends, high) - window_first
        size = piece_high - piece_low
        cuts = -(-size // longest)
        piece = np.repeat(np.arange(len(chosen)), cuts)
        within = np.arange(len(piece)) - np.repeat(np.cumsum(cuts) - cuts, cuts)
        row_low = piece_low[piece] + within * size[piece] // cuts[piece]
        row_high = piece_low[piece] + (within + 1) * size[piece] // cuts[piece]
        return self._on_genome(chosen[piece], row_low, row_high, self._flips[chosen[piece]])

    def _on_genome(
        self,
        window: NDArray[np.int64],
        low: NDArray[np.int64],
        high: NDArray[np.int64],
        flipped: NDArray[np.bool_],
    ) -> Rows:
        """Turn offsets along the read strand into forward-strand coordinates."""
        starts, ends = self.windows.starts[window], self.windows.ends[window]
        return Rows(
            chrom_index=self.windows.chrom_index[window],
            starts=np.where(flipped, ends - high, starts + low),
            ends=np.where(flipped, ends - low, starts + high),
            flipped=flipped,
        )

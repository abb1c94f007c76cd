"""The order in which training sees the genome: permuted windows laid end to end, without end.

Step ``s`` owns the tokens ``[s * T, (s + 1) * T)`` of this stream, whatever the row length of that
step. Arms with the same windows therefore see the same bases in the same order with the same masks,
with or without length warm-up, and resuming needs the number of the step and nothing else.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lightning_dna.data.windows import Windows

_MOST_KEPT = 2**23  # windows, over epochs; 17 bytes each
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


class Stretches(NamedTuple):
    """Stretches of the stream, each within one window; both arrays have shape (stretches,).

    Attributes:
        first: Position of the first token, counted over all epochs.
        size: Number of tokens.
    """

    first: NDArray[np.int64]
    size: NDArray[np.int64]

    def take(self, chosen: NDArray[np.int64] | slice) -> "Stretches":
        """Return some of the stretches, in the order asked for."""
        return Stretches(self.first[chosen], self.size[chosen])


class TokenStream(Protocol):
    """Windows laid end to end without end, and where any stretch of them lies on the genome."""

    windows: Windows
    seed: int

    def pieces(self, first: int, count: int) -> Stretches:
        """Return tokens ``[first, first + count)`` of the stream, cut at window ends."""

    def whole_windows(self, first: int, count: int) -> Stretches:
        """Return windows ``[first, first + count)`` in the order of the stream."""

    def window_of(self, first: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place in the stream of the windows that hold some tokens."""

    def at(self, stretches: Stretches) -> Rows:
        """Return where stretches of the stream lie on the genome, in their order."""


class _Epoch(NamedTuple):
    """One order of the windows, where each ends in it, and which are turned."""

    order: NDArray[np.int64]
    ends: NDArray[np.int64]
    flips: NDArray[np.bool_]


class WindowStream:
    """Windows in an order drawn anew in every epoch, and the rows of any stretch of that stream.

    Args:
        windows: The training windows.
        seed: Seed of order and strand, 0 or more.
        reverse_complement: Whether each window is turned with probability one half in each epoch.
        draws: Tells the draws of several streams with the same seed apart, 0 or more.
    """

    def __init__(
        self, windows: Windows, *, seed: int, reverse_complement: bool, draws: int = 0
    ) -> None:
        self.windows = windows
        self.seed = seed
        self.reverse_complement = reverse_complement
        self._draws = draws
        self._lengths = windows.lengths  # kept: a property that subtracts anew for every step
        self.total = int(self._lengths.sum())
        self._drawn: dict[int, _Epoch] = {}
        self._draw(0)

    def _draw(self, epoch: int) -> None:
        """Permute the windows for one epoch; some epochs are kept, as many as are small."""
        if epoch not in self._drawn:
            bits = np.random.Philox(key=self.seed, counter=[0, self._draws, _ORDER_STREAM, epoch])
            generator = np.random.Generator(bits)
            order = generator.permutation(len(self.windows))
            flips = generator.random(len(self.windows)) < 0.5
            if not self.reverse_complement:
                flips = np.zeros_like(flips)
            if self._drawn and (len(self._drawn) + 1) * len(order) > _MOST_KEPT:
                del self._drawn[next(iter(self._drawn))]
            self._drawn[epoch] = _Epoch(order, np.cumsum(self._lengths[order]), flips)
        self._order, self._ends, self._flips = self._drawn[epoch]

    def rows(self, first: int, count: int, longest: int) -> Rows:
        """Return the rows that hold tokens ``[first, first + count)`` of the stream.

        The stretch is cut at window ends, and each piece into the fewest rows of at most
        ``longest`` bases, equally long but for one base.
        """
        return self.at(cut(self.pieces(first, count), longest))

    def pieces(self, first: int, count: int) -> Stretches:
        """Return tokens ``[first, first + count)`` of the stream, cut at window ends."""
        parts = []
        while count > 0:
            epoch, local = divmod(first, self.total)
            take = min(count, self.total - local)
            self._draw(epoch)
            a = int(np.searchsorted(self._ends, local, side="right"))
            b = int(np.searchsorted(self._ends, local + take, side="left")) + 1
            bounds = np.empty(b - a + 1, dtype=np.int64)
            bounds[0], bounds[1:-1], bounds[-1] = local, self._ends[a : b - 1], local + take
            bounds += epoch * self.total
            parts.append(Stretches(bounds[:-1], bounds[1:] - bounds[:-1]))
            first, count = first + take, count - take
        if len(parts) == 1:
            return parts[0]
        return Stretches(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def whole_windows(self, first: int, count: int) -> Stretches:
        """Return windows ``[first, first + count)`` in the order of the stream, over epochs."""
        parts = []
        while count > 0:
            epoch, rank = divmod(first, len(self.windows))
            take = min(count, len(self.windows) - rank)
            self._draw(epoch)
            sizes = self._lengths[self._order[rank : rank + take]]
            ends = self._ends[rank : rank + take] + epoch * self.total
            parts.append(Stretches(ends - sizes, sizes))
            first, count = first + take, count - take
        return Stretches(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def window_of(self, first: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place in the stream, over epochs, of the windows that hold some tokens."""
        places = np.empty_like(first)
        for epoch, here in _by_epoch(first // self.total):
            self._draw(epoch)
            local = first[here] - epoch * self.total
            places[here] = np.searchsorted(self._ends, local, side="right")
            places[here] += epoch * len(self.windows)
        return places

    def at(self, stretches: Stretches) -> Rows:
        """Return where stretches of the stream lie on the genome, in their order."""
        epochs = stretches.first // self.total
        if epochs[0] == epochs[-1] and (epochs == epochs[0]).all():
            return self._within(int(epochs[0]), stretches)
        parts, order = [], []
        for epoch, here in _by_epoch(epochs):
            parts.append(self._within(epoch, stretches.take(here)))
            order.append(here)
        back = np.argsort(np.concatenate(order))
        return Rows(*(np.concatenate(columns)[back] for columns in zip(*parts, strict=True)))

    def _within(self, epoch: int, stretches: Stretches) -> Rows:
        """Return where stretches of one epoch lie on the genome."""
        self._draw(epoch)
        local = stretches.first - epoch * self.total
        place = np.searchsorted(self._ends, local, side="right")
        window = self._order[place]
        low = local - self._ends[place] + self._lengths[window]
        return self._on_genome(window, low, low + stretches.size, self._flips[window])

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


def cut(pieces: Stretches, longest: int | NDArray[np.int64]) -> Stretches:
    """Cut each piece into the fewest rows of at most ``longest``, equally long but for one base.

    Args:
        pieces: Stretches of the stream.
        longest: Tokens of the longest row, for all pieces or for each.

    Example:
        >>> rows = cut(Stretches(np.array([0, 7]), np.array([7, 3])), 3)
        >>> rows.first.tolist(), rows.size.tolist()
        ([0, 2, 4, 7], [2, 2, 3, 3])
    """
    cuts = -(-pieces.size // longest)
    piece = np.repeat(np.arange(len(cuts)), cuts)
    within = np.arange(len(piece)) - np.repeat(np.cumsum(cuts) - cuts, cuts)
    size, parts = pieces.size[piece], cuts[piece]
    low = within * size // parts
    return Stretches(pieces.first[piece] + low, (within + 1) * size // parts - low)


def _by_epoch(epochs: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield every epoch that occurs, ascending, with the places where it does."""
    for epoch in np.unique(epochs).tolist():
        yield epoch, np.flatnonzero(epochs == epoch)

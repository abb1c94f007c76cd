"""One stream of windows from several sources, each with its exact share at every point of a run.

Every source has an endless stream of its own (`WindowStream`). Their windows are put in the order
of ``middle / share``, where ``middle`` counts the bases of the source's own stream up to the middle
of the window, as a fair queue serves packets. What has been read at any point is then known without
reading, and of the first ``n`` bases a source with share ``w`` has given ``w * n``, to within one
window of each source.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_dna.data.stream import Rows, Stretches, WindowStream
from lightning_dna.data.windows import Windows

_BLOCK = 1 << 20  # bases of which the order is worked out at a time, or some windows if more
_MOST_KEPT = 2**21  # windows of blocks that are kept; 40 bytes each


class Source(NamedTuple):
    """One of several sources.

    Attributes:
        stream: Its windows in their own order.
        share: Its share of the bases, above 0; those of all sources add up to 1.
        first_chrom: Where its chromosomes begin among those of all sources.
    """

    stream: WindowStream
    share: float
    first_chrom: int


class _Block(NamedTuple):
    """The windows that hold the bases of one block, in the order of the mixed stream.

    Attributes:
        first: First base of each window in the mixed stream, shape (n,).
        size: Bases, shape (n,).
        source: Number of its source, shape (n,).
        local: First base in the source's own stream, shape (n,).
        place: Number of windows of the mixed stream before the first of these.
        before: Bases of each source before the first of these, shape (sources,).
    """

    first: NDArray[np.int64]
    size: NDArray[np.int64]
    source: NDArray[np.int64]
    local: NDArray[np.int64]
    place: int
    before: NDArray[np.int64]


class MixedStream:
    """The windows of several sources as one `TokenStream`; any part is found without the others.

    Args:
        windows: The windows of all sources.
        sources: The sources, in the order of their chromosomes in ``windows``.
        seed: Seed of the sources' streams.
    """

    def __init__(self, windows: Windows, sources: Sequence[Source], *, seed: int) -> None:
        self.windows = windows
        self.seed = seed
        self.sources = tuple(sources)
        lengths = [source.stream.windows.lengths for source in self.sources]
        self._shortest = int(min(found.min() for found in lengths))
        self._longest = [int(found.max()) for found in lengths]
        self._size = max(_BLOCK, 64 * sum(self._longest))
        self._kept: dict[int, _Block] = {}

    def pieces(self, first: int, count: int) -> Stretches:
        """Return tokens ``[first, first + count)`` of the stream, cut at window ends."""
        starts: list[NDArray[np.int64]] = []
        ends: list[NDArray[np.int64]] = []
        for number in range(first // self._size, (first + count - 1) // self._size + 1):
            block = self._block(number)
            # A window that reaches over the end of a block is in both; it counts in the first.
            low = max(first, number * self._size if starts else 0)
            a = int(np.searchsorted(block.first, low, side="left" if starts else "right"))
            a = a if starts else max(a - 1, 0)
            b = int(np.searchsorted(block.first, first + count, side="left"))
            starts.append(block.first[a:b])
            ends.append(block.first[a:b] + block.size[a:b])
        begin = np.maximum(np.concatenate(starts), first)
        end = np.minimum(np.concatenate(ends), first + count)
        return Stretches(begin, end - begin)

    def whole_windows(self, first: int, count: int) -> Stretches:
        """Return windows ``[first, first + count)`` in the order of the stream."""
        number = self._block_of_window(first)
        firsts, sizes, left = [], [], count
        while left > 0:
            block = self._block(number)
            a = first + count - left - block.place
            firsts.append(block.first[a : a + left])
            sizes.append(block.size[a : a + left])
            left -= len(firsts[-1])
            number += 1
        return Stretches(np.concatenate(firsts), np.concatenate(sizes))

    def window_of(self, first: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place in the stream of the windows that hold some tokens."""
        places = np.empty_like(first)
        for number, here in self._by_block(first):
            block = self._block(number)
            rank = np.searchsorted(block.first, first[here], side="right") - 1
            places[here] = block.place + rank
        return places

    def at(self, stretches: Stretches) -> Rows:
        """Return where stretches of the stream lie on the genomes, in their order."""
        source, local = np.empty_like(stretches.first), np.empty_like(stretches.first)
        for number, here in self._by_block(stretches.first):
            block, first = self._block(number), stretches.first[here]
            window = np.searchsorted(block.first, first, side="right") - 1
            source[here] = block.source[window]
            local[here] = block.local[window] + first - block.first[window]
        parts, order = [], []
        for number in np.unique(source).tolist():
            here = np.flatnonzero(source == number)
            rows = self.sources[number].stream.at(Stretches(local[here], stretches.size[here]))
            shift = np.int32(self.sources[number].first_chrom)
            parts.append(rows._replace(chrom_index=rows.chrom_index + shift))
            order.append(here)
        back = np.argsort(np.concatenate(order))
        return Rows(*(np.concatenate(columns)[back] for columns in zip(*parts, strict=True)))

    def read_by_source(self, tokens: int) -> list[int]:
        """Return how many of the first ``tokens`` tokens come from each source."""
        block = self._block(tokens // self._size)
        size = np.clip(tokens - block.first, 0, block.size)
        read = block.before + np.bincount(block.source, size, minlength=len(block.before))
        return [int(count) for count in read]

    def _by_block(self, first: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
        """Return every block that holds some tokens, with the places of these."""
        numbers = first // self._size
        return [(n, np.flatnonzero(numbers == n)) for n in np.unique(numbers).tolist()]

    def _block_of_window(self, place: int) -> int:
        """Return the last block that begins with a window up to ``place``."""
        low = place * self._shortest // self._size
        high = (place + 1) * max(self._longest) // self._size + 1
        while high - low > 1:
            middle = (low + high) // 2
            if self._block(middle).place <= place:
                low = middle
            else:
                high = middle
        return low

    def _block(self, number: int) -> _Block:
        """Return one block; some are kept, as many as are small."""
        if number not in self._kept:
            block = self._worked_out(number)
            if self._kept and (len(self._kept) + 1) * len(block.first) > _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[number] = block
        return self._kept[number]

    def _worked_out(self, number: int) -> _Block:
        """Merge the sources around a block.

        Up to a mark ``t`` of the order, each source has given ``share * t`` bases, give or take
        half a window; so marks that lie farther out than all windows together enclose the block.
        """
        low, high = number * self._size, (number + 1) * self._size
        reach = sum(self._longest)
        marks, firsts, sizes, sources = [], [], [], []
        place, before = 0, np.zeros(len(self.sources), dtype=np.int64)
        for index, source in enumerate(self.sources):
            found, begin = self._between(source, max(0, low - reach), high + reach)
            place += begin.place
            before[index] = begin.bases
            firsts.append(found.first)
            sizes.append(found.size)
            marks.append(_marks(found, source.share))
            sources.append(np.full(len(found.first), index))
        order = np.lexsort((np.concatenate(sources), np.concatenate(marks)))
        size, local = np.concatenate(sizes)[order], np.concatenate(firsts)[order]
        which = np.concatenate(sources)[order]
        ends = before.sum() + np.cumsum(size)
        first = ends - size
        a = int(np.searchsorted(ends, low, side="right"))
        b = int(np.searchsorted(first, high, side="left"))
        before += np.bincount(which[:a], size[:a], minlength=len(before)).astype(np.int64)
        return _Block(first[a:b], size[a:b], which[a:b], local[a:b], place + a, before)

    def _between(self, source: Source, low: int, high: int) -> tuple[Stretches, "_Begin"]:
        """Return the windows of a source with marks in ``[low, high)``, and what lies before."""
        tokens = np.array([low * source.share, high * source.share]).astype(np.int64)
        first, last = source.stream.window_of(tokens).tolist()
        found = source.stream.whole_windows(first, last - first + 2)
        a, b = np.searchsorted(_marks(found, source.share), (low, high)).tolist()
        return found.take(slice(a, b)), _Begin(first + a, int(found.first[a]))


class _Begin(NamedTuple):
    """Windows and bases of a source before some point of its own stream."""

    place: int
    bases: int


def _marks(windows: Stretches, share: float) -> NDArray[np.float64]:
    """Return the place of each window in the order of the mixed stream, in bases of all sources."""
    marks: NDArray[np.float64] = (2 * windows.first + windows.size) / (2 * share)
    return marks

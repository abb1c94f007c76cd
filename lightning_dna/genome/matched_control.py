"""A control for removing repeats: as many other bases removed, in stretches just as long.

Removing repeats also makes the data smaller and cuts it into fragments. The control does the same
to sequence that is not repeat, so that what is left of the difference is due to the repeats.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import DataError
from lightning_dna.genome.intervals import Intervals, as_intervals, complement, merge, subtract

_KEY = 0x756E6971  # "uniq": keeps these draws apart from any other use of the same seed
_ROUNDS = 16  # draws for stretches of one size class before those without a place are cut

_Sizes = npt.NDArray[np.int64]


class MatchedRemoval(NamedTuple):
    """What the control removes.

    Attributes:
        removed: Chromosome to the set of bases that are removed.
        stretches: Number of stretches of repeats to be matched.
        cut: How many stretches were cut in two because no free place was long enough.
    """

    removed: dict[str, Intervals]
    stretches: int
    cut: int


def matched_removal(
    repeats: Mapping[str, Intervals],
    unknown: Mapping[str, Intervals],
    lengths: Mapping[str, int],
    *,
    seed: int,
) -> MatchedRemoval:
    """Choose, at random, unique stretches as long as the repeats, over all chromosomes together.

    Longest first, each stretch goes to a place that is drawn uniformly from all where it fits
    without touching a repeat, an unknown base or another stretch's bases. One that fits nowhere is
    cut in two. The number of bases is always that of the repeats.

    Args:
        repeats: Chromosome to the set of its repeats.
        unknown: Chromosome to the set of its N; they are neither repeat nor unique.
        lengths: Chromosome to its length in bases; the chromosomes that are pooled.
        seed: Seed of the places, 0 or more.

    Raises:
        DataError: If there are more bases in repeats than outside of them.
    """
    chroms = [*lengths]
    # One axis for all chromosomes, with a gap between them that no stretch can bridge.
    offsets = np.cumsum([0, *(lengths[chrom] + 1 for chrom in chroms)])
    known = {chrom: subtract(repeats[chrom], unknown[chrom]) for chrom in chroms}
    free = np.concatenate(
        [
            complement(merge(np.concatenate((repeats[chrom], unknown[chrom]))), lengths[chrom])
            + offset
            for chrom, offset in zip(chroms, offsets[:-1], strict=True)
        ]
    )
    sizes = np.concatenate([np.diff(known[chrom]).ravel() for chrom in chroms])
    available = int(np.diff(free).sum())
    if sizes.sum() >= available:
        raise DataError(
            f"{int(sizes.sum())} bases are repeats and {available} are not, so as many of these "
            f"cannot be removed as a control with anything left over; treat fewer classes of "
            f"repeats, or leave this control out."
        )
    rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, _KEY, 0]))
    placed, cut = _place(sizes, free, rng)
    removed = {}
    for chrom, offset in zip(chroms, offsets[:-1].tolist(), strict=True):
        low, high = np.searchsorted(placed[:, 0], [offset, offset + lengths[chrom]])
        removed[chrom] = merge(placed[low:high] - offset)
    return MatchedRemoval(removed, len(sizes), cut)


def _place(sizes: _Sizes, free: Intervals, rng: np.random.Generator) -> tuple[Intervals, int]:
    """Lay stretches into free ones; returns them sorted, and how many were cut."""
    placed, cut = [as_intervals([])], 0
    for power in range(int(sizes.max(initial=1)).bit_length() - 1, 0, -1):
        floor = 1 << power
        now, sizes = sizes[sizes >= floor], sizes[sizes < floor]
        for _ in range(_ROUNDS):
            roomy = free[free[:, 1] - free[:, 0] >= floor]
            if len(now) == 0 or len(roomy) == 0:
                break
            chosen, rows = _draw(now, roomy, floor, rng)
            placed.append(rows)
            free = subtract(free, merge(rows))
            now = now[~chosen]
        cut += len(now)
        halves = np.concatenate((now // 2, now - now // 2))
        # Half of an odd size can be as long as the floor: one base of it goes on alone.
        long = halves == floor
        halves[long] -= 1
        sizes = np.concatenate((sizes, halves, np.ones(int(long.sum()), dtype=np.int64)))
    singles = np.sort(rng.choice(int(np.diff(free).sum()), size=len(sizes), replace=False))
    ends = np.cumsum(np.diff(free).ravel())
    row = np.searchsorted(ends, singles, side="right")
    bases = free[row, 1] - (ends[row] - singles)
    placed.append(np.stack((bases, bases + 1), axis=1))
    everything = np.concatenate(placed)
    return everything[np.argsort(everything[:, 0])], cut


def _draw(
    sizes: _Sizes, roomy: Intervals, floor: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.bool_], Intervals]:
    """Draw a place for each stretch; returns which ones got theirs, and the places, sorted."""
    starts = np.cumsum(roomy[:, 1] - roomy[:, 0] - floor + 1)
    drawn = rng.integers(0, int(starts[-1]), size=len(sizes))
    row = np.searchsorted(starts, drawn, side="right")
    low = roomy[row, 1] - floor - (starts[row] - 1 - drawn)
    fits = np.flatnonzero(low + sizes <= roomy[row, 1])
    order = fits[np.argsort(low[fits], kind="stable")]
    high = low[order] + sizes[order]
    # A place is kept if it begins after all before it have ended.
    reach = np.maximum.accumulate(np.concatenate(([0], high[:-1])))
    kept = order[low[order] >= reach]
    chosen = np.zeros(len(sizes), dtype=np.bool_)
    chosen[kept] = True
    return chosen, np.stack((low[kept], low[kept] + sizes[kept]), axis=1)

"""Exchange test: swap the two arms on random units, where a bootstrap sees no variance at all."""

import numpy as np
from numpy.random import SFC64, Generator, SeedSequence

from lightning_dna.stats.columns import UnitStatistics
from lightning_dna.stats.intervals import Alternative
from lightning_dna.stats.metrics import Metric
from lightning_dna.stats.predictions import Floats, Integers

ENUMERATED = 12
"""With at most this many differing units all 2^m exchanges are listed; with more they are drawn."""

_STREAM = 0x45584348
"""Key of this test's random stream, apart from the resampling streams."""


def exchange_p_value(
    statistics: tuple[UnitStatistics, ...],
    metric: Metric,
    number: int,
    first: tuple[int, Integers],
    second: tuple[int, Integers],
    *,
    n_resamples: int,
    seed: int,
    alternative: Alternative = "two-sided",
) -> float:
    """Return the p-value of "the two arms are exchangeable on every unit".

    Units on which the arms have equal statistics do not matter, so only the others are swapped: a
    unit's statistics of all seeds move together. With m differing units the smallest p is 2^-m (or
    2^(1-m) two-sided): three perfect answers against three wrong ones are no proof.

    Args:
        statistics: Unit-level statistics, one entry per part.
        metric: Row of the metric.
        number: Position of the metric in ``statistics[...].index``.
        first: Variant position and seed positions of the first arm.
        second: The same of the second arm; surplus seeds of the longer arm are left out.
        n_resamples: Number of random exchanges where listing all is too much.
        seed: Seed of the random exchanges.
        alternative: Direction of the claim about first minus second.

    Returns:
        Share of exchanges at least as extreme as the data; (1 + count) / (n + 1) if drawn.
    """
    n_seeds = min(len(first[1]), len(second[1]))
    sides = []
    for part in statistics:
        left = part.matrix[:, part.index[number][first[0], first[1][:n_seeds]]]
        right = part.matrix[:, part.index[number][second[0], second[1][:n_seeds]]]
        differs = (left != right).any(axis=(1, 2))
        sides.append((part.sign, left.sum(axis=0), right.sum(axis=0), (right - left)[differs]))
    counts = [len(gap) for _, _, _, gap in sides]
    total = sum(counts)
    observed = float(_difference(sides, metric, np.zeros((1, total)))[0])
    if total <= ENUMERATED:
        swaps = (np.arange(2**total)[:, None] >> np.arange(total) & 1).astype(np.float64)
        return float(_extreme(_difference(sides, metric, swaps), observed, alternative).mean())
    generator = Generator(SFC64(SeedSequence(seed, spawn_key=(_STREAM,))))
    count = 0
    for start in range(0, n_resamples, 64):
        size = min(64, n_resamples - start)
        swaps = generator.integers(0, 2, size=(size, total)).astype(np.float64)
        count += int(_extreme(_difference(sides, metric, swaps), observed, alternative).sum())
    return (1 + count) / (n_resamples + 1)


def _difference(
    sides: list[tuple[int, Floats, Floats, Floats]], metric: Metric, swaps: Floats
) -> Floats:
    """Return first minus second for each row of swaps; ``sides`` are the parts of a contrast."""
    result = np.zeros(len(swaps))
    start = 0
    for sign, left, right, gap in sides:
        moved = np.tensordot(swaps[:, start : start + len(gap)], gap, axes=1)
        start += len(gap)
        one = metric.value(np.moveaxis(left + moved, -1, 0)).mean(axis=1)
        two = metric.value(np.moveaxis(right - moved, -1, 0)).mean(axis=1)
        result += sign * (one - two)
    return result


def _extreme(values: Floats, observed: float, alternative: Alternative) -> Floats:
    """Mark values as far from 0 as the observed one, allowing for the rounding of the sums."""
    slack = 1e-9 * abs(observed)
    if alternative == "two-sided":
        return np.asarray(np.abs(values) >= abs(observed) - slack)
    signed, target = (values, observed) if alternative == "greater" else (-values, -observed)
    return np.asarray(signed >= target - slack)

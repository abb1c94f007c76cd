"""Approximate randomisation: the law of a difference when the two arms are swapped on random units.

If two arms are alike, which arm gave which prediction of a unit is a coin toss. The law of the
difference under all tosses is computed here, for one example set or for a contrast of several.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args
from zlib import crc32

import numpy as np
from numpy.random import SFC64, Generator, SeedSequence
from threadpoolctl import threadpool_limits

from lightning_dna.errors import StatsError
from lightning_dna.stats.hypothesis_tests.arms import Arms
from lightning_dna.stats.intervals import SMALLEST_P, Alternative
from lightning_dna.stats.predictions import Array, Floats, Integers
from lightning_dna.stats.weights import BLOCK

LISTED = 4096
"""Up to this number of different outcomes (or ``n_resamples``, if more) all of them are listed."""

_STREAM = 0x45584348
"""Key of the random streams of the swaps, apart from the resampling streams."""


@dataclass(frozen=True, kw_only=True)
class PermutationResult:
    """What swapping the two arms on random units says about their difference.

    Attributes:
        statistic: First minus second arm, of the mean over seeds of the metric.
        p: Share of swaps at least as extreme as the data, (1 + count) / (n_resamples + 1) if drawn.
        null_sd: Standard deviation of the statistic over the swaps.
        n_resamples: Number of random swaps; 0 if all were listed.
        exact: Whether all swaps were listed.
        n_units: Number of examples or clusters.
        n_differing: Number of units on which the arms differ; the others do not matter.
        n_seeds: Number of seeds of each arm.
    """

    statistic: float
    p: float
    null_sd: float
    n_resamples: int
    exact: bool
    n_units: int
    n_differing: int
    n_seeds: int


def swap_test(
    parts: Sequence[tuple[int, Arms]],
    *,
    n_resamples: int = 9999,
    seed: int = 0,
    key: str = "",
    alternative: Alternative = "two-sided",
) -> PermutationResult:
    """Return the law of first minus second arm under random swaps.

    Args:
        parts: Sign and arms of each example set: one with +1, or the parts of a contrast.
        n_resamples: Number of random swaps where there are too many outcomes to list.
        seed: Seed of the random swaps.
        key: Name of the task: the other part of the key of the random streams.
        alternative: Direction of the claim about first minus second.

    Returns:
        The observed difference and its p-value. Swaps that leave the metric undefined count as
        extreme; where the observed difference is undefined, so is p.
    """
    sizes = np.concatenate([arms.sizes for _, arms in parts])
    outcomes = math.prod(int(size) + 1 for size in sizes[:64])  # 64 groups have too many anyway
    exact = outcomes <= max(LISTED, n_resamples)
    observed, scale = _observed(parts)
    slack = max(1e-9 * abs(observed), 1e-13 * scale)
    p, null_sd = float("nan"), float("nan")
    if math.isfinite(observed):
        blocks = _listed(sizes) if exact else _drawn(sizes, n_resamples, seed, key)
        share = moment = total = 0.0
        with threadpool_limits(1, user_api="blas"):  # threads cost such narrow products more time
            for heads, chance in blocks:
                values = _difference(parts, heads)
                share += float(chance @ _extreme(values, observed, slack, alternative))
                moment += float(chance @ np.where(np.isnan(values), 0.0, values**2))
                total += float(chance @ np.isfinite(values))
        # Swapping everything turns d into -d with the same chance, so the mean is 0.
        null_sd = math.sqrt(moment / total) if total else float("nan")
        p = share if exact else (1 + share) / (1 + n_resamples)
        p = min(1.0, max(p, SMALLEST_P))
    return PermutationResult(
        statistic=observed,
        p=p,
        null_sd=null_sd,
        n_resamples=0 if exact else n_resamples,
        exact=exact,
        n_units=sum(arms.n_units for _, arms in parts),
        n_differing=int(sizes.sum()),
        n_seeds=parts[0][1].n_seeds,
    )


def _observed(parts: Sequence[tuple[int, Arms]]) -> tuple[float, float]:
    """Return the difference of the data and the size of the numbers that it is made of."""
    difference = scale = 0.0
    for sign, arms in parts:
        first, second = arms.observed()
        difference += sign * float(first.mean(axis=0)[0] - second.mean(axis=0)[0])
        scale += float(np.abs(first).max() + np.abs(second).max())
    return difference, scale


def _difference(parts: Sequence[tuple[int, Arms]], heads: Array) -> Floats:
    """Return (tosses,) first minus second; the groups of all parts stand below one another."""
    result = np.zeros(heads.shape[1])
    start = 0
    for sign, arms in parts:
        stop = start + len(arms.sizes)
        first, second = arms.values(heads[start:stop])
        result += sign * (first.mean(axis=0) - second.mean(axis=0))
        start = stop
    return result


def _extreme(values: Floats, observed: float, slack: float, alternative: Alternative) -> Array:
    """Mark values as far from 0 as the observed one, undefined ones too."""
    if alternative == "two-sided":
        return ~(np.abs(values) < abs(observed) - slack)
    if alternative == "greater":
        return ~(values < observed - slack)
    return ~(values > observed + slack)


def _listed(sizes: Integers) -> Iterator[tuple[Array, Floats]]:
    """Yield all outcomes block by block: (groups, tosses) heads and (tosses,) probabilities."""
    chances = [_binomial(int(size)) for size in sizes]
    outcomes = math.prod(len(chance) for chance in chances)
    for start in range(0, outcomes, BLOCK):
        rest = np.arange(start, min(start + BLOCK, outcomes))
        heads = np.zeros((len(sizes), len(rest)), dtype=np.int64)
        probability = np.ones(len(rest))
        for group, chance in enumerate(chances):
            rest, heads[group] = np.divmod(rest, len(chance))
            probability *= chance[heads[group]]
        yield heads, probability


def _binomial(size: int) -> Floats:
    """Return the probabilities of 0..size heads of a fair coin, from the middle outwards."""
    heads = np.arange(size // 2, 0, -1)
    falling = np.cumprod(np.concatenate([[1.0], heads / (size - heads + 1)]))
    both = np.concatenate([falling[::-1], falling[1 - size % 2 :]])
    shares: Floats = both / both.sum()
    return shares


def _drawn(
    sizes: Integers, n_resamples: int, seed: int, key: str
) -> Iterator[tuple[Array, Floats]]:
    """Yield random outcomes block by block, each to be counted once, or 0 times if surplus."""
    single = bool((sizes == 1).all())
    for start in range(0, n_resamples, BLOCK):
        stream = SeedSequence(seed, spawn_key=(_STREAM, crc32(key.encode()), start // BLOCK))
        generator = Generator(SFC64(stream))
        heads: Array
        if single:
            octets = np.frombuffer(generator.bytes(len(sizes) * BLOCK // 8), dtype=np.uint8)
            heads = np.unpackbits(octets).reshape(len(sizes), BLOCK)
        else:
            heads = generator.binomial(sizes[:, None], 0.5, size=(len(sizes), BLOCK))
        yield heads, (np.arange(start, start + BLOCK) < n_resamples).astype(np.float64)


def check_alternative(alternative: str) -> None:
    """Raise a StatsError that names what is allowed."""
    if alternative not in get_args(Alternative):
        raise StatsError(
            f"alternative {alternative!r}; allowed: {', '.join(get_args(Alternative))}"
        )

"""Resample weights: how often each unit occurs in each replicate, drawn by the bit.

**The law.** Independent Poisson counts, given their total, are multinomial. So every unit draws a
Poisson count of a mean slightly below 1, and what is missing to the size of the data is filled by
uniform draws; the rare replicate whose total is already too large is drawn afresh, unit by unit.
All three steps leave the law of the counts exactly that of sampling with replacement.

**By the bit.** A block is 64 replicates, and bit r of every machine word belongs to replicate r.
A unit's counts in the whole block come from 12 random words: word j holds bit j of 64 numbers X
below 4096, and the count is at least k where X reaches a threshold. The probabilities of a Poisson
count are not multiples of 1/4096; the few values of X that are left over (``_Table.spare``) stand
for a draw from the exact remainder of the law.

**Keyed, not sequential.** Every word is a hash of (key of the block, position), so it does not
matter who computes it, when, and in what order: the numpy and the compiled program give the same
counts, with any number of threads. The key is made of (seed, task, stratum, block) and of nothing
else, and units are sorted by name, so a variant that is added finds the same counts.

The hash is SplitMix64 (Steele, Lea & Flood 2014), the keys come from numpy's ``SeedSequence``.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import numpy as np
from numpy.random import SeedSequence
from numpy.typing import NDArray
from scipy import special

from lightning_dna.stats.plan import Law
from lightning_dna.stats.predictions import Array, Floats, Integers

Words = NDArray[np.uint64]

BLOCK = 64
"""Replicates per block: the bits of a word. Part of the result, so it is not a setting."""

BITS = 12
"""Random words per unit and block."""

FINE = 1024
"""Steps per unit of a Bayesian weight: whole numbers keep all sums exact."""

GAMMA = 0x9E3779B97F4A7C15
MIX_1, MIX_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
LANE = 32
"""Bits that number the uniform draws of one replicate."""

_MARGIN = 2.5
"""Standard deviations by which the Poisson totals stay below the size of the data."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PoissonTable:
    """A Poisson law in multiples of 1/4096 and a remainder.

    Attributes:
        thresholds: Smallest X of a count of at least 1, 2, ...
        spare: Number of values of X, at the top, that stand for the remainder; a power of two.
        remainder: Cumulative law of the counts 0, 1, ... there.
    """

    thresholds: tuple[int, ...]
    spare: int
    remainder: Floats


@lru_cache(maxsize=256)
def poisson_table(mean: float) -> PoissonTable:
    """Split the Poisson law of a mean of at most 1 into its 12-bit part and the rest."""
    size = 2**BITS
    counts = np.arange(24)
    law = np.exp(counts * math.log(mean) - mean - special.gammaln(counts + 1))
    steps = np.floor(law * size)
    spare = 4
    while spare < size - steps.sum():
        spare *= 2
    steps[0] -= spare - (size - steps.sum())
    rest = np.cumsum(law - steps / size)
    reached = np.cumsum(steps)[:-1]
    thresholds = [int(start) for start, more in zip(reached, steps[1:], strict=True) if more > 0]
    return PoissonTable(thresholds=tuple(thresholds), spare=spare, remainder=rest / rest[-1])


def poisson_mean(n_units: int, law: Law) -> float:
    """Return the mean of the Poisson counts behind the weights of ``n_units`` units."""
    return 1.0 if law == "poisson" else max(1 - _MARGIN / math.sqrt(n_units), 0.5)


@lru_cache(maxsize=256)
def threshold_masks(table: PoissonTable) -> Words:
    """Return (levels, 12) masks: all ones where the bit of a threshold is 0, spare values first."""
    return np.array(
        [
            [0 if threshold >> bit & 1 else 2**64 - 1 for bit in range(BITS)]
            for threshold in (2**BITS - table.spare, *table.thresholds)
        ],
        dtype=np.uint64,
    )


def block_keys(seed: int, task: str, block: int, stratum: int = 0) -> Words:
    """Return the four keys of one block of replicates of one task."""
    key = (crc32(task.encode()), block) if stratum == 0 else (crc32(task.encode()), block, stratum)
    words: Words = SeedSequence(seed, spawn_key=key).generate_state(4, np.uint64)  # type: ignore[assignment]
    return words


def hashed(key: np.uint64, positions: Array) -> Words:
    """Return the random words of a key at some positions (SplitMix64)."""
    words: Words = positions.astype(np.uint64)
    words += np.uint64(1)
    words *= np.uint64(GAMMA)
    words += key
    words ^= words >> np.uint64(30)
    words *= np.uint64(MIX_1)
    words ^= words >> np.uint64(27)
    words *= np.uint64(MIX_2)
    words ^= words >> np.uint64(31)
    return words


def scaled(words: Words, size: int) -> Integers:
    """Return floor(word * size / 2^64): uniform whole numbers below ``size``."""
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    carried = ((words & low) * np.uint64(size)) >> half
    return (((words >> half) * np.uint64(size) + carried) >> half).astype(np.int64)


def draw_weights(
    keys: Words, n_units: int, law: Law, strata: tuple[Integers, ...] | None = None
) -> Array:
    """Draw the weights of one block.

    Args:
        keys: (strata, 4) keys of the block, one row without strata.
        n_units: Number of units.
        law: Law of the weights.
        strata: Positions of the units of every stratum, or ``None``.

    Returns:
        (n_units, 64) whole numbers; with ``"multinomial"`` every column sums to ``n_units`` (to
        the size of each stratum), with ``"bayesian"`` they are multiples of 1/1024 times 1024.
    """
    if strata is None:
        return _stratum_weights(keys[0], n_units, law)
    parts = [
        _stratum_weights(key, len(units), law) for key, units in zip(keys, strata, strict=True)
    ]
    weights: Array = np.empty((n_units, BLOCK), dtype=parts[0].dtype)
    for units, part in zip(strata, parts, strict=True):
        weights[units] = part
    return weights


def _stratum_weights(keys: Words, n_units: int, law: Law) -> Array:
    if law == "bayesian":
        uniform = hashed(keys[0], np.arange(n_units * BLOCK)) >> np.uint64(11)
        steps: Array = np.rint(-np.log((uniform + 0.5) * 2.0**-53) * FINE).astype(np.uint16)
        return steps.reshape(n_units, BLOCK)
    weights = _poisson_counts(keys, n_units, poisson_table(poisson_mean(n_units, law)))
    if law == "multinomial":
        _fill(weights, keys[2])
    return weights


def _poisson_counts(keys: Words, n_units: int, table: PoissonTable) -> NDArray[np.uint8]:
    """Return (n_units, 64) independent Poisson counts."""
    starts = np.arange(n_units, dtype=np.uint64) * np.uint64(BITS)
    words = [hashed(keys[0], starts + np.uint64(bit)) for bit in range(BITS)]
    at_least = [np.zeros(n_units, dtype=np.uint64) for _ in range(8)]
    for level, threshold in enumerate(table.thresholds, start=1):
        at_least[level] = _reaches(words, threshold)
    spare = _reaches(words, 2**BITS - table.spare)
    ones = np.bitwise_xor.reduce(at_least)
    twos = (at_least[2] & ~at_least[4]) | at_least[6]
    counts: NDArray[np.uint8] = _lanes(ones & ~spare)
    counts += _lanes(twos & ~spare) << 1
    counts += _lanes(at_least[4] & ~spare) << 2
    unit, lane = np.nonzero(_lanes(spare))
    uniform = (hashed(keys[1], unit * BLOCK + lane) >> np.uint64(11)) * 2.0**-53
    counts[unit, lane] = np.searchsorted(table.remainder, uniform, side="right")
    return counts


def _reaches(words: list[Words], threshold: int) -> Words:
    """Return, bit by bit, where the number spelled by the words (lowest bit first) reaches it."""
    lowest = (threshold & -threshold).bit_length() - 1
    reached = words[lowest].copy()
    for bit in range(lowest + 1, BITS):
        if threshold >> bit & 1:
            reached &= words[bit]
        else:
            reached |= words[bit]
    return reached


def _lanes(words: Words) -> NDArray[np.uint8]:
    """Return the bits of every word as a row of 64 zeros and ones."""
    octets = words.astype("<u8").view(np.uint8).reshape(len(words), BLOCK // 8)
    return np.unpackbits(octets, axis=1, bitorder="little")


def _fill(weights: NDArray[np.uint8], key: np.uint64) -> None:
    """Bring every column to a sum of its length by uniform draws."""
    n_units = len(weights)
    missing = n_units - weights.sum(axis=0, dtype=np.int64)
    for lane in np.flatnonzero(missing < 0):  # rare: draw the whole replicate afresh
        weights[:, lane] = 0
        missing[lane] = n_units
    lanes = np.repeat(np.arange(BLOCK), missing)
    turns = np.arange(len(lanes)) - np.repeat(np.cumsum(missing) - missing, missing)
    units = scaled(hashed(key, (lanes << LANE) + turns), n_units)
    np.add.at(weights.reshape(-1), units * BLOCK + lanes, np.uint8(1))

"""Exposure: how far a sequence stands out among others of its law, and its exact null.

The exposure of a canary is ``log2 R - log2 rank`` (Carlini et al., The Secret Sharer, USENIX
Security 2019), ``rank`` its place by loss among ``R`` sequences, itself among them; the smallest
loss has place 1. Where the canary was not learned, all ``R`` sequences are exchangeable: the rank
is uniform on 1 to ``R``, so the exposure is ``log2 R - log2 k`` with probability ``1 / R`` for each
``k``, and ``rank / R`` is an exact p-value. For large ``R`` its mean tends to 1.44 bits, log2 e.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy import fft, special

Floats = npt.NDArray[np.float64]
Ranks = npt.NDArray[np.int64]

_STEPS = 1024  # per bit
_LEAST = 1e-12


def rank_among(loss: float, references: Floats, tie: float) -> int:
    """Return the place of a loss among references, 1 the smallest.

    Among equal losses every place is as likely, so that ties leave the null law as it is: a model
    that gives everything the same loss has uniform ranks.

    Args:
        loss: Loss of the canary.
        references: Losses of the references, shape ``(n,)``.
        tie: A number in [0, 1) that chooses among the places of equal losses; drawn beforehand,
            independent of the losses.

    Returns:
        An integer from 1 to ``n + 1``.

    Example:
        >>> rank_among(1.0, np.array([0.5, 1.0, 1.0, 2.0]), tie=0.5)
        3
    """
    equal = int((references == loss).sum())
    return 1 + int((references < loss).sum()) + int(tie * (equal + 1))


def exposure(ranks: Ranks, places: int) -> Floats:
    """Return the exposure of some ranks among ``places`` places, in bits.

    Example:
        >>> exposure(np.array([1, 2, 1024]), 1024).tolist()
        [10.0, 9.0, 0.0]
    """
    bits: Floats = math.log2(places) - np.log2(ranks.astype(np.float64))
    return bits


def null_mean(places: int) -> float:
    """Return the mean exposure of what was not learned: ``log2 R - log2(R!) / R``.

    Example:
        >>> null_mean(2), round(null_mean(1024), 2)
        (0.5, 1.44)
    """
    return math.log2(places) - float(special.gammaln(places + 1)) / (places * math.log(2))


def null_variance(places: int) -> float:
    """Return the variance of the exposure of one sequence that was not learned, in bits squared."""
    return float(exposure(np.arange(1, places + 1), places).var())


def combined_p_value(ranks: Ranks, places: int) -> float:
    """Return the p-value of the mean exposure of canaries with independent references.

    The statistic is the sum of the exposures, each to the nearest 1/1024 bit; its law is that of a
    sum of independent uniform ranks, worked out by convolution and not by simulation.

    Args:
        ranks: Ranks of the canaries, shape ``(n,)``.
        places: Places of each.

    Returns:
        The probability of a sum as large or larger where nothing was learned; 1e-12 for whatever
        is below, which rounding would hide.

    Example:
        >>> combined_p_value(np.array([1]), 100), combined_p_value(np.array([9, 9]), 9)
        (0.01, 1.0)
    """
    bits = np.rint(exposure(np.arange(1, places + 1), places) * _STEPS).astype(np.int64)
    observed = int(bits[ranks - 1].sum())
    size = fft.next_fast_len(len(ranks) * int(bits[0]) + 1, real=True)
    law = fft.irfft(fft.rfft(np.bincount(bits) / places, size) ** len(ranks), size)
    return float(np.clip(round(float(law[observed:].sum()), 15), _LEAST, 1.0))

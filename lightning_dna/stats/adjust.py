"""Multiplicity: p-values of a declared family, adjusted together."""

import math
from typing import Literal, get_args

import numpy as np
from scipy import special

from lightning_dna.errors import StatsError
from lightning_dna.stats.intervals import SMALLEST_P
from lightning_dna.stats.predictions import Floats

Multiplicity = Literal["holm", "bh", "max-t", "none"]


def adjust_pvalues(p: Floats, method: Literal["holm", "bh", "none"]) -> Floats:
    """Return p-values adjusted for their number.

    ``"holm"`` controls the chance of any false claim, ``"bh"`` (Benjamini-Hochberg) the expected
    share of false claims.

    Args:
        p: (hypotheses,) p-values; NaN marks a hypothesis that was not tested and does not count.
        method: Name of the method.

    Returns:
        Adjusted p-values in the same order.

    Raises:
        StatsError: If the method is unknown, or a p-value lies outside [0, 1].

    Example:
        >>> adjust_pvalues(np.array([0.01, 0.04, np.nan, 0.03]), "holm").tolist()
        [0.03, 0.06, nan, 0.06]
    """
    if method not in ("holm", "bh", "none"):
        raise StatsError(f"multiplicity {method!r}; allowed: {', '.join(get_args(Multiplicity))}")
    adjusted = np.array(p, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(adjusted))
    outside = tested[(adjusted[tested] < 0) | (adjusted[tested] > 1)]
    if len(outside):
        raise StatsError(
            f"p-values lie between 0 and 1 (NaN for a hypothesis not tested); found "
            f"{adjusted[outside[0]]:g} at position {outside[0]}"
        )
    if method == "none" or len(tested) == 0:
        return adjusted
    order = tested[np.argsort(adjusted[tested], kind="stable")]
    ranked, count = adjusted[order], len(order)
    if method == "holm":
        steps = np.maximum.accumulate(ranked * np.arange(count, 0, -1))
    else:
        steps = np.minimum.accumulate((ranked * count / np.arange(1, count + 1))[::-1])[::-1]
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def max_t(observed: Floats, replicates: Floats, *, step_down: bool = True) -> Floats:
    """Return max-T adjusted p-values from joint replicates (Westfall-Young, Romano-Wolf).

    Unlike Holm it knows that the hypotheses are correlated: they share examples.

    Args:
        observed: (hypotheses,) test statistics, absolute ones for two-sided tests; NaN marks a
            hypothesis not tested.
        replicates: (resamples, hypotheses) statistics under the null, on the same scale; NaN marks
            an undefined one, which never exceeds anything.
        step_down: Drop rejected hypotheses from the maximum one after the other.

    Returns:
        (hypotheses,) adjusted p-values, (1 + count) / (resamples + 1).

    Example:
        >>> max_t(np.array([2.0, 0.5]), np.array([[1.0, 3.0], [0.0, 0.0], [0.4, 0.1]])).tolist()
        [0.5, 0.5]
    """
    observed, replicates = np.asarray(observed, float), np.asarray(replicates, float)
    adjusted = np.full(len(observed), np.nan)
    tested = np.flatnonzero(np.isfinite(observed))
    if len(tested) == 0:
        return adjusted
    order = tested[np.argsort(-observed[tested], kind="stable")]
    ranked = np.where(np.isnan(replicates[:, order]), -np.inf, replicates[:, order])
    # Column k holds the maximum over the hypotheses that are still in play at step k.
    highest = np.maximum.accumulate(ranked[:, ::-1], axis=1)[:, ::-1]
    if not step_down:
        highest = np.repeat(highest[:, :1], len(order), axis=1)
    p = (1 + (highest >= observed[order]).sum(axis=0)) / (len(replicates) + 1)
    adjusted[order] = np.maximum.accumulate(p)
    return adjusted


def max_t_critical(replicates: Floats, level: float) -> float:
    """Return the value that the largest statistic exceeds with probability 1 - level.

    It fits ``max_t(..., step_down=False)``: a statistic is above it exactly when its adjusted
    p-value is at most 1 - level.

    Args:
        replicates: As in ``max_t``, with the columns of the tested hypotheses.
        level: Simultaneous coverage wanted.

    Returns:
        The critical value.

    Raises:
        StatsError: If there are too few replicates for the level.

    Example:
        >>> max_t_critical(np.arange(1.0, 20.0)[:, None], 0.8)
        16.0
    """
    rank = int((1 - level) * (len(replicates) + 1) + 1e-9)
    if rank < 1:
        fewest = math.ceil(1 / (1 - level) - 1 - 1e-6)
        raise StatsError(
            f"simultaneous intervals at level {level:g} need {fewest} or more resamples; "
            f"found {len(replicates)}"
        )
    highest = np.where(np.isnan(replicates), -np.inf, replicates).max(axis=1)
    return float(np.sort(highest)[-rank])


def normal_scores(p: Floats, *, two_sided: bool = True) -> Floats:
    """Return the normal quantile of p-values, large for small p; absolute for two-sided ones.

    A t statistic with few degrees of freedom is put on the scale of the replicates by its p-value,
    so that max-T keeps the correction for few clusters.
    """
    scores: Floats = -special.ndtri(np.maximum(p, SMALLEST_P) / (2 if two_sided else 1))
    return scores

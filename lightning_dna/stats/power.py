"""Decisions: equivalence at a margin, what could have been detected, and what it would take."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from lightning_dna.errors import StatsError
from lightning_dna.stats.intervals import SMALLEST_P, Alternative, t_quantile, t_upper_tail
from lightning_dna.stats.predictions import Floats

Verdict = Literal["better", "worse", "equivalent", "inconclusive"]


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Two one-sided tests at a margin.

    Attributes:
        p: Larger of the two one-sided p-values.
        low: Lower limit of the (1 - 2 alpha) interval.
        high: Upper limit of it.
        equivalent: Whether the interval lies strictly inside (-margin, margin).
    """

    p: float
    low: float
    high: float
    equivalent: bool


def tost(delta: float, se: float, df: float, margin: float, alpha: float = 0.05) -> Equivalence:
    """Test that a difference is smaller than a margin in both directions (Schuirmann 1987).

    Args:
        delta: Estimated difference.
        se: Its standard error; 0 makes the decision depend on ``delta`` alone.
        df: Degrees of freedom.
        margin: Largest difference that does not matter, above 0, in units of the metric.
        alpha: Level of each of the two tests.

    Returns:
        p-value, interval and decision.

    Raises:
        StatsError: If the margin is not a positive number.

    Example:
        >>> tost(0.001, 0.002, 500, margin=0.01).equivalent
        True
    """
    if not (margin > 0 and math.isfinite(margin)):
        raise StatsError(f"equivalence margin must be a number above 0, not {margin}")
    reach = t_quantile(1 - alpha, df) * se if se > 0 else 0.0
    if se > 0:
        p = max(t_upper_tail((delta + margin) / se, df), t_upper_tail((margin - delta) / se, df))
    else:
        p = 1.0 if math.isnan(se) or abs(delta) >= margin else SMALLEST_P
    low, high = delta - reach, delta + reach
    inside = -margin < low and high < margin and not math.isnan(se)
    return Equivalence(p=max(p, SMALLEST_P), low=low, high=high, equivalent=inside)


def minimum_detectable_effect(
    se: float,
    df: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    alternative: Alternative = "two-sided",
) -> float:
    """Return the true difference that this comparison would call significant with a given power.

    (t_{1 - alpha/2, df} + z_power) * se; for planning, not for reading a result a second time.

    Args:
        se: Standard error of the difference.
        df: Degrees of freedom.
        alpha: Level of the test.
        power: Probability of detection wanted.
        alternative: One-sided tests use alpha instead of alpha / 2.

    Returns:
        Effect in units of the metric.
    """
    tail = alpha / 2 if alternative == "two-sided" else alpha
    return (t_quantile(1 - tail, df) + float(special.ndtri(power))) * se


def required_units(
    effect: float,
    *,
    se: float,
    df: float,
    n_units: int,
    alpha: float = 0.05,
    power: float = 0.8,
    alternative: Alternative = "two-sided",
) -> int:
    """Return how many units of this kind are needed to detect an effect (checkpoint scope).

    Args:
        effect: True difference to detect, not 0.
        se: Standard error found with ``n_units`` units.
        df: Degrees of freedom found.
        n_units: Number of units behind ``se``.
        alpha: Level of the test.
        power: Probability of detection wanted.
        alternative: Direction of the test.

    Returns:
        Number of units, rounded up; 2 or more.

    Raises:
        StatsError: If the effect is 0.
    """
    if effect == 0:
        raise StatsError(
            "required_units: an effect of 0 needs infinitely many units; give the margin"
        )
    detectable = minimum_detectable_effect(
        se, df, alpha=alpha, power=power, alternative=alternative
    )
    return max(2, math.ceil(n_units * (detectable / effect) ** 2 - 1e-9))


def design_effect(unit_influence: Floats, example_influence: Floats) -> float:
    """Return the variance with clusters over the variance as if examples were independent.

    Args:
        unit_influence: (clusters,) influence values.
        example_influence: (examples,) influence values of the same estimate.

    Returns:
        1 if clusters do not matter; NaN if it cannot be computed.
    """
    clusters, examples = len(unit_influence), len(example_influence)
    independent = float((example_influence**2).sum())
    if clusters < 2 or independent == 0:
        return float("nan")
    grouped = float((unit_influence**2).sum()) * clusters / (clusters - 1)
    return grouped / (independent * examples / (examples - 1))


def verdict(
    delta: float,
    p_adjusted: float,
    *,
    equivalent: bool,
    greater_is_better: bool,
    alpha: float = 0.05,
) -> Verdict:
    """Return the decision of a row.

    Equivalence at a declared margin comes first: a difference that is certain and too small to
    matter is not called better. "No difference" is never read from a large p-value.

    Args:
        delta: Variant minus baseline.
        p_adjusted: Adjusted p-value; NaN if there is no test.
        equivalent: Whether the interval lies inside the margin.
        greater_is_better: Orientation of the metric.
        alpha: Level.

    Returns:
        ``"equivalent"``, ``"better"``, ``"worse"`` or ``"inconclusive"``.
    """
    if equivalent:
        return "equivalent"
    if not np.isfinite(p_adjusted) or p_adjusted > alpha or delta == 0:
        return "inconclusive"
    return "better" if (delta > 0) == greater_is_better else "worse"

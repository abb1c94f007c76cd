"""Decisions: equivalence at a margin, what could have been detected, and how many units it takes.

Planning over seeds as well as units, and without any predictions, is in ``planning``.
"""

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
        StatsError: If the margin is not a positive number, or the standard error is below 0.

    Example:
        >>> tost(0.001, 0.002, 500, margin=0.01).equivalent
        True
    """
    _check_margin(margin, "equivalence")
    _check_not_negative(se)
    reach = t_quantile(1 - alpha, df) * se if se > 0 else 0.0
    if se > 0:
        p = max(t_upper_tail((delta + margin) / se, df), t_upper_tail((margin - delta) / se, df))
    else:
        p = 1.0 if math.isnan(se) or abs(delta) >= margin else SMALLEST_P
    low, high = delta - reach, delta + reach
    inside = -margin < low and high < margin and not math.isnan(se)
    return Equivalence(p=max(p, SMALLEST_P), low=low, high=high, equivalent=inside)


@dataclass(frozen=True, kw_only=True)
class NonInferiority:
    """One one-sided test at a margin.

    Attributes:
        p: p-value of "worse by the margin or more".
        limit: One-sided (1 - alpha) limit of the difference on the side where worse lies.
        non_inferior: Whether the limit lies on the good side of the margin.
    """

    p: float
    limit: float
    non_inferior: bool


def non_inferiority(
    delta: float,
    se: float,
    df: float,
    margin: float,
    alpha: float = 0.05,
    *,
    greater_is_better: bool = True,
) -> NonInferiority:
    """Test that a variant is not worse than the baseline by a margin: one half of ``tost``.

    Args:
        delta: Estimated difference, variant minus baseline.
        se: Its standard error; 0 makes the decision depend on ``delta`` alone.
        df: Degrees of freedom.
        margin: Smallest loss that matters, above 0, in units of the metric.
        alpha: Level of the test.
        greater_is_better: Orientation of the metric: worse is below 0 if true, above 0 if false.

    Returns:
        p-value, limit and decision.

    Raises:
        StatsError: If the margin is not a positive number, or the standard error is below 0.

    Example:
        >>> non_inferiority(-0.001, 0.002, 500, margin=0.01).non_inferior
        True
    """
    _check_margin(margin, "non-inferiority")
    _check_not_negative(se)
    gain = delta if greater_is_better else -delta
    reach, p = 0.0, SMALLEST_P if gain > -margin and not math.isnan(se) else 1.0
    if se > 0:
        reach = t_quantile(1 - alpha, df) * se
        p = max(t_upper_tail((gain + margin) / se, df), SMALLEST_P)
    return NonInferiority(
        p=p,
        limit=gain - reach if greater_is_better else reach - gain,
        non_inferior=gain - reach > -margin and not math.isnan(se),
    )


def minimum_detectable_effect(
    se: float,
    df: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    alternative: Alternative = "two-sided",
    exact: bool = False,
) -> float:
    """Return the true difference that this comparison would call significant with a given power.

    (t_{1 - alpha/2, df} + z_power) * se, the usual sum of quantiles: 0.1% below the exact value at
    100 degrees of freedom, but 4% below it at 4, where it promises 80% and gives 77%. For planning,
    not for reading a result a second time.

    Args:
        se: Standard error of the difference.
        df: Degrees of freedom; may be infinite.
        alpha: Level of the test.
        power: Probability of detection wanted.
        alternative: One-sided tests use alpha instead of alpha / 2.
        exact: Return the shift of the noncentral t distribution at which the test rejects with
            exactly that power; worth it for planning with a handful of seeds.

    Returns:
        Effect in units of the metric; NaN without a standard error.

    Raises:
        StatsError: If the power does not lie between alpha and 1.

    Example:
        >>> round(minimum_detectable_effect(0.01, 4), 4)
        0.0362
        >>> round(minimum_detectable_effect(0.01, 4, exact=True), 4)
        0.0376
    """
    _check_power(alpha, power)
    critical = _critical(df, alpha, alternative)
    if exact and not math.isinf(df):
        return float(special.nctdtrinc(df, 1 - power, critical)) * se
    return (critical + float(special.ndtri(power))) * se


def power_of(
    effect: float,
    se: float,
    df: float,
    *,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
) -> float:
    """Return the probability that the test of a true difference is significant.

    Args:
        effect: True difference, variant minus baseline.
        se: Standard error of the estimated difference, above 0.
        df: Degrees of freedom; may be infinite.
        alpha: Level of the test.
        alternative: Direction of the test; two-sided counts rejections on both sides.

    Returns:
        Probability; alpha at an effect of 0.

    Raises:
        StatsError: If the standard error is not above 0.

    Example:
        >>> round(power_of(0.028, 0.01, float("inf")), 2)
        0.8
    """
    _check_se(se)
    critical = _critical(df, alpha, alternative)
    shift = effect / se
    above, below = _tail(shift, critical, df), _tail(-shift, critical, df)
    return {"two-sided": above + below, "greater": above, "less": below}[alternative]


def equivalence_power(
    margin: float, se: float, df: float, *, effect: float = 0.0, alpha: float = 0.05
) -> float:
    """Return the probability that ``tost`` declares equivalence.

    One minus the sum of the probabilities that either one-sided test fails: exact when they cannot
    fail together, which is so whenever equivalence can be declared with many degrees of freedom;
    otherwise a lower bound.

    Args:
        margin: Largest difference that does not matter, above 0.
        se: Standard error of the estimated difference, above 0.
        df: Degrees of freedom; may be infinite.
        effect: True difference.
        alpha: Level of each of the two tests.

    Returns:
        Probability.

    Raises:
        StatsError: If the margin or the standard error is not above 0.

    Example:
        >>> round(equivalence_power(0.02, 0.0071, 2000), 2)
        0.76
    """
    _check_margin(margin, "equivalence")
    _check_se(se)
    critical = _critical(df, alpha, "greater")
    upper = _tail((margin - effect) / se, critical, df)
    lower = _tail((margin + effect) / se, critical, df)
    return max(upper + lower - 1, 0.0)


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
        StatsError: If the effect is 0, or there is no standard error to plan from.
    """
    if effect == 0:
        raise StatsError(
            "required_units: an effect of 0 needs infinitely many units; give the margin"
        )
    detectable = minimum_detectable_effect(
        se, df, alpha=alpha, power=power, alternative=alternative
    )
    if math.isnan(detectable):
        raise StatsError(f"required_units needs a standard error and df; found {se:g} and {df:g}")
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


def _critical(df: float, alpha: float, alternative: Alternative) -> float:
    """Return the value of t above which a test rejects."""
    if df <= 0:
        raise StatsError(f"a test needs degrees of freedom above 0, not {df:g}")
    tail = alpha / 2 if alternative == "two-sided" else alpha
    return float(special.ndtri(1 - tail)) if math.isinf(df) else t_quantile(1 - tail, df)


def _tail(shift: float, critical: float, df: float) -> float:
    """Return the probability that a t statistic shifted by a true effect exceeds a value."""
    if math.isinf(df):
        return float(special.ndtr(shift - critical))
    return float(1 - special.nctdtr(df, shift, critical))


def _check_margin(margin: float, what: str) -> None:
    if not (margin > 0 and math.isfinite(margin)):
        raise StatsError(f"{what} margin must be a number above 0, not {margin}")


def _check_not_negative(se: float) -> None:
    if se < 0:
        raise StatsError(f"a standard error cannot be below 0; found {se:g}")


def _check_se(se: float) -> None:
    if not (se > 0 and math.isfinite(se)):
        raise StatsError(f"power needs a standard error above 0, not {se}")


def _check_power(alpha: float, power: float) -> None:
    if not 0 < alpha < power < 1:
        raise StatsError(
            f"power must lie between the level of the test and 1, such as 0.8 at alpha 0.05; "
            f"found power {power:g} at alpha {alpha:g}"
        )

"""Intervals and p-values of one estimate from its replicates.

The default ``se-t`` is estimate +- t * bootstrap standard error with effective degrees of freedom.
For paired differences of F1, MCC and heavy-tailed losses at small n it keeps its level where
percentile limits reject too often; percentile limits stand beside it in every row.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import special

from lightning_dna.errors import StatsError
from lightning_dna.stats.predictions import Floats
from lightning_dna.stats.variance import effective_df

Method = Literal["se-t", "percentile", "basic", "symmetric"]
Alternative = Literal["two-sided", "greater", "less"]

SMALLEST_P = float(np.finfo(np.float64).tiny)
"""A p-value is never 0."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval; a one-sided one is infinite on the other side."""

    low: float
    high: float


def check_choices(method: str, level: float, alternative: str) -> None:
    """Raise a StatsError that names what is allowed."""
    if method not in get_args(Method):
        raise StatsError(f"interval method {method!r}; allowed: {', '.join(get_args(Method))}")
    if alternative not in get_args(Alternative):
        raise StatsError(
            f"alternative {alternative!r}; allowed: {', '.join(get_args(Alternative))}"
        )
    if method == "symmetric" and alternative != "two-sided":
        raise StatsError("method 'symmetric' is two-sided; use 'se-t' for a one-sided test")
    if not 0 < level < 1:
        raise StatsError(f"level must lie between 0 and 1, such as 0.95; found {level}")


def confidence_interval(
    observed: float,
    replicates: Floats,
    *,
    method: Method = "se-t",
    level: float = 0.95,
    alternative: Alternative = "two-sided",
    se: float | None = None,
    df: float | None = None,
    influence: Floats | None = None,
) -> Interval:
    """Return the interval of one estimate.

    Args:
        observed: Estimate from the data.
        replicates: (resamples,) bootstrap replicates; undefined ones are left out.
        method: ``"se-t"``, ``"percentile"``, ``"basic"`` or ``"symmetric"`` (quantile of
            |replicate - estimate|).
        level: Coverage wanted.
        alternative: ``"greater"`` gives a lower limit only, ``"less"`` an upper limit only.
        se: Standard error for ``se-t``; by default the standard deviation of the replicates, times
            sqrt(n / (n - 1)) if the n influence values are given.
        df: Degrees of freedom for ``se-t``; by default from ``influence``, else infinite.
        influence: (units,) influence values of the estimate.

    Returns:
        The interval.

    Raises:
        StatsError: If an option is not allowed.

    Example:
        >>> draws = np.arange(1001.0)
        >>> confidence_interval(500.0, draws, method="percentile", level=0.5)
        Interval(low=250.0, high=750.0)
    """
    check_choices(method, level, alternative)
    defined = replicates[np.isfinite(replicates)]
    if len(defined) < 2 or not np.isfinite(observed):
        return Interval(low=float("nan"), high=float("nan"))
    tail = (1 - level) / (2 if alternative == "two-sided" else 1)
    if method in ("percentile", "basic"):
        low, high = (float(limit) for limit in np.quantile(defined, [tail, 1 - tail]))
        if method == "basic":
            low, high = 2 * observed - high, 2 * observed - low
    else:
        if method == "symmetric":
            reach = float(np.quantile(np.abs(defined - observed), level))
        else:
            if se is None:
                correction = 1.0 if influence is None else len(influence) / (len(influence) - 1)
                se = float(defined.std(ddof=1)) * math.sqrt(correction)
            reach = t_quantile(1 - tail, _degrees(df, influence)) * se
        low, high = observed - reach, observed + reach
    if alternative == "greater":
        high = float("inf")
    if alternative == "less":
        low = float("-inf")
    return Interval(low=low, high=high)


def p_value(
    observed: float,
    replicates: Floats,
    *,
    method: Method = "se-t",
    alternative: Alternative = "two-sided",
    se: float,
    df: float,
) -> float:
    """Return the p-value of "the difference is 0", by inverting the interval of the same method.

    Resampled p-values are (1 + count) / (resamples + 1), so never 0.

    Args:
        observed: Observed difference.
        replicates: (resamples,) bootstrap replicates; undefined ones are left out.
        method: As in ``confidence_interval``.
        alternative: Direction of the claim.
        se: Standard error, above 0, for ``se-t``.
        df: Degrees of freedom for ``se-t``.

    Returns:
        A value in (0, 1].
    """
    if method == "se-t":
        statistic = observed / se
        upper = t_upper_tail(abs(statistic), df)
        if alternative == "two-sided":
            p = 2 * upper
        else:
            p = upper if (statistic > 0) == (alternative == "greater") else 1 - upper
        return max(p, SMALLEST_P)
    defined = replicates[np.isfinite(replicates)]
    draws = len(defined) + 1
    if method == "symmetric":
        return float(1 + (np.abs(defined - observed) >= abs(observed)).sum()) / draws
    # Evidence against "greater" is a replicate at or below 0 (percentile) or its mirror image.
    mirrored = defined if method == "percentile" else 2 * observed - defined
    against_greater = float(1 + (mirrored <= 0).sum()) / draws
    against_less = float(1 + (mirrored >= 0).sum()) / draws
    if alternative == "greater":
        return against_greater
    if alternative == "less":
        return against_less
    return min(1.0, 2 * min(against_greater, against_less))


def logit_interval(
    observed: float, *, se: float, df: float, level: float, low: float, high: float
) -> Interval:
    """Return the se-t interval of a metric between two bounds, computed on the logit scale.

    For single metrics, not for differences: it never leaves the range.

    Args:
        observed: Metric, strictly between the bounds.
        se: Its standard error.
        df: Degrees of freedom.
        level: Coverage wanted.
        low: Smallest possible value.
        high: Largest possible value.

    Returns:
        The interval.
    """
    share = (observed - low) / (high - low)
    centre = np.log(share / (1 - share))
    reach = t_quantile((1 + level) / 2, df) * se / (high - low) / (share * (1 - share))
    shares = special.expit(np.array([centre - reach, centre + reach]))  # no overflow at any width
    limits = low + (high - low) * shares
    return Interval(low=float(limits[0]), high=float(limits[1]))


def monte_carlo_error(
    method: Method, *, se: float, df: float, level: float, n_resamples: int
) -> float:
    """Return the standard deviation of an interval limit that comes from resampling alone.

    Args:
        method: Interval method.
        se: Standard error of the estimate.
        df: Degrees of freedom.
        level: Coverage.
        n_resamples: Number of defined replicates.

    Returns:
        Error in units of the metric, for replicates close to normal.
    """
    if method == "se-t":
        return t_quantile((1 + level) / 2, df) * se / math.sqrt(2 * max(n_resamples - 1, 1))
    tail = (1 - level) / 2
    density = math.exp(-(float(special.ndtri(tail)) ** 2) / 2) / math.sqrt(2 * math.pi)
    return se * math.sqrt(tail * (1 - tail) / n_resamples) / density


def t_quantile(probability: float, df: float) -> float:
    """Return the quantile of Student's t; NaN for unknown degrees of freedom."""
    if not df > 0:
        return float("nan")
    return float(np.asarray(special.stdtrit(df, probability)))


def t_upper_tail(statistic: float, df: float) -> float:
    """Return the probability that Student's t exceeds a value, exact far in the tail."""
    if not df > 0:
        return float("nan")
    return float(np.asarray(special.stdtr(df, -statistic)))


def _degrees(df: float | None, influence: Floats | None) -> float:
    if df is not None:
        return df
    return float("inf") if influence is None else effective_df(influence)

"""Intervals and p-values of one estimate from its replicates.

The default ``se-t`` is estimate +- t * bootstrap standard error with effective degrees of freedom.
For paired differences of F1, MCC and heavy-tailed losses at small n it keeps its level where
percentile limits reject too often; percentile limits stand beside it in every row. ``bca`` and
``studentized`` are offered for comparison with other programs; with few examples of a class they
reject more often still.
"""

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from scipy import special

from lightning_dna.errors import StatsError
from lightning_dna.stats.acceleration import (
    accelerated_tail,
    acceleration,
    bias_correction,
    nominal_tail,
)
from lightning_dna.stats.predictions import Floats
from lightning_dna.stats.variance import effective_df

Method = Literal["se-t", "percentile", "basic", "symmetric", "bca", "studentized", "analytic"]
Alternative = Literal["two-sided", "greater", "less"]

STUDENT: tuple[Method, ...] = ("se-t", "analytic")
"""Methods that are estimate +- t * standard error."""

SMALLEST_P = float(np.finfo(np.float64).tiny)
"""A p-value is never 0."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval; a one-sided one is infinite on the other side.

    Attributes:
        low: Lower limit.
        high: Upper limit.
        flag: ``"bca_fallback"`` where BCa is not defined and percentile limits stand in, else "".
    """

    low: float
    high: float
    flag: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """An estimate with all that a method reads.

    Attributes:
        observed: Estimate from the data.
        draws: Defined replicates; for ``studentized`` (replicate - estimate) / its standard error.
        se: Standard error.
        df: Its degrees of freedom.
        influence: Influence values; empty if the method does not read them.
    """

    observed: float
    draws: Floats
    se: float
    df: float
    influence: Floats

    @property
    def usable(self) -> bool:
        """Whether there is an estimate and there are two replicates or more."""
        return len(self.draws) >= 2 and math.isfinite(self.observed)

    @classmethod
    def of(
        cls,
        observed: float,
        replicates: Floats,
        method: Method,
        se: float | None,
        df: float | None,
        influence: Floats | None,
        replicate_se: Floats | None,
    ) -> "Resampled":
        """Fill in the defaults of ``confidence_interval``; what a method lacks is an error."""
        replicates = np.asarray(replicates, dtype=np.float64)
        draws = replicates[np.isfinite(replicates)]
        if se is None:
            se = _standard_error(method, draws, influence)
        if df is None:
            df = float("inf") if influence is None else effective_df(influence)
        if method == "studentized":
            if replicate_se is None:
                raise StatsError(
                    "method 'studentized' needs replicate_se: one standard error per replicate"
                )
            usable = np.isfinite(replicates) & np.isfinite(replicate_se) & (replicate_se > 0)
            draws = (replicates[usable] - observed) / replicate_se[usable]
        if method == "bca" and influence is None:
            raise StatsError(
                "method 'bca' needs influence: influence values or jackknife deviations"
            )
        values = np.empty(0) if influence is None else influence
        return cls(observed=observed, draws=draws, se=se, df=df, influence=values)


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
    replicate_se: Floats | None = None,
) -> Interval:
    """Return the interval of one estimate.

    Args:
        observed: Estimate from the data.
        replicates: (resamples,) bootstrap replicates; undefined ones are left out.
        method: ``"se-t"``: estimate +- t * bootstrap standard error. ``"analytic"``: the same with
            the standard error of the influence values. ``"percentile"``, ``"basic"``: quantiles of
            the replicates, of their mirror image. ``"symmetric"``: quantile of
            |replicate - estimate|. ``"bca"``: quantiles corrected for bias and skewness; where all
            replicates lie on one side of the estimate the correction is infinite, and the result is
            the percentile interval with a flag. ``"studentized"``: quantiles of
            (replicate - estimate) / ``replicate_se``.
        level: Coverage wanted.
        alternative: ``"greater"`` gives a lower limit only, ``"less"`` an upper limit only.
        se: Standard error. By default, for ``se-t``, the standard deviation of the replicates,
            times sqrt(n / (n - 1)) if the n influence values are given; for ``analytic`` and
            ``studentized`` sqrt(n / (n - 1) * sum of squared influence values).
        df: Degrees of freedom for ``se-t`` and ``analytic``; by default from ``influence``, else
            infinite.
        influence: (units,) influence values of the estimate; for ``bca`` jackknife deviations
            (mean of the leave-one-out values minus each of them) do as well.
        replicate_se: (resamples,) standard error of each replicate, for ``studentized``; replicates
            whose standard error is 0 are left out.

    Returns:
        The interval.

    Raises:
        StatsError: If an option is not allowed, or a method lacks what it needs.

    Example:
        >>> draws = np.arange(1001.0)
        >>> confidence_interval(500.0, draws, method="percentile", level=0.5)
        Interval(low=250.0, high=750.0)
    """
    check_choices(method, level, alternative)
    given = Resampled.of(observed, replicates, method, se, df, influence, replicate_se)
    if not given.usable:
        return Interval(low=float("nan"), high=float("nan"))
    tail = (1 - level) / (2 if alternative == "two-sided" else 1)
    low, high, flag = _limits(given, method, tail)
    return Interval(
        low=float("-inf") if alternative == "less" else low,
        high=float("inf") if alternative == "greater" else high,
        flag=flag,
    )


def p_value(
    observed: float,
    replicates: Floats,
    *,
    method: Method = "se-t",
    alternative: Alternative = "two-sided",
    se: float,
    df: float,
    influence: Floats | None = None,
    replicate_se: Floats | None = None,
) -> float:
    """Return the p-value of "the difference is 0", by inverting the interval of the same method.

    Resampled p-values count (1 + replicates) / (resamples + 1), so they are never 0.

    Args:
        observed: Observed difference.
        replicates: (resamples,) bootstrap replicates; undefined ones are left out.
        method: As in ``confidence_interval``.
        alternative: Direction of the claim.
        se: Standard error, above 0, for ``se-t``, ``analytic`` and ``studentized``.
        df: Degrees of freedom for ``se-t`` and ``analytic``.
        influence: As in ``confidence_interval``.
        replicate_se: As in ``confidence_interval``.

    Returns:
        A value in (0, 1]; NaN if no replicate has a standard error (``studentized``).

    Raises:
        StatsError: If a method lacks what it needs.
    """
    given = Resampled.of(observed, replicates, method, se, df, influence, replicate_se)
    if method in STUDENT:
        statistic = observed / se
        upper = t_upper_tail(abs(statistic), df)
        if alternative == "two-sided":
            p = 2 * upper
        else:
            p = upper if (statistic > 0) == (alternative == "greater") else 1 - upper
        return max(p, SMALLEST_P)
    if not given.usable:
        return float("nan")
    if method == "symmetric":
        beyond = np.abs(given.draws - observed) >= abs(observed)
        return float(1 + beyond.sum()) / (len(given.draws) + 1)
    greater, less = _one_sided(given, method)
    if alternative == "two-sided":
        return min(1.0, 2 * min(greater, less))
    return greater if alternative == "greater" else less


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
        Error in units of the metric, for replicates close to normal; 0 without resampling.
    """
    if method == "analytic":
        return 0.0
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


def _standard_error(method: Method, draws: Floats, influence: Floats | None) -> float:
    """Return the standard error that a method takes if none is given."""
    if method in ("analytic", "studentized"):
        if influence is None:
            raise StatsError(f"method '{method}' needs influence, or se")
        n = len(influence)
        return math.sqrt(n / (n - 1) * float((influence**2).sum()))
    if method != "se-t" or len(draws) < 2:
        return float("nan")
    correction = 1.0 if influence is None else len(influence) / (len(influence) - 1)
    return float(draws.std(ddof=1)) * math.sqrt(correction)


def _limits(given: Resampled, method: Method, tail: float) -> tuple[float, float, str]:
    """Return both limits with ``tail`` of probability beyond each, and a flag."""
    centre, flag = given.observed, ""
    if method in STUDENT or method == "symmetric":
        if method == "symmetric":
            reach = float(np.quantile(np.abs(given.draws - centre), 1 - 2 * tail))
        else:
            reach = t_quantile(1 - tail, given.df) * given.se
        return centre - reach, centre + reach, flag
    shares = (tail, 1 - tail)
    if method == "bca":
        z0 = bias_correction(centre, given.draws)
        if math.isinf(z0):
            flag = "bca_fallback"
        else:
            a = acceleration(given.influence)
            shares = (accelerated_tail(tail, z0, a), accelerated_tail(1 - tail, z0, a))
    low, high = (float(limit) for limit in np.quantile(given.draws, shares))
    if method == "basic":
        low, high = 2 * centre - high, 2 * centre - low
    if method == "studentized":
        low, high = centre - high * given.se, centre - low * given.se
    return low, high, flag


def _one_sided(given: Resampled, method: Method) -> tuple[float, float]:
    """Return the p-values of "greater" and of "less" from counts of replicates.

    Evidence against "greater" is a replicate at or below 0, or its mirror image.
    """
    values, smallest = given.draws, 1 / (len(given.draws) + 1)
    if method == "basic":
        values = 2 * given.observed - values
    if method == "studentized":
        values = given.observed / given.se - values
    greater = float(1 + (values <= 0).sum()) * smallest
    less = float(1 + (values >= 0).sum()) * smallest
    z0 = bias_correction(given.observed, values) if method == "bca" else math.inf
    if math.isfinite(z0):
        a = acceleration(given.influence)
        greater = nominal_tail(greater, z0, a)
        less = 1 - nominal_tail(1 - less, z0, a)
    return max(greater, smallest), max(less, smallest)

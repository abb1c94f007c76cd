"""A statistic of a suite with its error: one-sided tests and limits at any level.

Each kind of statistic needs its own test; what all have in common is an upper and a lower limit at
any tail probability and the p-value of either direction. Interval, two-sided test and equivalence
follow from these, so they cannot contradict each other.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from lightning_dna.stats.intervals import SMALLEST_P, Alternative, t_quantile, t_upper_tail
from lightning_dna.stats.predictions import Floats

NAN = float("nan")

Limits = Callable[[float], tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A statistic and how sure it is.

    Attributes:
        estimate: The statistic.
        se: Standard error; NaN for an interval that is made of ranks.
        df: Its degrees of freedom.
        p_greater: p-value against "0 or less".
        p_less: p-value against "0 or more".
        limits: From the probability of each tail to the two limits.
        flags: Reasons for care, or for a missing interval.
    """

    estimate: float
    se: float = NAN
    df: float = NAN
    p_greater: float = NAN
    p_less: float = NAN
    limits: Limits = lambda tail: (NAN, NAN)
    flags: tuple[str, ...] = ()

    @property
    def tested(self) -> bool:
        """Whether there is an interval and a test."""
        return math.isfinite(self.p_greater)

    def p(self, alternative: Alternative) -> float:
        """Return the p-value of a test, never 0."""
        both = min(1.0, 2 * min(self.p_greater, self.p_less)) if self.tested else NAN
        found = {"two-sided": both, "greater": self.p_greater, "less": self.p_less}[alternative]
        return max(found, SMALLEST_P) if self.tested else NAN

    def interval(self, level: float, alternative: Alternative) -> tuple[float, float]:
        """Return the limits; a one-sided interval is infinite on the other side."""
        low, high = self.limits((1 - level) / (2 if alternative == "two-sided" else 1))
        if not self.tested:
            return NAN, NAN
        return (
            -math.inf if alternative == "less" else low,
            math.inf if alternative == "greater" else high,
        )

    def equivalent(self, margin: float, alpha: float) -> bool:
        """Return whether both one-sided tests at a margin reject, as ``tost`` does."""
        low, high = self.limits(alpha)
        return self.tested and -margin < low and high < margin


def student(
    estimate: float,
    se: float,
    df: float,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    flags: tuple[str, ...] = (),
) -> Judgement:
    """Judge by Student's t: estimate +- t * se, cut where the statistic ends.

    Args:
        estimate: The statistic.
        se: Standard error, above 0.
        df: Degrees of freedom.
        low: Smallest possible value.
        high: Largest possible value.
        flags: Reasons for care.

    Returns:
        The judgement.
    """

    def limits(tail: float) -> tuple[float, float]:
        reach = t_quantile(1 - tail, df) * se
        return max(estimate - reach, low), min(estimate + reach, high)

    return Judgement(
        estimate=estimate,
        se=se,
        df=df,
        p_greater=t_upper_tail(estimate / se, df),
        p_less=t_upper_tail(-estimate / se, df),
        limits=limits,
        flags=flags,
    )


def at_point(estimate: float, p: float, flags: Sequence[str]) -> Judgement:
    """Judge a statistic without variance: an interval of length 0 and a p-value from elsewhere."""
    return Judgement(
        estimate=estimate,
        se=0.0,
        p_greater=p / 2 if estimate > 0 else 1 - p / 2,
        p_less=p / 2 if estimate < 0 else 1 - p / 2,
        limits=lambda tail: (estimate, estimate),
        flags=tuple(flags),
    )


def signs(values: Floats) -> Judgement:
    """Judge the median of independent values by the sign test, exact whatever their law.

    Limits are order statistics; a value of exactly 0 counts against either claim.

    Args:
        values: (n,) values.

    Returns:
        The judgement; limits are infinite where n is too small for the tail probability.
    """
    ranked, size = np.sort(values), len(values)
    counts = np.arange(size)
    reached = special.bdtr(counts, size, 0.5)  # probability of that many below the median, or fewer

    def limits(tail: float) -> tuple[float, float]:
        cut = int((reached <= tail * (1 + 1e-9)).sum())
        if cut == 0:
            return -math.inf, math.inf
        return float(ranked[cut - 1]), float(ranked[size - cut])

    return Judgement(
        estimate=float(np.median(values)),
        p_greater=float(special.bdtr((values <= 0).sum(), size, 0.5)),
        p_less=float(special.bdtr((values >= 0).sum(), size, 0.5)),
        limits=limits,
    )


def score_test(values: Floats, *, low: float, high: float) -> Judgement:
    """Judge the mean of a few discrete values by a test whose error is taken under the null.

    The statistic is sum / sqrt(sum of squares), against Student's t: with values of -1 and 1 that
    is a sign test, where the usual t would find no error at all when all values agree. The interval
    holds the means that the test does not reject.

    Args:
        values: (n,) values.
        low: Smallest possible mean.
        high: Largest possible mean.

    Returns:
        The judgement; the interval is that of all possible means where n is too small.
    """
    size, mean = len(values), float(values.mean())
    spread = float(values.std())

    def limits(tail: float) -> tuple[float, float]:
        room = size - t_quantile(1 - tail, size - 1) ** 2
        if room <= 0:
            return low, high
        reach = t_quantile(1 - tail, size - 1) * spread / room**0.5
        return max(mean - reach, low), min(mean + reach, high)

    squares = float((values**2).sum())
    statistic = float(values.sum()) / squares**0.5 if squares > 0 else 0.0
    return Judgement(
        estimate=mean,
        se=float(values.std(ddof=1)) / size**0.5,
        df=size - 1,
        p_greater=t_upper_tail(statistic, size - 1),
        p_less=t_upper_tail(-statistic, size - 1),
        limits=limits,
    )


def share_test(values: Floats) -> Judgement:
    """Judge the mean of shares, each given less 1/2, against 0 as a binomial share (Wilson).

    The variance of a share with mean P is at most P (1 - P), which is what shares of 0 and 1 have,
    so the test is careful for shares in between. Student's t stands for the normal quantile.

    Args:
        values: (n,) values between -1/2 and 1/2.

    Returns:
        The judgement, with limits between -1/2 and 1/2.
    """
    size, share = len(values), float(values.mean()) + 0.5

    def limits(tail: float) -> tuple[float, float]:
        ratio = t_quantile(1 - tail, size - 1) ** 2 / size
        centre = (share + ratio / 2) / (1 + ratio) - 0.5
        reach = (ratio * (share * (1 - share) + ratio / 4)) ** 0.5 / (1 + ratio)
        return max(centre - reach, -0.5), min(centre + reach, 0.5)

    statistic = (share - 0.5) * 2 * size**0.5
    return Judgement(
        estimate=share - 0.5,
        se=float(values.std(ddof=1)) / size**0.5,
        df=size - 1,
        p_greater=t_upper_tail(statistic, size - 1),
        p_less=t_upper_tail(-statistic, size - 1),
        limits=limits,
    )

"""The gate of a calibration run: counts of misses, their limits, and one verdict per cell."""

import math
from dataclasses import dataclass, field
from typing import Literal

from scipy import special

from lightning_dna.stats.intervals import Method

Status = Literal["held", "liberal", "conservative", "flagged", "reported", "control"]

GATED_METHOD: Method = "se-t"
"""The default interval; the other methods are reported beside it."""
FEWEST_GATED = 50
"""Unflagged data sets that a cell needs to be judged."""
BAND = 0.015
"""Coverage of a known difference may lie this far from the nominal level."""
SIGMAS = 3.0
"""Monte-Carlo standard errors that are allowed for."""
DOUBTFUL = 2.0
"""Monte-Carlo standard errors on the liberal side that call for a second, longer run."""


@dataclass(kw_only=True)
class Tally:
    """Sums over data sets, for one metric and method.

    Attributes:
        n_sets: Data sets.
        n_intervals: Those with an interval.
        n_unflagged: Those with an interval and no flag.
        missed: Wrong answers among all intervals.
        missed_unflagged: Wrong answers among unflagged intervals.
        width: Sum of the widths of unflagged intervals.
        error: Sum of (estimate - truth) over unflagged intervals.
        error_squares: Sum of its squares.
        flags: Number of data sets by flag.
    """

    n_sets: int = 0
    n_intervals: int = 0
    n_unflagged: int = 0
    missed: int = 0
    missed_unflagged: int = 0
    width: float = 0.0
    error: float = 0.0
    error_squares: float = 0.0
    flags: dict[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Share of wrong answers among unflagged intervals."""
        return self.missed_unflagged / self.n_unflagged if self.n_unflagged else math.nan

    @property
    def rate_all(self) -> float:
        """Share of wrong answers among all intervals."""
        return self.missed / self.n_intervals if self.n_intervals else math.nan

    @property
    def mean_width(self) -> float:
        """Mean width of unflagged intervals."""
        return self.width / self.n_unflagged if self.n_unflagged else math.nan

    def oracle_width(self, level: float) -> float:
        """Return the width that the true standard deviation of the estimate would give."""
        if self.n_unflagged < 2:
            return math.nan
        spread = self.error_squares - self.error**2 / self.n_unflagged
        deviation = math.sqrt(max(spread, 0.0) / (self.n_unflagged - 1))
        return 2 * float(special.ndtri((1 + level) / 2)) * deviation


def false_positive_limit(n_sets: int, level: float) -> float:
    """Return the largest share of false positives that the gate lets pass.

    Example:
        >>> round(false_positive_limit(2000, 0.95), 4)
        0.0646
    """
    alpha = 1 - level
    return alpha + SIGMAS * math.sqrt(alpha * level / n_sets)


def coverage_band(n_sets: int, level: float) -> tuple[float, float]:
    """Return the smallest and largest coverage that the gate lets pass.

    The band is level +- ``BAND``; with fewer than about 1,900 data sets three Monte-Carlo standard
    errors are wider than that, and count instead.

    Example:
        >>> low, high = coverage_band(10_000, 0.95)
        >>> round(low, 4), round(high, 4)
        (0.935, 0.965)
    """
    reach = max(BAND, SIGMAS * math.sqrt((1 - level) * level / n_sets))
    return level - reach, min(level + reach, 1.0)


def is_doubtful(status: Status, rate: float, n_sets: int, level: float) -> bool:
    """Return whether a judged cell is outside its limits, or close to erring too often.

    Only the fresh data sets of the second run count then, so a second look at whatever seems high
    finds liberal cells that a short run lets pass, and does not make calibrated ones fail.

    Args:
        status: What the gate says after the first run.
        rate: Share of wrong answers.
        n_sets: Unflagged data sets.
        level: Nominal coverage.
    """
    if status not in ("held", "liberal", "conservative"):
        return False
    reach = DOUBTFUL * math.sqrt((1 - level) * level / n_sets)
    return status != "held" or rate > 1 - level + reach


def binomial_interval(count: int, n_sets: int, level: float = 0.95) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a share; NaN without data.

    Args:
        count: Number of hits.
        n_sets: Number of trials.
        level: Coverage, at least.

    Returns:
        Lower and upper limit.

    Example:
        >>> binomial_interval(0, 0)
        (nan, nan)
    """
    if n_sets == 0:
        return math.nan, math.nan
    tail = (1 - level) / 2
    low = float(special.betaincinv(count, n_sets - count + 1, tail)) if count > 0 else 0.0
    high = 1.0
    if count < n_sets:
        high = float(special.betaincinv(count + 1, n_sets - count, 1 - tail))
    return low, high


def judge(tally: Tally, *, method: str, level: float, equal_arms: bool, is_control: bool) -> Status:
    """Return what the gate says of one cell.

    Args:
        tally: Its counts.
        method: Interval method; only ``GATED_METHOD`` is judged.
        level: Nominal coverage.
        equal_arms: Whether the arms are equal (false positives), else coverage is judged.
        is_control: Whether the analysis is wrong on purpose.

    Returns:
        ``held``; ``liberal`` if it errs too often; ``conservative`` if intervals of a known
        difference cover too often; ``flagged`` if fewer than ``FEWEST_GATED`` data sets carry no
        flag; ``reported`` for other methods; ``control`` for analyses that should fail.
    """
    if is_control:
        return "control"
    if method != GATED_METHOD:
        return "reported"
    if tally.n_unflagged < FEWEST_GATED:
        return "flagged"
    if equal_arms:
        held = tally.rate <= false_positive_limit(tally.n_unflagged, level)
        return "held" if held else "liberal"
    low, high = coverage_band(tally.n_unflagged, level)
    if 1 - tally.rate < low:
        return "liberal"
    return "held" if 1 - tally.rate <= high else "conservative"

"""Expected best of n trials: what a search of n would have found, for every n up to those made.

A result that is the best of a hundred trials is not comparable with the result of one. From N
independent trials the expected best of n <= N has an unbiased estimate, the mean of the best over
all subsets of n trials, which is a weighted sum of the sorted values:

    E[min of n] = sum over i of x_(i) * C(N - i, n - 1) / C(N, n),   x_(1) <= ... <= x_(N)

The estimate that plugs the empirical distribution in (subsets with replacement) is biased towards
too bad a value for n > 1, most of all near N.

References:
    Dodge et al., Show Your Work: Improved Reporting of Experimental Results, EMNLP 2019.
    Tang et al., Showing Your Work Doesn't Always Work, ACL 2020 (the bias, and this estimate).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

Better = Literal["lower", "higher"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ExpectedBest:
    """Expected best by number of trials; all arrays have shape (trials,), for n = 1, 2, ...

    Attributes:
        n: Number of trials.
        estimate: Unbiased estimate of the expected best of n.
        low: Lower end of its interval.
        high: Upper end.
    """

    n: NDArray[np.int64]
    estimate: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def best_of_weights(total: int) -> NDArray[np.float64]:
    """Return the weights of the sorted values, best first: shape (n, place), rows add up to 1.

    Example:
        >>> best_of_weights(3).round(3).tolist()
        [[0.333, 0.333, 0.333], [0.667, 0.333, 0.0], [1.0, 0.0, 0.0]]
    """
    n = np.arange(1, total + 1)[:, None]
    behind = total - np.arange(1, total + 1)[None, :]  # trials that are no better
    possible = behind >= n - 1
    others = np.where(possible, behind - (n - 1), 0)
    log_ways = gammaln(behind + 1) - gammaln(n) - gammaln(others + 1)
    log_all = gammaln(total + 1) - gammaln(n + 1) - gammaln(total - n + 1)
    weights = np.where(possible, np.exp(log_ways - log_all), 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def expected_best(
    values: ArrayLike,
    *,
    better: Better = "lower",
    level: float = 0.95,
    n_resamples: int = 9999,
    seed: int = 0,
) -> ExpectedBest:
    """Estimate the expected best of n independent trials, for every n up to those made.

    The interval is the bootstrap's by percentiles: trials are drawn with replacement and the
    estimate is made again. It is honest where n is well below the number of trials and too narrow
    near it, since no resample holds a value better than the best that was seen.

    Args:
        values: Results of independent trials with settings from one law, at least one. Infinity is
            a trial that failed; it may be drawn as any other.
        better: Whether lower or higher values are better.
        level: Confidence level, in (0, 1).
        n_resamples: Bootstrap replicates.
        seed: Seed of the resampling.

    Returns:
        Estimates and intervals for n = 1 to the number of trials.

    Raises:
        ValueError: If there is no trial, or a value is not a number.

    Example:
        >>> expected_best([3.0, 1.0, 2.0]).estimate.round(3).tolist()
        [2.0, 1.333, 1.0]
    """
    sign = 1.0 if better == "lower" else -1.0
    trials = np.sort(sign * np.asarray(values, dtype=np.float64).ravel())
    if not len(trials):
        raise ValueError("there is no trial; the expected best needs one at least.")
    if np.isnan(trials).any():
        raise ValueError("a trial's value is not a number; give infinity for one that failed.")
    weights = best_of_weights(len(trials))
    drawn = np.random.default_rng(seed).integers(len(trials), size=(n_resamples, len(trials)))
    drawn.sort(axis=1)
    replicates = _weighted(trials[drawn], weights)
    tails = ((1 - level) / 2, (1 + level) / 2)
    # Without interpolation: between a number and infinity there is nothing.
    low, high = np.quantile(replicates, tails, axis=0, method="nearest")
    if better == "higher":
        low, high = high, low
    return ExpectedBest(
        n=np.arange(1, len(trials) + 1),
        estimate=sign * _weighted(trials[None, :], weights)[0],
        low=sign * low,
        high=sign * high,
    )


def _weighted(trials: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sums over places; a weight of 0 takes away even infinity."""
    finite = np.where(np.isfinite(trials), trials, 0.0) @ weights.T
    endless = np.isinf(trials).astype(np.float64) @ (weights > 0).T.astype(np.float64)
    return np.where(endless > 0, np.inf, finite)

"""Bias-corrected and accelerated (BCa) limits: which quantile of the replicates is a limit.

A BCa limit is the quantile of the replicates at

    Phi(z0 + (z0 + z) / (1 - a (z0 + z))),    z = Phi^-1(tail)

with z0 the normal score of the share of replicates below the estimate (ties count half) and a the
skewness of the influence values, sum u^3 / (6 (sum u^2)^1.5). Both are noise where the law of the
estimate is close to symmetric, as for paired differences: in simulations with few examples of a
class these intervals cover least of all. They are offered for comparison with other programs.

References:
    Efron 1987; Efron & Tibshirani 1993, section 14.3.
"""

import math

import numpy as np
from scipy import special

from lightning_dna.stats.predictions import Floats


def bias_correction(observed: float, replicates: Floats) -> float:
    """Return z0; infinite if all replicates lie on one side of the estimate.

    Args:
        observed: Estimate from the data.
        replicates: (resamples,) defined replicates.

    Returns:
        Normal score of the share below the estimate, ties counted half.

    Example:
        >>> bias_correction(2.0, np.array([1.0, 2.0, 3.0]))
        0.0
    """
    below = np.count_nonzero(replicates < observed) + np.count_nonzero(replicates <= observed)
    return float(special.ndtri(below / (2 * len(replicates))))


def acceleration(influence: Floats) -> float:
    """Return a: a sixth of the skewness of the influence values or jackknife deviations.

    Args:
        influence: (units,) influence values, or (n - 1) / n times the mean of the leave-one-out
            values minus each of them. With one part any common factor cancels.

    Returns:
        The acceleration; 0 if no unit has any influence.

    Example:
        >>> acceleration(np.array([-1.0, -1.0, 2.0])) == 6 / (6 * 6**1.5)
        True
    """
    squares = float((influence**2).sum())
    if squares == 0:
        return 0.0
    return float((influence**3).sum()) / math.sqrt(squares**3) / 6


def accelerated_tail(tail: float, z0: float, a: float) -> float:
    """Return the share of replicates below the BCa limit of a nominal tail.

    Args:
        tail: Nominal probability below the limit.
        z0: Bias correction, finite.
        a: Acceleration.

    Returns:
        A probability; 0 or 1 beyond the pole of the formula, so that it grows with ``tail``.
    """
    shifted = z0 + float(special.ndtri(tail))
    room = 1 - a * shifted
    if room <= 0:
        return 1.0 if a > 0 else 0.0
    return float(special.ndtr(z0 + shifted / room))


def nominal_tail(share: float, z0: float, a: float) -> float:
    """Return the tail whose BCa limit is the quantile at ``share``: inverts ``accelerated_tail``.

    Args:
        share: Share of replicates below the limit.
        z0: Bias correction, finite.
        a: Acceleration.

    Returns:
        A probability.
    """
    shifted = float(special.ndtri(share)) - z0
    if math.isinf(shifted):
        return 0.0 if shifted < 0 else 1.0
    room = 1 + a * shifted
    if room <= 0:
        return 0.0 if a > 0 else 1.0
    return float(special.ndtr(shifted / room - z0))

"""Planning: how many examples and seeds a difference needs, with or without data to start from.

A plan starts from a standard error (``paired_accuracy_se``, or that of an earlier comparison) when
only examples are random, and from a ``NoiseModel`` (``variance_components(...).noise``, or numbers
from the literature) when seeds are random too.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from lightning_dna.errors import StatsError
from lightning_dna.stats.intervals import Alternative
from lightning_dna.stats.noise_model import NoiseModel
from lightning_dna.stats.power import minimum_detectable_effect

MOST = 10**9
"""A plan that needs more units or seeds than this is called impossible."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """A study of some size and what it can detect.

    Attributes:
        n_units: Number of test examples (or clusters, as in the noise model).
        n_seeds: Number of training seeds of each arm.
        se: Standard error of the difference.
        df: Its degrees of freedom.
        detectable: Difference that is found with the power asked for.
        cost: Cost of the study; NaN where no prices were given.
    """

    n_units: int
    n_seeds: int
    se: float
    df: float
    detectable: float
    cost: float = float("nan")


@dataclass(frozen=True, kw_only=True)
class _Test:
    """The test that is planned."""

    alpha: float
    power: float
    alternative: Alternative

    def split(self, noise: NoiseModel, n_units: int, n_seeds: int) -> Split:
        """Return what one study can detect."""
        if n_units < 2 or n_seeds < 2:
            raise StatsError(
                f"a plan needs 2 or more units and 2 or more seeds; found {n_units} and {n_seeds}"
            )
        se, df = math.sqrt(noise.variance(n_units, n_seeds)), noise.df(n_units, n_seeds)
        detectable = minimum_detectable_effect(
            se, df, alpha=self.alpha, power=self.power, alternative=self.alternative, exact=True
        )
        return Split(n_units=n_units, n_seeds=n_seeds, se=se, df=df, detectable=detectable)


def paired_accuracy_se(
    discordance: float, n_examples: int, *, effect: float = 0.0, design_effect: float = 1.0
) -> float:
    """Return the standard error of a difference of two accuracies on the same examples.

    sqrt((p_d - effect^2) design_effect / n), p_d the share of examples on which exactly one of the
    two models is right. Two models that make the same mistakes need few examples.

    Args:
        discordance: p_d, between 0 and 1.
        n_examples: Number of examples.
        effect: True difference; 0, as under the null hypothesis, is the customary cautious choice.
        design_effect: Variance with clusters over variance with independent examples.

    Returns:
        Standard error, as a share (0.01 is one percentage point).

    Raises:
        StatsError: If a number is out of range, or the effect exceeds the discordance.

    Example:
        >>> round(paired_accuracy_se(0.1, 1000), 4)
        0.01
    """
    _check_share(discordance, "discordance")
    _check_size(n_examples, design_effect)
    if abs(effect) > discordance:
        raise StatsError(
            f"accuracies that differ by {effect} disagree on that share of examples at least; "
            f"discordance {discordance} is too small"
        )
    return math.sqrt((discordance - effect**2) * design_effect / n_examples)


def unpaired_accuracy_se(
    first: float, second: float, n_examples: int, *, design_effect: float = 1.0
) -> float:
    """Return the standard error of a difference of two accuracies on two sets of examples.

    Args:
        first: Accuracy of one model, between 0 and 1.
        second: Accuracy of the other.
        n_examples: Number of examples of each set.
        design_effect: Variance with clusters over variance with independent examples.

    Returns:
        Standard error, as a share.

    Raises:
        StatsError: If a number is out of range.

    Example:
        >>> round(unpaired_accuracy_se(0.85, 0.85, 1000), 3)
        0.016
    """
    _check_share(first, "accuracy")
    _check_share(second, "accuracy")
    _check_size(n_examples, design_effect)
    variance = first * (1 - first) + second * (1 - second)
    return math.sqrt(variance * design_effect / n_examples)


def detectable_effects(
    noise: NoiseModel,
    *,
    n_units: Sequence[int],
    n_seeds: Sequence[int],
    alpha: float = 0.05,
    power: float = 0.8,
    alternative: Alternative = "two-sided",
) -> tuple[Split, ...]:
    """Return what studies of several sizes can detect.

    Args:
        noise: Variances of the difference per example and per seed.
        n_units: Numbers of units to consider, each 2 or more.
        n_seeds: Numbers of seeds of each arm to consider, each 2 or more.
        alpha: Level of the test.
        power: Probability of detection wanted.
        alternative: Direction of the test.

    Returns:
        One entry per number of units and, within it, per number of seeds.

    Raises:
        StatsError: If a number is below 2.
    """
    test = _Test(alpha=alpha, power=power, alternative=alternative)
    return tuple(test.split(noise, units, seeds) for units in n_units for seeds in n_seeds)


def required_seeds(
    effect: float,
    noise: NoiseModel,
    *,
    n_units: int,
    alpha: float = 0.05,
    power: float = 0.8,
    alternative: Alternative = "two-sided",
) -> int:
    """Return how many seeds of each arm are needed to detect an effect on a given test set.

    Args:
        effect: True difference to detect, not 0.
        noise: Variances of the difference per example and per seed.
        n_units: Number of units of the test set.
        alpha: Level of the test.
        power: Probability of detection wanted.
        alternative: Direction of the test.

    Returns:
        Number of seeds, 2 or more.

    Raises:
        StatsError: If the effect is 0, or if no number of seeds is enough because the test set is
            too small; the message says what that test set can detect at best.

    Example:
        >>> noise = NoiseModel(sigma2_example=0.05, sigma2_seed=0.0004, sigma2_residual=0.05)
        >>> required_seeds(0.03, noise, n_units=2000)
        6
    """
    _check_effect(effect)

    test = _Test(alpha=alpha, power=power, alternative=alternative)
    found = _smallest(lambda n: test.split(noise, n_units, n).detectable <= abs(effect))
    if found is None:
        best = test.split(noise, n_units, MOST).detectable
        raise StatsError(
            f"no number of seeds detects {abs(effect):g} on {n_units} units: at best they detect "
            f"{best:.3g}; use more units (optimal_split finds how many)"
        )
    return found


def optimal_split(
    effect: float,
    noise: NoiseModel,
    *,
    cost_per_unit: float,
    cost_per_seed: float,
    cost_per_evaluation: float = 0.0,
    max_units: int = MOST,
    max_seeds: int = 1000,
    alpha: float = 0.05,
    power: float = 0.8,
    alternative: Alternative = "two-sided",
) -> Split:
    """Return the cheapest numbers of examples and seeds that detect an effect.

    The cost of N units and S seeds is N cost_per_unit + S cost_per_seed + N S cost_per_evaluation,
    in any currency: of labelling a unit, of training all arms once, of scoring a unit with them.

    Args:
        effect: True difference to detect, not 0.
        noise: Variances of the difference per example and per seed.
        cost_per_unit: Price of one more unit, 0 or more.
        cost_per_seed: Price of one more seed of every arm, 0 or more.
        cost_per_evaluation: Price of scoring one unit with one seed of every arm, 0 or more.
        max_units: Largest number of units that can be had.
        max_seeds: Largest number of seeds that can be had.
        alpha: Level of the test.
        power: Probability of detection wanted.
        alternative: Direction of the test.

    Returns:
        The cheapest study; of equally cheap ones, that with the fewest seeds.

    Raises:
        StatsError: If the effect is 0, a price is negative, or no study within the limits is
            enough.
    """
    _check_effect(effect)
    prices = (cost_per_unit, cost_per_seed, cost_per_evaluation)
    if not all(0 <= price < math.inf for price in prices):
        raise StatsError(f"costs must be 0 or more; found {prices}")
    test = _Test(alpha=alpha, power=power, alternative=alternative)
    best: Split | None = None
    for seeds in range(2, max_seeds + 1):
        if best is not None and seeds * cost_per_seed >= best.cost:
            break
        units = _smallest(partial(_detects, effect, test, noise, seeds), max_units)
        if units is None:
            continue
        cost = units * cost_per_unit + seeds * cost_per_seed + units * seeds * cost_per_evaluation
        if best is None or cost < best.cost:
            best = replace(test.split(noise, units, seeds), cost=cost)
    if best is None:
        raise StatsError(
            f"an effect of {abs(effect):g} is not detected with up to {max_units} units and "
            f"{max_seeds} seeds of each arm"
        )
    return best


def _detects(effect: float, test: _Test, noise: NoiseModel, n_seeds: int, n_units: int) -> bool:
    return test.split(noise, n_units, n_seeds).detectable <= abs(effect)


def _smallest(reached: Callable[[int], bool], most: int = MOST) -> int | None:
    """Return the smallest number from 2 to ``most`` for which a growing condition holds."""
    high = 2
    while not reached(high):
        if high >= most:
            return None
        high = min(2 * high, most)
    low = max(high // 2, 1)  # not reached there, or below the range
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _check_effect(effect: float) -> None:
    if not (effect != 0 and math.isfinite(effect)):
        raise StatsError(f"a plan needs an effect that is not 0, such as 0.02; found {effect}")


def _check_share(value: float, what: str) -> None:
    if not 0 <= value <= 1:
        raise StatsError(f"{what} must lie between 0 and 1, not {value}")


def _check_size(n_examples: int, design_effect: float) -> None:
    if n_examples < 1:
        raise StatsError(f"n_examples must be 1 or more, not {n_examples}")
    if not (design_effect > 0 and math.isfinite(design_effect)):
        raise StatsError(f"design_effect must be above 0, not {design_effect}")

"""Classical tests of two sets of predictions on the same examples: exact McNemar and DeLong.

They compare one trained model with another: neither says what other training seeds would give.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from lightning_dna.errors import StatsError
from lightning_dna.stats.alignment import AlignedTask
from lightning_dna.stats.columns import example_statistics
from lightning_dna.stats.hypothesis_tests.arms import RankedArms
from lightning_dna.stats.hypothesis_tests.permutation import variant_position
from lightning_dna.stats.hypothesis_tests.swaps import check_alternative, swap_test
from lightning_dna.stats.intervals import SMALLEST_P, Alternative, check_choices
from lightning_dna.stats.metrics import METRICS
from lightning_dna.stats.predictions import Array, Floats, Integers, listed
from lightning_dna.stats.ranked import Order, auroc_lanes


@dataclass(frozen=True, kw_only=True)
class McNemarResult:
    """McNemar's test of two error rates.

    Attributes:
        n01: Number of examples that a has wrong and b has right.
        n10: Number of examples that a has right and b has wrong.
        statistic: The smaller of the two.
        p: Its binomial p-value; 1 if the variants are right on the same examples.
        mid_p: Whether half of the observed outcome's probability was taken off.
    """

    n01: int
    n10: int
    statistic: int
    p: float
    mid_p: bool


def mcnemar_test(
    y_true: ArrayLike | AlignedTask,
    a: ArrayLike | str,
    b: ArrayLike | str,
    *,
    seed: int | None = None,
    mid_p: bool = False,
    alternative: Alternative = "two-sided",
) -> McNemarResult:
    """Test whether two variants are right equally often, by the exact McNemar test.

    Args:
        y_true: (n,) labels, or an aligned task.
        a: (n,) predicted labels, or the name of a variant of the task.
        b: The same of the other variant.
        seed: Training seed to compare, if a variant of the task has several.
        mid_p: Take half of the observed outcome's probability off: less conservative, not exact.
        alternative: ``"greater"``: a is right more often.

    Returns:
        The discordant counts and the p-value.

    Raises:
        ConfigError: If a variant is unknown.
        StatsError: If lengths differ, a value is NaN, the task has weights or no labels, or it is
            not clear which seeds are meant.

    Example:
        >>> result = mcnemar_test([1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1])
        >>> result.n01, result.n10, round(result.p, 5)
        (1, 5, 0.21875)
    """
    if isinstance(y_true, AlignedTask):
        task = y_true
        _check_unweighted(task, "mcnemar_test")
        slots = [_one_seed(task, str(name), seed, "mcnemar_test") for name in (a, b)]
        if task.y_true is None or task.y_pred is None:
            raise StatsError(f"task '{task.task}': mcnemar_test needs y_true and y_pred")
        labels: Array = task.y_true
        first, second = (task.y_pred[:, *slot] for slot in slots)
    else:
        labels, first, second = _columns({"y_true": y_true, "a": a, "b": b})
        kinds = {values.dtype.kind == "U" for values in (labels, first, second)}
        if len(kinds) > 1:
            raise StatsError("mcnemar_test: some labels are numbers and some are text")
    right_a, right_b = first == labels, second == labels
    return mcnemar_from_counts(
        int((~right_a & right_b).sum()),
        int((right_a & ~right_b).sum()),
        mid_p=mid_p,
        alternative=alternative,
    )


def mcnemar_from_counts(
    n01: int, n10: int, *, mid_p: bool = False, alternative: Alternative = "two-sided"
) -> McNemarResult:
    """Return the exact McNemar test of two discordant counts.

    Args:
        n01: Number of examples that a has wrong and b has right.
        n10: Number of examples that a has right and b has wrong.
        mid_p: Take half of the observed outcome's probability off.
        alternative: ``"greater"``: a is right more often.

    Returns:
        The p-value: n10 is binomial with n01 + n10 draws of chance 1/2 if the variants are alike.

    Raises:
        StatsError: If a count is negative.

    Example:
        >>> tests = [mcnemar_from_counts(1, 5, mid_p=mid_p) for mid_p in (False, True)]
        >>> [round(test.p, 5) for test in tests]
        [0.21875, 0.125]
    """
    check_alternative(alternative)
    if n01 < 0 or n10 < 0:
        raise StatsError(f"mcnemar_test: counts must be 0 or more; found {n01} and {n10}")
    smaller = min(n01, n10)
    tail = {"two-sided": smaller, "greater": n01, "less": n10}[alternative]
    chance, without = (
        float(special.bdtr(count, n01 + n10, 0.5)) if count >= 0 else 0.0
        for count in (tail, tail - 1)
    )
    p = (chance + without) / 2 if mid_p else chance
    if alternative == "two-sided":
        p = min(1.0, 2 * p)
    return McNemarResult(n01=n01, n10=n10, statistic=smaller, p=max(p, SMALLEST_P), mid_p=mid_p)


@dataclass(frozen=True, kw_only=True, eq=False)
class DeLongResult:
    """DeLong's test of two areas under ROC curves.

    Attributes:
        auc_a: Area of a.
        auc_b: Area of b.
        delta: a minus b.
        se: Standard error of delta.
        z: delta / se; 0 if both are 0.
        p: Normal p-value; where se is 0 and delta is not, that of random swaps of the ranks.
        low: Lower limit of the interval of delta.
        high: Upper limit.
        covariance: (2, 2) covariance matrix of the two areas.
        n_positive: Number of positives.
        n_negative: Number of negatives.
    """

    auc_a: float
    auc_b: float
    delta: float
    se: float
    z: float
    p: float
    low: float
    high: float
    covariance: Floats
    n_positive: int
    n_negative: int


def delong_test(
    y_true: ArrayLike | AlignedTask,
    a: ArrayLike | str,
    b: ArrayLike | str,
    *,
    seed: int | None = None,
    level: float = 0.95,
    alternative: Alternative = "two-sided",
) -> DeLongResult:
    """Compare two areas under ROC curves on the same examples.

    The placement of a positive is the share of negatives below its score, ties counted half; that
    of a negative is the share of positives above. The area is the mean placement, and its variance
    is that of the placements of positives over their number plus that of the negatives over theirs.
    Placements come from sorted scores, in O(n log n).

    Args:
        y_true: (n,) labels 0 and 1 (1 is positive), or an aligned task.
        a: (n,) scores, or the name of a variant of the task.
        b: The same of the other variant.
        seed: Training seed to compare, if a variant of the task has several.
        level: Coverage of the interval.
        alternative: ``"greater"``: the area of a is larger, with a lower limit only.

    Returns:
        Areas, difference, standard error, interval and p-value.

    Raises:
        ConfigError: If a variant is unknown.
        StatsError: If a class has fewer than 2 examples, labels are not 0 and 1, lengths differ, a
            value is NaN, the task has weights, or it is not clear which seeds are meant.

    Example:
        >>> result = delong_test([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], [0.1, 0.2, 0.7, 0.9])
        >>> result.auc_a, result.auc_b
        (0.75, 1.0)

    References:
        DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837.
    """
    check_choices("se-t", level, alternative)
    labels, first, second = _labels_and_scores(y_true, a, b, seed)
    return _delong(labels == 1, first, second, level, alternative)


def _delong(
    positive: Array, first: Floats, second: Floats, level: float, alternative: Alternative
) -> DeLongResult:
    """Return the test of checked scores."""
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if min(n_positive, n_negative) < 2:
        raise StatsError(
            "delong_test needs 2 or more examples of each class; found "
            f"{n_positive} of class 1 and {n_negative} of class 0"
        )
    counts = [_twice_placed(scores[positive], scores[~positive]) for scores in (first, second)]
    above = np.stack([of_positives for of_positives, _ in counts]) / (2 * n_negative)
    below = np.stack([of_negatives for _, of_negatives in counts]) / (2 * n_positive)
    auc_a, auc_b = (int(own.sum()) / (2 * n_positive * n_negative) for own, _ in counts)
    delta = auc_a - auc_b
    # From the counts, not from the matrix: arms that order the examples alike give exactly 0.
    gap_positive, gap_negative = (counts[0][side] - counts[1][side] for side in (0, 1))
    se = math.sqrt(
        float(np.var(gap_positive, ddof=1)) / n_positive / (2 * n_negative) ** 2
        + float(np.var(gap_negative, ddof=1)) / n_negative / (2 * n_positive) ** 2
    )
    reach = float(special.ndtri((1 + level) / 2 if alternative == "two-sided" else level)) * se
    if se > 0:
        z = delta / se
        p = _normal_p(z, alternative)
    elif delta == 0:
        z, p = 0.0, 1.0
    else:
        z, p = math.copysign(math.inf, delta), _swap_p(positive, first, second, alternative)
    return DeLongResult(
        auc_a=auc_a,
        auc_b=auc_b,
        delta=delta,
        se=se,
        z=z,
        p=p,
        low=-math.inf if alternative == "less" else delta - reach,
        high=math.inf if alternative == "greater" else delta + reach,
        covariance=np.cov(above) / n_positive + np.cov(below) / n_negative,
        n_positive=n_positive,
        n_negative=n_negative,
    )


def _labels_and_scores(
    y_true: ArrayLike | AlignedTask, a: ArrayLike | str, b: ArrayLike | str, seed: int | None
) -> tuple[Array, Floats, Floats]:
    """Return labels 0 and 1 and the scores of both arms, checked."""
    if isinstance(y_true, AlignedTask):
        _check_unweighted(y_true, "delong_test")
        slots = [_one_seed(y_true, str(name), seed, "delong_test") for name in (a, b)]
        example_statistics(y_true, (METRICS["auroc"],))  # raises if labels or scores do not fit
        first, second = (np.asarray(y_true.y_score)[:, *slot] for slot in slots)
        return np.asarray(y_true.y_true), first, second
    labels, first, second = _columns({"y_true": y_true, "a": a, "b": b})
    for name, values in (("a", first), ("b", second)):
        if values.dtype.kind not in "biuf":
            raise StatsError(f"delong_test: {name} must hold scores; found {values.dtype}")
    other = ~np.isin(labels, [0, 1])
    if other.any():
        raise StatsError(
            "delong_test: y_true must be 0 or 1 (1 is positive); "
            f"found {listed(np.unique(labels[other]))}"
        )
    return labels, first.astype(np.float64), second.astype(np.float64)


def _twice_placed(positive: Floats, negative: Floats) -> tuple[Integers, Integers]:
    """Return twice the negatives below each positive and the positives above each negative."""
    high, low = np.sort(positive), np.sort(negative)
    below = np.searchsorted(low, positive, "left") + np.searchsorted(low, positive, "right")
    under = np.searchsorted(high, negative, "left") + np.searchsorted(high, negative, "right")
    return below, 2 * len(high) - under


def _normal_p(z: float, alternative: Alternative) -> float:
    if alternative == "two-sided":
        p = 2 * float(special.ndtr(-abs(z)))
    else:
        p = float(special.ndtr(-z if alternative == "greater" else z))
    return max(p, SMALLEST_P)


def _swap_p(positive: Array, first: Floats, second: Floats, alternative: Alternative) -> float:
    """Return the p-value of random swaps of ranks, for areas without any variance, as 1 and 0."""
    ones = np.ones(len(positive))
    of_first, of_second = (Order.of(scores).below(ones)[:, None] for scores in (first, second))
    order = Order.of(np.concatenate([of_first, of_second])[:, 0])
    twice = np.concatenate([positive, positive])
    arms = RankedArms(of_first, of_second, lambda weights: auroc_lanes(order, twice, weights)[None])
    return swap_test([(1, arms)], n_resamples=9999, seed=0, alternative=alternative).p


def _one_seed(task: AlignedTask, variant: str, seed: int | None, test: str) -> tuple[int, int]:
    """Return variant and seed positions, if it is clear which seed is meant."""
    position = variant_position(task, variant)
    given = [
        value for value, found in zip(task.seeds, task.present[position], strict=True) if found
    ]
    if (seed is None and len(given) > 1) or (seed is not None and seed not in given):
        raise StatsError(
            f"task '{task.task}': {test} compares one seed of each variant, and variant "
            f"'{variant}' has the seeds {', '.join(map(str, given))}; name one of them with seed=, "
            "or use permutation_test or compare, which take all seeds together"
        )
    return position, task.seeds.index(given[0] if seed is None else seed)


def _check_unweighted(task: AlignedTask, test: str) -> None:
    if task.weight is not None and (task.weight != task.weight[0]).any():
        raise StatsError(
            f"task '{task.task}': {test} counts every example once, and these have weights; "
            "use permutation_test or compare"
        )


def _columns(given: dict[str, ArrayLike]) -> list[Array]:
    """Return arrays of one length without missing values."""
    arrays = {name: np.asarray(values) for name, values in given.items()}
    shapes = {name: values.shape for name, values in arrays.items()}
    if any(len(shape) != 1 for shape in shapes.values()) or len(set(shapes.values())) > 1:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise StatsError(f"give one value per example in every array; found the shapes {found}")
    for name, values in arrays.items():
        bad = (
            ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)
        )
        if bad.any():
            raise StatsError(f"{name} is NaN or infinite at row {listed(np.flatnonzero(bad))}")
    return list(arrays.values())

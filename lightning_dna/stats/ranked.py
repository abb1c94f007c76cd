"""Metrics of the order of scores: AUROC, average precision, true-positive rate, Spearman.

The scores of a model are sorted once. A replicate is then a weighted pass over the sorted examples:
the value is that of the metric on the resampled data, ranks and ties included, without sorting or
copying anything again. Ties count one half (AUROC), share one threshold (average precision and
true-positive rate, as in scikit-learn) or get their mid-rank (Spearman). Counts and rank sums are
whole numbers, and what is not is added in one fixed order, so the compiled program of ``compiled``
gives the same digits.

``Influence values`` are derivatives of the metric with respect to the weight of each example, at
the data; the sum of their squares estimates the variance.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lightning_dna.stats.predictions import Array, Floats, Integers


@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """The examples sorted by one column of numbers.

    Attributes:
        order: (n,) positions, ascending.
        starts: (groups,) first place of each group of equal values in ``order``.
    """

    order: Integers
    starts: Integers

    @cached_property
    def places(self) -> tuple[Integers, Integers]:
        """(n,) first place of each example's group in ``order``, and first place after it."""
        first, after = np.empty_like(self.order), np.empty_like(self.order)
        first[self.order] = np.repeat(self.starts, self.sizes)
        after[self.order] = np.repeat(self.starts + self.sizes, self.sizes)
        return first, after

    @classmethod
    def of(cls, values: Floats) -> "Order":
        """Sort a column."""
        order = np.argsort(values, kind="stable")
        ranked = values[order]
        return cls(
            order=order, starts=np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        )

    @property
    def sizes(self) -> Integers:
        """Number of examples in each group."""
        return np.diff(self.starts, append=len(self.order))

    @property
    def tie_fraction(self) -> float:
        """Share of the examples that have an equal."""
        sizes = self.sizes
        return float(sizes[sizes > 1].sum() / len(self.order))

    def below(self, columns: Array) -> Array:
        """Return for every example the sum of ``columns`` over lower values, ties counted half.

        Args:
            columns: (n,) values by example.
        """
        groups = np.add.reduceat(columns[self.order], self.starts)
        half = np.cumsum(groups) - groups / 2
        result = np.empty(len(self.order))
        result[self.order] = np.repeat(half, self.sizes)
        return result


Lanes = Callable[[Order, Array, Array], Floats]

NEGATIVES_PER_FALSE_POSITIVE = 100
"""A rate of 1 %: so many negatives for each that may be called positive."""


def auroc_lanes(scores: Order, positive: Array, weights: Array) -> Floats:
    """Return the weighted share of (positive, negative) pairs in the right order.

    Args:
        scores: Order of the scores.
        positive: (n,) whether an example is positive.
        weights: (n, lanes) whole numbers.

    Returns:
        (lanes,) values; NaN with one class only.
    """
    is_positive = np.asarray(positive)
    rows = np.ascontiguousarray(weights.T)
    below = _running(rows, scores.order[~is_positive[scores.order]])
    # Negatives before the group of a positive, and up to its end.
    negatives = np.concatenate([[0], np.cumsum(~is_positive[scores.order])])
    places = np.flatnonzero(is_positive)
    doubled = below.take(negatives[scores.places[0][places]], axis=1)
    doubled += below.take(negatives[scores.places[1][places]], axis=1)
    positives = rows.take(places, axis=1)
    wins = np.einsum("ln,ln->l", positives, doubled, dtype=np.int64)
    pairs = positives.sum(axis=1, dtype=np.int64) * below[:, -1]
    return _divided(wins / 2, pairs)


def auprc_lanes(scores: Order, positive: Array, weights: Array) -> Floats:
    """Return the weighted average precision: the mean over positives of the precision there.

    Args:
        scores: Order of the scores.
        positive: (n,) whether an example is positive.
        weights: (n, lanes) whole numbers.

    Returns:
        (lanes,) values; NaN with one class only, like AUROC.
    """
    is_positive = np.asarray(positive)[scores.order]
    rows = np.ascontiguousarray(weights.T)
    running = _running(rows, scores.order)
    whole = running[:, -1:]
    every = whole - running.take(
        scores.starts[::-1], axis=1
    )  # at or above each threshold, from the top
    if len(scores.starts) == len(scores.order):
        keep = is_positive[::-1]
        hits = rows.take(scores.order[::-1][keep], axis=1).astype(np.int64)
        every = every[:, keep]
    else:
        above = _running(rows, scores.order[is_positive])
        number = np.concatenate([[0], np.cumsum(is_positive)])
        first, after = number[scores.starts], number[scores.starts + scores.sizes]
        keep = (after > first)[::-1]
        hits = (above[:, after] - above[:, first])[:, ::-1][:, keep].astype(np.int64)
        every = every[:, keep]
    found = np.cumsum(hits, axis=1)
    # One after the other: the order of this sum is part of the digits.
    total = np.cumsum(hits * (found / np.maximum(every, 1)), axis=1)[:, -1:].sum(axis=1)
    count = hits.sum(axis=1)
    return _divided(total, np.where(count < whole[:, 0], count, 0))


def tpr_lanes(scores: Order, positive: Array, weights: Array) -> Floats:
    """Return the largest weighted true-positive rate with at most 1 % false positives.

    Whatever scores at least a threshold is called positive, and only scores that occur are
    thresholds: equal scores are called together or not at all, and nothing is interpolated. This is
    the conservative reading: of fewer than 100 negatives none may be called, and scores that are
    all equal have a rate of 0.

    Args:
        scores: Order of the scores.
        positive: (n,) whether an example is positive.
        weights: (n, lanes) whole numbers.

    Returns:
        (lanes,) values; NaN with one class only, like AUROC.
    """
    hits, false = _called(scores, positive, np.ascontiguousarray(weights.T))
    allowed = (NEGATIVES_PER_FALSE_POSITIVE * false <= false[:, -1:]).sum(axis=1)
    best = np.take_along_axis(hits, np.maximum(allowed - 1, 0)[:, None], axis=1)[:, 0]
    positives = np.where(false[:, -1] > 0, hits[:, -1], 0)
    return _divided(np.where(allowed > 0, best, 0), positives)


def _called(scores: Order, positive: Array, weights: Array) -> tuple[Integers, Integers]:
    """Return the weight of positives and of negatives at or above each threshold.

    Args:
        scores: Order of the scores.
        positive: (n,) whether an example is positive.
        weights: (lanes, n) whole numbers.

    Returns:
        Two of (lanes, groups), from the highest threshold to the lowest.
    """
    is_positive = np.asarray(positive, dtype=np.bool_)[scores.order]
    ordered = weights.take(scores.order, axis=1)
    sums = [
        np.add.reduceat(ordered * flags, scores.starts, axis=1, dtype=np.int64)
        for flags in (is_positive, ~is_positive)
    ]
    hits, false = (np.cumsum(one[:, ::-1], axis=1) for one in sums)
    return hits, false


def spearman_lanes(scores: Order, target: Order, weights: Array) -> Floats:
    """Return the correlation of the mid-ranks of the resampled data.

    Args:
        scores: Order of the scores.
        target: Order of the truth.
        weights: (n, lanes) whole numbers.

    Returns:
        (lanes,) values; NaN where either side is constant.
    """
    rows = np.ascontiguousarray(weights.T)
    return rank_correlation(
        *rank_products(centred_ranks(scores, rows), centred_ranks(target, rows), rows)
    )


def rank_products(first: Array, second: Array, weights: Array) -> Array:
    """Return the weighted sums of first * second, first^2 and second^2.

    Args:
        first: (lanes, n) whole numbers.
        second: (lanes, n) whole numbers.
        weights: (lanes, n) whole numbers.

    Returns:
        (3, lanes) int64.
    """
    one, two = first * weights, second * weights
    pairs = ((one, second), (one, first), (two, second))
    return np.stack([np.einsum("ln,ln->l", a, b, dtype=np.int64) for a, b in pairs])


def rank_correlation(product: Array, first: Array, second: Array) -> Floats:
    """Return the correlation from whole-number sums of products; NaN without spread."""
    root = np.sqrt(first.astype(np.float64) * second.astype(np.float64))
    return _divided(product, root)


def _divided(top: Array, bottom: Array) -> Floats:
    """Divide, giving NaN where the bottom is 0."""
    values: Floats = np.full(len(bottom), np.nan)
    return np.divide(top, bottom, out=values, where=bottom > 0)


def centred_ranks(order: Order, weights: Array) -> Array:
    """Return twice the mid-rank minus its mean, in every lane: whole numbers.

    Args:
        order: Order of the numbers.
        weights: (lanes, n) whole numbers.

    Returns:
        (lanes, n) int64.
    """
    running = _running(weights, order.order)
    first, after = order.places
    ranks: Array = running.take(first, axis=1) + running.take(after, axis=1)
    ranks -= running[:, -1:]
    return ranks


def _running(weights: Array, order: Integers) -> Array:
    """Return (lanes, 1 + places) sums of the weights before each place of an order."""
    running = np.zeros((len(weights), len(order) + 1), dtype=np.int64)
    np.cumsum(weights.take(order, axis=1), axis=1, dtype=np.int64, out=running[:, 1:])
    return running


def auroc_influence(scores: Order, positive: Array) -> Floats:
    """Return the influence of each example: its DeLong placement, centred, over its class size.

    Args:
        scores: Order of the scores.
        positive: (n,) whether an example is positive.

    Returns:
        (n,) values; NaN with one class only.
    """
    weight = np.asarray(positive, dtype=np.float64)
    m, n = weight.sum(), (1 - weight).sum()
    if m == 0 or n == 0:
        return np.full(len(weight), np.nan)
    under = scores.below(1 - weight) / n
    over = 1 - scores.below(weight) / m
    area = (under * weight).sum() / m
    influence: Floats = np.where(weight > 0, (under - area) / m, (over - area) / n)
    return influence


def auprc_influence(scores: Order, positive: Array) -> Floats:
    """Return the influence of each example on the average precision.

    An example moves the precision of every positive below it and, if positive, adds its own.

    Args:
        scores: Order of the scores.
        positive: (n,) whether an example is positive.

    Returns:
        (n,) values; NaN with one class only.
    """
    weight = np.asarray(positive, dtype=np.float64)
    count = weight.sum()
    if count == 0 or count == len(weight):
        return np.full(len(weight), np.nan)
    sizes = np.add.reduceat(np.ones(len(weight)), scores.starts)
    hits = np.add.reduceat(weight[scores.order], scores.starts)
    # Groups stand from the lowest score to the highest; a threshold holds what is at or above it.
    found, every = np.cumsum(hits[::-1])[::-1], np.cumsum(sizes[::-1])[::-1]
    precision = found / every
    of_positive = np.cumsum(hits * (every - found) / every**2)
    of_negative = -np.cumsum(hits * found / every**2)
    value = (hits * precision).sum() / count
    by_group = np.empty((2, len(weight)))
    for row, effect in enumerate((of_negative, precision + of_positive - value)):
        by_group[row, scores.order] = np.repeat(effect, scores.sizes)
    influence: Floats = np.where(weight > 0, by_group[1], by_group[0]) / count
    return influence


def tpr_influence(scores: Order, positive: Array) -> Floats:
    """Return the influence of each example on the true-positive rate at 1 % false positives.

    A negative moves the threshold, by as much as the curve of true- against false-positive rates is
    steep there. The slope is that of a chord: from no false positives to twice as many as are
    allowed, and two more, which smooths a curve of steps.

    Args:
        scores: Order of the scores.
        positive: (n,) whether an example is positive.

    Returns:
        (n,) values; NaN with one class only.
    """
    flags = np.asarray(positive, dtype=np.bool_)
    m, n = int(flags.sum()), int((~flags).sum())
    if m == 0 or n == 0:
        return np.full(len(flags), np.nan)
    ones = np.ones((1, len(flags)), dtype=np.int64)
    hits, false = (
        np.concatenate([[0], one[0]]) for one in _called(scores, flags, ones)
    )  # the first threshold is above all scores
    most = n // NEGATIVES_PER_FALSE_POSITIVE
    low, at, high = np.searchsorted(false, [0, most, 2 * most + 2], side="right") - 1
    rise, run = hits[high] - hits[low], false[high] - false[low]
    slope = (rise / m) / (run / n) if run else 0.0
    called = np.zeros(len(flags))
    called[scores.order[::-1][: hits[at] + false[at]]] = 1.0
    influence: Floats = np.where(
        flags, (called - hits[at] / m) / m, -slope * (called - false[at] / n) / n
    )
    return influence


BINARY_LANES: Mapping[str, Lanes] = {
    "auroc": auroc_lanes,
    "auprc": auprc_lanes,
    "tpr_at_fpr01": tpr_lanes,
}
"""Metrics of scores against labels 0 and 1."""
BINARY_INFLUENCE: Mapping[str, Callable[[Order, Array], Floats]] = {
    "auroc": auroc_influence,
    "auprc": auprc_influence,
    "tpr_at_fpr01": tpr_influence,
}
"""Their influence values."""


def spearman_influence(scores: Order, target: Order) -> Floats:
    """Return the influence of each example on Spearman's correlation, through all ranks it moves.

    Args:
        scores: Order of the scores.
        target: Order of the truth.

    Returns:
        (n,) values; NaN where either side is constant.
    """
    n = len(scores.order)
    ones = np.ones(n)
    a, b = scores.below(ones) - n / 2, target.below(ones) - n / 2
    spread_a, spread_b = (a * a).sum(), (b * b).sum()
    if spread_a == 0 or spread_b == 0:
        return np.full(n, np.nan)
    value = (a * b).sum() / np.sqrt(spread_a * spread_b)

    def above(order: Order, column: Floats) -> Floats:
        rest: Floats = column.sum() - order.below(column)
        return rest

    by_product = a * b + above(scores, b) + above(target, a)
    by_a, by_b = a * a + 2 * above(scores, a), b * b + 2 * above(target, b)
    influence: Floats = by_product / np.sqrt(spread_a * spread_b)
    influence -= value / 2 * (by_a / spread_a + by_b / spread_b)
    return influence

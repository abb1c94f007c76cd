"""Means and medians over the labels of a task: AUROC and average precision of many labels at once.

A label counts if it has both classes in the data. In a replicate a label that lost one of its
classes is left out of that replicate, so the estimate and its replicates are one function of the
weights of the examples. Every label is sorted once, and all labels, models and metrics see the same
weights. Sorting holds one model at a time, so that memory does not grow with their number.

The number of steps is examples x labels x replicates for each model. Above ``LINEAR_FROM`` of them
a replicate is the value of the data plus the weighted sum of influence values, which is what the
exact one tends to with many examples (its error falls as one over their number); so many steps
come from many examples.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lightning_dna.stats.alignment import AlignedTask
from lightning_dna.stats.columns import UnitStatistics
from lightning_dna.stats.kernels import ExactSums
from lightning_dna.stats.metrics import LABEL_METRICS, Metric
from lightning_dna.stats.predictions import Array, Floats
from lightning_dna.stats.ranked import (
    Order,
    auprc_influence,
    auprc_lanes,
    auroc_influence,
    auroc_lanes,
)
from lightning_dna.stats.sampling import Sampler

LINEAR_FROM = 1e11
"""Steps for one model from which on replicates are linear: one or two minutes of one core."""

_LANES = {"auroc": auroc_lanes, "auprc": auprc_lanes}
_INFLUENCE = {"auroc": auroc_influence, "auprc": auprc_influence}


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelOrders:
    """The labels of one model, sorted.

    Attributes:
        orders: The examples sorted by the scores of each label that has both classes.
        positive: (labels with both classes, n) whether an example has the label.
    """

    orders: tuple[Order, ...]
    positive: Array

    @classmethod
    def of(cls, labels: Array, scores: Array) -> "LabelOrders":
        """Sort the labels that have both classes.

        Args:
            labels: (n, labels) booleans.
            scores: (n, labels) numbers.
        """
        kept = usable_labels(labels)
        return cls(
            orders=tuple(Order.of(np.ascontiguousarray(scores[:, label])) for label in kept),
            positive=np.ascontiguousarray(labels[:, kept].T),
        )

    def values(self, name: str, weights: Array) -> Floats:
        """Return a metric of every label under weights.

        Args:
            name: ``auroc`` or ``auprc``.
            weights: (n, lanes) whole numbers.

        Returns:
            (labels, lanes) values; NaN where a label lost one of its classes.
        """
        pairs = zip(self.orders, self.positive, strict=True)
        rows = [_LANES[name](order, positive, weights) for order, positive in pairs]
        return np.stack(rows) if rows else np.full((1, weights.shape[1]), np.nan)


def usable_labels(labels: Array) -> Array:
    """Return the numbers of the labels that have both classes.

    Example:
        >>> usable_labels(np.array([[True, True, False], [True, False, False]])).tolist()
        [1]
    """
    count = labels.sum(axis=0)
    return np.flatnonzero((count > 0) & (count < len(labels)))


def label_values(metric: str, labels: Array, scores: Array) -> Floats:
    """Return the metric of each label, NaN where a label has one class only.

    Args:
        metric: ``auroc`` or ``auprc``.
        labels: (n, labels) booleans.
        scores: (n, labels) numbers.

    Returns:
        (labels,) values.

    Example:
        >>> label_values("auroc", np.array([[1, 0], [0, 0]], bool), np.array([[2.0, 1], [1, 2]]))
        array([ 1., nan])
    """
    values = np.full(labels.shape[1], np.nan)
    kept = usable_labels(labels)
    if len(kept):
        whole = np.ones((len(labels), 1), dtype=np.uint8)
        values[kept] = LabelOrders.of(labels, scores).values(metric, whole)[:, 0]
    return values


def over_labels(metric: str, labels: Array, scores: Array) -> float:
    """Return a row of ``LABEL_METRICS`` of plain arrays; NaN where no label has both classes."""
    statistic, _, name = metric.partition("_")
    values = label_values(name, labels, scores)
    return float(_summarised(statistic, values[~np.isnan(values)][:, None])[0])


def observed_and_influence_of_labels(
    metric: Metric, task: AlignedTask, scores: Array
) -> tuple[float, Floats]:
    """Return a metric over labels, and its derivative with respect to the weight of each example.

    The derivative of a median is that of the label, or of the mean of the two labels, in the
    middle.

    Args:
        metric: Its row.
        task: Aligned predictions, for the labels.
        scores: (n, labels) scores of one model.

    Returns:
        The value, and (n,) derivatives.
    """
    statistic, _, name = metric.name.partition("_")
    orders = LabelOrders.of(np.asarray(task.labels), scores)
    values = orders.values(name, np.ones((task.n_examples, 1), dtype=np.uint8))[:, 0]
    share = np.full(len(values), 1 / len(values))
    if statistic == "median":
        middle = np.argsort(values, kind="stable")[(len(values) - 1) // 2 : len(values) // 2 + 1]
        share = np.zeros(len(values))
        share[middle] = 1 / len(middle)
    influence = np.zeros(task.n_examples)
    for part, order, positive in zip(share, orders.orders, orders.positive, strict=True):
        if part:
            influence += part * _INFLUENCE[name](order, positive)
    return float(_summarised(statistic, values[:, None])[0]), influence


def label_effect(
    units: UnitStatistics, position: int, metric: Metric, task: AlignedTask
) -> tuple[float, Floats]:
    """Return ``observed_and_influence_of_labels`` of one model, computed once for all who ask.

    Args:
        units: Statistics with the scores.
        position: Which of them.
        metric: Row of the metric.
        task: Aligned predictions.
    """
    key = (position, metric.name)
    if key not in units.label_effects:
        scores = units.label_scores[position]
        units.label_effects[key] = observed_and_influence_of_labels(metric, task, scores)
    return units.label_effects[key]


def is_linear(task: AlignedTask, n_resamples: int) -> bool:
    """Tell whether there is so much to do that replicates are linear."""
    n_labels = 0 if task.labels is None else task.labels.shape[1]
    return float(task.n_examples) * n_labels * n_resamples >= LINEAR_FROM


def fill_labels(
    values: Floats,
    units: UnitStatistics,
    metrics: tuple[Metric, ...],
    task: AlignedTask,
    sampler: Sampler,
) -> None:
    """Write the replicates of all metrics over labels.

    Args:
        values: (replicates, variants, seeds, metrics).
        units: Statistics with the scores.
        metrics: All metrics of the task; only those over labels are looked at.
        task: Aligned predictions.
        sampler: Source of the weights.
    """
    places = [
        (number, LABEL_METRICS[metric.name].name.partition("_"))
        for number, metric in enumerate(metrics)
        if metric.kind == "labels"
    ]
    for position, scores in enumerate(units.label_scores):
        found = _Lanes(task, scores, sampler)
        for number, (statistic, _, name) in places:
            here = np.nonzero(units.index[number][:, :, 0] == position)
            if is_linear(task, sampler.plan.n_resamples):
                row = found.linear(*label_effect(units, position, metrics[number], task))
            else:
                row = found.exact(statistic, name)
            values[:, here[0], here[1], number] = row[:, None]


class _Lanes:
    """The replicates of one model."""

    def __init__(self, task: AlignedTask, scores: Array, sampler: Sampler) -> None:
        self._task, self._scores, self._sampler = task, scores, sampler
        self._cluster = task.cluster if sampler.plan.unit == "cluster" else None
        self._orders: LabelOrders | None = None

    def exact(self, statistic: str, name: str) -> Floats:
        """Return (replicates,) values, every label ranked anew under every weight."""
        sampler = self._sampler
        if self._orders is None:  # for the metrics of one model, and no longer
            self._orders = LabelOrders.of(np.asarray(self._task.labels), self._scores)
        orders, row = self._orders, np.empty(sampler.plan.n_resamples)

        def work(block: int) -> None:
            weights = sampler.weights(block)
            if self._cluster is not None:
                weights = weights[self._cluster]
            found = np.stack([*self._labels(orders, name, np.ascontiguousarray(weights))])
            row[sampler.span(block)] = _summarised(statistic, found)

        sampler.each(sampler.blocks, work)
        return row

    def _labels(self, orders: LabelOrders, name: str, weights: Array) -> Iterator[Floats]:
        """Yield (lanes,) values of each label."""
        kernels = self._sampler.compiled
        for order, positive in zip(orders.orders, orders.positive, strict=True):
            if kernels is None:
                yield _LANES[name](order, positive, weights)
                continue
            found = np.empty(weights.shape[1])
            run = kernels.auroc if name == "auroc" else kernels.auprc
            run(order.order, order.starts, positive, weights, found)
            yield found

    def linear(self, value: float, influence: Floats) -> Floats:
        """Return (replicates,) values, to first order in the weights.

        Args:
            value: The metric of the data.
            influence: (n,) influence of each example.
        """
        if self._cluster is not None:
            influence = np.bincount(self._cluster, influence).astype(np.float64)
        sampler, row = self._sampler, np.empty(self._sampler.plan.n_resamples)
        sums_of = ExactSums(influence[:, None], sampler.total_weight, sampler.compiled)

        def work(block: int) -> None:
            row[sampler.span(block)] = value + sums_of(sampler.weights(block))[0]

        sampler.each(sampler.blocks, work)
        return row


def _summarised(statistic: str, values: Floats) -> Floats:
    """Return the mean or the median over (labels, lanes), leaving out NaN."""
    known = np.isfinite(values)
    if statistic == "mean":
        count = known.sum(axis=0)
        total = np.where(known, values, 0.0).sum(axis=0)
        means: Floats = np.full(values.shape[1], np.nan)
        np.divide(total, count, out=means, where=count > 0)
        return means
    found: Floats = np.full(values.shape[1], np.nan)
    some = known.any(axis=0)
    found[some] = np.nanmedian(values[:, some], axis=0)
    return found

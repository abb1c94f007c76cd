"""Sufficient statistics per example and per unit: the columns whose weighted sums are metrics."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from zlib import crc32

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.alignment import AlignedTask
from lightning_dna.stats.metrics import Metric, check_range
from lightning_dna.stats.predictions import PLAIN, Array, Floats, Integers, listed
from lightning_dna.stats.ranked import Order


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitStatistics:
    """Unit-level columns, each different column once, and where every metric finds its own.

    Attributes:
        matrix: (units, columns) sums over the examples of each unit.
        scores: (examples, columns) different columns of scores, for ranked metrics.
        index: Per metric: (variants, seeds, columns of the metric) positions in ``matrix``, in
            ``scores`` for a ranked metric, or in ``label_scores`` for a metric over labels; -1
            where the pair is absent. Equal positions mean equal
            data on every unit.
        sign: +1, or -1 for the second part of a contrast.
        label_scores: Different (examples, labels) scores, for metrics over labels.
        label_effects: Value and influence of each example, by position in ``label_scores`` and
            metric; filled by who asks first, and shared by the statistics of examples and units.
    """

    matrix: Floats
    scores: Floats
    index: tuple[Integers, ...]
    sign: int = 1
    label_scores: tuple[Array, ...] = ()
    label_effects: dict[tuple[int, str], tuple[float, Floats]] = field(default_factory=dict)

    @cached_property
    def orders(self) -> tuple[Order, ...]:
        """The examples sorted by each column of scores; sorted once for all who ask."""
        return tuple(Order.of(column) for column in self.scores.T)


@dataclass
class _ColumnSet:
    """Columns by content: the true labels and a deterministic baseline are stored once."""

    columns: list[Array] = field(default_factory=list)
    positions: dict[int, list[int]] = field(default_factory=dict)

    def add(self, column: Array) -> int:
        """Return the position of a column, storing it if it is new."""
        values = np.ascontiguousarray(column + 0.0)  # -0.0 and 0.0 are one value
        alike = self.positions.setdefault(crc32(values.data), [])
        for position in alike:
            if np.array_equal(self.columns[position], values):
                return position
        alike.append(len(self.columns))
        self.columns.append(values)
        return alike[-1]

    def matrix(self, n_rows: int) -> Floats:
        """Return the columns side by side, each in one piece of memory."""
        return np.array(self.columns).T if self.columns else np.zeros((n_rows, 0))


def example_statistics(task: AlignedTask, metrics: tuple[Metric, ...]) -> UnitStatistics:
    """Collect the example-level columns of all metrics, variants and seeds.

    Args:
        task: Aligned predictions.
        metrics: Rows of the metrics wanted.

    Returns:
        Statistics with one row per example, in the order of ``task.example_id``.

    Raises:
        StatsError: If a metric does not fit the columns that were given, or a value is outside the
            metric's range.
    """
    found, scores, by_label = _ColumnSet(), _ColumnSet(), _ColumnSet()
    index = []
    cells: Integers | None = None  # shared by all classification metrics
    for metric in metrics:
        _CHECKS[metric.kind](task, metric)
        if metric.kind == "cells" and cells is not None:
            index.append(cells)
            continue
        width = _width(task, metric)
        positions = np.full((*task.present.shape, width), -1, dtype=np.int64)
        for variant, seed in np.argwhere(task.present):
            if metric.kind == "ranked":
                positions[variant, seed] = scores.add(np.asarray(task.y_score)[:, variant, seed])
            elif metric.kind == "labels":
                positions[variant, seed] = by_label.add(task.label_scores[int(variant), int(seed)])
            else:
                columns = _COLUMNS[metric.kind](task, metric, variant, seed)
                positions[variant, seed] = [found.add(_weighted(task, c)) for c in columns]
        cells = positions if metric.kind == "cells" else cells
        index.append(positions)
    return UnitStatistics(
        matrix=found.matrix(task.n_examples),
        scores=scores.matrix(task.n_examples),
        index=tuple(index),
        label_scores=tuple(by_label.columns),
    )


def _width(task: AlignedTask, metric: Metric) -> int:
    """Return the number of columns that one pair needs."""
    widths = {"cells": 3 * len(task.classes), "moments": 2, "ranked": 1, "labels": 1}
    return widths.get(metric.kind, len(metric.columns))


def sum_by_cluster(statistics: UnitStatistics, cluster: Integers) -> UnitStatistics:
    """Add the rows of each cluster.

    Args:
        statistics: Example-level statistics.
        cluster: (examples,) cluster numbers 0..G-1, each used.

    Returns:
        Statistics with one row per cluster.
    """
    order = np.argsort(cluster, kind="stable")
    starts = np.searchsorted(cluster[order], np.arange(cluster.max() + 1))
    return replace(statistics, matrix=np.add.reduceat(statistics.matrix[order], starts, axis=0))


def _weighted(task: AlignedTask, column: Floats) -> Floats:
    return column if task.weight is None else column * task.weight


def _cell_columns(task: AlignedTask, metric: Metric, variant: int, seed: int) -> Iterator[Floats]:
    """Yield hits, predicted and true, each class by class."""
    if task.counts is not None:
        yield from task.counts[:, variant, seed].reshape(task.n_examples, -1).T.astype(np.float64)
        return
    predicted = np.asarray(task.y_pred)[:, variant, seed]
    classes = range(len(task.classes))
    for label in classes:
        yield ((predicted == label) & (task.y_true == label)).astype(np.float64)
    for label in classes:
        yield (predicted == label).astype(np.float64)
    for label in classes:
        yield np.asarray(task.y_true == label, dtype=np.float64)


def _moment_columns(task: AlignedTask, metric: Metric, variant: int, seed: int) -> Iterator[Floats]:
    """Yield numerator and denominator."""
    yield _by_metric(task.numerator, metric)[:, variant, seed]
    if metric.needs_denominator:
        yield _by_metric(task.denominator, metric)[:, variant, seed]
    else:
        yield np.ones(task.n_examples)


def _value_columns(task: AlignedTask, metric: Metric, variant: int, seed: int) -> Iterator[Floats]:
    """Yield the columns that a regression metric names, of centred truth y and prediction p."""
    truth = np.asarray(task.target)
    predicted = np.asarray(task.y_score)[:, variant, seed]
    error = predicted - truth
    y, p = truth - truth.mean(), predicted - predicted.mean()
    columns = {
        "size": np.ones_like(y),
        "y": y,
        "yy": y * y,
        "p": p,
        "pp": p * p,
        "yp": y * p,
        "squared_error": error * error,
        "absolute_error": np.abs(error),
    }
    for name in metric.columns:
        yield columns[name]


def _by_metric(values: Mapping[str, Floats], metric: Metric) -> Floats:
    return values[metric.name] if metric.name in values else values[PLAIN]


def _lacks(task: AlignedTask, metric: Metric, columns: str, advice: str) -> StatsError:
    return StatsError(f"task '{task.task}': metric '{metric.name}' needs {columns}; {advice}")


def _check_labels(task: AlignedTask, metric: Metric) -> None:
    """Raise when a classification metric lacks labels, or a binary one sees other labels."""
    if task.counts is None and (task.y_true is None or task.y_pred is None):
        lacking = "y_true" if task.y_true is None else "y_pred"
        real = task.target is not None if task.y_true is None else task.y_score is not None
        found = f"{lacking} holds real numbers" if real else f"there is no {lacking}"
        raise _lacks(task, metric, "y_true and y_pred with class labels", found)
    _check_binary(task, metric)


def _check_binary(task: AlignedTask, metric: Metric) -> None:
    """Raise when a binary metric sees labels other than 0 and 1."""
    if metric.binary and task.classes.tolist() != [0, 1]:
        instead = "macro_f1 or " if metric.kind == "cells" else ""
        raise StatsError(
            f"task '{task.task}': metric '{metric.name}' needs the labels 0 and 1 (1 is positive); "
            f"found {listed(task.classes)}; use {instead}code the labels as 0 and 1"
        )


def _check_ranks(task: AlignedTask, metric: Metric) -> None:
    """Raise when a metric of ranks lacks scores or the truth it needs, or meets weights."""
    if task.weight is not None:
        raise StatsError(
            f"task '{task.task}': metric '{metric.name}' of ranks takes no importance weights; "
            "leave the weight out"
        )
    if not metric.binary:
        _check_values(task, metric)
        return
    if task.y_true is None:
        found = "real numbers" if task.target is not None else "no y_true"
        raise _lacks(task, metric, "y_true with the labels 0 and 1", f"found {found}")
    if task.y_score is None:
        advice = "there is none; give scores or probabilities of class 1"
        raise _lacks(task, metric, "y_score", advice)
    _check_binary(task, metric)


def _check_label_scores(task: AlignedTask, metric: Metric) -> None:
    """Raise when a metric over labels lacks them, meets weights, or has no label to rank."""
    if task.weight is not None:
        raise StatsError(
            f"task '{task.task}': metric '{metric.name}' over labels takes no importance weights; "
            "leave the weight out"
        )
    if task.labels is None:
        raise _lacks(task, metric, "labels and label_scores", "there are none")


def _check_values(task: AlignedTask, metric: Metric) -> None:
    """Raise when a regression metric lacks numbers."""
    if task.target is None:
        raise _lacks(task, metric, "y_true with numbers", "it holds text, or is not there")
    if task.y_score is None:
        advice = "they hold text, or are not there"
        raise _lacks(task, metric, "numbers in y_score or y_pred", advice)


def _check_moments(task: AlignedTask, metric: Metric) -> None:
    """Raise when a ratio metric lacks its columns, or an example lies outside its range."""
    wanted = {"numerator": task.numerator}
    if metric.needs_denominator:
        wanted["denominator"] = task.denominator
    for column, values in wanted.items():
        if metric.name not in values and PLAIN not in values:
            given = ", ".join(sorted(values)) or "none"
            raise _lacks(task, metric, f"a {column}", f"given for: {given}")
    numerator = _by_metric(task.numerator, metric)
    denominator = (
        _by_metric(task.denominator, metric)
        if metric.needs_denominator
        else np.ones_like(numerator)
    )
    outside = check_range(metric, numerator, denominator)  # NaN of absent pairs compares false
    if outside.any():
        rows = outside.any(axis=(1, 2))
        raise StatsError(
            f"task '{task.task}': metric '{metric.name}' must lie in "
            f"[{metric.low:g}, {metric.high:g}] per example; "
            f"it does not for {listed(task.example_id[rows])}"
        )


_COLUMNS = {"cells": _cell_columns, "moments": _moment_columns, "values": _value_columns}
_CHECKS = {
    "cells": _check_labels,
    "moments": _check_moments,
    "values": _check_values,
    "ranked": _check_ranks,
    "labels": _check_label_scores,
}

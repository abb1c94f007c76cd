"""Sufficient statistics per example and per unit: the columns whose weighted sums are metrics."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.alignment import AlignedTask
from lightning_dna.stats.metrics import Metric, check_range
from lightning_dna.stats.predictions import PLAIN, Floats, Integers, listed


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitStatistics:
    """Unit-level columns, each different column once, and where every metric finds its own.

    Attributes:
        matrix: (units, columns) sums over the examples of each unit.
        index: Per metric: (variants, seeds, columns of the metric) positions in ``matrix``; -1
            where the pair is absent. Equal positions mean equal statistics on every unit.
        sign: +1, or -1 for the second part of a contrast.
    """

    matrix: Floats
    index: tuple[Integers, ...]
    sign: int = 1


@dataclass
class _ColumnSet:
    """Columns by content: the true labels and a deterministic baseline are stored once."""

    columns: list[Floats] = field(default_factory=list)
    positions: dict[bytes, int] = field(default_factory=dict)

    def add(self, column: Floats) -> int:
        """Return the position of a column, storing it if it is new."""
        values = np.ascontiguousarray(column + 0.0)  # -0.0 and 0.0 are one value
        key = hashlib.blake2b(values.tobytes(), digest_size=16).digest()
        if key not in self.positions:
            self.positions[key] = len(self.columns)
            self.columns.append(values)
        return self.positions[key]


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
    found = _ColumnSet()
    index = []
    cells: Integers | None = None  # shared by all classification metrics
    for metric in metrics:
        if metric.kind == "cells" and cells is not None:
            _check_labels(task, metric)
            index.append(cells)
            continue
        width = 3 * len(task.classes) if metric.kind == "cells" else 2
        positions = np.full((*task.present.shape, width), -1, dtype=np.int64)
        if metric.kind == "cells":
            _check_labels(task, metric)
        else:
            _check_moments(task, metric)
        for variant, seed in np.argwhere(task.present):
            make = _cell_columns if metric.kind == "cells" else _moment_columns
            positions[variant, seed] = [found.add(c) for c in make(task, metric, variant, seed)]
        cells = positions if metric.kind == "cells" else cells
        index.append(positions)
    return UnitStatistics(matrix=np.column_stack(found.columns), index=tuple(index))


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
    return UnitStatistics(
        matrix=np.add.reduceat(statistics.matrix[order], starts, axis=0), index=statistics.index
    )


def _weighted(task: AlignedTask, column: Floats) -> Floats:
    return column if task.weight is None else column * task.weight


def _cell_columns(task: AlignedTask, metric: Metric, variant: int, seed: int) -> Iterator[Floats]:
    """Yield hits, predicted and true, each class by class."""
    predicted = np.asarray(task.y_pred)[:, variant, seed]
    classes = range(len(task.classes))
    for label in classes:
        yield _weighted(task, ((predicted == label) & (task.y_true == label)).astype(np.float64))
    for label in classes:
        yield _weighted(task, (predicted == label).astype(np.float64))
    for label in classes:
        yield _weighted(task, np.asarray(task.y_true == label, dtype=np.float64))


def _moment_columns(task: AlignedTask, metric: Metric, variant: int, seed: int) -> Iterator[Floats]:
    """Yield numerator and denominator."""
    yield _weighted(task, _by_metric(task.numerator, metric)[:, variant, seed])
    if metric.needs_denominator:
        yield _weighted(task, _by_metric(task.denominator, metric)[:, variant, seed])
    else:
        yield _weighted(task, np.ones(task.n_examples))


def _by_metric(values: Mapping[str, Floats], metric: Metric) -> Floats:
    return values[metric.name] if metric.name in values else values[PLAIN]


def _check_labels(task: AlignedTask, metric: Metric) -> None:
    """Raise when a classification metric lacks labels, or a binary one sees other labels."""
    if task.y_true is None or task.y_pred is None:
        lacking = "y_true" if task.y_true is None else "y_pred"
        raise StatsError(
            f"task '{task.task}': metric '{metric.name}' needs y_true and y_pred; "
            f"there is no {lacking}"
        )
    if metric.binary and task.classes.tolist() != [0, 1]:
        raise StatsError(
            f"task '{task.task}': metric '{metric.name}' needs the labels 0 and 1 (1 is positive); "
            f"found {listed(task.classes)}; use macro_f1 or code the labels as 0 and 1"
        )


def _check_moments(task: AlignedTask, metric: Metric) -> None:
    """Raise when a ratio metric lacks its columns, or an example lies outside its range."""
    wanted = {"numerator": task.numerator}
    if metric.needs_denominator:
        wanted["denominator"] = task.denominator
    for column, values in wanted.items():
        if metric.name not in values and PLAIN not in values:
            given = ", ".join(sorted(values)) or "none"
            raise StatsError(
                f"task '{task.task}': metric '{metric.name}' needs a {column}; given for: {given}"
            )
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

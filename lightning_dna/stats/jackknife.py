"""Leave one unit out: exact jackknife values, and influence values at the data."""

import numpy as np

from lightning_dna.stats.alignment import AlignedTask
from lightning_dna.stats.columns import UnitStatistics
from lightning_dna.stats.kernels import Cells, ExactSums
from lightning_dna.stats.label_lanes import label_effect
from lightning_dna.stats.metrics import Metric
from lightning_dna.stats.plan import Unit
from lightning_dna.stats.predictions import Array, Floats, Integers
from lightning_dna.stats.ranked import (
    BINARY_INFLUENCE,
    BINARY_LANES,
    Order,
    spearman_influence,
    spearman_lanes,
)

_CELLS = 1_000_000
"""Weights that a ranked metric looks at in one go."""


def ranked_values(metric: Metric, task: AlignedTask, order: Order, weights: Array) -> Floats:
    """Return a ranked metric under weights.

    Args:
        metric: Its row.
        task: Aligned predictions, for the truth.
        order: Order of the scores.
        weights: (examples, lanes) whole numbers.

    Returns:
        (lanes,) values.
    """
    if metric.name == "spearman":
        return spearman_lanes(order, task.target_order, weights)
    positive = np.asarray(task.y_true) == 1
    return BINARY_LANES[metric.name](order, positive, weights)


def ranked_influence(metric: Metric, task: AlignedTask, order: Order) -> Floats:
    """Return the (examples,) influence values of a ranked metric."""
    if metric.name == "spearman":
        return spearman_influence(order, task.target_order)
    positive = np.asarray(task.y_true) == 1
    return BINARY_INFLUENCE[metric.name](order, positive)


def observed_and_influence(
    units: UnitStatistics,
    metrics: tuple[Metric, ...],
    task: AlignedTask,
    *,
    by_cluster: bool,
    cells: Cells | None = None,
) -> tuple[Floats, Floats]:
    """Return the observed metrics and the derivative of each with respect to each unit's weight.

    A metric that does not change when all weights double has derivatives that sum to 0 (Euler), so
    they are centred as they stand, and the sum of their squares estimates the variance.

    Args:
        units: Statistics by unit.
        metrics: Rows of the metrics.
        task: Aligned predictions.
        by_cluster: Whether the units are clusters of examples.
        cells: Units with equal statistics, if known: their sums are those of the units.

    Returns:
        (variants, seeds, metrics) values and (units, variants, seeds, metrics) influence values.
    """
    shape = (*task.present.shape, len(metrics))
    n_units = int(np.max(np.asarray(task.cluster))) + 1 if by_cluster else task.n_examples
    observed = np.full(shape, np.nan)
    influence = np.full((n_units, *shape), np.nan)
    rows = units.matrix if cells is None else cells.rows
    sizes: Array = np.ones(n_units, dtype=np.uint8) if cells is None else cells.sizes
    totals = ExactSums(rows, total_weight=n_units)(sizes[:, None])[:, 0]
    for number, metric in enumerate(metrics):
        for variant, seed in np.argwhere(task.present):
            columns: Integers = units.index[number][variant, seed]
            place = (variant, seed, number)
            if metric.kind == "ranked":
                order = units.orders[columns[0]]
                whole = np.ones((task.n_examples, 1), dtype=np.uint8)
                observed[place] = ranked_values(metric, task, order, whole)[0]
                effect = ranked_influence(metric, task, order)
            elif metric.kind == "labels":
                observed[place], effect = label_effect(units, int(columns[0]), metric, task)
            else:
                observed[place] = metric.value(totals[columns][:, None])[0]
                effect = _weighted_rows(units.matrix, columns, metric.gradient(totals[columns]))
            if by_cluster and metric.kind in ("ranked", "labels"):
                effect = np.bincount(np.asarray(task.cluster), effect).astype(np.float64)
            influence[:, variant, seed, number] = effect
    return observed, influence


def _weighted_rows(matrix: Floats, columns: Integers, slopes: Floats) -> Floats:
    """Return matrix[:, columns] @ slopes, column after column: the same digits in any company."""
    effect = np.zeros(len(matrix))
    for column, slope in zip(columns, slopes, strict=True):
        if slope != 0:
            effect = effect + matrix[:, column] * slope
    return effect


def left_out_values(
    statistics: UnitStatistics,
    task: AlignedTask,
    metric: Metric,
    number: int,
    pair: tuple[int, Integers],
    unit: Unit,
) -> tuple[Floats, Floats]:
    """Return a metric without each unit in turn, and with all of them.

    Args:
        statistics: Statistics of one part.
        task: Its aligned predictions.
        metric: Row of the metric.
        number: Position of the metric in ``statistics.index``.
        pair: Position of the variant, and positions of its seeds.
        unit: What is left out.

    Returns:
        (units, seeds) values, and (seeds,) values of all units.
    """
    variant, seeds = pair
    values, whole = [], []
    for seed in seeds:
        columns = statistics.index[number][variant, seed]
        if metric.kind == "ranked":
            order = statistics.orders[columns[0]]
            everything = np.ones((task.n_examples, 1), dtype=np.uint8)
            whole.append(ranked_values(metric, task, order, everything)[0])
            values.append(_ranked_without(metric, task, order, unit))
        else:
            rows = statistics.matrix[:, columns].T
            total = rows.sum(axis=1, keepdims=True)
            whole.append(metric.value(total)[0])
            values.append(metric.value(total - rows))
    return np.stack(values, axis=1), np.array(whole)


def _ranked_without(metric: Metric, task: AlignedTask, order: Order, unit: Unit) -> Floats:
    """Return a ranked metric without each unit: as many weighted passes as there are units."""
    cluster = np.asarray(task.cluster) if unit == "cluster" else np.arange(task.n_examples)
    n_units = int(cluster.max()) + 1
    values = np.empty(n_units)
    step = max(1, _CELLS // task.n_examples)
    for start in range(0, n_units, step):
        lanes = np.arange(start, min(start + step, n_units))
        kept = (cluster[:, None] != lanes).astype(np.uint8)
        values[lanes] = ranked_values(metric, task, order, kept)
    return values

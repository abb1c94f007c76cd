"""From aligned predictions to replicates, with one set of weights for all variants and metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.alignment import AlignedTask
from lightning_dna.stats.columns import UnitStatistics, example_statistics, sum_by_cluster
from lightning_dna.stats.kernels import (
    BLOCK,
    ExactSums,
    block_generator,
    draw_counts,
    merge_equal_units,
)
from lightning_dna.stats.metrics import Metric, resolve_metrics
from lightning_dna.stats.predictions import Array, Floats, Integers
from lightning_dna.stats.replicates import Replicates, Unit


@dataclass(frozen=True, kw_only=True)
class ResamplingPlan:
    """How to resample.

    Attributes:
        n_resamples: Number of replicates, 2 or more; 9999 makes p-values multiples of 1/10000.
        unit: Resample examples, or whole clusters of examples that are not independent.
        weights: Law of the resample counts; ``"multinomial"`` is sampling with replacement.
        seed: Seed of the random streams, 0 or more.

    Raises:
        StatsError: If a value is not allowed.
    """

    n_resamples: int = 9999
    unit: Unit = "example"
    weights: Literal["multinomial"] = "multinomial"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field."""
        if self.n_resamples < 2:
            raise StatsError(f"n_resamples must be 2 or more, not {self.n_resamples}")
        if self.unit not in ("example", "cluster"):
            raise StatsError(f"unit must be 'example' or 'cluster', not {self.unit!r}")
        if self.weights != "multinomial":
            raise StatsError(f"weights must be 'multinomial', not {self.weights!r}")
        if self.seed < 0:
            raise StatsError(f"seed must be 0 or more, not {self.seed}")


def bootstrap_metrics(
    task: AlignedTask, metrics: Sequence[str | Metric], plan: ResamplingPlan
) -> Replicates:
    """Compute metrics, their replicates and their influence values.

    Memory beside the result is that of the unit-level columns and of 64 replicates of weights.

    Args:
        task: Aligned predictions.
        metrics: Names of rows of ``METRICS``, or rows.
        plan: How to resample. The values of a variant and metric depend on ``plan.seed``, the name
            of the task and the data of that variant, and on nothing else.

    Returns:
        Replicates with axes (resamples, variants, seeds, metrics).

    Raises:
        ConfigError: If a metric is unknown.
        StatsError: If a metric does not fit the data, or clusters are wanted and absent.
    """
    rows = resolve_metrics(metrics)
    examples = example_statistics(task, rows)
    if plan.unit == "cluster":
        if task.cluster is None:
            raise StatsError(
                f"task '{task.task}': unit='cluster' needs cluster_id in the predictions; give it, "
                "or use unit='example' if examples are independent"
            )
        units, sizes = sum_by_cluster(examples, task.cluster), np.bincount(task.cluster)
    else:
        units, sizes = examples, np.ones(task.n_examples, dtype=np.int64)
    n_units = len(sizes)
    observed, influence = _influence(units, rows, task.present)
    values = _replicates(units, rows, task, plan)
    counts = None if task.y_true is None else np.bincount(task.y_true)
    return Replicates(
        task=task.task,
        unit=plan.unit,
        variants=task.variants,
        seeds=task.seeds,
        metrics=rows,
        present=task.present,
        values=values,
        observed=observed,
        influence=influence,
        example_influence=_influence(examples, rows, task.present)[1]
        if plan.unit == "cluster"
        else None,
        n_undefined=np.isnan(values).sum(axis=0) * task.present[:, :, None],
        parts=(n_units,),
        n_examples=task.n_examples,
        effective_units=float(sizes.sum()) ** 2 / float((sizes.astype(np.float64) ** 2).sum()),
        minority=None
        if counts is None
        else int(counts[counts > 0].min() if (counts > 0).sum() > 1 else 0),
        statistics=(units,),
        variance_correction=n_units / (n_units - 1) if n_units > 1 else 1.0,
        rng_seed=plan.seed,
    )


def _replicates(
    units: UnitStatistics, metrics: tuple[Metric, ...], task: AlignedTask, plan: ResamplingPlan
) -> Floats:
    """Return (resamples, variants, seeds, metrics) values, block after block."""
    n_units = len(units.matrix)
    merged = merge_equal_units(units.matrix)
    cells, n_cells = (None, 0) if merged is None else merged
    rows = units.matrix
    if cells is not None:
        rows = rows[np.unique(cells, return_index=True)[1]]
    sums_of = ExactSums(rows, total_weight=n_units)
    present = np.nonzero(task.present)
    positions = [index[present].T for index in units.index]  # (columns, pairs) per metric
    values = np.full((plan.n_resamples, *task.present.shape, len(metrics)), np.nan)
    for start in range(0, plan.n_resamples, BLOCK):
        stop = min(start + BLOCK, plan.n_resamples)
        generator = block_generator(plan.seed, task.task, start // BLOCK)
        sums = sums_of(draw_counts(generator, n_units, stop - start, cells, n_cells))
        for number, metric in enumerate(metrics):
            pairs = metric.value(sums[positions[number]])  # (pairs, replicates)
            values[start:stop, present[0], present[1], number] = pairs.T
    return values


def _influence(
    units: UnitStatistics, metrics: tuple[Metric, ...], present: Array
) -> tuple[Floats, Floats]:
    """Return the observed metrics and the derivative of each with respect to each unit's weight.

    A metric that does not change when all weights double has derivatives that sum to 0 (Euler), so
    they are centred as they stand, and the sum of their squares estimates the variance.
    """
    shape = (*present.shape, len(metrics))
    observed = np.full(shape, np.nan)
    influence = np.full((len(units.matrix), *shape), np.nan)
    totals = ExactSums(units.matrix, total_weight=len(units.matrix))(
        np.ones((1, len(units.matrix)), dtype=np.float32)
    )[:, 0]
    for number, metric in enumerate(metrics):
        for variant, seed in np.argwhere(present):
            columns: Integers = units.index[number][variant, seed]
            sums = totals[columns]
            observed[variant, seed, number] = metric.value(sums[:, None])[0]
            gradient = metric.gradient(sums)
            effect = np.zeros(len(units.matrix))
            for column, slope in zip(columns, gradient, strict=True):
                effect = effect + units.matrix[:, column] * slope
            influence[:, variant, seed, number] = effect
    return observed, influence

"""From aligned predictions to replicates, with one set of weights for all variants and metrics."""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.random import SFC64, Generator, SeedSequence

from lightning_dna.errors import StatsError
from lightning_dna.stats.alignment import AlignedTask
from lightning_dna.stats.columns import UnitStatistics, example_statistics, sum_by_cluster
from lightning_dna.stats.jackknife import observed_and_influence
from lightning_dna.stats.kernels import Cells, ExactSums, merge_equal_units
from lightning_dna.stats.label_lanes import fill_labels
from lightning_dna.stats.metrics import Metric, resolve_metrics
from lightning_dna.stats.plan import ResamplingPlan
from lightning_dna.stats.predictions import Floats, Integers
from lightning_dna.stats.ranked_lanes import RankedLanes
from lightning_dna.stats.replicates import Replicates
from lightning_dna.stats.sampling import Sampler
from lightning_dna.stats.weights import BLOCK

_SPAN_BYTES = 32 * 2**20
"""Memory for the sums of one span of blocks."""

_CELL_STREAM, _CELL_BLOCK = 0x43454C4C, 1024
"""Key of the streams of ``draws="cell"``, and the replicates of each."""


def bootstrap_metrics(
    task: AlignedTask, metrics: Sequence[str | Metric], plan: ResamplingPlan
) -> Replicates:
    """Compute metrics, their replicates and their influence values.

    Memory beside the result is that of the unit-level columns and of a few blocks of weights.

    Args:
        task: Aligned predictions.
        metrics: Names of rows of ``METRICS``, or rows.
        plan: How to resample. The values of a variant and metric depend on ``plan.seed``, the name
            of the task and the data of that variant, and on nothing else (with ``draws="cell"``
            on the set of variants too).

    Returns:
        Replicates with axes (resamples, variants, seeds, metrics).

    Raises:
        ConfigError: If a metric is unknown.
        StatsError: If a metric does not fit the data, or clusters are wanted and absent.
    """
    rows = resolve_metrics(metrics)
    by_cluster = plan.unit == "cluster"
    examples, units, sizes = _units(task, rows, by_cluster=by_cluster)
    sampler = Sampler(plan=plan, task=task.task, n_units=len(sizes), strata=_strata(task, plan))
    cells = _worthwhile_cells(units, rows, sampler)
    observed, influence = observed_and_influence(
        units, rows, task, by_cluster=by_cluster, cells=cells
    )
    # In memory the replicates of one number lie side by side: they are read together ever after.
    values = np.full((*task.present.shape, len(rows), plan.n_resamples), np.nan).transpose(
        3, 0, 1, 2
    )
    if plan.draws == "cell":
        _fill_by_cell(values, units, rows, task, plan, cells)
    else:
        _fill(values, units, rows, task, sampler, cells)
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
        example_influence=observed_and_influence(examples, rows, task, by_cluster=False)[1]
        if by_cluster
        else None,
        n_undefined=np.isnan(values).sum(axis=0) * task.present[:, :, None],
        parts=(len(sizes),),
        n_examples=task.n_examples,
        effective_units=float(sizes.sum()) ** 2 / float((sizes.astype(np.float64) ** 2).sum()),
        minority=None
        if counts is None
        else int(counts[counts > 0].min() if (counts > 0).sum() > 1 else 0),
        statistics=(units,),
        variance_correction=_correction(plan, sampler),
        plan=plan,
        tasks=(task,),
        samplers=(sampler,),
        tie_fraction=_tie_fraction(units, rows, task),
    )


def _units(
    task: AlignedTask, metrics: tuple[Metric, ...], *, by_cluster: bool
) -> tuple[UnitStatistics, UnitStatistics, Integers]:
    """Return statistics by example and by unit, and the number of examples of each unit."""
    examples = example_statistics(task, metrics)
    if not by_cluster:
        return examples, examples, np.ones(task.n_examples, dtype=np.int64)
    if task.cluster is None:
        raise StatsError(
            f"task '{task.task}': unit='cluster' needs cluster_id in the predictions; give it, "
            "or use unit='example' if examples are independent"
        )
    return examples, sum_by_cluster(examples, task.cluster), np.bincount(task.cluster)


def _strata(task: AlignedTask, plan: ResamplingPlan) -> tuple[Integers, ...] | None:
    """Return the positions of the examples of every true class, where the plan asks for them."""
    if plan.strata is None:
        return None
    if task.y_true is None:
        raise StatsError(
            f"task '{task.task}': strata='class' needs y_true with class labels; use strata=None"
        )
    return tuple(np.flatnonzero(task.y_true == label) for label in np.unique(task.y_true))


def _correction(plan: ResamplingPlan, sampler: Sampler) -> float:
    """Return the factor that makes the variance of a resampled mean unbiased.

    Strata each have their own; the largest is on the safe side.
    """
    sizes = [sampler.n_units] if sampler.strata is None else [len(s) for s in sampler.strata]
    extra = 1 if plan.weights == "bayesian" else 0
    return max([(size + extra) / (size - 1) for size in sizes if size > 1], default=1.0)


def _fill(
    values: Floats,
    units: UnitStatistics,
    metrics: tuple[Metric, ...],
    task: AlignedTask,
    sampler: Sampler,
    cells: Cells | None,
) -> None:
    """Fill in all metrics, block after block; each block of weights is drawn once."""
    present = np.nonzero(task.present)
    kinds = [metric.kind for metric in metrics]
    summed = [number for number, kind in enumerate(kinds) if kind not in ("ranked", "labels")]
    ranked = RankedLanes(units, metrics, task, sampler) if "ranked" in kinds else None
    if "labels" in kinds:
        fill_labels(values, units, metrics, task, sampler)
        if set(kinds) == {"labels"}:
            return
    rows = units.matrix if cells is None else cells.rows
    sums_of = ExactSums(rows, sampler.total_weight, sampler.compiled)
    blocks = sampler.blocks
    step = max(1, _SPAN_BYTES // (8 * BLOCK * max(sums_of.n_columns, 1)))
    for start in range(0, len(blocks), step):
        some = blocks[start : start + step]
        first, last = sampler.span(some[0]).start, sampler.span(some[-1]).stop
        sums = np.empty((sums_of.n_columns, last - first))

        def work(block: int, sums: Floats = sums, first: int = first) -> None:
            span = sampler.span(block)
            if cells is not None:
                weights = sampler.cell_counts(block, cells)
            else:
                weights = sampler.weights(block)
            sums[:, span.start - first : span.stop - first] = sums_of(weights)
            if ranked is not None:
                ranked.fill(values[span], weights)

        sampler.each(some, work)
        for number in summed:
            columns = units.index[number][present].T  # (columns, pairs)
            pairs = metrics[number].value(sums[columns])  # (pairs, replicates)
            values[first:last, present[0], present[1], number] = pairs.T


def _worthwhile_cells(
    units: UnitStatistics, metrics: tuple[Metric, ...], sampler: Sampler
) -> Cells | None:
    """Return the cells of equal units, where counting cells is less work than counting units."""
    if any(metric.kind in ("ranked", "labels") for metric in metrics):
        return None
    if sampler.plan.draws == "cell":
        return merge_equal_units(units.matrix, most=sampler.n_units)
    if sampler.compiled is None or sampler.strata is not None:
        return None
    return merge_equal_units(units.matrix, most=sampler.n_units // BLOCK)


def _fill_by_cell(
    values: Floats,
    units: UnitStatistics,
    metrics: tuple[Metric, ...],
    task: AlignedTask,
    plan: ResamplingPlan,
    cells: Cells | None,
) -> None:
    """Fill in metrics from multinomial counts of the cells of equal units."""
    if cells is None:
        unfit = [metric.name for metric in metrics if metric.kind in ("ranked", "labels")]
        raise StatsError(
            f"task '{task.task}': draws='cell' is for metrics of counts; {', '.join(unfit)} needs "
            "draws='unit'"
        )
    sums_of = ExactSums(cells.rows, total_weight=task.n_examples)
    present = np.nonzero(task.present)
    for block in range(-(-plan.n_resamples // _CELL_BLOCK)):
        key = (crc32(task.task.encode()), block, _CELL_STREAM)
        generator = Generator(SFC64(SeedSequence(plan.seed, spawn_key=key)))
        span = slice(block * _CELL_BLOCK, min((block + 1) * _CELL_BLOCK, plan.n_resamples))
        shares = cells.sizes / task.n_examples
        counts = generator.multinomial(task.n_examples, shares, size=span.stop - span.start)
        sums = sums_of(counts.T)
        for number, metric in enumerate(metrics):
            columns = units.index[number][present].T
            values[span, present[0], present[1], number] = metric.value(sums[columns]).T


def _tie_fraction(units: UnitStatistics, metrics: tuple[Metric, ...], task: AlignedTask) -> Floats:
    """Return the share of examples with tied scores by variant and seed."""
    result = np.full(task.present.shape, np.nan)
    for number, metric in enumerate(metrics):
        if metric.kind == "ranked":
            for variant, seed in np.argwhere(task.present):
                column = units.index[number][variant, seed, 0]
                result[variant, seed] = units.orders[column].tie_fraction
            break
    return result

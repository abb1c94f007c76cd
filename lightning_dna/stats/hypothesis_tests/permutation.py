"""Permutation test of two variants: are they exchangeable on every unit?"""

from collections.abc import Sequence
from typing import get_args

import numpy as np

from lightning_dna.errors import StatsError, unknown_name
from lightning_dna.stats.alignment import AlignedTask
from lightning_dna.stats.hypothesis_tests.arms import Arms, Swap, arms_of
from lightning_dna.stats.hypothesis_tests.swaps import (
    PermutationResult,
    check_alternative,
    swap_test,
)
from lightning_dna.stats.intervals import Alternative
from lightning_dna.stats.metrics import Metric, resolve_metrics
from lightning_dna.stats.plan import Unit


def permutation_test(
    task: AlignedTask,
    metric: str | Metric,
    a: str,
    b: str,
    *,
    n_resamples: int = 9999,
    seed: int = 0,
    unit: Unit = "example",
    alternative: Alternative = "two-sided",
    swap: Swap = "scores",
) -> PermutationResult:
    """Test whether two variants are exchangeable, by swapping their predictions on random units.

    The statistic is the mean over seeds of the metric, a minus b. A unit moves with all its
    examples and all its seeds. If there are few different outcomes all are listed and p is exact;
    with m differing units it cannot be below 2^(1-m) two-sided: three perfect answers against
    three wrong ones are no proof.

    Args:
        task: Aligned predictions.
        metric: Name of a row of ``METRICS``, or a row.
        a: First variant.
        b: Second variant. If one variant has more seeds, its last ones are left out.
        n_resamples: Number of random swaps where there are too many outcomes to list.
        seed: Seed of the random swaps; their streams depend on it and on the task's name.
        unit: Swap examples, or whole clusters of examples that are not independent.
        alternative: Direction of the claim about a minus b.
        swap: For metrics of ranks: ``"scores"`` swaps the scores as they are; ``"ranks"`` swaps
            their mid-ranks within each arm and seed. Scores on two scales, such as logits and
            probabilities, need ranks: mixed, they order nothing, and differences go unnoticed.

    Returns:
        The difference and its p-value; both NaN where the metric is undefined.

    Raises:
        ConfigError: If the metric or a variant is unknown.
        StatsError: If the metric does not fit the data, clusters are wanted and absent, or an
            option is not allowed.
    """
    return contrast_permutation_test(
        [(1, task)],
        metric,
        a,
        b,
        n_resamples=n_resamples,
        seed=seed,
        unit=unit,
        alternative=alternative,
        swap=swap,
    )


def contrast_permutation_test(
    parts: Sequence[tuple[int, AlignedTask]],
    metric: str | Metric,
    a: str,
    b: str,
    *,
    n_resamples: int = 9999,
    seed: int = 0,
    unit: Unit = "example",
    alternative: Alternative = "two-sided",
    swap: Swap = "scores",
) -> PermutationResult:
    """Test a difference of differences over disjoint example sets, such as train minus held-out.

    Args:
        parts: Sign (+1 or -1) and predictions of each example set; the statistic is the sum of sign
            times a minus b. Units of all parts are swapped independently.
        metric: As in ``permutation_test``, like all other arguments.
        a: First variant.
        b: Second variant.
        n_resamples: Number of random swaps.
        seed: Seed of the random swaps.
        unit: What is swapped.
        alternative: Direction of the claim.
        swap: What is swapped for metrics of ranks.

    Returns:
        The difference and its p-value.

    Raises:
        ConfigError: If the metric or a variant is unknown.
        StatsError: As in ``permutation_test``.
    """
    if n_resamples < 1 or seed < 0:
        raise StatsError(
            f"n_resamples must be 1 or more and seed 0 or more; found {n_resamples} and {seed}"
        )
    if unit not in get_args(Unit):
        raise StatsError(f"unit must be 'example' or 'cluster', not {unit!r}")
    if swap not in get_args(Swap):
        raise StatsError(f"swap must be 'scores' or 'ranks', not {swap!r}")
    check_alternative(alternative)
    row = resolve_metrics([metric])[0]
    return swap_test(
        [(sign, _arms(task, row, a, b, unit, swap)) for sign, task in parts],
        n_resamples=n_resamples,
        seed=seed,
        key="\n".join(task.task for _, task in parts),
        alternative=alternative,
    )


def _arms(task: AlignedTask, metric: Metric, a: str, b: str, unit: Unit, swap: Swap) -> Arms:
    """Return the two variants with as many seeds as both have, ready to be swapped."""
    if unit == "cluster" and task.cluster is None:
        raise StatsError(
            f"task '{task.task}': unit='cluster' needs cluster_id in the predictions; give it, "
            "or use unit='example' if examples are independent"
        )
    variants = [variant_position(task, name) for name in (a, b)]
    seeds = [np.flatnonzero(task.present[variant]) for variant in variants]
    n_seeds = min(len(positions) for positions in seeds)
    first, second = (
        (variant, positions[:n_seeds]) for variant, positions in zip(variants, seeds, strict=True)
    )
    cluster = task.cluster if unit == "cluster" else None
    return arms_of(task, metric, first, second, cluster, swap)


def variant_position(task: AlignedTask, name: str) -> int:
    """Return the position of a variant; an unknown name is an error with the nearest name."""
    if name not in task.variants:
        raise unknown_name("variant", name, task.variants, where=f"task '{task.task}'")
    return task.variants.index(name)

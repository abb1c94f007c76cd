"""Two arms of one metric, ready to be swapped on units: as sums, or as sorted scores.

**Sums** (``SummedArms``): the arms are the half of their joint sums, plus and minus half of a row
for every unit, with a random sign. Units with the same row up to its sign form a group, and only
the number of plus signs in a group matters, which is binomial: a classification metric costs the
same for a million examples as for a hundred.

**Ranks** (``RankedArms``): both arms' scores are sorted together once. An arm is then a choice of
half of the sorted items, weights 1 and 0, so each toss costs one pass over the items and no sort.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, Protocol

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.alignment import AlignedTask
from lightning_dna.stats.columns import example_statistics, sum_by_cluster
from lightning_dna.stats.kernels import ExactSums, merge_equal_units
from lightning_dna.stats.metrics import Function, Metric
from lightning_dna.stats.plan import ResamplingPlan
from lightning_dna.stats.predictions import Array, Floats, Integers
from lightning_dna.stats.ranked import Order
from lightning_dna.stats.ranked_lanes import RankedLanes
from lightning_dna.stats.sampling import Sampler

Swap = Literal["scores", "ranks"]

_ALWAYS_GROUPED = 64
"""Units with equal rows are grouped if that leaves no more groups, or a quarter of the units."""


class Arms(Protocol):
    """Two arms on one example set, ready to be swapped.

    Attributes:
        sizes: (groups,) number of coins in each group: the differing units.
        n_units: Number of units, differing or not.
        n_seeds: Number of seeds of each arm.
    """

    sizes: Integers
    n_units: int
    n_seeds: int

    def observed(self) -> tuple[Floats, Floats]:
        """Return the metric of the first and of the second arm as they are, each (seeds, 1)."""

    def values(self, heads: Array) -> tuple[Floats, Floats]:
        """Return the metric of the first and of the second arm, each (seeds, tosses).

        Args:
            heads: (groups, tosses) number of heads among the coins of each group.
        """


class SummedArms:
    """Two arms of a metric that is a function of sums."""

    def __init__(self, first: Floats, second: Floats, value: Function) -> None:
        """Group the units.

        Args:
            first: (units, seeds, columns) statistics of the first arm.
            second: The same of the second arm.
            value: (columns, ...) sums -> metric (...).
        """
        self.n_units, self.n_seeds, n_columns = first.shape
        self._shape = (self.n_seeds, n_columns)
        self._value = value
        self._first, self._second = self._totals(first), self._totals(second)
        gap = (second - first).reshape(self.n_units, -1)
        gap = gap[(gap != 0).any(axis=1)]
        # The first entry that is not 0 becomes positive, so that a row meets its mirror image.
        gap *= _leading_sign(gap)[:, None]
        self.sizes = np.ones(len(gap), dtype=np.int64)
        cells = merge_equal_units(gap, most=max(len(gap) // 4, _ALWAYS_GROUPED))
        if cells is not None:
            gap, self.sizes = cells.rows, cells.sizes
        # Exchanging first and second must turn every value into its negative.
        direction = _leading_sign((self._second - self._first).reshape(1, -1))
        self._moved = ExactSums(gap * direction / 2, total_weight=max(int(self.sizes.sum()), 1))

    def _totals(self, matrix: Floats) -> Floats:
        """Return (columns, seeds, 1) sums over units."""
        sums_of = ExactSums(matrix.reshape(self.n_units, -1), total_weight=self.n_units)
        return self._by_column(sums_of(np.ones((self.n_units, 1), dtype=np.uint8)))

    def _by_column(self, sums: Floats) -> Floats:
        """Turn (seeds * columns, tosses) into (columns, seeds, tosses)."""
        return np.swapaxes(sums.reshape(*self._shape, -1), 0, 1)

    def observed(self) -> tuple[Floats, Floats]:
        """Return the metric of both arms as they are; see ``Arms``."""
        return self._value(self._first), self._value(self._second)

    def values(self, heads: Array) -> tuple[Floats, Floats]:
        """Return the metric of both arms; see ``Arms``."""
        plus_minus = heads.astype(np.float32)
        plus_minus *= 2
        plus_minus -= self.sizes[:, None].astype(np.float32)
        moved = self._by_column(self._moved(plus_minus))
        half = (self._first + self._second) / 2
        return self._value(half + moved), self._value(half - moved)


def _leading_sign(rows: Floats) -> Floats:
    """Return the sign of the first entry of each row that is not 0; 1 if there is none."""
    places = (rows != 0).argmax(axis=1) if rows.shape[1] else np.zeros(len(rows), dtype=np.int64)
    return np.where(np.take_along_axis(rows, places[:, None], axis=1)[:, 0] < 0, -1.0, 1.0)


class RankedArms:
    """Two arms of a metric that reads the order of the scores."""

    def __init__(
        self,
        first: Floats,
        second: Floats,
        value: Callable[[Array], Floats],
        unit: Integers | None = None,
    ) -> None:
        """Find the units that differ.

        Args:
            first: (n, seeds) scores of the first arm.
            second: (n, seeds) scores of the second arm.
            value: (2n, tosses) weights 0 or 1 of the scores of first and second -> metric
                (seeds, tosses).
            unit: (n,) unit numbers 0..G-1 that are swapped whole, or ``None``: each example is one.
        """
        n_examples, self.n_seeds = first.shape
        units = np.arange(n_examples) if unit is None else unit
        self.n_units = int(units.max()) + 1
        differs = np.bincount(units, weights=(first != second).any(axis=1)) > 0
        self.sizes = np.ones(int(differs.sum()), dtype=np.int64)
        # Row 0 of the swaps is always 0: there stand the units that do not matter.
        self._row = np.where(differs, np.cumsum(differs), 0)[units]
        self._value = value

    def observed(self) -> tuple[Floats, Floats]:
        """Return the metric of both arms as they are; see ``Arms``."""
        # Two tosses, because numpy adds up a single column in another order than several.
        first, second = self.values(np.zeros((len(self.sizes), 2), dtype=np.uint8))
        return first[:, :1], second[:, :1]

    def values(self, heads: Array) -> tuple[Floats, Floats]:
        """Return the metric of both arms, swapped on the units with heads; see ``Arms``."""
        swaps = np.zeros((len(self.sizes) + 1, heads.shape[1]), dtype=np.uint8)
        swaps[1:] = heads
        moved = swaps[self._row]
        weights = np.concatenate([1 - moved, moved])
        first = self._value(weights)
        return first, self._value(1 - weights)


def arms_of(
    task: AlignedTask,
    metric: Metric,
    first: tuple[int, Integers],
    second: tuple[int, Integers],
    cluster: Integers | None = None,
    swap: Swap = "scores",
) -> Arms:
    """Return two variants of a task, ready to be swapped.

    Args:
        task: Aligned predictions.
        metric: Row of the metric.
        first: Variant position and seed positions of the first arm.
        second: The same of the second arm, with as many seeds.
        cluster: (n,) units that are swapped whole, or ``None``: each example is one.
        swap: Whether a metric of ranks is computed from swapped scores or from swapped mid-ranks.

    Returns:
        The arms.

    Raises:
        StatsError: If the metric does not fit the data.
    """
    # Columns may hold centred predictions. Below one another, both arms get the same centre.
    both = _below_one_another(task, first, second)
    if swap == "ranks":
        both = _ranked_by_arm(both, metric)
    statistics = example_statistics(both, (metric,))
    n_examples = task.n_examples
    if metric.kind == "ranked":
        scores = statistics.scores[:, statistics.index[0][0, :, 0]]
        whole = Sampler(plan=ResamplingPlan(), task=task.task, n_units=2 * n_examples)
        lanes = RankedLanes(statistics, (metric,), both, whole)

        def value(weights: Array) -> Floats:
            values = np.empty((weights.shape[1], *both.present.shape, 1))
            lanes.fill(values, weights)
            return values[:, 0, :, 0].T

        return RankedArms(scores[:n_examples], scores[n_examples:], value, cluster)
    if cluster is not None:
        n_clusters = int(cluster.max()) + 1
        statistics = sum_by_cluster(statistics, np.concatenate([cluster, cluster + n_clusters]))
    rows = statistics.matrix[:, statistics.index[0][0]]
    return SummedArms(rows[: len(rows) // 2], rows[len(rows) // 2 :], metric.value)


def _below_one_another(
    task: AlignedTask, first: tuple[int, Integers], second: tuple[int, Integers]
) -> AlignedTask:
    """Return a task of one variant and twice the examples: those of the first arm, then second."""

    def doubled(values: Array | None) -> Array | None:
        return None if values is None else np.concatenate([values, values])

    def joined(values: Array) -> Array:
        return np.concatenate([values[:, *first], values[:, *second]])[:, None]

    n_seeds = len(first[1])
    return replace(
        task,
        variants=("",),
        seeds=tuple(range(n_seeds)),
        present=np.ones((1, n_seeds), dtype=bool),
        example_id=np.concatenate([task.example_id, task.example_id]),
        y_true=doubled(task.y_true),
        y_pred=None if task.y_pred is None else joined(task.y_pred),
        target=doubled(task.target),
        y_score=None if task.y_score is None else joined(task.y_score),
        weight=doubled(task.weight),
        numerator={name: joined(values) for name, values in task.numerator.items()},
        denominator={name: joined(values) for name, values in task.denominator.items()},
        cluster=doubled(task.cluster),
        counts=None if task.counts is None else joined(task.counts),
    )


def _ranked_by_arm(both: AlignedTask, metric: Metric) -> AlignedTask:
    """Return the task with each arm's scores replaced by their mid-ranks within that arm."""
    if metric.kind != "ranked":
        raise StatsError(
            f"task '{both.task}': swap='ranks' is for metrics of ranks (auroc, auprc, "
            f"tpr_at_fpr01, spearman), not for '{metric.name}'; use swap='scores'"
        )
    if both.y_score is None:
        return both
    ones = np.ones(both.n_examples // 2)
    ranks = np.empty_like(both.y_score)
    for half in np.split(np.arange(both.n_examples), 2):
        for seed in range(ranks.shape[2]):
            ranks[half, 0, seed] = Order.of(both.y_score[half, 0, seed]).below(ones)
    return replace(both, y_score=ranks)

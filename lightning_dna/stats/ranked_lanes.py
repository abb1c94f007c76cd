"""The metrics of sorted scores for all models of a task, under one block of weights after another.

Every column of scores is sorted once, and equal columns are looked at once; the truth is ranked
once per block for all models.
"""

from collections.abc import Callable
from types import ModuleType

import numpy as np

from lightning_dna.stats.alignment import AlignedTask
from lightning_dna.stats.columns import UnitStatistics
from lightning_dna.stats.metrics import Metric
from lightning_dna.stats.predictions import Array, Floats
from lightning_dna.stats.ranked import (
    BINARY_LANES,
    Order,
    centred_ranks,
    rank_correlation,
    rank_products,
)
from lightning_dna.stats.sampling import Sampler

_LANE_BYTES = 2 * 2**20
"""Weights that numpy looks at in one go, so that they stay in cache."""


class RankedLanes:
    """Ranked metrics of one task, ready for blocks of weights."""

    def __init__(
        self,
        units: UnitStatistics,
        metrics: tuple[Metric, ...],
        task: AlignedTask,
        sampler: Sampler,
    ) -> None:
        """Sort every column of scores.

        Args:
            units: Statistics with the columns of scores.
            metrics: All metrics of the task; only the ranked ones are looked at.
            task: Aligned predictions.
            sampler: Source of the weights.
        """
        self._metrics = [(n, metric.name) for n, metric in enumerate(metrics) if _ranked(metric)]
        self._pairs = [tuple(pair) for pair in np.argwhere(task.present)]
        self._index = units.index
        self._orders = units.orders
        self._cluster = task.cluster if sampler.plan.unit == "cluster" else None
        names = {name for _, name in self._metrics}
        self._target = task.target_order if "spearman" in names else None
        positive = names & set(BINARY_LANES)
        self._positive = np.asarray(task.y_true) == 1 if positive else np.zeros(0, dtype=bool)
        self._kernels = sampler.compiled
        whole = self._kernels is not None
        self._lanes = 64 if whole else max(1, _LANE_BYTES // (8 * task.n_examples))

    def fill(self, values: Floats, weights: Array) -> None:
        """Write the values under a block of weights.

        Args:
            values: (replicates, variants, seeds, metrics), written where a metric is ranked.
            weights: (units, replicates) whole numbers.
        """
        if self._cluster is not None:
            weights = weights[self._cluster]
        for start in range(0, len(values), self._lanes):
            rows = slice(start, start + self._lanes)
            some = np.ascontiguousarray(weights[:, rows])
            for number, name in self._metrics:
                found = self._spearman(some) if name == "spearman" else self._binary(name, some)
                for variant, seed in self._pairs:
                    column = self._index[number][variant, seed, 0]
                    values[rows, variant, seed, number] = found[column]

    def _binary(self, name: str, weights: Array) -> list[Floats]:
        """Return a metric of scores against labels for every column of scores."""
        compiled = {} if self._kernels is None else _compiled(self._kernels)
        if name not in compiled:
            lanes = BINARY_LANES[name]
            return [lanes(order, self._positive, weights) for order in self._orders]
        run = compiled[name]
        found = [np.empty(weights.shape[1]) for _ in self._orders]
        for order, result in zip(self._orders, found, strict=True):
            run(order.order, order.starts, self._positive, weights, result)
        return found

    def _spearman(self, weights: Array) -> list[Floats]:
        """Return Spearman's correlation with the truth for every column of scores."""
        if self._target is None:
            raise AssertionError("the truth is sorted where Spearman's correlation is wanted")
        truth = self._ranks(self._target, weights)
        found = []
        for order in self._orders:
            scores = self._ranks(order, weights)
            if self._kernels is None:
                sums = rank_products(scores, truth, weights.T)
            else:
                sums = np.empty((3, weights.shape[1]), dtype=np.int64)
                self._kernels.rank_products(scores, truth, weights, sums)
            found.append(rank_correlation(*sums))
        return found

    def _ranks(self, order: Order, weights: Array) -> Array:
        """Return centred ranks: (lanes, examples) by numpy, (examples, lanes) compiled."""
        if self._kernels is None:
            return centred_ranks(order, np.ascontiguousarray(weights.T))
        ranks = np.empty(weights.shape, dtype=np.int32)
        self._kernels.centred_ranks(order.order, order.starts, weights, ranks)
        return ranks


def _compiled(kernels: ModuleType) -> dict[str, Callable[..., None]]:
    """Return the compiled metrics of scores against labels; the others have one program."""
    return {"auroc": kernels.auroc, "auprc": kernels.auprc}


def _ranked(metric: Metric) -> bool:
    return metric.kind == "ranked"

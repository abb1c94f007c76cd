"""Blocks of resample weights for one task, handed to whatever wants weighted sums of them."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import cast

import numpy as np
from threadpoolctl import threadpool_limits

from lightning_dna.stats.backend import compiled_kernels
from lightning_dna.stats.kernels import Cells, ExactSums
from lightning_dna.stats.plan import Law, ResamplingPlan
from lightning_dna.stats.predictions import Array, Floats, Integers
from lightning_dna.stats.weights import (
    BLOCK,
    FINE,
    Words,
    block_keys,
    draw_weights,
    poisson_mean,
    poisson_table,
    threshold_masks,
)

_WORTH_THREADS = 2_000_000
"""Number of weights from which on starting threads pays."""

_WORTH_COMPILED = 4_000_000
"""Number of weights from which on loading the compiled kernels pays."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampler:
    """The weights of every replicate of one task, block by block.

    Attributes:
        plan: How to resample.
        task: Name of the task, part of the key.
        n_units: Number of units.
        strata: Positions of the units of every stratum, or ``None``.
    """

    plan: ResamplingPlan
    task: str
    n_units: int
    strata: tuple[Integers, ...] | None = None

    @property
    def total_weight(self) -> float:
        """A bound that the weights of one replicate never exceed together."""
        if self.plan.weights == "multinomial":
            return self.n_units
        # Ten standard deviations and more above the mean, at any size.
        return (2 * self.n_units + 100) * (FINE if self.plan.weights == "bayesian" else 1)

    @property
    def blocks(self) -> range:
        """Numbers of all blocks."""
        return range(-(-self.plan.n_resamples // BLOCK))

    def span(self, block: int) -> slice:
        """Return the replicates of a block."""
        return slice(block * BLOCK, min((block + 1) * BLOCK, self.plan.n_resamples))

    def weights(self, block: int) -> Array:
        """Return the (n_units, replicates of the block) weights, whole numbers."""
        count = 1 if self.strata is None else len(self.strata)
        keys = np.stack(
            [block_keys(self.plan.seed, self.task, block, stratum) for stratum in range(count)]
        )
        draw = draw_weights if self.compiled is None else self._compiled_weights
        weights = draw(keys, self.n_units, self.plan.weights, self.strata)
        span = self.span(block)
        return weights[:, : span.stop - span.start]

    @property
    def compiled(self) -> ModuleType | None:
        """The compiled kernels, where the plan has them, they know the law, and it pays."""
        small = self.n_units * self.plan.n_resamples < _WORTH_COMPILED
        if self.plan.weights == "bayesian" or (self.plan.backend == "auto" and small):
            return None
        return compiled_kernels(self.plan.backend)

    def _compiled_weights(
        self, keys: Words, n_units: int, law: Law, strata: tuple[Integers, ...] | None
    ) -> Array:
        """Do what ``draw_weights`` does."""
        kernels = cast(ModuleType, self.compiled)
        weights = np.empty((n_units, BLOCK), dtype=np.uint8)
        for key, units in zip(keys, strata or (np.arange(n_units),), strict=True):
            table = poisson_table(poisson_mean(len(units), law))
            part = weights if strata is None else np.empty((len(units), BLOCK), dtype=np.uint8)
            masks = threshold_masks(table)
            fill = law == "multinomial"
            kernels.weigh(key, masks, table.remainder, fill, part, kernels.SPREAD)
            if strata is not None:
                weights[units] = part
        return weights

    def cell_counts(self, block: int, cells: Cells) -> Array:
        """Return the (cells, replicates of the block) sums of the weights of each cell.

        Only where ``compiled`` is there and there are no strata.
        """
        keys = block_keys(self.plan.seed, self.task, block)
        table = poisson_table(poisson_mean(self.n_units, self.plan.weights))
        counts = np.empty((len(cells.sizes), BLOCK), dtype=np.int64)
        cast(ModuleType, self.compiled).count_cells(
            keys,
            threshold_masks(table),
            table.remainder,
            self.plan.weights == "multinomial",
            cells.order,
            cells.starts,
            cells.cell_of,
            counts,
        )
        span = self.span(block)
        return counts[:, : span.stop - span.start]

    def each(self, blocks: Sequence[int], work: Callable[[int], None]) -> None:
        """Call ``work`` for every block, in threads where that pays."""
        threads = self.plan.n_threads or os.cpu_count() or 1
        # A matrix product inside each of our threads, or beside other programs, loses more time in
        # its own threads than it gains. The compiled kernels leave no large ones.
        limits = nullcontext() if self.compiled else threadpool_limits(1, user_api="blas")
        with limits:
            if threads == 1 or self.n_units * BLOCK * len(blocks) < _WORTH_THREADS:
                for block in blocks:
                    work(block)
                return
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(work, blocks):  # re-raises what a thread raised
                    pass

    def sums(self, columns: Floats) -> Floats:
        """Return the weighted sums of columns in every replicate.

        Args:
            columns: (n_units, k) values.

        Returns:
            (n_resamples, k) sums.
        """
        sums_of = ExactSums(columns, self.total_weight, self.compiled)
        result = np.empty((self.plan.n_resamples, columns.shape[1]))

        def work(block: int) -> None:
            result[self.span(block)] = sums_of(self.weights(block)).T

        self.each(self.blocks, work)
        return result

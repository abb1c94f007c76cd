"""Equal arms made from real predictions, for calibration on data that nobody simulated.

Two ways that keep real marginals, ties, heavy tails and clusters, and remove any effect:

* **exchange**: the predictions of two variants change places on each unit with probability 1/2, all
  training seeds of a unit together. Both arms then have the same law, whatever the variants were.
* **split seeds**: the training seeds of one variant are dealt into two halves, and each data set
  takes a random half of the units: S seeds alone allow few different deals, which meet the same
  examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal
from zlib import crc32

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.alignment import AlignedTask
from lightning_dna.stats.calibration.models import ARMS
from lightning_dna.stats.plan import Unit
from lightning_dna.stats.predictions import Array, Floats, Integers

FEWEST_SEEDS = 4
"""Fewer seeds of a variant cannot be split into two procedures."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ExchangedArms:
    """Two variants of a real task whose predictions change places unit by unit.

    Attributes:
        task: Aligned predictions.
        first: Name of one variant.
        second: Name of the other one.
        metrics: Metrics to judge.
        unit: What changes places, and what is resampled.
    """

    task: AlignedTask
    first: str
    second: str
    metrics: tuple[str, ...]
    unit: Unit = "example"

    scope: Literal["checkpoint", "procedure"] = "checkpoint"
    is_control: bool = False

    def __post_init__(self) -> None:
        """Check that the two share a seed, so that there is something to exchange."""
        _check_unit(self.task, self.unit)
        if not len(self._pairs()[0]):
            raise StatsError(
                f"task '{self.task.task}': '{self.first}' and '{self.second}' have no training "
                "seed in common, so their predictions cannot change places"
            )

    @property
    def key(self) -> str:
        """Name of the data, and a digest of it; the key of its streams."""
        return f"{self.task.task} exchange {self.first}|{self.second} {digest(self.task)}"

    def draw(self, generator: np.random.Generator) -> AlignedTask:
        """Return the task after one random exchange."""
        units = _unit_of_example(self.task, self.unit)
        swap = generator.random(int(units.max()) + 1) < 0.5
        return _rebuilt(self.task, np.arange(self.task.n_examples), self._pairs(), swap=swap[units])

    def _pairs(self) -> tuple[Integers, Integers]:
        """Return the positions of variants and of their common seeds, (2, seeds) each."""
        arms = [self.task.variants.index(name) for name in (self.first, self.second)]
        seeds = np.flatnonzero(self.task.present[arms].all(axis=0))
        return np.repeat(np.array(arms)[:, None], len(seeds), axis=1), np.stack([seeds, seeds])


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitSeeds:
    """One variant whose training seeds are dealt into two arms, on a random half of the units.

    Attributes:
        task: Aligned predictions.
        variant: Name of the variant.
        metrics: Metrics to judge.
        unit: What is resampled.
    """

    task: AlignedTask
    variant: str
    metrics: tuple[str, ...]
    unit: Unit = "example"

    scope: Literal["checkpoint", "procedure"] = "procedure"
    is_control: bool = False

    def __post_init__(self) -> None:
        """Check that there are seeds enough."""
        _check_unit(self.task, self.unit)
        if len(self._seeds()) < FEWEST_SEEDS:
            raise StatsError(
                f"task '{self.task.task}': variant '{self.variant}' has {len(self._seeds())} "
                f"training seeds; a split needs {FEWEST_SEEDS} or more"
            )

    @property
    def key(self) -> str:
        """Name of the data, and a digest of it; the key of its streams."""
        return f"{self.task.task} split-seeds {self.variant} {digest(self.task)}"

    def draw(self, generator: np.random.Generator) -> AlignedTask:
        """Return the task after one random deal."""
        variant = self.task.variants.index(self.variant)
        units = _unit_of_example(self.task, self.unit)
        n_units = int(units.max()) + 1
        kept = np.zeros(n_units, dtype=bool)
        kept[generator.permutation(n_units)[: max(n_units // 2, 2)]] = True
        half = len(self._seeds()) // 2
        seeds = generator.permutation(self._seeds())[: 2 * half].reshape(2, half)
        return _rebuilt(
            self.task, np.flatnonzero(kept[units]), (np.full((2, half), variant), seeds)
        )

    def _seeds(self) -> Integers:
        return np.flatnonzero(self.task.present[self.task.variants.index(self.variant)])


def real_null_sources(
    tasks: Mapping[str, AlignedTask],
    metrics: Mapping[str, Sequence[str]],
    *,
    unit: Unit | None = None,
) -> tuple[ExchangedArms | SplitSeeds, ...]:
    """Return every exchange of two variants, and every split of a variant with seeds enough.

    Args:
        tasks: Aligned predictions by task.
        metrics: Metrics of each task.
        unit: What is resampled; ``None`` is clusters where a task has them.

    Returns:
        Sources for ``null_grid``.

    Raises:
        StatsError: If there is neither a pair of variants nor a variant with four seeds.
    """
    sources: list[ExchangedArms | SplitSeeds] = []
    for name, task in tasks.items():
        chosen = tuple(metrics[name])
        what: Unit = unit or ("example" if task.cluster is None else "cluster")
        for first, second in combinations(task.variants, 2):
            sources.append(
                ExchangedArms(task=task, first=first, second=second, metrics=chosen, unit=what)
            )
        for position, variant in enumerate(task.variants):
            if task.present[position].sum() >= FEWEST_SEEDS:
                sources.append(SplitSeeds(task=task, variant=variant, metrics=chosen, unit=what))
    if not sources:
        raise StatsError(
            "calibration on real predictions needs two variants of a task, or one variant with "
            f"{FEWEST_SEEDS} training seeds; found neither"
        )
    return tuple(sources)


def digest(task: AlignedTask) -> str:
    """Return eight hexadecimal digits that change with any prediction, label or id."""
    found = 0
    arrays = (task.example_id, task.y_true, task.y_pred, task.y_score, task.target, task.cluster)
    columns = [*task.numerator.values(), *task.denominator.values()]
    for array in (*arrays, *columns):
        if array is not None:
            found = crc32(np.ascontiguousarray(array).tobytes(), found)
    return f"{found:08x}"


def _check_unit(task: AlignedTask, unit: Unit) -> None:
    if unit == "cluster" and task.cluster is None:
        raise StatsError(
            f"task '{task.task}': unit='cluster' needs a cluster column; use unit='example'"
        )


def _unit_of_example(task: AlignedTask, unit: Unit) -> Integers:
    if unit == "cluster" and task.cluster is not None:
        return task.cluster
    return np.arange(task.n_examples)


def _rebuilt(
    task: AlignedTask,
    rows: Integers,
    pairs: tuple[Integers, Integers],
    *,
    swap: Array | None = None,
) -> AlignedTask:
    """Return a task of two arms from (variant, seed) positions, (2, seeds) each, on some rows."""
    variants, seeds = pairs

    def arms(values: Array) -> Array:
        chosen = values[rows][:, variants, seeds]
        return chosen if swap is None else np.where(swap[:, None, None], chosen[:, ::-1], chosen)

    def examples(values: Array | None) -> Array | None:
        return None if values is None else values[rows]

    def by_metric(values: Mapping[str, Floats]) -> dict[str, Floats]:
        return {name: arms(array) for name, array in values.items()}

    cluster, cluster_id = None, None
    if task.cluster is not None and task.cluster_id is not None:
        kept, cluster = np.unique(task.cluster[rows], return_inverse=True)
        cluster_id = task.cluster_id[kept]
    return replace(
        task,
        variants=ARMS,
        seeds=tuple(range(variants.shape[1])),
        present=np.ones(variants.shape, dtype=bool),
        example_id=task.example_id[rows],
        y_true=examples(task.y_true),
        target=examples(task.target),
        weight=examples(task.weight),
        y_pred=None if task.y_pred is None else arms(task.y_pred),
        y_score=None if task.y_score is None else arms(task.y_score),
        numerator=by_metric(task.numerator),
        denominator=by_metric(task.denominator),
        cluster=cluster,
        cluster_id=cluster_id,
    )

"""A suite of tasks as scores by task and seed, and the statistics that sum it up in one number.

Statistics of scores x[task, seed], x[task] the mean over the seeds of a task:

- ``mean``: mean over tasks of x[task], so that a task with more seeds weighs no more.
- ``median``: of a comparison, the median over tasks of the difference of x[task]: each task is its
  own control, which a difference of two medians would throw away.
- ``iqm``: interquartile mean, the mean of the middle half of all x[task, seed]; each task has
  weight 1 / tasks, shared by its seeds, and a score that lies across a quartile counts in part. Of
  a comparison, the difference of two interquartile means.
- ``mean_rank``: mean over tasks of the rank of x[task] among all variants, 1 the best, ties shared.
- ``probability_of_improvement``: mean over tasks of the share of seed pairs in which the variant
  beats the baseline, ties counted half.

References:
    Agarwal et al. 2021 (interquartile mean, probability of improvement); Demsar 2006 (ranks).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.predictions import Array, Floats
from lightning_dna.stats.replicates import Replicates

Statistic = Literal["mean", "median", "iqm", "mean_rank", "probability_of_improvement"]

COUNTS: tuple[Statistic, ...] = ("mean_rank", "probability_of_improvement")
"""Statistics that see the order of scores only."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Suite:
    """One metric of several tasks.

    Attributes:
        tasks: Replicates of the tasks, which share no examples.
        metrics: Position of the metric in each task.
        metric: Name of the metric in results.
        variants: Variants that every task has.
        memory: Samples that are used again.
    """

    tasks: tuple[Replicates, ...]
    metrics: tuple[int, ...]
    metric: str
    variants: tuple[str, ...]
    memory: dict[str, "Sample"] = field(default_factory=dict, repr=False)

    def remembered(self, name: str, make: Callable[[], "Sample"]) -> "Sample":
        """Return a sample of all variants, which every rank needs, made at the first call only."""
        if name not in self.memory:
            self.memory[name] = make()
        return self.memory[name]

    @property
    def greater_is_better(self) -> Array:
        """Orientation of the metric in each task, (tasks,)."""
        rows = zip(self.tasks, self.metrics, strict=True)
        return np.array([one.metrics[metric].greater_is_better for one, metric in rows])

    def seeds(self, variant: str) -> tuple[tuple[int, ...], ...]:
        """Return the training seeds that a variant has in each task."""
        return tuple(
            tuple(one.seeds[seed] for seed in one.seed_indices(one.variants.index(variant)))
            for one in self.tasks
        )

    def observed(self, variants: Sequence[str]) -> "Sample":
        """Return the scores of the data, as one row."""
        return self._sample(variants, [one.observed[None] for one in self.tasks])

    def draws(self, variants: Sequence[str], statistic: Statistic) -> "Sample":
        """Return the scores of every resample.

        They are spread as the variance of each task needs, but for statistics that count: there the
        spread would break ties, and ties are half wins.
        """
        return self._sample(
            variants,
            [
                one.values if statistic in COUNTS else spread(one.values, one.variance_correction)
                for one in self.tasks
            ],
        )

    def _sample(self, variants: Sequence[str], sources: Sequence[Floats]) -> "Sample":
        """Gather (n, variants, seeds, metrics) arrays of all tasks by variant."""
        values, present = {}, {}
        for variant in variants:
            seeds = self.seeds(variant)
            labels = sorted({label for row in seeds for label in row})
            scores = np.full((len(sources[0]), len(self.tasks), len(labels)), np.nan)
            there = np.zeros(scores.shape[1:], dtype=bool)
            for number, (one, metric) in enumerate(zip(self.tasks, self.metrics, strict=True)):
                columns = [labels.index(label) for label in seeds[number]]
                position = one.variants.index(variant)
                found = sources[number][:, position, one.seed_indices(position), metric]
                scores[:, number, columns] = found
                there[number, columns] = True
            values[variant], present[variant] = scores, there
        return Sample(values=values, present=present, greater_is_better=self.greater_is_better)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Scores of some variants on all tasks, n times: once for the data, or once per resample.

    Attributes:
        values: (n, tasks, seeds) by variant; the seeds are those that it has in any task.
        present: (tasks, seeds) by variant, whether the task has the seed.
        greater_is_better: (tasks,) orientation.
    """

    values: Mapping[str, Floats]
    present: Mapping[str, Array]
    greater_is_better: Array

    def shifted(self, shifts: Mapping[str, Floats]) -> "Sample":
        """Return the sample with (n, tasks) added to all seeds of each variant."""
        moved = {name: value + shifts[name][:, :, None] for name, value in self.values.items()}
        return replace(self, values=moved)

    def only(self, tasks: Array) -> "Sample":
        """Return the sample of some tasks, given by position."""
        return Sample(
            values={name: value[:, tasks] for name, value in self.values.items()},
            present={name: there[tasks] for name, there in self.present.items()},
            greater_is_better=self.greater_is_better[tasks],
        )

    def means(self, variant: str) -> Floats:
        """Return the means over seeds, (n, tasks)."""
        there = self.present[variant]
        total = np.where(there, self.values[variant], 0.0).sum(axis=2)
        mean: Floats = total / there.sum(axis=1)
        return mean

    def by_task(self, statistic: Statistic, variant: str, baseline: str | None) -> Floats:
        """Return what each task adds to the statistic, of a variant or of a comparison, (n, tasks).

        For ``median`` and ``iqm``, which are no mean over tasks, what it adds to ``mean``. A
        probability of improvement is given less 1/2, so that 0 is no difference.

        Raises:
            StatsError: If a probability of improvement is wanted without a baseline.
        """
        if statistic == "probability_of_improvement":
            if baseline is None:
                raise StatsError("probability_of_improvement compares with a baseline: name one")
            return self._improvement(variant, baseline) - 0.5
        parts = self._all_ranks.__getitem__ if statistic == "mean_rank" else self.means
        return parts(variant) if baseline is None else parts(variant) - parts(baseline)

    def total(self, statistic: Statistic, variant: str, baseline: str | None) -> Floats:
        """Return the statistic of a variant or of a comparison, (n,)."""
        if statistic == "iqm":
            own = interquartile_mean(self.values[variant], self.present[variant])
            if baseline is None:
                return own
            return own - interquartile_mean(self.values[baseline], self.present[baseline])
        parts = self.by_task(statistic, variant, baseline)
        total: Floats = np.median(parts, axis=1) if statistic == "median" else parts.mean(axis=1)
        return total

    @cached_property
    def _all_ranks(self) -> dict[str, Floats]:
        """Ranks of all variants, 1 the best, ties shared, (n, tasks) each."""
        sign = np.where(self.greater_is_better, 1.0, -1.0)
        scores = {name: sign * self.means(name) for name in self.values}
        ranks = {}
        for name, own in scores.items():
            ranks[name] = np.full(own.shape, 0.5)  # with the tie with itself: 1
            for other in scores.values():
                ranks[name] += midstep(other, own)
        return ranks

    def _improvement(self, variant: str, baseline: str) -> Floats:
        """Return the share of seed pairs in which the variant is better, (n, tasks)."""
        sign = np.where(self.greater_is_better, 1.0, -1.0)[:, None]
        own, other = sign * self.values[variant], sign * self.values[baseline]
        there = self.present[baseline]
        total = np.zeros(own.shape[:2])
        for seed, having in enumerate(self.present[variant].T):
            steps = midstep(own[:, :, seed, None], other)
            total += np.where(having[:, None] & there, steps, 0.0).sum(axis=2)
        share: Floats = total / (self.present[variant].sum(axis=1) * there.sum(axis=1))
        return share


def midstep(first: Floats, second: Floats) -> Floats:
    """Return 1 where first > second, 1/2 at a tie up to rounding, 0 below, NaN where undefined."""
    difference = first - second
    tied = np.abs(difference) <= 1e-12 * np.maximum(np.abs(first), np.abs(second))
    step: Floats = (np.sign(np.where(tied, 0.0, difference)) + 1) / 2
    return step


def interquartile_mean(values: Floats, present: Array) -> Floats:
    """Return the mean of the middle half of the scores, each task with the same weight.

    Args:
        values: (n, tasks, seeds) scores.
        present: (tasks, seeds) which of them exist.

    Returns:
        (n,) values; NaN where a score that exists is NaN.

    Example:
        >>> scores = np.array([[[0.0], [1.0], [2.0], [30.0], [4.0], [5.0]]])
        >>> interquartile_mean(scores, np.ones((6, 1), dtype=bool))  # (1/2 + 2 + 4 + 5/2) / 3
        array([3.])
    """
    weights = middle_weights(values, present)
    mean: Floats = (weights * values[:, present]).sum(axis=1)
    return mean


def middle_weights(values: Floats, present: Array) -> Floats:
    """Return the weight of each score in the interquartile mean, which is also its derivative.

    Args:
        values: (n, tasks, seeds) scores.
        present: (tasks, seeds) which of them exist.

    Returns:
        (n, scores that exist) weights, task by task; they add up to 1.
    """
    weight = (present / present.sum(axis=1, keepdims=True) / len(present))[present]
    order = np.argsort(values[:, present], axis=1, kind="stable")
    weights = weight[order]
    upper = np.cumsum(weights, axis=1)
    middle = np.clip(np.minimum(upper, 0.75) - np.maximum(upper - weights, 0.25), 0.0, None)
    placed: Floats = np.empty_like(middle)
    np.put_along_axis(placed, order, middle / middle.sum(axis=1, keepdims=True), axis=1)
    return placed


def median_weights(values: Floats) -> Floats:
    """Return how often each task is the median, or one of the two that make it.

    Args:
        values: (n, tasks) what each task adds.

    Returns:
        (tasks,) shares that add up to 1: the mean derivative of the median.
    """
    size = values.shape[1]
    middle = np.argsort(values, axis=1, kind="stable")[:, (size - 1) // 2 : size // 2 + 1]
    share: Floats = np.bincount(middle.ravel(), minlength=size) / middle.size
    return share


def spread(values: Floats, correction: float) -> Floats:
    """Spread replicates around their mean, (n, ...), so that their variance needs no factor."""
    defined = np.isfinite(values)
    mean = np.where(defined, values, 0.0).sum(axis=0) / np.maximum(defined.sum(axis=0), 1)
    wide: Floats = mean + correction**0.5 * (values - mean)
    return wide

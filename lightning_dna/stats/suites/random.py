"""A statistic over tasks like these: the tasks are a sample, and a new one could be drawn.

Examples need no resampling here: their noise is part of what makes tasks differ.

- ``mean``: Student's t across tasks.
- ``median``: sign test, limits are order statistics; exact whatever the law of the differences.
- ``iqm``: t with the jackknife over tasks, and as many degrees of freedom as tasks have weight in
  the middle half, less one (the df of Tukey & McLaughlin for a trimmed mean).
- ``mean_rank``: t with the error taken under the null, because ranks are few and discrete.
- ``probability_of_improvement``: Wilson's interval with Student's t.

The last two and the median cannot reject with fewer than 7 and 6 tasks, and say so by a flag and
an interval that excludes nothing.

In procedure scope a training that serves all tasks is common to them, and averaging over tasks does
not remove its noise. The mean takes it from the table of tasks by seeds, by the two-way analysis of
``variance`` with tasks in the place of examples. The other statistics are refused there.

References:
    Tukey & McLaughlin 1963; Wilson 1927; Agarwal et al. 2021.
"""

import math

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.predictions import Floats
from lightning_dna.stats.question import Question
from lightning_dna.stats.suites.judgement import (
    Judgement,
    at_point,
    score_test,
    share_test,
    signs,
    student,
)
from lightning_dna.stats.suites.suite import Sample, Statistic, Suite
from lightning_dna.stats.variance import VarianceComponents, crossed_components

FEW_TASKS = 7
"""Fewer tasks: an interval for new tasks carries a flag."""


def judge_random(
    suite: Suite,
    statistic: Statistic,
    pair: tuple[str, str | None],
    question: Question,
    bounds: tuple[float, float],
) -> Judgement:
    """Judge a statistic over a population of tasks.

    Args:
        suite: One metric of a sample of tasks, two or more.
        statistic: What sums them up.
        pair: Name of the variant, and of the baseline for a comparison.
        question: Scope, level and pairing of seeds.
        bounds: Smallest and largest possible value.

    Returns:
        The judgement.

    Raises:
        StatsError: If there is one task, or the statistic has no interval in procedure scope.
    """
    size = len(suite.tasks)
    if size < 2:
        raise StatsError(
            "tasks='random' needs 2 or more tasks; found 1. Use tasks='fixed', which is about the "
            "tasks at hand"
        )
    arms = [name for name in pair if name is not None]
    data = suite.observed(suite.variants if statistic == "mean_rank" else arms)
    values = data.by_task(statistic, *pair)[0]
    estimate = float(data.total(statistic, *pair)[0])
    flags = ("few_tasks",) if size < FEW_TASKS else ()
    if question.scope == "procedure" and statistic != "mean":
        raise StatsError(
            f"statistic '{statistic}' with tasks='random' has no interval for scope='procedure': "
            "one training serves all tasks. Use statistic='mean', tasks='fixed' or "
            "scope='checkpoint'"
        )
    if not math.isfinite(estimate):
        return Judgement(estimate=estimate, flags=(*flags, "undefined"))
    if not values.any():
        return at_point(0.0, 1.0, (*flags, "zero_variance"))
    if statistic == "median":
        return _flagged(signs(values), flags)
    if statistic == "mean_rank" and len(arms) > 1:
        return _flagged(score_test(values, low=bounds[0], high=bounds[1]), flags)
    if statistic == "probability_of_improvement":
        return _flagged(share_test(values), flags)
    if statistic == "iqm":
        variance, df = _jackknife(data, pair)
    else:
        parts = _across_tasks(values)
        if question.scope == "procedure":
            parts = _with_seeds(suite, data, arms, question, parts)
        variance, df = parts.total, parts.df
    if variance <= 0:
        return at_point(estimate, signs(values).p("two-sided"), (*flags, "zero_variance"))
    low, high = bounds
    return student(estimate, variance**0.5, df, low=low, high=high, flags=flags)


def _flagged(found: Judgement, flags: tuple[str, ...]) -> Judgement:
    return Judgement(**{**vars(found), "flags": (*found.flags, *flags)})


def _across_tasks(values: Floats) -> VarianceComponents:
    """Return the variance of a mean over tasks."""
    size = len(values)
    spread = float(values.var(ddof=1))
    if spread <= (1e-13 * float(np.abs(values).max())) ** 2:
        spread = 0.0  # rounding
    return VarianceComponents(example=spread / size, seed=0.0, residual=0.0, df=size - 1)


def _jackknife(data: Sample, pair: tuple[str, str | None]) -> tuple[float, float]:
    """Return variance and degrees of freedom of an interquartile mean over tasks."""
    size = len(data.greater_is_better)
    left_out = np.array(
        [data.only(np.delete(np.arange(size), task)).total("iqm", *pair)[0] for task in range(size)]
    )
    variance = float(((left_out - left_out.mean()) ** 2).sum()) * (size - 1) / size
    middle = size - 2 * (size // 4)
    return variance, max(middle - 1.0, 1.0)


def _with_seeds(
    suite: Suite, data: Sample, arms: list[str], question: Question, tasks: VarianceComponents
) -> VarianceComponents:
    """Add the seed noise that all tasks share."""
    groups = [arms] if question.paired_seeds and len(arms) > 1 else [[name] for name in arms]
    tables = []
    for names in groups:
        there = data.present[names[0]]
        if (there.sum(axis=0) == 1).all():
            continue  # trained apart for every task: part of what makes tasks differ
        if not there.all():
            raise StatsError(
                f"'{names[0]}' has different seeds in different tasks: tasks='random' with "
                "scope='procedure' needs the same seeds in all tasks, or no seed in two tasks"
            )
        parts = zip((1.0, -1.0), names, strict=False)
        tables.append(np.sum([sign * data.values[name][0] for sign, name in parts], axis=0))
    if not tables:
        return tasks
    return crossed_components(
        example=tasks.total,
        example_df=tasks.df,
        shares=[float(table.mean(axis=0).var(ddof=1)) / table.shape[1] for table in tables],
        residual=sum(_residual(table) for table in tables),
        seed_df=[table.shape[1] - 1 for table in tables],
    )


def _residual(table: Floats) -> float:
    """Return the residual mean square of a (tasks, seeds) table over the number of its cells."""
    tasks, seeds = table.shape
    inner = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    mean_square = float((inner**2).sum()) / float((tasks - 1) * (seeds - 1))
    return mean_square / float(tasks * seeds)

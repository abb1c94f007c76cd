"""One row per variant and metric over a whole suite: aggregation across tasks.

Two questions are kept apart. ``tasks="fixed"`` asks about this suite (see ``fixed``);
``tasks="random"`` about a new task from the population that the suite was drawn from (see
``random``). A difference that is certain on this suite may well not be on a new task: at a
true spread of 3 points between tasks an interval for the suite, read as one for new tasks, misses
in four of ten studies. What the statistics are is said in ``suite``.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Literal, get_args, overload

import numpy as np

from lightning_dna.errors import StatsError, unknown_name
from lightning_dna.stats.adjust import adjust_pvalues
from lightning_dna.stats.intervals import Alternative
from lightning_dna.stats.question import Question, Scope
from lightning_dna.stats.replicates import Replicates
from lightning_dna.stats.suites.checks import checked_suites
from lightning_dna.stats.suites.fixed import judge_fixed
from lightning_dna.stats.suites.random import judge_random
from lightning_dna.stats.suites.rows import Found, Plan, Tasks, comparison_row, shared_fields
from lightning_dna.stats.suites.suite import Statistic, Suite
from lightning_dna.stats.tables import ComparisonTable, EstimateRow, EstimateTable


@overload
def aggregate(
    reps: Mapping[str, Replicates],
    *,
    baseline: str,
    scope: Scope | None = ...,
    tasks: Tasks,
    over: Literal["task"] = ...,
    statistic: Statistic = ...,
    level: float = ...,
    alternative: Alternative = ...,
    multiplicity: Literal["holm", "bh", "none"] = ...,
    equivalence_margin: float | None = ...,
    paired_seeds: bool = ...,
    metric_of: Mapping[str, str] | None = ...,
) -> ComparisonTable: ...


@overload
def aggregate(
    reps: Mapping[str, Replicates],
    *,
    baseline: None = ...,
    scope: Scope | None = ...,
    tasks: Tasks,
    over: Literal["task"] = ...,
    statistic: Statistic = ...,
    level: float = ...,
    alternative: Alternative = ...,
    multiplicity: Literal["holm", "bh", "none"] = ...,
    equivalence_margin: float | None = ...,
    paired_seeds: bool = ...,
    metric_of: Mapping[str, str] | None = ...,
) -> EstimateTable: ...


def aggregate(
    reps: Mapping[str, Replicates],
    *,
    baseline: str | None = None,
    scope: Scope | None = None,
    tasks: Tasks,
    over: Literal["task"] = "task",
    statistic: Statistic = "mean",
    level: float = 0.95,
    alternative: Alternative = "two-sided",
    multiplicity: Literal["holm", "bh", "none"] = "holm",
    equivalence_margin: float | None = None,
    paired_seeds: bool = False,
    metric_of: Mapping[str, str] | None = None,
) -> ComparisonTable | EstimateTable:
    """Sum up a suite of tasks: each variant against the baseline, or each variant itself.

    Tasks must not share examples; a seed with the same number in two tasks is the same training.

    Args:
        reps: Replicates by task; every variant must be in every task.
        baseline: Name of the variant to compare with; ``None`` for the values themselves.
        scope: ``"checkpoint"``: about these trained weights. ``"procedure"``: about training with
            other seeds too; needs 2 or more seeds. ``None``: procedure where every variant has 2
            or more, else checkpoint; the rows say which.
        tasks: ``"fixed"``: about this suite. ``"random"``: about a new task like these. In
            procedure scope only a mean has an interval for new tasks.
        over: Only ``"task"``.
        statistic: ``"mean"``, ``"median"``, ``"iqm"`` (interquartile mean), ``"mean_rank"`` (1 is
            best) or ``"probability_of_improvement"``; definitions stand in ``suite``.
        level: Coverage of intervals; tests use alpha = 1 - level.
        alternative: ``"two-sided"``; ``"greater"`` claims delta > 0, ``"less"`` delta < 0.
        multiplicity: ``"holm"``, ``"bh"`` or ``"none"``, over all rows of the table.
        equivalence_margin: Largest difference that does not matter, in units of the statistic.
        paired_seeds: Equal seeds mean equal initial weights and data order in all variants.
        metric_of: Metric of each task; by default one row for every metric that all tasks have.

    Returns:
        One row per metric and variant (but the baseline), statistic and number of tasks in the
        place of the task. ``delta`` of ranks is better below 0; a probability of improvement is in
        ``estimate``, 1/2 in ``baseline_estimate``.

    Raises:
        ConfigError: If a name is unknown.
        StatsError: If an option is not allowed or does not fit the data, or a variant lacks a task.
    """
    _check_options(over, statistic, tasks, baseline, multiplicity, equivalence_margin)
    if scope is None:
        several = all((one.present.sum(axis=1) >= 2).all() for one in reps.values())
        scope = "procedure" if several and reps else "checkpoint"
    plan = Plan(
        question=Question(
            scope=scope, level=level, alternative=alternative, paired_seeds=paired_seeds
        ),
        statistic=statistic,
        tasks=tasks,
        suite=tuple(sorted(reps)),
        baseline=baseline,
        multiplicity=multiplicity,
        equivalence_margin=equivalence_margin,
        metric_of=tuple(sorted((metric_of or {}).items())),
    )
    return _table(reps, plan)


def _table(reps: Mapping[str, Replicates], plan: Plan) -> ComparisonTable | EstimateTable:
    """Judge every metric and variant."""
    suites = checked_suites(
        reps,
        baseline=plan.baseline,
        statistic=plan.statistic,
        question=plan.question,
        metric_of=dict(plan.metric_of) or None,
    )
    found = [one for suite in suites for one in _judge(suite, plan)]
    if plan.baseline is None:
        return EstimateTable(rows=tuple(EstimateRow(**shared_fields(one, plan)) for one in found))
    p = np.array([one.judgement.p(plan.question.alternative) for one in found])
    adjusted = adjust_pvalues(p, plan.multiplicity)
    return ComparisonTable(
        rows=tuple(
            comparison_row(one, plan, float(value))
            for one, value in zip(found, adjusted, strict=True)
        )
    )


def _judge(suite: Suite, plan: Plan) -> Iterator[Found]:
    """Yield the rows of one metric."""
    bounds = _bounds(suite, plan.statistic, plan.baseline)
    for variant in suite.variants:
        if variant == plan.baseline:
            continue
        pair = (variant, plan.baseline)
        if plan.tasks == "random":
            judgement = judge_random(suite, plan.statistic, pair, plan.question, bounds)
            yield Found(suite=suite, variant=variant, judgement=judgement, fixed=None)
        else:
            fixed = judge_fixed(suite, plan.statistic, pair, plan.question, bounds)
            yield Found(suite=suite, variant=variant, judgement=fixed.judgement, fixed=fixed)


def _bounds(suite: Suite, statistic: Statistic, baseline: str | None) -> tuple[float, float]:
    """Return the smallest and largest possible value of the statistic."""
    if statistic == "probability_of_improvement":
        return -0.5, 0.5
    if statistic == "mean_rank":
        size = len(suite.variants)
        return (1.0, float(size)) if baseline is None else (1.0 - size, size - 1.0)
    if baseline is not None:
        return -math.inf, math.inf
    rows = [one.metrics[metric] for one, metric in zip(suite.tasks, suite.metrics, strict=True)]
    return min(row.low for row in rows), max(row.high for row in rows)


def _check_options(
    over: str,
    statistic: str,
    tasks: str,
    baseline: str | None,
    multiplicity: str,
    margin: float | None,
) -> None:
    if over != "task":
        raise StatsError(f"aggregate: over={over!r}; allowed: 'task'")
    if statistic not in get_args(Statistic):
        raise unknown_name("statistic", statistic, get_args(Statistic))
    if tasks not in get_args(Tasks):
        raise StatsError(
            f"aggregate: tasks={tasks!r}; say 'fixed' (these tasks) or 'random' (new tasks like "
            "these)"
        )
    if statistic == "probability_of_improvement" and baseline is None:
        raise StatsError("probability_of_improvement compares with a baseline: name one")
    if multiplicity not in ("holm", "bh", "none"):
        raise StatsError(f"aggregate: multiplicity={multiplicity!r}; allowed: 'holm', 'bh', 'none'")
    if margin is not None and not 0 < margin < math.inf:
        raise StatsError(f"equivalence_margin must be a number above 0, not {margin}")

"""From what was found on a suite to the rows of a table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from lightning_dna.stats.intervals import confidence_interval, monte_carlo_error
from lightning_dna.stats.power import minimum_detectable_effect, verdict
from lightning_dna.stats.question import Question
from lightning_dna.stats.replicates import Replicates
from lightning_dna.stats.rows import POWER, declaration
from lightning_dna.stats.signature import plan_hash, signature
from lightning_dna.stats.suites.fixed import FixedResult
from lightning_dna.stats.suites.judgement import Judgement
from lightning_dna.stats.suites.suite import Statistic, Suite
from lightning_dna.stats.tables import ComparisonRow

Tasks = Literal["fixed", "random"]

NAMES: Mapping[Statistic, str] = {
    "mean": "mean of {} tasks",
    "median": "median of {} tasks",
    "iqm": "interquartile mean of {} tasks",
    "mean_rank": "mean rank over {} tasks",
    "probability_of_improvement": "probability of improvement over {} tasks",
}
"""What stands in the place of the task's name."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was asked for: the arguments of ``aggregate``."""

    question: Question
    statistic: Statistic
    tasks: Tasks
    suite: tuple[str, ...]
    baseline: str | None
    multiplicity: Literal["holm", "bh", "none"]
    equivalence_margin: float | None
    metric_of: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Found:
    """One row in the making.

    Attributes:
        suite: One metric of the tasks.
        variant: Name of the variant.
        judgement: The statistic and its error.
        fixed: What it was made of, where tasks are fixed.
    """

    suite: Suite
    variant: str
    judgement: Judgement
    fixed: FixedResult | None


def comparison_row(found: Found, plan: Plan, p: float) -> ComparisonRow:
    """Return the row of a variant against the baseline.

    Args:
        found: What was found.
        plan: What was asked for, with a baseline.
        p: Adjusted p-value.

    Returns:
        The row.
    """
    judgement, question, alpha = found.judgement, plan.question, 1 - plan.question.level
    fields = shared_fields(found, plan)
    equivalent = "identical" in judgement.flags
    if plan.equivalence_margin is not None:
        equivalent = equivalent or judgement.equivalent(plan.equivalence_margin, alpha)
    if equivalent and p <= alpha:
        fields["flags"] = (*fields["flags"], "significant_within_margin")
    fields["estimate"], other = _values(found, plan)
    greater = plan.statistic == "probability_of_improvement" or (
        plan.statistic != "mean_rank" and bool(found.suite.greater_is_better[0])
    )
    detectable = math.nan
    if judgement.tested and judgement.se > 0 and alpha < POWER:
        detectable = minimum_detectable_effect(
            judgement.se,
            judgement.df,
            alpha=alpha,
            power=POWER,
            alternative=question.alternative,
        )
    return ComparisonRow(
        **fields,
        baseline=str(plan.baseline),
        estimand=_estimand(plan, len(found.suite.tasks)),
        baseline_estimate=other,
        delta=judgement.estimate,
        p=judgement.p(question.alternative),
        p_adjusted=p,
        verdict=verdict(
            judgement.estimate, p, equivalent=equivalent, greater_is_better=greater, alpha=alpha
        ),
        mde80=detectable,
    )


def _values(found: Found, plan: Plan) -> tuple[float, float]:
    """Return the statistic of the variant and of the baseline."""
    if plan.statistic == "probability_of_improvement":
        return found.judgement.estimate + 0.5, 0.5
    names = [found.variant, str(plan.baseline)]
    data = found.suite.observed(found.suite.variants if plan.statistic == "mean_rank" else names)
    own, other = (float(data.total(plan.statistic, name, None)[0]) for name in names)
    return own, other


def shared_fields(found: Found, plan: Plan) -> dict[str, Any]:
    """Return the fields that rows of estimates and of comparisons fill alike.

    Args:
        found: What was found.
        plan: What was asked for.

    Returns:
        Values by name of field.
    """
    suite, judgement, question = found.suite, found.judgement, plan.question
    arms = [name for name in (found.variant, plan.baseline) if name is not None]
    counts = [[len(row) for row in suite.seeds(name)] for name in arms]
    few = question.scope == "procedure" and min(map(min, counts)) < 3
    units = dict.fromkeys(one.unit for one in suite.tasks)
    low, high = judgement.interval(question.level, question.alternative)
    name = NAMES[plan.statistic].format(len(suite.tasks))
    size = {
        "n_units": sum(one.n_units for one in suite.tasks),
        "n_seeds": min(map(min, counts)),
    }
    text = "/".join(dict.fromkeys(str(count) for row in counts for count in row))
    unit = "/".join(units)
    return {
        "task": name,
        "variant": found.variant,
        "metric": suite.metric,
        "scope": question.scope,
        "unit": unit,
        **size,
        "n_examples": sum(one.n_examples for one in suite.tasks),
        "estimate": judgement.estimate,
        "se": judgement.se,
        "df": judgement.df,
        "low": low,
        "high": high,
        **_resampling(found, plan),
        "tie_fraction": _largest([_ties(one, arms, suite.metric) for one in suite.tasks]),
        "n_dropped": sum(part.n_dropped for one in suite.tasks for part in one.tasks),
        "flags": (*judgement.flags, "few_seeds") if few else judgement.flags,
        "signature": signature(
            task=name,
            unit=unit,
            n_units=size["n_units"],
            n_seeds=text,
            n_resamples=suite.tasks[0].n_resamples,
            interval=_interval_text(plan),
            rng_seed=suite.tasks[0].rng_seed,
        ),
        "plan_hash": _hash(suite.tasks[0], plan),
    }


def _hash(one: Replicates, plan: Plan) -> str:
    declared = {name: value for name, value in asdict(plan).items() if name != "question"}
    return plan_hash(declaration(one, plan.question) | declared)


def _resampling(found: Found, plan: Plan) -> dict[str, Any]:
    """Return the fields that come from replicates, which an interval for new tasks does not use."""
    fields: dict[str, Any] = dict.fromkeys(
        ("percentile_low", "percentile_high", "se_analytic", "design_effect"), math.nan
    )
    fields |= {"n_undefined": 0, "mc_error": 0.0 if found.judgement.tested else math.nan}
    if found.fixed is None:
        return fields
    judgement, question, draws = found.judgement, plan.question, found.fixed.draws
    fields["n_undefined"] = int(np.isnan(draws).sum())
    if question.scope == "checkpoint" and judgement.tested:
        percentile = confidence_interval(
            judgement.estimate,
            draws,
            method="percentile",
            level=question.level,
            alternative=question.alternative,
        )
        fields |= {"percentile_low": percentile.low, "percentile_high": percentile.high}
    if judgement.tested and judgement.se > 0:
        fields["mc_error"] = monte_carlo_error(
            "se-t",
            se=judgement.se,
            df=judgement.df,
            level=question.level,
            n_resamples=len(draws) - fields["n_undefined"],
        )
    errors = [one.error for one in found.fixed.by_task]
    known = [error for error in errors if error is not None]
    if plan.statistic == "mean" and len(known) == len(errors):
        size = len(errors)
        fields["se_analytic"] = sum(error.se_analytic**2 for error in known) ** 0.5 / size
        apart = sum(error.se**2 / error.design_effect for error in known if error.se > 0)
        if apart > 0:
            fields["design_effect"] = sum(error.se**2 for error in known) / apart
    return fields


def _estimand(plan: Plan, size: int) -> str:
    what = {
        "mean": "difference in mean metric",
        "median": "median difference in metric",
        "iqm": "difference in interquartile mean of the metric",
        "mean_rank": "difference in mean rank (1 is best)",
        "probability_of_improvement": "probability that the variant is better, less 1/2",
    }[plan.statistic]
    where = f"over these {size} tasks" if plan.tasks == "fixed" else f"over tasks like these {size}"
    who = (
        "these trained weights" if plan.question.scope == "checkpoint" else "training with any seed"
    )
    return f"{what} {where}, {who}"


def _interval_text(plan: Plan) -> str:
    question = plan.question
    options = ["se-t" if plan.tasks == "fixed" else "across-tasks", question.scope]
    options += [f"{question.level:g}", f"tasks-{plan.tasks}"]
    if question.alternative != "two-sided":
        options.append(question.alternative)
    return ",".join([*options, "paired-seeds"] if question.paired_seeds else options)


def _ties(one: Replicates, arms: Sequence[str], metric: str) -> float:
    """Return the larger share of tied scores of the two arms; NaN for metrics without ranks."""
    if not any(row.name == metric and row.kind == "ranked" for row in one.metrics):
        return math.nan
    positions = [one.variants.index(name) for name in arms]
    return _largest([float(one.tie_fraction[p, one.seed_indices(p)].mean()) for p in positions])


def _largest(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return max(known, default=math.nan)

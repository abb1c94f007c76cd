"""From what was found to the rows of a table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from lightning_dna.stats.families import Adjusted, Hypothesis
from lightning_dna.stats.inference import Inference
from lightning_dna.stats.label_lanes import is_linear
from lightning_dna.stats.power import (
    minimum_detectable_effect,
    non_inferiority,
    tost,
    verdict,
)
from lightning_dna.stats.question import Question
from lightning_dna.stats.replicates import Replicates
from lightning_dna.stats.signature import plan_hash, signature
from lightning_dna.stats.tables import ComparisonRow, EstimateRow
from lightning_dna.stats.variance import arm_of

POWER = 0.8
"""Of ``mde80``."""


def estimate_row(
    reps: Replicates, variant: int, metric: int, result: Inference, question: Question
) -> EstimateRow:
    """Return the row of one variant.

    Args:
        reps: Replicates of the task.
        variant: Position of the variant.
        metric: Position of the metric.
        result: What was found.
        question: How it was judged.

    Returns:
        The row.
    """
    n_seeds = len(reps.seed_indices(variant))
    return EstimateRow(
        estimate=result.estimate,
        n_seeds=n_seeds,
        signature=_signature(reps, question, str(n_seeds)),
        plan_hash=plan_hash(declaration(reps, question)),
        **shared_fields(reps, (variant,), metric, result, question),
    )


def comparison_row(
    row: Hypothesis,
    adjusted: Adjusted,
    question: Question,
    *,
    margin: float | None,
    worse_margin: float | None,
    declared: Mapping[str, object],
) -> ComparisonRow:
    """Return the row of a variant minus the baseline.

    Args:
        row: Hypothesis with its result.
        adjusted: Adjusted p-value.
        question: How it was judged.
        margin: Equivalence margin of the metric.
        worse_margin: Non-inferiority margin of the metric.
        declared: Further decisions that the plan's hash covers.

    Returns:
        The row.
    """
    reps, result, pair = row.reps, row.result, (row.variant, row.baseline)
    counts = [len(reps.seed_indices(position)) for position in pair]
    means = [float(arm_of(reps, position, row.metric, 1).observed.mean()) for position in pair]
    decision, flags = _decide(row, adjusted.p, 1 - question.level, margin, worse_margin)
    simultaneous = "simultaneous" if declared.get("simultaneous") else ""
    found = shared_fields(reps, pair, row.metric, result, question)
    return ComparisonRow(
        **{**found, "flags": flags},
        baseline=reps.variants[row.baseline],
        estimand=_estimand(question.scope, reps.is_contrast),
        n_seeds=min(counts),
        estimate=means[0],
        baseline_estimate=means[1],
        delta=result.estimate,
        p=result.p,
        p_adjusted=adjusted.p,
        verdict=decision,
        mde80=_detectable(result, question),
        signature=_signature(
            reps, question, "/".join(map(str, dict.fromkeys(counts))), simultaneous
        ),
        plan_hash=plan_hash({**declaration(reps, question), **declared}),
    )


def shared_fields(
    reps: Replicates,
    variants: Sequence[int],
    metric: int,
    result: Inference,
    question: Question,
) -> dict[str, Any]:
    """Return the fields that rows of estimates and of comparisons fill alike."""
    error = result.error
    ties = [float("nan")]
    if reps.metrics[metric].kind == "ranked":
        ties = [reps.tie_fraction[v, reps.seed_indices(v)].mean() for v in variants]
    return {
        "task": reps.task,
        "variant": reps.variants[variants[0]],
        "metric": reps.metrics[metric].name,
        "scope": question.scope,
        "unit": reps.unit,
        "n_units": reps.n_units,
        "n_examples": reps.n_examples,
        "se": result.se,
        "df": result.df,
        "low": result.low,
        "high": result.high,
        "percentile_low": result.percentile_low,
        "percentile_high": result.percentile_high,
        "se_analytic": float("nan") if error is None else error.se_analytic,
        "design_effect": float("nan") if error is None else error.design_effect,
        "tie_fraction": float(np.max(ties)),
        "n_undefined": result.n_undefined,
        "n_dropped": sum(task.n_dropped for task in reps.tasks),
        "mc_error": result.mc_error,
        "flags": result.flags,
    }


def declaration(reps: Replicates, question: Question) -> dict[str, object]:
    """Return the decisions behind a row that do not depend on any prediction.

    Backend and number of threads are left out: they do not change a digit.
    """
    plan = {
        name: value
        for name, value in asdict(reps.plan).items()
        if name not in ("backend", "n_threads")
    }
    return {"plan": plan, **asdict(question)}


def _decide(
    row: Hypothesis, p: float, alpha: float, margin: float | None, worse_margin: float | None
) -> tuple[str, tuple[str, ...]]:
    """Return verdict and flags.

    A loss that is certain and smaller than its margin is called equivalent or non-inferior, not
    worse, and flagged.
    """
    result, greater = row.result, row.reps.metrics[row.metric].greater_is_better
    equivalent, acceptable = "identical" in result.flags, False
    if result.spread and margin is not None:
        equivalent = tost(result.estimate, result.se, result.df, margin, alpha).equivalent
    if result.spread and worse_margin is not None:
        test = non_inferiority(
            result.estimate, result.se, result.df, worse_margin, alpha, greater_is_better=greater
        )
        acceptable = test.non_inferior
    decision: str = verdict(
        result.estimate, p, equivalent=equivalent, greater_is_better=greater, alpha=alpha
    )
    within = equivalent and p <= alpha
    if acceptable and decision in ("worse", "inconclusive"):
        within = within or decision == "worse"
        decision = "non-inferior"
    return decision, (*result.flags, "significant_within_margin") if within else result.flags


def _detectable(result: Inference, question: Question) -> float:
    """Return the smallest difference that is found with 80% power; NaN where none can be named."""
    alpha = 1 - question.level
    if not (result.spread and alpha < POWER):
        return float("nan")
    return minimum_detectable_effect(
        result.se, result.df, alpha=alpha, power=POWER, alternative=question.alternative
    )


def _estimand(scope: str, is_contrast: bool) -> str:
    what = "gap between two example sets" if is_contrast else "metric"
    if scope == "checkpoint":
        return f"difference in {what} of these trained weights, mean over their seeds"
    return f"difference in expected {what} over training seeds"


def _signature(reps: Replicates, question: Question, n_seeds: str, *more: str) -> str:
    options = [question.method, question.scope, f"{question.level:g}"]
    if question.alternative != "two-sided":
        options.append(question.alternative)
    if question.paired_seeds:
        options.append("paired-seeds")
    options += [option for option in more if option]
    plan, by_cell = reps.plan, reps.plan.draws == "cell"
    unusual = {
        plan.weights: plan.weights != "multinomial",
        f"by-{plan.strata}": plan.strata is not None,
        "by-cell": by_cell,
        "labels-linear": any(is_linear(task, plan.n_resamples) for task in reps.tasks),
    }
    return signature(
        task=reps.task,
        unit=reps.unit,
        n_units=reps.n_units,
        n_seeds=n_seeds,
        n_resamples=reps.n_resamples,
        interval=",".join(options),
        rng_seed=reps.rng_seed,
        generator="sfc64" if by_cell else "splitmix64",
        resampling=",".join(word for word, holds in unusual.items() if holds),
    )

"""Estimates and comparisons: from replicates to rows with interval, p-value and verdict."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from lightning_dna.errors import StatsError, unknown_name
from lightning_dna.stats.adjust import Multiplicity, adjust_pvalues, max_t, normal_scores
from lightning_dna.stats.inference import Inference, Question, Scope, bounded, infer
from lightning_dna.stats.intervals import Alternative, Method
from lightning_dna.stats.metrics import METRICS
from lightning_dna.stats.power import minimum_detectable_effect, tost, verdict
from lightning_dna.stats.predictions import Floats
from lightning_dna.stats.replicates import Replicates
from lightning_dna.stats.signature import signature
from lightning_dna.stats.tables import ComparisonRow, ComparisonTable, EstimateRow, EstimateTable
from lightning_dna.stats.variance import arm_of, combined

Axis = Literal["task", "variant", "metric"]


@dataclass(frozen=True, kw_only=True)
class _Contrast:
    """One hypothesis: positions of variant, baseline and metric in the replicates of a task."""

    reps: Replicates
    variant: int
    baseline: int
    metric: int
    result: Inference


def estimates(
    reps: Mapping[str, Replicates], *, scope: Scope, level: float = 0.95, method: Method = "se-t"
) -> EstimateTable:
    """Return the value of each variant itself with its interval.

    Intervals of metrics with two bounds are computed on the logit scale (``se-t``) and stay inside
    the bounds. To judge a difference use ``compare``: two overlapping intervals say little, because
    the variants share their examples.

    Args:
        reps: Replicates by task.
        scope: ``"checkpoint"`` or ``"procedure"``; see ``compare``.
        level: Coverage.
        method: Interval method.

    Returns:
        One row per task, variant and metric.

    Raises:
        StatsError: If an option is not allowed, or scope is procedure and a variant has one seed.
    """
    question = Question(scope=scope, level=level, method=method)
    rows = [
        _estimate_row(one, variant, metric, question)
        for one in _checked(reps).values()
        for variant in range(len(one.variants))
        for metric in range(len(one.metrics))
    ]
    return EstimateTable(rows=tuple(rows))


def compare(
    reps: Mapping[str, Replicates],
    *,
    baseline: str,
    scope: Scope,
    level: float = 0.95,
    method: Method = "se-t",
    alternative: Alternative = "two-sided",
    multiplicity: Multiplicity = "holm",
    family: Sequence[Axis] = ("task", "variant", "metric"),
    equivalence_margin: float | Mapping[str, float] | None = None,
    paired_seeds: bool = False,
) -> ComparisonTable:
    """Compare every variant with the baseline on every task and metric.

    Verdicts: ``equivalent`` if the (1 - 2 alpha) interval lies inside the declared margin, or the
    two are identical on every unit; else ``better`` or ``worse`` if the adjusted p-value is at most
    alpha = 1 - level; else ``inconclusive``. Equivalence is decided row by row.

    Args:
        reps: Replicates by task.
        baseline: Name of the variant to compare with; it must be in every task.
        scope: ``"checkpoint"``: the claim is about these trained weights. ``"procedure"``: about
            training with other seeds too; needs 2 or more seeds of every variant.
        level: Coverage of intervals; tests use alpha = 1 - level.
        method: ``"se-t"``, or ``"percentile"``, ``"basic"``, ``"symmetric"`` in checkpoint scope.
        alternative: ``"two-sided"``; ``"greater"`` claims delta > 0, ``"less"`` delta < 0, whatever
            the orientation of the metric.
        multiplicity: ``"holm"``, ``"max-t"`` (step-down, from the joint replicates; two-sided
            checkpoint comparisons), ``"bh"`` or ``"none"``.
        family: Axes that are judged together; the other axes split the rows into families.
        equivalence_margin: Largest difference that does not matter, for all metrics or by metric.
        paired_seeds: Equal seeds mean equal initial weights and data order in all variants.

    Returns:
        One row per task, variant (but the baseline) and metric.

    Raises:
        ConfigError: If the baseline is unknown in a task.
        StatsError: If an option is not allowed or does not fit the data.
    """
    question = Question(
        scope=scope, level=level, method=method, alternative=alternative, paired_seeds=paired_seeds
    )
    _check_multiplicity(multiplicity, family, question)
    tasks = _checked(reps)
    margins = _margins(equivalence_margin, tasks)
    contrasts = [
        contrast for one in tasks.values() for contrast in _contrasts(one, baseline, question)
    ]
    adjusted = _adjusted(contrasts, multiplicity, family)
    return ComparisonTable(
        rows=tuple(
            _row(
                contrast,
                question,
                float(p),
                margins.get(contrast.reps.metrics[contrast.metric].name),
            )
            for contrast, p in zip(contrasts, adjusted, strict=True)
        )
    )


def _contrasts(reps: Replicates, baseline: str, question: Question) -> Iterator[_Contrast]:
    """Yield the hypotheses of one task."""
    reference = reps.variant_index(baseline)
    for variant in range(len(reps.variants)):
        for metric in range(len(reps.metrics)):
            if variant != reference:
                yield _Contrast(
                    reps=reps,
                    variant=variant,
                    baseline=reference,
                    metric=metric,
                    result=infer(reps, metric, (variant, reference), question),
                )


def _estimate_row(reps: Replicates, variant: int, metric: int, question: Question) -> EstimateRow:
    result = infer(reps, metric, (variant,), question)
    if question.method == "se-t":
        result = bounded(result, reps, metric, question.level)
    n_seeds = len(reps.seed_indices(variant))
    return EstimateRow(
        task=reps.task,
        variant=reps.variants[variant],
        metric=reps.metrics[metric].name,
        estimate=result.estimate,
        se=result.se,
        df=result.df,
        low=result.low,
        high=result.high,
        percentile_low=result.percentile_low,
        percentile_high=result.percentile_high,
        n_units=reps.n_units,
        n_examples=reps.n_examples,
        n_seeds=n_seeds,
        unit=reps.unit,
        scope=question.scope,
        design_effect=result.design_effect,
        n_undefined=result.n_undefined,
        mc_error=result.mc_error,
        flags=result.flags,
        signature=_signature(reps, question, str(n_seeds)),
    )


def _row(contrast: _Contrast, question: Question, p: float, margin: float | None) -> ComparisonRow:
    reps, result = contrast.reps, contrast.result
    metric = reps.metrics[contrast.metric]
    alpha = 1 - question.level
    counts = [len(reps.seed_indices(v)) for v in (contrast.variant, contrast.baseline)]
    equivalent = "identical" in result.flags
    if margin is not None and result.tested and result.se > 0:
        equivalent = tost(result.estimate, result.se, result.df, margin, alpha).equivalent
    flags = result.flags
    if equivalent and p <= alpha:
        flags = (*flags, "significant_within_margin")
    detectable = float("nan")
    if result.tested and result.se > 0:
        detectable = minimum_detectable_effect(
            result.se, result.df, alpha=alpha, alternative=question.alternative
        )
    means = [
        float(arm_of(reps, v, contrast.metric, 1).observed.mean())
        for v in (contrast.variant, contrast.baseline)
    ]
    return ComparisonRow(
        task=reps.task,
        variant=reps.variants[contrast.variant],
        baseline=reps.variants[contrast.baseline],
        metric=metric.name,
        estimand=_estimand(question.scope, reps.is_contrast),
        scope=question.scope,
        unit=reps.unit,
        n_units=reps.n_units,
        n_examples=reps.n_examples,
        n_seeds=min(counts),
        estimate=means[0],
        baseline_estimate=means[1],
        delta=result.estimate,
        se=result.se,
        df=result.df,
        low=result.low,
        high=result.high,
        percentile_low=result.percentile_low,
        percentile_high=result.percentile_high,
        p=result.p,
        p_adjusted=p,
        verdict=verdict(
            result.estimate,
            p,
            equivalent=equivalent,
            greater_is_better=metric.greater_is_better,
            alpha=alpha,
        ),
        mde80=detectable,
        design_effect=result.design_effect,
        n_undefined=result.n_undefined,
        mc_error=result.mc_error,
        flags=flags,
        signature=_signature(reps, question, "/".join(map(str, dict.fromkeys(counts)))),
    )


def _adjusted(
    contrasts: Sequence[_Contrast], multiplicity: Multiplicity, family: Sequence[Axis]
) -> Floats:
    """Return adjusted p-values, family by family."""
    p = np.array([contrast.result.p for contrast in contrasts])
    adjusted = p.copy()
    families: dict[tuple[str, ...], list[int]] = {}
    for position, contrast in enumerate(contrasts):
        names = {
            "task": contrast.reps.task,
            "variant": contrast.reps.variants[contrast.variant],
            "metric": contrast.reps.metrics[contrast.metric].name,
        }
        key = tuple(name for axis, name in names.items() if axis not in family)
        families.setdefault(key, []).append(position)
    for members in families.values():
        if multiplicity == "max-t":
            values = _max_t([contrasts[member] for member in members], p[members])
        else:
            values = adjust_pvalues(p[members], multiplicity)
        adjusted[members] = values
    return adjusted


def _max_t(contrasts: Sequence[_Contrast], p: Floats) -> Floats:
    """Return step-down max-T p-values of one family; never below the p-value of the row itself."""
    counts = {contrast.reps.n_resamples for contrast in contrasts}
    if len(counts) > 1:
        raise StatsError(
            f"multiplicity='max-t' needs equal n_resamples in all tasks; found {sorted(counts)}"
        )
    replicates = np.zeros((counts.pop(), len(contrasts)))
    for column, contrast in enumerate(contrasts):
        reps, result = contrast.reps, contrast.result
        if result.tested and result.se > 0:
            draws = combined(
                [
                    arm_of(reps, contrast.variant, contrast.metric, 1),
                    arm_of(reps, contrast.baseline, contrast.metric, -1),
                ]
            )
            scale = reps.variance_correction**0.5 / result.se
            replicates[:, column] = np.abs(draws - result.estimate) * scale
    return np.fmax(max_t(normal_scores(p), replicates), p)


def _check_multiplicity(multiplicity: str, family: Sequence[str], question: Question) -> None:
    if multiplicity not in get_args(Multiplicity):
        raise StatsError(
            f"multiplicity {multiplicity!r}; allowed: {', '.join(get_args(Multiplicity))}"
        )
    if multiplicity == "max-t" and (question.scope, question.alternative) != (
        "checkpoint",
        "two-sided",
    ):
        raise StatsError(
            "multiplicity='max-t' uses replicates of examples: it needs scope='checkpoint' and a "
            "two-sided alternative; use 'holm'"
        )
    for axis in family:
        if axis not in get_args(Axis):
            raise StatsError(f"family axis {axis!r}; allowed: {', '.join(get_args(Axis))}")


def _checked(reps: Mapping[str, Replicates]) -> Mapping[str, Replicates]:
    if not reps:
        raise StatsError("there is nothing to compare: no replicates were given")
    for task, one in reps.items():
        if task != one.task:
            raise StatsError(f"replicates of task '{one.task}' stand under the key '{task}'")
    return reps


def _margins(
    margin: float | Mapping[str, float] | None, tasks: Mapping[str, Replicates]
) -> Mapping[str, float]:
    """Return the margin by metric name."""
    names = sorted({metric.name for one in tasks.values() for metric in one.metrics})
    if margin is None:
        return {}
    margins = dict(margin) if isinstance(margin, Mapping) else dict.fromkeys(names, float(margin))
    for metric, value in margins.items():
        if metric not in METRICS and metric not in names:
            raise unknown_name("metric", metric, {*METRICS, *names}, where="equivalence_margin")
        if not (np.isfinite(value) and value > 0):
            raise StatsError(f"equivalence_margin of '{metric}' must be above 0, not {value}")
    return margins


def _estimand(scope: Scope, is_contrast: bool) -> str:
    what = "gap between two example sets" if is_contrast else "metric"
    if scope == "checkpoint":
        return f"difference in {what} of these trained weights, mean over their seeds"
    return f"difference in expected {what} over training seeds"


def _signature(reps: Replicates, question: Question, n_seeds: str) -> str:
    options = [question.method, question.scope, f"{question.level:g}"]
    if question.alternative != "two-sided":
        options.append(question.alternative)
    if question.paired_seeds:
        options.append("paired-seeds")
    return signature(
        task=reps.task,
        unit=reps.unit,
        n_units=reps.n_units,
        n_seeds=n_seeds,
        n_resamples=reps.n_resamples,
        interval=",".join(options),
        rng_seed=reps.rng_seed,
    )

"""One estimate and all that is said about it: error, interval, test, policy for odd data."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.hypothesis_tests.permutation import contrast_permutation_test
from lightning_dna.stats.intervals import (
    Interval,
    confidence_interval,
    logit_interval,
    monte_carlo_error,
    p_value,
)
from lightning_dna.stats.predictions import Floats
from lightning_dna.stats.question import Question
from lightning_dna.stats.replicates import Replicates
from lightning_dna.stats.standard_errors import (
    SIGNS,
    ErrorEstimate,
    estimate_influence,
    jackknife_deviations,
    replicate_errors,
    standard_error,
)
from lightning_dna.stats.variance import Arm, arm_of, combined

FEW_UNITS = 10
"""Fewer effective clusters, or examples of the rarest class: the interval carries a flag."""
FEWEST_CLUSTERS = 4
"""Fewer effective clusters: no interval."""
FEWEST_SEEDS = 3
"""As many seeds or fewer in the arm that carries nearly all seed noise: a flag."""
UNDEFINED_FLAG, UNDEFINED_LIMIT = 0.01, 0.10
"""Share of undefined replicates above which there is a flag, and no interval."""

NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Inference:
    """Result for one variant, or for a variant minus a baseline; NaN where there is none.

    The fields are those of the rows in ``tables``; ``error`` holds what the standard error is made
    of.
    """

    estimate: float
    n_undefined: int
    flags: tuple[str, ...]
    error: ErrorEstimate | None = None
    se: float = NAN
    df: float = NAN
    low: float = NAN
    high: float = NAN
    percentile_low: float = NAN
    percentile_high: float = NAN
    p: float = NAN
    mc_error: float = NAN

    @property
    def tested(self) -> bool:
        """Whether there is an interval and a test."""
        return bool(np.isfinite(self.p))

    @property
    def spread(self) -> bool:
        """Whether there is a test and a standard error above 0."""
        return self.tested and self.se > 0


def infer(
    reps: Replicates, metric: int, variants: tuple[int, ...], question: Question
) -> Inference:
    """Judge one estimate.

    Args:
        reps: Replicates of one task.
        metric: Position of the metric.
        variants: Position of the variant alone, or of the variant and then the baseline.
        question: How to judge.

    Returns:
        Estimate, error, interval, p-value against 0 and flags.

    Raises:
        StatsError: If scope is procedure and a variant has one seed, or paired seeds differ.
    """
    _check_seeds(reps, variants, question)
    arms = [
        arm_of(reps, variant, metric, sign) for variant, sign in zip(variants, SIGNS, strict=False)
    ]
    draws = combined(arms)
    result = Inference(
        estimate=float(sum(arm.sign * arm.observed.mean() for arm in arms)),
        n_undefined=int(np.isnan(draws).sum()),
        flags=_data_flags(reps, metric, variants, question),
    )
    if not np.isfinite(result.estimate):
        return _flagged(result, *_reasons(reps, metric, variants), "undefined")
    if min(reps.parts) < 2:
        return _flagged(result, "too_few_units")
    error = standard_error(reps, metric, variants, arms, question)
    if error.mismatch:
        result = _flagged(result, "se_mismatch")
    if _uneven_seeds(error, arms):
        result = _flagged(result, "uneven_seeds")
    result = replace(result, error=error, se=error.se, df=error.df)
    if len(variants) == 2 and _identical(reps, metric, variants):
        return _flagged(_at_point(replace(result, estimate=0.0, se=0.0), p=1.0), "identical")
    if result.n_undefined > UNDEFINED_LIMIT * reps.n_resamples:
        return _flagged(result, "too_many_undefined")
    if reps.unit == "cluster" and reps.effective_units < FEWEST_CLUSTERS:
        return _flagged(result, "too_few_clusters")
    if result.se == 0:
        p = _exchange_p(result, reps, metric, variants, question)
        return _flagged(_at_point(result, p=p), "zero_variance")
    inputs = _method_inputs(reps, metric, variants, result, question)
    return _with_interval(result, draws, question, inputs)


def bounded(result: Inference, reps: Replicates, metric: int, level: float) -> Inference:
    """Keep the se-t interval of a single metric inside its range.

    Args:
        result: Inference on one variant.
        reps: Its replicates; a contrast of two example sets has no bounds of its own.
        metric: Position of the metric.
        level: Coverage.

    Returns:
        The inference with logit limits between two bounds, or limits cut at one bound.
    """
    row = reps.metrics[metric]
    if reps.is_contrast or not result.tested or result.se == 0:
        return result
    if np.isfinite([row.low, row.high]).all() and row.low < result.estimate < row.high:
        limits = logit_interval(
            result.estimate, se=result.se, df=result.df, level=level, low=row.low, high=row.high
        )
        return replace(result, low=limits.low, high=limits.high)
    return replace(result, low=max(result.low, row.low), high=min(result.high, row.high))


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    """What an interval method reads beside estimate and replicates."""

    se: float
    influence: Floats | None = None
    replicate_se: Floats | None = None
    flags: tuple[str, ...] = ()


def _method_inputs(
    reps: Replicates,
    metric: int,
    variants: tuple[int, ...],
    result: Inference,
    question: Question,
) -> _Inputs:
    """Compute what the method of the question needs, and nothing for the others."""
    influence = estimate_influence(reps, metric, variants)
    if question.method == "bca":
        deviations = jackknife_deviations(reps, metric, variants)
        return _Inputs(se=result.se, influence=influence if deviations is None else deviations)
    if question.method == "studentized":
        se, errors = replicate_errors(reps, influence)
        undefined = np.count_nonzero(errors <= 0)
        flagged = undefined > UNDEFINED_FLAG * reps.n_resamples
        flags = ("studentized_undefined",) if flagged else ()
        return _Inputs(se=se, replicate_se=errors, flags=flags)
    return _Inputs(se=result.se)


def _with_interval(
    result: Inference, draws: Floats, question: Question, inputs: _Inputs
) -> Inference:
    """Add interval, percentile interval, p-value and their error from resampling."""
    percentile = Interval(low=NAN, high=NAN)  # says nothing about seeds
    if question.scope == "checkpoint":
        percentile = confidence_interval(
            result.estimate,
            draws,
            method="percentile",
            level=question.level,
            alternative=question.alternative,
        )
    limits = confidence_interval(
        result.estimate,
        draws,
        method=question.method,
        level=question.level,
        alternative=question.alternative,
        se=inputs.se,
        df=result.df,
        influence=inputs.influence,
        replicate_se=inputs.replicate_se,
    )
    flags = (*inputs.flags, limits.flag) if limits.flag else inputs.flags
    return replace(
        result,
        flags=(*result.flags, *flags),
        low=limits.low,
        high=limits.high,
        percentile_low=percentile.low,
        percentile_high=percentile.high,
        p=p_value(
            result.estimate,
            draws,
            method=question.method,
            alternative=question.alternative,
            se=inputs.se,
            df=result.df,
            influence=inputs.influence,
            replicate_se=inputs.replicate_se,
        ),
        mc_error=monte_carlo_error(
            question.method,
            se=result.se,
            df=result.df,
            level=question.level,
            n_resamples=len(draws) - result.n_undefined,
        ),
    )


def _exchange_p(
    result: Inference,
    reps: Replicates,
    metric: int,
    variants: tuple[int, ...],
    question: Question,
) -> float:
    """Return the p-value where all replicates are equal and no standard error exists."""
    by_label = reps.metrics[metric].kind == "labels"  # not exchanged label by label: no evidence
    if len(variants) < 2 or result.estimate == 0 or by_label:
        return 1.0
    return contrast_permutation_test(
        [(part.sign, task) for part, task in zip(reps.statistics, reps.tasks, strict=True)],
        reps.metrics[metric],
        *(reps.variants[variant] for variant in variants),
        n_resamples=reps.n_resamples,
        seed=reps.rng_seed,
        unit=reps.unit,
        alternative=question.alternative,
        # Two models rarely score on one scale; their ranks always stand on one.
        swap="ranks" if reps.metrics[metric].kind == "ranked" else "scores",
    ).p


def _at_point(result: Inference, *, p: float) -> Inference:
    """Return the result with an interval of length 0 at the estimate."""
    point = result.estimate
    return replace(
        result,
        low=point,
        high=point,
        percentile_low=point,
        percentile_high=point,
        p=p,
        mc_error=0.0,
    )


def _flagged(result: Inference, *flags: str) -> Inference:
    return replace(result, flags=(*result.flags, *flags))


def _check_seeds(reps: Replicates, variants: tuple[int, ...], question: Question) -> None:
    for variant in variants:
        count = len(reps.seed_indices(variant))
        if question.scope == "procedure" and count < 2:
            raise StatsError(
                f"task '{reps.task}': variant '{reps.variants[variant]}' has {count} seed; "
                "scope='procedure' needs 2 or more. Train more seeds, use scope='checkpoint', or, "
                "if the variant is deterministic, give its predictions under every seed"
            )
    if question.paired_seeds and (reps.present[variants[0]] != reps.present[variants[-1]]).any():
        names = " and ".join(f"'{reps.variants[variant]}'" for variant in variants)
        raise StatsError(f"task '{reps.task}': paired_seeds needs the same seeds in {names}")


def _data_flags(
    reps: Replicates, metric: int, variants: tuple[int, ...], question: Question
) -> tuple[str, ...]:
    """Return the flags that can be read from the data before anything is computed."""
    undefined = reps.n_undefined[list(variants), :, metric].max()
    sensitive = reps.metrics[metric].class_sensitive and reps.minority is not None
    seeds = min(len(reps.seed_indices(variant)) for variant in variants)
    conditions = {
        "single_class": sensitive and reps.minority == 0,
        "few_minority": sensitive and 0 < (reps.minority or 0) < FEW_UNITS,
        "few_clusters": reps.unit == "cluster" and reps.effective_units < FEW_UNITS,
        "few_seeds": question.scope == "procedure" and seeds < 3,
        "undefined_replicates": undefined > UNDEFINED_FLAG * reps.n_resamples,
    }
    return tuple(name for name, holds in conditions.items() if holds)


def _uneven_seeds(error: ErrorEstimate, arms: Sequence[Arm]) -> bool:
    """Return whether the error hangs on the spread between three trainings of one arm.

    Satterthwaite's degrees of freedom are then estimated too high now and then: with one arm ten
    times as variable as the other, 3 seeds each, equal models differ in 8% of the studies at 5%.
    """
    if len(error.seeds) < 2 or not error.seed > error.example:
        return False
    largest = int(np.argmax(error.seeds))
    return error.seeds[largest] > 0.9 * sum(error.seeds) and arms[largest].n_seeds <= FEWEST_SEEDS


def _reasons(reps: Replicates, metric: int, variants: tuple[int, ...]) -> list[str]:
    """Return why a correlation or R2 is undefined: truth or scores that are all equal."""
    found = []
    if reps.metrics[metric].kind in ("values", "ranked") and not reps.metrics[metric].binary:
        for task in reps.tasks:
            if task.target is not None and len(np.unique(task.target)) < 2:
                found.append("constant_target")
            if task.y_score is not None and any(
                len(np.unique(task.y_score[:, variant, seed])) < 2
                for variant in variants
                for seed in reps.seed_indices(variant)
            ):
                found.append("constant_scores")
    return list(dict.fromkeys(found))


def _identical(reps: Replicates, metric: int, variants: tuple[int, ...]) -> bool:
    """Return whether both arms have equal statistics on every unit, seed by seed."""
    for part in reps.statistics:
        first, second = (part.index[metric][v, reps.seed_indices(v)] for v in variants)
        if len(first) != len(second):
            # A deterministic arm may have been given under fewer seeds.
            first, second = np.unique(first, axis=0), np.unique(second, axis=0)
        if not np.array_equal(first, second):
            return False
    return True

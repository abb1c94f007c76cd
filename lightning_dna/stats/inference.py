"""One estimate and all that is said about it: error, interval, test, policy for odd data."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.exchange import exchange_p_value
from lightning_dna.stats.intervals import (
    Alternative,
    Interval,
    Method,
    check_choices,
    confidence_interval,
    logit_interval,
    monte_carlo_error,
    p_value,
)
from lightning_dna.stats.power import design_effect
from lightning_dna.stats.predictions import Floats
from lightning_dna.stats.replicates import Replicates
from lightning_dna.stats.variance import (
    Arm,
    arm_of,
    combined,
    crossed_variance,
    effective_df,
    example_variance,
    mean_influence,
)

Scope = Literal["checkpoint", "procedure"]

FEW_UNITS = 10
"""Fewer effective clusters, or examples of the rarest class: the interval carries a flag."""
FEWEST_CLUSTERS = 4
"""Fewer effective clusters: no interval."""
UNDEFINED_FLAG, UNDEFINED_LIMIT = 0.01, 0.10
"""Share of undefined replicates above which there is a flag, and no interval."""

SIGNS = (1, -1)
"""Of the variant and of the baseline."""

NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Question:
    """How an estimate is to be judged.

    Attributes:
        scope: ``"checkpoint"``: these trained weights, examples are random. ``"procedure"``:
            training again would give other weights, seeds are random too.
        level: Coverage of intervals.
        method: Interval method.
        alternative: Direction of the test.
        paired_seeds: Whether equal seeds mean equal initial weights and data order in both arms.
    """

    scope: Scope
    level: float = 0.95
    method: Method = "se-t"
    alternative: Alternative = "two-sided"
    paired_seeds: bool = False

    def __post_init__(self) -> None:
        """Check every field."""
        if self.scope not in get_args(Scope):
            raise StatsError(
                f"scope {self.scope!r}; say 'checkpoint' (these trained weights) or 'procedure' "
                "(training with other seeds too)"
            )
        check_choices(self.method, self.level, self.alternative)
        if self.scope == "procedure" and self.method != "se-t":
            raise StatsError(
                f"method '{self.method}' resamples examples only; scope='procedure' needs 'se-t'"
            )
        if self.scope == "checkpoint" and self.paired_seeds:
            raise StatsError(
                "paired_seeds belongs to scope='procedure'; a checkpoint has no seed noise"
            )


@dataclass(frozen=True, kw_only=True)
class Inference:
    """Result for one variant, or for a variant minus a baseline; NaN where there is none.

    The fields are those of the rows in ``tables``.
    """

    estimate: float
    n_undefined: int
    flags: tuple[str, ...]
    se: float = NAN
    df: float = NAN
    low: float = NAN
    high: float = NAN
    percentile_low: float = NAN
    percentile_high: float = NAN
    p: float = NAN
    design_effect: float = NAN
    mc_error: float = NAN

    @property
    def tested(self) -> bool:
        """Whether there is an interval and a test."""
        return bool(np.isfinite(self.p))


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
        return _flagged(result, "undefined")
    if min(reps.parts) < 2:
        return _flagged(result, "too_few_units")
    result = _with_error(result, reps, metric, variants, arms, question)
    if len(variants) == 2 and _identical(reps, metric, variants):
        return _flagged(_at_point(replace(result, estimate=0.0, se=0.0), p=1.0), "identical")
    if result.n_undefined > UNDEFINED_LIMIT * reps.n_resamples:
        return _flagged(result, "too_many_undefined")
    if reps.unit == "cluster" and reps.effective_units < FEWEST_CLUSTERS:
        return _flagged(result, "too_few_clusters")
    if result.se == 0:
        p = _exchange_p(result, reps, metric, variants, question)
        return _flagged(_at_point(result, p=p), "zero_variance")
    return _with_interval(result, draws, question)


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


def _with_error(
    result: Inference,
    reps: Replicates,
    metric: int,
    variants: tuple[int, ...],
    arms: Sequence[Arm],
    question: Question,
) -> Inference:
    """Add standard error, degrees of freedom and design effect."""
    influence = mean_influence(reps.influence, reps.present, variants, SIGNS, metric)
    df = effective_df(influence, reps.parts)
    effect = 1.0
    if reps.example_influence is not None:
        single = mean_influence(reps.example_influence, reps.present, variants, SIGNS, metric)
        effect = design_effect(influence, single)
    variance = example_variance(arms, reps.variance_correction)
    if _far_from_influence(variance, influence, reps.parts):
        result = _flagged(result, "se_mismatch")
    if question.scope == "procedure":
        components = crossed_variance(
            arms,
            correction=reps.variance_correction,
            example_df=df,
            paired_seeds=question.paired_seeds,
        )
        variance, df = components.total, components.df
    return replace(result, se=variance**0.5, df=df, design_effect=effect)


def _with_interval(result: Inference, draws: Floats, question: Question) -> Inference:
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
        se=result.se,
        df=result.df,
    )
    return replace(
        result,
        low=limits.low,
        high=limits.high,
        percentile_low=percentile.low,
        percentile_high=percentile.high,
        p=p_value(
            result.estimate,
            draws,
            method=question.method,
            alternative=question.alternative,
            se=result.se,
            df=result.df,
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
    if len(variants) < 2 or result.estimate == 0:
        return 1.0
    first, second = ((variant, reps.seed_indices(variant)) for variant in variants)
    return exchange_p_value(
        reps.statistics,
        reps.metrics[metric],
        metric,
        first,
        second,
        n_resamples=reps.n_resamples,
        seed=reps.rng_seed,
        alternative=question.alternative,
    )


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


def _flagged(result: Inference, flag: str) -> Inference:
    return replace(result, flags=(*result.flags, flag))


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


def _far_from_influence(variance: float, influence: Floats, parts: tuple[int, ...]) -> bool:
    """Return whether bootstrap and influence standard errors differ by more than a quarter."""
    pieces = np.split(influence, np.cumsum(parts)[:-1])
    analytic = sum(float((piece**2).sum()) * len(piece) / (len(piece) - 1) for piece in pieces)
    if analytic <= 0 or not variance > 0:
        return False
    return not 0.8 <= (variance / analytic) ** 0.5 <= 1.25

"""A statistic over these tasks and no others: tasks are fixed, examples (and seeds) are random.

Tasks share no examples, so their replicates are independent: replicate b of the statistic is the
statistic of replicate b of every task. The variance from the choice of examples is

- for a mean sum_t s_t^2 / T^2, s_t the standard error of task t: exact, and free of the error that
  covariances of replicates of independent tasks would add;
- for ranks and probabilities of improvement sum_t mean_b (c_tb - c_t)^2 / T^2, the mean square
  around the *observed* value c_t of a task: replicates of a step function vary too little around
  their own mean. Where two variants are equal the observed side of the step is a coin toss with
  variance 1/4; replicates vary by 1/6 around their mean, and by 1/4 around what was observed. That
  quarter is itself estimated, by a number spread evenly from 0 to 1/2. One such task is rejected
  in 1 of 20 studies at the quantile of t with 3 degrees of freedom (``COUNT_DF``), so a task
  counts for that many. Sums of several comparisons need a factor (``count_factor``).
  The interval is about ranks *as measured* with test sets of this size: a true difference far
  below its standard error has a rank that no test set of this size shows;
- for a median the mean square of its replicates around the observed median, for the same reason;
- for an interquartile mean, which is smooth, the variance of the replicates.

The variance from the choice of seeds (procedure scope) is that of ``suite_seeds``. Median and
interquartile mean enter it as sums of task means, weighted by their derivative averaged over
replicates. Ranks have no such sum: they are counted again on replicates with seed noise. Seeds that
are shared move all tasks together, so the mean square of the whole sum is taken where it exceeds
that of the tasks, with as many fewer degrees of freedom.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightning_dna.stats.inference import Inference, infer
from lightning_dna.stats.predictions import Array, Floats
from lightning_dna.stats.question import Question
from lightning_dna.stats.suite_seeds import arm_seeds, with_seed_noise
from lightning_dna.stats.suites.judgement import Judgement, at_point, student
from lightning_dna.stats.suites.suite import (
    COUNTS,
    Sample,
    Statistic,
    Suite,
    median_weights,
    middle_weights,
)
from lightning_dna.stats.variance import VarianceComponents, crossed_components

COUNT_DF = 3.0
"""Degrees of freedom of one task in a mean of ranks: P(.5 / sqrt(u) > t) = .05 for u on (0, .5)."""


@dataclass(frozen=True, kw_only=True)
class FixedResult:
    """A judgement on these tasks.

    Attributes:
        judgement: The statistic and its error.
        by_task: What was found in each task, examples only.
        draws: (resamples,) replicates of the statistic, examples only.
    """

    judgement: Judgement
    by_task: tuple[Inference, ...]
    draws: Floats


def judge_fixed(
    suite: Suite,
    statistic: Statistic,
    pair: tuple[str, str | None],
    question: Question,
    bounds: tuple[float, float],
) -> FixedResult:
    """Judge a statistic over these tasks.

    Args:
        suite: One metric of the tasks.
        statistic: What sums them up.
        pair: Name of the variant, and of the baseline for a comparison.
        question: Scope, level and pairing of seeds.
        bounds: Smallest and largest possible value.

    Returns:
        The judgement and what it was made of.
    """
    arms = [name for name in pair if name is not None]
    if statistic == "mean_rank":
        data = suite.remembered("data", lambda: suite.observed(suite.variants))
        sample = suite.remembered("draws", lambda: suite.draws(suite.variants, statistic))
    else:
        data, sample = suite.observed(arms), suite.draws(arms, statistic)
    estimate, draws = float(data.total(statistic, *pair)[0]), sample.total(statistic, *pair)
    by_task = _infer_tasks(suite, arms, question)
    flags = _task_flags(by_task)
    result = Judgement(estimate=estimate, flags=flags)
    if not math.isfinite(estimate):
        result = Judgement(estimate=estimate, flags=(*flags, "undefined"))
    elif all("identical" in found.flags for found in by_task):
        result = at_point(0.0 if len(arms) > 1 else estimate, 1.0, (*flags, "identical"))
    elif all(found.tested for found in by_task):
        parts = _examples(statistic, pair, data, sample, by_task)
        components = parts
        if question.scope == "procedure":
            components = _with_seeds(suite, statistic, pair, question, data, sample, parts)
        if components.total > 0:
            low, high = bounds
            se, df = components.total**0.5, components.df
            result = student(estimate, se, df, low=low, high=high, flags=flags)
        else:
            p = _p_without_variance(statistic, estimate, by_task, len(draws))
            result = at_point(estimate, p, (*flags, "zero_variance"))
    return FixedResult(judgement=result, by_task=by_task, draws=draws)


def _infer_tasks(suite: Suite, arms: Sequence[str], question: Question) -> tuple[Inference, ...]:
    """Return the error of each task from its examples."""
    examples = Question(scope="checkpoint", level=question.level)
    return tuple(
        infer(one, metric, tuple(one.variant_index(name) for name in arms), examples)
        for one, metric in zip(suite.tasks, suite.metrics, strict=True)
    )


def _task_flags(by_task: Sequence[Inference]) -> tuple[str, ...]:
    """Return the flags of any task; those about a whole estimate are set anew."""
    flags = dict.fromkeys(flag for found in by_task for flag in found.flags)
    return tuple(flag for flag in flags if flag not in ("identical", "zero_variance", "undefined"))


def _examples(
    statistic: Statistic,
    pair: tuple[str, str | None],
    data: Sample,
    sample: Sample,
    by_task: Sequence[Inference],
) -> VarianceComponents:
    """Return the variance from the choice of examples, and Satterthwaite's df over tasks."""
    size = len(by_task)
    errors = np.array([found.se**2 for found in by_task])
    df = np.array([found.df for found in by_task])
    if statistic == "mean":
        shares = errors / size**2
    elif statistic in COUNTS:
        spread = sample.by_task("mean", *pair).var(axis=0)
        wider = np.divide(errors, spread, out=np.ones(size), where=spread > 0)
        shares = _mean_square(sample, data, statistic, pair) * np.maximum(wider, 1.0) / size**2
        df = np.minimum(df, COUNT_DF)
    else:
        draws, weights = sample.total(statistic, *pair), _weights(statistic, pair, sample)
        spread = np.nanvar(sample.by_task("mean", *pair), axis=0)
        parts = [weights[name] * sample.means(name) for name in pair if name is not None]
        explained = np.nanvar(np.sum(parts, axis=0), axis=0)
        total = _around(statistic, draws, data.total(statistic, *pair)) * _inflation(errors, spread)
        shares = explained * (total / explained.sum() if total > 0 else 0.0)
    total = float(shares.sum())
    used = shares > 0
    freedom = total**2 / float((shares[used] ** 2 / df[used]).sum()) if used.any() else math.inf
    return VarianceComponents(example=total, seed=0.0, residual=0.0, df=freedom)


def _inflation(errors: Floats, spread: Floats) -> float:
    """Return by how much the error of tasks exceeds that of their replicates (few clusters)."""
    return max(float(errors.sum() / spread.sum()), 1.0) if spread.sum() > 0 else 1.0


def _mean_square(
    sample: Sample, data: Sample, statistic: Statistic, pair: tuple[str, str | None]
) -> Floats:
    """Return the mean square of each task's replicates around the observed value, (tasks,)."""
    square = (sample.by_task(statistic, *pair) - data.by_task(statistic, *pair)) ** 2
    if statistic == "mean_rank":
        neighbours = np.full(square.shape[1], len(sample.values) - 2.0)
    else:
        counts = [sample.present[name].sum(axis=1) for name in pair if name is not None]
        neighbours = np.sum(counts, axis=0) - 2.0
    mean: Floats = np.nanmean(square, axis=0) * count_factor(neighbours)
    return mean


def count_factor(neighbours: Floats) -> Floats:
    """Return by how much the mean square of replicates of a count must be raised.

    A rank adds up comparisons that share a variant, a probability of improvement those that share a
    seed. Data hold noise once, replicates twice, and two comparisons of normal variables with
    correlation r have covariance asin(r) / (2 pi), which is not linear. So the mean square of one
    comparison is right, but that of a sum falls short. The factor makes it right where all are
    equal; where they differ it is careful.

    Args:
        neighbours: For each comparison, the number of others that share a variant or seed with it.

    Returns:
        Factors from 1 (one comparison alone) to 1.61.

    Example:
        >>> count_factor(np.array([0.0, 2.0])).round(3)
        array([1.   , 1.179])
    """
    once = (np.arcsin(1.0) + neighbours * np.arcsin(0.5)) / (2 * np.pi)
    twice = (np.arcsin(0.5**0.5) + neighbours * np.arcsin(0.5 * 0.5**0.5)) / (2 * np.pi)
    factor: Floats = once / (2 * (once - twice))
    return factor


def _around(statistic: Statistic, draws: Floats, observed: Floats) -> float:
    """Return the mean square of replicates: of a median around what was observed."""
    if statistic == "median":
        return float(np.nanmean((draws - observed) ** 2))
    return float(np.nanvar(draws, ddof=1))


def _with_seeds(
    suite: Suite,
    statistic: Statistic,
    pair: tuple[str, str | None],
    question: Question,
    data: Sample,
    sample: Sample,
    examples: VarianceComponents,
) -> VarianceComponents:
    """Add the variance from the choice of seeds."""
    arms = [name for name in pair if name is not None]
    groups = [arms] if question.paired_seeds and len(arms) > 1 else [[name] for name in arms]
    if statistic in COUNTS:
        groups += [[name] for name in sample.values if name not in arms]
        name = "/".join(["noisy", *groups[0]]) if question.paired_seeds else "noisy"
        noisy = (
            suite.remembered(name, lambda: with_seed_noise(suite, sample, groups))
            if statistic == "mean_rank"
            else with_seed_noise(suite, sample, groups)
        )
        return _counts_with_seeds(statistic, pair, data, noisy, examples.total)
    weights = _weights(statistic, pair, sample)
    found = [arm_seeds(suite, {name: weights[name] for name in group}) for group in groups]
    return crossed_components(
        example=examples.total,
        example_df=examples.df,
        shares=[arm.share for arm in found],
        residual=sum(arm.residual for arm in found),
        seed_df=[arm.df for arm in found],
    )


def _weights(
    statistic: Statistic, pair: tuple[str, str | None], sample: Sample
) -> dict[str, Floats]:
    """Return the weights of the task means in the statistic, by variant; a baseline's negative."""
    baseline = pair[1]
    if statistic == "iqm":
        weights = {
            name: _iqm_weights(value, sample.present[name]) for name, value in sample.values.items()
        }
    elif statistic == "median":
        weights = dict.fromkeys(sample.values, median_weights(sample.by_task("mean", *pair)))
    else:
        size = len(sample.greater_is_better)
        weights = dict.fromkeys(sample.values, np.full(size, 1 / size))
    return {name: -one if name == baseline else one for name, one in weights.items()}


def _iqm_weights(values: Floats, present: Array) -> Floats:
    """Return the weights of the task means in an interquartile mean, averaged over replicates.

    Seeds of a task may weigh unequally, which makes their noise average out less; the weights are
    raised by as much.
    """
    by_seed = np.zeros(present.shape)
    by_seed[present] = middle_weights(values, present).mean(axis=0)
    weights = by_seed.sum(axis=1)
    uneven = (by_seed**2).sum() / (weights**2 / present.sum(axis=1)).sum()
    if present.all():
        uneven = max(uneven, len(by_seed[0]) * float((by_seed.sum(axis=0) ** 2).sum()))
    raised: Floats = weights * float(uneven) ** 0.5
    return raised


def _counts_with_seeds(
    statistic: Statistic,
    pair: tuple[str, str | None],
    data: Sample,
    noisy: Sample,
    example: float,
) -> VarianceComponents:
    """Return the variance of a mean of ranks from replicates with seed noise."""
    squares = _mean_square(noisy, data, statistic, pair)
    apart = float(squares.sum()) / len(squares) ** 2
    error = noisy.total(statistic, *pair) - data.total(statistic, *pair)
    total = max(apart, float(np.nanmean(error**2)), example)
    df = COUNT_DF
    if apart > 0:
        effective = float(squares.sum()) ** 2 / float((squares**2).sum())  # number of tasks
        df *= max(effective * apart / total, 1.0)
    return VarianceComponents(example=example, seed=total - example, residual=0.0, df=df)


def _p_without_variance(
    statistic: Statistic, estimate: float, by_task: Sequence[Inference], n_resamples: int
) -> float:
    """Return a p-value where no replicate differs: of counts by resampling, else of the tasks.

    The largest p-value of the tasks is valid if no task differs, and careful.
    """
    if estimate == 0:
        return 1.0
    if statistic in COUNTS:
        return 2 / (n_resamples + 1)
    return max(found.p for found in by_task)

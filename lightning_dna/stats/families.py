"""Families of hypotheses: adjusted p-values and simultaneous levels from the joint replicates.

All comparisons of a task share their examples, and all of a report share its baseline, so their
estimates move together. Max-T (Westfall & Young 1993; Romano & Wolf 2005) reads that from the joint
replicates, and gains power over Holm. In procedure scope seeds are random too, and replicates of
examples do not show it: to each arm Gaussian noise is added with the variance that the crossed
analysis gives to its seeds. The noise of an arm is shared by all comparisons in which it stands, so
the baseline's is in every one; it is independent across tasks and metrics, which by Sidak's
inequality errs, if at all, on the careful side. With paired seeds the noise belongs to the pair.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from zlib import crc32

import numpy as np
from numpy.random import SFC64, Generator, SeedSequence
from scipy import special

from lightning_dna.errors import StatsError
from lightning_dna.stats.adjust import (
    Multiplicity,
    adjust_pvalues,
    max_t,
    max_t_critical,
    normal_scores,
)
from lightning_dna.stats.inference import Inference
from lightning_dna.stats.predictions import Floats
from lightning_dna.stats.question import Question
from lightning_dna.stats.replicates import Replicates
from lightning_dna.stats.variance import arm_of, combined, example_variance

Axis = Literal["task", "variant", "metric"]

_STREAM = 0x53454544
"""Key of the seed noise, apart from the streams that resample examples."""


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """Variant minus baseline: positions in the replicates of a task, and what was found.

    Attributes:
        reps: Replicates of the task.
        variant: Position of the variant.
        baseline: Position of the baseline.
        metric: Position of the metric.
        result: Estimate, error and test of the row itself.
    """

    reps: Replicates
    variant: int
    baseline: int
    metric: int
    result: Inference

    @property
    def names(self) -> Mapping[Axis, str]:
        """Names of the hypothesis on the axes along which families are declared."""
        return {
            "task": self.reps.task,
            "variant": self.reps.variants[self.variant],
            "metric": self.reps.metrics[self.metric].name,
        }


@dataclass(frozen=True, kw_only=True)
class Adjusted:
    """What the family adds to one row.

    Attributes:
        p: Adjusted p-value, never below that of the row itself.
        level: Level at which the row's own interval holds simultaneously with the others.
    """

    p: float
    level: float


def adjust_families(
    hypotheses: Sequence[Hypothesis],
    family: Iterable[Axis],
    question: Question,
    *,
    multiplicity: Multiplicity,
    simultaneous: bool = False,
) -> list[Adjusted]:
    """Adjust the p-values within each family, and find the level of simultaneous intervals.

    Args:
        hypotheses: All rows of a table.
        family: Axes that are judged together; the other axes split the rows into families.
        question: Level, and whether tests are one-sided.
        multiplicity: Method.
        simultaneous: Use single-step max-T, so that the interval at the returned level excludes 0
            exactly when the adjusted p-value is at most 1 - level.

    Returns:
        One entry per hypothesis, in their order.

    Raises:
        StatsError: If max-T meets different numbers of resamples, or too few for the level.
    """
    adjusted = [Adjusted(p=row.result.p, level=question.level) for row in hypotheses]
    if multiplicity == "none":
        return adjusted
    for members in _families(hypotheses, frozenset(family)):
        p = np.array([hypotheses[member].result.p for member in members])
        levels = np.full(len(members), question.level)
        if multiplicity != "max-t":
            values = adjust_pvalues(p, multiplicity)
        elif np.isfinite(p).sum() < 2:
            values = p  # one hypothesis needs no adjustment, and no error from resampling
        else:
            family_rows = [hypotheses[member] for member in members]
            values, level = _max_t(family_rows, p, question, simultaneous=simultaneous)
            levels[:] = level
        for member, value, level in zip(members, values, levels, strict=True):
            adjusted[member] = Adjusted(p=float(value), level=float(level))
    return adjusted


def _families(hypotheses: Sequence[Hypothesis], axes: frozenset[Axis]) -> list[list[int]]:
    """Return the positions of the members of each family."""
    families: dict[tuple[str, ...], list[int]] = {}
    for position, row in enumerate(hypotheses):
        key = tuple(name for axis, name in row.names.items() if axis not in axes)
        families.setdefault(key, []).append(position)
    return list(families.values())


def _max_t(
    rows: Sequence[Hypothesis], p: Floats, question: Question, *, simultaneous: bool
) -> tuple[Floats, float]:
    """Return max-T p-values of one family, and the level of its simultaneous intervals."""
    counts = {row.reps.n_resamples for row in rows}
    if len(counts) > 1:
        raise StatsError(
            f"multiplicity='max-t' needs equal n_resamples in all tasks; found {sorted(counts)}. "
            "Resample alike, or use multiplicity='holm'"
        )
    two_sided = question.alternative == "two-sided"
    replicates = np.column_stack([joint_replicates(row, question) for row in rows])
    if two_sided:
        replicates = np.abs(replicates)
    elif question.alternative == "less":
        replicates = -replicates
    scores = normal_scores(p, two_sided=two_sided)
    values = np.fmax(max_t(scores, replicates, step_down=not simultaneous), p)
    if not simultaneous:
        return values, question.level
    critical = max_t_critical(replicates[:, np.isfinite(p)], question.level)
    beyond = float(special.ndtr(-critical)) * (2 if two_sided else 1)
    return values, max(question.level, 1 - beyond)


def joint_replicates(row: Hypothesis, question: Question) -> Floats:
    """Return replicates of (estimate - truth) / standard error, joint with those of other rows.

    Args:
        row: The hypothesis.
        question: Scope and pairing of seeds.

    Returns:
        (resamples,) with variance 1; NaN where there is nothing to exceed: an undefined replicate,
        no test, or arms that are identical. A row without variance that was tested by exchange is
        a hypothesis like others, and gets noise of its own.
    """
    reps, result = row.reps, row.result
    size = reps.n_resamples
    if not result.tested or "identical" in result.flags or result.error is None:
        return np.full(size, np.nan)
    pair = (row.variant, row.baseline)
    names = [reps.variants[position] for position in pair]
    if result.se == 0:
        return _noise(row, size, *names)
    arms = [
        arm_of(reps, variant, row.metric, sign) for variant, sign in zip(pair, (1, -1), strict=True)
    ]
    draws = combined(arms)
    spread = example_variance(arms, 1.0)
    joint = np.where(np.isfinite(draws), 0.0, np.nan)
    if spread > 0:
        joint = (draws - result.estimate) * (result.error.example / spread) ** 0.5
    seeds = result.error.seeds
    if result.error.seed > 0 and sum(seeds) > 0:
        share = result.error.seed / sum(seeds)
        groups = [names] if question.paired_seeds else [[name] for name in names]
        for variance, group, sign in zip(seeds, groups, (1, -1), strict=False):
            joint = joint + sign * (variance * share) ** 0.5 * _noise(row, size, *group)
    scaled: Floats = joint / result.se
    return scaled


def _noise(row: Hypothesis, size: int, *names: str) -> Floats:
    """Return standard normal noise that depends on task, metric and arm, and on nothing else."""
    words = [row.reps.task, row.reps.metrics[row.metric].name, *names]
    key = (_STREAM, *(crc32(word.encode()) for word in words))
    return Generator(SFC64(SeedSequence(row.reps.rng_seed, spawn_key=key))).standard_normal(size)

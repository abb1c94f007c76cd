"""Estimates and comparisons: from replicates to rows with interval, p-value and verdict.

Verdicts: ``equivalent`` if the (1 - 2 alpha) interval lies inside the declared margin, or the two
are identical on every unit; else ``better`` or ``worse`` if the adjusted p-value is at most
alpha = 1 - level; ``non-inferior`` in place of ``worse`` and ``inconclusive`` if the one-sided
(1 - alpha) limit excludes a loss of the declared margin; else ``inconclusive``. Margins are judged
row by row.

Another variant may change the adjusted p-values, the verdicts and simultaneous limits of the other
rows; no other number of theirs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from lightning_dna.errors import StatsError, unknown_name
from lightning_dna.stats.adjust import Multiplicity
from lightning_dna.stats.families import Axis, Hypothesis, adjust_families
from lightning_dna.stats.inference import bounded, infer
from lightning_dna.stats.intervals import (
    STUDENT,
    Alternative,
    Method,
    confidence_interval,
    monte_carlo_error,
)
from lightning_dna.stats.metrics import METRICS
from lightning_dna.stats.question import Question, Scope
from lightning_dna.stats.replicates import Replicates
from lightning_dna.stats.rows import comparison_row, estimate_row
from lightning_dna.stats.tables import ComparisonTable, EstimateTable

Margin = float | Mapping[str, float] | None
"""A margin for all metrics, or by metric, in units of the metric."""


def estimates(
    reps: Mapping[str, Replicates], *, scope: Scope, level: float = 0.95, method: Method = "se-t"
) -> EstimateTable:
    """Return the value of each variant itself with its interval.

    Intervals of metrics with two bounds are computed on the logit scale (``se-t``, ``analytic``)
    and stay inside the bounds. To judge a difference use ``compare``: two overlapping intervals say
    little, because the variants share their examples.

    Args:
        reps: Replicates by task.
        scope: ``"checkpoint"`` or ``"procedure"``; see ``compare``.
        level: Coverage.
        method: Interval method; see ``compare``.

    Returns:
        One row per task, variant and metric.

    Raises:
        StatsError: If an option is not allowed, or scope is procedure and a variant has one seed.
    """
    question = Question(scope=scope, level=level, method=method)
    rows = []
    for one in _checked(reps).values():
        for variant in range(len(one.variants)):
            for metric in range(len(one.metrics)):
                result = infer(one, metric, (variant,), question)
                if method in STUDENT:
                    result = bounded(result, one, metric, level)
                rows.append(estimate_row(one, variant, metric, result, question))
    return EstimateTable(rows=tuple(rows))


def compare(
    reps: Mapping[str, Replicates],
    *,
    baseline: str,
    scope: Scope,
    level: float = 0.95,
    method: Method = "se-t",
    alternative: Alternative = "two-sided",
    multiplicity: Multiplicity = "max-t",
    family: Sequence[Axis] = ("task", "variant", "metric"),
    equivalence_margin: Margin = None,
    non_inferiority_margin: Margin = None,
    paired_seeds: bool = False,
    simultaneous: bool = False,
) -> ComparisonTable:
    """Compare every variant with the baseline on every task and metric.

    Args:
        reps: Replicates by task.
        baseline: Name of the variant to compare with; it must be in every task.
        scope: ``"checkpoint"``: the claim is about these trained weights. ``"procedure"``: about
            training with other seeds too; needs 2 or more seeds of every variant.
        level: Coverage of intervals; tests use alpha = 1 - level.
        method: ``"se-t"``; in checkpoint scope also ``"percentile"``, ``"basic"``,
            ``"symmetric"``, ``"bca"``, ``"studentized"`` or ``"analytic"``.
        alternative: ``"two-sided"``; ``"greater"`` claims delta > 0, ``"less"`` delta < 0, whatever
            the orientation of the metric.
        multiplicity: ``"max-t"`` (step-down, from the joint replicates), ``"holm"``, ``"bh"`` or
            ``"none"``.
        family: Axes that are judged together; the other axes split the rows into families.
        equivalence_margin: Largest difference that does not matter, for all metrics or by metric.
        non_inferiority_margin: Smallest loss that matters, likewise.
        paired_seeds: Equal seeds mean equal initial weights and data order in all variants.
        simultaneous: Make ``low`` and ``high`` hold for all rows of a family at once, by the
            critical value of single-step max-T on the t scale of each row. Adjusted p-values are
            then single-step too: an interval excludes 0 exactly when its row is significant.

    Returns:
        One row per task, variant (but the baseline) and metric.

    Raises:
        ConfigError: If the baseline is unknown in a task.
        StatsError: If an option is not allowed or does not fit the data.
    """
    question = Question(
        scope=scope, level=level, method=method, alternative=alternative, paired_seeds=paired_seeds
    )
    declared = _Declared(
        baseline=baseline,
        multiplicity=multiplicity,
        family=tuple(sorted(family)),
        equivalence_margin=_plain(equivalence_margin),
        non_inferiority_margin=_plain(non_inferiority_margin),
        simultaneous=simultaneous,
    )
    return _table(_checked(reps), question, declared)


@dataclass(frozen=True, kw_only=True)
class _Declared:
    """Decisions about the table as a whole."""

    baseline: str
    multiplicity: Multiplicity
    family: tuple[Axis, ...]
    equivalence_margin: Margin
    non_inferiority_margin: Margin
    simultaneous: bool

    def check(self, question: Question) -> None:
        """Raise a StatsError if an option is not allowed or does not fit the others."""
        if self.multiplicity not in get_args(Multiplicity):
            allowed = ", ".join(get_args(Multiplicity))
            raise StatsError(f"multiplicity {self.multiplicity!r}; allowed: {allowed}")
        for axis in self.family:
            if axis not in get_args(Axis):
                raise StatsError(f"family axis {axis!r}; allowed: {', '.join(get_args(Axis))}")
        if self.simultaneous and self.multiplicity != "max-t":
            raise StatsError(
                f"simultaneous=True needs multiplicity='max-t', not '{self.multiplicity}'"
            )
        if self.simultaneous and question.method not in STUDENT:
            raise StatsError(
                f"simultaneous=True needs method {' or '.join(map(repr, STUDENT))}, "
                f"not '{question.method}'"
            )


def _table(
    tasks: Mapping[str, Replicates], question: Question, declared: _Declared
) -> ComparisonTable:
    """Judge every hypothesis, adjust within families, and write the rows."""
    declared.check(question)
    margins = _by_metric(declared.equivalence_margin, "equivalence_margin", tasks)
    losses = _by_metric(declared.non_inferiority_margin, "non_inferiority_margin", tasks)
    found = [row for one in tasks.values() for row in _hypotheses(one, declared.baseline, question)]
    adjusted = adjust_families(
        found,
        declared.family,
        question,
        multiplicity=declared.multiplicity,
        simultaneous=declared.simultaneous,
    )
    rows = [
        comparison_row(
            _at_level(row, extra.level, question),
            extra,
            question,
            margin=margins.get(row.names["metric"]),
            worse_margin=losses.get(row.names["metric"]),
            declared=vars(declared),
        )
        for row, extra in zip(found, adjusted, strict=True)
    ]
    return ComparisonTable(rows=tuple(rows))


def _hypotheses(reps: Replicates, baseline: str, question: Question) -> Iterator[Hypothesis]:
    """Yield the hypotheses of one task."""
    reference = reps.variant_index(baseline)
    for variant in range(len(reps.variants)):
        for metric in range(len(reps.metrics)):
            if variant != reference:
                yield Hypothesis(
                    reps=reps,
                    variant=variant,
                    baseline=reference,
                    metric=metric,
                    result=infer(reps, metric, (variant, reference), question),
                )


def _at_level(row: Hypothesis, level: float, question: Question) -> Hypothesis:
    """Return the hypothesis with the limits of another level, if they have a width."""
    result = row.result
    if level <= question.level or not result.spread:
        return row
    limits = confidence_interval(
        result.estimate,
        np.zeros(2),  # not read: these methods use the standard error
        method=question.method,
        level=level,
        alternative=question.alternative,
        se=result.se,
        df=result.df,
    )
    error = monte_carlo_error(
        question.method,
        se=result.se,
        df=result.df,
        level=level,
        n_resamples=row.reps.n_resamples - result.n_undefined,
    )
    wider = replace(result, low=limits.low, high=limits.high, mc_error=error)
    return replace(row, result=wider)


def _checked(reps: Mapping[str, Replicates]) -> Mapping[str, Replicates]:
    if isinstance(reps, Replicates):
        raise StatsError(f"give the replicates by task: {{'{reps.task}': replicates}}")
    if not reps:
        raise StatsError("there is nothing to compare: no replicates were given")
    for task, one in reps.items():
        if task != one.task:
            raise StatsError(f"replicates of task '{one.task}' stand under the key '{task}'")
    return reps


def _plain(margin: Margin) -> Margin:
    """Return a margin as plain numbers."""
    if isinstance(margin, Mapping):
        return {name: float(value) for name, value in margin.items()}
    return None if margin is None else float(margin)


def _by_metric(margin: Margin, option: str, tasks: Mapping[str, Replicates]) -> Mapping[str, float]:
    """Return the margin by metric name."""
    names = sorted({metric.name for one in tasks.values() for metric in one.metrics})
    if margin is None:
        return {}
    margins = margin if isinstance(margin, Mapping) else dict.fromkeys(names, margin)
    for metric, value in margins.items():
        if metric not in METRICS and metric not in names:
            raise unknown_name("metric", metric, {*METRICS, *names}, where=option)
        if not (np.isfinite(value) and value > 0):
            raise StatsError(f"{option} of '{metric}' must be above 0, not {value}")
    return margins

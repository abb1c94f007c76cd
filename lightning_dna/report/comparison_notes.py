"""What a comparison of prediction files says in words: title, notes, flags, signatures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lightning_dna.report.numbers import Display, adapted, display, listing
from lightning_dna.report.wording import flag_meaning, reason_untested
from lightning_dna.stats.files.checks import TASK
from lightning_dna.stats.files.comparison import FileComparison
from lightning_dna.stats.intervals import STUDENT
from lightning_dna.stats.metrics import METRICS
from lightning_dna.stats.tables import ComparisonRow

_SHOWN = 4

_ADJUSTMENTS = {
    "max-t": "by step-down max-T from the joint resamples",
    "holm": "by Holm's method",
    "bh": "by the method of Benjamini and Hochberg: the false discovery rate is held, not the"
    " chance of any false finding",
    "none": "not at all",
}
_COUNTED = ("mean_rank", "probability_of_improvement")
_METHODS = {
    "se-t": "estimate ± t × bootstrap standard error",
    "percentile": "bootstrap percentiles",
    "basic": "basic bootstrap",
    "symmetric": "symmetric bootstrap",
    "bca": "bias-corrected and accelerated bootstrap",
    "studentized": "studentised bootstrap",
    "analytic": "estimate ± t × standard error from influence values",
}


def title(found: FileComparison) -> str:
    """Say in one sentence what was compared, on what.

    Example of the result: ``"hyena against alibi on 2,000 examples."``
    """
    models = list(dict.fromkeys(row.variant for row in found.comparisons.rows))
    names = listing(models) if len(models) <= _SHOWN else f"{len(models)} models"
    tasks = list(dict.fromkeys(row.task for row in found.comparisons.rows))
    sizes = sorted({row.n_examples for row in found.comparisons.rows})
    size = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    plural = "" if sizes == [1] else "s"
    if tasks == [TASK]:
        where = ""
    elif len(tasks) == 1:
        where = f", task {tasks[0]}"
    else:
        where = f" of each of {len(tasks)} tasks"
    return f"{names} against {found.baseline} on {size} example{plural}{where}."


def notes(found: FileComparison) -> list[str]:
    """Explain intervals, scope, adjustment, verdicts and what was decided, a sentence or two each.

    The last notes are the remarks of the comparison itself.
    """
    choices = found.choices
    told = [_interval_note(found), _scope_note(found), _adjustment_note(found)]
    if found.suite_comparisons.rows:
        told.append(_suite_note(found))
    if choices.margin is not None:
        told.append(
            f"Equivalent: the {2 * choices.level - 1:.0%} interval lies inside the declared margin"
            f" of {_margin(choices.margin)}."
        )
    if choices.non_inferiority_margin is not None:
        told.append(
            "Non-inferior: a loss of the declared margin of"
            f" {_margin(choices.non_inferiority_margin)} is excluded (one-sided)."
        )
    undecided = [row for row in all_rows(found) if verdict_word(row) == "inconclusive"]
    if undecided:
        told.append(_inconclusive_note(found, undecided))
    untested = [row for row in all_rows(found) if not is_tested(row)]
    if untested:
        told.append(_untested_note(found, untested))
    return told + [remark[:1].upper() + remark[1:] for remark in found.remarks]


def _margin(margin: float | Mapping[str, float]) -> str:
    """Write a margin, or the margin of each metric."""
    if isinstance(margin, Mapping):
        return listing([f"{value:g} ({name})" for name, value in margin.items()])
    return f"{margin:g}"


def _interval_note(found: FileComparison) -> str:
    choices = found.choices
    kind = "simultaneous intervals" if choices.simultaneous else "intervals"
    units = sorted({(row.n_units, row.unit) for row in found.comparisons.rows})
    counts = [f"{number:,} {unit}{'' if number == 1 else 's'}" for number, unit in units]
    span = counts[0] if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return (
        f"Brackets: {choices.level:.0%} {kind} ({_METHODS.get(choices.method, choices.method)}),"
        f" {choices.n_resamples:,} resamples of {span}, the same ones for all models, so that"
        f" differences are paired.{_value_note(found)}"
    )


def _value_note(found: FileComparison) -> str:
    """Say how intervals of values are made, where that is not how those of differences are."""
    rows = {row.metric: METRICS[row.metric] for row in found.comparisons.rows}
    ends = [np.isfinite([row.low, row.high]) for row in rows.values()]
    if found.choices.method not in STUDENT or not any(end.any() for end in ends):
        return ""
    told = []
    if any(end.all() for end in ends):
        told.append("made on the logit scale of a metric with two bounds")
    if any(end.any() and not end.all() for end in ends):
        told.append("cut where a metric has one bound")
    return f" Those of values, not of differences, are {' and '.join(told)}."


def _scope_note(found: FileComparison) -> str:
    seeds = sorted({row.n_seeds for row in found.comparisons.rows})
    count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    if found.comparisons.rows[0].scope == "procedure":
        return (
            f"Scope procedure: the {count} training seeds are a sample too; the claim is about"
            " training again."
        )
    plural = "" if count == "1" else "s, averaged"
    return (
        f"Scope checkpoint ({count} seed{plural}): the claim is about these trained weights on new"
        " examples, not about training them again."
    )


def _adjustment_note(found: FileComparison) -> str:
    choices = found.choices
    rows = [row for row in found.comparisons.rows if is_tested(row)]
    test = "Tests are two-sided"
    if choices.alternative != "two-sided":
        above = "above" if choices.alternative == "greater" else "below"
        test = f"Tests are one-sided (difference {above} 0)"
    if not rows:
        return "No comparison could be tested."
    if len(rows) == 1:
        return f"{test}; there is one comparison, so p needs no adjustment. The verdict follows p."
    axes = ("task", "variant", "metric")
    split = [axis for axis in axes if axis not in choices.family]
    families = len({tuple(getattr(row, axis) for axis in split) for row in rows})
    how = _ADJUSTMENTS.get(choices.multiplicity, choices.multiplicity)
    if choices.simultaneous:
        how = how.replace("step-down", "single-step")
    scope = f"over all {len(rows)} comparisons"
    if families > 1:
        scope = f"within each of {families} families (per {listing(split)})"
    told = f"{test}. Adj. p: adjusted {scope}, {how}; the verdict follows it."
    if any(verdict_word(row) == "inconclusive" and row.low * row.high > 0 for row in rows):
        told += " An interval is that of its row alone, so it can leave out 0 all the same."
    return told


def _suite_note(found: FileComparison) -> str:
    """Say what the rows over all tasks claim."""
    name = found.suite_comparisons.rows[0].task
    claim = (
        "exactly these tasks; it says nothing about others"
        if found.choices.tasks == "fixed"
        else "other tasks like these, of which these are a sample"
    )
    how = "holm" if found.choices.multiplicity == "max-t" else found.choices.multiplicity
    return (
        f"{name[:1].upper()}{name[1:]}: the claim is about {claim}. These rows are a family of"
        f" their own, adjusted {_ADJUSTMENTS[how]}."
    )


def _inconclusive_note(found: FileComparison, rows: Sequence[ComparisonRow]) -> str:
    """Say what inconclusive comparisons could have detected."""
    told, several = [], len({row.task for row in all_rows(found)}) > 1
    for row in rows[:_SHOWN]:
        if math.isfinite(row.mde80):
            shown = shown_as(found, [row])
            where = f" on {row.task}" if several else ""
            size = shown.difference_with_unit(row.mde80)
            told.append(f"{shown.title} of {row.variant}{where} {size}")
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    reach = f" With 80% power they would have found: {', '.join(told)}{more}." if told else ""
    return f"Inconclusive is not “no difference”.{reach}"


def _untested_note(found: FileComparison, rows: Sequence[ComparisonRow]) -> str:
    """Say which comparisons have no test, and why."""
    several = len({row.task for row in all_rows(found)}) > 1
    told = [
        f"{shown_as(found, [row]).title} of {row.variant}{f' on {row.task}' if several else ''}"
        f" ({reason_untested(row.flags)})"
        for row in rows[:_SHOWN]
    ]
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return f"Not tested, so nothing is said about a difference: {', '.join(told)}{more}."


def is_tested(row: ComparisonRow) -> bool:
    """Say whether a row has a p-value."""
    return not math.isnan(row.p)


def verdict_word(row: ComparisonRow) -> str:
    """Return the verdict of a row for people: one without a test decides nothing at all."""
    return row.verdict if is_tested(row) else "not tested"


def all_rows(found: FileComparison) -> tuple[ComparisonRow, ...]:
    """Return the comparisons task by task, then those over all tasks."""
    return found.comparisons.rows + found.suite_comparisons.rows


def rows_by_place(found: FileComparison) -> Mapping[tuple[str, str], list[ComparisonRow]]:
    """Return the rows of each task and metric, in order; those over all tasks come last."""
    places: dict[tuple[str, str], list[ComparisonRow]] = {}
    for row in all_rows(found):
        places.setdefault((row.task, row.metric), []).append(row)
    return places


def shown_as(found: FileComparison, rows: Sequence[ComparisonRow]) -> Display:
    """Return how a metric is written: with fixed digits, or with those that its errors allow.

    Ranks and probabilities over all tasks are written as they are, in no unit of the metric.
    """
    shown = display(rows[0].metric)
    errors = [row.se for row in rows]
    if rows[0] in found.suite_comparisons.rows and found.choices.aggregate in _COUNTED:
        greater = found.choices.aggregate == "probability_of_improvement"
        plain = replace(
            shown, unit="", difference_unit="", scale=1.0, decimals=3, greater_is_better=greater
        )
        return adapted(plain, errors)
    known = METRICS.get(rows[0].metric)
    if known is not None and math.isfinite(known.low) and math.isfinite(known.high):
        return shown
    return adapted(shown, errors)


def flag_marks(found: FileComparison) -> dict[str, str]:
    """Return the letter by which the tables refer to each flag, in the order of the tables."""
    rows = (row for members in rows_by_place(found).values() for row in members)
    flags = dict.fromkeys(flag for row in rows for flag in row.flags)
    return {flag: chr(ord("a") + position % 26) for position, flag in enumerate(flags)}


def flag_notes(found: FileComparison) -> list[str]:
    """Say what each flag in the table means."""
    return [
        f"({mark}) {flag}" + (f": {flag_meaning(flag)}." if flag_meaning(flag) else "")
        for flag, mark in flag_marks(found).items()
    ]


def signatures(found: FileComparison) -> list[str]:
    """Return the signatures of the comparisons, each once, a few of them."""
    known = list(dict.fromkeys(row.signature for row in all_rows(found)))
    rest = len(known) - _SHOWN
    more = [f"and {rest} more signatures: --format csv"] if rest > 0 else []
    return known[:_SHOWN] + more

"""Refuse a comparison of files in which there is nothing to test.

The statistics keep a row for every question, with the reason why it has no answer. Where no row of
a metric has one, for the same reason, a user has given the wrong files or the wrong metric.
"""

from collections.abc import Sequence

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.files.checks import Entry, counted
from lightning_dna.stats.files.comparison import FileComparison
from lightning_dna.stats.files.metrics import possible_metrics
from lightning_dna.stats.metrics import METRICS, Metric
from lightning_dna.stats.predictions import Array, Integers


def check_testable(found: FileComparison) -> None:
    """Refuse one example, and metrics that no model has a value of because all is alike.

    Metrics are refused if they are undefined in every task for every model and all true labels are
    of one class, all true values are equal, or all predictions are. Where this holds for some of
    several tasks only, the others have an answer and nothing is refused.

    Args:
        found: The comparison.

    Raises:
        StatsError: With file, column, the only value, number of rows, first line, and what to do.
    """
    if all(row.n_units < 2 for row in found.comparisons.rows):
        raise _one_unit(found)
    values: dict[str, list[float]] = {}
    for row in found.estimates.rows:
        values.setdefault(row.metric, []).append(row.estimate)
    reasons: dict[str, list[str]] = {}
    for metric, estimates in values.items():
        reason = _reason(found, METRICS[metric]) if np.isnan(estimates).all() else ""
        if reason:
            reasons.setdefault(reason, []).append(metric)
    if reasons:
        refused = [metric for metrics in reasons.values() for metric in metrics]
        told = "; ".join(f"{_named(metrics)} {why}" for why, metrics in reasons.items())
        raise StatsError(f"{told}. {_advice(found, refused)}")


def _one_unit(found: FileComparison) -> StatsError:
    """Build the error for a test set of one example, or of one cluster."""
    source = found.entries[0].source
    rows, tasks = len(source.rows), len(found.replicates)
    first = source.file.at(source.rows[:1])
    lines = first if rows == 1 else f"the first on {first}"
    place = f"{source.file.path} has {counted(rows, 'row')} ({lines})"
    if tasks > 1:
        place += f" of task '{source.task}', and the other tasks have no more"
    if found.comparisons.rows[0].unit == "cluster" and rows > 1:
        column = source.roles["cluster"][0]
        return StatsError(
            f"{place}, all of one cluster, '{source.cells('cluster').values[0]}' in column "
            f"'{column}'. An interval needs two or more units, here clusters: add examples of "
            "others, or pass --unit example if examples are independent."
        )
    if rows > 1:
        place += ", of which one is in all files"
    return StatsError(
        f"{place}: one example has a value and no error. An interval needs two or more units; add "
        "examples to the test set."
    )


def _reason(found: FileComparison, metric: Metric) -> str:
    """Say what is alike in every task; empty if something differs in one."""
    reasons = []
    for task, reps in found.replicates.items():
        entries = [entry for entry in found.entries if entry.predictions.task == task]
        kept = [_kept(entry, reps.tasks[0].example_id) for entry in entries]
        reason = _alike_truth(entries[0], kept[0], metric)
        if not reason and metric.kind in ("values", "ranked") and not metric.binary:
            reason = _alike_predictions(entries, kept)
        if not reason:
            return ""
        reasons.append(reason)
    more = f", and likewise in {counted(len(reasons) - 1, 'more task')}" if len(reasons) > 1 else ""
    return reasons[0] + more


def _kept(entry: Entry, example_id: Array) -> Integers:
    """Return the positions of the examples that are compared."""
    return np.flatnonzero(np.isin(entry.predictions.example_id, example_id))


def _alike_truth(entry: Entry, kept: Integers, metric: Metric) -> str:
    """Say that all true labels or values are equal; empty if they are not."""
    y_true = entry.predictions.y_true
    if y_true is None or len(np.unique(y_true[kept])) > 1:
        return ""
    of_labels = metric.kind == "cells" or metric.binary
    what = "needs examples of two classes" if of_labels else "needs true values that differ"
    return f"{what}, and {_only(entry, 'label', y_true, kept)}"


def _alike_predictions(entries: Sequence[Entry], kept: Sequence[Integers]) -> str:
    """Say that each model predicts one value; empty if one of them does not."""
    told = []
    for entry, at in zip(entries, kept, strict=True):
        values = _scores(entry)
        if values is None or len(np.unique(values[at])) > 1:
            return ""
        role = "prediction" if entry.predictions.y_score is None else "score"
        told.append(_only(entry, role, values, at))
    more = "; so it is for all models" if len(entries) > 1 else ""
    return f"needs predictions that differ, and {told[0]}{more}"


def _scores(entry: Entry) -> Array | None:
    """Return what a metric of values reads: scores, or else predictions."""
    one = entry.predictions
    return one.y_pred if one.y_score is None else one.y_score


def _only(entry: Entry, role: str, values: Array, kept: Integers) -> str:
    """Name file and column, the only value there, number of rows and the first of them."""
    source = entry.source
    return (
        f"{source.file.path}, column '{source.roles[role][0]}', holds {values[kept[0]]} only "
        f"({counted(len(kept), 'row')}, the first on {source.file.at(source.rows[kept[:1]])})"
    )


def _named(metrics: Sequence[str]) -> str:
    """Name metrics at the head of a sentence about any one of them."""
    quoted = [f"'{metric}'" for metric in metrics]
    return f"metric {quoted[0]}" if len(quoted) == 1 else f"each of the metrics {', '.join(quoted)}"


def _advice(found: FileComparison, refused: Sequence[str]) -> str:
    """Say how to go on: other examples, or the metrics that are left."""
    both = any(METRICS[metric].kind == "cells" or METRICS[metric].binary for metric in refused)
    give = "Give a test set with both classes" if both else "Give a test set in which they differ"
    asked = dict.fromkeys(row.metric for row in found.estimates.rows)
    left = [name for name in asked if name not in refused]
    possible = [name for name in possible_metrics(found.entries) if name not in refused]
    if left:
        return f"{give}, or leave {'it' if len(refused) == 1 else 'them'} out: --metrics " + (
            f"{','.join(left)}."
        )
    if possible:
        return f"{give}, or use another metric: --metrics {','.join(possible[:3])}."
    return f"{give}."

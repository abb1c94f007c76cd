"""Which metrics the columns of some files allow, which are reported unasked, and why not others."""

from collections.abc import Mapping, Sequence

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.files.checks import TASK, Entry, check_domain
from lightning_dna.stats.files.columns import USUAL_NAMES, flag_of
from lightning_dna.stats.metrics import METRICS, Metric, resolve_metrics
from lightning_dna.stats.predictions import PLAIN

_REPORTED = (
    *("accuracy", "mcc", "auroc", "auprc", "pearson", "spearman", "mse"),
    *("mlm_accuracy", "cross_entropy", "bits_per_base", "ratio", "mean"),
)
"""Metrics that are reported unasked where the columns allow them: few, as each adds a test."""

_BINARY_SCORES = ("auroc", "auprc", "tpr_at_fpr01")
_MANY = 20  # more different whole numbers than this, on most rows another one, are no classes


def choose_metrics(
    entries: Sequence[Entry], wanted: Sequence[str] | None
) -> Mapping[str, tuple[Metric, ...]]:
    """Return the metrics of each task, checked against its columns.

    Unasked, these are reported where the columns allow them: accuracy and MCC of predicted labels;
    AUROC and AUPRC of scores of 0/1 labels; Pearson, Spearman and mean squared error of real
    values, and of whole numbers that are counts rather than classes; and the metrics of named sums,
    or else the plain ratio or mean.

    Args:
        entries: Predictions of all tasks.
        wanted: Names of metrics, or ``None`` for those above.

    Returns:
        Rows of ``METRICS`` by task.

    Raises:
        ConfigError: If a metric is unknown.
        StatsError: If a metric does not fit a column, none fits, or a value is out of its domain.
    """
    tasks: dict[str, list[Entry]] = {}
    for entry in entries:
        tasks.setdefault(entry.predictions.task, []).append(entry)
    rows = None if wanted is None else resolve_metrics(wanted)
    chosen: dict[str, tuple[Metric, ...]] = {}
    for task, members in tasks.items():
        if rows is None:
            chosen[task] = _reported(members)
        else:
            for row in rows:
                _check(row, members)
            chosen[task] = rows
        check_domain(members, chosen[task])
    return chosen


def possible_metrics(entries: Sequence[Entry]) -> list[str]:
    """Return the names of all metrics that these columns allow."""
    return [name for name, row in METRICS.items() if _misfit(row, entries) is None]


def _reported(entries: Sequence[Entry]) -> tuple[Metric, ...]:
    """Return the metrics that are reported unasked."""
    names = [name for name in _REPORTED if name in METRICS]
    fitting = [METRICS[name] for name in names if _misfit(METRICS[name], entries) is None]
    counts = _counts(entries[0])
    real = entries[0].kind == "real" or any(_values_of_counts(entry) for entry in entries)
    rows = [row for row in fitting if real or counts or not _of_values(row)]
    if counts and any(_of_values(row) for row in rows):
        rows = [row for row in rows if row.kind != "cells"]
    named = [row for row in rows if row.kind == "moments" and row.name in _named_sums(entries[0])]
    if named:
        rows = [row for row in rows if row.kind != "moments" or row in named]
    elif any(row.name == "ratio" for row in rows):
        rows = [row for row in rows if row.kind != "moments" or row.name == "ratio"]
    elif any(row.kind == "moments" for row in rows):
        rows = [row for row in rows if row.kind != "moments" or row.name == "mean"]
    if not rows:
        raise _nothing(entries[0])
    return tuple(rows)


def _of_values(row: Metric) -> bool:
    """Say whether a metric compares real values."""
    return row.kind in ("values", "ranked") and row.name not in _BINARY_SCORES


def _values_of_counts(entry: Entry) -> bool:
    """Say whether real numbers were predicted for whole-number labels that are not just 0 and 1."""
    one = entry.predictions
    if one.y_true is None or one.y_pred is None or one.y_pred.dtype.kind != "f":
        return False
    return not set(np.unique(one.y_true).tolist()) <= {0, 1}


def _counts(entry: Entry) -> bool:
    """Say whether whole-number labels are counts: many of them, and most rows have their own."""
    y_true = entry.predictions.y_true
    if y_true is None or y_true.dtype.kind != "i":
        return False
    different = len(np.unique(y_true))
    return different > _MANY and 2 * different > len(y_true)


def _named_sums(entry: Entry) -> set[str]:
    return set(entry.predictions.numerators) - {PLAIN}


def _check(row: Metric, entries: Sequence[Entry]) -> None:
    """Raise the reason for which a metric cannot be computed."""
    reason = _misfit(row, entries)
    if reason is not None:
        possible = possible_metrics(entries)
        also = f" These columns allow: {', '.join(possible)}." if possible else ""
        task = entries[0].predictions.task
        place = "" if task == TASK else f"task '{task}': "
        raise StatsError(f"{place}metric '{row.name}' {reason}{also}")


def _misfit(row: Metric, entries: Sequence[Entry]) -> str | None:
    """Return why a metric cannot be computed, ``None`` if it can."""
    for entry in entries:
        if row.kind == "cells":
            reason = _label_misfit(row, entry, entries)
        elif row.kind == "moments":
            reason = _sum_misfit(row, entry)
        else:
            reason = _score_misfit(row, entry)
        if reason is not None:
            return reason
    return None


def _label_misfit(row: Metric, entry: Entry, entries: Sequence[Entry]) -> str | None:
    """Say what a metric of predicted labels lacks."""
    one = entry.predictions
    if one.y_true is None:
        return _lacks(entry, "label")
    if one.y_pred is None:
        if one.y_score is not None or "score" in entry.source.roles:
            return (
                f"needs predicted labels; {entry.source.file.path} has scores. Say where to cut "
                "them, --threshold 0.5 for probabilities of class 1 (--threshold argmax for one "
                "score per class), or name a column with --prediction-column."
            )
        return _lacks(entry, "prediction")
    for values, role in ((one.y_true, "label"), (one.y_pred, "prediction")):
        if values.dtype.kind == "f":
            fraction = values[values != np.rint(values)][0]
            return (
                f"needs labels, and column '{entry.source.roles[role][0]}' of "
                f"{entry.source.file.path} holds values such as {fraction:g}; --threshold 0.5 cuts "
                "predicted values into labels."
            )
    if row.binary:
        seen = {str(value) for other in entries for value in _labels_of(other)}
        if not seen <= {"0", "1"}:
            return (
                f"needs the labels 0 and 1; task '{one.task}' has "
                f"{', '.join(sorted(seen)[:10])}. Name the label that is 1 by --positive, or use "
                "macro_f1."
            )
    return None


def _labels_of(entry: Entry) -> set[object]:
    one = entry.predictions
    given = [values for values in (one.y_true, one.y_pred) if values is not None]
    return {value for values in given for value in np.unique(values).tolist()}


def _sum_misfit(row: Metric, entry: Entry) -> str | None:
    """Say what a ratio of sums lacks."""
    one = entry.predictions
    wanted = [("numerator", one.numerators)]
    if row.needs_denominator:
        wanted.append(("denominator", one.denominators))
    for role, given in wanted:
        if row.name not in given and PLAIN not in given:
            return _lacks(entry, role)
    return None


def _score_misfit(row: Metric, entry: Entry) -> str | None:
    """Say what a metric of scores or values lacks."""
    one, path = entry.predictions, entry.source.file.path
    if one.y_true is None:
        return _lacks(entry, "label")
    if one.y_true.dtype.kind == "U":
        advice = (
            "Name the label that is 1 by --positive."
            if row.name in _BINARY_SCORES
            else "Name a column of numbers with --label-column."
        )
        return (
            f"needs true labels that are numbers; column '{entry.source.roles['label'][0]}' of "
            f"{path} holds text such as '{one.y_true[0]}'. {advice}"
        )
    if row.name in _BINARY_SCORES and not set(np.unique(one.y_true).tolist()) <= {0, 1}:
        return (
            f"needs the true labels 0 and 1; column '{entry.source.roles['label'][0]}' of {path} "
            "holds others. Name the label that is 1 by --positive."
        )
    if one.y_score is None and "score" in entry.source.roles:
        return (
            f"needs one score per example; {path} has one for each of three classes or more. Name "
            "one column with --score-column, or use metrics of labels with --threshold argmax."
        )
    numeric = one.y_pred is not None and one.y_pred.dtype.kind in "if"
    if one.y_score is None and not (numeric and _takes_predictions(row, entry)):
        return _lacks(entry, "score")
    return None


def _takes_predictions(row: Metric, entry: Entry) -> bool:
    """Say whether predicted numbers can stand in for scores: labels 0 and 1 are no ranking."""
    y_pred = entry.predictions.y_pred
    return row.name not in _BINARY_SCORES or (y_pred is not None and y_pred.dtype.kind == "f")


def _lacks(entry: Entry, role: str) -> str:
    """Say which column a file would need."""
    file = entry.source.file
    if role in entry.source.empty:
        return (
            f"needs a {role} column, and column '{', '.join(entry.source.empty[role])}' of "
            f"{file.path} is empty for {entry.source.name}. Fill it, or leave the metric out."
        )
    return (
        f"needs a {role} column, and {file.path} has none (columns: {', '.join(file.names)}). Name "
        f"it {' or '.join(USUAL_NAMES[role])}, or point to it with {flag_of(role)}."
    )


def _nothing(entry: Entry) -> StatsError:
    """Build the error for a file from which nothing can be computed."""
    file, one = entry.source.file, entry.predictions
    found = [f"{role} ('{', '.join(names)}')" for role, names in entry.source.roles.items()]
    if one.y_true is not None and "score" in entry.source.roles:
        advice = (
            "These scores need --threshold argmax, or --positive and one score column, before a "
            "metric can be computed."
        )
    else:
        advice = (
            "Add columns 'label' and 'pred' (or 'score'), or 'numerator' and 'denominator', or "
            "name yours with options such as --label-column and --prediction-column."
        )
    return StatsError(
        f"{file.path}: no metric can be computed for task '{one.task}' from its columns "
        f"{', '.join(file.names)}; recognised: {', '.join(found) or 'none'}. {advice}"
    )

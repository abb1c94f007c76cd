"""True and predicted labels of one task, brought into one kind; scores cut into labels."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.files.cells import (
    LabelKind,
    as_labels,
    label_kind,
    labels_in,
    one_against_rest,
    single_score,
)
from lightning_dna.stats.files.checks import Source
from lightning_dna.stats.files.columns import flag_of
from lightning_dna.stats.predictions import Array, Floats, Integers

Threshold = float | Literal["argmax"]
"""Score from which the label is 1, or ``"argmax"``: the class of the largest score."""


def read_labels(
    sources: Sequence[Source], positive: str | None
) -> tuple[list[Array | None], list[Array | None], LabelKind]:
    """Return true and predicted labels of one task, all of one kind.

    Whole-number labels with predictions that are not whole keep both as they are: the predictions
    are values, not labels.

    Args:
        sources: All sources of the task.
        positive: Label that becomes 1 while all others become 0, or ``None`` to keep them.

    Returns:
        True labels and predicted labels of each source, ``None`` where it has no such column, and
        what the true labels are.

    Raises:
        StatsError: If a label is missing, or predictions are text and true labels are numbers.
    """
    raw = {
        role: [labels_in(one.cells(role)) if role in one.roles else None for one in sources]
        for role in ("label", "prediction")
    }
    if positive is not None:
        return *_binary(sources, raw, positive), "integer"
    true = {label_kind(values) for values in raw["label"] if values is not None}
    predicted = [None if v is None else label_kind(v) for v in raw["prediction"]]
    kind: LabelKind = "text" if "text" in true else "real" if "real" in true else "integer"
    if true and kind != "text" and "text" in predicted:
        raise _mixed(sources[predicted.index("text")])
    both = kind
    if not true or kind == "integer":
        # Real predictions of whole-number labels are values, not labels, and stay what they are.
        both = next((other for other in ("text", "real") if other in predicted), kind)
    return (
        [None if values is None else as_labels(values, kind) for values in raw["label"]],
        [None if values is None else as_labels(values, both) for values in raw["prediction"]],
        kind,
    )


def _mixed(source: Source) -> StatsError:
    """Build the error for predictions in words where the true labels are numbers."""
    found = source.cells("prediction").values[0]
    return source.cells("prediction").refuse(
        [0],
        f"predictions are text such as '{found}', but the true labels are numbers; write both the "
        f"same way, or name another column with {flag_of('prediction')}.",
    )


def _binary(
    sources: Sequence[Source], raw: Mapping[str, Sequence[Array | None]], positive: str
) -> tuple[list[Array | None], list[Array | None]]:
    """Return labels as 1 where they are the positive one, else 0."""
    seen = {str(v) for values in raw["label"] if values is not None for v in set(values.tolist())}
    if positive not in seen:
        raise StatsError(
            f"{sources[0].file.path}: --positive '{positive}' is not among the true labels: "
            f"{', '.join(sorted(seen)[:10]) or 'there are none'}."
        )
    return (
        [None if values is None else one_against_rest(values, positive) for values in raw["label"]],
        [
            None
            if values is None
            else as_labels(values, "real")  # values, not labels: nothing to match
            if label_kind(values) == "real"
            else one_against_rest(values, positive)
            for values in raw["prediction"]
        ],
    )


def cut_scores(
    source: Source,
    y_true: Array | None,
    y_pred: Array | None,
    scores: Floats | None,
    threshold: Threshold,
) -> Integers:
    """Return the labels that scores stand for.

    Args:
        source: The rows.
        y_true: Their true labels, if any: 0 and 1, or the number of the class.
        y_pred: Predictions of the file; values that are not labels count as scores.
        scores: (n,) or (n, classes) scores, if any.
        threshold: Where to cut.

    Returns:
        (n,) labels.

    Raises:
        StatsError: If there is nothing to cut, or the labels are not what the cut gives.
    """
    values = scores if scores is not None else y_pred
    if values is None:
        raise StatsError(f"{source.file.path}: --threshold cuts scores, and there is no score.")
    if y_pred is not None and y_pred.dtype.kind != "f":
        raise StatsError(
            f"{source.file.path} has predicted labels in column '{source.roles['prediction'][0]}' "
            "already; leave --threshold out, or pass --prediction-column none."
        )
    if threshold == "argmax":
        if values.ndim != 2:
            raise StatsError(
                f"{source.file.path}: --threshold argmax needs one score per class; there is one "
                "score only, so give the number from which it means 1."
            )
        _check_codes(source, y_true, values.shape[1], "--threshold argmax predicts")
        return np.asarray(values.argmax(axis=1), dtype=np.int64)
    single = single_score(values)
    if single is None:
        raise StatsError(
            f"{source.file.path}: one threshold cannot cut the scores of {values.shape[1]} "
            "classes; pass --threshold argmax."
        )
    _check_codes(source, y_true, 2, "--threshold predicts")
    return (single >= float(threshold)).astype(np.int64)


def _check_codes(source: Source, y_true: Array | None, classes: int, what: str) -> None:
    """Refuse true labels that are not 0 to classes - 1."""
    if y_true is None:
        return
    codes = y_true.dtype.kind == "i"
    wrong = np.flatnonzero((y_true < 0) | (y_true >= classes)) if codes else np.zeros(1, np.int64)
    if len(wrong):
        advice = "; name the label that is 1 by --positive" if classes == 2 else ""
        raise source.cells("label").refuse(
            wrong,
            f"{what} the labels 0 to {classes - 1}, and the true label is '{y_true[wrong[0]]}'"
            f"{advice}.",
        )

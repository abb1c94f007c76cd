"""Cells of a table as ids, labels and numbers, or an error that says where they are not."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.files.tables import TableFile
from lightning_dna.stats.predictions import Array, Floats, Integers

LabelKind = Literal["integer", "real", "text"]

_TRUTH = {"true": 1, "false": 0}
_MISSING = frozenset({"", "nan", "NaN", "NAN"})
_ABSENT = {"na", "n/a", "none", "null"}  # may be a class among words, but not among numbers
_ROUNDING = 1e-3  # by which probabilities of all classes may miss a sum of 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """Some cells of one column.

    Attributes:
        file: The table.
        column: Its column.
        rows: (n,) positions in the column.
    """

    file: TableFile
    column: str
    rows: Integers

    @property
    def values(self) -> Array:
        """The cells as the file holds them."""
        return self.file.columns[self.column][self.rows]

    def refuse(self, at: Sequence[int] | Integers, reason: str) -> StatsError:
        """Build the error for some of these cells."""
        return self.file.refuse(self.column, self.rows[np.asarray(at)], reason)


def whole_column(file: TableFile, column: str) -> Cells:
    """Return all cells of a column."""
    return Cells(file=file, column=column, rows=np.arange(len(file.places)))


def names_in(cells: Cells) -> Array:
    """Return ids or names: int64 where the file holds whole numbers, else text, as written.

    Args:
        cells: Cells of one column.

    Returns:
        (rows,) int64 or text.

    Raises:
        StatsError: If a cell is empty.
    """
    values = cells.values
    missing = missing_rows(values)
    if len(missing):
        raise cells.refuse(missing, "the cell is empty; every row needs a value here.")
    if values.dtype.kind == "f" and (np.abs(values) < 2**53).all() and _whole(values):
        return values.astype(np.int64)
    if values.dtype.kind == "i":
        return values
    return np.array(list(map(str, values.tolist())))


def alike(columns: Sequence[Array]) -> list[Array]:
    """Return columns of names in one kind: whole numbers if all are written so, else text.

    Names set the order of examples and so their share of the random stream: a text file, where all
    cells are text, has to give the digits of a Parquet file that holds numbers.

    Example:
        >>> [values.tolist() for values in alike([np.array(["2", "10"]), np.array([10, 2])])]
        [[2, 10], [10, 2]]
        >>> alike([np.array(["02", "10"])])[0].tolist()
        ['02', '10']
    """
    text = [values.astype(str) for values in columns]
    try:
        whole = [values.astype(np.int64) for values in text]
    except (ValueError, OverflowError):
        return text
    same = all((n.astype(str) == t).all() for n, t in zip(whole, text, strict=True))
    return whole if same else text


def numbers_in(cells: Cells) -> Floats:
    """Return finite numbers.

    Args:
        cells: Cells of one column; a list in each gives a second axis.

    Returns:
        (rows,) or (rows, k) float64.

    Raises:
        StatsError: If a cell is empty, not a number, NaN or infinite.
    """
    values = cells.values
    missing = missing_rows(values)
    if len(missing):
        reason = "empty or NaN; score these examples again, nothing is dropped silently."
        raise cells.refuse(missing, reason)
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        strange = [row for row, value in enumerate(values.tolist()) if not _is_number(value)]
        found = values[strange[0]]
        lists = isinstance(found, list)
        reason = f"{repr(found)[:40]} is not a number" + (
            ". Lists must have the same length in every row."
            if lists
            else "; write a number in every row, with a point for decimals, or name another column."
        )
        raise cells.refuse(strange, reason) from None
    wrong = np.flatnonzero(~np.isfinite(numbers.reshape(len(numbers), -1)).all(axis=1))
    if len(wrong):
        reason = "NaN or infinite; score these examples again, nothing is dropped silently."
        raise cells.refuse(wrong, reason)
    return numbers


def seeds_in(cells: Cells) -> Integers:
    """Return training seeds.

    Raises:
        StatsError: If a cell is not a whole number of 0 or more.
    """
    numbers = numbers_in(cells)
    wrong = np.flatnonzero((numbers < 0) | (numbers != np.rint(numbers)))
    if len(wrong):
        raise cells.refuse(wrong, "a training seed is a whole number of 0 or more.")
    return numbers.astype(np.int64)


def missing_rows(values: Array) -> Integers:
    """Return the rows whose cell is empty: no text, ``None`` or NaN."""
    if values.dtype.kind == "f":
        return np.flatnonzero(np.isnan(values.reshape(len(values), -1)).any(axis=1))
    if values.dtype.kind != "O":
        return np.zeros(0, dtype=np.int64)
    cells = values.tolist()
    kinds = set(map(type, cells))
    if kinds == {str} and _MISSING.isdisjoint(cells):  # the usual case, fast
        return np.zeros(0, dtype=np.int64)
    return np.array([row for row, cell in enumerate(cells) if _is_missing(cell)], dtype=np.int64)


def labels_in(cells: Cells) -> Array:
    """Return a column of labels with every cell filled, not converted yet.

    Raises:
        StatsError: If a cell is empty, infinite, or a list.
    """
    values = cells.values
    missing = missing_rows(values)
    if not len(missing) and values.dtype.kind == "O":
        missing = _not_available(values)
    if len(missing):
        raise cells.refuse(missing, "the label is empty; every row needs one.")
    nested = [row for row, value in enumerate(values.tolist()) if type(value) in (list, dict)]
    if nested:
        reason = "holds lists or objects; a label is one value. Scores belong in --score-column."
        raise cells.refuse(nested, reason)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise cells.refuse(np.flatnonzero(~np.isfinite(values)), "infinite.")
    return values


def label_kind(values: Array) -> LabelKind:
    """Say what labels are: whole numbers, real numbers, or text.

    Example:
        >>> label_kind(np.array(["1", "0"], dtype=object)), label_kind(np.array([0.5]))
        ('integer', 'real')
    """
    if values.dtype.kind == "i":
        return "integer"
    if values.dtype.kind == "f":
        return "integer" if _whole(values) else "real"
    different = {str(value).strip().lower() for value in set(values.tolist())}
    if different <= {*_TRUTH, "0", "1"}:
        return "integer"
    numbers = [_number(text) for text in different]
    if any(math.isnan(number) or math.isinf(number) for number in numbers):
        return "text"
    return "integer" if all(number.is_integer() for number in numbers) else "real"


def as_labels(values: Array, kind: LabelKind) -> Array:
    """Return labels as int64, float64 or text; ``true`` and ``false`` are 1 and 0."""
    if kind == "text":
        return np.array([str(value) for value in values.tolist()])
    if values.dtype.kind == "O":
        known = {value: _number(str(value).strip().lower()) for value in set(values.tolist())}
        values = np.array([known[value] for value in values.tolist()])
    return values.astype(np.int64 if kind == "integer" else np.float64)


def single_score(scores: Floats) -> Floats | None:
    """Return one score per example, the larger the more it speaks for the positive class.

    Args:
        scores: (n,) scores; (n, 1) the same; (n, 2) of the negative and the positive class:
            probabilities (rows sum to 1) give the last, anything else, such as logits, the last
            minus the first.

    Returns:
        (n,) scores; ``None`` for three classes or more, which have no single score.

    Example:
        >>> single_score(np.array([[0.2, 0.8]])), single_score(np.array([[1.0, 3.0]]))
        (array([0.8]), array([2.]))
    """
    if scores.ndim == 1:
        return scores
    if scores.shape[1] == 1:
        return scores[:, 0]
    if scores.shape[1] > 2:
        return None
    probable = (scores >= 0).all() and (np.abs(scores.sum(axis=1) - 1) < _ROUNDING).all()
    positive: Floats = scores[:, 1]
    return positive if probable else positive - scores[:, 0]


def one_against_rest(values: Array, positive: str) -> Integers:
    """Return 1 where a label is written like ``positive``, else 0."""
    match: Mapping[str, int] = {positive: 1}
    return np.array([match.get(str(value), 0) for value in values.tolist()], dtype=np.int64)


def _not_available(values: Array) -> Integers:
    """Return the rows that say "NA" or the like in a column that else holds numbers."""
    texts = [str(value).lower() for value in values.tolist()]
    others = set(texts) - _ABSENT
    if not others or any(math.isnan(_number(text)) for text in others):
        return np.zeros(0, dtype=np.int64)
    return np.array([row for row, text in enumerate(texts) if text in _ABSENT], dtype=np.int64)


def _whole(values: Floats) -> bool:
    return bool((values == np.rint(values)).all())


def _is_missing(value: object) -> bool:
    if isinstance(value, str):
        return value in _MISSING
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_number(value: object) -> bool:
    if isinstance(value, int):
        return abs(value) < 2**1023  # float64 ends there
    return isinstance(value, float) or (isinstance(value, str) and not math.isnan(_number(value)))


def _number(text: str) -> float:
    """Return the number that a text stands for; NaN if none."""
    if text in _TRUTH:
        return float(_TRUTH[text])
    try:
        return float(text)
    except ValueError:
        return math.nan

"""Per-example scores: the only thing that tasks hand on, checked when made and when read back."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lightning_dna.atomic import creating, replacing
from lightning_dna.errors import ResultsError

ScoresKind = Literal["mlm", "classification", "ranking", "multilabel", "per_position", "canaries"]

SCHEMA_VERSION = 1
_METADATA_KEY = b"lightning_dna.scores"
_SHOWN = 5

_COLUMNS: dict[str, dict[str, str]] = {
    "mlm": {
        "task": "text",
        "variant": "text",
        "seed": "count",
        "example_id": "text",
        "cluster_id": "text",
        "chrom": "text",
        "part": "text",
        "stratum": "text",
        "masked": "count",
        "correct": "count",
        "nats": "number",
    },
    "classification": {
        "task": "text",
        "variant": "text",
        "seed": "count",
        "example_id": "text",
        "cluster_id": "text",
        "label": "count",
        "prediction": "count",
        "score": "number",
        "split": "text",
    },
    "ranking": {
        "task": "text",
        "variant": "text",
        "seed": "count",
        "example_id": "text",
        "cluster_id": "text",
        "label": "count",
        "score": "number",
    },
    "multilabel": {
        "task": "text",
        "variant": "text",
        "seed": "count",
        "example_id": "text",
        "cluster_id": "text",
        "labels": "booleans",
        "scores": "numbers",
    },
    "per_position": {
        "task": "text",
        "variant": "text",
        "seed": "count",
        "example_id": "text",
        "cluster_id": "text",
        "hits": "counts",
        "predicted": "counts",
        "true": "counts",
    },
    "canaries": {
        "task": "text",
        "variant": "text",
        "seed": "count",
        "example_id": "text",
        "cluster_id": "text",
        "kind": "text",
        "repetitions": "count",
        "nats": "number",
        "rank": "count",
        "places": "count",
        "exposure": "number",
        "p_value": "number",
    },
}
_ALLOWED: dict[str, dict[str, tuple[str, ...]]] = {
    "mlm": {"part": ("train", "test")},
    "classification": {"split": ("test",)},
    "ranking": {},
    "multilabel": {},
    "per_position": {},
    "canaries": {"kind": ("random", "shuffled")},
}
_STRATA = ("repeat", "unique")  # further names may follow, see `lightning_dna.tasks.strata`
_EXAMPLE = ["task", "variant", "seed", "example_id"]
_KEYS = {"mlm": ["task", "variant", "seed", "part", "example_id", "stratum"]}


@dataclass(frozen=True, eq=False)
class Scores:
    """A table of per-example scores of one kind.

    ``mlm``: one row per window and stratum: ``task, variant, seed, example_id, cluster_id, chrom,
    part`` (train | test), ``stratum`` (repeat | unique, and with an annotation what else is known
    of the bases, ``unique+intron+gc_30_40``), ``masked`` (hidden bases, 1 or more), ``correct`` (of
    these), ``nats`` (sum of -ln P(true base)).

    ``classification``: one row per example: ``task, variant, seed, example_id, cluster_id, label,
    prediction, score`` (P(class 1) if there are two classes, else NaN), ``split`` (test).

    ``ranking``: one row per example: ``task, variant, seed, example_id, cluster_id, label`` (0 | 1,
    1 is the positive class), ``score`` (any finite number, the greater the more positive).

    ``multilabel``: one row per example: ``task, variant, seed, example_id, cluster_id``,
    ``labels`` (one boolean for each label of the task, in its order), ``scores`` (as many finite
    numbers, the greater the more positive; kept as float32).

    ``per_position``: one row per sequence, whose positions are not independent of each other:
    ``task, variant, seed, example_id, cluster_id``, and for each class of the task the number of
    positions that are ``hits`` (predicted and true), ``predicted`` and ``true``.

    ``canaries``: one row per canary: ``task, variant, seed, example_id, cluster_id, kind`` (random
    | shuffled), ``repetitions`` (copies in the training windows), ``nats`` (its loss), ``rank``
    (place by loss among ``places`` sequences, itself one of them), ``exposure`` (log2 of places
    minus log2 of the rank, bits), ``p_value`` (rank by places).

    Args:
        frame: The table. Columns may come in any order and any integer or text type; they are put
            into the order above as ``int64``, ``float64`` and text.
        kind: Which of these.

    Raises:
        ResultsError: If there is no row, a column is missing, unknown or of the wrong type, a value
            is missing or out of range, or two rows speak about the same thing.

    Example:
        >>> row = {"task": "t", "variant": "a", "seed": 0, "example_id": "x", "cluster_id": "x",
        ...        "label": 1, "prediction": 1, "score": 0.9, "split": "test"}
        >>> len(Scores(pd.DataFrame([row]), "classification").frame)
        1
    """

    frame: pd.DataFrame
    kind: ScoresKind

    def __post_init__(self) -> None:
        if self.kind not in get_args(ScoresKind):
            raise ResultsError(
                f"scores of kind '{self.kind}'; allowed: {', '.join(get_args(ScoresKind))}."
            )
        object.__setattr__(self, "frame", _checked(self.frame, self.kind))

    def write(self, path: Path, *, once: bool = False) -> None:
        """Write the table as Parquet, whole or not at all.

        Args:
            path: The file.
            once: Whether a file that is there must stay as it is.

        Raises:
            FileExistsError: If it must, and is there.
            ResultsError: If the folder cannot be written to.
        """
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        stamp = json.dumps({"schema": SCHEMA_VERSION, "kind": self.kind}).encode()
        table = table.replace_schema_metadata(
            {**(table.schema.metadata or {}), _METADATA_KEY: stamp}
        )
        with (creating if once else replacing)(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> "Scores":
        """Read a table back, checking it again.

        Raises:
            ResultsError: If the file is missing, damaged, foreign or of another schema version.
        """
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise ResultsError(
                f"cannot read the scores {path}: {error}; score this run again."
            ) from error
        stamp = (table.schema.metadata or {}).get(_METADATA_KEY)
        if stamp is None:
            raise ResultsError(f"{path} is a Parquet file, but no score table of lightning_dna.")
        written = json.loads(stamp)
        if written.get("schema") != SCHEMA_VERSION:
            raise ResultsError(
                f"{path} has score schema {written.get('schema')}; this version reads "
                f"{SCHEMA_VERSION}. Use the version that wrote it, or score the run again."
            )
        try:
            return cls(table.to_pandas(), written.get("kind"))
        except ResultsError as error:
            raise ResultsError(f"{path}: {error}") from error


def _checked(frame: pd.DataFrame, kind: ScoresKind) -> pd.DataFrame:
    """Return the table with its columns in order and in their types, or refuse it."""
    columns = _COLUMNS[kind]
    missing = [name for name in columns if name not in frame.columns]
    unknown = [str(name) for name in frame.columns if name not in columns]
    if missing or unknown:
        raise ResultsError(
            f"{kind} scores: missing columns: {', '.join(missing) or 'none'}; unknown columns: "
            f"{', '.join(unknown) or 'none'}; expected exactly {', '.join(columns)}."
        )
    if frame.columns.has_duplicates:
        raise ResultsError(f"{kind} scores: a column stands twice.")
    if frame.empty:
        raise ResultsError(f"{kind} scores: the table has no row; nothing was scored.")
    checked = pd.DataFrame(
        {name: _CHECKERS[column](frame[name], kind) for name, column in columns.items()}
    )
    for name, allowed in _ALLOWED[kind].items():
        _refuse(checked, ~checked[name].isin(allowed), f"{name} must be one of {allowed}", kind)
    _RULES[kind](checked)
    keys = _KEYS.get(kind, _EXAMPLE)
    _refuse(checked, checked.duplicated(keys), f"one row for each {', '.join(keys)}", kind)
    return checked


def _check_classification(frame: pd.DataFrame) -> None:
    """Check probabilities of class 1."""
    score = frame["score"]
    wrong = (score < 0) | (score > 1)
    _refuse(frame, wrong, "score must be in [0, 1] or NaN", "classification")


def _check_ranking(frame: pd.DataFrame) -> None:
    """Check that labels are 0 or 1 and scores finite."""
    _refuse(frame, frame["label"] > 1, "label must be 0 or 1", "ranking")
    _refuse(frame, ~np.isfinite(frame["score"]), "score must be finite", "ranking")


def _check_canaries(frame: pd.DataFrame) -> None:
    """Check that ranks are places, and the exposures those of the ranks."""
    wrong = (frame["rank"] < 1) | (frame["rank"] > frame["places"])
    _refuse(frame, wrong, "rank must be from 1 to places", "canaries")
    bits = np.log2(frame["places"] / frame["rank"])
    wrong = (frame["exposure"] - bits).abs() > 1e-9
    _refuse(frame, wrong, "exposure must be log2 of places by rank", "canaries")


def _check_mlm(frame: pd.DataFrame) -> None:
    """Check the sums of hidden bases."""
    _refuse(frame, frame["masked"] < 1, "masked must be 1 or more", "mlm")
    _refuse(frame, frame["correct"] > frame["masked"], "correct cannot exceed masked", "mlm")
    first = frame["stratum"].str.partition("+")[0]
    _refuse(
        frame, ~first.isin(_STRATA), f"stratum must be one of {_STRATA}, alone or before a +", "mlm"
    )
    wrong = ~np.isfinite(frame["nats"]) | (frame["nats"] < 0)
    _refuse(frame, wrong, "nats must be finite and 0 or more", "mlm")


def _text(column: "pd.Series[str]", kind: str) -> "pd.Series[str]":
    """Return a column of non-empty text."""
    values = column.reset_index(drop=True)
    wrong = [value for value in values.unique() if not isinstance(value, str) or not value]
    if wrong:
        raise ResultsError(
            f"{kind} scores: column '{column.name}' holds {wrong[0]!r}; expected non-empty text."
        )
    return values.astype("str")


def _count(column: "pd.Series[int]", kind: str) -> "pd.Series[int]":
    """Return a column of integers of 0 or more as ``int64``."""
    if not pd.api.types.is_integer_dtype(column) or column.isna().any():
        raise ResultsError(
            f"{kind} scores: column '{column.name}' has type {column.dtype}; expected integers "
            f"without gaps."
        )
    if (column < 0).any():
        raise ResultsError(
            f"{kind} scores: column '{column.name}' holds {column.min()}; expected 0 or more."
        )
    return column.reset_index(drop=True).astype("int64")


def _number(column: "pd.Series[float]", kind: str) -> "pd.Series[float]":
    """Return a column of numbers as ``float64``."""
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        raise ResultsError(
            f"{kind} scores: column '{column.name}' has type {column.dtype}; expected numbers."
        )
    return column.reset_index(drop=True).astype("float64")


def _check_multilabel(frame: pd.DataFrame) -> None:
    """Check that every row has one finite score for each label, and every task one width."""
    _check_width(frame, ["labels", "scores"], "multilabel")
    finite = [bool(np.isfinite(row).all()) for row in frame["scores"]]
    _refuse(frame, ~pd.Series(finite), "scores must be finite", "multilabel")


def _check_per_position(frame: pd.DataFrame) -> None:
    """Check that the counts of every row can come from one sequence."""
    _check_width(frame, ["hits", "predicted", "true"], "per_position")
    hits, predicted, true = (
        [column.sum() if name != "hits" else column for column in frame[name]]
        for name in ("hits", "predicted", "true")
    )
    unequal = np.asarray(predicted) != np.asarray(true)
    _refuse(
        frame,
        pd.Series(unequal),
        "predicted and true must count the same positions",
        "per_position",
    )
    above = [
        bool((one > np.minimum(row, other)).any())
        for one, row, other in zip(hits, frame["predicted"], frame["true"], strict=True)
    ]
    _refuse(frame, pd.Series(above), "hits cannot exceed predicted or true", "per_position")


def _check_width(frame: pd.DataFrame, columns: list[str], kind: str) -> None:
    """Refuse rows of another width than the first row of their task, and rows without any."""
    widths = pd.DataFrame({name: frame[name].map(len) for name in columns})
    first = widths[columns[0]].groupby(frame["task"]).transform("first")
    wrong = widths.ne(first, axis=0).any(axis=1) | (first == 0)
    _refuse(frame, wrong, f"{' and '.join(columns)} must have one entry for each label", kind)


def _refuse(frame: pd.DataFrame, wrong: "pd.Series[bool]", rule: str, kind: str) -> None:
    """Raise, naming the first rows for which a flag is set."""
    if wrong.any():
        rows = frame.loc[wrong, ["task", "variant", "seed", "example_id"]].head(_SHOWN)
        shown = "; ".join("/".join(map(str, row)) for row in rows.to_numpy().tolist())
        raise ResultsError(f"{kind} scores: {rule}; {int(wrong.sum())} rows do not: {shown}.")


def _rows_of(dtype: type[np.generic], kinds: str) -> Callable[..., pd.Series]:
    """Return a check of columns whose entries are one-dimensional arrays."""

    def check(column: pd.Series, kind: str) -> pd.Series:
        rows = [np.asarray(value) for value in column]
        wrong = [row for row in rows if row.ndim != 1 or row.dtype.kind not in kinds]
        if wrong or (dtype is np.int64 and any((row < 0).any() for row in rows)):
            raise ResultsError(
                f"{kind} scores: column '{column.name}' must hold a list of "
                f"{np.dtype(dtype).name} in every row, counts of 0 or more; found "
                f"{wrong[0].dtype if wrong else 'a negative count'}."
            )
        return pd.Series([row.astype(dtype, copy=False) for row in rows], dtype=object)

    return check


_CHECKERS: dict[str, Callable[..., pd.Series]] = {
    "text": _text,
    "count": _count,
    "number": _number,
    "booleans": _rows_of(np.bool_, "b"),
    "numbers": _rows_of(np.float32, "f"),
    "counts": _rows_of(np.int64, "iu"),
}
_RULES: dict[str, Callable[[pd.DataFrame], None]] = {
    "mlm": _check_mlm,
    "classification": _check_classification,
    "ranking": _check_ranking,
    "multilabel": _check_multilabel,
    "per_position": _check_per_position,
    "canaries": _check_canaries,
}

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

from lightning_dna.atomic import replacing
from lightning_dna.errors import ResultsError

ScoresKind = Literal["mlm", "classification"]

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
}
_ALLOWED: dict[str, dict[str, tuple[str, ...]]] = {
    "mlm": {"part": ("train", "test")},
    "classification": {"split": ("test",)},
}
_STRATA = ("repeat", "unique")  # further names may follow, see `lightning_dna.tasks.strata`
_KEYS = {
    "mlm": ["task", "variant", "seed", "part", "example_id", "stratum"],
    "classification": ["task", "variant", "seed", "example_id"],
}


@dataclass(frozen=True, eq=False)
class Scores:
    """A table of per-example scores of one kind.

    ``mlm``: one row per window and stratum: ``task, variant, seed, example_id, cluster_id, chrom,
    part`` (train | test), ``stratum`` (repeat | unique, and with an annotation what else is known
    of the bases, ``unique+intron+gc_30_40``), ``masked`` (hidden bases, 1 or more), ``correct`` (of
    these), ``nats`` (sum of -ln P(true base)).

    ``classification``: one row per example: ``task, variant, seed, example_id, cluster_id, label,
    prediction, score`` (P(class 1) if there are two classes, else NaN), ``split`` (test).

    Args:
        frame: The table. Columns may come in any order and any integer or text type; they are put
            into the order above as ``int64``, ``float64`` and text.
        kind: Which of the two.

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

    def write(self, path: Path) -> None:
        """Write the table as Parquet, whole or not at all.

        Raises:
            ResultsError: If the folder cannot be written to.
        """
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        stamp = json.dumps({"schema": SCHEMA_VERSION, "kind": self.kind}).encode()
        table = table.replace_schema_metadata(
            {**(table.schema.metadata or {}), _METADATA_KEY: stamp}
        )
        with replacing(path) as temporary:
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
    if kind == "mlm":
        _check_mlm(checked)
    else:
        score = checked["score"]
        _refuse(checked, (score < 0) | (score > 1), "score must be in [0, 1] or NaN", kind)
    _refuse(
        checked,
        checked.duplicated(_KEYS[kind]),
        f"one row for each {', '.join(_KEYS[kind])}",
        kind,
    )
    return checked


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


def _refuse(frame: pd.DataFrame, wrong: "pd.Series[bool]", rule: str, kind: str) -> None:
    """Raise, naming the first rows for which a flag is set."""
    if wrong.any():
        rows = frame.loc[wrong, ["task", "variant", "seed", "example_id"]].head(_SHOWN)
        shown = "; ".join("/".join(map(str, row)) for row in rows.to_numpy().tolist())
        raise ResultsError(f"{kind} scores: {rule}; {int(wrong.sum())} rows do not: {shown}.")


_CHECKERS: dict[str, Callable[..., pd.Series]] = {
    "text": _text,
    "count": _count,
    "number": _number,
}

"""Test scores are written once: a table that is there is never replaced by another.

Beside every table lies a seal, the digest of its rows. Scoring again what was lost gives the same
rows, or is refused; a table that was changed by hand is refused when it is read. Only a cell that
is named to `lightning-dna retry --only` is scored afresh, and the report says so.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lightning_dna import atomic
from lightning_dna.errors import ResultsError
from lightning_dna.study.environment import environment
from lightning_dna.tasks.base import Scores

SEAL = ".seal"  # the ending of a seal, which lies beside its table


class SealedError(ResultsError):
    """A table of test scores that would be replaced by another, or that was changed."""


def seal_of(table: Path) -> Path:
    """Return where the seal of a table of scores lies."""
    return table.with_suffix(SEAL)


def digest(scores: Scores) -> str:
    """Return a digest of the rows of a table, whatever the file that holds them.

    Example:
        >>> import pandas as pd
        >>> row = {"task": "t", "variant": "a", "seed": 0, "example_id": "x", "cluster_id": "x",
        ...        "label": 1, "score": 0.5}
        >>> one, other = (Scores(pd.DataFrame([row | {"score": s}]), "ranking") for s in (0.5, 0.6))
        >>> digest(one) == digest(one), digest(one) == digest(other)
        (True, False)
    """
    made = hashlib.sha256(scores.kind.encode())
    for name, column in scores.frame.items():
        made.update(f"\n{name}\n{len(column)}\n".encode())
        values = column.to_numpy()
        if values.dtype.kind in "iufb":
            made.update(np.ascontiguousarray(values).tobytes())
        elif len(values) and isinstance(values[0], np.ndarray):
            for row in values:
                made.update(len(row).to_bytes(8, "little") + np.ascontiguousarray(row).tobytes())
        else:
            made.update("\0".join(map(str, values)).encode())
    return made.hexdigest()[:32]


def write_once(scores: Scores, table: Path) -> None:
    """Write a table of scores and its seal; the same rows may be written again, others not.

    Raises:
        SealedError: If other rows were written before, whether or not they are still there.
        UnwritableError: If the folder cannot be written to.
    """
    rows = digest(scores)
    _compare(table, rows, "these scores are not")
    try:
        scores.write(table, once=True)
    except FileExistsError:
        if digest(Scores.read(table)) != rows:
            raise _refusal(table, "these scores are not") from None
    _seal(table, rows)


def seal(table: Path) -> None:
    """Seal a table that has none: of an earlier version, or written just before a kill."""
    if not seal_of(table).is_file():
        _seal(table, digest(Scores.read(table)))


def read_sealed(table: Path) -> Scores:
    """Read a table of scores, which must be what was written; one without a seal passes.

    Raises:
        SealedError: If its rows are others than those that were sealed.
        ResultsError: If the file is missing, damaged or foreign.
    """
    scores = Scores.read(table)
    _compare(table, digest(scores), "its rows are not")
    return scores


def lift(tables: Iterable[Path]) -> list[Path]:
    """Lift the seals of tables that are gone, so that they may be scored afresh; returns which."""
    found = [table for table in tables if seal_of(table).is_file() and not table.is_file()]
    for table in found:
        seal_of(table).unlink(missing_ok=True)
    return found


def _seal(table: Path, rows: str) -> None:
    """Write a seal, unless another process did."""
    if not seal_of(table).is_file():
        made = environment()
        atomic.write_json(seal_of(table), {"rows": rows, "version": made["versions"]})


def _compare(table: Path, rows: str, what: str) -> None:
    """Refuse rows that are not those of the seal."""
    path = seal_of(table)
    if path.is_file() and atomic.read_json(path).get("rows") != rows:
        raise _refusal(table, what)


def _refusal(table: Path, what: str) -> SealedError:
    """Return the error of a table that is not what it was."""
    return SealedError(
        f"{table}: {what} what was written there first, and test scores are written once. Put the"
        " first table back; or remove this one and name its cell to `lightning-dna retry STUDY"
        " --only CELL`, which scores it afresh and says so in the report."
    )

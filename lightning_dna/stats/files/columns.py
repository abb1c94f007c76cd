"""Which column of a file plays which role: by a usual name, or by the name that the user gives."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from lightning_dna.errors import StatsError, nearest

NO_COLUMN = "none"
"""Given as the name of a column: this role is not played, whatever the file holds."""


@dataclass(frozen=True, kw_only=True)
class ColumnNames:
    """Names of columns that override recognition; ``None`` recognises the usual names.

    ``"none"`` leaves a role out although a column has its name.

    Attributes:
        id: Name of each example.
        label: True label, or true value.
        prediction: Predicted label, or predicted value.
        score: Score of the positive class, or one column per class.
        model: Name of the model.
        task: Name of the task.
        seed: Training seed.
        cluster: Group of examples that are not independent.
        weight: Importance weight.
        numerator: Sum whose ratio to the denominator is the metric.
        denominator: What the numerator is counted over.
        nats: Summed negative log-likelihood, natural logarithm.
        bits: The same in bits.
        correct: Number of correct bases (or tokens).
        count: Number of bases (or tokens) behind ``nats``, ``bits`` or ``correct``.
    """

    id: str | None = None
    label: str | None = None
    prediction: str | None = None
    score: str | Sequence[str] | None = None
    model: str | None = None
    task: str | None = None
    seed: str | None = None
    cluster: str | None = None
    weight: str | None = None
    numerator: str | None = None
    denominator: str | None = None
    nats: str | None = None
    bits: str | None = None
    correct: str | None = None
    count: str | None = None


USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "example_id", "uid"),
    "label": ("label", "labels", "y", "y_true", "target"),
    "prediction": ("pred", "prediction", "predictions", "y_pred"),
    "score": ("score", "scores", "prob", "probs", "proba", "y_score", "probability", "logit",
              "logits"),
    "model": ("model", "system", "variant"),
    "task": ("task",),
    "seed": ("seed",),
    "cluster": ("cluster", "cluster_id", "group", "chrom", "chromosome"),
    "weight": ("weight",),
    "numerator": ("numerator",),
    "denominator": ("denominator",),
    "nats": ("nats", "nll"),
    "bits": ("bits",),
    "correct": ("correct",),
    "count": ("bases", "n_bases", "masked", "tokens", "n_tokens"),
}  # fmt: skip
"""Names, in any case, by which a column is recognised."""

_ROLES = tuple(field.name for field in fields(ColumnNames))
_CLASS_SCORE = re.compile(r"(.+)_(\d+)")


def flag_of(role: str) -> str:
    """Return the option that names the column of a role.

    Example:
        >>> flag_of("score")
        '--score-column'
    """
    return f"--{role}-column"


def assign_roles(
    path: Path, found: Sequence[str], given: ColumnNames
) -> dict[str, tuple[str, ...]]:
    """Find the columns of each role.

    Args:
        path: The file, for messages.
        found: Its columns.
        given: Names given by the user, which come before recognition; a column that is given for
            one role is not recognised for another.

    Returns:
        Role to column; ``score`` may have one column per class, in order of the class.

    Raises:
        StatsError: If a given column is not there, or two columns claim one role.

    Example:
        >>> assign_roles(Path("a.csv"), ["uid", "Y", "logits_0", "logits_1"], ColumnNames())
        {'id': ('uid',), 'label': ('Y',), 'score': ('logits_0', 'logits_1')}
    """
    named = {role: _given(path, found, role, getattr(given, role)) for role in _ROLES}
    taken = {column for columns in named.values() for column in columns or ()}
    free = [column for column in dict.fromkeys(found) if column not in taken]
    roles: dict[str, tuple[str, ...]] = {}
    for role in _ROLES:
        columns = named[role]
        if columns is None:
            columns = _recognised(path, free, role)
        if columns:
            roles[role] = columns
    return roles


def _given(
    path: Path, found: Sequence[str], role: str, name: str | Sequence[str] | None
) -> tuple[str, ...] | None:
    """Return the columns that the user named, none for ``"none"``, ``None`` to recognise them."""
    if name is None:
        return None
    names = (name,) if isinstance(name, str) else tuple(name)
    if names == (NO_COLUMN,) and NO_COLUMN not in found:
        return ()
    for one in names:
        if one not in found:
            guess = nearest(one, found)
            hint = f" Did you mean '{guess}'?" if guess else ""
            raise StatsError(
                f"{path} has no column '{one}' ({flag_of(role)}); "
                f"its columns: {', '.join(found)}.{hint}"
            )
    return names


def _recognised(path: Path, free: Sequence[str], role: str) -> tuple[str, ...]:
    """Return the column with a usual name of this role, refusing a choice between two."""
    usual = USUAL_NAMES[role]
    claims: list[tuple[str, ...]] = [
        (column,) for column in free if column.strip().lower() in usual
    ]
    if role == "score":
        claims += _class_scores(free)
    if len(claims) > 1:
        names = " and ".join(f"'{', '.join(claim)}'" for claim in claims)
        raise StatsError(
            f"{path}: columns {names} could each be the {role} column; "
            f"say which with {flag_of(role)}."
        )
    return claims[0] if claims else ()


def _class_scores(free: Sequence[str]) -> list[tuple[str, ...]]:
    """Return groups of columns such as ``logits_0, logits_1``: one score per class."""
    groups: dict[str, dict[int, str]] = {}
    for column in free:
        parts = _CLASS_SCORE.fullmatch(column.strip().lower())
        if parts and parts[1] in USUAL_NAMES["score"]:
            groups.setdefault(parts[1], {})[int(parts[2])] = column
    return [
        tuple(group[number] for number in range(len(group)))
        for group in groups.values()
        if len(group) > 1 and sorted(group) == list(range(len(group)))
    ]

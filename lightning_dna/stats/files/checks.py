"""Do files of predictions speak about the same examples, and about their metric's domain?

The same questions are asked by ``align`` and by the metrics; here the answers name file, column
and row, because here they are known.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.files.cells import Cells, LabelKind
from lightning_dna.stats.files.tables import TableFile
from lightning_dna.stats.metrics import Metric, check_range
from lightning_dna.stats.predictions import PLAIN, Array, Integers, Predictions

TASK = "task"
"""Name of the task where no column gives one."""

_SHOWN = 5
_AGREED = {"label": "y_true", "weight": "weight", "cluster": "cluster_id"}
_FIELDS = {**_AGREED, "prediction": "y_pred", "score": "y_score"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """The rows of one file that belong to one task, model and seed.

    Attributes:
        file: The file.
        roles: Role to columns of the file.
        rows: (n,) positions in the file's columns.
        task: Name of the task.
        model: Name of the model.
        seed: Training seed.
        empty: Role to columns that were recognised but hold nothing on these rows.
    """

    file: TableFile
    roles: dict[str, tuple[str, ...]]
    rows: Integers
    task: str
    model: str
    seed: int
    empty: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Model, and task and seed where they say more than the default."""
        return f"model '{self.model}', task '{self.task}', seed {self.seed}"

    def cells(self, role: str, number: int = 0) -> Cells:
        """Return these rows of a column of a role."""
        return Cells(file=self.file, column=self.roles[role][number], rows=self.rows)

    def place(self, at: int | np.integer) -> str:
        """Return file and line of one of these rows."""
        return f"{self.file.path} {self.file.at([int(self.rows[at])])}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """Predictions, and where they come from.

    Attributes:
        predictions: The predictions.
        source: File, columns and rows behind them.
        kind: What the true labels of the task are.
    """

    predictions: Predictions
    source: Source
    kind: LabelKind


def check_keys(sources: Sequence[Source]) -> None:
    """Refuse the same task, model and seed from two files.

    Raises:
        StatsError: If one combination stands in two files.
    """
    seen: dict[tuple[str, str, int], Source] = {}
    for source in sources:
        key = (source.task, source.model, source.seed)
        if key in seen:
            raise StatsError(
                f"{seen[key].file.path} and {source.file.path} both hold {source.name}. Give them "
                "different seeds (a column 'seed', or --training-seeds 0,1) or different names (a "
                "column 'model', or --models A,B); parts of one test set belong in one file."
            )
        seen[key] = source


def check_unique(source: Source, ids: Array) -> None:
    """Refuse an id that stands twice.

    Args:
        source: The rows.
        ids: (n,) their ids.

    Raises:
        StatsError: If an id is repeated, with the lines on which it stands.
    """
    values, inverse, counts = np.unique(ids, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(counts > 1)
    if not len(repeated):
        return
    told = []
    for value in repeated[:_SHOWN]:
        rows = source.rows[np.flatnonzero(inverse == value)]
        told.append(f"'{values[value]}' ({source.file.at(rows)})")
    more = f" and {counted(len(repeated) - _SHOWN, 'more id')}" if len(repeated) > _SHOWN else ""
    raise StatsError(
        f"{source.file.path}, column '{source.roles['id'][0]}': repeated for {source.name}: "
        f"{', '.join(told)}{more}. Every example needs one row; several models, tasks or seeds in "
        "one file need a column 'model', 'task' or 'seed'."
    )


def check_agreement(entries: Sequence[Entry], *, inner: bool, by_row: bool) -> None:
    """Refuse entries of one task that differ in their examples or in what is true of them.

    Args:
        entries: Entries of one task.
        inner: Whether examples may be missing; what is true of the common ones must agree still.
        by_row: Whether ids are row numbers.

    Raises:
        StatsError: If ids, labels, weights or clusters differ, with files, columns and rows.
    """
    first, ids = entries[0], entries[0].predictions.example_id
    order = np.argsort(ids)
    for entry in entries[1:]:
        other = entry.predictions.example_id
        if by_row and len(other) != len(ids):
            raise StatsError(
                f"{first.source.file.path} has {counted(len(ids), 'row')} of {first.source.name}, "
                f"{entry.source.file.path} has {len(other)} of {entry.source.name}; with --by-row "
                "every file holds the same examples in the same order."
            )
        place = np.searchsorted(ids, other, sorter=order)
        mine = order[np.minimum(place, len(ids) - 1)]
        common = ids[mine] == other
        surplus = np.flatnonzero(~common)
        lacking = np.flatnonzero(~np.isin(ids, other[common]))
        _check_spelling(first, entry, lacking, surplus)
        if not inner:
            _check_ids(first, entry, lacking, surplus)
        for role in _FIELDS:
            _check_presence(role, first, entry)
        _check_sums(first, entry)
        for role in _AGREED:
            _check_role(role, first, entry, mine[common], np.flatnonzero(common))
    if inner:
        _check_common(entries)


def counted(number: int, thing: str) -> str:
    """Return a number and what it counts, in the plural but for one.

    Example:
        >>> counted(1, "id"), counted(2000, "row")
        ('1 id', '2,000 rows')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _check_spelling(first: Entry, entry: Entry, lacking: Integers, surplus: Integers) -> None:
    """Refuse ids that look alike and are spelled in two forms of Unicode.

    An editor shows them as the same id, and dropping such examples would be a silent loss.
    """
    ids = [one.predictions.example_id for one in (first, entry)]
    if not (len(lacking) and len(surplus)) or ids[0].dtype.kind != "U" or ids[1].dtype.kind != "U":
        return
    mine = {unicodedata.normalize("NFC", str(ids[0][at])): at for at in lacking}
    alike = [
        (mine[composed], at)
        for at in surplus
        if (composed := unicodedata.normalize("NFC", str(ids[1][at]))) in mine
    ]
    if alike:
        told = [
            f"'{ids[0][one]}' ({first.source.place(one)}, {entry.source.place(other)})"
            for one, other in alike[:_SHOWN]
        ]
        more = f" and {len(alike) - _SHOWN} more" if len(alike) > _SHOWN else ""
        raise StatsError(
            f"{entry.source.file.path} and {first.source.file.path}: "
            f"{counted(len(alike), 'id')} look the same and differ in Unicode normalisation only "
            f"(an accent as part of its letter, NFC, or after it, NFD): {', '.join(told)}{more}. "
            "Write the ids of all files in one form, such as unicodedata.normalize('NFC', id)."
        )


def _check_common(entries: Sequence[Entry]) -> None:
    """Refuse entries of one task that have no example in common, with which nothing is left."""
    common = set(entries[0].predictions.example_id.tolist())
    for entry in entries[1:]:
        left = common & set(entry.predictions.example_id.tolist())
        if not left:
            first, ids = entries[0], entry.predictions.example_id
            raise StatsError(
                f"--inner leaves no example of task '{entry.source.task}': with "
                f"{entry.source.file.path} ({entry.source.name}) no id is in every file any more. "
                f"Ids of {first.source.file.path} look like '{first.predictions.example_id[0]}', "
                f"ids of {entry.source.file.path} like '{ids[0]}'; check how they are written."
            )
        common = left


def _check_ids(first: Entry, entry: Entry, lacking: Integers, surplus: Integers) -> None:
    """Refuse an entry that lacks examples of the first, or has some of its own."""
    parts = [
        f"{what}: {_ids_with_places(holder, at)}"
        for what, holder, at in (
            (f"lacks {len(lacking)} of its ids", first, lacking),
            (f"has {counted(len(surplus), 'id')} of its own", entry, surplus),
        )
        if len(at)
    ]
    if parts:
        raise StatsError(
            f"{entry.source.file.path} ({entry.source.name}) does not hold the examples of "
            f"{first.source.file.path} ({first.source.name}); it {'; and it '.join(parts)}. Score "
            "all models on the same examples, or pass --inner to compare on those that all have."
        )


def _ids_with_places(entry: Entry, at: Integers) -> str:
    """List the first ids and where they stand."""
    ids = entry.predictions.example_id
    told = [f"'{ids[one]}' ({entry.source.place(one)})" for one in at[:_SHOWN]]
    more = f" and {len(at) - _SHOWN} more" if len(at) > _SHOWN else ""
    return f"{', '.join(told)}{more}"


def _check_presence(role: str, first: Entry, entry: Entry) -> None:
    """Refuse a column that one of two entries has, unless its cells were used up otherwise."""
    given = [getattr(one.predictions, _FIELDS[role]) is not None for one in (first, entry)]
    if given[0] == given[1]:
        return
    has, lacks = (first, entry) if given[0] else (entry, first)
    columns = has.source.roles.get(role)
    if columns is not None:
        found = "no single score per example" if role in lacks.source.roles else "none"
        if role in lacks.source.empty:
            found = f"an empty one for {lacks.source.name}"
        raise StatsError(
            f"{has.source.file.path} has a {role} column ('{columns[0]}'), "
            f"{lacks.source.file.path} has {found}; give it in all files or in none "
            f"(--{role}-column none leaves it out)."
        )


def _check_sums(first: Entry, entry: Entry) -> None:
    """Refuse sums over examples (nats, correct bases, numerators) that one of two entries lacks."""
    for part in ("numerators", "denominators"):
        given = [getattr(one.predictions, part) for one in (first, entry)]
        for metric in sorted(given[0].keys() ^ given[1].keys()):
            has, lacks = (first, entry) if metric in given[0] else (entry, first)
            raise StatsError(
                f"{has.source.file.path} has {part} of {metric or 'ratios and means'}, "
                f"{lacks.source.file.path} has none; give the columns in all files or in none "
                f"(--{part[:-1]}-column none leaves one out)."
            )


def _check_role(role: str, first: Entry, entry: Entry, mine: Integers, theirs: Integers) -> None:
    """Refuse a property of an example on which two entries disagree."""
    left = getattr(first.predictions, _AGREED[role])
    right = getattr(entry.predictions, _AGREED[role])
    if left is None or right is None:
        return
    differ = np.flatnonzero(left[mine] != right[theirs])
    if len(differ):
        ids = entry.predictions.example_id
        told = [
            f"'{ids[theirs[at]]}' is {left[mine[at]]} in {first.source.place(mine[at])}, "
            f"{right[theirs[at]]} in {entry.source.place(theirs[at])}"
            for at in differ[:_SHOWN]
        ]
        more = f"; and {len(differ) - _SHOWN} more" if len(differ) > _SHOWN else ""
        raise StatsError(
            f"{entry.source.file.path}, column '{entry.source.roles[role][0]}': the {role} of an "
            f"example must be the same for all models, and differs for {len(differ)} of them: "
            f"{'; '.join(told)}{more}. Check that the ids name the same examples."
        )


def check_domain(entries: Sequence[Entry], metrics: Sequence[Metric]) -> None:
    """Refuse numerators outside what a ratio metric can be made of.

    Args:
        entries: Entries that have the columns of the metrics.
        metrics: Rows of ``METRICS``.

    Raises:
        StatsError: If a numerator is outside the metric's range times its denominator.
    """
    for metric in metrics:
        if metric.kind != "moments":
            continue
        for entry in entries:
            given, below = entry.predictions.numerators, entry.predictions.denominators
            numerator = given[metric.name] if metric.name in given else given[PLAIN]
            denominator = np.ones_like(numerator)
            if metric.needs_denominator:
                denominator = below[metric.name] if metric.name in below else below[PLAIN]
            wrong = np.flatnonzero(check_range(metric, numerator, denominator))
            if len(wrong):
                role = next(
                    (name for name in ("numerator", "nats", "bits", "correct")
                     if name in entry.source.roles and _feeds(name, metric.name)),
                    "numerator",
                )  # fmt: skip
                raise entry.source.cells(role).refuse(
                    wrong,
                    f"{metric.name} lies between {metric.low:g} and {metric.high:g}, but here "
                    f"{numerator[wrong[0]]:g} over {denominator[wrong[0]]:g} does not.",
                )


def _feeds(role: str, metric: str) -> bool:
    """Say whether a role can be the numerator of a metric."""
    named = {"nats": ("cross_entropy", "bits_per_base"), "bits": ("bits_per_base",)}
    return metric in named.get(role, ("mlm_accuracy",) if role == "correct" else (metric,))

"""The leakage audit: what of a test set a model has seen before, in training or in pretraining.

Three questions, each with its own measure. *Copies*: the same letters, on either strand, and
whether their labels agree. *Similarity*: the share of a sequence's k-mers in the one training
sequence that holds most of them, and clusters of sequences that are connected by it. *Places*:
bases of the genome in common with a training interval, and the distance to the nearest. No torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_dna.errors import DataError
from lightning_dna.genome.nearest import FAR, Places, nearness
from lightning_dna.tasks.audit_parts import PARTS, AuditPart
from lightning_dna.tasks.chance_relatives import chance_notes
from lightning_dna.tasks.relations import (
    Flags,
    LeakageSettings,
    Relations,
    copies_of,
    similar_to,
)

NEAR = (1_000, 10_000)
ALL = "all"

MEASURES: Mapping[str, str] = {
    "copies": "the same letters stand there, on either strand",
    "other_strand": "of these, only as the reverse complement",
    "conflicts": "of the copies, those of which one there has another label",
    "similar": "a sequence there holds `threshold` or more of its k-mers",
    "clustered": "its cluster of similar sequences has a member there",
    "overlap": "shares a base of the genome with an interval there",
    "same_label": "of these, with an interval of its own label",
    "near": "lies within 1,000 bases of an interval there",
    "nearby": "lies within 10,000 bases of an interval there",
    "identical": "has exactly the interval of another there",
}
"""What is counted: examples of a part of which something is true with regard to another part."""


@dataclass(frozen=True, kw_only=True)
class LeakageRow:
    """Counts of the examples of one part and label with regard to another part.

    Attributes:
        task: Name of the task.
        part: The part that is asked about.
        against: The part that it is compared with; ``part`` itself for copies within it.
        label: A label, or ``all``.
        examples: Number of examples.
        placed: Number of examples of known place; the measures of places are shares of these.
        counts: Measure to number of examples; a measure is absent where it says nothing.
    """

    task: str
    part: str
    against: str
    label: str
    examples: int
    placed: int
    counts: Mapping[str, int]

    def share(self, measure: str) -> float:
        """Return a count as a share, NaN where it says nothing."""
        whole = self.placed if measure in _OF_PLACES else self.examples
        return self.counts[measure] / whole if measure in self.counts and whole else np.nan


_OF_PLACES = ("overlap", "same_label", "near", "nearby", "identical")


@dataclass(frozen=True, kw_only=True, eq=False)
class LeakageAudit:
    """What an audit found.

    Attributes:
        rows: Counts.
        examples: One row for each example of every part but the first, and its nearest relative.
        notes: What a reader should know, in sentences.
        settings: What counted as similar.
    """

    rows: tuple[LeakageRow, ...]
    examples: pd.DataFrame
    notes: tuple[str, ...]
    settings: LeakageSettings = field(default_factory=LeakageSettings)


def audit_parts(
    task: str, parts: Mapping[str, AuditPart], settings: LeakageSettings | None = None
) -> LeakageAudit:
    """Compare the parts of a task with each other: test with train and valid, valid with train.

    Args:
        task: Name of the task.
        parts: Two or three of ``train``, ``valid`` and ``test``.
        settings: What counts as similar.

    Raises:
        DataError: If there are fewer than two parts, one is empty, or parts hold neither sequences
            nor places in common.
    """
    settings = settings or LeakageSettings()
    parts = {name: parts[name] for name in PARTS if name in parts}
    if len(parts) < 2:
        raise DataError(
            f"task '{task}': {', '.join(parts) or 'no part'} is at hand; an audit needs two parts."
        )
    for name, part in parts.items():
        if not len(part):
            raise DataError(f"task '{task}': the {name} part is empty; nothing to audit.")
    with_codes = all(part.codes is not None for part in parts.values())
    if not with_codes and any(part.places is None for part in parts.values()):
        raise DataError(
            f"task '{task}': some parts hold sequences and others only places; give both as"
            " sequences, or the genome that the places are of."
        )
    relations = Relations.of(parts, settings) if with_codes else None
    frames = {name: _identity(task, part) for name, part in parts.items()}
    rows = []
    for name, against in _pairs(list(parts)):
        found = _measured(parts, name, against, relations)
        rows += counted_rows(task, parts[name], against, found.flags) if found.flags else []
        if against == _reference(name, parts) and name != against:
            frames[name] = frames[name].assign(**found.columns)
    notes = [] if relations is None else relations.notes(task)
    notes += [] if relations is None else chance_notes(task, parts, relations)
    notes += [] if relations is None else _frequent_notes(task, frames, relations.settings)
    del frames[next(iter(frames))]  # the first part is what others are compared with
    return LeakageAudit(
        rows=tuple(rows),
        examples=pd.concat(frames.values(), ignore_index=True),
        notes=(*notes, *_place_notes(task, parts), *_wholecopies_of(rows)),
        settings=settings,
    )


def _frequent_notes(
    task: str, frames: Mapping[str, pd.DataFrame], settings: LeakageSettings
) -> list[str]:
    """Say where words that too many sequences share may hide a relative."""
    notes = []
    for name, frame in frames.items():
        if "uncounted" not in frame:
            continue
        below = frame["similarity"].fillna(0) < settings.threshold
        hidden = below & (frame["similarity"].fillna(0) + frame["uncounted"] >= settings.threshold)
        if hidden.any():
            notes.append(
                f"{task}: WARNING: {int(hidden.sum()):,} sequences of {name} may be similar without"
                f" being counted: of their {settings.k}-mers many stand in more than "
                f"{settings.max_occurrences:,} sequences each, and only a few of these were looked "
                f"at. Take a larger k."
            )
    return notes


def joined_audits(audits: list[LeakageAudit]) -> LeakageAudit:
    """Put the audits of several tasks together."""
    return LeakageAudit(
        rows=tuple(row for one in audits for row in one.rows),
        examples=pd.concat([one.examples for one in audits], ignore_index=True),
        notes=tuple(note for one in audits for note in one.notes),
        settings=audits[0].settings,
    )


def _pairs(names: list[str]) -> list[tuple[str, str]]:
    """List which part is compared with which: each with itself, then with those before it."""
    return [(name, other) for at, name in enumerate(names) for other in (name, *names[:at])]


def _reference(name: str, parts: Mapping[str, AuditPart]) -> str:
    """Return the part that single examples are compared with: the first one."""
    return next(iter(parts))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Measured:
    """Flags for the counts and columns for the table of examples, of one part against another."""

    flags: Mapping[str, Flags]
    columns: Mapping[str, npt.NDArray[np.generic]]


def _measured(
    parts: Mapping[str, AuditPart], name: str, against: str, relations: Relations | None
) -> _Measured:
    """Measure one part against another, or against itself."""
    flags: dict[str, Flags] = {}
    columns: dict[str, npt.NDArray[np.generic]] = {}
    if relations is not None:
        found = copies_of(parts, name, against, relations)
        if name != against:
            found, columns = similar_to(parts, name, against, relations, found)
        flags |= found
    mine, others = parts[name].places, parts[against].places
    if mine is not None and others is not None and name != against:
        places, more = _placed(mine, others, parts[name].labels, parts[against].labels)
        flags |= places
        columns |= more
    return _Measured(flags=flags, columns=columns)


def _placed(
    mine: Places, others: Places, labels: npt.NDArray[np.str_], read: npt.NDArray[np.str_]
) -> tuple[dict[str, Flags], dict[str, npt.NDArray[np.generic]]]:
    """Flag what overlaps or lies near intervals of the other part."""
    found = nearness(mine, others)
    flags = {
        "overlap": found.overlap > 0,
        # Overlap with an interval that is longer by so much at each end.
        "near": found.distance < NEAR[0],
        "nearby": found.distance < NEAR[1],
        "identical": found.identical,
    }
    if (labels != "").all() and (read != "").all():
        same = np.zeros(len(mine), dtype=np.bool_)
        for label in np.unique(labels).tolist():
            rows = labels == label
            same[rows] = nearness(mine.select(rows), others.select(read == label)).overlap > 0
        flags["same_label"] = same
    return flags, {
        "chrom": mine.chrom.astype(object),
        "start": mine.start,
        "end": mine.end,
        "overlap_share": np.where(
            mine.known, found.overlap / np.maximum(mine.end - mine.start, 1), np.nan
        ),
        "distance": np.where(found.distance == FAR, np.nan, found.distance),
    }


def _identity(task: str, part: AuditPart) -> pd.DataFrame:
    """Return the first columns of the table of examples."""
    return pd.DataFrame(
        {
            "task": task,
            "part": part.name,
            "example_id": list(part.ids),
            "label": part.labels.astype(object),
        }
    )


def counted_rows(
    task: str, part: AuditPart, against: str, flags: Mapping[str, Flags]
) -> list[LeakageRow]:
    """Count the flags of all examples and of those of each label."""
    placed = np.zeros(len(part), dtype=np.bool_) if part.places is None else part.places.known
    labels = sorted(set(part.labels.tolist()) - {""}, key=lambda text: (len(text), text))
    groups = {ALL: np.ones(len(part), dtype=np.bool_)}
    groups |= {label: part.labels == label for label in labels}
    return [
        LeakageRow(
            task=task,
            part=part.name,
            against=against,
            label=label,
            examples=int(members.sum()),
            placed=int((placed & members).sum()),
            counts={name: int((flags[name] & members).sum()) for name in MEASURES if name in flags},
        )
        for label, members in groups.items()
    ]


def _place_notes(task: str, parts: Mapping[str, AuditPart]) -> list[str]:
    """Say where places cannot be compared."""
    notes = []
    places = {name: part.places for name, part in parts.items() if part.places is not None}
    names = {name: set(one.chrom[one.known].tolist()) for name, one in places.items()}
    for name, other in _pairs(list(places)):
        if name != other and names[name] and names[other] and not names[name] & names[other]:
            notes.append(
                f"{task}: {name} and {other} share no chromosome ({min(names[name])}, ... and "
                f"{min(names[other])}, ...): either the split is by chromosomes, or the files are "
                f"of different assemblies."
            )
    return notes


def _wholecopies_of(rows: list[LeakageRow]) -> list[str]:
    """Warn where all of a part stands in another one."""
    return [
        f"{row.task}: WARNING: every {row.part} example is a copy of one of the {row.against} part;"
        f" are the two files the same?"
        for row in rows
        if row.label == ALL
        and row.part != row.against
        and max(row.counts.get("copies", 0), row.counts.get("identical", 0)) == row.examples
    ]

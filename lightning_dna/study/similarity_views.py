"""Scores of labelled examples by how similar an example is to the training examples."""

from collections.abc import Mapping, Sequence

import numpy as np

from lightning_dna.stats.predictions import Predictions
from lightning_dna.tasks.labelled import ClassificationTask
from lightning_dna.tasks.split_views import (
    similarity_strata,
    similarity_stratum,
    similarity_to_training,
)
from lightning_dna.tasks.task import Task

LEAST_EXAMPLES = 30
"""A stratum with fewer test examples, or of one class only, is not shown."""


def strata_of(tasks: Mapping[str, Task]) -> dict[str, dict[str, str]]:
    """Return, for each task of labelled sequences, the stratum of each test example by its id.

    Views of a task under another split have none: they are there to be compared as a whole.
    """
    found: dict[str, dict[str, str]] = {}
    for name, task in tasks.items():
        if isinstance(task, ClassificationTask) and task.card.split == "original":
            examples = task.examples
            strata = similarity_stratum(similarity_to_training(examples)).tolist()
            found[name] = dict(zip(examples.test.ids, strata, strict=True))
    return found


def similarity_views(
    views: Mapping[str, Sequence[Predictions]], strata: Mapping[str, Mapping[str, str]]
) -> dict[str, list[Predictions]]:
    """Return a view for each stratum of each table, from the least similar to the most.

    Args:
        views: Predictions by task, ``CARD/WAY``.
        strata: Card to example id to stratum.

    Returns:
        Predictions of the examples of a stratum, by ``CARD/WAY/STRATUM``.
    """
    found: dict[str, list[Predictions]] = {}
    for task, entries in views.items():
        known = strata.get(task.partition("/")[0])
        if not known:
            continue
        for stratum in similarity_strata():
            name = f"{task}/{stratum}"
            pieces = [_some(entry, name, known, stratum) for entry in entries]
            if all(_enough(piece) for piece in pieces):
                found[name] = [piece for piece in pieces if piece is not None]
    return found


def _some(
    entry: Predictions, name: str, strata: Mapping[str, str], stratum: str
) -> Predictions | None:
    """Keep the examples of one stratum; ``None`` if there is none."""
    rows = np.array([strata[one] == stratum for one in entry.example_id.tolist()])
    return entry.select(rows, task=name) if rows.any() else None


def _enough(piece: Predictions | None) -> bool:
    """Tell whether a stratum has examples enough, of two classes or more."""
    return (
        piece is not None
        and piece.y_true is not None
        and len(piece.y_true) >= LEAST_EXAMPLES
        and len(np.unique(piece.y_true)) > 1
    )

"""Cross-validation as the Nucleotide Transformer publishes it: the test part stays where it is.

Training and validation examples are one pool, cut into equal folds. Each fold in turn chooses what
validation chooses, the others train, and the model so made predicts the test part. A test example
is then predicted as often as there are folds: by dependent models, so it stays one unit of
resampling, with a row for each fold.
"""

from dataclasses import dataclass

import numpy as np

from lightning_dna.data.examples import Examples, Indices
from lightning_dna.errors import DataError
from lightning_dna.tasks.examples import LabelledTask, ranked_by_class, whole_keys

_SEED = 0  # the folds are part of the task, not of a run


@dataclass(frozen=True, kw_only=True, eq=False)
class Fold:
    """One division of the pool.

    Attributes:
        name: What the ids of its rows end in; empty where there is one division.
        train: Rows of the pool to learn from.
        valid: Rows of the pool that choose.
    """

    name: str
    train: Indices
    valid: Indices


def pool(task: LabelledTask) -> Examples:
    """Put training and validation examples together, in this order."""
    train, valid = task.train, task.valid
    clustered = train.clusters is not None and valid.clusters is not None
    return Examples(
        codes=[*train.codes, *valid.codes],
        labels=np.concatenate([train.labels, valid.labels]),
        ids=(*train.ids, *valid.ids),
        clusters=(*train.cluster_ids, *valid.cluster_ids) if clustered else None,
    )


def divide(task: LabelledTask, folds: int | None) -> list[Fold]:
    """Return the divisions of the pool: the card's own, or one for each fold.

    Classes are spread evenly over the folds; copies of a sequence, and the examples of a cluster,
    are in one fold.

    Args:
        task: The examples.
        folds: Number of folds; ``None``: training and validation as they are.

    Raises:
        DataError: If a fold, or what it leaves to train on, has fewer than two classes.
    """
    n_train, n_valid = len(task.train), len(task.valid)
    if folds is None:
        rows = np.arange(n_train + n_valid, dtype=np.int64)
        return [Fold(name="", train=rows[:n_train], valid=rows[n_train:])]
    everything = pool(task)
    keys = whole_keys(everything)
    home: dict[bytes, int] = {}
    for members in ranked_by_class(everything, keys, _SEED):
        for key in dict.fromkeys(keys[index] for index in members):
            home.setdefault(key, len(home) % folds)
    place = np.array([home[key] for key in keys])
    found = []
    for fold in range(folds):
        train, valid = np.flatnonzero(place != fold), np.flatnonzero(place == fold)
        for part, rows in (("validation", valid), ("training", train)):
            if len(np.unique(everything.labels[rows])) < 2:
                raise DataError(
                    f"fold {fold + 1} of {folds} leaves {len(rows)} {part} examples with fewer "
                    "than two classes; lower 'folds' on the card."
                )
        found.append(Fold(name=f"fold{fold + 1}", train=train, valid=valid))
    return found

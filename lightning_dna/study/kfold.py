"""k-fold over chromosomes: every chromosome is held out once, by a model that has not read it.

A recipe with ``folds: 5`` has a cell for each arm, seed and fold. Each fold is a study of its own,
with its own split, in the same folder; what is merged are the scores: a held-out window counts as
the model scored it that was trained without its chromosome, and baselines likewise. A training
window is scored by the models of several folds, and counts once for each, in the same cluster.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from lightning_dna import settings
from lightning_dna.data.config import DataConfig
from lightning_dna.errors import ConfigError
from lightning_dna.tasks.card import TaskCard

KINDS = ("heldout_mlm",)
"""Kinds of tasks whose scores can be merged over folds."""


def with_folds(shared: Mapping[str, Any], folds: int) -> dict[str, Any]:
    """Return the settings that every arm gets, with the split of the first fold.

    Args:
        shared: The recipe's ``shared``; of ``data.split`` it may hold ``exclude`` and ``seed``.
        folds: Number of folds.

    Raises:
        ConfigError: If it says itself which chromosomes are held out.

    Example:
        >>> with_folds({"data": {"split": {"seed": 3}}}, 5)
        {'data': {'split': {'seed': 3, 'folds': 5, 'fold': 0}}}
    """
    split = (shared.get("data") or {}).get("split") or {}
    if further := [key for key in split if key not in ("exclude", "seed")]:
        raise ConfigError(
            f"folds is {folds}, so that every chromosome is held out once, but data.split names "
            f"{', '.join(further)}; leave that out (exclude and seed are allowed)."
        )
    return settings.merge(shared, {"data": {"split": {"folds": folds, "fold": 0}}})


def check_folds(cards: Iterable[TaskCard], data: DataConfig) -> None:
    """Refuse what cannot be merged over folds.

    Raises:
        ConfigError: If a task has other scores than those of held-out windows, or a genome of
            several has a split of its own.
    """
    for card in cards:
        if card.kind not in KINDS:
            raise ConfigError(
                f"folds: task '{card.name}' is of kind '{card.kind}', and every fold would score "
                f"the same examples; a study over folds takes tasks of kind {', '.join(KINDS)}."
            )
    for name, one in data.genomes.items():
        if one.split is not None:
            raise ConfigError(
                f"folds: data.genomes.{name} has a split of its own, which no fold changes; leave "
                "it out."
            )


def fold_rows(scores: pd.DataFrame, fold: int | None) -> pd.DataFrame:
    """Name the training windows of a fold by it, as several folds have the same ones.

    Args:
        scores: Rows with ``part`` and ``example_id``: scores, or a table of windows.
        fold: The fold; ``None`` outside of k-fold studies, whose rows stay as they are.
    """
    if fold is None:
        return scores
    train = scores["part"] == "train"
    ids = scores["example_id"].where(~train, scores["example_id"].astype(str) + f"@fold{fold}")
    return scores.assign(example_id=ids)


def fold_note(folds: int) -> str:
    """Say what the numbers of a k-fold study are."""
    return (
        f"{folds} folds over chromosomes: every arm was trained {folds} times with each seed, and"
        " each held-out window is scored by the model that was trained without its chromosome (one"
        " fold tests, the next one validates, the others train). Costs and learning curves are"
        " those of the first fold"
    )

"""Groups of the labels of a task as views of their own: ``chromatin-profile/frozen/DHS``."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lightning_dna import atomic
from lightning_dna.stats.label_lanes import label_values, usable_labels
from lightning_dna.stats.predictions import Predictions
from lightning_dna.tasks.card import TaskCard


def groups_of(card: TaskCard) -> Mapping[str, tuple[int, int]]:
    """Return first label and first label after it of each group that a card names.

    Example:
        >>> dict(groups_of(TaskCard(name="bases", kind="heldout_mlm", title="x")))
        {}
    """
    return (card.regions and card.regions.groups) or {}


def label_group_views(
    views: Mapping[str, list[Predictions]], cards: Iterable[TaskCard]
) -> dict[str, list[Predictions]]:
    """Return a view for each group of labels of each table.

    Args:
        views: Predictions of all labels, by task: ``CARD/WAY``.
        cards: The suite's cards.

    Returns:
        Predictions of the labels of a group, by ``CARD/WAY/GROUP``. A group of which no label has
        both classes is left out.
    """
    groups = {card.name: groups_of(card) for card in cards}
    found = {}
    for task, entries in views.items():
        for name, span in groups.get(task.partition("/")[0], {}).items():
            labels = np.asarray(entries[0].labels)[:, slice(*span)]
            if len(usable_labels(labels)):
                view = f"{task}/{name}"
                found[view] = [one.select(columns=slice(*span), task=view) for one in entries]
    return found


def write_label_table(views: Mapping[str, list[Predictions]], path: Path) -> None:
    """Write AUROC and average precision of every label, of every arm and seed.

    Nothing is written where no task has labels. A label with one class only has no value.

    Args:
        views: Predictions by task; those without labels are left out, and those of groups too.
        path: Where the CSV file goes: columns ``task, variant, seed, label, positives, auroc,
            auprc``, with labels counted from 0.
    """
    frames = []
    for task, entries in views.items():
        for entry in entries:
            if entry.labels is None or task.count("/") > 1:
                continue
            labels, scores = np.asarray(entry.labels), np.asarray(entry.label_scores)
            columns = {name: label_values(name, labels, scores) for name in ("auroc", "auprc")}
            positives = labels.sum(axis=0)
            frame = pd.DataFrame({"label": np.arange(len(positives)), "positives": positives})
            frames.append(
                frame.assign(task=task, variant=entry.variant, seed=entry.seed, **columns)
            )
    if frames:
        order = ["task", "variant", "seed", "label", "positives", "auroc", "auprc"]
        atomic.write_text(path, pd.concat(frames)[order].to_csv(index=False))

"""Names of score files: a hash of everything that decides the rows beyond the trained weights.

The fields that the first score files were named by are listed here. A field that came later counts
only where it does not hold its default, so that older scores keep their names.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from lightning_dna import settings
from lightning_dna.tasks.card import PROBES, TaskCard
from lightning_dna.training.config import FineTuneConfig

_FIRST_CARD_FIELDS = frozenset(
    {"name", "kind", "version"}
    | {"window_length", "mask_fraction", "mask_seed", "max_windows", "cluster_length"}
    | {"train_windows", "ways", "files", "carve", "labels", "max_train", "sequence_length"}
    | {"simulated", "n_train", "n_valid", "n_test", "length", "seed"}
)
_FIRST_FINETUNE_FIELDS = frozenset(
    {"epochs", "lr", "batch_size", "weight_decay", "warmup_fraction"}
    | {"gradient_clip", "patience", "metric", "probe_c"}
)
_FIRST_PROBE_C = [0.01, 0.1, 1.0, 10.0]
# Words about a task, what is reported of its scores, where its card and data lie and in which form:
# the data themselves are hashed apart.
_WITHOUT_EFFECT = frozenset(
    {"title", "description", "licence", "citation", "url", "metrics", "baselines", "folder"}
    | {"source", "sha256", "supersedes", "deviation", "layout", "reference"}
    | {"carve_deviation", "matched_gap", "similarity"}
    | {"scores"}  # each is a table, whose name counts: another score is scored alone
)


def task_digest(card: TaskCard, data: Mapping[str, Any]) -> str:
    """Hash a card and its data.

    Args:
        card: The card; words, metrics and baselines do not count.
        data: What the task says of its data.
    """
    plain = _deciding(card, _FIRST_CARD_FIELDS)
    # Each way is a table, whose name counts: another way is scored alone, beside those that are
    # there. The default stands here for all, so that names stay what they were under it.
    plain["ways"] = [*TaskCard.ways]
    if card.rules.by_window:
        plain.pop("unit", None)  # clusters are put on when scores are read
    return settings.fingerprint(
        {name: value for name, value in plain.items() if name not in _WITHOUT_EFFECT} | {**data}
    )


def score_file(card: TaskCard, digest: str, table: str | None, config: FineTuneConfig) -> str:
    """Return the path of a table of scores within the folder of its arm and seed.

    Args:
        card: The card.
        digest: Hash of the card and its data.
        table: The entry of ``card.tables``.
        config: The arm's settings of fine-tuning, which count where the kind is tuned.
    """
    tuned = _deciding(config, _FIRST_FINETUNE_FIELDS) if card.rules.tuned else None
    if tuned is not None and table not in PROBES:
        tuned["probe_c"] = _FIRST_PROBE_C  # of probes alone: other ways keep their names
    name = settings.fingerprint({"task": digest, "way": table, "finetune": tuned})
    stem = card.name if table is None else f"{card.name}-{table}"
    return f"scores/{stem}-{name}.parquet"


def _deciding(one: TaskCard | FineTuneConfig, first: Collection[str]) -> dict[str, Any]:
    """Return settings as plain values, but for later fields that hold their defaults."""
    plain: dict[str, Any] = settings.plain(one)
    later = [field for field in dataclasses.fields(one) if field.name not in first]
    for field in later:
        if getattr(one, field.name) == field.default:
            del plain[field.name]
    return plain

"""What fine-tuning and probes chose and cost, as rows: from the records beside the scores."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_dna import atomic

KEYS = ("arm", "seed", "task", "way")
VALUES = (
    "parameters_updated",
    "seconds",
    "examples_per_second",
    "best_epoch",
    "epochs_run",
    "context_length",
    "chosen_c",
    "c_at_edge",
    "chosen_lr",
    "lr_at_edge",
    "valid_metric",
)
TRIED = ("lr", "valid_metric", "best_epoch", "epochs_run", "seconds")
TRIED_COLUMNS = (*KEYS, "fold", *TRIED, "chosen")


def read_record(table: Path) -> Mapping[str, Any]:
    """Read the record that lies beside a table of scores; one that is missing says nothing."""
    path = table.with_suffix(".json")
    return atomic.read_json(path) if path.is_file() else {}


def finetune_row(key: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one table of scores chose and cost.

    Args:
        key: Arm, seed, task and way.
        record: Its record.
    """
    return {**key, **{name: record.get(name) for name in VALUES}}


def tried_rows(key: Mapping[str, Any], record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for every learning rate that was tried, in every fold.

    Args:
        key: Arm, seed, task and way.
        record: Its record.
    """
    rows = []
    for part in record.get("folds") or [record]:
        for entry in part.get("tried") or []:
            row = {name: entry.get(name) for name in TRIED}
            chosen = entry["lr"] == part.get("chosen_lr")
            rows.append({**key, "fold": part.get("fold", ""), **row, "chosen": chosen})
    return rows

"""Views of per-example scores as the statistics room's predictions: one task name for each view.

A held-out task has the views ``TASK`` (test chromosomes), ``TASK/repeat`` and ``TASK/unique`` (its
strata), with an annotation one for each further stratum, such as ``TASK/codon_1`` or
``TASK/gc_30_40``, ``TASK/train`` (windows of the training chromosomes) and ``TASK/gap`` (training
minus held-out, which is a contrast of two example sets and is made in the comparison). Views by
similarity to training, and the gap at equal composition: :mod:`lightning_dna.study.homology_views`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd

from lightning_dna.genome.repeat_annotation import divergence_names
from lightning_dna.stats.predictions import Predictions
from lightning_dna.study.canary_views import by_repetitions
from lightning_dna.study.label_groups import groups_of
from lightning_dna.tasks.base import ScoresKind
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.similarity_bins import similarity_names
from lightning_dna.tasks.strata import SEPARATOR, annotated_names

MLM_METRICS = ("mlm_accuracy", "bits_per_base", "cross_entropy")
# Cross-entropy is bits per base times ln 2: an estimate people look for, not a second comparison.
COMPARED_MLM = ("mlm_accuracy", "bits_per_base")
_SUMS = ["masked", "correct", "nats"]


def compared_metrics(
    cards: Iterable[TaskCard],
    *,
    annotated: bool = False,
    genomes: Iterable[str] = (),
    canaries: Iterable[str] = (),
) -> dict[str, tuple[str, ...]]:
    """Return the views that a suite can have, each with the metrics that are compared on it.

    Args:
        cards: The suite's cards.
        annotated: Whether held-out bases are told apart by an annotation. Classes of repeats are
            not listed: which there are is known when their file is read.
        genomes: Names of several genomes: each is a view of its own.
        canaries: Names of the groups of canaries that arms were trained with.

    Example:
        >>> card = TaskCard(name="bases", kind="heldout_mlm", title="x", train_windows=False)
        >>> list(compared_metrics([card]))
        ['bases', 'bases/repeat', 'bases/unique']
    """
    found: dict[str, tuple[str, ...]] = {}
    for card in cards:
        if card.rules.by_window:
            parts = ("", "/repeat", "/unique", *(("/train", "/gap") if card.train_windows else ()))
            parts += ("/matched_gap",) if card.matched_gap else ()
            parts += tuple(f"/{name}" for name in similarity_names()) if card.similarity else ()
            names = (*(annotated_names() if annotated else ()), *genomes)
            names += divergence_names() if card.repeat_divergence else ()
            parts += tuple(f"/{name}" for name in names)
            found |= {f"{card.name}{part}": COMPARED_MLM for part in parts}
        else:
            tables = [table_name(card.name, table) for table in card.tables]
            names = tuple(canaries) if card.kind == "canaries" else tuple(groups_of(card))
            groups = [f"{name}/{group}" for name in tables for group in names]
            found |= dict.fromkeys([*tables, *groups], card.metrics)
    return found


def planned_pairs(
    rows: Iterable[str], measured: Mapping[str, Sequence[str]]
) -> list[tuple[str, str]]:
    """Return planned comparisons as (task, metric), with ``*`` filled in from what is measured.

    A row without ``*`` is returned as it stands, measured or not; a pair is returned once.

    Example:
        >>> planned_pairs(["*/full:mcc"], {"a/full": ("mcc",), "a/frozen": ("mcc",)})
        [('a/full', 'mcc')]
    """
    found: dict[tuple[str, str], None] = {}
    for row in rows:
        task, _, metric = row.partition(":")
        if "*" not in row:
            found[task, metric] = None
            continue
        for name, metrics in measured.items():
            if fnmatchcase(name, task):
                found |= {(name, one): None for one in metrics if fnmatchcase(one, metric)}
    return list(found)


def table_name(card: str, table: str | None) -> str:
    """Return the name that one of a card's tables has as a task of the statistics."""
    return card if table is None else f"{card}/{table}"


def mlm_views(scores: pd.DataFrame) -> dict[str, list[Predictions]]:
    """Return every view of held-out scores except the gap.

    Args:
        scores: Rows of ``task, variant, seed, example_id, cluster_id, chrom, part, stratum, masked,
            correct, nats``.
    """
    views: dict[str, list[Predictions]] = {}
    for task, frame in scores.groupby("task", sort=False):
        held_out = frame[frame["part"] == "test"]
        pieces = {f"{task}": held_out}
        pieces |= {f"{task}/{name}": piece for name, piece in _by_stratum(held_out)}
        pieces[f"{task}/train"] = frame[frame["part"] == "train"]
        views |= {
            name: mlm_predictions(name, piece) for name, piece in pieces.items() if len(piece)
        }
    return {name: view for name, view in views.items() if view}


def _by_stratum(scores: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of each name that strata are made of; repeats first, then what comes."""
    labels = scores["stratum"].unique().tolist()
    names = dict.fromkeys(name for label in labels for name in label.split(SEPARATOR))
    known = ("repeat", "unique", *annotated_names())
    for name in (*known, *(name for name in sorted(names) if name not in known)):
        members = [label for label in labels if name in label.split(SEPARATOR)]
        if members:
            yield name, scores[scores["stratum"].isin(members)]


def chromosome_views(scores: pd.DataFrame) -> dict[tuple[str, str, str], list[Predictions]]:
    """Return held-out scores by (task, part, chromosome)."""
    views = {}
    for (task, part, chrom), frame in scores.groupby(["task", "part", "chrom"], sort=False):
        key = (str(task), str(part), str(chrom))
        views[key] = mlm_predictions("/".join(key), frame)
    return {key: view for key, view in views.items() if view}


def mlm_predictions(task: str, frame: pd.DataFrame) -> list[Predictions]:
    """Sum the strata of each window and return one set of predictions for each variant and seed.

    A window without a hidden base in this view says nothing and is left out, in every variant
    alike, as the hidden bases are the same for all.
    """
    keys = ["variant", "seed", "example_id", "cluster_id"]
    units = frame.groupby(keys, sort=False, observed=True, as_index=False)[_SUMS].sum()
    units = units[units["masked"] > 0]
    predictions = []
    for key, rows in units.groupby(["variant", "seed"], sort=False):
        variant, seed = _variant_and_seed(key)
        masked = rows["masked"].to_numpy(np.float64)
        nats = rows["nats"].to_numpy(np.float64)
        predictions.append(
            Predictions(
                task=task,
                variant=variant,
                seed=seed,
                example_id=rows["example_id"].to_numpy(dtype=str),
                cluster_id=rows["cluster_id"].to_numpy(dtype=str),
                numerator={
                    "mlm_accuracy": rows["correct"].to_numpy(np.float64),
                    "bits_per_base": nats / math.log(2),
                    "cross_entropy": nats,
                },
                denominator=masked,
            )
        )
    return predictions


def example_views(scores: pd.DataFrame, kind: ScoresKind) -> dict[str, list[Predictions]]:
    """Return scores of examples by task.

    Args:
        scores: A table of one of the kinds in ``tasks/base.py``, but not of windows.
        kind: Its kind, which says what the columns hold.
    """
    views: dict[str, list[Predictions]] = {}
    scores = by_repetitions(scores) if kind == "canaries" else scores
    for task, frame in scores.groupby("task", sort=False):
        views[str(task)] = []
        for key, rows in frame.groupby(["variant", "seed"], sort=False):
            variant, seed = _variant_and_seed(key)
            views[str(task)].append(
                Predictions(
                    task=str(task),
                    variant=variant,
                    seed=seed,
                    example_id=rows["example_id"].to_numpy(dtype=str),
                    cluster_id=rows["cluster_id"].to_numpy(dtype=str),
                    **_said(rows, kind),
                )
            )
    return views


def _said(rows: pd.DataFrame, kind: ScoresKind) -> dict[str, Any]:
    """Return what a table says of its examples, as fields of predictions."""
    if kind == "classification":
        true, predicted = rows["label"], rows["prediction"]
        return {"y_true": true.to_numpy(np.int64), "y_pred": predicted.to_numpy(np.int64)}
    if kind == "ranking":
        return {
            "y_true": rows["label"].to_numpy(np.int64),
            "y_score": rows["score"].to_numpy(np.float64),
        }
    if kind == "canaries":
        return {"numerator": {"exposure": rows["exposure"].to_numpy(np.float64)}}
    if kind == "multilabel":
        return {"labels": np.stack([*rows["labels"]]), "label_scores": np.stack([*rows["scores"]])}
    counts = [np.stack([*rows[name]]) for name in ("hits", "predicted", "true")]
    return {"counts": np.stack(counts, axis=1)}


def _variant_and_seed(key: Any) -> tuple[str, int]:
    """Return the key of a group in its types."""
    variant, seed = key
    return str(variant), int(seed)


def repeat_for_seeds(scores: pd.DataFrame, seeds: Sequence[int]) -> pd.DataFrame:
    """Give a procedure without randomness the same scores under every seed, which they are."""
    return pd.concat([scores.assign(seed=seed) for seed in seeds], ignore_index=True)


def only(
    views: Mapping[str, list[Predictions]], variants: Iterable[str]
) -> dict[str, list[Predictions]]:
    """Keep some variants of each view; views left empty go."""
    wanted = set(variants)
    kept = {task: [p for p in view if p.variant in wanted] for task, view in views.items()}
    return {task: view for task, view in kept.items() if view}

"""Held-out scores by what is known of their windows: likeness to training, relatives, composition.

The views of a held-out task ``TASK`` whose card says ``similarity: true`` are ``TASK/sim_0_1`` to
``TASK/sim_90_100`` (per cent of a window's 21-mers on the training chromosomes),
``TASK/no_near_duplicate`` and ``TASK/near_duplicate`` (less than 10 %, or not), and
``TASK/match_0_21`` to ``TASK/match_128_up`` (longest exact match in bases). With ``matched_gap:
true`` there is ``TASK/matched_gap``. With ``unit: homology`` the clusters of all its views are
stretches of chromosome united where windows are relatives. Similarity is to the training
chromosomes as they stand in the genome, whatever an arm leaves out of them.
"""

from collections.abc import Iterable, Mapping

import pandas as pd

from lightning_dna.genome.similarity_windows import SIMILARITY_K, null_containment
from lightning_dna.stats.predictions import Predictions
from lightning_dna.study.heldout_similarity import RELATED, cluster_sizes
from lightning_dna.study.matched_gap import MatchedStrata, matched_sides, matched_strata, with_gc
from lightning_dna.study.views import mlm_predictions
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.similarity_bins import NEAR_DUPLICATE, similarity_members

LEAST_WINDOWS = 10
"""A view of fewer windows is not shown."""
_DOMINANT, _FEW = 0.25, 10  # share of the largest cluster, effective clusters


def with_clusters(scores: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put homology clusters in the place of stretches of chromosome, where a card asks for them.

    Args:
        scores: Held-out scores of all tasks.
        tables: Task name to its windows, see `window_tables`.
    """
    wanted = {name: table for name, table in tables.items() if "cluster_id" in table}
    if not wanted or scores.empty:
        return scores
    known = pd.concat([table.assign(task=name) for name, table in wanted.items()])
    clusters = known.set_index(["task", "part", "example_id"])["cluster_id"]
    keys = pd.MultiIndex.from_frame(scores[["task", "part", "example_id"]])
    found = pd.Series(clusters.reindex(keys).to_numpy(), index=scores.index)
    return scores.assign(cluster_id=found.fillna(scores["cluster_id"]))


def window_views(
    scores: pd.DataFrame, tables: Mapping[str, pd.DataFrame]
) -> dict[str, list[Predictions]]:
    """Return the views by similarity to the training chromosomes, least similar first.

    Args:
        scores: Held-out scores of all tasks.
        tables: Task name to its windows.
    """
    views: dict[str, list[Predictions]] = {}
    for task, table in tables.items():
        if "containment" not in table:
            continue
        held_out = table[table["part"] == "test"]
        rows = scores[(scores["task"] == task) & (scores["part"] == "test")]
        members = similarity_members(
            held_out["containment"].to_numpy(), held_out["longest_match"].to_numpy()
        )
        for name, flags in members.items():
            ids = held_out["example_id"][flags]
            piece = rows[rows["example_id"].isin(ids)]
            if piece["example_id"].nunique() >= LEAST_WINDOWS:
                views[f"{task}/{name}"] = mlm_predictions(f"{task}/{name}", piece)
    return views


def matched_tasks(
    scores: pd.DataFrame, tables: Mapping[str, pd.DataFrame], cards: Iterable[TaskCard]
) -> dict[str, tuple[pd.DataFrame, MatchedStrata]]:
    """Return the scores of each task with a matched gap, GC bins put on, and its strata.

    Args:
        scores: Held-out scores of all tasks.
        tables: Task name to its windows.
        cards: The study's cards.
    """
    found = {}
    for card in cards:
        rows = scores[scores["task"] == card.name]
        if card.matched_gap and card.name in tables and len(rows):
            rows = with_gc(rows, tables[card.name])
            found[card.name] = rows, matched_strata(rows)
    return found


def matched_views(
    matched: Mapping[str, tuple[pd.DataFrame, MatchedStrata]],
) -> dict[str, list[Predictions]]:
    """Return both sides of every matched gap, two tasks for each.

    Args:
        matched: What `matched_tasks` returns.
    """
    views: dict[str, list[Predictions]] = {}
    for task, (rows, strata) in matched.items():
        views |= matched_sides(rows, strata, task)
    return views


def window_notes(
    tables: Mapping[str, pd.DataFrame],
    matched: Mapping[str, tuple[pd.DataFrame, MatchedStrata]],
    training_bases: int,
) -> list[str]:
    """Say what a reader of these views must know: clusters, what is matched, what chance shares.

    Args:
        tables: Task name to its windows.
        matched: What `matched_tasks` returns.
        training_bases: Bases of the training chromosomes.
    """
    notes = [
        note
        for task, table in tables.items()
        if "cluster_id" in table
        for part, rows in table.groupby("part", sort=False)
        for note in _cluster_notes(task, str(part), rows)
    ]
    for task, (_, strata) in matched.items():
        notes.append(
            f"{task}: the matched gap is over {len(strata.weights)} strata (repeats, GC content of"
            f" the window, annotation) that both sides have, with {strata.held_out:.1%} of the"
            f" held-out and {strata.training:.1%} of the training hidden bases; {strata.left_out}"
            " strata that one side has hardly or not are left out"
        )
    for task, table in tables.items():
        if "containment" not in table:
            continue
        held_out = table[table["part"] == "test"]
        near = (held_out["containment"] >= NEAR_DUPLICATE).mean()
        notes.append(
            f"{task}: similarity is the share of a window's distinct {SIMILARITY_K}-mers, on either"
            f" strand, that the training chromosomes hold, whatever an arm leaves out of them;"
            f" {near:.1%} of {len(held_out):,} held-out windows have a near-duplicate there"
            f" ({NEAR_DUPLICATE:.0%} or more), and unrelated sequence would share"
            f" {null_containment(SIMILARITY_K, training_bases):.2g} by chance"
        )
    return notes


def _cluster_notes(task: str, part: str, windows: pd.DataFrame) -> list[str]:
    """Say how many clusters one part has, and whether one of them decides."""
    count, effective, largest = cluster_sizes(windows["cluster_id"])
    where = "held-out" if part == "test" else "training"
    said = (
        f"{task}: {len(windows):,} {where} windows in {count:,} clusters (stretches of chromosome,"
        f" united where windows share {RELATED:.0%} of their {SIMILARITY_K}-mers); effectively"
        f" {effective:.1f} clusters, the largest holds {largest:.1%}"
    )
    if largest > _DOMINANT:
        said += ". One family of sequences dominates: intervals are rough, and wide for that reason"
    elif effective < _FEW:
        said += ". So few clusters make intervals rough, and wide for that reason"
    return [said]

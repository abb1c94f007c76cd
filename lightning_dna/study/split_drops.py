"""What a score loses under another split of the same task, with its interval."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from lightning_dna.stats.comparison import compare, estimates
from lightning_dna.stats.predictions import Predictions
from lightning_dna.stats.replicates import subtract
from lightning_dna.study.recipe_sections import ComparisonConfig
from lightning_dna.study.resampling import bootstrap
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.split_views import PAIRED

COLUMNS = (
    *("task", "split", "way", "variant", "metric", "original", "resplit", "drop", "low", "high"),
    *("paired", "n_original", "n_resplit", "signature"),
)


def split_drops(
    views: Mapping[str, Sequence[Predictions]],
    metrics: Mapping[str, Sequence[str]],
    cards: Sequence[TaskCard],
    config: ComparisonConfig,
    variants: Sequence[str],
) -> pd.DataFrame:
    """Return for every arm, way and metric what the score loses from the original split to another.

    A card that names another one of the study as the one that it corrects (``supersedes``) is
    compared with it likewise. Where the test examples are the same, the two scores are compared
    example by example; where they are others, the two sets are resampled independently, and the
    interval is wider.

    Args:
        views: Predictions by task, ``CARD/WAY``.
        metrics: Metrics of each task.
        cards: The study's cards.
        config: How arms are compared: scope, level, resamples, seed.
        variants: Arms and baselines with enough seeds.

    Returns:
        One row per split card, way, variant and metric; columns ``COLUMNS``. No interval is
        corrected for the number of rows.
    """
    rows: list[dict[str, object]] = []
    names = {card.name for card in cards}
    for card in cards:
        original, split = _corrected(card)
        if original == card.name or original not in names:
            continue
        for way in card.tables:
            ending = "" if way is None else f"/{way}"
            before, after = f"{original}{ending}", f"{card.name}{ending}"
            if before not in views or after not in views:
                continue
            found = _paired if card.split in PAIRED else _unpaired
            named = {"task": original, "split": split, "way": way or ""}
            for variant in variants:
                first, second = _of_variant(views[before], views[after], variant)
                if first and second:
                    rows += [
                        {**named, "variant": variant, **row}
                        for row in found(first, second, metrics[before], config)
                    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _corrected(card: TaskCard) -> tuple[str, str]:
    """Return the task that a card is another form of, itself if of none, and what this one is."""
    if card.split == "original" and card.supersedes is not None:
        return card.supersedes, card.name
    return card.name.removesuffix(f"@{card.split}"), card.split


def _of_variant(
    before: Sequence[Predictions], after: Sequence[Predictions], variant: str
) -> tuple[list[Predictions], list[Predictions]]:
    """Return what one variant said under both splits, of the seeds that both have."""
    first, second = ([one for one in side if one.variant == variant] for side in (before, after))
    seeds = {one.seed for one in first} & {one.seed for one in second}
    return [one for one in first if one.seed in seeds], [one for one in second if one.seed in seeds]


def _paired(
    first: Sequence[Predictions],
    second: Sequence[Predictions],
    metrics: Sequence[str],
    config: ComparisonConfig,
) -> Iterator[dict[str, object]]:
    """Compare two sets of predictions of the same examples."""
    task = first[0].task
    # Under its own split a cluster may be named otherwise; examples are resampled as before.
    clusters = {
        name: cluster
        for one in first
        if one.cluster_id is not None
        for name, cluster in zip(one.example_id.tolist(), one.cluster_id.tolist(), strict=True)
    }
    renamed = [
        replace(
            one,
            task=task,
            variant="resplit",
            cluster_id=None
            if one.cluster_id is None
            else np.array([clusters[name] for name in one.example_id.tolist()]),
        )
        for one in second
    ]
    both = [*(replace(one, variant="original") for one in first), *renamed]
    reps = bootstrap(both, metrics, config)
    table = compare(
        {task: reps},
        baseline="resplit",
        scope=config.scope,
        level=config.level,
        multiplicity="none",
        paired_seeds=config.paired_seeds,
    )
    for row in table.rows:
        yield {
            "metric": row.metric,
            "original": row.estimate,
            "resplit": row.baseline_estimate,
            "drop": row.delta,
            "low": row.low,
            "high": row.high,
            "paired": True,
            "n_original": row.n_examples,
            "n_resplit": row.n_examples,
            "signature": row.signature,
        }


def _unpaired(
    first: Sequence[Predictions],
    second: Sequence[Predictions],
    metrics: Sequence[str],
    config: ComparisonConfig,
) -> Iterator[dict[str, object]]:
    """Compare predictions of two sets of examples."""
    sides = [bootstrap(one, metrics, config) for one in (first, second)]
    name = f"{second[0].task}/drop"
    gap = subtract(sides[0], sides[1], task=name, orientation="same")
    values = [
        {row.metric: row for row in estimates({side.task: side}, scope=config.scope).rows}
        for side in sides
    ]
    for row in estimates({name: gap}, scope=config.scope, level=config.level).rows:
        before, after = (one[row.metric] for one in values)
        yield {
            "metric": row.metric,
            "original": before.estimate,
            "resplit": after.estimate,
            "drop": row.estimate,
            "low": row.low,
            "high": row.high,
            "paired": False,
            "n_original": before.n_examples,
            "n_resplit": after.n_examples,
            "signature": row.signature,
        }

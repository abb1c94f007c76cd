"""What the trained weights are worth: each way of using a model minus the same way without them.

Fine-tuning is set against training from the initial weights, a probe of trained weights against one
of the initial weights, a score of variants against that of the initial weights. Both sides see the
same examples, so that the differences are paired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from lightning_dna.stats.comparison import compare
from lightning_dna.stats.predictions import Predictions
from lightning_dna.stats.replicates import Replicates
from lightning_dna.study.recipe_sections import ComparisonConfig
from lightning_dna.study.resampling import bootstrap
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.variant_source import CONTROL_SCORES, read_control

CONTROLS: Mapping[str, str] = {
    "full": "scratch",
    "frozen": "random",
    **{read_control(name)[0]: name for name in CONTROL_SCORES},
}
"""Table of a card to the one that is made in the same way of initial weights."""
_TRAINED, _INITIAL = "trained weights", "initial weights"


def pretraining_gains(
    views: Mapping[str, Sequence[Predictions]],
    metrics: Mapping[str, Sequence[str]],
    cards: Sequence[TaskCard],
    config: ComparisonConfig,
    arms: Sequence[str],
) -> pd.DataFrame:
    """Compare every arm with itself without its training, on all tasks that hold both.

    The first metric of each card is compared. All rows are one family, within which p-values are
    adjusted.

    Args:
        views: Predictions by task, ``CARD/WAY``.
        metrics: Metrics of each task.
        cards: The study's cards; those of another split are left out.
        config: How arms are compared: scope, level, resamples, seed, correction.
        arms: Arms with enough seeds.

    Returns:
        One row per task, way and arm, with the columns of ``comparisons.csv``: ``baseline`` is the
        control; empty where no card holds both.
    """
    families: dict[str, Replicates] = {}
    named: dict[str, tuple[str, str, str]] = {}
    for card in cards:
        if card.split != "original":
            continue
        for way, control in CONTROLS.items():
            task, other = f"{card.name}/{way}", f"{card.name}/{control}"
            if task not in views or other not in views:
                continue
            for arm in arms:
                key = f"{task}/{arm}"
                both = _both(views[task], views[other], arm, key)
                if both:
                    families[key] = bootstrap(both, [metrics[task][0]], config)
                    named[key] = task, control, arm
    if not families:
        return pd.DataFrame()
    used = {metric.name for one in families.values() for metric in one.metrics}
    table = compare(
        families,
        baseline=_INITIAL,
        scope=config.scope,
        level=config.level,
        multiplicity=config.multiplicity,
        equivalence_margin={name: one for name, one in config.margins.items() if name in used}
        or None,
        paired_seeds=config.paired_seeds,
    ).to_frame()
    tasks, controls, variants = zip(*(named[key] for key in table["task"]), strict=True)
    return table.assign(task=tasks, baseline=controls, variant=variants, planned=False)


def _both(
    trained: Sequence[Predictions], control: Sequence[Predictions], arm: str, task: str
) -> list[Predictions]:
    """Return one arm's predictions of both kinds under one task, of the seeds that both have."""
    sides = [[one for one in side if one.variant == arm] for side in (trained, control)]
    seeds = {one.seed for one in sides[0]} & {one.seed for one in sides[1]}
    return [
        replace(one, task=task, variant=variant)
        for side, variant in zip(sides, (_TRAINED, _INITIAL), strict=True)
        for one in side
        if one.seed in seeds
    ]

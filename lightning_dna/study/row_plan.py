"""How many steps each arm takes and how much of its batches is padding, before anything runs."""

from typing import Any

import numpy as np
import pandas as pd

from lightning_dna.data.module import GenomeDataModule
from lightning_dna.errors import ConfigError
from lightning_dna.study.recipe import Arm
from lightning_dna.study.study import Study

_MOST_STEPS = 200  # of an arm that are looked at


def row_frame(study: Study) -> pd.DataFrame:
    """Return one row for each arm that is trained: its steps and what they hold.

    Rows are those that the first seed will read, of at most 200 steps spread over the training.

    Returns:
        ``steps``, ``tokens_per_step``; ``rows_per_step``, the mean; ``shortest`` and ``longest``,
        the longest row of the step where that is least and greatest; ``padding_fraction``;
        ``truncated_bases`` of the whole training.
    """
    arms = [arm for arm in study.arms.values() if arm.source is None]
    return pd.DataFrame([_row(study, arm) for arm in arms])


def _row(study: Study, arm: Arm) -> dict[str, Any]:
    """Return the row of one arm."""
    settings = arm.settings
    sampler = GenomeDataModule(
        settings.data,
        settings.length_schedule,
        tokens_per_step=settings.budget.tokens_per_step,
        total_steps=settings.budget.steps,
        objective=settings.model.objective,
        seed=study.recipe.seeds[0],
        genome=study.genome,
    ).sampler
    count = min(_MOST_STEPS, settings.budget.steps)
    steps = np.linspace(0, settings.budget.steps - 1, count).round().astype(np.int64)
    try:
        sizes = [sampler.plan.stretches(step).size for step in steps.tolist()]
    except ConfigError as error:
        raise ConfigError(f"arm '{arm.name}': {error}") from error
    longest = np.array([size.max() for size in sizes])
    rows = np.array([len(size) for size in sizes])
    positions = int((rows * longest).sum())
    return {
        "arm": arm.name,
        "steps": settings.budget.steps,
        "tokens_per_step": settings.budget.tokens_per_step,
        "rows_per_step": float(rows.mean()),
        "shortest": int(longest.min()),
        "longest": int(longest.max()),
        "padding_fraction": 1 - count * settings.budget.tokens_per_step / positions,
        "truncated_bases": sampler.dropped_tokens,
    }


def row_table(study: Study) -> str:
    """Return :func:`row_frame` as text."""
    frame = row_frame(study)
    if frame.empty:
        return "no arm is trained"
    same = frame["shortest"] == frame["longest"]
    lengths = frame["shortest"].map("{:,}".format)
    lengths = lengths.where(same, lengths + " to " + frame["longest"].map("{:,}".format))
    shown = pd.DataFrame(
        {
            "arm": frame["arm"],
            "steps": frame["steps"].map("{:,}".format),
            "tokens a step": frame["tokens_per_step"].map("{:,}".format),
            "rows a step": frame["rows_per_step"].map("{:,.1f}".format),
            "longest row": lengths,
            "padding": frame["padding_fraction"].map("{:.1%}".format),
            "bases cut off": frame["truncated_bases"].map("{:,}".format),
        }
    )
    return shown.to_markdown(
        index=False, disable_numparse=True, colalign=("left", *["right"] * (shown.shape[1] - 1))
    )

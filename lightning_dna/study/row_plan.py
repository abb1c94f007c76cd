"""How many steps each arm takes and how much of its batches is padding, before anything runs."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_dna.data.module import GenomeDataModule
from lightning_dna.errors import ConfigError
from lightning_dna.study.recipe import Arm
from lightning_dna.study.study import Study

Integers = npt.NDArray[np.int64]

_MOST_STEPS = 200  # of an arm that are looked at
_FEWEST_STEPS, _MOST_BASES = 8, 2**21  # of an arm over longer tokens, whose rows are tokenized


def row_frame(study: Study) -> pd.DataFrame:
    """Return one row for each arm that is trained: its steps and what they hold.

    Rows are those that the first seed will read, of at most 200 steps spread over the training; of
    an arm over longer tokens they are tokenized, those of fewer steps where steps are large.

    Returns:
        ``steps``, ``tokens_per_step`` of the budget; ``rows_per_step``, the mean; ``shortest`` and
        ``longest``, the longest row of the step where that is least and greatest, in the tokens of
        the model; ``padding_fraction`` of its positions; ``truncated_bases`` of the whole training.
    """
    arms = [arm for arm in study.arms.values() if arm.source is None]
    return pd.DataFrame([_row(study, arm) for arm in arms])


def _row(study: Study, arm: Arm) -> dict[str, Any]:
    """Return the row of one arm."""
    settings = arm.settings
    data = GenomeDataModule(
        settings.data,
        settings.length_schedule,
        tokens_per_step=settings.budget.tokens_per_step,
        total_steps=settings.budget.steps,
        objective=settings.model.objective,
        seed=study.recipe.seeds[0],
        genome=study.genome,
    )
    try:
        rows, longest, real = _rows_of_tokens(data) if data.tokens else _rows_of_bases(data)
    except ConfigError as error:
        raise ConfigError(f"arm '{arm.name}': {error}") from error
    return {
        "arm": arm.name,
        "steps": settings.budget.steps,
        "tokens_per_step": settings.budget.tokens_per_step,
        "rows_per_step": float(rows.mean()),
        "shortest": int(longest.min()),
        "longest": int(longest.max()),
        "padding_fraction": 1 - float(real.sum() / (rows * longest).sum()),
        "truncated_bases": data.sampler.dropped_tokens,
    }


def _steps(data: GenomeDataModule, most: int) -> list[int]:
    """Return some steps, evenly spread."""
    total = data.sampler.total_steps
    count = min(most, total)
    return np.linspace(0, total - 1, count).round().astype(np.int64).tolist()  # type: ignore[no-any-return]


def _rows_of_bases(data: GenomeDataModule) -> tuple[Integers, Integers, Integers]:
    """Return rows, length of the longest and real positions of some steps; nothing is read."""
    sampler = data.sampler
    sizes = [sampler.plan.stretches(step).size for step in _steps(data, _MOST_STEPS)]
    rows = np.array([len(size) for size in sizes])
    longest = np.array([size.max() for size in sizes])
    return rows, longest, np.full(len(sizes), sampler.tokens_per_step)


def _rows_of_tokens(data: GenomeDataModule) -> tuple[Integers, Integers, Integers]:
    """Return the same of rows of longer tokens, from batches as the training will have them."""
    most = max(_FEWEST_STEPS, min(_MOST_STEPS, _MOST_BASES // data.sampler.tokens_per_step))
    batches = data.train_dataloader().dataset
    found = [batches[data.sampler[step]] for step in _steps(data, most)]
    shapes = np.array([batch.input_ids.shape for batch in found])
    return shapes[:, 0], shapes[:, 1], np.array([batch.tokens for batch in found])


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

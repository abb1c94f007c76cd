"""A finished search as tables and figures: what won, and what fewer trials would have found."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lightning_dna.atomic import write_text
from lightning_dna.stats.best_of import ExpectedBest, expected_best
from lightning_dna.study.setting_importance import importance
from lightning_dna.study.tune import Search

_DRAWN_ALONE = ("random", "grid")  # samplers whose trials do not look at each other
_VALUE = "valid_bits_per_base"


def write_tuning(search: Search, folder: Path) -> str:
    """Write tables and figures of a search beside it, and return what to print.

    Writes ``best_of.csv``, ``importance.csv``, ``best_of.svg`` and ``sensitivity.svg``.

    Args:
        search: The search.
        folder: Its folder.

    Returns:
        Tables as Markdown, with what to know when reading them.

    Raises:
        UnwritableError: If the folder cannot be written to.
    """
    from lightning_dna.report import tuning_figures

    best = {arm: expected(search, arm) for arm in search.best}
    weights = importance(search)
    write_text(folder / "best_of.csv", _best_of_frame(best).to_csv(index=False))
    write_text(folder / "importance.csv", weights.to_csv(index=False))
    write_text(folder / "best_of.svg", tuning_figures.best_of(best))
    write_text(folder / "sensitivity.svg", tuning_figures.sensitivity(search))
    parts = [
        "Best settings by arm, chosen on validation chromosomes:",
        _winners(search),
        "Expected best of n trials, validation bits per base, with 95% intervals:",
        _best_of_table(best),
        _reading(search),
    ]
    if not weights.empty:
        parts += ["Share of the differences between trials that each setting explains:"]
        parts += [_importance_table(weights)]
    return "\n\n".join((*parts, f"tuned recipe: {search.recipe}"))


def expected(search: Search, arm: str) -> ExpectedBest:
    """Return the expected best of n trials of an arm; a trial without a result is infinitely bad.

    A trial that was stopped as hopeless counts as one without: it would not have been the best.
    """
    mine = search.trials[search.trials["arm"] == arm]
    values = mine[_VALUE].astype(float).to_numpy(dtype=np.float64, copy=True)
    values[np.isnan(values)] = math.inf
    return expected_best(values)


def _winners(search: Search) -> str:
    """Return best settings, trials spent and best value by arm."""
    rows = []
    for arm, chosen in search.best.items():
        mine = search.trials[search.trials["arm"] == arm]
        rows.append(
            {
                "arm": arm,
                "trials": len(mine),
                "pruned": int((mine["state"] == "pruned").sum()),
                "failed": int((mine["state"] == "fail").sum()),
                "valid bits per base": f"{mine[_VALUE].astype(float).min():.4f}",
                **{key: _shown(value) for key, value in chosen.items()},
            }
        )
    return _markdown(rows)


def _best_of_frame(best: dict[str, ExpectedBest]) -> pd.DataFrame:
    """Return the expected best as a table of numbers."""
    columns = ("n", "estimate", "low", "high")
    frames = [
        pd.DataFrame({"arm": arm, **{name: getattr(found, name) for name in columns}})
        for arm, found in best.items()
    ]
    return pd.concat(frames, ignore_index=True)


def _best_of_table(best: dict[str, ExpectedBest]) -> str:
    """Return the expected best of 1, 2, 4, 8 ... and of all trials."""
    rows = []
    for arm, found in best.items():
        total = len(found.n)
        shown = sorted({*(2**power for power in range(total.bit_length())), total})
        row = {"arm": arm}
        for n in (n for n in shown if n <= total):
            low, high = found.low[n - 1], found.high[n - 1]
            ends = f"[{_number(low)}, {_number(high)}]"
            row[f"n = {n}"] = f"{_number(found.estimate[n - 1])} {ends}"
        rows.append(row)
    return _markdown(rows)


def _reading(search: Search) -> str:
    """Say what the expected best can be read for."""
    words = [
        "Intervals are the bootstrap's over trials; near the last n they are too narrow, since no "
        "resample holds a better trial than the best that was made. inf: so few trials may all "
        "fail or be stopped."
    ]
    if search.sampler not in _DRAWN_ALONE:
        words.append(
            f"The sampler {search.sampler} learns from earlier trials, so these are not independent"
            " draws: read the table as the spread of what was tried. sampler: random makes it an"
            " estimate."
        )
    words.append(
        "The values chose the settings, so they flatter them; run the tuned recipe, whose seeds no "
        "trial has used, before arms are compared."
    )
    return " ".join(words)


def _importance_table(weights: pd.DataFrame) -> str:
    """Return settings as columns."""
    rows = []
    for arm, mine in weights.groupby("arm", sort=False):
        shares = {str(row.setting): f"{row.importance:.2f}" for row in mine.itertuples()}
        rows.append({"arm": str(arm), **shares})
    return _markdown(rows)


def _shown(value: Any) -> Any:
    """Write a setting's value."""
    return f"{value:.3g}" if isinstance(value, float) else value


def _number(value: float) -> str:
    """Write bits per base."""
    return f"{value:.4f}" if math.isfinite(value) else "inf"


def _markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Write rows as a Markdown table."""
    return str(pd.DataFrame(rows).fillna("").to_markdown(index=False, disable_numparse=True))

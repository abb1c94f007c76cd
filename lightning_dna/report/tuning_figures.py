"""Figures of a search: the expected best of n trials, and results by setting."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lightning_dna.report.figures import arm_style, grid, house_style, legend, svg
from lightning_dna.stats.best_of import ExpectedBest
from lightning_dna.study.tune import Search

_AXIS = "Validation bits per base"


def best_of(found: Mapping[str, ExpectedBest]) -> str:
    """Draw the expected best against the number of trials, with bands; returns SVG text."""
    with house_style():
        figure, (ax,) = grid(1, 1, row_height=3.3)
        marks = []
        for number, (arm, best) in enumerate(found.items()):
            colour, _ = arm_style(number)
            known = np.isfinite(best.estimate)
            banded = known & np.isfinite(best.low) & np.isfinite(best.high)
            ax.fill_between(
                best.n[banded], best.low[banded], best.high[banded], color=colour, alpha=0.15
            )
            ax.plot(best.n[known], best.estimate[known], color=colour, linewidth=1.7, marker=".")
            marks.append((arm, (colour, "", "")))
        ax.set_xlabel("Trials")
        ax.set_ylabel(f"{_AXIS}, expected best")
        legend(figure, marks)
        return svg(figure, "best-of")


def sensitivity(search: Search) -> str:
    """Draw the result of every finished trial against each setting; returns SVG text."""
    with house_style():
        figure, axes = grid(len(search.space), 2, row_height=2.8)
        trials = search.trials[search.trials["state"] == "complete"]
        for key, ax in zip(search.space, axes, strict=True):
            values = trials[key]
            numeric = pd.api.types.is_numeric_dtype(values) and values.dtype != bool
            names = sorted({str(value) for value in values})
            for number, arm in enumerate(search.best):
                colour, marker = arm_style(number)
                mine = trials["arm"] == arm
                at = (
                    values[mine].astype(float)
                    if numeric
                    else [names.index(str(value)) for value in values[mine]]
                )
                ax.plot(
                    at,
                    trials.loc[mine, "valid_bits_per_base"].astype(float),
                    linestyle="none",
                    marker=marker,
                    markersize=4.5,
                    color=colour,
                    alpha=0.8,
                )
            if not numeric:
                ax.set_xticks(range(len(names)), names)
            elif values.min() > 0 and values.max() / values.min() > 10:
                ax.set_xscale("log")
            ax.set_xlabel(key)
            ax.set_ylabel(_AXIS)
        legend(
            figure,
            [
                (arm, (arm_style(number)[0], "", arm_style(number)[1]))
                for number, arm in enumerate(search.best)
            ],
        )
        return svg(figure, "sensitivity")

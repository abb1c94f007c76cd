"""Accuracy against similarity to the training chromosomes, drawn for every arm."""

import math
from collections.abc import Sequence

from lightning_dna.report.figures import arm_style, grid, house_style, legend, svg
from lightning_dna.report.numbers import display
from lightning_dna.report.results import Results
from lightning_dna.report.series import Mark, Panel
from lightning_dna.report.similarity_table import heads
from lightning_dna.tasks.similarity_bins import CONTAINMENT_PREFIX, containment_bins

CAPTION = (
    "Held-out windows by the share of their 21-mers that stands on the training chromosomes, on"
    " either strand, each arm with its intervals."
)
_NUDGE = 0.09  # arms stand beside each other, not on top


def similarity_panels(results: Results) -> list[Panel]:
    """Return one panel per task and metric: arms by bins of containment.

    ``label`` of a mark is the arm, ``kind`` the bin.
    """
    panels = []
    for head in heads(results):
        bins = [name for name in containment_bins() if f"{head}/{name}" in results.tasks]
        metrics = dict.fromkeys(
            metric for name in bins for metric in results.tasks[f"{head}/{name}"]
        )
        for metric in metrics:
            shown = display(metric)
            marks = tuple(
                Mark(
                    label=arm,
                    value=row.estimate * shown.scale,
                    low=row.low * shown.scale,
                    high=row.high * shown.scale,
                    kind=name,
                )
                for arm in (*results.models, *results.references)
                for name in bins
                if (row := results.estimate(arm, f"{head}/{name}", metric)) is not None
            )
            if any((f"{head}/{name}", metric) in results.compared for name in bins):
                panels.append(Panel(title=head, axis=f"{shown.title}, {shown.unit}", marks=marks))
    return panels


def similarity(panels: Sequence[Panel], *, prefix: str) -> str:
    """Draw every arm over the bins, a line with whiskers for each; returns SVG text."""
    with house_style():
        figure, axes = grid(len(panels), 2, row_height=3.2)
        arms = list(dict.fromkeys(mark.label for panel in panels for mark in panel.marks))
        for panel, ax in zip(panels, axes, strict=True):
            bins = [
                name
                for name in containment_bins()
                if any(mark.kind == name for mark in panel.marks)
            ]
            for number, arm in enumerate(arms):
                mine = {mark.kind: mark for mark in panel.marks if mark.label == arm}
                shift = _NUDGE * (number - (len(arms) - 1) / 2)
                at = [place + shift for place, name in enumerate(bins) if name in mine]
                colour, marker = arm_style(number)
                marks = [mine[name] for name in bins if name in mine]
                ax.plot(
                    at,
                    [mark.value for mark in marks],
                    color=colour,
                    marker=marker,
                    markersize=4.5,
                    linewidth=1.2,
                )
                for place, mark in zip(at, marks, strict=True):
                    if not (math.isnan(mark.low) or math.isnan(mark.high)):
                        ax.plot([place] * 2, [mark.low, mark.high], color=colour, linewidth=1.0)
            names = [name.removeprefix(CONTAINMENT_PREFIX).replace("_", " to ") for name in bins]
            ax.set_xticks(range(len(bins)), names)
            ax.set_xlabel("21-mers in training, %")
            ax.set_ylabel(panel.axis)
        entries = [
            (arm, (*arm_style(number)[:1], "", arm_style(number)[1]))
            for number, arm in enumerate(arms)
        ]
        legend(figure, entries)
        return svg(figure, prefix)

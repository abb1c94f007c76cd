"""What every arm read while it trained, and how steadily it trained."""

import math
from collections.abc import Sequence

from lightning_dna.report.numbers import duration, fixed, magnitude
from lightning_dna.report.results import Results
from lightning_dna.report.rows import ArmCost
from lightning_dna.report.tables import Cell, Column, Table, TableRow

_READ = (
    ("One training", "Steps"),
    ("One training", "Tokens"),
    ("One training", "Time"),
    ("Positions", "Padding, %"),
    ("Windows", "Bases cut off"),
)
_STEADY = (
    ("Loss ratio", "Above 1.2, %"),
    ("Loss ratio", "Above 1.5, %"),
    ("Loss ratio", "Largest"),
    ("Gradient norm", "Median"),
    ("Gradient norm", "95 %"),
    ("Gradient norm", "99 %"),
    ("Gradient norm", "Largest"),
    ("AdamW variance", "Largest"),
    ("AdamW variance", "L1 norm"),
)
_NOTES = {
    "Loss ratio": "share of steps",
    "Gradient norm": "before clipping",
    "AdamW variance": "square root, largest of the curve's points",
}
STABILITY_MEANINGS = (
    "Tokens are real ones; padding is the share of positions that hold none. Bases cut off are"
    " those that truncation drops from the windows it reads. The loss ratio of a step is its loss"
    " over the lowest of all steps before it; spikes are what an unsteady training looks like,"
    " though batches of few targets have them too. Shares and percentiles are means over seeds,"
    " extremes the largest of any seed."
)


def stability_tables(results: Results) -> list[Table]:
    """Return what arms read and how steadily; none for results of a version that kept neither."""
    trained = [results.costs[name] for name in results.models if name in results.costs]
    trained = [cost for cost in trained if not math.isnan(cost.steps)]
    if not trained:
        return []
    tables = (("What each arm read.", _READ, _read), ("How steadily it trained.", _STEADY, _steady))
    return [
        Table(
            title=title,
            columns=_columns(columns),
            rows=tuple(
                TableRow(
                    name=cost.arm,
                    note="",
                    role="baseline" if cost.arm == results.study.baseline else "arm",
                    cells=tuple(Cell(text=text) for text in texts(cost)),
                )
                for cost in trained
            ),
        )
        for title, columns, texts in tables
    ]


def _columns(titles: Sequence[tuple[str, str]]) -> tuple[Column, ...]:
    """Return columns with their groups."""
    return tuple(
        Column(title=title, group=group, group_note=_NOTES.get(group, ""))
        for group, title in titles
    )


def _read(cost: ArmCost) -> list[str]:
    """Write what an arm read."""
    return [
        f"{cost.steps:,.0f}",
        magnitude(cost.tokens),
        fixed(math.nan, 0) if math.isnan(cost.train_seconds) else duration(cost.train_seconds),
        fixed(100 * cost.padding_fraction, 1),
        magnitude(cost.truncated_bases),
    ]


def _steady(cost: ArmCost) -> list[str]:
    """Write how steadily an arm trained."""
    return [
        fixed(100 * cost.loss_ratio_above_1_2, 2),
        fixed(100 * cost.loss_ratio_above_1_5, 2),
        fixed(cost.loss_ratio_max, 2),
        fixed(cost.gradient_norm_p50, 2),
        fixed(cost.gradient_norm_p95, 2),
        fixed(cost.gradient_norm_p99, 2),
        fixed(cost.gradient_norm_max, 2),
        fixed(cost.adam_variance_max, 4),
        fixed(cost.adam_variance_norm_max, 2),
    ]

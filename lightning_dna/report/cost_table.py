"""What every arm costs: what its settings say beside what was measured."""

import math

from lightning_dna.report.numbers import duration, fixed, magnitude
from lightning_dna.report.results import Results
from lightning_dna.report.rows import ArmCost
from lightning_dna.report.tables import Cell, Column, Table, TableRow

_COLUMNS = (
    ("Per base", "Forward"),
    ("Per base", "Training"),
    ("One training", "FLOPs"),
    ("One training", "Time"),
    ("One training", "Tokens per s"),
    ("Memory, MiB", "Kept"),
    ("Memory, MiB", "Predicted"),
    ("Memory, MiB", "Measured"),
)
# Where an arm reads tokens of several bases; what is counted in tokens elsewhere are bases then.
_TOKENS = (("Rows", "Tokens per base"), ("Rows", "Padding, %"))
_NOTES = {"Per base": "floating-point operations", "Memory, MiB": "a training step"}
COST_SOURCES = (
    "In the table beneath, operations and predicted memory follow from the settings; time,"
    " throughput and measured memory are those of the trainings. Kept: what lies between forward"
    " and backward. Measured memory holds the whole process where there is no GPU, its libraries"
    " included."
)


def cost_tables(results: Results) -> list[Table]:
    """Return the table of costs; none for results of a version that did not predict any."""
    trained = [results.costs[name] for name in results.models if name in results.costs]
    if all(math.isnan(cost.training_flops) for cost in trained):
        return []
    longer = any(cost.tokens_per_base > 0 and cost.tokens_per_base != 1 for cost in trained)
    titles = (*_TOKENS, *_COLUMNS) if longer else _COLUMNS
    columns = tuple(
        Column(title=title, group=group, group_note=_NOTES.get(group, ""))
        for group, title in titles
    )
    rows = tuple(
        TableRow(
            name=cost.arm,
            note=f"{magnitude(cost.parameters)} parameters",
            role="baseline" if cost.arm == results.study.baseline else "arm",
            cells=tuple(Cell(text=text) for text in _texts(cost, longer=longer)),
        )
        for cost in trained
    )
    return [Table(title="What each arm costs.", columns=columns, rows=rows)]


def _texts(cost: ArmCost, *, longer: bool) -> list[str]:
    """Write the costs of an arm in the order of the columns."""
    tokens = (
        [fixed(cost.tokens_per_base, 3), fixed(100 * cost.padding_fraction, 1)] if longer else []
    )
    return [
        *tokens,
        magnitude(cost.flops_per_base),
        magnitude(cost.training_flops_per_base),
        magnitude(cost.training_flops),
        fixed(math.nan, 0) if math.isnan(cost.train_seconds) else duration(cost.train_seconds),
        magnitude(cost.tokens_per_second),
        fixed(cost.activation_mib, 0),
        fixed(cost.predicted_memory_mib, 0),
        fixed(cost.peak_memory_mib, 0),
    ]

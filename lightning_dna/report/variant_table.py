"""What ``lightning-dna variants score`` prints."""

from collections.abc import Sequence

import pandas as pd

from lightning_dna.report.plain_text import plain_table
from lightning_dna.stats.tables import EstimateTable


def variant_text(
    notes: Sequence[str], frame: pd.DataFrame, table: EstimateTable | None = None
) -> str:
    """Return the notes, how many variants were scored, and how well each score ranks them.

    Args:
        notes: What was left out.
        frame: The table that was written.
        table: AUROC and AUPRC of each score; ``None`` where the variants have no labels.
    """
    lines = [*notes, f"{len(frame)} variants scored"]
    if table is None:
        return "\n".join(lines) + "\n"
    positive = int(frame["label"].sum())
    first = table.rows[0]
    lines[-1] += (
        f", {positive} positive and {len(frame) - positive} negative; 95 % intervals from "
        f"{first.n_units} units of resampling ({first.unit})"
    )
    headers = ("score", "metric", "estimate", "low", "high", "remarks")
    rows = [
        (
            row.variant,
            row.metric,
            *(f"{value:.3f}" for value in (row.estimate, row.low, row.high)),
            ", ".join(row.flags),
        )
        for row in table.rows
    ]
    return "\n".join(lines) + "\n\n" + plain_table(headers, rows, "llrrrl") + "\n"

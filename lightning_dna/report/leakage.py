"""A leakage audit as text, Markdown, CSV and JSON, and the table of its examples."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from lightning_dna.atomic import replacing, write_text
from lightning_dna.errors import unknown_name
from lightning_dna.report.numbers import ABSENT
from lightning_dna.report.plain_text import plain_table, wrapped
from lightning_dna.tasks.leakage import ALL, MEASURES, LeakageAudit, LeakageRow

ExampleForm = Literal["parquet", "csv"]

_TITLES: Mapping[str, str] = {
    "copies": "copies",
    "other_strand": "other strand",
    "conflicts": "conflicts",
    "similar": "similar",
    "clustered": "in cluster",
    "overlap": "overlap",
    "same_label": "same label",
    "near": "< 1 kb",
    "nearby": "< 10 kb",
    "identical": "identical",
}
# Few enough to be looked at one by one: written as numbers, the others as shares.
_COUNTED = ("copies", "other_strand", "conflicts", "identical")


def write_leakage(
    audit: LeakageAudit, folder: Path, *, title: str, examples: ExampleForm = "parquet"
) -> tuple[Path, ...]:
    """Write ``table.csv``, ``table.md`` and the table of examples.

    Args:
        audit: The audit.
        folder: Where to write; made when missing.
        title: Heading of the Markdown file.
        examples: ``examples.parquet`` or ``examples.csv``.

    Returns:
        The files.

    Raises:
        UnwritableError: If the folder cannot be written to.
    """
    table, page = folder / "table.csv", folder / "table.md"
    write_text(table, csv_text(audit))
    write_text(page, f"# {title}\n\n{markdown_text(audit)}")
    single = folder / f"examples.{examples}"
    with replacing(single) as temporary:
        if examples == "csv":
            audit.examples.to_csv(temporary, index=False)
        else:
            audit.examples.to_parquet(temporary, index=False)
    return table, page, single


def leakage_text(audit: LeakageAudit, form: str) -> str:
    """Write an audit for stdout.

    Args:
        audit: The audit.
        form: ``"terminal"``, ``"markdown"``, ``"csv"`` or ``"json"``.

    Returns:
        Text that ends in one line end.

    Raises:
        ConfigError: If there is no such form.
    """
    if form not in FORMS:
        raise unknown_name("format", form, FORMS, where="--format")
    return FORMS[form](audit)


def terminal_text(audit: LeakageAudit) -> str:
    """Write one table for each task, and what its columns mean below."""
    blocks = []
    for task in dict.fromkeys(row.task for row in audit.rows):
        rows = [row for row in audit.rows if row.task == task]
        measures = _measures(rows)
        headers = ["part", "in", "label", "examples", *(_TITLES[one] for one in measures)]
        lines = [_cells(row, measures) for row in rows]
        table = plain_table(headers, lines, "lll" + "r" * (len(headers) - 3))
        blocks.append(f"{task}\n{table}")
    blocks.append("\n".join(wrapped(note) for note in (*_meanings(audit), *audit.notes)))
    return "\n\n".join(blocks) + "\n"


def markdown_text(audit: LeakageAudit) -> str:
    """Write one Markdown table of all tasks, and what its columns mean below."""
    measures = _measures(audit.rows)
    headers = ["task", "part", "in", "label", "examples", *(_TITLES[one] for one in measures)]
    lines = [
        " | ".join(headers),
        " | ".join(["---"] * 4 + ["---:"] * (len(headers) - 4)),
        *(" | ".join([row.task, *_cells(row, measures)]) for row in audit.rows),
    ]
    body = "\n".join(f"| {line} |" for line in lines)
    notes = "\n".join(f"- {note}" for note in (*_meanings(audit), *audit.notes))
    return f"{body}\n\n{notes}\n"


def csv_text(audit: LeakageAudit) -> str:
    """Write one line for each row and measure, in full precision."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["task", "part", "against", "label", "examples", "placed", "measure", "count", "share"]
    )
    for row in audit.rows:
        for measure, count in row.counts.items():
            share = row.share(measure)
            writer.writerow(
                [
                    *(row.task, row.part, row.against, row.label, row.examples, row.placed),
                    *(measure, count, "" if math.isnan(share) else f"{share:.6f}"),
                ]
            )
    return stream.getvalue()


def json_text(audit: LeakageAudit) -> str:
    """Write the audit as JSON, without the table of examples."""
    content = {
        "rows": [
            {
                "task": row.task,
                "part": row.part,
                "against": row.against,
                "label": row.label,
                "examples": row.examples,
                "placed": row.placed,
                "counts": dict(row.counts),
            }
            for row in audit.rows
        ],
        "k": audit.settings.k,
        "threshold": audit.settings.threshold,
        "strands": "both" if audit.settings.both_strands else "one",
        "notes": list(audit.notes),
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


FORMS: Mapping[str, Callable[[LeakageAudit], str]] = {
    "terminal": terminal_text,
    "markdown": markdown_text,
    "csv": csv_text,
    "json": json_text,
}
"""Ways to write an audit, by name."""


def _measures(rows: Sequence[LeakageRow]) -> list[str]:
    """Return the measures that some row has."""
    return [name for name in MEASURES if any(name in row.counts for row in rows)]


def _cells(row: LeakageRow, measures: Sequence[str]) -> list[str]:
    """Return one line of a table, without the task."""
    against = "itself" if row.against == row.part else row.against
    label = "" if row.label == ALL else row.label
    return [row.part, against, label, f"{row.examples:,}", *(_cell(row, m) for m in measures)]


def _cell(row: LeakageRow, measure: str) -> str:
    """Write one count, or its share."""
    if measure not in row.counts:
        return ABSENT
    if measure in _COUNTED:
        return f"{row.counts[measure]:,}"
    share = row.share(measure)
    return ABSENT if math.isnan(share) else f"{share:.2%}"


def _meanings(audit: LeakageAudit) -> list[str]:
    """Say what the columns are."""
    settings = audit.settings
    values = {"threshold": f"{settings.threshold:g}"}
    words = {
        name: text.replace("`threshold`", values["threshold"]) for name, text in MEASURES.items()
    }
    if not settings.both_strands:
        words["copies"] = "the same letters stand there, on the same strand"
    told = "; ".join(f"{_TITLES[name]}: {words[name]}" for name in _measures(audit.rows))
    return [f"Of the examples of a part, how many have it in another part. {told}."]

"""An audit of repeat policies as text, Markdown, CSV, JSON and a figure."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

from lightning_dna.atomic import write_text
from lightning_dna.data.audit import Audit, AuditRow, Group
from lightning_dna.errors import unknown_name
from lightning_dna.report.numbers import ABSENT
from lightning_dna.report.plain_text import plain_table, wrapped
from lightning_dna.report.series import Mark, Panel

_HEADINGS: Mapping[str, str] = {
    "genome": "Whole genome",
    "chromosome": "By chromosome",
    "repeat class": "By repeat class",
    "region": "By region",
    "GC content": "By share of G and C in blocks of 1,000 bases",
}
_CROWDED = 40  # chromosomes that the figure shows at most, the longest first


def write_audit(audit: Audit, folder: Path, *, title: str) -> tuple[Path, ...]:
    """Write ``table.csv``, ``table.md`` and ``figure.svg``.

    Args:
        audit: The audit.
        folder: Where to write; made when missing.
        title: Heading of the Markdown file.

    Returns:
        The files.

    Raises:
        UnwritableError: If the folder cannot be written to.
    """
    from lightning_dna.report import figures

    contents = {
        "table.csv": csv_text(audit),
        "table.md": f"# {title}\n\n{markdown_text(audit)}",
        "figure.svg": figures.shares(audit_panels(audit), prefix="audit"),
    }
    for name, text in contents.items():
        write_text(folder / name, text)
    return tuple(folder / name for name in contents)


def audit_text(audit: Audit, form: str) -> str:
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


def terminal_text(audit: Audit) -> str:
    """Write one table for each group, and the notes below."""
    blocks = []
    for group, rows in _groups(audit):
        headers = ["", "bases", "in repeats", *audit.policies]
        table = plain_table(
            headers, [_cells(audit, row) for row in rows], "l" + "r" * (len(headers) - 1)
        )
        blocks.append(f"{_HEADINGS[group]}: share lost\n{table}")
    blocks.append("\n".join(wrapped(note) for note in _notes(audit)))
    return "\n\n".join(blocks) + "\n"


def markdown_text(audit: Audit) -> str:
    """Write one Markdown table for each group, and the notes below."""
    blocks = []
    for group, rows in _groups(audit):
        headers = [group, "bases", "in repeats", *audit.policies]
        lines = [
            " | ".join(headers),
            " | ".join(["---", *["---:"] * (len(headers) - 1)]),
            *(" | ".join(_cells(audit, row)) for row in rows),
        ]
        body = "\n".join(f"| {line} |" for line in lines)
        blocks.append(f"## {_HEADINGS[group]}: share lost\n\n{body}")
    blocks.append("\n".join(f"- {note}" for note in _notes(audit)))
    return "\n\n".join(blocks) + "\n"


def csv_text(audit: Audit) -> str:
    """Write one line for each part and policy, in full precision."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["group", "name", "bases", "repeat_bases", "policy", "lost_bases", "lost_share"]
    )
    for row in audit.rows:
        for policy in audit.policies:
            share = row.share(policy)
            writer.writerow(
                [
                    *(row.group, row.name, row.bases, row.repeat_bases, policy),
                    repr(round(row.lost[policy], 6)),
                    "" if math.isnan(share) else f"{share:.6f}",
                ]
            )
    return stream.getvalue()


def json_text(audit: Audit) -> str:
    """Write the audit as JSON; shares of nothing are null."""
    rows = [
        {
            "group": row.group,
            "name": row.name,
            "bases": row.bases,
            "repeat_bases": row.repeat_bases,
            "lost_bases": {p: round(row.lost[p], 6) for p in audit.policies},
            "lost_share": {
                p: round(row.lost[p] / row.bases, 6) if row.bases else None for p in audit.policies
            },
        }
        for row in audit.rows
    ]
    content = {
        "rows": rows,
        "junctions": audit.junctions,
        "fragments": audit.fragments[0],
        "short_fragments": audit.fragments[1],
        "notes": list(audit.notes),
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


FORMS: Mapping[str, Callable[[Audit], str]] = {
    "terminal": terminal_text,
    "markdown": markdown_text,
    "csv": csv_text,
    "json": json_text,
}
"""Ways to write an audit, by name."""


def audit_panels(audit: Audit) -> list[Panel]:
    """Return the panels of the figure: a panel for each group but the whole genome."""
    panels = []
    for group, rows in _groups(audit):
        if group == "genome":
            continue
        shown = rows
        if group == "chromosome" and len(rows) > _CROWDED:
            longest = sorted(rows, key=lambda row: -row.bases)[:_CROWDED]
            shown = tuple(row for row in rows if row in longest)
        marks = tuple(
            Mark(
                label=row.name,
                value=100 * row.share(policy),
                low=math.nan,
                high=math.nan,
                kind=policy,
            )
            for row in shown
            for policy in audit.policies
            if row.bases
        )
        panels.append(Panel(title=_HEADINGS[group], axis="bases lost, %", marks=marks))
    return panels


def _groups(audit: Audit) -> list[tuple[Group, tuple[AuditRow, ...]]]:
    """Return the groups that occur."""
    groups: tuple[Group, ...] = get_args(Group)
    return [(group, audit.of(group)) for group in groups if audit.of(group)]


def _cells(audit: Audit, row: AuditRow) -> list[str]:
    """Return one line of a table."""
    shares = [row.share(policy) for policy in audit.policies]
    inside = row.repeat_bases / row.bases if row.bases else math.nan
    written = [ABSENT if math.isnan(share) else f"{share:.2%}" for share in (inside, *shares)]
    return [row.name, f"{row.bases:,}", *written]


def _notes(audit: Audit) -> list[str]:
    """Return what stands below the tables."""
    kept, short = audit.fragments
    return [
        f"remove-split leaves {kept:,} fragments, of which {short:,} are too short to be used.",
        f"remove-concat joins sequence at {audit.junctions:,} places where the genome has none.",
        *audit.notes,
    ]

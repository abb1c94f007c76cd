"""A comparison of prediction files as a table: terminal, Markdown, LaTeX, CSV, JSON, HTML."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lightning_dna.errors import unknown_name
from lightning_dna.report.comparison_notes import (
    all_rows,
    flag_marks,
    flag_notes,
    is_tested,
    notes,
    rows_by_place,
    shown_as,
    signatures,
    title,
    verdict_word,
)
from lightning_dna.report.exports import latex, latex_tables, markdown, markdown_table
from lightning_dna.report.numbers import ABSENT, p_equation, p_value
from lightning_dna.report.plain_text import plain_table, wrapped
from lightning_dna.report.tables import Cell, Column, Table, TableRow, for_terminal
from lightning_dna.report.wording import reason_untested
from lightning_dna.stats.files.checks import TASK
from lightning_dna.stats.files.comparison import FileComparison
from lightning_dna.stats.tables import ComparisonRow, ComparisonTable, columns_of

FORMATS = ("terminal", "markdown", "latex", "csv", "json", "html")

_METRICS_PER_TABLE = 2


def write_comparison(found: FileComparison, form: str) -> str:
    """Write a comparison in one of the formats.

    ``csv`` and ``json`` hold the rows of the comparison in full precision and nothing else; the
    others add the value of each model and notes on how to read the table.

    Args:
        found: What ``compare_files`` returned.
        form: One of ``FORMATS``.

    Returns:
        Text that ends in one line end.

    Raises:
        ConfigError: If there is no such format.
    """
    if form == "json":
        return ComparisonTable(rows=all_rows(found)).to_json() + "\n"
    if form == "csv":
        return _csv(found)
    if form == "markdown":
        return _markdown(found)
    if form == "latex":
        return _latex(found)
    if form == "terminal":
        return _terminal(found)
    if form == "html":
        from lightning_dna.report.comparison_page import comparison_page  # here: loads jinja2

        return comparison_page(found, comparison_tables(found))
    raise unknown_name("format", form, FORMATS, where="--format")


def comparison_tables(found: FileComparison) -> list[Table]:
    """Return models by metrics, a table for each task, cut where it would be too wide."""
    tables = []
    places = rows_by_place(found)
    for task in dict.fromkeys(task for task, _ in places):
        metrics = [metric for other, metric in places if other == task]
        for start in range(0, len(metrics), _METRICS_PER_TABLE):
            chunk = metrics[start : start + _METRICS_PER_TABLE]
            tables.append(_table(found, task, chunk, places))
    return tables


def _table(
    found: FileComparison,
    task: str,
    metrics: Sequence[str],
    places: Mapping[tuple[str, str], list[ComparisonRow]],
) -> Table:
    """Build the table of one task and some metrics."""
    columns = []
    for metric in metrics:
        shown = shown_as(found, places[task, metric])
        note = ", ".join(part for part in (shown.unit, shown.direction) if part)
        titles = ("Value", "Difference", "Detectable", "Verdict")
        columns += [Column(title=name, group=shown.title, group_note=note) for name in titles]
    rows = []
    models = [found.baseline, *(row.variant for metric in metrics for row in places[task, metric])]
    for model in dict.fromkeys(models):
        cells: list[Cell] = []
        for metric in metrics:
            cells += _cells(found, places[task, metric], model)
        role = "baseline" if model == found.baseline else "arm"
        rows.append(TableRow(name=model, note="", role=role, cells=tuple(cells)))
    heading = "" if task == TASK else f"{task}."
    return Table(
        title=heading,
        columns=tuple(columns),
        rows=tuple(rows),
        first="Model",
        remark=f"Difference: model minus {found.baseline}.",
    )


def _cells(
    found: FileComparison, rows: Sequence[ComparisonRow], model: str
) -> tuple[Cell, Cell, Cell, Cell]:
    """Return the cells of one model for the rows of one task and metric."""
    shown = shown_as(found, rows)
    value = _value(found, rows, model)
    row = next((row for row in rows if row.variant == model), None)
    if row is None:
        word = "baseline" if model == found.baseline else ABSENT
        return value, Cell(text=ABSENT), Cell(text=ABSENT), Cell(text=word, numeric=False)
    return (
        value,
        Cell(
            text=shown.signed(row.delta),
            detail=shown.interval(row.low, row.high, sign=True),
            tooltip=row.signature,
        ),
        Cell(text=shown.number(row.mde80), tooltip=row.signature),
        Cell(
            text=verdict_word(row),
            detail=_p_values(row) + _marked(found, row),
            tooltip=row.signature,
            verdict=row.verdict,
            numeric=False,
        ),
    )


def _value(found: FileComparison, rows: Sequence[ComparisonRow], model: str) -> Cell:
    """Return the value of a model; without an interval where only its difference has one."""
    shown, place = shown_as(found, rows), (rows[0].task, rows[0].metric)
    for one in (*found.estimates.rows, *found.suite_estimates.rows):
        if (one.task, one.metric, one.variant) == (*place, model):
            return Cell(
                text=shown.number(one.estimate),
                detail=shown.interval(one.low, one.high),
                tooltip=one.signature,
            )
    for row in rows:
        if model in (row.variant, row.baseline):
            own = row.estimate if model == row.variant else row.baseline_estimate
            return Cell(text=shown.number(own))
    return Cell(text=ABSENT)


def _p_values(row: ComparisonRow) -> str:
    """Write the p-value and the adjusted one, or why there is none."""
    if not is_tested(row):
        return reason_untested(row.flags)
    adjusted = "" if math.isnan(row.p_adjusted) else f", adj. {p_value(row.p_adjusted)}"
    return p_equation(row.p) + adjusted


def _marked(found: FileComparison, row: ComparisonRow) -> str:
    """Return the letters of a row's flags."""
    marks = flag_marks(found)
    return "".join(f" ({marks[flag]})" for flag in marks if flag in row.flags)


def _terminal(found: FileComparison) -> str:
    """Write one block for each task and metric, then the notes, in plain letters."""
    level = f"{found.choices.level:.0%}"
    headers = ["model", "value", level, f"minus {found.baseline}", level, "p", "adj. p", "verdict"]
    blocks = [title(found)]
    for (task, _), rows in rows_by_place(found).items():
        shown = shown_as(found, rows)
        models = dict.fromkeys([found.baseline, *(row.variant for row in rows)])
        cells = [_terminal_line(found, rows, model) for model in models]
        table = plain_table(headers, cells, "lrlrlrrl")
        unit = ", ".join(part for part in (shown.unit, shown.direction) if part)
        place = shown.title if task == TASK else f"{task}: {shown.title}"
        blocks.append(f"{place} ({unit})\n{table}" if unit else f"{place}\n{table}")
    lines = [wrapped(line) for line in (*flag_notes(found), *notes(found))]
    blocks.append("\n".join([*lines, *signatures(found)]))
    return for_terminal("\n\n".join(blocks)) + "\n"


def _terminal_line(found: FileComparison, rows: Sequence[ComparisonRow], model: str) -> list[str]:
    """Write one line of a block."""
    value, difference, _, verdict = _cells(found, rows, model)
    start = [model, value.text, value.detail, difference.text, difference.detail]
    row = next((row for row in rows if row.variant == model), None)
    if row is None:
        return [*start, "", "", verdict.text]
    why = "" if is_tested(row) else f": {reason_untested(row.flags)}"
    return [
        *start,
        p_value(row.p),
        p_value(row.p_adjusted),
        f"{verdict_word(row)}{why}{_marked(found, row)}",
    ]


def _markdown(found: FileComparison) -> str:
    """Write the tables and notes as Markdown."""
    blocks = [f"**{markdown(title(found))}**"]
    for table in comparison_tables(found):
        if table.title:
            blocks.append(f"### {markdown(table.title.rstrip('.'))}")
        blocks.append(markdown_table(table))
    lines = [markdown(note) for note in (*flag_notes(found), *notes(found))]
    lines += [f"`{signature}`" for signature in signatures(found)]
    blocks.append("\n".join(f"- {line}" for line in lines))
    return "\n\n".join(blocks) + "\n"


def _latex(found: FileComparison) -> str:
    """Write the tables as LaTeX: flags explained below, other notes in comments and caption."""
    tables = [replace(table, remark="") for table in comparison_tables(found)]
    comments = [*notes(found), *signatures(found)]
    caption = (
        f"{title(found)} Brackets are {found.choices.level:.0%} intervals; a difference is a model "
        f"minus {found.baseline}."
    )
    head = "".join(f"% {latex(line)}\n" for line in comments)
    flags = "\\par\n".join(latex(line) for line in flag_notes(found))
    below = f"\n\n\\smallskip\n{{\\footnotesize\\raggedright\n{flags}\\par}}" if flags else ""
    text = latex_tables(tables, name=f"compare-{found.baseline}", caption=caption, below=below)
    return head + text


def _csv(found: FileComparison) -> str:
    """Write the rows in full precision, flags joined by semicolons; what is absent is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = columns_of(ComparisonRow)
    writer.writerow(names)
    for row in all_rows(found):
        writer.writerow([_plain(getattr(row, name)) for name in names])
    return stream.getvalue()


def _plain(value: object) -> str:
    """Write a field as text that reads back to the same value."""
    if isinstance(value, tuple):
        return ";".join(map(str, value))
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ""
    return str(value)

"""The tables of the report as plain cells, which HTML, Markdown and LaTeX write alike."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tabulate import tabulate

from lightning_dna.report.numbers import (
    ABSENT,
    MINUS,
    NO_BREAK,
    display,
    fixed,
    magnitude,
    p_equation,
    p_value,
)
from lightning_dna.report.results import Results, is_part
from lightning_dna.report.rows import Difference, Estimate, is_gap
from lightning_dna.report.wording import metric_title, task_title, verdict_label

# More (task, metric) pairs than this make a table too wide to print; it is cut into several.
PAIRS_PER_TABLE = 2
COST = "Cost"  # heading of the columns of cost

VERDICT_SYMBOLS = {
    "better": "▲",
    "worse": "▼",
    "equivalent": "≈",
    "non-inferior": "△",
    "inconclusive": "○",
    "neutral": "◆",
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: a main line, a smaller second line, and the signature of its number.

    Attributes:
        text: Main line.
        detail: Second line, may be empty.
        tooltip: Signature, may be empty.
        verdict: Set for a verdict cell: the word shown as a badge is ``text``, this is its colour.
        numeric: Whether it is aligned to the right.
    """

    text: str
    detail: str = ""
    tooltip: str = ""
    verdict: str = ""
    numeric: bool = True


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column; neighbours with the same group share a heading above them."""

    title: str
    group: str = ""
    group_note: str = ""


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One row: an arm or a simple baseline.

    Attributes:
        name: Arm.
        note: What the arm changes, or why something is missing.
        role: ``"baseline"``, ``"arm"`` or ``"reference"`` (a simple baseline).
        cells: One per column.
    """

    name: str
    note: str
    role: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table: title, columns, rows, what its rows are, and a remark beneath."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    first: str = "Arm"
    remark: str = ""


def main_tables(results: Results) -> list[Table]:
    """Return arms by planned metrics, the first table with the cost of each arm beside them."""
    tables = []
    single = [pair for pair in results.primary if pair[0] not in results.collapsed]
    for number, pairs in enumerate(_chunks(results, single)):
        tables.append(pairs_table(results, pairs, title="", with_cost=number == 0))
    return tables


def task_tables(results: Results) -> list[Table]:
    """Return one table per task (cut where too wide): every metric, with detectable differences."""
    tables = []
    for task, metrics in results.tasks.items():
        if is_part(task) or task in results.collapsed:
            continue
        for pairs in _chunks(results, [(task, metric) for metric in metrics]):
            title = f"{task_title(task)} ({task})."
            tables.append(pairs_table(results, pairs, title=title, with_mde=True))
    return tables


def strata_tables(results: Results) -> list[Table]:
    """Return, per metric, repeats beside unique sequence."""
    return part_tables(results, ("repeat", "unique"), "inside and outside repeats")


def gap_tables(results: Results) -> list[Table]:
    """Return the gap between training and held-out chromosomes."""
    parts = ("train", "gap", "matched_gap")
    return part_tables(results, parts, "training minus held-out chromosomes")


def part_tables(results: Results, parts: Sequence[str], title: str) -> list[Table]:
    """Return one table per task and metric over some of the task's parts."""
    tables = []
    heads = dict.fromkeys(task.rpartition("/")[0] for task in results.tasks if is_part(task))
    for head in heads:
        tasks = [f"{head}/{part}" for part in parts if f"{head}/{part}" in results.tasks]
        metrics = dict.fromkeys(metric for task in tasks for metric in results.tasks[task])
        for metric in metrics:
            pairs = [(task, metric) for task in tasks if metric in results.tasks[task]]
            heading = f"{metric_title(tasks[0], metric)}, {title}."
            tables.append(pairs_table(results, pairs, title=heading, with_mde=True))
    return tables


def panels(table: Table) -> list[Table]:
    """Cut a table into one narrow table per group of columns, for media without wide pages."""
    cut = []
    for group in dict.fromkeys(column.group for column in table.columns):
        chosen = [at for at, column in enumerate(table.columns) if column.group == group]
        columns = tuple(table.columns[at] for at in chosen)
        note = f" ({columns[0].group_note})" if columns[0].group_note else ""
        rows = tuple(
            replace(row, cells=tuple(row.cells[at] for at in chosen)) for row in table.rows
        )
        cut.append(replace(table, title=group + note, columns=columns, rows=rows))
    return cut


def _chunks(results: Results, pairs: Sequence[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Cut pairs into groups that fit side by side; one that is only estimated is narrow."""
    groups: list[list[tuple[str, str]]] = []
    room = 0.0
    for pair in pairs:
        width = 1.0 if pair in results.compared else 0.25
        if not groups or room < width:
            groups.append([])
            room = PAIRS_PER_TABLE + 0.25
        groups[-1].append(pair)
        room -= width
    return groups


def pairs_table(
    results: Results,
    pairs: Sequence[tuple[str, str]],
    *,
    title: str,
    with_cost: bool = False,
    with_mde: bool = False,
) -> Table:
    """Build a table of arms by (task, metric) pairs."""
    columns: list[Column] = []
    one_task = len({task for task, _ in pairs}) == 1
    one_metric = len({metric_title(*pair) for pair in pairs}) == 1 and not one_task
    if not title and (one_task or one_metric):  # what the groups of columns do not say
        title = f"{task_title(pairs[0][0]) if one_task else metric_title(*pairs[0])}."
    for task, metric in pairs:
        names = [] if one_task else [task_title(task)]
        names += [] if one_metric else [metric_title(task, metric)]
        group = ": ".join(names)
        columns += _pair_columns(results, task, metric, group=group, with_mde=with_mde)
    if with_cost:
        columns += [Column(title=name, group=COST) for name in cost_titles(results)]
    rows = []
    for name in (*results.models, *results.references):
        cells: list[Cell] = []
        scored = False
        for task, metric in pairs:
            scored |= results.estimate(name, task, metric) is not None
            cells += _pair_cells(results, name, task, metric, with_mde=with_mde)
        if with_cost:
            cells += cost_cells(results, name)
        if scored or name in results.models:
            rows.append(
                TableRow(
                    name=name,
                    note=_note(results, name),
                    role=_role(results, name),
                    cells=tuple(cells),
                )
            )
    remark = f"Difference: arm minus {results.study.baseline}."
    return Table(title=title, columns=tuple(columns), rows=tuple(rows), remark=remark)


def _pair_columns(
    results: Results, task: str, metric: str, *, group: str, with_mde: bool
) -> list[Column]:
    """Return the columns of one task and metric."""
    shown = display(metric)
    status = "planned" if (task, metric) in results.study.planned else "exploratory"
    direction = "" if results.study.is_neutral(task) else shown.direction
    unit = (shown.difference_unit or "difference") if is_gap(task) else shown.unit
    note = ", ".join(part for part in (unit, direction, status) if part)
    titles = ["Value"]
    if (task, metric) in results.compared:
        titles += ["Difference", *(["Detectable"] if with_mde else []), "Verdict, adj. p"]
    return [Column(title=name, group=group, group_note=note) for name in titles]


def _pair_cells(
    results: Results, name: str, task: str, metric: str, *, with_mde: bool
) -> list[Cell]:
    """Return the cells of one arm for one task and metric."""
    shown = display(metric)
    estimate = results.estimate(name, task, metric)
    row = results.difference(name, task, metric)
    cells = [_value_cell(estimate, task)]
    if (task, metric) not in results.compared:
        return cells
    if row is None:
        word = "baseline" if name == results.study.baseline and estimate else ABSENT
        blank = [Cell(text=ABSENT), Cell(text=word, numeric=False)]
        return cells + ([blank[0], *blank] if with_mde else blank)
    cells.append(
        Cell(
            text=shown.signed(row.delta),
            detail=shown.interval(row.low, row.high, sign=True),
            tooltip=row.signature,
        )
    )
    if with_mde:
        cells.append(Cell(text=shown.number(row.mde80), tooltip=row.signature))
    return [*cells, _verdict_cell(row)]


def _value_cell(estimate: Estimate | None, task: str) -> Cell:
    """Return the cell of a value, absent when the arm was not scored."""
    if estimate is None:
        return Cell(text=ABSENT)
    shown = display(estimate.metric)
    gap = is_gap(task)
    write = shown.signed if gap else shown.number
    return Cell(
        text=write(estimate.estimate),
        detail=shown.interval(estimate.low, estimate.high, sign=gap),
        tooltip=estimate.signature,
    )


def _verdict_cell(row: Difference) -> Cell:
    """Return the badge of a comparison with its adjusted p-value."""
    label = verdict_label(row)
    colour = row.verdict if label == row.verdict else "neutral"
    detail = "" if math.isnan(row.p_adjusted) else p_equation(row.p_adjusted)
    return Cell(text=label, detail=detail, tooltip=row.signature, verdict=colour, numeric=False)


def _role(results: Results, name: str) -> str:
    """Return the role of a row."""
    if name == results.study.baseline:
        return "baseline"
    return "reference" if name in results.references else "arm"


def _note(results: Results, name: str) -> str:
    """Say what an arm changes, and how many of its seeds failed."""
    changes = results.study.arms.get(name, {})
    parts = [f"{key}: {_plain(value)}" for key, value in changes.items()]
    if name == results.study.baseline:
        parts = ["baseline of all differences"]
    cost = results.costs.get(name)
    if cost is not None and cost.seeds_failed:
        parts.append(f"{cost.seeds_failed} of {cost.seeds_failed + cost.seeds_done} seeds failed")
    return ", ".join(parts)


def _plain(value: object) -> str:
    """Write a setting's value as YAML would."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def context_lengths(results: Results) -> dict[str, float]:
    """Return the longest context that each arm was trained on, where it was recorded."""
    lengths: dict[str, float] = {}
    for point in results.curves:
        if not math.isnan(point.length):
            lengths[point.arm] = max(point.length, lengths.get(point.arm, 0.0))
    return lengths


def cost_titles(results: Results) -> list[str]:
    """Return the headings of the cost columns; no direction is implied by any of them.

    The context stands in a column only where arms differ in it.
    """
    context = ["Context"] if len(set(context_lengths(results).values())) > 1 else []
    return [*context, "Params", "FLOPs per base", "Tokens per s", "Memory, GiB"]


def cost_cells(results: Results, name: str) -> list[Cell]:
    """Return the cost cells of an arm."""
    lengths = context_lengths(results)
    cells = []
    if len(set(lengths.values())) > 1:
        cells.append(Cell(text=fixed(lengths.get(name, math.nan), 0)))
    cost = results.costs.get(name)
    if cost is None:
        return [*cells, *[Cell(text=ABSENT)] * 4]
    values = (cost.parameters, cost.flops_per_base, cost.tokens_per_second)
    cells += [Cell(text=magnitude(value)) for value in values]
    return [*cells, Cell(text=fixed(cost.peak_memory_mib / 1024, 2))]


_TERMINAL = str.maketrans(
    {MINUS: "-", ABSENT: "-", NO_BREAK: " ", "\u2009": ",", "∞": "inf", "±": "+/-", "×": "x"}
    | {"“": '"', "”": '"', "²": "2"}
)


def terminal_table(results: Results) -> str:
    """Write the planned comparisons for a terminal: one block per task and metric.

    Args:
        results: The checked results of a study.

    Returns:
        Text without a final line end.
    """
    blocks = []
    for task, metric in results.primary:
        shown = display(metric)
        lines = []
        for name in (*results.models, *results.references):
            estimate = results.estimate(name, task, metric)
            if estimate is None and name in results.references:
                continue
            absent = [Cell(text=ABSENT)] * 2
            cells = [*_pair_cells(results, name, task, metric, with_mde=False), *absent]
            value, difference, verdict = cells[:3]
            row = results.difference(name, task, metric)
            p = ABSENT if row is None else p_value(row.p_adjusted)
            lines.append(
                [
                    name,
                    value.text,
                    value.detail,
                    difference.text,
                    difference.detail,
                    p,
                    verdict.text,
                ]
            )
        unit = ", ".join(part for part in (shown.unit, shown.direction) if part)
        level = f"{results.study.level:.0%}"
        headers = [
            "arm",
            "value",
            level,
            f"minus {results.study.baseline}",
            level,
            "adj. p",
            "verdict",
        ]
        table = tabulate(
            lines,
            headers=headers,
            disable_numparse=True,
            colalign=("left", "right", "left", "right", "left", "right", "left"),
        )
        blocks.append(f"{task_title(task)}: {shown.title} ({unit})\n{table}")
    # A terminal may know no letters beyond its locale; a report must not end in a coding error.
    return for_terminal("\n\n".join(blocks))


def for_terminal(text: str) -> str:
    """Return text in letters that every terminal has."""
    return text.translate(_TERMINAL)

"""Held-out scores by how much of a window stands on the training chromosomes, as compact tables."""

from collections.abc import Sequence

from lightning_dna.report.numbers import ABSENT, display
from lightning_dna.report.results import Results
from lightning_dna.report.tables import Cell, Column, Table, TableRow
from lightning_dna.report.wording import verdict_label
from lightning_dna.tasks.similarity_bins import (
    DUPLICATED,
    SPARED,
    containment_bins,
    match_bins,
    similarity_names,
    similarity_title,
)

WINDOW_MEANINGS = (
    "Windows of held-out chromosomes by their similarity to the training chromosomes, on either"
    " strand: the share of a window's distinct 21-mers that stand there, and its longest stretch"
    " that stands there letter by letter. Windows of one bin differ from those of another in more"
    " than that: compare arms within a bin, and a model with the counting baselines beside it. What"
    " is better on similar windows alone has been copied, not understood."
)
_FAMILIES = (
    ("share of 21-mers in training", containment_bins()),
    ("near-duplicates in training", (SPARED, DUPLICATED)),
    ("longest exact match", match_bins()),
)


def heads(results: Results) -> list[str]:
    """Return the held-out tasks that have views by similarity."""
    names = set(similarity_names())
    found = (task.rpartition("/") for task in results.tasks)
    return list(dict.fromkeys(head for head, _, last in found if head and last in names))


def similarity_bin_tables(results: Results) -> list[Table]:
    """Return, per task, metric and kind of similarity, the arms by bins, least similar first."""
    return [
        table
        for head in heads(results)
        for title, names in _FAMILIES
        for table in _family(results, head, title, names)
    ]


def _family(results: Results, head: str, title: str, names: Sequence[str]) -> list[Table]:
    """Return the bins of one kind of similarity beside each other, a table for each metric."""
    tasks = {name: f"{head}/{name}" for name in names if f"{head}/{name}" in results.tasks}
    metrics = dict.fromkeys(metric for task in tasks.values() for metric in results.tasks[task])
    tables = []
    for metric in metrics:
        shown = display(metric)
        if not any((task, metric) in results.compared for task in tasks.values()):
            continue
        rows = [
            _row(results, name, [*tasks.values()], metric)
            for name in (*results.models, *results.references)
            if any(results.estimate(name, task, metric) for task in tasks.values())
        ]
        tables.append(
            Table(
                title=f"{shown.title}, by {title} ({shown.unit}).",
                columns=tuple(_column(results, name, task) for name, task in tasks.items()),
                rows=tuple(rows),
                remark=f"Beneath a value: its difference to {results.study.baseline}, the interval"
                " of that, and the verdict; of the baseline, the interval of the value.",
            )
        )
    return tables


def _column(results: Results, name: str, task: str) -> Column:
    """Return the column of one bin, with the number of its windows."""
    known = (row.n_examples for row in results.estimates if row.task == task)
    return Column(title=f"{similarity_title(name)}: {next(known):,} windows")


def _row(results: Results, name: str, tasks: Sequence[str], metric: str) -> TableRow:
    """Return the cells of one arm."""
    role = "reference" if name in results.references else "arm"
    role = "baseline" if name == results.study.baseline else role
    cells = tuple(_cell(results, name, task, metric) for task in tasks)
    return TableRow(name=name, note="", role=role, cells=cells)


def _cell(results: Results, name: str, task: str, metric: str) -> Cell:
    """Return a value, and beneath it the difference to the baseline arm."""
    shown = display(metric)
    estimate = results.estimate(name, task, metric)
    if estimate is None:
        return Cell(text=ABSENT)
    row = results.difference(name, task, metric)
    if row is None:
        detail, tooltip = shown.interval(estimate.low, estimate.high), estimate.signature
    else:
        limits = shown.interval(row.low, row.high, sign=True)
        detail = f"{shown.signed(row.delta)} {limits} {verdict_label(row)}"
        tooltip = row.signature
    return Cell(text=shown.number(estimate.estimate), detail=detail, tooltip=tooltip)

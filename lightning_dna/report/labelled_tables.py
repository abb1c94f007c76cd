"""Labelled tasks: all of them against all arms, and what every use of an arm chose and cost."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import TypeVar

from lightning_dna.report.numbers import ABSENT, display, duration, fixed, listing, magnitude
from lightning_dna.report.results import Results
from lightning_dna.report.rows import TriedRate, Tuning
from lightning_dna.report.tables import VERDICT_SYMBOLS, Cell, Column, Table, TableRow
from lightning_dna.report.wording import verdict_label, way_title

One = TypeVar("One")

_TRAINING = (
    "Way",
    "Parameters updated",
    "Time, all tasks and seeds",
    "Examples per s",
    "Best epoch",
    "Longest sequence",
    "At the edge of what was tried",
)
_TUNING = (
    "Arm",
    "Parameters updated",
    "Time",
    "Examples per s",
    "Best epoch",
    "Longest sequence",
    "Learning rate",
    "C",
    "Validation",
)


def matrix_tables(results: Results, *, planned: bool) -> list[Table]:
    """Return a table of tasks by arms for each way and metric; none where tasks are few.

    Args:
        results: The results.
        planned: Whether those with planned comparisons are wanted, or the others.
    """
    return [
        _matrix(results, way, metric, tasks)
        for (way, metric), tasks in _by_way_and_metric(results).items()
        if any((task, metric) in results.primary for task in tasks) == planned
    ]


def _by_way_and_metric(results: Results) -> dict[tuple[str, str], list[str]]:
    """Group the collapsed tasks by way and first metric, in the order of the results."""
    found: dict[tuple[str, str], list[str]] = {}
    for task, metrics in results.tasks.items():
        if task in results.collapsed:
            found.setdefault((task.rpartition("/")[2], metrics[0]), []).append(task)
    return found


def _matrix(results: Results, way: str, metric: str, tasks: Sequence[str]) -> Table:
    """Build the table of one way and metric."""
    shown = display(metric)
    names = [
        name
        for name in (*results.models, *results.references)
        if any(results.estimate(name, task, metric) for task in tasks)
    ]
    rows = []
    for task in tasks:
        cells = tuple(_matrix_cell(results, name, task, metric) for name in names)
        rows.append(TableRow(name=task.rpartition("/")[0], note="", role="arm", cells=cells))
    counts = tuple(Cell(text=_counted(results, name, tasks, metric)) for name in names)
    rows.append(TableRow(name="verdicts", note="", role="reference", cells=counts))
    planned = sum((task, metric) in results.study.planned for task in tasks)
    title = f"{way_title(way).capitalize()}: {shown.title}."
    remark = (
        f"Beneath each value its {results.study.level:.0%} interval. Against"
        f" {results.study.baseline}: {_legend()}. {planned} of {len(tasks)} rows are planned and"
        " share one family of comparisons."
    )
    columns = tuple(Column(title=name) for name in names)
    return Table(title=title, columns=columns, rows=tuple(rows), first="Task", remark=remark)


def _matrix_cell(results: Results, name: str, task: str, metric: str) -> Cell:
    """Return a value with its interval, and a sign for its comparison with the baseline arm."""
    estimate = results.estimate(name, task, metric)
    if estimate is None:
        return Cell(text=ABSENT)
    shown = display(metric)
    row = results.difference(name, task, metric)
    sign = "" if row is None else f" {VERDICT_SYMBOLS.get(verdict_label(row), '')}"
    return Cell(
        text=f"{shown.number(estimate.estimate)}{sign}".rstrip(),
        detail=shown.interval(estimate.low, estimate.high),
        tooltip=estimate.signature if row is None else row.signature,
    )


def _counted(results: Results, name: str, tasks: Sequence[str], metric: str) -> str:
    """Count the verdicts of one arm, for example ``▲ 5  ▼ 1  ○ 22``."""
    found = [results.difference(name, task, metric) for task in tasks]
    counts = Counter(verdict_label(row) for row in found if row is not None)
    signs = [f"{sign} {counts[word]}" for word, sign in VERDICT_SYMBOLS.items() if counts[word]]
    return "  ".join(signs) or ABSENT


def _legend() -> str:
    """Say what the signs mean."""
    words = ("better", "worse", "equivalent", "inconclusive")
    return ", ".join(f"{VERDICT_SYMBOLS[word]} {word}" for word in words)


def collapsed_verdicts(results: Results) -> list[tuple[str, str, str]]:
    """Return one sentence for each way and metric in place of one for every planned task."""
    found = []
    for (way, metric), tasks in _by_way_and_metric(results).items():
        # The same task under another split is no further task.
        by_split: dict[str, list[str]] = {}
        for task in tasks:
            if (task, metric) in results.primary:
                by_split.setdefault(task.rpartition("/")[0].partition("@")[2], []).append(task)
        for split, planned in by_split.items():
            said = [
                f"{name} {_in_words(results, name, planned, metric)}" for name in results.models[1:]
            ]
            place = f"{len(planned)} tasks, {way_title(way)}"
            place += f", split '{split}'" if split else ""
            text = f"Against {results.study.baseline}, {'; '.join(said)}." if said else "One arm."
            ahead = _baselines_ahead(results, planned, metric)
            found.append((f"{place}, {display(metric).title}", text, ahead))
    return found


def _baselines_ahead(results: Results, tasks: Sequence[str], metric: str) -> str:
    """Say on how many tasks a simple baseline stands above every arm; "" where none is known."""
    up = display(metric).greater_is_better
    if up is None:
        return ""
    ahead: Counter[str] = Counter()
    known = 0
    for task in tasks:
        arms, simple = (
            [
                (row.estimate if up else -row.estimate, name)
                for name in names
                if (row := results.estimate(name, task, metric)) and not math.isnan(row.estimate)
            ]
            for names in (results.models, results.references)
        )
        if arms and simple:
            known += 1
            best, name = max(simple)
            ahead[name] += best > max(arms)[0]
    if not known:
        return ""
    said = listing([f"{name} on {times}" for name, times in ahead.most_common() if times])
    return (
        f"By point estimate a simple baseline is above every arm on {ahead.total()} of {known}"
        f" tasks{f': {said}, counted where it is the best of them' if said else ''}."
    )


def _in_words(results: Results, name: str, tasks: Sequence[str], metric: str) -> str:
    """Write the counts of verdicts as part of a sentence."""
    rows = [results.difference(name, task, metric) for task in tasks]
    counts = Counter(verdict_label(row) for row in rows if row is not None)
    parts = [f"is {word} on {number}" for word, number in sorted(counts.items())]
    return listing(parts) if parts else "was not compared"


def training_tables(results: Results) -> list[Table]:
    """Return what each way of using each arm changed and cost, over all tasks."""
    if not results.tunings:
        return []
    columns = tuple(Column(title=title) for title in _TRAINING)
    rows = []
    for (way, arm), group in _grouped(results.tunings, lambda row: (row.way, row.arm)).items():
        texts = (
            way,
            _span([row.parameters_updated for row in group], magnitude),
            duration(sum(row.seconds for row in group if not math.isnan(row.seconds))),
            _middle([row.examples_per_second for row in group], magnitude),
            _middle([row.best_epoch for row in group], lambda value: fixed(value, 1)),
            _span([row.context_length for row in group], lambda value: fixed(value, 0)),
            f"{sum(_at_edge(row) for row in group)} of {len(group)}",
        )
        cells = tuple(Cell(text=text, numeric=at > 0) for at, text in enumerate(texts))
        rows.append(TableRow(name=arm, note="", role="arm", cells=cells))
    remark = (
        "Time is that of choosing, training and predicting, every learning rate included. Examples"
        " per second and best epoch are medians."
    )
    title = "What each way changed and cost."
    return [Table(title=title, columns=columns, rows=tuple(rows), remark=remark)]


def rate_tables(results: Results) -> list[Table]:
    """Return how often each learning rate was chosen; none where no arm had a choice."""
    several = [row for row in results.tried if not math.isnan(row.lr)]
    rates = sorted({row.lr for row in several})
    groups = _grouped(several, lambda row: (row.way, row.arm))
    groups = {key: group for key, group in groups.items() if len({row.lr for row in group}) > 1}
    if not groups:
        return []
    rows = []
    for (way, arm), group in groups.items():
        cells = [Cell(text=_rate_cell([row for row in group if row.lr == rate])) for rate in rates]
        role = "arm" if way else "reference"
        first = Cell(text=way or ABSENT, numeric=False)
        rows.append(TableRow(name=arm, note="", role=role, cells=(first, *cells)))
    remark = (
        "Times chosen, of times tried, over tasks and seeds; every training makes its own choice on"
        " its validation examples. Every value: results/learning_rates.csv."
    )
    columns = tuple(Column(title=title) for title in ("Way", *(f"{rate:g}" for rate in rates)))
    title = "Learning rates tried."
    return [Table(title=title, columns=columns, rows=tuple(rows), remark=remark)]


def _rate_cell(rows: Sequence[TriedRate]) -> str:
    """Write how often a rate was chosen, of how often it was tried, and how often it diverged."""
    if not rows:
        return ABSENT
    diverged = sum(math.isnan(row.valid_metric) for row in rows)
    text = f"{sum(row.chosen for row in rows)} of {len(rows)}"
    return f"{text}, {diverged} diverged" if diverged else text


def tuning_table(results: Results) -> Table | None:
    """Return what every use of an arm on a task chose and cost, as means over seeds."""
    if not results.tunings:
        return None
    rows = []
    groups = _grouped(results.tunings, lambda row: (f"{row.task}/{row.way}", row.arm))
    for (task, arm), group in groups.items():
        texts = (
            arm,
            _span([row.parameters_updated for row in group], magnitude),
            duration(_mean([row.seconds for row in group])),
            _middle([row.examples_per_second for row in group], magnitude),
            _span([row.best_epoch for row in group], lambda value: fixed(value, 0)),
            _span([row.context_length for row in group], lambda value: fixed(value, 0)),
            _listed([row.chosen_lr for row in group], [row.lr_at_edge for row in group]),
            _listed([row.chosen_c for row in group], [row.c_at_edge for row in group]),
            _span([row.valid_metric for row in group], lambda value: fixed(value, 4)),
        )
        cells = tuple(
            Cell(text=text, numeric=at > 0 and text != ABSENT) for at, text in enumerate(texts)
        )
        rows.append(TableRow(name=task, note="", role="arm", cells=cells))
    columns = tuple(Column(title=title) for title in _TUNING)
    remark = "* the smallest or largest value tried: a value beyond might have been better."
    return Table(title="", columns=columns, rows=tuple(rows), first="Task", remark=remark)


def labelled_remarks(results: Results) -> tuple[str, ...]:
    """Say what was collapsed, and what hit the edge of what was tried."""
    said = []
    if results.collapsed:
        said.append(
            "There are too many labelled tasks to show them one by one; every metric of every task,"
            " with its comparisons, is in table.csv. No average over tasks is formed."
        )
    pairs = _rates_of_two(results)
    judged = [row for row in results.tunings if (row.way, row.arm) not in pairs]
    edges = sum(_at_edge(row) for row in judged)
    if edges:
        said.append(
            f"In {edges} of {len(judged)} uses the validation examples chose the smallest or the"
            " largest value that they could choose from (learning rate, or C of a probe): a wider"
            " list might have served that arm better."
        )
    if pairs:
        ways = listing([*dict.fromkeys(f"'{way}'" for way, _ in sorted(pairs))])
        said.append(
            f"For {ways} two learning rates were tried: whether one beyond them would have served"
            " an arm better is not known."
        )
    trained = [row for row in results.tunings if not math.isnan(row.epochs_run)]
    last = sum(row.best_epoch == row.epochs_run for row in trained)
    if last:
        said.append(
            f"In {last} of {len(trained)} trainings the best epoch was the last that was run:"
            " longer training might have served that arm better. A baseline that trains longer, or"
            " chooses among more settings, has had that advantage."
        )
    return tuple(said)


def _rates_of_two(results: Results) -> set[tuple[str, str]]:
    """Return the ways and arms of which no choice of a learning rate could be an inner one."""
    found: dict[tuple[str, str], set[float]] = {}
    for row in results.tried:
        if row.way and not math.isnan(row.lr):
            found.setdefault((row.way, row.arm), set()).add(row.lr)
    return {key for key, rates in found.items() if len(rates) == 2}


def _at_edge(row: Tuning) -> bool:
    """Tell whether a choice fell on the end of its list."""
    return "True" in (row.c_at_edge, row.lr_at_edge)


def _grouped(
    rows: Iterable[One], key: Callable[[One], tuple[str, str]]
) -> dict[tuple[str, str], list[One]]:
    """Group rows by a key, in the order in which the keys appear."""
    found: dict[tuple[str, str], list[One]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def _known(values: Iterable[float]) -> list[float]:
    """Return the values that are there."""
    return [value for value in values if not math.isnan(value)]


def _mean(values: Iterable[float]) -> float:
    """Return the mean of what is there, NaN of nothing."""
    known = _known(values)
    return sum(known) / len(known) if known else math.nan


def _middle(values: Iterable[float], write: Callable[[float], str]) -> str:
    """Write a median."""
    known = _known(values)
    return write(median(known)) if known else ABSENT


def _span(values: Iterable[float], write: Callable[[float], str]) -> str:
    """Write the smallest and the largest value, or the only one."""
    known = _known(values)
    if not known:
        return ABSENT
    return " to ".join(dict.fromkeys((write(min(known)), write(max(known)))))


def _listed(values: Iterable[float], edges: Sequence[str]) -> str:
    """Write chosen values, one for each seed where they differ, with a star at an edge."""
    pairs = zip(values, edges, strict=True)
    texts = [f"{value:g}{'*' if edge == 'True' else ''}" for value, edge in pairs if value == value]
    return ", ".join(dict.fromkeys(texts)) or ABSENT

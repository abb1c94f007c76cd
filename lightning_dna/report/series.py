"""What each figure shows, as plain numbers in the units of the page; nothing is drawn here."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lightning_dna.report.numbers import display
from lightning_dna.report.results import Results, is_part
from lightning_dna.report.rows import CurvePoint
from lightning_dna.report.wording import metric_title, task_title, verdict_label

# A learning curve keeps about this many points; more cannot be told apart on the page.
POINTS_PER_CURVE = 200


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One value with its interval.

    Attributes:
        label: Arm or chromosome.
        value: Height or position, in the units shown.
        low: Lower limit.
        high: Upper limit.
        kind: Verdict, part of the split or stratum, by which it is drawn.
        cost: Position on a cost axis, where there is one.
    """

    label: str
    value: float
    low: float
    high: float
    kind: str = ""
    cost: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Marks that share axes.

    Attributes:
        title: Heading.
        axis: Label of the value axis.
        marks: What is drawn.
        other_axis: Label of the other axis, where it has numbers.
        margin: Half width of the band of practical equivalence, or ``None``.
        better: ``"higher"``, ``"lower"`` or ``""``: where better values lie.
    """

    title: str
    axis: str
    marks: tuple[Mark, ...]
    other_axis: str = ""
    margin: float | None = None
    better: str = ""


@dataclass(frozen=True, kw_only=True)
class StripPanel:
    """Many values per label on one axis, with the value that is promised and its allowed band."""

    title: str
    axis: str
    marks: tuple[Mark, ...]
    nominal: float
    band: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One learning curve: of one seed, or the mean of an arm's seeds (``seed`` is ``None``)."""

    arm: str
    seed: int | None
    tokens: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class CurvePanel:
    """Learning curves that share axes."""

    title: str
    axis: str
    lines: tuple[Line, ...]


def _axis(task: str, metric: str, *, difference: bool = False) -> str:
    """Return the label of an axis of values or differences."""
    shown, title = display(metric), metric_title(task, metric)
    unit = shown.difference_unit if difference else shown.unit
    return f"{title}, {unit}" if unit else title


def _better(metric: str) -> str:
    """Return where better values of a metric lie."""
    return {"higher is better": "higher", "lower is better": "lower"}.get(
        display(metric).direction, ""
    )


def forest_panels(results: Results, pairs: Sequence[tuple[str, str]]) -> list[Panel]:
    """Return one panel of differences to the baseline per (task, metric) that has any."""
    panels = []
    for task, metric in pairs:
        shown = display(metric)
        marks = []
        for arm in results.models[1:]:
            row = results.difference(arm, task, metric)
            if row is not None and not math.isnan(row.delta):
                numbers = (row.delta * shown.scale, row.low * shown.scale, row.high * shown.scale)
                label = verdict_label(row)
                kind = row.verdict if label == row.verdict else "neutral"
                value, low, high = numbers
                marks.append(Mark(label=arm, value=value, low=low, high=high, kind=kind))
        margin = results.study.margin(metric)
        if marks:
            panels.append(
                Panel(
                    title=f"{task_title(task)}\n{metric_title(task, metric)}",
                    axis=shown.difference_unit,
                    marks=tuple(marks),
                    margin=None if margin is None else margin * shown.scale,
                    better="" if results.study.is_neutral(task) else _better(metric),
                )
            )
    return panels


def other_pairs(results: Results) -> list[tuple[str, str]]:
    """Return the (task, metric) pairs of whole tasks that are not planned."""
    return [
        (task, metric)
        for task, metrics in results.tasks.items()
        for metric in metrics
        if (task, metric) not in results.primary
        and not is_part(task)
        and task not in results.collapsed
    ]


def cost_panels(results: Results) -> list[Panel]:
    """Return the first planned metric against each cost that was measured."""
    if not results.primary:
        return []
    task, metric = results.primary[0]
    scale = display(metric).scale
    axes = {
        "parameters": ("Parameters, millions", 1e-6),
        "flops_per_base": ("FLOPs per base, millions", 1e-6),
        "tokens_per_second": ("Training throughput, thousand tokens per s", 1e-3),
    }
    panels = []
    for field, (title, factor) in axes.items():
        marks = []
        for arm in results.models:
            row, cost = results.estimate(arm, task, metric), results.costs.get(arm)
            amount = math.nan if cost is None else getattr(cost, field) * factor
            if row is not None and not math.isnan(amount) and not math.isnan(row.estimate):
                value, low, high = row.estimate * scale, row.low * scale, row.high * scale
                marks.append(Mark(label=arm, value=value, low=low, high=high, cost=amount))
        if marks:
            axis = _axis(task, metric)
            panels.append(Panel(title="", axis=axis, marks=tuple(marks), other_axis=title))
    return panels


def curve_panels(results: Results) -> list[CurvePanel]:
    """Return learning curves: on validation chromosomes where logged, else on training batches."""
    choices = {
        "loss": ("loss, nats per base", 1.0),
        "accuracy": ("accuracy, %", 100.0),
    }
    panels = []
    for quantity, (axis, scale) in choices.items():
        for part, name in (("valid", "Validation"), ("train", "Training")):
            lines = _lines(results, f"{part}_{quantity}", scale)
            if lines:
                panels.append(
                    CurvePanel(title=f"{name} {quantity}", axis=f"{name} {axis}", lines=lines)
                )
                break
    return panels


def _lines(results: Results, field: str, scale: float) -> tuple[Line, ...]:
    """Return one thin line per seed and the mean of each arm's seeds."""
    lines: list[Line] = []
    for arm in results.models:
        seeds: dict[int, list[CurvePoint]] = {}
        for point in results.curves:
            if point.arm == arm and not math.isnan(getattr(point, field)):
                seeds.setdefault(point.seed, []).append(point)
        drawn = []
        for seed, points in seeds.items():
            # A first value of a training run says nothing and would set the scale of the axis.
            kept = [point for point in points if point.tokens > 0]
            stride = max(1, math.ceil(len(kept) / POINTS_PER_CURVE))
            kept = kept[::-1][::stride][::-1]
            if kept:
                values = tuple(getattr(point, field) * scale for point in kept)
                tokens = tuple(point.tokens for point in kept)
                drawn.append(Line(arm=arm, seed=seed, tokens=tokens, values=values))
        lines += drawn
        if drawn:
            lines.append(_mean_line(arm, drawn))
    return tuple(lines)


def _mean_line(arm: str, lines: Sequence[Line]) -> Line:
    """Return the mean of seeds at the token counts that all of them logged."""
    by_tokens = [dict(zip(line.tokens, line.values, strict=True)) for line in lines]
    shared = sorted(set.intersection(*(set(values) for values in by_tokens)))
    means = tuple(math.fsum(values[at] for values in by_tokens) / len(lines) for at in shared)
    return Line(arm=arm, seed=None, tokens=tuple(shared), values=means)


def chromosome_panels(results: Results) -> list[Panel]:
    """Return one panel per arm: a metric on every chromosome, training and held-out.

    Of several tasks it is the one of the first planned row that is of chromosomes, or the first.
    """
    if not results.chromosomes:
        return []
    recorded = list(dict.fromkeys((row.head, row.metric) for row in results.chromosomes))
    planned = [(task.partition("/")[0], metric) for task, metric in results.primary]
    wanted = [pair for pair in planned if pair in recorded]
    head, metric = (wanted or recorded)[0]
    shown = [row for row in results.chromosomes if (row.head, row.metric) == (head, metric)]
    scale = display(metric).scale
    panels = []
    for variant in results.models:
        rows = [row for row in shown if row.variant == variant]
        rows.sort(key=lambda row: (_PARTS.get(row.part, 1), natural_key(row.chrom)))
        marks = tuple(
            Mark(
                label=row.chrom,
                value=row.estimate * scale,
                low=row.low * scale,
                high=row.high * scale,
                kind=row.part,
            )
            for row in rows
        )
        if marks:
            panels.append(Panel(title=variant, axis=_axis(head, metric), marks=marks))
    return panels


_PARTS = {"train": 0, "valid": 1, "test": 2}


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a sorting key under which chr2 comes before chr10.

    Example:
        >>> sorted(["chr10", "chr2", "chrX"], key=natural_key)
        ['chr2', 'chr10', 'chrX']
    """
    pieces = re.findall(r"\d+|\D+", name)
    return tuple((0, int(piece)) if piece.isdecimal() else (1, piece) for piece in pieces)


def part_panels(results: Results) -> list[Panel]:
    """Return the panel of repeat and unique sequence, and the panel of the memorization gap."""
    heads = dict.fromkeys(task.rpartition("/")[0] for task in results.tasks if is_part(task))
    panels = []
    for head in heads:
        for parts, title in (
            (("repeat", "unique"), "Inside and outside repeats"),
            (("gap",), "Training minus held-out chromosomes"),
        ):
            tasks = {part: f"{head}/{part}" for part in parts if f"{head}/{part}" in results.tasks}
            if not tasks:
                continue
            metric = results.tasks[next(iter(tasks.values()))][0]
            scale = display(metric).scale
            marks = [
                Mark(
                    label=arm,
                    value=row.estimate * scale,
                    low=row.low * scale,
                    high=row.high * scale,
                    kind=part,
                )
                for arm in (*results.models, *results.references)
                for part, task in tasks.items()
                if (row := results.estimate(arm, task, metric)) is not None
            ]
            axis = _axis(head, metric, difference="gap" in tasks)
            panels.append(Panel(title=title, axis=axis, marks=tuple(marks)))
    return [panel for panel in panels if panel.marks]

"""A calibration run as files: CSV of every cell, Markdown by kind of data, a figure, a summary."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from lightning_dna.atomic import write_text
from lightning_dna.report.numbers import fixed
from lightning_dna.report.series import Mark, StripPanel
from lightning_dna.stats.calibration.gate import (
    BAND,
    DOUBTFUL,
    FEWEST_GATED,
    GATED_METHOD,
    SIGMAS,
    coverage_band,
    false_positive_limit,
)
from lightning_dna.stats.calibration.grid import CalibrationReport, CellRow

MARKS = {"liberal": "▲", "conservative": "▽", "flagged": "·"}
"""Signs behind a rate in the Markdown tables."""
_SHOWN_MISSES = 20


def write_calibration(report: CalibrationReport, folder: Path) -> tuple[Path, ...]:
    """Write ``table.csv``, ``table.md`` and ``figure.svg``.

    Args:
        report: Result of ``null_grid``.
        folder: Where to write; made when missing.

    Returns:
        The files.

    Raises:
        UnwritableError: If the folder cannot be written to.
    """
    from lightning_dna.report import figures

    contents = {
        "table.csv": csv_table(report),
        "table.md": markdown_table(report),
        "figure.svg": figures.strips(strip_panels(report), prefix="calibration"),
    }
    for name, text in contents.items():
        write_text(folder / name, text)
    return tuple(folder / name for name in contents)


def csv_table(report: CalibrationReport) -> str:
    """Return every cell and method with all its counts; rates have six digits."""
    names = [field.name for field in fields(CellRow)]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    for row in report.rows:
        writer.writerow([_plain(getattr(row, name)) for name in names])
    return stream.getvalue()


def markdown_table(report: CalibrationReport) -> str:
    """Return the rates of the default interval: one table per kind of data, metrics as columns."""
    blocks = [_legend(report), *_pooled(report)]
    rows = [row for row in report.rows if row.method == GATED_METHOD]
    for control, equal_arms, family in _sections(rows):
        members = [
            row
            for row in rows
            if (row.status == "control", row.equal_arms, row.family)
            == (control, equal_arms, family)
        ]
        what = "false positives" if equal_arms else "coverage of a known difference"
        title = f"{family.capitalize()}: {what}"
        if control:
            title += ", analysed as if there were no dependence (not judged)"
        blocks.append(f"## {title}\n\n{_pivot(members)}")
    return "\n\n".join(blocks) + "\n"


def summary(report: CalibrationReport) -> str:
    """Return what a terminal shows: how many cells held, the misses, the methods, the verdict."""
    gated, misses = report.gated, report.misses
    lines = [
        f"{len(gated)} cells judged ({GATED_METHOD}, level {report.level:g}, "
        f"{report.n_sets} data sets each, {report.plan.n_resamples} resamples); "
        f"{len(gated) - len(misses)} held",
        *_ranges(report),
    ]
    if misses:
        lines.append("outside the limits, after a second run:")
    lines += [f"  {describe(row)}" for row in misses[:_SHOWN_MISSES]]
    if len(misses) > _SHOWN_MISSES:
        lines.append(f"  and {len(misses) - _SHOWN_MISSES} more (status in table.csv)")
    lines += _controls(report)
    lines.append(f"verdict: {_verdict(report)}")
    return "\n".join(lines)


def describe(row: CellRow) -> str:
    """Return one cell in words, with its limits."""
    where = f"{row.metric} on {row.source}"
    again = "" if math.isnan(row.first_rate) else f", first run {_rate(row, row.first_rate)}"
    count = f"{row.n_unflagged} unflagged sets{again}"
    if row.equal_arms:
        limit = false_positive_limit(max(row.n_unflagged, 1), 0.95)
        return f"{where}: false positives {fixed(row.rate, 4)}, limit {limit:.4f} ({count})"
    low, high = coverage_band(max(row.n_unflagged, 1), 0.95)
    return f"{where}: coverage {fixed(1 - row.rate, 4)}, band {low:.4f} to {high:.4f} ({count})"


def strip_panels(report: CalibrationReport) -> tuple[StripPanel, ...]:
    """Return the panels of the figure: both sides by metric, and equal arms by method."""
    judged = [row for row in report.rows if row.method == GATED_METHOD and row.n_unflagged > 0]
    judged = [row for row in judged if row.status != "control"]
    null = [row for row in judged if row.equal_arms]
    power = [row for row in judged if not row.equal_arms]
    methods = [
        row
        for row in report.rows
        if row.equal_arms and row.status != "control" and row.scope == "checkpoint"
        if row.n_unflagged >= FEWEST_GATED
    ]
    alpha, n_sets = 1 - report.level, max(report.n_sets, 2)
    limit = (0.0, false_positive_limit(n_sets, report.level))
    panels = []
    if null:
        panels.append(_panel("Equal arms", "share of false positives", null, alpha, limit))
    if power:
        band = coverage_band(n_sets, report.level)
        panels.append(_panel("Known difference", "coverage", power, report.level, band))
    if methods:
        title, axis = "Equal arms, by interval method", "share of false positives"
        panels.append(_panel(title, axis, methods, alpha, limit, by_method=True))
    return tuple(panels)


def _panel(
    title: str,
    axis: str,
    rows: Sequence[CellRow],
    nominal: float,
    band: tuple[float, float],
    *,
    by_method: bool = False,
) -> StripPanel:
    marks = tuple(
        Mark(
            label=(row.method if by_method else row.metric).replace("_", " "),
            value=row.rate if row.equal_arms else 1 - row.rate,
            low=row.rate_low,
            high=row.rate_high,
            kind="reported" if by_method else row.status,
        )
        for row in rows
    )
    return StripPanel(title=title, axis=axis, marks=marks, nominal=nominal, band=band)


def _sections(rows: Iterable[CellRow]) -> Iterator[tuple[bool, bool, str]]:
    """Yield the kinds of data that occur: controls last, equal arms before known differences."""
    kinds = dict.fromkeys((r.status == "control", not r.equal_arms, r.family) for r in rows)
    for control, known, family in sorted(kinds, key=lambda kind: kind[:2]):
        yield control, not known, family


def _pooled(report: CalibrationReport) -> Iterator[str]:
    """Yield a table of rates by metric and size, over all cells of one side.

    One cell has the error of a few hundred data sets; many cells together show a bias that none of
    them could.
    """
    for equal_arms, title in ((True, "False positives"), (False, "Coverage of a known difference")):
        found: dict[tuple[str, int], list[CellRow]] = {}
        for row in report.rows:
            judged = row.method == GATED_METHOD and row.status != "control" and row.n_unflagged > 0
            if judged and row.equal_arms == equal_arms and row.n is not None:
                found.setdefault((row.metric, row.n), []).append(row)
        if found:
            sizes = sorted({size for _, size in found})
            lines = [f"| metric | {' | '.join(f'n={size}' for size in sizes)} |"]
            lines.append(f"|---|{'---|' * len(sizes)}")
            for metric in dict.fromkeys(metric for metric, _ in found):
                shown = [_pooled_rate(found.get((metric, size), [])) for size in sizes]
                lines.append(f"| {metric} | {' | '.join(shown)} |")
            yield f"## {title}, all data together (data sets)\n\n" + "\n".join(lines)


def _pooled_rate(rows: Sequence[CellRow]) -> str:
    """Return the rate over the data sets of some cells of one side, and their number."""
    total = sum(row.n_unflagged for row in rows)
    if total == 0:
        return ""
    wrong = sum(row.rate * row.n_unflagged for row in rows) / total
    return f"{wrong if rows[0].equal_arms else 1 - wrong:.3f} ({total})"


def _pivot(rows: Sequence[CellRow]) -> str:
    """Return a Markdown table with one line per source and one column per metric."""
    metrics = list(dict.fromkeys(row.metric for row in rows))
    cells = {(row.source, row.metric): row for row in rows}
    lines = [
        f"| data | {' | '.join(metrics)} | sets | unflagged |",
        f"|---|{'---|' * (len(metrics) + 2)}",
    ]
    for source in dict.fromkeys(row.source for row in rows):
        found = [cells.get((source, metric)) for metric in metrics]
        some = [row for row in found if row is not None]
        fewest, most = (pick(row.n_unflagged for row in some) for pick in (min, max))
        unflagged = str(most) if fewest == most else f"{fewest}–{most}"
        rates = " | ".join("" if row is None else _shown(row) for row in found)
        sets = max(row.n_sets for row in some)
        name = source.removeprefix(f"{some[0].family} ").replace("|", "\\|")
        lines.append(f"| {name} | {rates} | {sets} | {unflagged} |")
    return "\n".join(lines)


def _shown(row: CellRow) -> str:
    if math.isnan(row.rate):
        return "–"
    value = row.rate if row.equal_arms else 1 - row.rate
    return f"{value:.3f}{MARKS.get(row.status, '')}"


def _legend(report: CalibrationReport) -> str:
    plan = report.plan
    return (
        f"# Calibration: grid `{report.grid}`\n\n"
        f"Interval `{GATED_METHOD}`, level {report.level:g}; {report.n_sets} data sets per line "
        f"unless the column says otherwise, {plan.n_resamples} resamples each, seed {plan.seed}, "
        f"lightning_dna {report.version}. "
        "Rates are about data sets whose row carries no flag; `table.csv` has them over all data "
        "sets too, with the other interval methods.\n\n"
        "Equal arms: share of data sets with p at most "
        f"{1 - report.level:.2g}; limit: nominal + {SIGMAS:g} Monte-Carlo standard errors. Known "
        f"difference: share of intervals that contain it; band: nominal ± {BAND:g} or "
        f"{SIGMAS:g} standard errors, whichever is wider. "
        f"{MARKS['liberal']} errs too often, {MARKS['conservative']} covers too often, "
        f"{MARKS['flagged']} not judged (fewer than {FEWEST_GATED} unflagged data sets). What "
        f"lay outside, or erred more often than nominal by {DOUBTFUL:g} standard errors, was run "
        "again with fresh data sets, and the second answer is shown."
    )


def _ranges(report: CalibrationReport) -> list[str]:
    """Return the smallest, median and largest rate of both sides."""
    lines = []
    for name, members in (
        ("false positives, equal arms", [r.rate for r in report.gated if r.equal_arms]),
        ("coverage, known difference", [1 - r.rate for r in report.gated if not r.equal_arms]),
    ):
        if members:
            ordered = sorted(members)
            low, middle, high = ordered[0], ordered[len(ordered) // 2], ordered[-1]
            lines.append(f"  {name}: {low:.3f} to {high:.3f}, median {middle:.3f}")
    flagged = sum(row.status == "flagged" for row in report.rows)
    if flagged:
        lines.append(f"  not judged, because nearly all data sets carry a flag: {flagged} cells")
    return lines


def _verdict(report: CalibrationReport) -> str:
    """Return whether the limits were kept and, if not, on which side they were missed."""
    if not report.gated:
        return f"nothing was judged: fewer than {FEWEST_GATED} unflagged data sets in every cell"
    if report.passed:
        return "calibrated"
    liberal = sum(row.status == "liberal" for row in report.misses)
    wide = len(report.misses) - liberal
    return f"NOT calibrated: {liberal} cells err too often, {wide} cover more often than promised"


def _controls(report: CalibrationReport) -> list[str]:
    """Return one line per analysis that ignores the dependence in its data."""
    rates: dict[str, list[float]] = {}
    for row in report.rows:
        if row.status == "control" and row.method == GATED_METHOD:
            rates.setdefault(row.source, []).append(row.rate)
    return [
        f"  ignoring dependence, not judged: {source}: false positives "
        f"{fixed(min(found), 3)} to {fixed(max(found), 3)}"
        for source, found in rates.items()
    ]


def _rate(row: CellRow, rate: float) -> str:
    return fixed(rate if row.equal_arms else 1 - rate, 4)


def _plain(value: object) -> object:
    """Return a value as the CSV shows it: six digits, nothing for what is absent."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return "" if value is None else value

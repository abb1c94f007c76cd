"""A comparison of prediction files as one page that needs nothing beside itself."""

from collections.abc import Sequence

from lightning_dna import __version__
from lightning_dna.report.comparison_notes import (
    flag_notes,
    is_tested,
    notes,
    rows_by_place,
    shown_as,
    signatures,
    title,
    verdict_word,
)
from lightning_dna.report.interval_plot import interval_plot
from lightning_dna.report.numbers import Display, listing
from lightning_dna.report.tables import VERDICT_SYMBOLS, Table
from lightning_dna.report.template import filled
from lightning_dna.report.wording import reason_untested
from lightning_dna.stats.files.checks import TASK
from lightning_dna.stats.files.comparison import FileComparison
from lightning_dna.stats.tables import ComparisonRow

_ORDER = ("better", "non-inferior", "equivalent", "worse", "inconclusive")


def comparison_page(found: FileComparison, tables: Sequence[Table]) -> str:
    """Write the page: verdicts, tables, one plot of intervals per task and metric, notes.

    Args:
        found: The comparison.
        tables: Its tables.

    Returns:
        HTML, which needs no network and no script.
    """
    places = rows_by_place(found)
    page = filled(
        "comparison.html",
        title=title(found).rstrip("."),
        baseline=found.baseline,
        verdicts=[(_place(found, rows), _verdict(found, rows)) for rows in places.values()],
        facts=_facts(found),
        tables=tables,
        plots=[
            (_caption(found, rows), interval_plot(rows, shown_as(found, rows)))
            for rows in places.values()
        ],
        notes=notes(found),
        flags=flag_notes(found),
        signatures=signatures(found),
        symbols=VERDICT_SYMBOLS,
        version=__version__,
    )
    return f"{page.strip()}\n"


def _place(found: FileComparison, rows: Sequence[ComparisonRow]) -> str:
    """Name task and metric."""
    metric = shown_as(found, rows).title
    return metric if rows[0].task == TASK else f"{rows[0].task}, {metric}"


def _caption(found: FileComparison, rows: Sequence[ComparisonRow]) -> str:
    """Name task and metric, unit and direction."""
    shown = shown_as(found, rows)
    unit = ", ".join(part for part in (shown.difference_unit, shown.direction) if part)
    return f"{_place(found, rows)} ({unit})" if unit else _place(found, rows)


def _verdict(found: FileComparison, rows: Sequence[ComparisonRow]) -> str:
    """Say who is better, worse, equivalent or undecided."""
    shown = shown_as(found, rows)
    baseline, told = found.baseline, []
    for verdict in _ORDER:
        members = [row for row in rows if verdict_word(row) == verdict]
        if not members:
            continue
        sized = [f"{row.variant} by {_size(row, shown)}" for row in members]
        names = listing([row.variant for row in members])
        is_ = "is" if len(members) == 1 else "are"
        if verdict in ("better", "worse"):
            only = (
                f"{members[0].variant} is {verdict} than {baseline} by {_size(members[0], shown)}"
            )
            many = f"{verdict} than {baseline} are {listing(sized)}"
            told.append(only if len(members) == 1 else many)
        elif verdict == "inconclusive":
            differences = "difference" if len(members) == 1 else "differences"
            told.append(f"the {differences} of {names} to {baseline} {is_} inconclusive")
        else:
            told.append(f"{names} {is_} {verdict} to {baseline}")
    told += [
        f"{row.variant} is not tested ({reason_untested(row.flags)})"
        for row in rows
        if not is_tested(row)
    ]
    return f"{'; '.join(told)}."


def _size(row: ComparisonRow, shown: Display) -> str:
    """Write the size of a difference and its interval, turned to be positive."""
    size, low, high = row.delta, row.low, row.high
    if size < 0:
        size, low, high = -size, -high, -low
    return f"{shown.difference_with_unit(size)} {shown.interval(low, high)}"


def _facts(found: FileComparison) -> list[tuple[str, str]]:
    """Return the key facts of the comparison."""
    row, choices = found.comparisons.rows[0], found.choices
    sizes = sorted({one.n_examples for one in found.comparisons.rows})
    seeds = sorted({one.n_seeds for one in found.comparisons.rows})
    units = sorted({one.unit for one in found.comparisons.rows})
    return [
        ("Baseline", found.baseline),
        ("Scope", row.scope),
        ("Examples", " to ".join(f"{size:,}" for size in dict.fromkeys((sizes[0], sizes[-1])))),
        ("Seeds", " to ".join(str(count) for count in dict.fromkeys((seeds[0], seeds[-1])))),
        ("Resampled", " and ".join(f"{unit}s" for unit in units)),
        ("Interval", f"{choices.method}, {choices.level:.0%}"),
        ("Adjustment", choices.multiplicity),
        ("Resamples", f"{choices.n_resamples:,}"),
    ]

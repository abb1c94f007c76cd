"""What a comparison can detect, as a table for the terminal or as JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict

from lightning_dna.report.comparison_notes import title
from lightning_dna.report.numbers import ABSENT, Display, adapted, display, fixed, listing
from lightning_dna.report.plain_text import plain_table, wrapped
from lightning_dna.report.tables import for_terminal
from lightning_dna.report.wording import reason_untested
from lightning_dna.stats.files.checks import TASK
from lightning_dna.stats.files.comparison import FileComparison
from lightning_dna.stats.files.power import PlannedTest, PowerRow

_RISE = 1.005  # less than half a percent is not seen in the table


def write_power(
    rows: Sequence[PowerRow], test: PlannedTest, found: FileComparison | None, *, form: str
) -> str:
    """Write plans.

    Args:
        rows: The plans.
        test: The test that was planned.
        found: The comparison that they start from, if any.
        form: ``"terminal"`` or ``"json"``.

    Returns:
        Text that ends in one line end.
    """
    if form == "json":
        records = [_record(row) for row in rows]
        return json.dumps(records, indent=2, allow_nan=False) + "\n"
    start = "What a study can detect." if found is None else f"What {title(found)[:-1]} can detect."
    kind = "Two-sided" if test.alternative == "two-sided" else "One-sided"
    what = f"{kind} test at level {test.alpha:g}, power {test.power:.0%}, one comparison."
    blocks = [wrapped(f"{start} {what}")]
    places: dict[tuple[str, str], list[PowerRow]] = {}
    for row in rows:
        places.setdefault((row.task, row.metric), []).append(row)
    for (task, _), members in places.items():
        shown = _shown(members)
        unit = f" ({shown.difference_unit})" if shown.difference_unit else ""
        head = shown.title if task in ("", TASK) else f"{task}: {shown.title}"
        blocks.append(f"{head}{unit}\n{_now(members, shown)}")
        blocks += _grids(members, shown)
    blocks.append("\n".join(wrapped(note) for note in _notes(rows, found)))
    return for_terminal("\n\n".join(blocks)) + "\n"


def _shown(rows: Sequence[PowerRow]) -> Display:
    """Return how the numbers of a metric are written: two digits of the smallest error."""
    shown = display(rows[0].metric)
    errors = [split.se * shown.scale for row in rows for split in row.reach.grid]
    return adapted(shown, errors)


def _now(rows: Sequence[PowerRow], shown: Display) -> str:
    """Write what can be detected now, and what the effect takes."""
    effect = rows[0].reach.effect
    seeds = rows[0].scope == "procedure"
    unit = f"{rows[0].unit}s"
    headers = ["", unit, *(["seeds"] if seeds else []), "discordant", "SE", "detectable"]
    if math.isfinite(effect):
        size = f"{effect * shown.scale:g}"
        headers += [f"power for {size}", f"{unit} for {size}"]
        headers += [f"seeds for {size}"] if seeds else []
    lines = []
    for row in rows:
        line = [
            _name(row),
            fixed(row.n_units, 0) if row.n_units else ABSENT,
            *([str(row.n_seeds)] if seeds else []),
            ABSENT if math.isnan(row.discordance) else f"{row.discordance:.1%}",
            shown.number(row.reach.se),
            shown.number(row.reach.detectable),
        ]
        if math.isfinite(effect):
            line += [fixed(row.reach.power, 2), _count(row.reach.units_needed, row)]
            line += [_count(row.reach.seeds_needed, row)] if seeds else []
        lines.append(line)
    return _aligned(lines, headers)


def _count(needed: int | None, row: PowerRow) -> str:
    """Write how many are needed; no number may be enough."""
    if needed is not None:
        return fixed(needed, 0)
    return "no number is enough" if row.reach.grid else ABSENT


def _grids(rows: Sequence[PowerRow], shown: Display) -> list[str]:
    """Write detectable differences by number of units, and of seeds where they are random too."""
    planned = [row for row in rows if row.reach.grid]
    if not planned:
        return []
    sizes = list(dict.fromkeys(split.n_units for split in planned[0].reach.grid))
    now = planned[0].n_units
    headers = [f"{size:,}{' (now)' if size == now else ''}" for size in sizes]
    unit = f"{planned[0].unit}s"
    if planned[0].scope == "checkpoint":
        lines = [
            [_name(row), *(shown.number(split.detectable) for split in row.reach.grid)]
            for row in planned
        ]
        return [_aligned(lines, [f"detectable, by {unit}", *headers])]
    blocks = []
    for row in planned:
        reach = {(one.n_units, one.n_seeds): one.detectable for one in row.reach.grid}
        lines = [
            [f"{count} seeds", *(shown.number(reach[size, count]) for size in sizes)]
            for count in dict.fromkeys(split.n_seeds for split in row.reach.grid)
        ]
        name = f"{_name(row)}, detectable, by {unit}"
        blocks.append(_aligned(lines, [name, *headers]))
    return blocks


def _name(row: PowerRow) -> str:
    """Name a comparison."""
    return f"{row.variant} - {row.baseline}" if row.variant else "plan"


def _aligned(lines: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """Write a table whose first column is text and whose others are numbers."""
    return plain_table(headers, lines, "l" + "r" * (len(headers) - 1))


def _notes(rows: Sequence[PowerRow], found: FileComparison | None) -> list[str]:
    """Say what the numbers mean."""
    told = [
        "Detectable: the true difference that is found with this power; for planning, not for"
        " reading a result a second time. Several comparisons need a higher --level each.",
    ]
    told += _without_plan(found)
    if any(math.isfinite(row.discordance) for row in rows):
        told.append(
            "Discordant: the share of examples on which exactly one of the two models is right."
        )
    if rows[0].scope == "procedure":
        told.append(
            "Seeds are counted for each arm. Where more examples do not help, the spread between"
            " trainings is what limits: only more seeds make it smaller. For other sizes both"
            " models are taken to vary alike between trainings."
        )
        told += _rising(rows)
    elif found is not None:
        told.append(
            "Scope checkpoint: for these trained weights; training again adds noise that more"
            " examples do not remove."
        )
    return told


def _without_plan(found: FileComparison | None) -> list[str]:
    """Say of which comparisons there is no error to plan from, and why."""
    reasons: dict[str, list[str]] = {}
    for row in () if found is None else found.comparisons.rows:
        where = "" if row.task == TASK else f" on {row.task}"
        what = f"{display(row.metric).title} of {row.variant} and {row.baseline}{where}"
        if "identical" in row.flags:
            why = "the two agree on every unit, and no number of examples shows a difference"
        elif math.isnan(row.p):
            why = f"not tested ({reason_untested(row.flags)})"
        elif row.se == 0:
            why = "the difference is the same in every resample"
        else:
            continue
        reasons.setdefault(why, []).append(what)
    return [
        f"No plan can be made for {listing(members)}: {why}." for why, members in reasons.items()
    ]


def _rising(rows: Sequence[PowerRow]) -> list[str]:
    """Say for which numbers of seeds more examples make the detectable difference larger.

    That is no mistake: the error falls, but as its part from the seeds grows, its degrees of
    freedom fall to those of the few seeds.
    """
    seeds = set()
    for row in rows:
        for one in row.reach.grid:
            larger = [two for two in row.reach.grid if two.n_seeds == one.n_seeds]
            if any(
                two.n_units > one.n_units and two.detectable > one.detectable * _RISE
                for two in larger
            ):
                seeds.add(one.n_seeds)
    if not seeds:
        return []
    return [
        f"With {listing([str(count) for count in sorted(seeds)])} seeds the detectable difference"
        " rises with the number of examples: the error falls, but what is left of it comes from"
        " the seeds, and so few of them leave few degrees of freedom. Train more seeds before"
        " adding examples."
    ]


def _record(row: PowerRow) -> dict[str, object]:
    """Return a plan as one flat record."""
    fields = asdict(row)
    reach = fields.pop("reach")
    return {name: _plain(value) for name, value in (fields | reach).items()}


def _plain(value: object) -> object:
    """Return a value as JSON can hold it: NaN and infinity are null."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

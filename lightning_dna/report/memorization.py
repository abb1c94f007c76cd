"""The page of the memorization battery: what each instrument found, and what it cannot decide."""

from collections.abc import Sequence

from lightning_dna.report import figures
from lightning_dna.report.documents import page_html, page_markdown
from lightning_dna.report.instruments import INSTRUMENTS, Finding, Instrument, findings
from lightning_dna.report.numbers import ABSENT, display, listing
from lightning_dna.report.plain_text import plain_table
from lightning_dna.report.results import Results
from lightning_dna.report.sections import Drawing, Section, seen_before
from lightning_dna.report.series import Mark, Panel
from lightning_dna.report.tables import Cell, Column, Table, TableRow, for_terminal, pairs_table
from lightning_dna.report.wording import metric_title, task_title

PAGE, TEXT = "memorization.html", "memorization.md"
HELD_OUT = "heldout_memory"  # the battery's card of hidden bases


def memorization_files(results: Results) -> dict[str, str]:
    """Return the files of the page by path; none without an instrument beyond the gap."""
    found = findings(results)
    if all(one.instrument.anchor == "gap" for one in found):  # which the report itself shows
        return {}
    parts, verdicts = memorization_sections(results, found), _verdicts(found)
    files = {
        f"figures/{drawing.name}.svg": drawing.svg for part in parts for drawing in part.drawings
    }
    files[TEXT] = page_markdown(results, parts, verdicts)
    files[PAGE] = page_html(results, parts, verdicts, kicker="Memorization")
    return files


def memorization_sections(results: Results, found: Sequence[Finding]) -> list[Section]:
    """Return the sections of the page: findings, placement, then every instrument."""
    sections = [
        Section(
            anchor="findings",
            title="What each instrument found",
            paragraphs=(
                "Found: the whole interval lies beyond what the instrument shows without memory. "
                "Not found is no proof of absence: beside it stands the largest memory that the "
                "interval does not exclude. Intervals are of one value each and not corrected for "
                "their number; corrected comparisons of arms are in the tables beneath.",
            ),
            tables=tuple(_finding_tables(results, found)),
        ),
        *_placement(results),
        *seen_before(results),
    ]
    for instrument in INSTRUMENTS:
        tasks = [task for task in results.tasks if instrument.tasks(task)]
        if tasks:
            sections.append(_instrument_section(results, instrument, tasks))
    return sections


def _instrument_section(results: Results, instrument: Instrument, tasks: list[str]) -> Section:
    """Return all numbers of one instrument, with the comparisons of arms."""
    tables = []
    for task in tasks:
        for metric in results.tasks[task]:
            title = f"{task_title(task)} ({task}), {metric_title(task, metric).lower()}."
            tables.append(pairs_table(results, [(task, metric)], title=title, with_mde=True))
    return Section(
        anchor=instrument.anchor,
        title=instrument.title,
        paragraphs=(instrument.meaning,),
        tables=tuple(tables),
    )


def _finding_tables(results: Results, found: Sequence[Finding]) -> list[Table]:
    """Return one table per instrument: arms by what was found and what is left open."""
    tables = []
    for instrument in INSTRUMENTS:
        mine = [one for one in found if one.instrument is instrument]
        places = list(dict.fromkeys((one.estimate.task, one.estimate.metric) for one in mine))
        if not places:
            continue
        columns = [
            Column(title=title, group=f"{task_title(task)}: {metric_title(task, metric)}")
            for task, metric in places
            for title in ("Value", "Memory")
        ]
        rows = []
        for name in results.models:
            cells: list[Cell] = []
            for place in places:
                cells += _finding_cells(
                    next(
                        (
                            one
                            for one in mine
                            if one.estimate.variant == name
                            and (one.estimate.task, one.estimate.metric) == place
                        ),
                        None,
                    )
                )
            role = "baseline" if name == results.study.baseline else "arm"
            rows.append(TableRow(name=name, note="", role=role, cells=tuple(cells)))
        tables.append(Table(title=f"{instrument.title}.", columns=tuple(columns), rows=tuple(rows)))
    return tables


def _finding_cells(one: Finding | None) -> list[Cell]:
    """Return a value and what it says of memory."""
    if one is None:
        return [Cell(text=ABSENT), Cell(text=ABSENT, numeric=False)]
    shown, row = one.shown, one.estimate
    signed = one.null == 0.0
    write = shown.signed if signed else shown.number
    colour = {"found": "neutral", "fails": "worse", "holds": "equivalent"}
    judged = one.decided is not None and not one.instrument.control
    return [
        Cell(
            text=write(row.estimate),
            detail=shown.interval(row.low, row.high, sign=signed),
            tooltip=row.signature,
        ),
        Cell(
            text=one.word,
            detail=f"at most {one.left_open}" if judged and not one.decided else "",
            verdict=colour.get(one.word, "inconclusive"),
            numeric=False,
        ),
    ]


def _placement(results: Results) -> list[Section]:
    """Place every arm between the composition of the genome and quoting it."""
    metric = "mlm_accuracy"
    if (HELD_OUT not in results.tasks) or metric not in results.tasks[HELD_OUT]:
        return []
    names = (*results.references, *results.models)
    parts = {"held-out chromosomes": HELD_OUT, "training chromosomes": f"{HELD_OUT}/train"}
    shown = display(metric)
    marks = [
        Mark(
            label=name,
            value=row.estimate * shown.scale,
            low=row.low * shown.scale,
            high=row.high * shown.scale,
            kind=part,
        )
        for name in names
        for part, task in parts.items()
        if (row := results.estimate(name, task, metric)) is not None
    ]
    panel = Panel(title="", axis=f"{shown.title}, {shown.unit}", marks=tuple(marks))
    caption = (
        "The same hidden bases for all. The majority base and the Markov model know composition; "
        "the context mixture knows what follows contexts of up to 16 bases; the copy oracle looks "
        "for the same sequence elsewhere in the training chromosomes, on both strands, and says "
        "what stands there."
    )
    return [
        Section(
            anchor="placement",
            title="Between composition and quotation",
            paragraphs=(
                "An arm that is no better than the context mixture on held-out chromosomes knows "
                "local composition and what repeats teach. The copy oracle says how much of the "
                "held-out sequence stands elsewhere in training at all: homology alone can carry a "
                "model as far as that.",
            ),
            drawings=(
                Drawing(
                    name="placement",
                    svg=figures.shares([panel], prefix="placement"),
                    caption=caption,
                ),
            ),
            tables=(pairs_table(results, [(HELD_OUT, metric)], title="Held-out chromosomes."),),
        )
    ]


def _verdicts(found: Sequence[Finding]) -> list[tuple[str, str, str]]:
    """Return one sentence for each instrument and metric."""
    verdicts = []
    for instrument in INSTRUMENTS:
        mine = [one for one in found if one.instrument is instrument]
        for task, metric in dict.fromkeys((f.estimate.task, f.estimate.metric) for f in mine):
            group = [f for f in mine if (f.estimate.task, f.estimate.metric) == (task, metric)]
            where = f"{task_title(task)}: {metric_title(task, metric)}"
            verdicts.append((where, _sentence(instrument, group), ""))
    return verdicts


def _sentence(instrument: Instrument, group: Sequence[Finding]) -> str:
    """Say in one sentence what an instrument found in the arms."""
    named = {
        word: [one.estimate.variant for one in group if one.word == word]
        for word in dict.fromkeys(one.word for one in group)
    }
    if instrument.control:
        failing = named.get("fails", [])
        if failing:
            value = group[0].shown.with_unit(group[0].null)
            return f"the control fails: the interval of {listing(failing)} does not hold {value}."
        return "the control holds."
    parts = []
    if "found" in named:
        parts.append(f"memory found in {listing(named['found'])}")
    if "not found" in named:
        rest = [one for one in group if one.word == "not found"]
        largest = max(rest, key=lambda one: one.margin).left_open
        arms = listing(named["not found"]) if len(rest) < len(group) else "any arm"
        parts.append(f"not found in {arms}, where up to {largest} is not excluded")
    if "no interval" in named:
        parts.append(f"no interval for {listing(named['no interval'])}")
    return f"{'; '.join(parts)}."


def findings_text(results: Results) -> str:
    """Write the findings for a terminal, one line for each arm, instrument and metric."""
    lines = []
    for one in findings(results):
        row, shown = one.estimate, one.shown
        open_still = one.word == "not found"
        lines.append(
            [
                row.task,
                row.metric,
                row.variant,
                shown.number(row.estimate),
                shown.interval(row.low, row.high),
                one.word,
                one.left_open if open_still else "",
            ]
        )
    headers = ("task", "metric", "arm", "value", f"{results.study.level:.0%}", "memory", "at most")
    return for_terminal(plain_table(headers, lines, "lllrllr"))

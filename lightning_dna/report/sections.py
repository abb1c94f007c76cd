"""What stands on the page and in which order; HTML and Markdown are written from this alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lightning_dna.report import figures, series, similarity_figure
from lightning_dna.report.cost_table import COST_SOURCES, cost_tables
from lightning_dna.report.gain_table import GAIN_MEANINGS, gain_tables
from lightning_dna.report.labelled_tables import (
    labelled_remarks,
    matrix_tables,
    rate_tables,
    training_tables,
    tuning_table,
)
from lightning_dna.report.numbers import ABSENT, display, duration, magnitude
from lightning_dna.report.plain_text import json_text
from lightning_dna.report.results import Results
from lightning_dna.report.rows import Difference, Estimate
from lightning_dna.report.similarity_table import WINDOW_MEANINGS, similarity_bin_tables
from lightning_dna.report.split_table import (
    SIMILARITY_MEANINGS,
    SPLIT_MEANINGS,
    similarity_tables,
    split_tables,
)
from lightning_dna.report.stability_table import STABILITY_MEANINGS, stability_tables
from lightning_dna.report.strata_table import annotation_tables
from lightning_dna.report.tables import (
    Cell,
    Column,
    Table,
    TableRow,
    gap_tables,
    main_tables,
    strata_tables,
    task_tables,
)
from lightning_dna.report.wording import flags_by_name, how_to_read


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure: file name without ending, SVG text, caption (also its text alternative)."""

    name: str
    svg: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section of the page.

    Attributes:
        anchor: Identifier in the page.
        title: Heading.
        paragraphs: Text before everything else.
        drawings: Figures.
        tables: Tables.
        folded: A table that the page folds away and Markdown leaves to a file.
        folded_title: What the folded table holds.
        folded_file: The file that holds the same.
        code: Preformatted text, may be empty.
    """

    anchor: str
    title: str
    paragraphs: tuple[str, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    tables: tuple[Table, ...] = ()
    folded: Table | None = None
    folded_title: str = "Every number with its signature"
    folded_file: str = "table.csv"
    code: str = ""


def sections(results: Results) -> list[Section]:
    """Return the sections beneath the verdict, top to bottom."""
    return [
        Section(anchor="main", title="Main results", **_main(results)),
        _differences(results),
        *_tasks(results),
        *_gains(results),
        *_labelled(results),
        *_deviations(results),
        *seen_before(results),
        _cost(results),
        *_stability(results),
        _drawn(
            "curves",
            "Learning curves",
            [("curves", series.curve_panels(results), figures.curves)],
            "Thin lines are seeds, thick lines their mean.",
            "No learning curves were recorded (results/curves.csv is absent or empty).",
        ),
        _drawn(
            "chromosomes",
            "Chromosome by chromosome",
            [("chromosomes", series.chromosome_panels(results), figures.chromosomes)],
            "Each point is one chromosome with its interval. A model that memorizes is better on"
            " the chromosomes it was trained on.",
            "No results per chromosome were recorded (results/chromosomes.csv is absent or empty).",
        ),
        _parts(results),
        Section(anchor="reading", title="How to read this", paragraphs=tuple(how_to_read(results))),
        _warnings(results),
        _failures(results),
        _provenance(results),
    ]


def _tasks(results: Results) -> list[Section]:
    """Return the section of single tasks; none where all are shown together."""
    tables = tuple(task_tables(results))
    said = "Tasks are shown one by one; no average over tasks is formed."
    found = Section(anchor="tasks", title="Every task", paragraphs=(said,), tables=tables)
    return [found] if tables else []


def _main(results: Results) -> dict[str, Any]:
    """Return the content of the first section."""
    tables = (*matrix_tables(results, planned=True), *main_tables(results))
    if not tables:
        return {"paragraphs": ("Nothing was scored.",)}
    return {"tables": tables}


Draw = Callable[..., str]


def _drawn(
    anchor: str,
    title: str,
    figures_wanted: Sequence[tuple[str, Sequence[Any], Draw]],
    caption: str,
    missing: str,
) -> Section:
    """Return a section of figures, or one that says why there is none."""
    drawings = tuple(
        Drawing(name=name, svg=draw(panels, prefix=name), caption=caption)
        for name, panels, draw in figures_wanted
        if panels
    )
    return Section(
        anchor=anchor, title=title, drawings=drawings, paragraphs=() if drawings else (missing,)
    )


def _labelled(results: Results) -> list[Section]:
    """Return the tasks with labels: all of them at a glance, and what the models cost there."""
    others = matrix_tables(results, planned=False)
    tables = (*others, *training_tables(results), *rate_tables(results))
    if not tables:
        return []
    section = Section(
        anchor="labelled",
        title="Labelled tasks",
        paragraphs=labelled_remarks(results),
        tables=tables,
        folded=tuning_table(results),
        folded_title="Every use of an arm on a task, mean over seeds",
        folded_file="results/finetune.csv",
    )
    return [section]


def _gains(results: Results) -> list[Section]:
    """Return what training before the task is worth, where both were scored."""
    tables = tuple(gain_tables(results))
    title, said = "What pretraining is worth", (GAIN_MEANINGS,)
    return [Section(anchor="pretraining", title=title, paragraphs=said, tables=tables)][
        : len(tables)
    ]


def _deviations(results: Results) -> list[Section]:
    """Return what a task is not, compared with what was published under its name."""
    rows = [_plain_row(task, " ".join(said)) for task, said in results.study.deviations.items()]
    if not rows:
        return []
    table = _plain_table("Task", ("What differs, and what to know of its data",), rows)
    return [
        Section(
            anchor="deviations", title="Deviations from the published protocol", tables=(table,)
        )
    ]


def seen_before(results: Results) -> list[Section]:
    """Return scores under other splits, and by similarity to training."""
    found = (
        (SPLIT_MEANINGS, split_tables(results)),
        (SIMILARITY_MEANINGS, similarity_tables(results)),
        (WINDOW_MEANINGS, similarity_bin_tables(results)),
    )
    if not any(tables for _, tables in found):
        return []
    panels, caption = similarity_figure.similarity_panels(results), similarity_figure.CAPTION
    wanted = [("similarity", panels, similarity_figure.similarity)]
    drawn = _drawn("splits", "What training had seen before", wanted, caption, "")
    said = tuple(meaning for meaning, tables in found if tables)
    tables = tuple(table for _, tables in found for table in tables)
    return [replace(drawn, paragraphs=said, tables=tables)]


def _cost(results: Results) -> Section:
    """Return the first planned metric against every cost, and the table of costs."""
    drawn = _drawn(
        "cost",
        "Accuracy against cost",
        [("cost", series.cost_panels(results), figures.cost)],
        "The first planned metric against what each arm costs. Throughput and memory are those"
        " of the machine named under provenance; parameters have no better direction.",
        "No arm has both a planned result and a recorded cost.",
    )
    tables = tuple(cost_tables(results))
    said = (*drawn.paragraphs, COST_SOURCES) if tables else drawn.paragraphs
    return replace(drawn, paragraphs=said, tables=tables)


def _stability(results: Results) -> list[Section]:
    """Return what arms read and how steadily they trained, where it was recorded."""
    tables = tuple(stability_tables(results))
    title, said = "Steps, padding and stability", (STABILITY_MEANINGS,)
    section = Section(anchor="stability", title=title, paragraphs=said, tables=tables)
    return [section] if tables else []


def _differences(results: Results) -> Section:
    """Return the forest plots: planned comparisons, then the others."""
    level = f"{results.study.level:.0%}"
    base = results.study.baseline
    band = (
        " The shaded band is the declared margin of equivalence." if results.study.margins else ""
    )
    drawings = []
    for name, pairs, kind in (
        ("forest_planned", results.primary, "Planned" if results.study.planned else "Primary"),
        ("forest_other", series.other_pairs(results), "Exploratory"),
    ):
        panels = series.forest_panels(results, pairs)
        if panels:
            band = " The shaded band is the declared margin of equivalence."
            band = band if any(panel.margin is not None for panel in panels) else ""
            caption = f"{kind} comparisons: each arm minus {base}, with {level} intervals.{band}"
            svg = figures.forest(panels, prefix=name)
            drawings.append(Drawing(name=name, svg=svg, caption=caption))
    missing = () if drawings else (f"There is no other arm to compare with {base}.",)
    return Section(
        anchor="differences",
        title="Differences to the baseline",
        drawings=tuple(drawings),
        paragraphs=missing,
    )


def _parts(results: Results) -> Section:
    """Return repeat and unique sequence, and the memorization gap."""
    tables = (*strata_tables(results), *annotation_tables(results), *gap_tables(results))
    panels = series.part_panels(results)
    if not panels:
        reason = "No strata were scored, so repeats cannot be told from unique sequence here."
        return Section(anchor="parts", title="Repeats and memorization", paragraphs=(reason,))
    caption = (
        "Left: the same positions split by the repeat mask. Right: the gap between training and"
        " held-out chromosomes."
        if len(panels) > 1
        else panels[0].title
    )
    text = (
        "A gap is the value on training chromosomes minus that on held-out ones: an accuracy above"
        " zero, or bits per base below zero, is what memorization looks like. A larger or smaller"
        " gap is neither better nor worse by itself."
    )
    svg = figures.parts(panels, prefix="parts")
    return Section(
        anchor="parts",
        title="Repeats and memorization",
        paragraphs=(text,),
        drawings=(Drawing(name="parts", svg=svg, caption=caption),),
        tables=tables,
    )


def _warnings(results: Results) -> Section:
    """Return the flags and notes of the study."""
    rows = [
        _plain_row(flag, meaning or ABSENT, where)
        for flag, meaning, where in flags_by_name(results)
    ]
    tables = (_plain_table("Flag", ("Meaning", "Raised for"), rows),) if rows else ()
    paragraphs = [*results.study.notes, *_budget_warning(results)]
    return Section(
        anchor="warnings",
        title="Warnings",
        paragraphs=tuple(paragraphs) if paragraphs or rows else ("None.",),
        tables=tables,
    )


def _budget_warning(results: Results) -> list[str]:
    """Say so when arms did not get the same number of training tokens."""
    # An arm without any is a checkpoint from elsewhere, of which the notes speak.
    spent = {row.tokens for row in results.arms if row.kind == "model" and row.tokens > 0}
    if len(spent) < 2:
        return []
    return [
        f"Arms were trained on different numbers of tokens, from {magnitude(min(spent))} to"
        f" {magnitude(max(spent))}: their differences are not at equal budget."
    ]


def _failures(results: Results) -> Section:
    """Return what failed, with the message of each run."""
    rows = []
    for failure in results.provenance.failures:
        message = str(failure.get("message", "")).strip()
        last = message.splitlines()[-1] if message else "no message was kept"
        rows.append(_plain_row(str(failure.get("arm", "?")), str(failure.get("seed", "?")), last))
    if not rows:
        return Section(anchor="failures", title="Failures", paragraphs=("No run failed.",))
    text = (
        "Arms with failed seeds are compared on the seeds that finished; an arm without any is"
        " shown as absent. `lightning-dna retry` runs the failed ones again."
    )
    table = _plain_table("Arm", ("Seed", "Message"), rows)
    return Section(anchor="failures", title="Failures", paragraphs=(text,), tables=(table,))


def _provenance(results: Results) -> Section:
    """Return versions, data, runs, the recipe, and every number's signature."""
    source = results.provenance
    facts = {
        "Results written": f"{results.study.created} by lightning_dna {results.study.version}",
        "Git commit": source.commit or "not recorded",
        "Platform": source.platform or "not recorded",
        "Packages": ", ".join(
            f"{name} {number}" for name, number in sorted(source.versions.items())
        )
        or "not recorded",
    }
    facts |= {f"Data: {key}": json_text(value) for key, value in source.data.items()}
    tables = [
        _plain_table("What", ("Value",), [_plain_row(key, value) for key, value in facts.items()])
    ]
    runs = [
        _plain_row(
            str(run.get("run_id", "?")),
            str(run.get("arm", "?")),
            str(run.get("seed", "?")),
            str(run.get("state", "?")),
            duration(float(run.get("seconds") or math.nan)),
        )
        for run in source.runs
    ]
    if runs:
        tables.append(_plain_table("Run", ("Arm", "Seed", "State", "Time"), runs))
    return Section(
        anchor="provenance",
        title="Provenance",
        tables=tuple(tables),
        code=results.study.recipe.strip(),
        folded=_signatures(results),
    )


def _signatures(results: Results) -> Table:
    """Return every number of the study with the line that says how it was computed."""
    rows: list[TableRow] = []
    everything: tuple[Estimate | Difference, ...] = (*results.estimates, *results.comparisons)
    for row in everything:
        shown = display(row.metric)
        if isinstance(row, Difference):
            number = f"{shown.signed(row.delta)} {shown.interval(row.low, row.high, sign=True)}"
        else:
            number = f"{shown.number(row.estimate)} {shown.interval(row.low, row.high)}"
        what = "difference" if isinstance(row, Difference) else "value"
        rows.append(_plain_row(row.variant, row.task, row.metric, what, number, row.signature))
    return _plain_table("Arm", ("Task", "Metric", "What", "Number", "Signature"), rows)


def _plain_table(first: str, titles: Sequence[str], rows: Sequence[TableRow]) -> Table:
    """Return a table of text."""
    columns = tuple(Column(title=title) for title in titles)
    return Table(title="", first=first, columns=columns, rows=tuple(rows))


def _plain_row(name: str, *texts: str) -> TableRow:
    """Return a row of text."""
    cells = tuple(Cell(text=text, numeric=False) for text in texts)
    return TableRow(name=name, note="", role="arm", cells=cells)

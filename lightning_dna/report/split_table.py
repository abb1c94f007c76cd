"""Scores under other splits, and by similarity to training: what a model may have remembered."""

from lightning_dna.report.numbers import display
from lightning_dna.report.results import Results
from lightning_dna.report.rows import SplitDrop
from lightning_dna.report.tables import Cell, Column, Table, TableRow, part_tables
from lightning_dna.tasks.split_views import similarity_strata

SPLIT_MEANINGS = (
    "Drop: the score on the published split minus that under the other one, or on a task minus that"
    " on the one that corrects it. Under 'deoverlapped' the test examples are the same, and the"
    " interval is of the paired difference; otherwise they are others, resampled independently."
    " Training on"
    " fewer examples costs something by itself: look at how many were left out. No interval is"
    " corrected for the number of rows. Every value: results/splits.csv."
)
SIMILARITY_MEANINGS = (
    "Strata are test examples by the share of their k-mers, in per cent, that the most similar"
    " training example holds. Strata hold different examples, of different difficulty: compare arms"
    " within a stratum, and not strata with each other."
)


def split_tables(results: Results) -> list[Table]:
    """Return one table for each task, split and metric: arms by ways."""
    groups: dict[tuple[str, str, str], list[SplitDrop]] = {}
    for row in results.drops:
        groups.setdefault((row.task, row.split, row.metric), []).append(row)
    return [_table(results, key, rows) for key, rows in groups.items()]


def similarity_tables(results: Results) -> list[Table]:
    """Return, per task and metric, the strata of similarity beside each other."""
    return part_tables(results, similarity_strata(), "by similarity to training, in per cent")


def _table(results: Results, key: tuple[str, str, str], rows: list[SplitDrop]) -> Table:
    """Return the drops of one task, split and metric."""
    task, split, metric = key
    shown = display(metric)
    ways = list(dict.fromkeys(row.way for row in rows))
    cells = {(row.variant, row.way): row for row in rows}
    columns = tuple(
        Column(title=title, group=way or task)
        for way in ways
        for title in ("original", split, "drop")
    )
    order = [*results.models, *results.references]
    lines = []
    for variant in order:
        if not any((variant, way) in cells for way in ways):
            continue
        role = "reference" if variant in results.references else "arm"
        role = "baseline" if variant == results.study.baseline else role
        written: list[Cell] = []
        for way in ways:
            row = cells.get((variant, way))
            if row is None:
                written += [Cell(text="")] * 3
                continue
            written += [
                Cell(text=shown.number(row.original)),
                Cell(text=shown.number(row.resplit)),
                Cell(
                    text=shown.signed(row.drop), detail=shown.interval(row.low, row.high, sign=True)
                ),
            ]
        lines.append(TableRow(name=variant, note="", role=role, cells=tuple(written)))
    first = rows[0]
    sizes = f"{first.n_original:,} and {first.n_resplit:,} test examples"
    kind = "the same test examples" if first.paired else f"other test examples ({sizes})"
    return Table(
        title=f"{task}: {shown.title}, original and {split}: {kind}.",
        columns=columns,
        rows=tuple(lines),
    )

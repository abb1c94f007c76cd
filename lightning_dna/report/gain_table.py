"""Every arm against itself without its training: what pretraining is worth on labelled tasks."""

from collections import Counter

from lightning_dna.report.numbers import ABSENT, display, listing
from lightning_dna.report.results import Results
from lightning_dna.report.rows import Difference
from lightning_dna.report.tables import VERDICT_SYMBOLS, Cell, Column, Table, TableRow
from lightning_dna.report.wording import verdict_label, way_title

GAIN_MEANINGS = (
    "The same arm, used in the same way, with its trained weights and with its initial ones:"
    " fine-tuning minus training from scratch, a probe of trained weights minus one of untrained"
    " weights, a score of variants minus that of untrained weights. Differences are paired over"
    " examples. All of them are one family of comparisons, by the first metric of each task."
)


Key = tuple[str, str, str]  # way, control, metric


def gain_tables(results: Results) -> list[Table]:
    """Return a table of tasks by arms for each way that was scored with and without training."""
    return [_table(results, *key, rows) for key, rows in _groups(results).items()]


def gain_verdicts(results: Results) -> list[tuple[str, str, str]]:
    """Return, for each way, what the trained weights are worth to each arm, in a sentence."""
    found = []
    for (way, control, metric), rows in _groups(results).items():
        tasks = len({row.task for row in rows})
        arms: dict[str, list[str]] = {}
        for name in results.models:
            counts = Counter(verdict_label(row) for row in rows if row.variant == name)
            words = [f"{word} on {count}" if tasks > 1 else word for word, count in counts.items()]
            if words:
                arms.setdefault(listing(sorted(words)), []).append(name)
        said = [
            f"{'every arm' if len(arms) == 1 else listing(names)}: {words}"
            for words, names in arms.items()
        ]
        place = (
            f"Pretraining, {tasks} task{'s' * (tasks > 1)}, {way_title(way)} against"
            f" {way_title(control)}, {display(metric).title}"
        )
        found.append((place, f"{'; '.join(said)}.", ""))
    return found


def _groups(results: Results) -> dict[Key, list[Difference]]:
    """Group the gains by way, control and metric, in the order of the results."""
    groups: dict[Key, list[Difference]] = {}
    for row in results.gains:
        key = row.task.rpartition("/")[2], row.baseline, row.metric
        groups.setdefault(key, []).append(row)
    return groups


def _table(results: Results, way: str, control: str, metric: str, rows: list[Difference]) -> Table:
    """Return the gains of one way."""
    shown = display(metric)
    cells = {(row.task, row.variant): row for row in rows}
    names = [name for name in results.models if any(key[1] == name for key in cells)]
    lines = []
    for task in dict.fromkeys(row.task for row in rows):
        written: list[Cell] = []
        for name in names:
            row = cells.get((task, name))
            if row is None:
                written += [Cell(text=ABSENT)] * 3
                continue
            sign = VERDICT_SYMBOLS.get(verdict_label(row), "")
            written += [
                Cell(text=shown.number(row.baseline_estimate)),
                Cell(text=shown.number(row.estimate)),
                Cell(
                    text=f"{shown.signed(row.delta)} {sign}".rstrip(),
                    detail=shown.interval(row.low, row.high, sign=True),
                    tooltip=row.signature,
                ),
            ]
        title = task.rpartition("/")[0]
        lines.append(TableRow(name=title, note="", role="arm", cells=tuple(written)))
    columns = tuple(
        Column(title=title, group=name) for name in names for title in (control, way, "gain")
    )
    return Table(
        title=f"{way_title(way).capitalize()} minus {way_title(control)}: {shown.title}.",
        columns=columns,
        rows=tuple(lines),
        first="Task",
        remark="The sign is of the gain, adjusted over the family. Every value:"
        " results/pretraining.csv.",
    )

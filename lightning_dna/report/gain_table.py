"""Every arm against itself without its training: what pretraining is worth on labelled tasks."""

from collections import Counter

from lightning_dna.report.numbers import ABSENT, display, listing
from lightning_dna.report.results import Results
from lightning_dna.report.rows import Difference
from lightning_dna.report.tables import VERDICT_SYMBOLS, Cell, Column, Table, TableRow
from lightning_dna.report.wording import task_title, verdict_label

GAIN_MEANINGS = (
    "The same arm, used in the same way, with its trained weights and with its initial ones:"
    " fine-tuning minus training from scratch, a probe of trained weights minus one of untrained"
    " weights, a score of variants minus that of untrained weights. Differences are paired over"
    " examples. All of them are one family of comparisons, by the first metric of each task."
)


def gain_tables(results: Results) -> list[Table]:
    """Return a table of tasks by arms for each way that was scored with and without training."""
    groups: dict[tuple[str, str, str], list[Difference]] = {}
    for row in results.gains:
        way = row.task.rpartition("/")[2]
        groups.setdefault((way, row.baseline, row.metric), []).append(row)
    return [_table(results, *key, rows) for key, rows in groups.items()]


def gain_verdicts(results: Results) -> list[tuple[str, str, str]]:
    """Return, for each way, what the trained weights are worth to each arm, in a sentence."""
    found = []
    for way, control, metric in dict.fromkeys(
        (row.task.rpartition("/")[2], row.baseline, row.metric) for row in results.gains
    ):
        tasks = len({row.task for row in results.gains if row.task.rpartition("/")[2] == way})
        arms: dict[str, list[str]] = {}
        for name in results.models:
            counts = Counter(verdict_label(row) for row in _of(results, way, metric, name))
            words = [f"{word} on {count}" if tasks > 1 else word for word, count in counts.items()]
            if words:
                arms.setdefault(listing(sorted(words)), []).append(name)
        said = [
            f"{'every arm' if len(arms) == 1 else listing(names)}: {words}"
            for words, names in arms.items()
        ]
        place = (
            f"Pretraining, {tasks} task{'s' * (tasks > 1)}, {_words(way)} against"
            f" {_words(control)}, {display(metric).title}"
        )
        found.append((place, f"{'; '.join(said)}.", ""))
    return found


def _of(results: Results, way: str, metric: str, name: str) -> list[Difference]:
    """Return the rows of one way, metric and arm."""
    return [
        row
        for row in results.gains
        if (row.task.rpartition("/")[2], row.metric, row.variant) == (way, metric, name)
    ]


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
        title=f"{_words(way).capitalize()} minus {_words(control)}: {shown.title}.",
        columns=columns,
        rows=tuple(lines),
        first="Task",
        remark="The sign is of the gain, adjusted over the family. Every value:"
        " results/pretraining.csv.",
    )


def _words(way: str) -> str:
    """Return what a way is called within a sentence."""
    return task_title(f"x/{way}").removeprefix("X, ")

"""What is asked of files, against files and options: messages name both as users know them."""

import re

import pytest

from lightning_dna.errors import StatsError
from lightning_dna.stats.files.comparison import ComparisonChoices, compare_files

LABELS = {"id": list(range(8)), "label": [0, 1] * 4, "pred": [0, 1, 1, 1] * 2}


def long(models: str, seeds: dict[str, list[int]], tasks: str = "t") -> dict[str, list]:
    """Columns of a long file; seeds by model, or by model and task."""
    keys = [(task, model, seed) for task in tasks for model in models
            for seed in seeds.get(model + task, seeds.get(model, [0]))]  # fmt: skip
    columns = {name: cells * len(keys) for name, cells in LABELS.items()}
    for position, name in enumerate(("task", "model", "seed")):
        columns[name] = [key[position] for key in keys for _ in range(8)]
    return columns


@pytest.fixture
def said(folder, write):
    """Return a function that asks something of a long file, and gives the refusal."""

    def run(columns, **choices) -> str:
        asked = ComparisonChoices(**({"baseline": "A", "n_resamples": 99} | choices))
        with pytest.raises(StatsError) as caught:
            compare_files([write("long.csv", columns)], asked)
        text = str(caught.value)
        python = r"\b(unit|scope|method|multiplicity|simultaneous|tasks)=|_seeds|needs cluster_id"
        assert not re.search(python, text), text
        assert not text.startswith(("align:", "aggregate:"))
        return text

    return run


TWO = {"A": [0, 1], "B": [0, 1]}


@pytest.mark.parametrize(
    ("columns", "choices", "expected"),
    [
        (long("AB", {}), {"unit": "cluster"},
         "--unit cluster needs a cluster column, and long.csv has none (columns: id, label, pred"),
        (long("AB", {}), {"simultaneous": True, "multiplicity": "holm"},
         "it needs --multiplicity max-t, not holm."),
        (long("AB", {}), {"simultaneous": True, "method": "bca"},
         "--simultaneous needs --method se-t or analytic, not bca."),
        (long("AB", {}), {"simultaneous": True, "n_resamples": 18},
         "--simultaneous at --level 0.95 needs --resamples 19 or more, not 18."),
        (long("AB", {}), {"paired_seeds": True}, "--paired-seeds belongs to --scope procedure"),
        (long("AB", {"A": [0, 1], "B": [0, 2]}), {"paired_seeds": True, "scope": "procedure"},
         "on task 't' 'B' has seeds 0, 2 and 'A' has seeds 0, 1."),
        (long("AB", TWO), {"scope": "procedure", "method": "percentile"},
         "--scope procedure needs --method se-t"),
        (long("AB", {}), {"method": "symmetric", "alternative": "less"},
         "--method symmetric is two-sided; use --method se-t"),
        (long("AB", {}), {"level": 1.0}, "--level must lie between 0 and 1, such as 0.95, not 1."),
        (long("AB", {}), {"n_resamples": 1}, "--resamples must be 2 or more, not 1."),
        (long("AB", {}), {"aggregate": "mean"}, "--aggregate sums up two tasks or more"),
        (long("AB", {}, "tu"), {"aggregate": "mean"}, "--aggregate mean over 2 tasks: say what"),
        (long("AB", TWO, "tu"), {"aggregate": "iqm", "tasks": "random", "scope": "procedure"},
         "--aggregate iqm with --tasks random has no interval for --scope procedure"),
        (long("AB", {"At": [0, 1], "Au": [1, 2], "B": [0, 1]}, "tu"),
         {"aggregate": "mean", "tasks": "random", "scope": "procedure"},
         "'A' has different seeds in different tasks: --tasks random with --scope procedure"),
    ],
)  # fmt: skip
def test_options_are_called_by_their_flags(said, columns, choices, expected):
    assert expected in said(columns, **choices)


def test_models_that_lack_a_task_are_not_summed_up(said):
    columns = long("ABC", {}, "tu")
    keep = [(m, t) != ("C", "u") for m, t in zip(columns["model"], columns["task"], strict=True)]
    gap = {name: [cell for cell, one in zip(cells, keep, strict=True) if one]
           for name, cells in columns.items()}  # fmt: skip
    text = said(gap, aggregate="mean", tasks="fixed")
    assert text.startswith("--aggregate needs every model on every task. Task u: not compared")


def test_tasks_without_a_common_metric_are_not_summed_up(said):
    columns = long("AB", {}, "tu")
    columns["label"] = [
        cell / 4 + at % 8 if task == "u" else cell
        for at, (cell, task) in enumerate(zip(columns["label"], columns["task"], strict=True))
    ]
    text = said(columns, aggregate="mean", tasks="fixed")
    assert text == (
        "--aggregate needs a metric that all tasks have, and there is none (t: accuracy, mcc; "
        "u: pearson, spearman, mse). Name one with --metrics, or leave tasks out."
    )

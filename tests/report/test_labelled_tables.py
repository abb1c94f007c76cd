"""Labelled tasks on the page: many of them at a glance, and what every use of an arm chose."""

import csv
import math
from dataclasses import replace

import pytest

from lightning_dna.report.gain_table import gain_tables, gain_verdicts
from lightning_dna.report.labelled_tables import (
    collapsed_verdicts,
    labelled_remarks,
    matrix_tables,
    rate_tables,
    training_tables,
    tuning_table,
)
from lightning_dna.report.page import build
from lightning_dna.report.results import MOST_SINGLE, load_results
from lightning_dna.report.sections import sections
from lightning_dna.report.tables import main_tables, task_tables

BASE, OTHER = "attention_alibi", "hyena"
TASKS = [f"task{at}" for at in range(MOST_SINGLE + 1)]
TUNING = "arm,seed,task,way,parameters_updated,seconds,best_epoch,chosen_c,valid_metric"
NEWER = "examples_per_second,epochs_run,context_length,c_at_edge,chosen_lr,lr_at_edge"


def line(arm: str, seed: int, task: str, way: str = "full", lr: float = 1e-3, edge: bool = False):
    return f"{arm},{seed},{task},{way},1234,60,{seed + 1},,0.5,100,3,70,,{lr},{edge}"


def tried(arm: str, seed: str, task: str, way: str, lr: float, valid: str, chosen: bool):
    return f"{arm},{seed},{task},{way},,{lr},{valid},1,1,2.0,{chosen}"


TRIED = "arm,seed,task,way,fold,lr,valid_metric,best_epoch,epochs_run,seconds,chosen"


@pytest.fixture
def many(content, write):
    """Return a study of seven labelled tasks, one planned metric of each."""
    template = [row for row in content["estimates.csv"] if row["task"] == "promoter/full"]
    compared = [row for row in content["comparisons.csv"] if row["task"] == "promoter/full"]
    for name in ("estimates.csv", "comparisons.csv"):
        content[name] = [row for row in content[name] if "/" not in row["task"]]
    for at, task in enumerate(TASKS):
        content["estimates.csv"] += [{**row, "task": f"{task}/full"} for row in template]
        for row in compared:
            changed = {**row, "task": f"{task}/full", "planned": row["metric"] == "accuracy"}
            if row["variant"] == OTHER:
                changed["verdict"] = "better" if at < 2 else "worse"
            content["comparisons.csv"].append(changed)
    content["study.json"]["planned"] = [[f"{task}/full", "accuracy"] for task in TASKS]
    content["study.json"]["deviations"] = {
        "task0": ["Validation was cut from training.", "2 of 9 used."]
    }
    folder = write(content)
    rows = [line(arm, seed, task) for task in TASKS for arm in (BASE, OTHER) for seed in (0, 1)]
    rows[0] = line(BASE, 0, "task0", lr=1e-2, edge=True)
    path = folder / "results" / "finetune.csv"
    path.write_text("\n".join([f"{TUNING},{NEWER}", *rows]) + "\n")
    rates = [
        tried(BASE, "0", "task0", "full", 1e-3, "0.4", False),
        tried(BASE, "0", "task0", "full", 1e-2, "0.5", True),
        tried(BASE, "1", "task0", "full", 1e-3, "0.5", True),
        tried(BASE, "1", "task0", "full", 1e-2, "", False),
        tried("onehot_cnn", "0", "task0", "", 1e-3, "0.2", True),
    ]
    (folder / "results" / "learning_rates.csv").write_text("\n".join([TRIED, *rates]) + "\n")
    return folder


@pytest.fixture
def results(many):
    return load_results(many)


def test_many_tasks_make_one_table_of_tasks_by_arms(results):
    assert results.collapsed == {f"{task}/full" for task in TASKS}
    (table,) = matrix_tables(results, planned=True)
    assert matrix_tables(results, planned=False) == []
    assert [row.name for row in table.rows] == [*TASKS, "verdicts"]
    names = [column.title for column in table.columns]
    assert names[: len(results.models)] == list(results.models)
    assert names[len(results.models) :] == ["majority", "kmer_logistic"]
    value = table.rows[0].cells[names.index(OTHER)]
    expected = results.estimate(OTHER, "task0/full", "accuracy")
    assert value.text == f"{100 * expected.estimate:.2f} ▲"
    assert value.detail.startswith("[")
    assert table.rows[2].cells[names.index(OTHER)].text.endswith("▼")
    assert "▲" not in table.rows[0].cells[names.index(BASE)].text
    assert table.rows[-1].cells[names.index(OTHER)].text == "▲ 2  ▼ 5"
    assert "7 of 7 rows are planned" in table.remark


def test_the_verdict_counts_them_and_nothing_is_averaged(results):
    ((place, said, _),) = collapsed_verdicts(results)
    assert place == "7 tasks, fine-tuned, Accuracy"
    assert "hyena is better on 2 and is worse on 5" in said
    assert "No average over tasks is formed" in labelled_remarks(results)[0]


def test_another_split_is_no_further_task(content, write, many):
    """Three of the tasks are the others under another split."""
    for name in ("estimates.csv", "comparisons.csv"):
        for row in content[name]:
            for at in (4, 5, 6):
                row["task"] = row["task"].replace(f"task{at}/", f"task{at - 4}@homology/")
    content["study.json"]["planned"] = [
        [f"task{at - 4}@homology/full" if at > 3 else f"task{at}/full", "accuracy"]
        for at in range(7)
    ]
    folder = write(content)
    tunings = folder / "results" / "finetune.csv"
    text = tunings.read_text()
    for at in (4, 5, 6):
        text = text.replace(f"task{at},", f"task{at - 4}@homology,")
    tunings.write_text(text)
    found = collapsed_verdicts(load_results(folder))
    assert [place for place, _, _ in found] == [
        "4 tasks, fine-tuned, Accuracy",
        "3 tasks, fine-tuned, split 'homology', Accuracy",
    ]
    assert "hyena is better on 2 and is worse on 2;" in found[0][1]


def test_gains_are_counted_by_way_and_metric(results):
    """A task that is measured by another metric is no task of this sentence."""
    template = next(row for row in results.comparisons if row.variant == OTHER)
    gains = [
        replace(template, task=f"{task}/full", baseline="scratch", metric=metric, verdict=verdict)
        for task, metric, verdict in (
            ("a", "accuracy", "better"),
            ("b", "accuracy", "worse"),
            ("c", "mcc", "better"),
        )
    ]
    results = replace(results, gains=tuple(gains))
    assert gain_verdicts(results) == [
        (
            "Pretraining, 2 tasks, fine-tuned against trained from scratch, Accuracy",
            "every arm: better on 1 and worse on 1.",
            "",
        ),
        (
            "Pretraining, 1 task, fine-tuned against trained from scratch, Matthews correlation",
            "every arm: better.",
            "",
        ),
    ]
    assert [len(table.rows) for table in gain_tables(results)] == [2, 1]


def test_a_simple_baseline_above_every_arm_is_counted(many):
    path = many / "results" / "estimates.csv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        task, name = row["task"].removesuffix("/full"), row["variant"]
        if task in TASKS:
            row["estimate"] = "0.7" if name == BASE else "0.5"
        if (task, name) in {(TASKS[1], "majority"), (TASKS[4], "kmer_logistic")}:
            row["estimate"] = "0.71"
        if (task, name) == (TASKS[5], "kmer_logistic"):
            row["estimate"] = "0.72"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*rows[0]])
        writer.writeheader()
        writer.writerows(rows)
    ((_, _, remark),) = collapsed_verdicts(load_results(many))
    assert remark.startswith(
        "By point estimate a simple baseline is above every arm on 3 of 7 tasks:"
        " kmer_logistic on 2 and majority on 1,"
    )


def test_no_empty_section_is_shown(results, monkeypatch):
    assert "tasks" in [one.anchor for one in sections(results)]
    monkeypatch.setattr("lightning_dna.report.sections.task_tables", lambda _: [])
    assert "tasks" not in [one.anchor for one in sections(results)]


def test_they_are_left_out_elsewhere(results):
    assert main_tables(results) == []
    shown = [table.title for table in task_tables(results)]
    assert shown
    assert not [title for title in shown if "task0" in title]


def test_few_tasks_stay_as_they_were(many):
    path = many / "results" / "finetune.csv"
    lines = [text for text in path.read_text().splitlines() if TASKS[-1] not in text]
    path.write_text("\n".join(lines) + "\n")
    results = load_results(many)
    assert not results.collapsed
    assert matrix_tables(results, planned=True) == []
    assert collapsed_verdicts(results) == []
    assert len(main_tables(results)) > 1


def test_what_each_way_cost(results):
    (table,) = training_tables(results)
    assert [column.title for column in table.columns][:2] == ["Way", "Parameters updated"]
    assert [(row.name, row.cells[0].text) for row in table.rows] == [
        (BASE, "full"),
        (OTHER, "full"),
    ]
    texts = [cell.text for cell in table.rows[0].cells]
    # parameters, 14 uses of 60 s, examples per s, median of epochs 1 and 2, longest, edges
    assert texts[1].replace(",", "").startswith("1")
    assert texts[2:] == ["14.0 min", "100", "1.5", "70", "1 of 14"]


def test_learning_rates_are_counted_and_a_baseline_with_one_has_no_choice(results):
    (table,) = rate_tables(results)
    assert [column.title for column in table.columns] == ["Way", "0.001", "0.01"]
    (row,) = table.rows
    assert row.name == BASE
    assert [cell.text for cell in row.cells] == ["full", "1 of 2", "1 of 2, 1 diverged"]


def test_every_use_with_a_star_at_the_edge(results):
    table = tuning_table(results)
    assert len(table.rows) == 2 * len(TASKS)
    assert table.rows[0].name == "task0/full"
    assert [cell.text for cell in table.rows[0].cells][6] == "0.01*, 0.001"
    # Of two rates either is at an edge: that says nothing of the arm that chose.
    said = labelled_remarks(results)
    assert [text[:40] for text in said[1:]] == ["For 'full' two learning rates were tried"[:40]]


def test_edges_and_last_epochs_are_counted(many):
    place = many / "results"
    with (place / "learning_rates.csv").open("a") as file:
        file.write(tried(BASE, "1", "task0", "full", 3e-3, "0.1", False) + "\n")
    lines = (place / "finetune.csv").read_text().splitlines()
    # Of two trainings the best epoch is the third, and three were run.
    lines[1:3] = [
        text.replace(",60,1,", ",60,3,").replace(",60,2,", ",60,3,") for text in lines[1:3]
    ]
    (place / "finetune.csv").write_text("\n".join(lines) + "\n")
    said = labelled_remarks(load_results(many))
    assert said[1].startswith("In 1 of 28 uses the validation examples chose the smallest or the")
    assert said[2].startswith("In 2 of 28 trainings the best epoch was the last that was run")
    assert len(said) == 3


def test_the_page_shows_deviations_and_folds_the_long_table(results):
    files = build(results)
    page = files["report.html"]
    assert "Deviations from the published protocol" in page
    assert "Validation was cut from training. 2 of 9 used." in page
    assert "Every use of an arm on a task, mean over seeds (14)" in page
    assert "`results/finetune.csv`" in files["report.md"]
    with_tasks = [part for part in sections(results) if part.anchor == "labelled"]
    assert len(with_tasks) == 1


def test_a_file_of_the_first_versions_is_read(many):
    path = many / "results" / "finetune.csv"
    path.write_text(f"{TUNING}\n{BASE},0,task0,frozen,33,0.7,,10.0,0.3\n")
    (many / "results" / "learning_rates.csv").unlink()
    results = load_results(many)
    (row,) = results.tunings
    assert math.isnan(row.chosen_lr)
    assert rate_tables(results) == []
    texts = [cell.text for cell in tuning_table(results).rows[0].cells]
    assert texts[7] == "10"

"""Views by similarity on the page: a compact table, a figure, and nothing where none are known."""

import re

import pytest

from lightning_dna.report.page import build, render
from lightning_dna.report.results import is_part, load_results
from lightning_dna.report.similarity_figure import similarity_panels
from lightning_dna.report.similarity_table import heads, similarity_bin_tables
from lightning_dna.report.tables import task_tables
from lightning_dna.report.wording import task_title

VIEWS = ("sim_0_1", "sim_90_100", "no_near_duplicate", "near_duplicate", "match_128_up")


@pytest.fixture
def similar(content):
    """Results with views of the held-out task, each made from the rows of its repeats."""
    for table in ("estimates.csv", "comparisons.csv"):
        rows = [row for row in content[table] if row["task"] == "heldout_mlm/repeat"]
        assert rows
        for number, view in enumerate(VIEWS):
            for row in rows:
                new = row | {"task": f"heldout_mlm/{view}"}
                if table == "estimates.csv":
                    new["n_examples"] = 100 + number
                content[table].append(new)
        gaps = [row for row in content[table] if row["task"] == "heldout_mlm/gap"]
        content[table] += [row | {"task": "heldout_mlm/matched_gap"} for row in gaps]
    return content


def test_one_table_for_each_kind_and_metric(similar, write):
    results = load_results(write(similar))
    assert heads(results) == ["heldout_mlm"]
    tables = similarity_bin_tables(results)
    assert len(tables) == 6  # three kinds of similarity, two metrics
    assert [len(table.columns) for table in tables] == [2, 2, 2, 2, 1, 1]
    first = tables[0]
    assert first.columns[0].title == "0 to 1 % of 21-mers in training: 100 windows"
    assert [row.name for row in first.rows][: len(results.models)] == list(results.models)
    assert first.rows[0].role == "baseline"
    hyena = next(row for row in first.rows if row.name == "hyena")
    expected = results.difference("hyena", "heldout_mlm/repeat", "mlm_accuracy")
    assert f"{100 * expected.delta:+.2f}"[1:] in hyena.cells[0].detail
    assert hyena.cells[0].detail.endswith("worse")


def test_they_stay_out_of_the_other_tables(similar, write):
    results = load_results(write(similar))
    assert not any("21-mers" in table.title for table in task_tables(results))
    assert all(is_part(f"heldout_mlm/{view}") for view in (*VIEWS, "matched_gap"))
    assert not is_part("sim_0_1")
    assert is_part("heldout_mlm/div_5_10")
    older = "Held-out chromosomes, repeats with 5 to 10 % of substitutions"
    assert task_title("heldout_mlm/div_5_10") == older
    gap = "Training minus held-out chromosomes at equal composition"
    assert task_title("heldout_mlm/matched_gap") == gap


def test_the_page_has_table_and_figure(similar, write, tmp_path):
    files = build(load_results(write(similar)))
    svg = files["figures/similarity.svg"]
    assert svg.startswith("<svg")
    assert "0 to 1" in re.sub(r"<[^>]+>", " ", svg) or "0 to 1" in svg
    text = files["report.md"]
    assert "near-duplicate in training" in text
    assert "at equal composition" in text
    again = build(load_results(write(similar)))
    assert again["figures/similarity.svg"] == svg  # the same numbers give the same bytes


def test_figure_has_every_arm_in_every_bin(similar, write):
    results = load_results(write(similar))
    panels = similarity_panels(results)
    assert len(panels) == 2
    marks = panels[0].marks
    arms = {mark.label for mark in marks}
    assert set(results.models) <= arms
    assert {mark.kind for mark in marks} == {"sim_0_1", "sim_90_100"}
    assert len(marks) == 2 * len(arms)


def test_older_results_have_neither(content, write, tmp_path):
    results = load_results(write(content))
    assert heads(results) == []
    assert similarity_bin_tables(results) == []
    assert similarity_panels(results) == []
    page = render(write(content), tmp_path / "page").read_text()
    assert "What training had seen before" not in page
    assert not (tmp_path / "page/figures/similarity.svg").exists()

"""The table of costs: what is predicted beside what was measured."""

import pytest

from lightning_dna.report.cost_table import COST_SOURCES, cost_tables
from lightning_dna.report.page import render
from lightning_dna.report.results import load_results


@pytest.fixture
def predicted(content):
    """Results of a version that predicts operations and memory."""
    for row in content["arms.csv"]:
        model = row["kind"] == "model"
        row["training_flops_per_base"] = 5.13e6 if model else ""
        row["training_flops"] = 4.2e13 if model else ""
        row["activation_mib"] = 141.6 if model else ""
        row["predicted_memory_mib"] = 163.2 if model else ""
    return content


def test_every_trained_arm_has_a_row(predicted, write):
    results = load_results(write(predicted))
    (table,) = cost_tables(results)
    assert [row.name for row in table.rows] == list(results.models)
    assert [row.role for row in table.rows] == ["baseline", *["arm"] * (len(table.rows) - 1)]
    groups = list(dict.fromkeys(column.group for column in table.columns))
    assert groups == ["Per base", "One training", "Memory, MiB"]
    first = table.rows[0]
    assert first.note == "813 k parameters"
    texts = [cell.text for cell in first.cells]
    assert texts == ["1.71 M", "5.13 M", "42.0 T", "96 s", "85.0 k", "142", "163", "711"]


def test_results_of_a_version_without_predictions_have_none(content, write):
    results = load_results(write(content))
    assert cost_tables(results) == []
    assert all(cost.training_flops != cost.training_flops for cost in results.arms)  # NaN


def test_an_arm_that_did_not_finish_has_dashes(predicted, write):
    row = predicted["arms.csv"][1]
    for key in ("train_seconds", "tokens_per_second", "peak_memory_mib", "activation_mib"):
        row[key] = ""
    results = load_results(write(predicted))
    (table,) = cost_tables(results)
    cells = next(found.cells for found in table.rows if found.name == row["arm"])
    assert [cell.text for cell in cells][3:6] == ["—", "—", "—"]
    assert cells[7].text == "—"


def test_longer_tokens_have_columns_of_their_own(predicted, write):
    rows = [row for row in predicted["arms.csv"] if row["kind"] == "model"]
    for row in rows:
        row["tokens_per_base"], row["padding_fraction"] = 1.0, 0.0
    (table,) = cost_tables(load_results(write(predicted)))
    assert "Rows" not in {column.group for column in table.columns}
    rows[1]["tokens_per_base"], rows[1]["padding_fraction"] = 0.2578, 0.0612
    (table,) = cost_tables(load_results(write(predicted)))
    titles = [column.title for column in table.columns if column.group == "Rows"]
    assert titles == ["Tokens per base", "Padding, %"]
    assert [cell.text for cell in table.rows[0].cells[:2]] == ["1.000", "0.0"]
    assert [cell.text for cell in table.rows[1].cells[:2]] == ["0.258", "6.1"]


def test_the_page_and_its_markdown_show_the_table_and_its_sources(predicted, write):
    folder = write(predicted)
    page = render(folder).read_text(encoding="utf-8")
    text = (folder / "report.md").read_text(encoding="utf-8")
    for words in ("What each arm costs.", COST_SOURCES[:40], "42.0 T"):
        assert words in page
        assert words in text

"""Steps, padding and stability on the page: what is shown, and what older results lack."""

import pytest

from lightning_dna.report.page import render
from lightning_dna.report.results import load_results
from lightning_dna.report.stability_table import STABILITY_MEANINGS, stability_tables

MEASURES = {
    "steps": 1220.0,
    "truncated_bases": 1_250_000.0,
    "loss_ratio_above_1_2": 0.0125,
    "loss_ratio_above_1_5": 0.0,
    "loss_ratio_max": 1.347,
    "gradient_norm_p50": 0.514,
    "gradient_norm_p95": 0.96,
    "gradient_norm_p99": 1.5,
    "gradient_norm_max": 12.25,
    "adam_variance_max": 0.03125,
    "adam_variance_norm_max": 41.0,
}


@pytest.fixture
def measured(content):
    """Results of a version that measures stability."""
    for row in content["arms.csv"]:
        row |= MEASURES if row["kind"] == "model" else dict.fromkeys(MEASURES, "")
        if row["kind"] == "model":
            row["padding_fraction"] = 0.236
    return content


def test_every_trained_arm_has_a_row_in_both_tables(measured, write):
    results = load_results(write(measured))
    read, steady = stability_tables(results)
    for table in (read, steady):
        assert [row.name for row in table.rows] == list(results.models)
        assert [row.role for row in table.rows] == ["baseline", *["arm"] * (len(table.rows) - 1)]
        assert {len(row.cells) for row in table.rows} == {len(table.columns)}
    texts = [cell.text for cell in read.rows[0].cells]
    assert (texts[0], texts[2:]) == ("1,220", ["96 s", "23.6", "1.25 M"])
    texts = [cell.text for cell in steady.rows[0].cells]
    assert texts == ["1.25", "0.00", "1.35", "0.51", "0.96", "1.50", "12.25", "0.0312", "41.00"]


def test_what_was_not_measured_is_a_dash(measured, write):
    row = measured["arms.csv"][1]
    for key in ("train_seconds", "loss_ratio_max", "adam_variance_max"):
        row[key] = ""
    for table in stability_tables(load_results(write(measured))):
        cells = next(found.cells for found in table.rows if found.name == row["arm"])
        assert [cell.text for cell in cells].count("—") == (1 if len(cells) == 5 else 2)


def test_older_results_have_no_such_section(content, write):
    folder = write(content)
    assert stability_tables(load_results(folder)) == []
    assert "Steps, padding and stability" not in render(folder).read_text(encoding="utf-8")


def test_the_page_and_its_markdown_say_what_the_measures_mean(measured, write):
    folder = write(measured)
    page = render(folder).read_text(encoding="utf-8")
    text = (folder / "report.md").read_text(encoding="utf-8")
    for words in ("Steps, padding and stability", STABILITY_MEANINGS[:40], "12.25", "1.25 M"):
        assert words in page
        assert words in text

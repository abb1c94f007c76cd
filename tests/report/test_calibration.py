"""Tables, figure and summary of a calibration run, from rows written by hand."""

import csv
import io
import re
import xml.etree.ElementTree as ElementTree

import pytest

from lightning_dna.report.calibration import (
    csv_table,
    describe,
    markdown_table,
    strip_panels,
    summary,
    write_calibration,
)
from lightning_dna.report.figures import strips
from lightning_dna.stats.calibration.grid import CalibrationReport, CellRow
from lightning_dna.stats.plan import ResamplingPlan


def cell(**changes):
    base = {
        "source": "binary n=300",
        "family": "binary",
        "n": 300,
        "unit": "example",
        "scope": "checkpoint",
        "metric": "accuracy",
        "method": "se-t",
        "truth": 0.0,
        "n_sets": 2000,
        "n_intervals": 2000,
        "n_unflagged": 1990,
        "rate": 0.0501,
        "rate_low": 0.041,
        "rate_high": 0.061,
        "rate_all": 0.0502,
        "mean_width": 0.1,
        "width_ratio": 1.01,
        "flags": "identical:10",
        "status": "held",
    }
    return CellRow(**(base | changes))


ROWS = (
    cell(),
    cell(metric="mcc", rate=0.0801, status="liberal", first_rate=0.095),
    cell(method="percentile", rate=0.061, status="reported"),
    cell(
        source="windows n=300 effect=0.05",
        family="windows",
        metric="bits_per_base",
        truth=-0.05,
        rate=0.021,
        status="conservative",
    ),
    cell(source="binary n=100 minority=0.03", n_unflagged=12, rate=0.0833, status="flagged"),
    cell(
        source="binary n=300 clusters=22 icc=0.1", clusters=22, icc=0.1, rate=0.31, status="control"
    ),
)


def report_of(*rows):
    return CalibrationReport(
        grid="hand-made", rows=rows, n_sets=2000, plan=ResamplingPlan(n_resamples=999), level=0.95
    )


@pytest.fixture(scope="module")
def report():
    return report_of(*ROWS)


def test_csv_holds_every_row_and_nothing_for_what_is_absent(report):
    lines = list(csv.DictReader(io.StringIO(csv_table(report))))
    assert len(lines) == len(ROWS)
    assert [line["status"] for line in lines] == [row.status for row in ROWS]
    assert lines[0]["rate"] == "0.0501"
    assert (lines[0]["clusters"], lines[0]["first_rate"]) == ("", "")
    assert lines[1]["first_rate"] == "0.095"


def test_markdown_shows_false_positives_and_coverage_apart_with_marks(report):
    text = markdown_table(report)
    blocks = dict(re.findall(r"## (.+)\n\n((?:\|.+\n)+)", text + "\n"))
    assert len(blocks) == 5
    null = blocks["Binary: false positives"]
    assert "| n=300 | 0.050 | 0.080▲ | 2000 | 1990 |" in null
    assert "| n=100 minority=0.03 | 0.083· |" in null
    known = blocks["Windows: coverage of a known difference"]
    assert "| n=300 effect=0.05 | 0.979▽ |" in known
    control = next(table for title, table in blocks.items() if "not judged" in title)
    assert "0.310" in control
    assert "0.061" not in text  # the percentile row is in the CSV only


def test_markdown_pools_cells_by_metric_and_size():
    rows = (
        cell(n_unflagged=1000, rate=0.04),
        cell(source="binary n=300 minority=0.1", n_unflagged=3000, rate=0.06),
        cell(source="binary n=1000", n=1000, n_unflagged=500, rate=0.05),
        cell(source="control", n_unflagged=1000, rate=0.5, status="control"),
    )
    text = markdown_table(report_of(*rows))
    assert "| metric | n=300 | n=1000 |" in text
    assert "| accuracy | 0.055 (4000) | 0.050 (500) |" in text  # (40 + 180) / 4000


def test_summary_counts_and_lists_what_missed(report):
    text = summary(report)
    assert "3 cells judged" in text
    assert "; 1 held" in text
    assert "mcc on binary n=300: false positives 0.0801, limit 0.0647" in text
    assert "first run 0.0950" in text
    assert "coverage 0.9790, band 0.9350 to 0.9650" in text
    assert text.endswith(
        "verdict: NOT calibrated: 1 cells err too often, 1 cover more often than promised"
    )
    assert summary(report_of(cell())).endswith("verdict: calibrated")


def test_nothing_judged_is_not_a_pass():
    report = report_of(cell(status="flagged"))
    assert not report.passed
    assert "nothing was judged" in summary(report)


def test_describe_uses_the_number_of_unflagged_sets():
    assert "limit 0.0831 (390 unflagged sets)" in describe(cell(n_unflagged=390))


def test_figure_draws_one_mark_per_cell_and_names_the_sides(report):
    panels = strip_panels(report)
    assert [panel.title for panel in panels] == [
        "Equal arms",
        "Known difference",
        "Equal arms, by interval method",
    ]
    assert [len(panel.marks) for panel in panels] == [3, 1, 3]
    assert panels[1].marks[0].value == pytest.approx(0.979)
    svg = strips(panels, prefix="calibration")
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own text
    words = {"".join(node.itertext()).strip() for node in root.iter() if "text" in node.tag}
    assert {"Equal arms", "Known difference", "errs too often", "accuracy"} <= words
    assert svg == strips(panels, prefix="calibration")


def test_files_are_written_and_written_again_without_a_change(report, tmp_path):
    files = write_calibration(report, tmp_path / "new")
    assert [path.name for path in files] == ["table.csv", "table.md", "figure.svg"]
    before = [path.read_bytes() for path in files]
    write_calibration(report, tmp_path / "new")
    assert [path.read_bytes() for path in files] == before

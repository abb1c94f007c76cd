import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import pytest

from lightning_dna.report import figures, series
from lightning_dna.report.results import load_results

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    """All text of a figure, in drawing order."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own text
    return ["".join(node.itertext()).strip() for node in root.iter(f"{SVG}text")]


@pytest.fixture(scope="module")
def results(study_folder):
    return load_results(study_folder)


@pytest.fixture(scope="module")
def drawn(results):
    return {
        "forest": figures.forest(series.forest_panels(results, results.primary), prefix="forest"),
        "cost": figures.cost(series.cost_panels(results), prefix="cost"),
        "curves": figures.curves(series.curve_panels(results), prefix="curves"),
        "chromosomes": figures.chromosomes(series.chromosome_panels(results), prefix="chromosomes"),
        "parts": figures.parts(series.part_panels(results), prefix="parts"),
    }


NAMES = ["forest", "cost", "curves", "chromosomes", "parts"]


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_well_formed_and_refer_to_nothing_outside(drawn, name):
    svg = drawn[name]
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own text
    assert root.tag == f"{SVG}svg"
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    assert all(identifier.startswith(f"{name}-") for identifier in ids)
    targets = re.findall(r'href="([^"]+)"', svg) + re.findall(r"url\(([^)]+)\)", svg)
    assert targets
    assert {target.removeprefix("#") for target in targets} <= set(ids)
    assert "<metadata" not in svg


@pytest.mark.parametrize("name", NAMES)
def test_text_is_text_in_the_fonts_of_the_reader(drawn, name):
    assert texts(drawn[name])
    assert "system-ui" in drawn[name]
    assert "'DejaVu Sans'," in drawn[name] or "'DejaVu Sans'" in drawn[name]


def test_drawing_ignores_and_keeps_the_settings_of_the_user(results, drawn):
    with mpl.rc_context({"font.size": 30.0, "axes.facecolor": "black", "svg.fonttype": "path"}):
        again = figures.cost(series.cost_panels(results), prefix="cost")
        assert mpl.rcParams["font.size"] == 30.0
    assert again == drawn["cost"]


def test_importing_the_figures_opens_no_display_and_no_pyplot():
    code = (
        "import sys, lightning_dna.report.page; assert 'matplotlib.pyplot' not in sys.modules;"
        " assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_forest_panels_hold_the_input_in_shown_units(results, content):
    accuracy, bits = series.forest_panels(results, results.primary)
    rows = {
        row["variant"]: row
        for row in content["comparisons.csv"]
        if (row["task"], row["metric"]) == ("heldout_mlm", "mlm_accuracy")
    }
    assert [mark.label for mark in accuracy.marks] == list(rows)[:6]
    for mark in accuracy.marks:
        row = rows[mark.label]
        expected = [100 * row[name] for name in ("delta", "low", "high")]
        assert [mark.value, mark.low, mark.high] == pytest.approx(expected)
        assert mark.kind == row["verdict"]
    assert (accuracy.margin, accuracy.better) == (1.0, "higher")
    assert (bits.margin, bits.better) == (0.02, "lower")


def test_forest_says_which_side_is_better(drawn):
    shown = texts(drawn["forest"])
    assert any("← worse" in text and "better →" in text for text in shown)
    assert any("← better" in text and "worse →" in text for text in shown)


def test_gap_is_drawn_without_a_better_side(results):
    (panel,) = series.forest_panels(results, [("heldout_mlm/gap", "mlm_accuracy")])
    assert panel.better == ""
    assert {mark.kind for mark in panel.marks} == {"neutral", "equivalent", "inconclusive"}
    assert "← worse" not in " ".join(texts(figures.forest([panel], prefix="gap")))


def test_other_pairs_are_whole_tasks_that_are_not_planned(results):
    assert series.other_pairs(results) == [
        ("heldout_mlm", "cross_entropy"),
        ("promoter/frozen", "accuracy"),
        ("promoter/frozen", "mcc"),
        ("promoter/full", "accuracy"),
        ("promoter/full", "mcc"),
        ("long_range/full", "accuracy"),
        ("long_range/full", "mcc"),
    ]


def test_cost_panels_leave_out_arms_without_a_cost(content, write):
    for row in content["arms.csv"]:
        row["flops_per_base"] = ""
        if row["arm"] == "hyena":
            row["tokens_per_second"] = ""
    panels = series.cost_panels(load_results(write(content)))
    assert [panel.other_axis.partition(",")[0] for panel in panels] == [
        "Parameters",
        "Training throughput",
    ]
    assert "hyena" not in {mark.label for mark in panels[1].marks}
    assert panels[0].marks[0].cost == pytest.approx(0.812544)


def test_equal_costs_are_not_spread_over_the_axis():
    marks = tuple(
        series.Mark(label=name, value=1.0, low=0.9, high=1.1, cost=5.0) for name in ("a", "b")
    )
    panel = series.Panel(title="", axis="y", marks=marks, other_axis="x")
    assert figures.cost([panel], prefix="same").startswith("<svg")


def test_curves_prefer_validation_and_average_seeds(results, content):
    loss, accuracy = series.curve_panels(results)
    assert (loss.title, accuracy.title) == ("Validation loss", "Validation accuracy")
    points = [
        row
        for row in content["curves.csv"]
        if row["arm"] == "hyena" and row["tokens"] == 8_192_000 and row["valid_loss"] != ""
    ]
    assert len(points) == 2
    mean = next(line for line in loss.lines if line.arm == "hyena" and line.seed is None)
    assert mean.tokens[-1] == 8_192_000
    assert mean.values[-1] == pytest.approx(sum(row["valid_loss"] for row in points) / 2)
    assert mean.tokens[0] > 0


def test_curves_fall_back_to_training_batches(content, write):
    for row in content["curves.csv"]:
        row["valid_loss"] = row["valid_accuracy"] = ""
    panels = series.curve_panels(load_results(write(content)))
    assert [panel.title for panel in panels] == ["Training loss", "Training accuracy"]


def test_long_curves_are_thinned_and_keep_their_end(content, write):
    base = content["curves.csv"][0]
    content["curves.csv"] = [
        {**base, "seed": 0, "step": step, "tokens": step * 10, "train_loss": 1 / step}
        for step in range(1, 5001)
    ]
    for row in content["curves.csv"]:
        row["valid_loss"] = row["valid_accuracy"] = ""
    loss = series.curve_panels(load_results(write(content)))[0]
    line = loss.lines[0]
    assert len(line.tokens) == series.POINTS_PER_CURVE
    assert line.tokens[-1] == 50_000
    assert line.values[-1] == 1 / 5000


def test_mean_uses_only_token_counts_of_all_seeds(content, write):
    base = {**content["curves.csv"][0], "train_loss": "", "train_accuracy": "", "step": 1}
    content["curves.csv"] = [
        {**base, "seed": 0, "tokens": 10, "valid_loss": 2.0, "valid_accuracy": ""},
        {**base, "seed": 0, "tokens": 20, "valid_loss": 1.0, "valid_accuracy": ""},
        {**base, "seed": 1, "tokens": 20, "valid_loss": 3.0, "valid_accuracy": ""},
    ]
    (panel,) = series.curve_panels(load_results(write(content)))
    mean = panel.lines[-1]
    assert (mean.seed, mean.tokens, mean.values) == (None, (20.0,), (2.0,))


def test_chromosomes_go_from_training_to_held_out_in_natural_order(content, write):
    for row in content["chromosomes.csv"]:
        row["chrom"] = row["chrom"].replace("chr4", "chr10")
    panels = series.chromosome_panels(load_results(write(content)))
    assert [panel.title for panel in panels][:2] == ["attention_alibi", "attention_rope"]
    marks = panels[0].marks
    assert [mark.label for mark in marks] == ["chr1", "chr2", "chr10", "chr5", "chr3", "chr6"]
    assert [mark.kind for mark in marks] == ["train"] * 3 + ["valid"] + ["test"] * 2


def test_chromosomes_of_several_tasks_do_not_share_a_panel(content, write):
    plain = content["chromosomes.csv"]
    held_out = [{"task": f"bases/{row['part']}/{row['chrom']}", **row} for row in plain]
    sites = [{"task": f"alleles/{row['part']}/{row['chrom']}", **row} for row in plain]
    content["chromosomes.csv"] = [{**row, "estimate": 0.9} for row in sites] + held_out
    panel = series.chromosome_panels(load_results(write(content)))[0]
    assert len(panel.marks) == len({row["chrom"] for row in plain})
    assert {mark.value for mark in panel.marks} == {90.0}  # no row is planned: the first task
    assert panel.axis == "Reference allele preferred, %"


def test_hundred_contigs_do_not_get_hundred_labels():
    marks = tuple(
        series.Mark(label=f"contig{n}", value=1.0, low=0.9, high=1.1, kind="train")
        for n in range(100)
    )
    svg = figures.chromosomes([series.Panel(title="x", axis="y", marks=marks)], prefix="many")
    assert 20 < sum(text.startswith("contig") for text in texts(svg)) <= 40


def test_parts_hold_both_strata_and_the_gap(results):
    strata, gap = series.part_panels(results)
    assert {mark.kind for mark in strata.marks} == {"repeat", "unique"}
    assert {mark.kind for mark in gap.marks} == {"gap"}
    value = next(mark.value for mark in gap.marks if mark.label == "attention_alibi")
    assert value == pytest.approx(1.26)


def test_missing_interval_draws_the_point_alone():
    mark = series.Mark(label="a", value=1.0, low=math.nan, high=math.nan, kind="worse")
    panel = series.Panel(title="t", axis="y", marks=(mark,), better="higher")
    assert "NaN" not in figures.forest([panel], prefix="one")
    assert "nan" not in figures.forest([panel], prefix="one")


def test_names_are_never_read_as_mathematics_or_markup():
    name = "$x^2$ <b> & a_very_long_name_that_goes_on_and_on"
    mark = series.Mark(label=name, value=1.0, low=0.9, high=1.1, kind="worse")
    svg = figures.forest([series.Panel(title=name, axis="y", marks=(mark,))], prefix="odd")
    shown = texts(svg)
    assert any(text.startswith("$x^2$ <b> & a_very") and text.endswith("…") for text in shown)


def test_more_arms_than_colours_differ_in_marker():
    styles = [figures.arm_style(number) for number in range(24)]
    assert len(set(styles)) == 24

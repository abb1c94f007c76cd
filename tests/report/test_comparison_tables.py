"""The table of a comparison of files in every format that people read."""

import html.parser
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lightning_dna.errors import ConfigError
from lightning_dna.report.comparison import FORMATS, write_comparison
from lightning_dna.report.interval_plot import interval_plot, ticks
from lightning_dna.report.numbers import adapted, display
from lightning_dna.stats.files.comparison import ComparisonChoices, compare_files
from lightning_dna.stats.tables import ComparisonTable

BASE = "a_&<b>"
NAMES = (BASE, "b%_arm", "close")
VOID = {"meta", "br", "wbr", "circle", "path"}


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Compare three models: one clearly better than the baseline, one nearly equal to it."""
    folder = tmp_path_factory.mktemp("predictions")
    generator = np.random.default_rng(5)
    truth = generator.integers(0, 2, 300)
    hard = generator.random(300)
    frames = []
    for name, quality in zip(NAMES, (0.7, 0.95, 0.71), strict=True):
        pred = np.where(hard < quality, truth, 1 - truth)
        frames.append(pd.DataFrame({"id": np.arange(300), "label": truth, "pred": pred,
                                    "model": name}))  # fmt: skip
    path = folder / "long.csv"
    pd.concat(frames).to_csv(path, index=False)

    def compare(**choices):
        choices = {"baseline": BASE, "n_resamples": 299} | choices
        return compare_files([path], ComparisonChoices(**choices))

    return compare


@pytest.fixture(scope="module")
def found(make):
    return make()


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """Compare three models on two tasks, of which one has one class: AUROC is undefined there."""
    path = tmp_path_factory.mktemp("predictions") / "long.csv"
    generator = np.random.default_rng(1)
    base = generator.random(40)
    frames = [
        pd.DataFrame({"id": np.arange(40), "task": task, "model": model, "label": label,
                      "score": base + shift * generator.random(40)})
        for task, label in (("one", 1), ("two", [0, 1] * 20))
        for model, shift in (("a", 0), ("b", 1), ("c", 1))
    ]  # fmt: skip
    pd.concat(frames).to_csv(path, index=False)
    choices = ComparisonChoices(baseline="a", n_resamples=99, metrics=["auroc"])
    return compare_files([path], choices)


class Page(html.parser.HTMLParser):
    """Reads a page strictly: every element closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.stack, self.tags, self.text, self.links = [], set(), [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in {"src", "href"}]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_ends_in_one_line_end(found, form):
    text = write_comparison(found, form)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_an_unknown_format(found):
    with pytest.raises(ConfigError, match=r"unknown format 'htm'.*Did you mean 'html'"):
        write_comparison(found, "htm")


class TestTerminal:
    def test_plain_letters_within_a_hundred_columns(self, found):
        text = write_comparison(found, "terminal")
        assert text.isascii()
        words = [line for line in text.splitlines() if not line.startswith("task:")]
        assert max(map(len, words)) <= 100

    def test_numbers_are_those_of_the_rows(self, found):
        text = write_comparison(found, "terminal")
        block = text.partition("Accuracy (%, higher is better)\n")[2].partition("\n\n")[0]
        lines = {line.split("  ")[0]: line for line in block.splitlines()}
        row = found.comparisons.rows[0]
        assert (row.variant, row.metric) == ("b%_arm", "accuracy")
        expected = (
            f"{100 * row.estimate:.2f}", f"{100 * row.delta:+.2f}",
            f"[{100 * row.low:+.2f}, {100 * row.high:+.2f}]", "<0.001", "better",
        )  # fmt: skip
        for part in expected:
            assert part in lines["b%_arm"]
        assert "baseline" in lines[BASE]

    def test_says_how_to_read_it(self, found):
        text = " ".join(write_comparison(found, "terminal").split())
        for part in (
            "95% intervals (estimate +/- t x bootstrap standard error), 299 resamples",
            "Scope checkpoint (1 seed): the claim is about these trained weights",
            "adjusted over all 4 comparisons, by step-down max-T",
            'Inconclusive is not "no difference". With 80% power they would have found: Accuracy'
            " of close",
            "task:task|unit:example|n:300|seeds:1|resamples:299",
        ):
            assert part in text

    def test_flags_are_explained_once(self, make):
        """Ten examples of the rarest class at most: both metrics of the row may carry a flag."""
        found = make(margin=0.5)
        text = write_comparison(found, "terminal")
        assert "(a) significant_within_margin: the difference is certain, and smaller than" in text
        assert text.count("significant_within_margin") == 1
        assert re.search(r"equivalent \(a\)$", text, re.MULTILINE)
        assert "the 90% interval lies inside the declared margin of 0.5." in " ".join(text.split())

    @pytest.mark.parametrize(
        ("choices", "said"),
        [
            ({}, "Those of values, not of differences, are made on the logit scale"),
            ({"method": "analytic"}, "are made on the logit scale of a metric with two bounds."),
            ({"method": "percentile"}, ""),
        ],
    )
    def test_how_intervals_of_values_are_made(self, make, choices, said):
        text = " ".join(write_comparison(make(**choices), "terminal").split())
        assert said in text
        assert ("logit" in text) == bool(said)

    def test_other_choices_are_said(self, make):
        text = " ".join(
            write_comparison(
                make(multiplicity="none", alternative="greater", method="percentile", level=0.9,
                     family=("variant",)),
                "terminal",
            ).split()
        )  # fmt: skip
        assert "90% intervals (bootstrap percentiles)" in text
        assert "one-sided (difference above 0)" in text
        assert "within each of 2 families (per task and metric), not at all" in text

    def test_non_inferiority_is_explained(self, make):
        found = make(non_inferiority_margin={"accuracy": 0.2}, metrics=["accuracy"])
        text = " ".join(write_comparison(found, "terminal").split())
        assert found.comparisons.rows[1].verdict == "non-inferior"
        assert "a loss of the declared margin of 0.2 (accuracy) is excluded" in text
        assert 'class="badge non-inferior"' in write_comparison(found, "html")

    def test_simultaneous_intervals_are_named(self, make):
        text = write_comparison(make(simultaneous=True), "terminal")
        assert "95% simultaneous intervals" in text
        assert "single-step max-T" in text


class TestMarkdown:
    def test_tables_are_rectangular_and_names_escaped(self, found):
        text = write_comparison(found, "markdown")
        lines = [line for line in text.splitlines() if line.startswith("|")]
        assert len(lines) == 2 * 5
        assert {len(re.split(r"(?<!\\)\|", line)) for line in lines} == {7}
        assert "**a\\_&amp;&lt;b&gt;**" in text

    def test_signatures_are_kept(self, found):
        assert f"- `{found.comparisons.rows[0].signature}`" in write_comparison(found, "markdown")


class TestRowsWithoutATest:
    @pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "html"])
    def test_are_called_not_tested_with_the_reason(self, half, form):
        text = write_comparison(half, form)
        assert text.count("not tested") >= 2
        assert "one class only" in text
        row = half.comparisons.rows[0]
        assert (row.task, row.verdict) == ("one", "inconclusive")  # the field of the row stays

    def test_are_not_counted_in_the_adjustment(self, half):
        words = " ".join(write_comparison(half, "terminal").split())
        assert "adjusted over all 2 comparisons" in words
        assert "With 80% power they would have found: AUROC of b on two" in words
        assert "AUROC of b on one (one class only), AUROC of c on one (one class only)." in words

    def test_page_says_so_in_a_sentence(self, half):
        words = " ".join("".join(Page(write_comparison(half, "html")).text).split())
        assert "one, AUROC: b is not tested (one class only); c is not tested (one class" in words
        assert "the differences of b and c to a are inconclusive" in words

    def test_json_keeps_the_verdicts_of_the_specification(self, half):
        assert "not tested" not in write_comparison(half, "json")
        assert "not tested" not in write_comparison(half, "csv")

    @pytest.mark.parametrize("form", ["terminal", "markdown"])
    def test_letters_of_flags_come_in_order(self, half, form):
        rows = half.comparisons.rows
        mixed = replace(
            half,
            comparisons=ComparisonTable(
                rows=(
                    replace(rows[0], metric="mcc", flags=("few_seeds", "few_clusters")),
                    replace(rows[2], metric="accuracy", flags=("identical",)),
                    replace(
                        rows[1], metric="mcc", flags=("few_clusters", "few_seeds", "undefined")
                    ),
                )
            ),
        )
        text = write_comparison(mixed, form)
        letters = re.findall(r"\(([a-z])\)", text)
        seen = list(dict.fromkeys(letters))
        assert seen == sorted(seen) == ["a", "b", "c", "d"]
        for cell in re.findall(r"(?: \([a-z]\))+", text):
            assert cell.split() == sorted(cell.split())


class TestLatex:
    def test_flags_are_explained_below_the_table(self, make):
        text = write_comparison(make(margin=0.5), "latex")
        head, _, body = text.partition("\\begin{table}")
        assert "significant" not in head
        below = body.rpartition("\\end{tabular}")[2]
        assert "\\footnotesize" in below
        assert r"(a) significant\_within\_margin: the difference is certain, and smaller" in below
        assert below.endswith("\\par}\n\\end{table}\n")
        assert below.count("{") - below.count("\\{") == below.count("}") - below.count("\\}") + 0
        assert "\\raggedright" not in write_comparison(make(), "latex")

    def test_booktabs_and_escapes(self, found):
        text = write_comparison(found, "latex")
        body = text[text.index("\\begin{table}") :]
        assert r"a\_\&\textless{}b\textgreater{}" in body
        assert r"b\%\_arm" in body
        for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
            assert rule in body
        assert body.count("\\begin{") == body.count("\\end{")
        inner = re.sub(r" & | \\\\|\\(label|ref)\{tab:compare-a---b--\d\}", "", body)
        assert re.search(r"(?<!\\)[&%_#]", inner) is None
        assert body.isascii()

    def test_notes_stand_in_comments(self, found):
        head = write_comparison(found, "latex").partition("\\begin{table}")[0]
        assert all(line.startswith("%") for line in head.splitlines())


class TestPage:
    def test_is_well_formed_and_needs_nothing_else(self, found):
        text = write_comparison(found, "html")
        page = Page(text)
        assert page.stack == []
        assert page.links == []
        assert not page.tags & {"script", "link", "img", "iframe"}
        assert "url(" not in text

    def test_names_are_escaped(self, found):
        text = write_comparison(found, "html")
        assert "<b>against" not in text
        assert "a_&amp;&lt;b&gt;" in text

    def test_verdicts_in_words(self, found):
        words = " ".join("".join(Page(write_comparison(found, "html")).text).split())
        row = found.comparisons.rows[0]
        assert f"Accuracy: b%_arm is better than {BASE} by {100 * row.delta:.2f} points" in words
        assert f"; the difference of close to {BASE} is inconclusive." in words

    def test_several_differences_are_inconclusive(self, make):
        page = write_comparison(make(baseline="b%_arm", level=0.9999999999), "html")
        words = " ".join("".join(Page(page).text).split())
        assert f"the differences of {BASE} and close to b%_arm are inconclusive" in words

    def test_same_input_same_bytes(self, found):
        assert write_comparison(found, "html") == write_comparison(found, "html")


class TestIntervalPlot:
    def test_points_stand_where_the_numbers_are(self, found):
        rows = found.comparisons.rows[:1]
        root = ElementTree.fromstring(interval_plot(rows, display("accuracy")))  # noqa: S314
        width = float(root.attrib["viewBox"].split()[2])
        labels = {
            child.text: float(child.attrib["x"])
            for child in root
            if child.tag == "text" and child.text
        }
        zero = labels["0"]
        other, place = next((float(t), x) for t, x in labels.items() if t != "0")
        per_point = (place - zero) / other
        circle = root.find(".//circle")
        assert float(circle.attrib["cx"]) == pytest.approx(
            zero + 100 * rows[0].delta * per_point, abs=0.3
        )
        line = root.find(".//g/path").attrib["d"]
        start, end = (float(text) for text in re.findall(r"[MH](-?[\d.]+)", line))
        assert start == pytest.approx(zero + 100 * rows[0].low * per_point, abs=0.3)
        assert end == pytest.approx(zero + 100 * rows[0].high * per_point, abs=0.3)
        assert 0 < start < end < width

    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [
            (-1, 1, [-1, -0.5, 0, 0.5, 1]),
            (0, 0.0031, [0, 0.001, 0.002, 0.003]),
            (-250, 20, [-250, -200, -150, -100, -50, 0]),
        ],
    )
    def test_ticks(self, low, high, expected):
        assert ticks(low, high) == pytest.approx(expected)


def test_digits_follow_the_error():
    assert adapted(display("mse"), [0.00012, 0.5]).number(0.0123456) == "0.01235"
    assert adapted(display("mean"), [31.0]).number(12345.6) == "12\u2009346"
    assert adapted(display("mean"), [float("nan"), 0.0]).decimals == 4

import html.parser
import os
import re

import pytest

from lightning_dna.errors import ResultsError
from lightning_dna.report.page import render

VOID = {"meta", "br", "wbr", "img", "link", "hr", "input", "path", "use", "rect", "circle"}


class Page(html.parser.HTMLParser):
    """Reads a page strictly: every element closed in order, ids unique, tables as text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.stack, self.ids, self.links, self.tags = [], [], [], set()
        self.tables, self.rows, self.cell = [], None, None
        self.text = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in {"src", "href", "xlink:href", "data", "action", "srcset"}:
                self.links.append(value)
        if tag not in VOID:
            self.stack.append(tag)
        if tag == "table":
            self.rows = []
            self.tables.append(self.rows)
        elif tag == "tr" and self.rows is not None:
            self.rows.append([])
        elif tag in {"td", "th"} and self.rows:
            self.rows[-1].append("")
            self.cell = True
        elif tag == "span" and self.cell and self.rows[-1][-1]:
            self.rows[-1][-1] += " "

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag, f"</{tag}> out of order"
        if tag in {"td", "th"}:
            self.cell = None
        if tag == "table":
            self.rows = None

    def handle_data(self, data):
        self.text.append(data)
        if self.cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def report(study_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    assert render(study_folder, out) == out / "report.html"
    return out


@pytest.fixture(scope="module")
def page(report):
    return Page((report / "report.html").read_text(encoding="utf-8"))


def test_everything_is_written_and_nothing_else(report):
    files = {str(path.relative_to(report)) for path in report.rglob("*") if path.is_file()}
    figures = {"forest_planned", "forest_other", "cost", "curves", "chromosomes", "parts"}
    assert files == {"report.html", "report.md", "table.csv", "table.tex"} | {
        f"figures/{name}.svg" for name in figures
    }


def test_page_is_well_formed(page):
    assert page.stack == []
    assert len(page.ids) == len(set(page.ids))


def test_page_needs_no_network_and_no_script(report, page):
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert not page.tags & {"script", "link", "img", "iframe", "object"}
    text = (report / "report.html").read_text(encoding="utf-8")
    assert "@import" not in text
    assert "url(http" not in text


def test_page_has_the_verdict_before_everything_else(page):
    text = " ".join("".join(page.text).replace("\u00a0", " ").split())
    verdict = text.index("warmup is better than attention_alibi by 0.94 points [0.33, 1.55]")
    assert text.index("length warm-up and repeat handling") < verdict < text.index("Main results")


def test_sections_stand_in_order(page):
    anchors = ["main", "differences", "tasks", "cost", "curves", "chromosomes", "parts"]
    anchors += ["reading", "warnings", "failures", "provenance"]
    assert [name for name in page.ids if name in anchors] == anchors


def test_numbers_on_the_page_are_those_of_the_input(page, content):
    rows = {row[0].split(" ")[0]: row for row in page.tables[0][2:]}
    for estimate in content["estimates.csv"]:
        if estimate["task"] != "heldout_mlm" or estimate["metric"] == "cross_entropy":
            continue
        at, scale, tolerance = (
            (1, 100, 0.00501) if estimate["metric"] == "mlm_accuracy" else (4, 1, 0.0000501)
        )
        shown = re.findall(r"\d+\.\d+", rows[estimate["variant"]][at])
        expected = [scale * estimate[name] for name in ("estimate", "low", "high")]
        assert [float(number) for number in shown] == pytest.approx(expected, abs=tolerance)


def test_every_number_has_its_signature(page, content):
    lines = page.tables[-1][1:]
    assert len(lines) == len(content["estimates.csv"]) + len(content["comparisons.csv"])
    signatures = {row["signature"] for row in content["estimates.csv"]}
    assert {line[-1] for line in lines} == signatures


def test_verdicts_can_be_told_apart_without_colour(report):
    text = (report / "report.html").read_text(encoding="utf-8")
    badges = set(re.findall(r'badge (\w+)"><span aria-hidden="true">(.)</span> (\w+)', text))
    words = {word for _, _, word in badges}
    assert words == {"better", "worse", "equivalent", "inconclusive", "larger", "smaller"}
    symbols = {kind: symbol for kind, symbol, _ in badges}
    assert len(set(symbols.values())) == len(symbols) == 5


def test_provenance_is_on_the_page(page):
    text = "".join(page.text)
    for part in ("3f2a9d1c0b7e", "SQ.Kx2v0dY9aA3f", "torch 2.11.0", "chr1, chr2, chr4"):
        assert part in text


def test_same_results_give_the_same_bytes(study_folder, report, tmp_path):
    render(study_folder, tmp_path)
    for path in report.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / path.relative_to(report)).read_bytes(), path.name


def test_report_goes_beside_the_results_by_default(content, write):
    lighten(content)
    folder = write(content)
    assert render(folder) == folder / "report.html"
    assert (folder / "results" / "study.json").is_file()


def test_markdown_links_only_figures_that_exist(report):
    text = (report / "report.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\((figures/[^)]+)\)", text)
    assert len(linked) == 6
    assert all((report / name).is_file() for name in linked)
    assert text.startswith("# quickstart\n")
    assert "http" not in text


HOSTILE = '<script>alert("x")</script>_$|&%'


def test_names_are_escaped_everywhere(content, write):
    text = {"geglu": HOSTILE}
    for name, key in (
        ("arms.csv", "arm"),
        ("estimates.csv", "variant"),
        ("comparisons.csv", "variant"),
        ("curves.csv", "arm"),
        ("chromosomes.csv", "variant"),
    ):
        for row in content[name]:
            row[key] = text.get(row[key], row[key])
    for arm in content["study.json"]["arms"]:
        arm["name"] = text.get(arm["name"], arm["name"])
    content["study.json"]["question"] = f"Is {HOSTILE} & <b>bold</b> good?"
    content["study.json"]["recipe"] = "a: </pre><script>1</script>"
    content["provenance.json"]["failures"] = [
        {"arm": HOSTILE, "seed": 0, "message": "Traceback\n<b>boom</b> & | out of memory"}
    ]
    folder = write(content)
    page = Page(render(folder).read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert HOSTILE in "".join(page.text)
    assert page.stack == []
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "<b>" not in markdown
    prose = re.sub(r"~~~~yaml.*?~~~~", "", markdown, flags=re.DOTALL)
    assert "<script" not in prose
    tex = (folder / "table.tex").read_text(encoding="utf-8")
    assert r"\textless{}script\textgreater{}" in tex
    assert r"\_\$|\&\%" in tex


def lighten(content):
    """Leave one task and no curves, so that a test of wording draws little."""
    content["curves.csv"] = content["chromosomes.csv"] = None
    for name in ("estimates.csv", "comparisons.csv"):
        content[name] = [row for row in content[name] if row["task"] == "heldout_mlm"]
    return content


def test_thousand_contigs_do_not_flood_the_provenance(content, write):
    lighten(content)["provenance.json"]["data"]["chromosomes"] = {
        f"contig{n}": "SQ.x" for n in range(1000)
    }
    page = Page(render(write(content)).read_text(encoding="utf-8"))
    text = "".join(page.text)
    assert "contig39: SQ.x; and 960 more" in text
    assert "contig40" not in text


def test_failures_are_told_on_top_and_in_their_section(content, write):
    lighten(content)
    content["provenance.json"]["failures"] = [
        {"arm": "hyena", "seed": 1, "message": "Traceback (most recent)\nMemoryError: 4 GiB"}
    ]
    page = Page(render(write(content)).read_text(encoding="utf-8"))
    text = " ".join("".join(page.text).split())
    assert "1 run failed; see Failures" in text
    assert "MemoryError: 4 GiB" in text
    assert "#failures" in page.links


def test_unequal_budgets_are_warned_about(content, write):
    lighten(content)
    content["arms.csv"][2]["tokens"] = 4_096_000
    text = render(write(content)).read_text(encoding="utf-8")
    assert "from 4.10 M to 8.19 M: their differences are not at equal budget" in text


def test_report_without_curves_chromosomes_strata_costs_and_baselines(content, write):
    content["curves.csv"] = content["chromosomes.csv"] = None
    models = {arm["name"] for arm in content["study.json"]["arms"] if arm["kind"] == "model"}
    content["study.json"]["arms"] = [
        arm for arm in content["study.json"]["arms"] if arm["kind"] == "model"
    ]
    for name in ("estimates.csv", "comparisons.csv"):
        content[name] = [
            row for row in content[name] if row["variant"] in models and row["task"].count("/") == 0
        ]
    content["arms.csv"] = [row for row in content["arms.csv"] if row["kind"] == "model"]
    for row in content["arms.csv"]:
        for key in ("parameters", "flops_per_base", "tokens", "tokens_per_second"):
            row[key] = ""
    folder = write(content)
    text = render(folder).read_text(encoding="utf-8")
    for reason in (
        "results/curves.csv is absent or empty",
        "results/chromosomes.csv is absent or empty",
        "No strata were scored",
        "No arm has both a planned result and a recorded cost",
    ):
        assert reason in text
    assert {path.name for path in (folder / "figures").iterdir()} == {"forest_planned.svg"}
    assert "simple baseline" not in text


def test_report_of_a_single_arm(content, write):
    keep = {"attention_alibi"}
    content["study.json"]["arms"] = content["study.json"]["arms"][:1]
    for name, key in (("arms.csv", "arm"), ("estimates.csv", "variant"), ("curves.csv", "arm"),
                      ("chromosomes.csv", "variant")):  # fmt: skip
        content[name] = [row for row in content[name] if row[key] in keep]
    content["comparisons.csv"] = None
    folder = write(content)
    # How a table library writes a table without columns.
    (folder / "results" / "comparisons.csv").write_text("\n")
    text = render(folder).read_text(encoding="utf-8")
    assert "no comparison with attention_alibi could be made" in text
    assert "There is no other arm to compare with attention_alibi" in text


def test_figures_of_an_earlier_report_are_removed(content, write):
    content["chromosomes.csv"] = None
    folder = write(content)
    render(folder)
    (folder / "results" / "curves.csv").unlink()
    (folder / "figures" / "notes.txt").write_text("mine")
    render(folder)
    assert not (folder / "figures" / "curves.svg").exists()
    assert (folder / "figures" / "notes.txt").exists()


def test_damaged_results_leave_the_earlier_report_alone(content, write):
    lighten(content)
    folder = write(content)
    before = render(folder).read_bytes()
    (folder / "results" / "estimates.csv").write_text("broken")
    with pytest.raises(ResultsError):
        render(folder)
    assert (folder / "report.html").read_bytes() == before
    assert not list(folder.glob(".report-*"))


def test_target_that_is_a_file(content, write, tmp_path):
    target = tmp_path / "taken"
    target.write_text("x")
    with pytest.raises(ResultsError, match=r"cannot write the report to .*taken"):
        render(write(lighten(content)), target)


def test_failure_half_way_leaves_nothing_behind(content, write, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    folder = write(lighten(content))
    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(ResultsError, match="No space left on device"):
        render(folder, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []  # noqa: PTH208 - Path is patched here

import csv
import io
import math
import re
import shutil
import subprocess

import pytest

from lightning_dna.report.exports import csv_table, latex, latex_tables, markdown, markdown_table
from lightning_dna.report.results import load_results
from lightning_dna.report.tables import (
    gap_tables,
    main_tables,
    panels,
    strata_tables,
    task_tables,
    terminal_table,
)

SCALE = {"mlm_accuracy": 100, "accuracy": 100}


def numbers(text):
    """Every decimal number of a cell, true minus signs understood."""
    return [float(found) for found in re.findall(r"[-+]?\d+\.\d+", text.replace("−", "-"))]


def test_main_table_has_baseline_first_and_references_last(study_folder):
    (table,) = main_tables(load_results(study_folder))
    assert [row.role for row in table.rows] == ["baseline", *["arm"] * 6, *["reference"] * 2]
    assert [row.name for row in table.rows][-2:] == ["majority", "markov_3"]
    groups = list(dict.fromkeys(column.group for column in table.columns))
    assert groups == ["Masked-base accuracy", "Bits per base", "Cost"]


def test_numbers_of_the_main_table_are_those_of_the_input(content, study_folder):
    (table,) = main_tables(load_results(study_folder))
    estimates = {(r["variant"], r["task"], r["metric"]): r for r in content["estimates.csv"]}
    deltas = {(r["variant"], r["task"], r["metric"]): r for r in content["comparisons.csv"]}
    for row in table.rows:
        for start, metric in ((0, "mlm_accuracy"), (3, "bits_per_base")):
            scale = SCALE.get(metric, 1)
            key = (row.name, "heldout_mlm", metric)
            value, difference, verdict = row.cells[start : start + 3]
            expected = [estimates[key][name] * scale for name in ("estimate", "low", "high")]
            tolerance = 0.00501 if scale == 100 else 0.0000501
            assert numbers(f"{value.text} {value.detail}") == pytest.approx(expected, abs=tolerance)
            assert value.tooltip == estimates[key]["signature"]
            if key not in deltas:
                assert (difference.text, verdict.text) == ("—", "baseline")
                continue
            expected = [deltas[key][name] * scale for name in ("delta", "low", "high")]
            shown = numbers(f"{difference.text} {difference.detail}")
            assert shown == pytest.approx(expected, abs=tolerance)
            assert verdict.text == verdict.verdict == deltas[key]["verdict"]


def test_many_planned_metrics_are_cut_into_tables_with_one_cost(content, write):
    content["study.json"]["planned"] = [
        ["heldout_mlm", "mlm_accuracy"],
        ["heldout_mlm", "bits_per_base"],
        ["promoter/full", "mcc"],
        ["long_range/full", "accuracy"],
        ["promoter/frozen", "accuracy"],
    ]
    tables = main_tables(load_results(write(content)))
    groups = [list(dict.fromkeys(c.group for c in table.columns)) for table in tables]
    assert groups == [
        ["Masked-base accuracy", "Bits per base", "Cost"],
        ["Promoter, fine-tuned: Matthews correlation", "Long range, fine-tuned: Accuracy"],
        ["Accuracy"],
    ]


def test_task_tables_show_every_whole_task_and_no_average(study_folder):
    titles = [table.title for table in task_tables(load_results(study_folder))]
    assert titles == [
        "Held-out chromosomes (heldout_mlm).",
        "Promoter, linear probe, frozen weights (promoter/frozen).",
        "Promoter, fine-tuned (promoter/full).",
        "Long range, fine-tuned (long_range/full).",
    ]


def test_a_metric_that_is_only_estimated_has_no_difference_columns(study_folder):
    table = task_tables(load_results(study_folder))[0]
    columns = [c.title for c in table.columns if c.group == "Cross-entropy"]
    assert columns == ["Value"]
    assert all(len(row.cells) == len(table.columns) for row in table.rows)


def test_planned_and_exploratory_are_marked(study_folder):
    tables = task_tables(load_results(study_folder))
    assert "planned" in tables[0].columns[0].group_note
    assert "higher is better" in tables[0].columns[0].group_note
    assert "exploratory" in tables[1].columns[0].group_note


def test_cost_columns_imply_no_direction(study_folder):
    (table,) = main_tables(load_results(study_folder))
    cost = [column for column in table.columns if column.group == "Cost"]
    assert [c.title for c in cost] == ["Params", "FLOPs per base", "Tokens per s", "Memory, GiB"]
    assert all(column.group_note == "" for column in cost)
    cells = [cell.text for cell in table.rows[0].cells[-4:]]
    assert cells == ["813 k", "1.71 M", "85.0 k", "0.69"]


def test_context_gets_a_column_where_arms_differ_in_it(content, write):
    for point in content["curves.csv"]:
        if point["arm"] == "hyena":
            point["length"] = 1024
    (table,) = main_tables(load_results(write(content)))
    at = [column.title for column in table.columns].index("Context")
    shown = {row.name: row.cells[at].text for row in table.rows}
    assert shown["hyena"] == "1\u2009024"
    assert shown["swiglu"] == "512"
    assert shown["majority"] == "—"


def test_strata_and_gap(study_folder):
    results = load_results(study_folder)
    accuracy, bits = strata_tables(results)
    assert accuracy.title.startswith("Masked-base accuracy, inside and outside repeats")
    assert [c.group for c in bits.columns][::4] == [
        "Held-out chromosomes, inside repeats",
        "Held-out chromosomes, outside repeats",
    ]
    (gap,) = gap_tables(results)
    verdicts = {row.name: row.cells[-1] for row in gap.rows}
    assert (verdicts["warmup"].text, verdicts["warmup"].verdict) == ("larger", "neutral")
    assert (verdicts["hyena"].text, verdicts["hyena"].verdict) == ("smaller", "neutral")


def test_arm_that_failed_altogether_stays_in_the_table(content, write):
    for name, key in (("estimates.csv", "variant"), ("comparisons.csv", "variant")):
        content[name] = [row for row in content[name] if row[key] != "hyena"]
    for row in content["arms.csv"]:
        if row["arm"] == "hyena":
            row.update(seeds_done=0, seeds_failed=2, parameters="", tokens_per_second="")
    (table,) = main_tables(load_results(write(content)))
    row = next(row for row in table.rows if row.name == "hyena")
    assert "2 of 2 seeds failed" in row.note
    assert [cell.text for cell in row.cells[:6]] == ["—"] * 6


def test_csv_reads_back_to_the_same_numbers(content, study_folder):
    text = csv_table(load_results(study_folder))
    lines = list(csv.DictReader(io.StringIO(text)))
    assert len(lines) == len(content["estimates.csv"])
    deltas = {(r["variant"], r["task"], r["metric"]): r for r in content["comparisons.csv"]}
    costs = {row["arm"]: row for row in content["arms.csv"]}
    for line, row in zip(lines, content["estimates.csv"], strict=True):
        assert (line["variant"], line["task"], line["metric"]) == (
            row["variant"],
            row["task"],
            row["metric"],
        )
        for name in ("estimate", "low", "high", "se", "df"):
            assert float(line[name]) == row[name]
        assert int(line["n_units"]) == row["n_units"]
        assert line["signature"] == row["signature"]
        other = deltas.get((row["variant"], row["task"], row["metric"]))
        if other is None:
            assert line["delta"] == line["verdict"] == ""
        else:
            assert float(line["delta"]) == other["delta"]
            assert float(line["delta_low"]) == other["low"]
            assert float(line["delta_high"]) == other["high"]
            assert float(line["p_adjusted"]) == other["p_adjusted"]
            assert float(line["mde80"]) == other["mde80"]
            assert line["verdict"] == other["verdict"]
        parameters = costs[row["variant"]]["parameters"]
        assert line["parameters"] == ("" if parameters == "" else str(float(parameters)))
    planned = {(line["task"], line["metric"]) for line in lines if line["planned"] == "true"}
    assert planned == {("heldout_mlm", "mlm_accuracy"), ("heldout_mlm", "bits_per_base")}


def latex_rows(text):
    """Cells of every line of every tabular, escaped ampersands respected."""
    for block in re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", text, flags=re.DOTALL):
        spec = re.match(r"\\begin\{tabular\}\{([lrc]+)\}", block)
        assert spec is not None
        for line in block.splitlines():
            if line.endswith(r"\\"):
                yield len(spec[1]), re.split(r"(?<!\\)&", line)


def test_latex_is_well_formed_and_has_the_input_numbers(content, study_folder):
    results = load_results(study_folder)
    text = latex_tables(main_tables(results), name=results.study.name, caption="5 % of A_B & C")
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 3
    assert text.isascii()
    captions = re.findall(r"\\caption\{(.*)\}", text)
    assert captions[0].endswith(r"(\%, higher is better, planned). 5 \% of A\_B \& C")
    assert captions[1:] == [
        r"Held-out chromosomes. Bits per base (bits, lower is better, planned). Otherwise as "
        r"Table~\ref{tab:quickstart-1}.",
        r"Cost. Otherwise as Table~\ref{tab:quickstart-1}.",
    ]
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 3
    assert "markov" not in text.rpartition(r"\begin{table}")[2]  # of no known cost
    bare = text.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")
    found = {}
    for width, cells in latex_rows(text):
        spanned = [int(n) for n in re.findall(r"\\multicolumn\{(\d+)\}", "".join(cells))]
        assert len(cells) + sum(spanned) - len(spanned) == width
        name = cells[0].strip().replace(r"\_", "_")
        found.setdefault(name, []).append(cells)
    rows = {r["variant"]: r for r in content["comparisons.csv"] if r["metric"] == "mlm_accuracy"
            and r["task"] == "heldout_mlm"}  # fmt: skip
    for arm, row in rows.items():
        shown = numbers(found[arm][0][2].replace("$-$", "-"))
        expected = [100 * row[name] for name in ("delta", "low", "high")]
        assert shown == pytest.approx(expected, abs=0.00501)
        assert row["verdict"] in found[arm][0][3]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_and_fits_the_page(study_folder, tmp_path):
    results = load_results(study_folder)
    tables = main_tables(results) * 4  # longer than a page
    (tmp_path / "table.tex").write_text(latex_tables(tables, name="x", caption="A_B & C"))
    (tmp_path / "page.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs}\n"
        "\\begin{document}\n\\input{table}\n\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    for _ in range(2):  # the second time with references
        made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stdout
    assert "undefined" not in made.stdout
    assert "Overfull" not in made.stdout
    assert "Float too large" not in made.stdout
    assert (tmp_path / "page.pdf").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b", r"a\_b"),
        ("100%", r"100\%"),
        ("\\x{1}", r"\textbackslash{}x\{1\}"),
        ("$a^b~c#d&e", r"\$a\textasciicircum{}b\textasciitilde{}c\#d\&e"),
        ("p < 0.001", r"p \textless{} 0.001"),
        ("−1", "$-$1"),
    ],
)
def test_latex_escapes(text, expected):
    assert latex(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b|c", r"a\_b\|c"),
        ("**x** [y](z)", r"\*\*x\*\* \[y\](z)"),
        ("<script>&", "&lt;script&gt;&amp;"),
        ("`code` #1", r"\`code\` \#1"),
    ],
)
def test_markdown_escapes(text, expected):
    assert markdown(text) == expected


def test_markdown_table_is_rectangular_and_has_the_input_numbers(content, study_folder):
    (table,) = main_tables(load_results(study_folder))
    text = markdown_table(table)
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == len(panels(table)) == 3
    for block in blocks:
        widths = {len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    lines = {
        re.split(r"(?<!\\)\|", line)[1].strip(" *").replace("\\", ""): line
        for line in blocks[0].splitlines()
    }
    for row in content["estimates.csv"]:
        if (row["task"], row["metric"]) == ("heldout_mlm", "mlm_accuracy"):
            cell = re.split(r"(?<!\\)\|", lines[row["variant"]])[2]
            expected = [100 * row[name] for name in ("estimate", "low", "high")]
            assert numbers(cell) == pytest.approx(expected, abs=0.00501)


def test_terminal_table_is_plain_text_with_the_verdicts(study_folder):
    text = terminal_table(load_results(study_folder))
    assert text.isascii()
    first, second = text.split("\n\n")
    assert first.startswith("Held-out chromosomes: Masked-base accuracy (%, higher is better)")
    assert "Bits per base (bits, lower is better)" in second
    line = next(line for line in first.splitlines() if line.startswith("hyena"))
    assert line.split() == [
        "hyena", "43.19", "[42.70,", "43.68]", "-1.12", "[-1.73,", "-0.51]", "<0.001", "worse"
    ]  # fmt: skip


def test_terminal_table_of_a_metric_without_comparisons(content, write):
    content["study.json"]["planned"] = [["heldout_mlm", "cross_entropy"]]
    text = terminal_table(load_results(write(content)))
    assert "attention_alibi" in text
    assert "1.2000" in text


def test_absent_p_and_interval_are_written_as_absent(content, write):
    row = content["comparisons.csv"][0]
    row.update(low="", high="", p="", p_adjusted="", mde80="", verdict="inconclusive")
    results = load_results(write(content))
    assert math.isnan(results.comparisons[0].p)
    (table,) = main_tables(results)
    cells = next(r for r in table.rows if r.name == row["variant"]).cells
    assert cells[1].detail == "no interval"
    assert cells[2].detail == ""

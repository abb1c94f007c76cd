"""``lightning-dna compare`` and ``power``: files in, tables out, and words about mistakes."""

import contextlib
import csv
import io
import json
import math
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sk
from statsmodels.stats.multitest import multipletests

from lightning_dna.cli import main

N = 400
ROW_FIELDS = {
    "task", "variant", "baseline", "metric", "estimand", "scope", "unit", "n_units", "n_seeds",
    "delta", "se", "df", "low", "high", "p", "p_adjusted", "verdict", "mde80", "design_effect",
    "n_undefined", "mc_error", "flags", "plan_hash", "signature",
}  # fmt: skip


def run(*arguments: object) -> tuple[int, str, str]:
    """Call ``main``; its status, and what it wrote to stdout and to stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = int(end.code or 0)
    return status, out.getvalue(), err.getvalue()


def rows(*arguments: object) -> list[dict]:
    """Run ``compare --format json`` with few resamples and return its rows."""
    status, out, err = run("compare", *arguments, "--format", "json", "--resamples", 499)
    assert status == 0, err
    return json.loads(out)


def refusal(*arguments: object) -> str:
    """Run a command that must fail: one message on stderr, nothing on stdout, status 2."""
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("lightning-dna: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err.removeprefix("lightning-dna: ").rstrip("\n")


def models(names=("A", "B", "C"), *, seed=0, n=N) -> dict[str, pd.DataFrame]:
    """Predictions of models of rising quality that share what makes an example hard."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 2, n)
    hard = generator.normal(size=n)
    frames = {}
    for number, name in enumerate(names):
        signal = (0.8 + 0.4 * number) * (2 * truth - 1) + hard + generator.normal(size=n)
        score = np.round(1 / (1 + np.exp(-signal)), 3)  # ties, as in real files
        frames[name] = pd.DataFrame(
            {"id": [f"{k:04d}" for k in range(n)], "label": truth,
             "pred": (score >= 0.5).astype(int), "score": score}
        )  # fmt: skip
    return frames


@pytest.fixture(scope="module")
def frames():
    return models()


@pytest.fixture
def folder(tmp_path, monkeypatch, frames):
    monkeypatch.chdir(tmp_path)
    for name, frame in frames.items():
        frame.to_csv(f"{name}.csv", index=False)
    return tmp_path


def long_file(path: str, *, seeds=2, tasks=("t", "u"), clusters: int = 0) -> None:
    """Write one file with a column each of models, tasks and seeds."""
    parts = []
    for number, task in enumerate(tasks):
        for seed in range(seeds):
            for name, frame in models(("A", "B"), seed=10 * number, n=200).items():
                noise = np.random.default_rng([number, seed, len(name), ord(name)])
                flip = noise.random(len(frame)) < 0.1
                one = frame.drop(columns="score").assign(model=name, task=task, seed=seed)
                one["pred"] = np.where(flip, 1 - one["pred"], one["pred"])
                if clusters:
                    one["chrom"] = np.arange(len(one)) % clusters
                parts.append(one)
    frame = pd.concat(parts)
    frame.to_parquet(path) if path.endswith("parquet") else frame.to_csv(path, index=False)


class TestValues:
    def test_estimates_are_those_of_scikit_learn(self, folder, frames):
        names = "accuracy,balanced_accuracy,f1,macro_f1,mcc,auroc,auprc"
        found = rows("A.csv", "B.csv", "C.csv", "--baseline", "A", "--metrics", names)
        assert len(found) == 14
        assert all(set(row) >= ROW_FIELDS for row in found)
        functions = {
            "accuracy": sk.accuracy_score, "balanced_accuracy": sk.balanced_accuracy_score,
            "f1": sk.f1_score, "mcc": sk.matthews_corrcoef, "auroc": sk.roc_auc_score,
            "macro_f1": lambda t, p: sk.f1_score(t, p, average="macro"),
            "auprc": sk.average_precision_score,
        }  # fmt: skip

        def expected(name, metric):
            column = "score" if metric in ("auroc", "auprc") else "pred"
            return functions[metric](frames[name]["label"], frames[name][column])

        for row in found:
            own, base = expected(row["variant"], row["metric"]), expected("A", row["metric"])
            assert row["estimate"] == pytest.approx(own, abs=1e-12)
            assert row["baseline_estimate"] == pytest.approx(base, abs=1e-12)
            assert row["delta"] == pytest.approx(own - base, abs=1e-12)

    def test_error_interval_and_p_value_of_a_difference_in_accuracy(self, folder, frames):
        (row,) = rows(
            "A.csv", "B.csv", "--baseline", "A", "--metrics", "accuracy", "--method", "analytic"
        )
        right = [frames[name]["pred"] == frames[name]["label"] for name in "AB"]
        difference = right[1].astype(int) - right[0].astype(int)
        se = difference.std(ddof=1) / math.sqrt(N)  # the mean of paired differences
        assert row["se"] == pytest.approx(se, rel=1e-12)
        reach = stats.t.ppf(0.975, row["df"]) * se
        assert (row["low"], row["high"]) == pytest.approx(
            (difference.mean() - reach, difference.mean() + reach), abs=1e-12
        )
        assert row["p"] == pytest.approx(
            2 * stats.t.sf(abs(difference.mean()) / se, row["df"]), rel=1e-9
        )

    def test_the_bootstrap_agrees_with_the_closed_form(self, folder, frames):
        status, out, _ = run("compare", "A.csv", "B.csv", "--baseline", "A", "--format", "json",
                             "--metrics", "accuracy")  # fmt: skip
        right = [frames[name]["pred"] == frames[name]["label"] for name in "AB"]
        difference = right[1].astype(int) - right[0].astype(int)
        (row,) = json.loads(out)
        assert status == 0
        # 9,999 resamples: the error of a standard deviation is 0.7 %
        assert row["se"] == pytest.approx(difference.std(ddof=1) / math.sqrt(N), rel=0.03)

    def test_holm_is_that_of_statsmodels(self, folder):
        found = rows("A.csv", "B.csv", "C.csv", "--baseline", "A", "--multiplicity", "holm")
        p = [row["p"] for row in found]
        expected = multipletests(p, method="holm")[1]
        assert [row["p_adjusted"] for row in found] == pytest.approx(expected, abs=1e-12)

    def test_families_are_split_as_asked(self, folder):
        found = rows("A.csv", "B.csv", "C.csv", "--baseline", "A", "--multiplicity", "holm",
                     "--family", "variant", "--metrics", "accuracy,mcc")  # fmt: skip
        for metric in ("accuracy", "mcc"):
            members = [row for row in found if row["metric"] == metric]
            expected = multipletests([row["p"] for row in members], method="holm")[1]
            assert [row["p_adjusted"] for row in members] == pytest.approx(expected, abs=1e-12)

    def test_same_call_same_digits_in_any_order(self, folder, frames):
        first = rows("A.csv", "B.csv", "C.csv", "--baseline", "A")
        again = rows("C.csv", "A.csv", "B.csv", "--baseline", "A")
        key = ["variant", "metric"]
        frames_ = [
            pd.DataFrame(found).sort_values(key, ignore_index=True) for found in (first, again)
        ]
        pd.testing.assert_frame_equal(*frames_, check_exact=True)

    def test_the_example_of_the_documentation(self, folder):
        found = rows("A.csv", "B.csv", "--baseline", "A", "--metrics", "accuracy,mcc,auroc",
                     "--scope", "checkpoint")  # fmt: skip
        assert [row["metric"] for row in found] == ["accuracy", "mcc", "auroc"]
        assert {row["variant"] for row in found} == {"B"}
        assert {row["scope"] for row in found} == {"checkpoint"}


class TestWhatTheColumnsAllow:
    @pytest.mark.parametrize(
        ("columns", "expected"),
        [
            ({"label": [0, 1] * 4, "pred": [0, 1, 1, 1] * 2}, ["accuracy", "mcc"]),
            ({"label": [0, 1] * 4, "score": [0.1, 0.9, 0.3, 0.2] * 2}, ["auroc", "auprc"]),
            ({"label": list("abab" * 2), "pred": list("abbb" * 2)}, ["accuracy", "mcc"]),
            ({"y": [0.5, 1.5, 2.0, 0.1] * 2, "y_pred": [0.4, 1.0, 2.0, 1.0] * 2},
             ["pearson", "spearman", "mse"]),
            ({"y": [5, 1, 2, 9] * 2, "y_pred": [4.4, 1.0, 2.0, 7.0] * 2},
             ["pearson", "spearman", "mse"]),
            ({"bits": [1.5, 1.9] * 4, "bases": [1, 1] * 4}, ["bits_per_base"]),
            ({"nats": [1.5, 1.9] * 4, "masked": [2, 1] * 4, "correct": [0, 1] * 4},
             ["mlm_accuracy", "cross_entropy", "bits_per_base"]),
            ({"numerator": [1.5, -1.9] * 4, "denominator": [2, 1] * 4}, ["ratio"]),
            ({"numerator": [1.5, -1.9] * 4}, ["mean"]),
        ],
    )  # fmt: skip
    def test_default_metrics(self, folder, columns, expected):
        frame = pd.DataFrame({"id": range(8)} | columns)
        frame.to_csv("X.csv", index=False)
        frame.to_csv("Y.csv", index=False)
        found = rows("X.csv", "Y.csv", "--baseline", "X")
        assert [row["metric"] for row in found] == expected
        assert {row["verdict"] for row in found} == {"equivalent"}

    def test_real_values_against_scipy_and_scikit_learn(self, folder):
        generator = np.random.default_rng(3)
        truth = generator.normal(size=N)
        values = {name: truth + generator.normal(size=N) * spread
                  for name, spread in (("X", 1.0), ("Y", 0.7))}  # fmt: skip
        for name, value in values.items():
            pd.DataFrame({"id": range(N), "target": truth, "prediction": value}).to_parquet(
                f"{name}.parquet"
            )
        found = rows("X.parquet", "Y.parquet", "--baseline", "X",
                     "--metrics", "pearson,spearman,r2,mse,mae")  # fmt: skip
        expected = {
            "pearson": lambda v: stats.pearsonr(truth, v).statistic,
            "spearman": lambda v: stats.spearmanr(truth, v).statistic,
            "r2": lambda v: sk.r2_score(truth, v),
            "mse": lambda v: sk.mean_squared_error(truth, v),
            "mae": lambda v: sk.mean_absolute_error(truth, v),
        }
        for row in found:
            function = expected[row["metric"]]
            assert row["estimate"] == pytest.approx(function(values["Y"]), rel=1e-10)
            assert row["baseline_estimate"] == pytest.approx(function(values["X"]), rel=1e-10)

    def test_bits_are_nats_over_ln_2(self, folder):
        for name, shift in (("X", 0.0), ("Y", 0.1)):
            pd.DataFrame({"id": range(9), "nats": np.arange(9) + shift, "bases": 10}).to_csv(
                f"{name}.csv", index=False
            )
        found = {row["metric"]: row for row in rows("X.csv", "Y.csv", "--baseline", "X")}
        assert found["cross_entropy"]["baseline_estimate"] == pytest.approx(36 / 90)
        assert found["bits_per_base"]["baseline_estimate"] == pytest.approx(36 / 90 / math.log(2))

    def test_threshold_makes_labels(self, folder, frames):
        for name in "AB":
            frames[name].drop(columns="pred").to_csv(f"only{name}.csv", index=False)
        text = refusal("compare", "onlyA.csv", "onlyB.csv", "--baseline", "onlyA",
                       "--metrics", "accuracy")  # fmt: skip
        assert "metric 'accuracy' needs predicted labels; onlyA.csv has scores" in text
        assert "--threshold 0.5" in text
        assert "These columns allow: " in text
        (row,) = rows("onlyA.csv", "onlyB.csv", "--baseline", "onlyA", "--metrics", "accuracy",
                      "--threshold", 0.5)  # fmt: skip
        assert row["estimate"] == pytest.approx(
            sk.accuracy_score(frames["B"]["label"], frames["B"]["score"] >= 0.5), abs=1e-12
        )

    def test_inner_join_is_said_and_recorded(self, folder, frames):
        frames["A"].iloc[:-3].to_csv("short.csv", index=False)
        assert "--inner" in refusal("compare", "B.csv", "short.csv", "--baseline", "B")
        _, out, _ = run("compare", "B.csv", "short.csv", "--baseline", "B", "--inner",
                        "--resamples", 99)  # fmt: skip
        assert "3 of 400 examples are not in every file and were dropped" in " ".join(out.split())
        found = rows("B.csv", "short.csv", "--baseline", "B", "--inner", "--metrics", "accuracy")
        assert [(row["n_examples"], row["n_dropped"]) for row in found] == [(397, 3)]
        kept = frames["A"].iloc[:-3]
        assert found[0]["estimate"] == sk.accuracy_score(kept["label"], kept["pred"])


class TestSeedsTasksAndClusters:
    def test_scope_is_asked_for_where_there_are_seeds(self, folder):
        long_file("long.csv")
        text = refusal("compare", "long.csv", "--baseline", "A")
        assert text.startswith("model 'A' has 2 training seeds: say what the claim is about.")
        assert "--scope procedure" in text
        assert "--scope checkpoint" in text
        found = {
            scope: rows("long.csv", "--baseline", "A", "--scope", scope, "--metrics", "accuracy")
            for scope in ("checkpoint", "procedure")
        }
        for one, other in zip(*found.values(), strict=True):
            assert one["delta"] == other["delta"]
            assert one["se"] <= other["se"]
            assert one["df"] > other["df"]

    def test_values_are_means_over_seeds(self, folder):
        long_file("long.parquet", seeds=3)
        found = rows("long.parquet", "--baseline", "A", "--scope", "procedure",
                     "--metrics", "mcc")  # fmt: skip
        frame = pd.read_parquet("long.parquet")
        for row in found:
            part = frame[(frame["task"] == row["task"]) & (frame["model"] == "B")]
            each = [sk.matthews_corrcoef(one["label"], one["pred"])
                    for _, one in part.groupby("seed")]  # fmt: skip
            assert row["estimate"] == pytest.approx(np.mean(each), abs=1e-12)
            assert row["n_seeds"] == 3

    def test_one_seed_and_scope_procedure(self, folder):
        text = refusal("compare", "A.csv", "B.csv", "--baseline", "A", "--scope", "procedure")
        assert "model 'A' has one seed" in text

    def test_clusters_are_used_and_said(self, folder):
        long_file("long.csv", seeds=1, tasks=("t",), clusters=25)
        _, out, _ = run("compare", "long.csv", "--baseline", "A", "--resamples", 99)
        assert "whole clusters are resampled, 25 of them in column 'chrom'" in " ".join(out.split())
        (row,) = rows("long.csv", "--baseline", "A", "--metrics", "accuracy")
        assert (row["unit"], row["n_units"], row["n_examples"]) == ("cluster", 25, 200)
        (row,) = rows("long.csv", "--baseline", "A", "--metrics", "accuracy", "--unit", "example")
        assert (row["unit"], row["n_units"]) == ("example", 200)
        (row,) = rows("long.csv", "--baseline", "A", "--metrics", "accuracy",
                      "--cluster-column", "none")  # fmt: skip
        assert row["unit"] == "example"

    def test_seeds_from_several_files(self, folder, frames):
        for seed in (0, 1):
            for name in "AB":
                Path(f"run{seed}").mkdir(exist_ok=True)
                models(("A", "B"), seed=seed)[name].assign(label=frames["A"]["label"]).to_csv(
                    f"run{seed}/{name}.csv", index=False
                )
        files = [f"run{seed}/{name}.csv" for seed in (0, 1) for name in "AB"]
        found = rows(*files, "--training-seeds", "0,0,1,1", "--baseline", "A", "--scope",
                     "procedure", "--metrics", "accuracy")  # fmt: skip
        assert [row["n_seeds"] for row in found] == [2]

    def test_a_model_without_predictions_on_a_task(self, folder):
        long_file("long.csv", seeds=1)
        frame = pd.read_csv("long.csv", dtype={"id": str})
        gap = frame[(frame["task"] == "t") | (frame["model"] == "A")]
        gap.to_csv("gap.csv", index=False)
        text = refusal("compare", "gap.csv", "--baseline", "B")
        assert text.startswith("task 'u' has no predictions of the baseline 'B' (it has A)")
        _, out, _ = run("compare", "gap.csv", "--baseline", "A", "--resamples", 99)
        assert "Task u: not compared there, for want of predictions: B." in out

    def test_the_task_that_a_metric_does_not_fit_is_named(self, folder):
        parts = [pd.DataFrame({"id": range(9), "task": task, "model": model, "y": y, "pred": y})
                 for task, y in (("t", [0, 1, 1] * 3), ("real", np.arange(9) / 4))
                 for model in "AB"]  # fmt: skip
        pd.concat(parts).to_csv("mixed.csv", index=False)
        text = refusal("compare", "mixed.csv", "--baseline", "A", "--metrics", "accuracy")
        assert text.startswith("task 'real': metric 'accuracy' needs labels, and column 'y'")
        found = rows("mixed.csv", "--baseline", "A")
        assert [(row["task"], row["metric"]) for row in found] == [
            ("t", "accuracy"), ("t", "mcc"),
            ("real", "pearson"), ("real", "spearman"), ("real", "mse"),
        ]  # fmt: skip

    def test_sums_over_tasks(self, folder):
        long_file("long.csv", seeds=1, tasks=("t", "u", "v"))
        base = ["long.csv", "--baseline", "A", "--metrics", "accuracy", "--aggregate", "mean"]
        text = refusal("compare", *base)
        assert "--tasks fixed" in text
        assert "--tasks random" in text
        found = rows(*base, "--tasks", "fixed")
        assert [row["task"] for row in found[:3]] == ["t", "u", "v"]
        assert len(found) == 4
        assert found[3]["delta"] == pytest.approx(np.mean([row["delta"] for row in found[:3]]))
        assert found[3]["se"] == pytest.approx(
            math.sqrt(sum(row["se"] ** 2 for row in found[:3])) / 3, rel=1e-6
        )

    @pytest.mark.parametrize("statistic", ["mean_rank", "probability_of_improvement", "iqm"])
    @pytest.mark.parametrize("form", ["terminal", "html"])
    def test_ranks_are_not_shown_in_points(self, folder, statistic, form):
        long_file("long.csv", seeds=1, tasks=("t", "u", "v"))
        status, out, _ = run("compare", "long.csv", "--baseline", "A", "--metrics", "accuracy",
                             "--aggregate", statistic, "--tasks", "fixed", "--format", form,
                             "--resamples", 99)  # fmt: skip
        assert status == 0
        if form == "terminal":
            block = out.partition(" 3 tasks: Accuracy")[2].partition("\n\n")[0]
            value = float(re.search(r"^A +(\S+)", block, re.MULTILINE)[1])
            low, high = {"mean_rank": (1, 2), "iqm": (50, 100)}.get(statistic, (0.5, 0.5))
            assert low <= value <= high


class TestFormats:
    def test_csv_reads_back_to_the_same_numbers(self, folder):
        found = rows("A.csv", "B.csv", "--baseline", "A")
        _, out, _ = run("compare", "A.csv", "B.csv", "--baseline", "A", "--format", "csv",
                        "--resamples", 499)  # fmt: skip
        table = list(csv.DictReader(io.StringIO(out)))
        assert list(table[0]) == list(found[0])
        for line, row in zip(table, found, strict=True):
            for name, value in row.items():
                if isinstance(value, float):
                    assert float(line[name]) == value
                elif isinstance(value, list):
                    assert line[name] == ";".join(value)
                else:
                    assert line[name] == ("" if value is None else str(value))

    @pytest.mark.parametrize(
        ("name", "start"),
        [("t.json", "["), ("t.csv", "task,"), ("t.md", "**B against A"), ("t.tex", "% Brackets"),
         ("t.html", "<!DOCTYPE html>"), ("t.txt", "B against A")],
    )  # fmt: skip
    def test_the_ending_of_the_output_gives_the_format(self, folder, name, start):
        status, out, err = run("compare", "A.csv", "B.csv", "--baseline", "A", "--output", name,
                               "--resamples", 99)  # fmt: skip
        assert (status, out, err) == (0, "", f"written: {name}\n")
        assert Path(name).read_text(encoding="utf-8").lstrip().startswith(start)

    def test_an_output_that_cannot_be_written_leaves_nothing(self, folder):
        Path("file").write_text("")
        text = refusal("compare", "A.csv", "B.csv", "--baseline", "A", "--output", "file/t.csv",
                       "--resamples", 99)  # fmt: skip
        assert "cannot write file/t.csv" in text
        assert not list(folder.glob(".*"))

    def test_an_output_never_replaces_the_predictions(self, folder):
        before = Path("B.csv").read_text()
        text = refusal("compare", "A.csv", "B.csv", "--baseline", "A", "--output", "./B.csv")
        assert "--output B.csv is one of the files of predictions" in text
        assert Path("B.csv").read_text() == before

    def test_unknown_ending_and_format(self, folder):
        base = ("compare", "A.csv", "B.csv", "--baseline", "A")
        assert "no format is known by '.xls'" in refusal(*base, "--output", "t.xls")
        assert "unknown format 'jason'; allowed: " in refusal(*base, "--format", "jason")


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["A.csv", "B.csv"], "say which model the others are compared with: --baseline A or B"),
            (["A.csv", "B.csv", "--baseline", "a.csv"], "--baseline: unknown model 'a.csv'"),
            (["A.csv", "--baseline", "A"], "there is one model only, 'A'"),
            (["A.csv", "B.csv", "--baseline", "A", "--metrics", "acuracy"],
             "unknown metric 'acuracy'"),
            (["A.csv", "B.csv", "--baseline", "A", "--metrics", "mcc,mcc"], "named once each"),
            (["A.csv", "B.csv", "--baseline", "A", "--metrics", "bits_per_base"],
             "metric 'bits_per_base' needs a numerator column, and A.csv has none"),
            (["A.csv", "B.csv", "--baseline", "A", "--method", "bcaa"], "Did you mean 'bca'?"),
            (["A.csv", "B.csv", "--baseline", "A", "--scope", "both"], "--scope: unknown value"),
            (["A.csv", "B.csv", "--baseline", "A", "--family", "task,arm"], "unknown value 'arm'"),
            (["A.csv", "B.csv", "--baseline", "A", "--level", "95"], "level"),
            (["A.csv", "B.csv", "--baseline", "A", "--level", "high"], "--level takes a number"),
            (["A.csv", "B.csv", "--baseline", "A", "--resamples", "0.5"], "--resamples takes"),
            (["A.csv", "B.csv", "--baseline", "A", "--margin", "-1"], "--margin must be"),
            (["A.csv", "B.csv", "--baseline", "A", "--margin", "mcx=0.1"], "--margin: unknown"),
            (["A.csv", "B.csv", "--baseline", "A", "--unit", "cluster"], "cluster"),
            (["A.csv", "B.csv", "--baseline", "A", "--tasks", "fixed"], "--aggregate"),
            (["A.csv", "B.csv", "--baseline", "A", "--aggregate", "mean", "--tasks", "fixed"],
             "two tasks or more"),
            (["A.csv", "B.csv", "--baseline", "A", "--training-seeds", "0,x"],
             "--training-seeds takes a whole number"),
            (["A.csv", "missing.csv", "--baseline", "A"], "there is no file missing.csv"),
        ],
    )  # fmt: skip
    def test_choices(self, folder, arguments, expected):
        assert expected in refusal("compare", *arguments)

    @pytest.mark.parametrize(
        ("columns", "metric", "expected"),
        [
            ({"bits": [1.0, -0.5], "bases": [1, 1]}, "bits_per_base",
             "X.csv, column 'bits', line 3: bits_per_base lies between 0 and inf, but here -0.5"),
            ({"correct": [1, 3], "masked": [1, 2]}, "mlm_accuracy",
             "X.csv, column 'correct', line 3: mlm_accuracy lies between 0 and 1, but here 3 over"),
            ({"label": ["a", "b"], "pred": ["a", "b"]}, "f1", "needs the labels 0 and 1"),
            ({"label": ["a", "b"], "score": [1, 2]}, "auroc", "text such as 'a'"),
            ({"label": [0, 2], "score": [1, 2]}, "auroc", "needs the true labels 0 and 1"),
            ({"label": [0, 1], "pred": [0, 1]}, "auroc", "needs a score column"),
            ({"label": [0, 1], "pred": [0.2, 0.7]}, "accuracy", "holds values such as 0.2"),
            ({"label": [0.5, 1], "pred": [0.2, 0.7]}, "mcc", "column 'label' of X.csv holds"),
            ({"pred": [0, 1]}, "accuracy", "needs a label column"),
            ({"pred": [0, 1]}, None, "no metric can be computed"),
        ],
    )  # fmt: skip
    def test_columns_that_do_not_fit(self, folder, columns, metric, expected):
        frame = pd.DataFrame({"id": range(2)} | columns)
        frame.to_csv("X.csv", index=False)
        frame.to_csv("Y.csv", index=False)
        chosen = [] if metric is None else ["--metrics", metric]
        assert expected in refusal("compare", "X.csv", "Y.csv", "--baseline", "X", *chosen)

    def test_no_abbreviated_options(self, folder):
        status, _, err = run("compare", "A.csv", "B.csv", "--base", "A")
        assert status == 2
        assert "--base" in err


class TestDegenerate:
    def test_one_class_only_keeps_its_row(self, folder):
        for name, shift in (("X", 0), ("Y", 1)):
            pd.DataFrame({"id": range(30), "label": 1, "pred": [1, 0, 1] * 10,
                          "score": (np.arange(30) * 7 + shift) % 11}).to_csv(
                f"{name}.csv", index=False)  # fmt: skip
        found = {row["metric"]: row for row in rows("X.csv", "Y.csv", "--baseline", "X")}
        assert found["auroc"]["delta"] is None
        assert found["auroc"]["low"] is None
        assert found["auroc"]["flags"]
        assert found["accuracy"]["delta"] == 0
        _, out, _ = run("compare", "X.csv", "Y.csv", "--baseline", "X", "--resamples", 99)
        assert re.search(r"^\(\w\) \w+: .*(one class|not defined)", out, re.MULTILINE)

    def test_one_example_has_a_value_and_no_interval(self, folder):
        for name, pred in (("X", 1), ("Y", 0)):
            pd.DataFrame({"id": [1], "label": [1], "pred": [pred]}).to_csv(
                f"{name}.csv", index=False
            )
        (row,) = rows("X.csv", "Y.csv", "--baseline", "X", "--metrics", "accuracy")
        assert (row["delta"], row["low"], row["high"], row["p"]) == (-1, None, None, None)
        assert "too_few_units" in row["flags"]
        assert row["verdict"] == "inconclusive"

    def test_identical_models(self, folder, frames):
        frames["A"].to_csv("twin.csv", index=False)
        for row in rows("A.csv", "twin.csv", "--baseline", "A"):
            assert (row["delta"], row["low"], row["high"], row["p"]) == (0, 0, 0, 1)
            assert row["verdict"] == "equivalent"
            assert "identical" in row["flags"]


class TestPower:
    def test_oracle_table_without_data(self, folder):
        """Detectable differences of the specification's table at 10 % discordance."""
        _, out, _ = run("power", "--discordance", 0.1, "--units", 1000, "--format", "json")
        (row,) = json.loads(out)
        assert row["detectable"] == pytest.approx(0.0280, abs=5e-5)
        by_size = {one["n_units"]: one["detectable"] for one in row["grid"]}
        assert by_size[500] == pytest.approx(0.0396, abs=5e-5)
        assert by_size[2000] == pytest.approx(0.0198, abs=5e-5)

    def test_examples_needed(self, folder):
        _, out, _ = run("power", "--discordance", 0.1, "--effect", 0.02, "--format", "json")
        (row,) = json.loads(out)
        z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
        assert row["units_needed"] == math.ceil(0.1 * (z / 0.02) ** 2)
        assert row["n_units"] == 0
        assert row["power"] is None

    def test_from_files(self, folder, frames):
        _, out, _ = run("power", "A.csv", "B.csv", "--baseline", "A", "--metrics", "accuracy",
                        "--effect", 0.03, "--resamples", 499, "--format", "json")  # fmt: skip
        (row,) = json.loads(out)
        (compared,) = rows("A.csv", "B.csv", "--baseline", "A", "--metrics", "accuracy")
        assert row["se"] == compared["se"]
        assert row["detectable"] == pytest.approx(compared["mde80"])
        right = [frames[name]["pred"] == frames[name]["label"] for name in "AB"]
        assert row["discordance"] == pytest.approx(np.mean(right[0] != right[1]), abs=1e-12)
        # Needed: at that many examples the detectable difference is the effect.
        assert row["detectable"] * math.sqrt(N / row["units_needed"]) == pytest.approx(
            0.03, rel=2e-3
        )

    def test_seeds(self, folder):
        long_file("long.csv", seeds=3, tasks=("t",))
        status, out, _ = run("power", "long.csv", "--baseline", "A", "--scope", "procedure",
                             "--metrics", "accuracy", "--effect", 0.05, "--resamples", 499,
                             "--format", "json")  # fmt: skip
        assert status == 0
        (row,) = json.loads(out)
        assert row["scope"] == "procedure"
        assert row["seeds_needed"] is None or row["seeds_needed"] >= 2
        reach = {(one["n_units"], one["n_seeds"]): one["detectable"] for one in row["grid"]}
        assert reach[200, 20] < reach[200, 5] < reach[200, 2]

    def test_terminal(self, folder):
        status, out, _ = run("power", "A.csv", "B.csv", "C.csv", "--baseline", "A",
                             "--effect", "accuracy=0.01", "--resamples", 99)  # fmt: skip
        assert status == 0
        assert "examples for 1" in out
        assert "400 (now)" in out
        assert out.isascii()

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ([], "give files of predictions"),
            (["--se", 0.01], "give --units N"),
            (["--discordance", 0.1, "--se", 0.1], "one of --discordance"),
            (["--discordance", 1.5], "discordance"),
            (["--discordance", 0.1, "--effect", 0], "--effect 0 needs infinitely many"),
            (["--discordance", 0.1, "--baseline", "A"], "--baseline has no meaning without files"),
            (["--discordance", 0.1, "--power", 2], "power"),
            (["--discordance", 0.1, "--level", 95], "--level must lie between 0 and 1"),
            (["--discordance", 0.1, "--effect", 0.2], "--effect 0.2 is more than --discordance"),
            (["--discordance", 0, "--effect", 0.2], "do not differ"),
            (["--se", 0.1, "--units", 9, "--effect", 0.2, "--df", 0], "degrees of freedom"),
            (["--se", 0.01, "--units", 1], "2 or more units"),
            (["A.csv", "B.csv", "--baseline", "A", "--units", 5], "--units has no meaning with"),
            (["A.csv", "B.csv", "--baseline", "A", "--effect", "mcx=1"], "--effect: unknown"),
            (["--discordance", 0.1, "--format", "csv"], "--format: unknown format"),
        ],
    )
    def test_refusals(self, folder, arguments, expected):
        assert expected in refusal("power", *arguments)


README = Path(__file__).parents[1] / "README.md"


class TestFrontDoor:
    @pytest.mark.parametrize(
        "line", re.findall(r"^(?:\$ )?lightning-dna ((?:compare|power) [^#|\n]+)",
                           README.read_text(encoding="utf-8"), re.MULTILINE),
    )  # fmt: skip
    def test_commands_of_the_readme_are_understood(self, tmp_path, monkeypatch, line):
        """Their files are not here: that has to be all that is wrong with them."""
        monkeypatch.chdir(tmp_path)
        status, _, err = run(*line.split())
        assert status == 0 or "there is no file" in err

    def test_help_shows_examples(self):
        for verb in ("compare", "power"):
            status, out, _ = run(verb, "--help")
            assert status == 0
            assert f"  lightning-dna {verb} " in out.partition("Examples:")[2]

    def test_nothing_heavy_is_loaded(self, folder):
        program = (
            "import sys\nfrom lightning_dna.cli import main\n"
            "status = main(sys.argv[1:])\n"
            "heavy = ('torch', 'lightning', 'matplotlib', 'sklearn', 'pandas', 'scipy.stats')\n"
            "print([name for name in heavy if name in sys.modules], file=sys.stderr)\n"
            "raise SystemExit(status)\n"
        )
        command = [sys.executable, "-c", program, "compare", "A.csv", "B.csv", "--baseline", "A",
                   "--metrics", "accuracy,mcc", "--format", "json"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "[]")
        assert len(json.loads(done.stdout)) == 2

    @pytest.mark.slow
    def test_twenty_thousand_examples_within_three_seconds(self, folder):
        """Processor time over all threads, which other programs on the machine do not change."""
        for name, frame in models(("X", "Y"), n=20_000).items():
            frame.to_csv(f"{name}.csv", index=False)
        command = [sys.executable, "-m", "lightning_dna", "compare", "X.csv", "Y.csv",
                   "--baseline", "X", "--format", "json"]  # fmt: skip
        taken = []
        for _ in range(3):  # the first may compile
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, capture_output=True, check=True, timeout=120)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert min(taken) < 3

"""``lightning-dna compare``: what columns allow, formats, and mistakes in words."""

import csv
import io
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sk

N = 400


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
            ({"y": [5, 1, 2, 9] * 6, "y_pred": [4, 1, 2, 7] * 6}, ["accuracy", "mcc"]),
            ({"y": range(21), "y_pred": range(1, 22)}, ["pearson", "spearman", "mse"]),
            ({"y": list(range(21)) * 2, "y_pred": range(42)}, ["accuracy", "mcc"]),
            ({"bits": [1.5, 1.9] * 4, "bases": [1, 1] * 4}, ["bits_per_base"]),
            ({"nats": [1.5, 1.9] * 4, "masked": [2, 1] * 4, "correct": [0, 1] * 4},
             ["mlm_accuracy", "cross_entropy", "bits_per_base"]),
            ({"numerator": [1.5, -1.9] * 4, "denominator": [2, 1] * 4}, ["ratio"]),
            ({"numerator": [1.5, -1.9] * 4}, ["mean"]),
        ],
    )  # fmt: skip
    def test_default_metrics(self, folder, columns, expected, rows):
        frame = pd.DataFrame(columns).rename_axis("id").reset_index()
        frame.to_csv("X.csv", index=False)
        frame.to_csv("Y.csv", index=False)
        found = rows("X.csv", "Y.csv", "--baseline", "X")
        assert [row["metric"] for row in found] == expected
        assert {row["verdict"] for row in found} == {"equivalent"}

    def test_real_values_against_scipy_and_scikit_learn(self, folder, rows):
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

    def test_bits_are_nats_over_ln_2(self, folder, rows):
        for name, shift in (("X", 0.0), ("Y", 0.1)):
            pd.DataFrame({"id": range(9), "nats": np.arange(9) + shift, "bases": 10}).to_csv(
                f"{name}.csv", index=False
            )
        found = {row["metric"]: row for row in rows("X.csv", "Y.csv", "--baseline", "X")}
        assert found["cross_entropy"]["baseline_estimate"] == pytest.approx(36 / 90)
        assert found["bits_per_base"]["baseline_estimate"] == pytest.approx(36 / 90 / math.log(2))

    def test_threshold_makes_labels(self, folder, frames, rows, refusal):
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

    def test_scores_that_are_not_needed_may_be_missing(self, folder, frames, rows, refusal):
        frames["B"].drop(columns="score").to_csv("B.csv", index=False)
        base = ("A.csv", "B.csv", "--baseline", "A")
        (row,) = rows(*base, "--metrics", "accuracy")
        assert row["estimate"] == sk.accuracy_score(frames["B"]["label"], frames["B"]["pred"])
        text = refusal("compare", *base, "--metrics", "accuracy,auroc")
        assert text.startswith("A.csv has a score column ('score'), B.csv has none")

    def test_scores_that_one_task_lacks(self, folder, frames, rows, refusal):
        parts = [
            frames[name].assign(model=name, task=task, **missing)
            for task, missing in (("t", {}), ("u", {"score": np.nan}))
            for name in "AB"
        ]
        pd.concat(parts).to_csv("long.csv", index=False)
        found = rows("long.csv", "--baseline", "A")
        assert [(row["task"], row["metric"]) for row in found] == [
            ("t", "accuracy"), ("t", "mcc"), ("t", "auroc"), ("t", "auprc"),
            ("u", "accuracy"), ("u", "mcc"),
        ]  # fmt: skip
        text = refusal("compare", "long.csv", "--baseline", "A", "--metrics", "auroc")
        assert text.startswith("task 'u': metric 'auroc' needs a score column, and column 'score'")
        assert "is empty for model 'A', task 'u'" in text

    def test_inner_join_is_said_and_recorded(self, folder, frames, run, rows, refusal):
        frames["A"].iloc[:-3].to_csv("short.csv", index=False)
        assert "--inner" in refusal("compare", "B.csv", "short.csv", "--baseline", "B")
        _, out, _ = run("compare", "B.csv", "short.csv", "--baseline", "B", "--inner",
                        "--resamples", 99)  # fmt: skip
        assert "3 of 400 examples are not in every file and were dropped" in " ".join(out.split())
        found = rows("B.csv", "short.csv", "--baseline", "B", "--inner", "--metrics", "accuracy")
        assert [(row["n_examples"], row["n_dropped"]) for row in found] == [(397, 3)]
        kept = frames["A"].iloc[:-3]
        assert found[0]["estimate"] == sk.accuracy_score(kept["label"], kept["pred"])


class TestFormats:
    def test_csv_reads_back_to_the_same_numbers(self, folder, run, rows):
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
    def test_the_ending_of_the_output_gives_the_format(self, folder, name, start, run):
        status, out, err = run("compare", "A.csv", "B.csv", "--baseline", "A", "--output", name,
                               "--resamples", 99)  # fmt: skip
        assert (status, out, err) == (0, "", f"written: {name}\n")
        assert Path(name).read_text(encoding="utf-8").lstrip().startswith(start)

    def test_an_output_that_cannot_be_written_leaves_nothing(self, folder, refusal):
        Path("file").write_text("")
        text = refusal("compare", "A.csv", "B.csv", "--baseline", "A", "--output", "file/t.csv",
                       "--resamples", 99)  # fmt: skip
        assert "cannot write file/t.csv" in text
        assert not list(folder.glob(".*"))

    def test_an_output_never_replaces_the_predictions(self, folder, refusal):
        before = Path("B.csv").read_text()
        text = refusal("compare", "A.csv", "B.csv", "--baseline", "A", "--output", "./B.csv")
        assert "--output B.csv is one of the files of predictions" in text
        assert Path("B.csv").read_text() == before

    def test_unknown_ending_and_format(self, folder, refusal):
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
    def test_choices(self, folder, arguments, expected, refusal):
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
    def test_columns_that_do_not_fit(self, folder, columns, metric, expected, refusal):
        frame = pd.DataFrame({"id": range(2)} | columns)
        frame.to_csv("X.csv", index=False)
        frame.to_csv("Y.csv", index=False)
        chosen = [] if metric is None else ["--metrics", metric]
        assert expected in refusal("compare", "X.csv", "Y.csv", "--baseline", "X", *chosen)

    def test_no_abbreviated_options(self, folder, run):
        status, _, err = run("compare", "A.csv", "B.csv", "--base", "A")
        assert status == 2
        assert "--base" in err


class TestDegenerate:
    @pytest.mark.parametrize("verb", ["compare", "power"])
    def test_one_class_only_is_refused(self, folder, verb, run, refusal):
        for name, shift in (("X", 0), ("Y", 1)):
            pd.DataFrame({"id": range(30), "label": 1, "pred": [1, 0, 1] * 10,
                          "score": (np.arange(30) * 7 + shift) % 11}).to_csv(
                f"{name}.csv", index=False)  # fmt: skip
        base = (verb, "X.csv", "Y.csv", "--baseline", "X", "--resamples", 99)
        text = refusal(*base)
        assert "'auroc', 'auprc' needs examples of two classes, and X.csv, column 'label'" in text
        assert "holds 1 only (30 rows, the first on line 2)" in text
        assert text.endswith("leave them out: --metrics accuracy,mcc.")
        status, _, _ = run(*base, "--metrics", "accuracy,mcc")
        assert status == 0

    def test_one_class_only_in_one_task_keeps_its_row(self, folder, run, rows):
        parts = [pd.DataFrame({"id": range(30), "task": task, "model": model, "label": label,
                               "score": (np.arange(30) * 7 + shift) % 11})
                 for task, label in (("t", [0, 1] * 15), ("u", 1))
                 for model, shift in (("X", 0), ("Y", 1))]  # fmt: skip
        pd.concat(parts).to_csv("long.csv", index=False)
        found = rows("long.csv", "--baseline", "X", "--metrics", "auroc")
        assert [row["delta"] is None for row in found] == [False, True]
        assert found[1]["verdict"] == "inconclusive"
        _, out, _ = run("compare", "long.csv", "--baseline", "X", "--metrics", "auroc",
                        "--resamples", 99)  # fmt: skip
        assert re.search(r"^Y .* not tested: one class only \(\w\)", out, re.MULTILINE)
        assert re.search(r"^\(\w\) single_class: only one class", out, re.MULTILINE)
        assert "Not tested, so nothing is said about a difference: AUROC of Y on u (one class" in (
            " ".join(out.split())
        )
        assert "there is one comparison, so p needs no adjustment" in " ".join(out.split())

    @pytest.mark.parametrize("verb", ["compare", "power"])
    def test_one_example_is_refused(self, folder, verb, refusal):
        for name, pred in (("X", 1), ("Y", 0)):
            pd.DataFrame({"id": [1], "label": [1], "pred": [pred]}).to_csv(
                f"{name}.csv", index=False
            )
        text = refusal(verb, "X.csv", "Y.csv", "--baseline", "X", "--metrics", "accuracy")
        assert text.startswith("X.csv has 1 row (line 2): one example has a value and no error.")
        assert "An interval needs two or more units" in text

    def test_identical_models(self, folder, frames, rows):
        frames["A"].to_csv("twin.csv", index=False)
        for row in rows("A.csv", "twin.csv", "--baseline", "A"):
            assert (row["delta"], row["low"], row["high"], row["p"]) == (0, 0, 0, 1)
            assert row["verdict"] == "equivalent"
            assert "identical" in row["flags"]

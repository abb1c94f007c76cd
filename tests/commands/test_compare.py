"""``lightning-dna compare``: its numbers, against scipy, scikit-learn and statsmodels."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sk
from statsmodels.stats.multitest import multipletests

N = 400
ROW_FIELDS = {
    "task", "variant", "baseline", "metric", "estimand", "scope", "unit", "n_units", "n_seeds",
    "delta", "se", "df", "low", "high", "p", "p_adjusted", "verdict", "mde80", "design_effect",
    "n_undefined", "mc_error", "flags", "plan_hash", "signature",
}  # fmt: skip


class TestValues:
    def test_estimates_are_those_of_scikit_learn(self, folder, frames, rows):
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

    def test_error_interval_and_p_value_of_a_difference_in_accuracy(self, folder, frames, rows):
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

    def test_the_bootstrap_agrees_with_the_closed_form(self, folder, frames, run):
        status, out, _ = run("compare", "A.csv", "B.csv", "--baseline", "A", "--format", "json",
                             "--metrics", "accuracy")  # fmt: skip
        right = [frames[name]["pred"] == frames[name]["label"] for name in "AB"]
        difference = right[1].astype(int) - right[0].astype(int)
        (row,) = json.loads(out)
        assert status == 0
        # 9,999 resamples: the error of a standard deviation is 0.7 %
        assert row["se"] == pytest.approx(difference.std(ddof=1) / math.sqrt(N), rel=0.03)

    def test_holm_is_that_of_statsmodels(self, folder, rows):
        found = rows("A.csv", "B.csv", "C.csv", "--baseline", "A", "--multiplicity", "holm")
        p = [row["p"] for row in found]
        expected = multipletests(p, method="holm")[1]
        assert [row["p_adjusted"] for row in found] == pytest.approx(expected, abs=1e-12)

    def test_families_are_split_as_asked(self, folder, rows):
        found = rows("A.csv", "B.csv", "C.csv", "--baseline", "A", "--multiplicity", "holm",
                     "--family", "variant", "--metrics", "accuracy,mcc")  # fmt: skip
        for metric in ("accuracy", "mcc"):
            members = [row for row in found if row["metric"] == metric]
            expected = multipletests([row["p"] for row in members], method="holm")[1]
            assert [row["p_adjusted"] for row in members] == pytest.approx(expected, abs=1e-12)

    def test_same_call_same_digits_in_any_order(self, folder, frames, rows):
        first = rows("A.csv", "B.csv", "C.csv", "--baseline", "A")
        again = rows("C.csv", "A.csv", "B.csv", "--baseline", "A")
        key = ["variant", "metric"]
        frames_ = [
            pd.DataFrame(found).sort_values(key, ignore_index=True) for found in (first, again)
        ]
        pd.testing.assert_frame_equal(*frames_, check_exact=True)

    def test_the_example_of_the_documentation(self, folder, rows):
        found = rows("A.csv", "B.csv", "--baseline", "A", "--metrics", "accuracy,mcc,auroc",
                     "--scope", "checkpoint")  # fmt: skip
        assert [row["metric"] for row in found] == ["accuracy", "mcc", "auroc"]
        assert {row["variant"] for row in found} == {"B"}
        assert {row["scope"] for row in found} == {"checkpoint"}


class TestSeedsTasksAndClusters:
    def test_scope_is_asked_for_where_there_are_seeds(self, folder, rows, refusal, long_file):
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

    def test_values_are_means_over_seeds(self, folder, rows, long_file):
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

    def test_one_seed_and_scope_procedure(self, folder, refusal):
        text = refusal("compare", "A.csv", "B.csv", "--baseline", "A", "--scope", "procedure")
        assert "model 'A' has one seed" in text

    def test_clusters_are_used_and_said(self, folder, run, rows, long_file):
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

    def test_seeds_from_several_files(self, folder, frames, rows, models):
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

    def test_a_model_without_predictions_on_a_task(self, folder, run, refusal, long_file):
        long_file("long.csv", seeds=1)
        frame = pd.read_csv("long.csv", dtype={"id": str})
        gap = frame[(frame["task"] == "t") | (frame["model"] == "A")]
        gap.to_csv("gap.csv", index=False)
        text = refusal("compare", "gap.csv", "--baseline", "B")
        assert text.startswith("task 'u' has no predictions of the baseline 'B' (it has A)")
        _, out, _ = run("compare", "gap.csv", "--baseline", "A", "--resamples", 99)
        assert "Task u: not compared there, for want of predictions: B." in out

    def test_the_task_that_a_metric_does_not_fit_is_named(self, folder, rows, refusal):
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

    def test_sums_over_tasks(self, folder, rows, refusal, long_file):
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
    def test_ranks_are_not_shown_in_points(self, folder, statistic, form, run, long_file):
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

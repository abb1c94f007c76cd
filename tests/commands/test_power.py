"""``lightning-dna power``: plans from files and from numbers."""

import json
import math

import numpy as np
import pytest
from scipy import stats

N = 400


class TestPower:
    def test_oracle_table_without_data(self, folder, run):
        """Detectable differences of the specification's table at 10 % discordance."""
        _, out, _ = run("power", "--discordance", 0.1, "--units", 1000, "--format", "json")
        (row,) = json.loads(out)
        assert row["detectable"] == pytest.approx(0.0280, abs=5e-5)
        by_size = {one["n_units"]: one["detectable"] for one in row["grid"]}
        assert by_size[500] == pytest.approx(0.0396, abs=5e-5)
        assert by_size[2000] == pytest.approx(0.0198, abs=5e-5)

    def test_examples_needed(self, folder, run):
        _, out, _ = run("power", "--discordance", 0.1, "--effect", 0.02, "--format", "json")
        (row,) = json.loads(out)
        z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
        assert row["units_needed"] == math.ceil(0.1 * (z / 0.02) ** 2)
        assert row["n_units"] == 0
        assert row["power"] is None

    def test_from_files(self, folder, frames, run, rows):
        _, out, _ = run("power", "A.csv", "B.csv", "--baseline", "A", "--metrics", "accuracy",
                        "--effect", 0.03, "--resamples", 499, "--format", "json")  # fmt: skip
        (row,) = json.loads(out)
        (compared,) = rows("A.csv", "B.csv", "--baseline", "A", "--metrics", "accuracy")
        assert row["se"] == compared["se"]
        # The plan solves the power of the t test; the row of a comparison uses a sum of quantiles.
        assert row["detectable"] == pytest.approx(compared["mde80"], rel=1e-3)
        right = [frames[name]["pred"] == frames[name]["label"] for name in "AB"]
        assert row["discordance"] == pytest.approx(np.mean(right[0] != right[1]), abs=1e-12)
        # Needed: at that many examples the detectable difference is the effect.
        assert row["detectable"] * math.sqrt(N / row["units_needed"]) == pytest.approx(
            0.03, rel=2e-3
        )

    def test_seeds(self, folder, run, long_file):
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

    def test_terminal(self, folder, run):
        status, out, _ = run("power", "A.csv", "B.csv", "C.csv", "--baseline", "A",
                             "--effect", "accuracy=0.01", "--resamples", 99)  # fmt: skip
        assert status == 0
        assert "examples for 1" in out
        assert "400 (now)" in out
        assert out.isascii()

    def test_more_examples_at_two_seeds(self, folder, run):
        base = ("power", "--se", 0.012, "--units", 2000, "--seed-variance", 0.0004, "--seeds", 3)
        _, out, _ = run(*base, "--effect", 0.01)
        (line,) = [line for line in out.splitlines() if line.startswith("2 seeds")]
        reach = [float(cell) for cell in line.split()[2:]]
        assert reach[-1] > reach[3] > reach[2]  # 20,000, 4,000 and 2,000 examples
        words = " ".join(out.split())
        assert "With 2 seeds the detectable difference rises with the number of examples" in words
        assert "few degrees of freedom" in words
        assert "no number is enough" in words
        _, out, _ = run("power", "--se", 0.012, "--units", 2000, "--seed-variance", 1e-9)
        assert "rises with" not in out

    def test_identical_models_are_said_in_words(self, folder, frames, run):
        frames["A"].to_csv("twin.csv", index=False)
        status, out, _ = run("power", "A.csv", "twin.csv", "B.csv", "--baseline", "A", "--metrics",
                             "accuracy,mcc", "--resamples", 99)  # fmt: skip
        assert status == 0
        assert (
            "No plan can be made for Accuracy of twin and A and Matthews correlation of twin and A:"
            " the two agree on every unit, and no number of examples shows a difference."
        ) in " ".join(out.split())

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
            (["--se", 0.01, "--units", 9, "--seed-variance", -1], "--seed-variance must be 0 or"),
            (["A.csv", "B.csv", "--baseline", "A", "--units", 5], "--units has no meaning with"),
            (["A.csv", "B.csv", "--baseline", "A", "--effect", "mcx=1"], "--effect: unknown"),
            (["--discordance", 0.1, "--format", "csv"], "--format: unknown format"),
        ],
    )
    def test_refusals(self, folder, arguments, expected, refusal):
        assert expected in refusal("power", *arguments)

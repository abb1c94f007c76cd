"""The gap at equal composition: by hand, against a jackknife of the formula, and in simulation."""

import math

import numpy as np
import pandas as pd
import pytest

from lightning_dna.stats.alignment import align
from lightning_dna.stats.bootstrap import bootstrap_metrics
from lightning_dna.stats.comparison import compare, estimates
from lightning_dna.stats.plan import ResamplingPlan
from lightning_dna.stats.replicates import subtract
from lightning_dna.study import matched_gap
from lightning_dna.study.matched_gap import gap_metrics, matched_sides, matched_strata, with_gc

COLUMNS = ["part", "cluster_id", "example_id", "stratum", "masked", "correct", "nats"]
METRICS = ("mlm_accuracy", "bits_per_base")


def frame_of(rows, variant="arm", seed=0):
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.assign(task="bases", variant=variant, seed=seed, chrom="chr1")


def gap_of(scores, resamples=199):
    """Return the replicates of the matched gap, as the comparison of a study makes them."""
    sides = matched_sides(scores, matched_strata(scores), "bases")
    plan = ResamplingPlan(n_resamples=resamples, unit="cluster")
    rows = gap_metrics("bases/matched_gap", METRICS)
    train, test = (
        bootstrap_metrics(align(sides[f"bases/matched_{side}"]), rows, plan)
        for side in ("train", "test")
    )
    return subtract(train, test, task="bases/matched_gap")


HAND = [
    # windows of 20 bases; a is easy, b is hard, and training has more of a
    ("train", "t0", "t0", "a", 30, 24, 30 * math.log(2)),
    ("train", "t1", "t1", "a", 10, 8, 10 * math.log(2)),
    ("train", "t1", "t1", "b", 4, 2, 4 * math.log(4)),
    ("train", "t2", "t2", "b", 6, 3, 6 * math.log(4)),
    ("train", "t2", "t2", "c", 50, 50, 0.0),
    ("test", "h0", "h0", "a", 5, 3, 5 * math.log(2)),
    ("test", "h1", "h1", "b", 10, 4, 10 * math.log(8)),
    ("test", "h2", "h2", "b", 5, 2, 5 * math.log(8)),
    ("test", "h2", "h2", "d", 20, 0, 20 * math.log(16)),
]


@pytest.fixture
def any_stratum(monkeypatch):
    """Match strata of one cluster, too."""
    monkeypatch.setattr(matched_gap, "LEAST_CLUSTERS", 1)


@pytest.mark.usefixtures("any_stratum")
def test_by_hand():
    scores = frame_of(HAND)
    strata = matched_strata(scores)
    assert strata.weights == {"a": 5 / 20, "b": 15 / 20}
    assert strata.left_out == 2
    assert (strata.held_out, strata.training) == (20 / 40, 50 / 100)
    gap = gap_of(scores)
    # accuracies: training a 32/40, b 5/10; held out a 3/5, b 6/15
    expected = (0.25 * 0.8 + 0.75 * 0.5) - (0.25 * 0.6 + 0.75 * 0.4)
    # bits per base: training a 1, b 2; held out a 1, b 3
    bits = (0.25 * 1 + 0.75 * 2) - (0.25 * 1 + 0.75 * 3)
    np.testing.assert_allclose(gap.observed[0, 0], [expected, bits], rtol=1e-12)
    assert gap.metrics[0].greater_is_better is False  # a gap is the smaller the better


@pytest.mark.usefixtures("any_stratum")
def test_each_variant_and_seed_has_its_own_accuracies():
    better = [(*row[:5], min(row[5] + 1, row[4]), row[6] / 2) for row in HAND]
    scores = pd.concat([frame_of(HAND), frame_of(better, "other", 3)])
    gap = gap_of(scores)
    assert (gap.variants, gap.seeds) == (("arm", "other"), (0, 3))
    # training a 34/40, b 7/10; held out a 4/5, b 8/15
    expected = (0.25 * 0.85 + 0.75 * 0.7) - (0.25 * 0.8 + 0.75 * 8 / 15)
    assert gap.observed[1, 1, 0] == pytest.approx(expected)
    assert gap.observed[0, 0, 0] == pytest.approx(0.125)


def test_strata_of_few_clusters_are_left_out():
    rows = []
    for number in range(5):
        rows.append(("train", f"t{number}", f"t{number}", "a", 10, 5, 1.0))
        rows.append(("test", f"h{number}", f"h{number}", "a", 10, 5, 1.0))
        rows.append(("test", f"h{number}", f"h{number}", "b", 10, 5, 1.0))
    rows += [("train", "t0", f"x{number}", "b", 10, 5, 1.0) for number in range(9)]
    strata = matched_strata(frame_of(rows))
    assert strata.weights == {"a": 1.0}
    assert (strata.left_out, strata.held_out) == (1, 0.5)
    assert strata.training == pytest.approx(50 / 140)


def test_nothing_in_common():
    scores = frame_of(HAND)
    strata = matched_strata(scores)  # no stratum has five clusters
    assert strata.weights == {}
    assert matched_sides(scores, strata, "bases") == {}
    only_test = scores[scores["part"] == "test"]
    assert matched_strata(only_test).weights == {}


def test_gc_bins_are_put_on_where_they_lack():
    scores = frame_of(
        [
            ("test", "h", "w1", "unique", 1, 1, 0.0),
            ("test", "h", "w2", "repeat+intron+gc_30_35", 1, 1, 0.0),
            ("train", "h", "w1", "unique", 1, 1, 0.0),
        ]
    )
    windows = pd.DataFrame(
        {
            "part": ["test", "test", "train"],
            "example_id": ["w1", "w2", "w1"],
            "gc": ["gc_0_30", "gc_0_30", "gc_60_100"],
        }
    )
    from lightning_dna.genome.annotation import gc_names

    named = f"repeat+intron+{gc_names()[1]}"
    scores["stratum"] = scores["stratum"].replace("repeat+intron+gc_30_35", named)
    found = with_gc(scores, windows)["stratum"].tolist()
    assert found == ["unique+gc_0_30", named, "unique+gc_60_100"]


def drawn(rng, *, memory=0.0, n_train=40, n_test=30):
    """Windows of two strata: one is easy, and training has much more of it than the held-out side.

    Clusters differ in how hard they are and in what they are made of, so bases are not independent.
    """
    rows = []
    for part, clusters, easy in (("train", n_train, 0.7), ("test", n_test, 0.3)):
        for cluster in range(clusters):
            share = rng.beta(8 * easy, 8 * (1 - easy))
            shift = rng.normal(0.0, 0.04) + (memory if part == "train" else 0.0)
            for window in range(3):
                masked = rng.binomial(60, share)
                for name, size, chance in (("a", masked, 0.65), ("b", 60 - masked, 0.35)):
                    if size:
                        hits = rng.binomial(size, np.clip(chance + shift, 0, 1))
                        place = f"{part}{cluster}"
                        rows.append(
                            (part, place, f"{place}.{window}", name, size, hits, 60.0 - hits)
                        )
    return frame_of(rows)


def direct(scores):
    """The formula itself, in float64."""
    sums = scores.groupby(["part", "stratum"])[["masked", "correct"]].sum()
    accuracy = (sums["correct"] / sums["masked"]).unstack()
    weights = sums["masked"]["test"] / sums["masked"]["test"].sum()
    return float((weights * (accuracy.loc["train"] - accuracy.loc["test"])).sum())


def test_standard_error_is_that_of_the_formula():
    """Of a jackknife over clusters that makes everything anew: composition, weights, accuracies."""
    scores = drawn(np.random.default_rng(7), memory=0.1)
    row = estimates({"bases/matched_gap": gap_of(scores)}, scope="checkpoint").rows[0]
    assert row.estimate == pytest.approx(direct(scores))
    variance = 0.0
    for part in ("train", "test"):
        clusters = scores.loc[scores["part"] == part, "cluster_id"].unique()
        left = np.array([direct(scores[scores["cluster_id"] != one]) for one in clusters])
        variance += (len(left) - 1) / len(left) * ((left - left.mean()) ** 2).sum()
    assert row.se == pytest.approx(math.sqrt(variance), rel=0.06)


def test_covers_zero_where_composition_alone_differs():
    """200 genomes without memory: the interval of the matched gap is wrong as often as it says."""
    rng = np.random.default_rng(11)
    covered, found, plain = 0, [], []
    for _ in range(200):
        scores = drawn(rng)
        row = estimates({"bases/matched_gap": gap_of(scores, 99)}, scope="checkpoint").rows[0]
        covered += row.low <= 0.0 <= row.high
        found.append(row.estimate)
        sums = scores.groupby("part")[["masked", "correct"]].sum()
        shares = sums["correct"] / sums["masked"]
        plain.append(shares["train"] - shares["test"])
    # 95 % within three standard errors of 200 trials
    assert 0.95 - 3 * 0.0154 <= covered / 200 <= 1.0
    assert np.mean(found) == pytest.approx(0.0, abs=3 * np.std(found) / math.sqrt(200))
    assert np.mean(plain) == pytest.approx(0.3 * 0.4, abs=0.01)  # what composition alone makes


def test_memory_is_found_and_two_arms_are_paired():
    rng = np.random.default_rng(2)
    reader = drawn(rng, memory=0.08)
    other = reader.assign(variant="other")
    hit = (other["part"] == "train") & (other["correct"] > 3)
    other.loc[hit, "correct"] -= 3
    reps = {"bases/matched_gap": gap_of(pd.concat([reader, other]))}
    row = next(one for one in estimates(reps, scope="checkpoint").rows if one.variant == "arm")
    assert row.low > 0.0
    assert row.estimate == pytest.approx(0.08, abs=0.04)
    delta = compare(reps, baseline="arm", scope="checkpoint").rows[0]
    assert delta.delta < -0.05
    # what both arms share of the noise is gone
    assert delta.se < row.se / 2

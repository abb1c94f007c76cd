"""Views of score tables: sums over strata, against sums by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from lightning_dna.stats.alignment import align
from lightning_dna.stats.bootstrap import bootstrap_metrics
from lightning_dna.stats.plan import ResamplingPlan
from lightning_dna.study.views import (
    chromosome_views,
    compared_metrics,
    example_views,
    mlm_views,
    only,
    planned_pairs,
    repeat_for_seeds,
)
from lightning_dna.tasks.card import TaskCard

# window, part, chrom, stratum, masked, correct, nats
ROWS = [
    ("chr3:0-64", "test", "chr3", "repeat", 4, 1, 4 * math.log(2)),
    ("chr3:0-64", "test", "chr3", "unique", 6, 5, 6 * math.log(4)),
    ("chr3:64-128", "test", "chr3", "unique", 10, 5, 10 * math.log(2)),
    ("chr4:0-64", "test", "chr4", "repeat", 5, 4, 5 * math.log(8)),
    ("chr1:0-64", "train", "chr1", "unique", 8, 8, 8 * math.log(2)),
    ("chr1:64-128", "train", "chr1", "repeat", 2, 1, 2 * math.log(16)),
]


@pytest.fixture
def scores():
    names = ["example_id", "part", "chrom", "stratum", "masked", "correct", "nats"]
    frame = pd.DataFrame(ROWS, columns=names)
    frame["cluster_id"] = frame["chrom"] + ":0"
    return frame.assign(task="bases", variant="arm", seed=3)


def value(predictions, metric):
    (one,) = predictions
    return one.numerators[metric].sum() / one.denominators[""].sum()


def test_each_view_is_its_own_sum(scores):
    views = mlm_views(scores)
    expected = {  # correct / masked, bits / masked
        "bases": (15 / 25, (4 + 12 + 10 + 15) / 25),
        "bases/repeat": (5 / 9, (4 + 15) / 9),
        "bases/unique": (10 / 16, (12 + 10) / 16),
        "bases/train": (9 / 10, (8 + 8) / 10),
    }
    assert list(views) == list(expected)
    for name, (accuracy, bits) in expected.items():
        assert value(views[name], "mlm_accuracy") == pytest.approx(accuracy)
        assert value(views[name], "bits_per_base") == pytest.approx(bits)
        assert value(views[name], "cross_entropy") == pytest.approx(bits * math.log(2))
        (one,) = views[name]
        assert (one.task, one.variant, one.seed) == (name, "arm", 3)


def test_strata_of_a_window_are_one_example(scores):
    (whole,) = mlm_views(scores)["bases"]
    assert list(whole.example_id) == ["chr3:0-64", "chr3:64-128", "chr4:0-64"]
    assert whole.denominators[""].tolist() == [10, 10, 5]


def test_the_statistics_give_the_same_numbers(scores):
    reps = bootstrap_metrics(
        align(mlm_views(scores)["bases"]),
        ["mlm_accuracy", "bits_per_base"],
        ResamplingPlan(n_resamples=99, unit="example"),
    )
    np.testing.assert_allclose(reps.observed.ravel(), [15 / 25, 41 / 25])


def test_a_view_without_rows_is_not_there(scores):
    views = mlm_views(scores[scores["stratum"] == "unique"])
    assert list(views) == ["bases", "bases/unique", "bases/train"]
    assert mlm_views(scores.iloc[:0]) == {}


def test_chromosomes_stand_apart(scores):
    views = chromosome_views(scores)
    assert list(views) == [
        ("bases", "test", "chr3"),
        ("bases", "test", "chr4"),
        ("bases", "train", "chr1"),
    ]
    assert value(views["bases", "test", "chr3"], "mlm_accuracy") == pytest.approx(11 / 20)
    assert views["bases", "train", "chr1"][0].task == "bases/train/chr1"


def test_variants_and_seeds_are_kept_apart(scores):
    both = pd.concat([scores, scores.assign(variant="other", seed=0), scores.assign(seed=4)])
    found = [(one.variant, one.seed) for one in mlm_views(both)["bases"]]
    assert sorted(found) == [("arm", 3), ("arm", 4), ("other", 0)]
    kept = only(mlm_views(both), ["other"])
    assert {one.variant for view in kept.values() for one in view} == {"other"}
    assert only(mlm_views(both), []) == {}


def test_what_has_no_seed_stands_under_every_seed(scores):
    repeated = repeat_for_seeds(scores.assign(seed=0), (5, 7))
    assert repeated.groupby("seed")["correct"].sum().to_dict() == {5: 24, 7: 24}
    assert len(repeated) == 2 * len(scores)


def test_classification_keeps_labels_and_predictions():
    frame = pd.DataFrame(
        {
            "task": "promoter/full",
            "variant": ["a", "a", "b", "b"],
            "seed": 1,
            "example_id": ["x", "y", "x", "y"],
            "cluster_id": ["x", "y", "x", "y"],
            "label": [0, 1, 0, 1],
            "prediction": [0, 0, 0, 1],
            "score": [0.1, 0.2, 0.3, 0.9],
        }
    )
    a, b = example_views(frame, "classification")["promoter/full"]
    assert (a.variant, b.variant) == ("a", "b")
    assert a.y_true.tolist() == [0, 1]
    assert a.y_pred.tolist() == [0, 0]
    assert b.y_pred.tolist() == [0, 1]


COMMON = {
    "task": "t",
    "variant": "a",
    "seed": 0,
    "example_id": ["x", "y"],
    "cluster_id": ["c", "c"],
}


def test_ranking_keeps_scores_of_any_size():
    frame = pd.DataFrame({**COMMON, "label": [0, 1], "score": [-7.5, 3.0]})
    (one,) = example_views(frame, "ranking")["t"]
    assert (one.y_true.tolist(), one.y_score.tolist()) == ([0, 1], [-7.5, 3.0])
    assert one.cluster_id.tolist() == ["c", "c"]


def test_many_labels_and_many_positions_become_arrays():
    labels, scores = [np.array([True, False]), np.array([False, False])], [np.ones(2), np.zeros(2)]
    frame = pd.DataFrame({**COMMON, "labels": labels, "scores": scores})
    (one,) = example_views(frame, "multilabel")["t"]
    np.testing.assert_array_equal(one.labels, [[True, False], [False, False]])
    np.testing.assert_array_equal(one.label_scores, [[1, 1], [0, 0]])
    counts = {"hits": [1, 2], "predicted": [3, 2], "true": [2, 3]}
    frame = pd.DataFrame({**COMMON, **{name: [np.array(row)] * 2 for name, row in counts.items()}})
    (one,) = example_views(frame, "per_position")["t"]
    np.testing.assert_array_equal(one.counts, [[[1, 2], [3, 2], [2, 3]]] * 2)


def test_planned_rows_may_stand_for_many():
    measured = {
        "heldout_mlm": ("mlm_accuracy",),
        "a/full": ("mcc", "accuracy"),
        "b/full": ("macro_f1",),
        "a/frozen": ("mcc",),
    }
    assert planned_pairs(["a/*:mcc"], measured) == [("a/full", "mcc"), ("a/frozen", "mcc")]
    assert planned_pairs(["*/full:m*"], measured) == [("a/full", "mcc"), ("b/full", "macro_f1")]
    # once each, and a row without a star as it stands, for the caller to refuse
    twice = planned_pairs(["a/full:mcc", "*/full:mcc", "c:mcc"], measured)
    assert twice == [("a/full", "mcc"), ("c", "mcc")]
    assert planned_pairs(["*/lora:mcc"], measured) == []


def test_views_that_a_card_asks_for():
    asking = {"similarity": True, "matched_gap": True, "repeat_divergence": True}
    card = TaskCard(name="bases", kind="heldout_mlm", title="x", **asking)
    found = compared_metrics([card])
    assert {"bases/matched_gap", "bases/sim_0_1", "bases/no_near_duplicate"} <= set(found)
    assert {"bases/match_128_up", "bases/div_0_5", "bases/div_30_100"} <= set(found)
    assert found["bases/matched_gap"] == ("mlm_accuracy", "bits_per_base")


def test_what_a_suite_compares():
    bases = TaskCard(name="bases", kind="heldout_mlm", title="x")
    labelled = TaskCard(
        name="p",
        kind="simulated_classification",
        title="x",
        simulated="promoter",
        metrics=("mcc",),
        ways=("full", "scratch"),
    )
    both = ("mlm_accuracy", "bits_per_base")
    assert compared_metrics([bases, labelled]) == {
        "bases": both,
        "bases/repeat": both,
        "bases/unique": both,
        "bases/train": both,
        "bases/gap": both,
        "p/full": ("mcc",),
        "p/scratch": ("mcc",),
    }

"""The policy for odd data, one test per row of the policy."""

import itertools
from typing import get_args

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import roc_auc_score

from lightning_dna.errors import StatsError
from lightning_dna.stats.alignment import align
from lightning_dna.stats.bootstrap import bootstrap_metrics
from lightning_dna.stats.comparison import compare, estimates
from lightning_dna.stats.intervals import Method
from lightning_dna.stats.plan import ResamplingPlan
from lightning_dna.stats.predictions import Predictions
from lightning_dna.stats.replicates import subtract

METHODS = get_args(Method)
KINDS = ("accuracy", "mcc", "auroc", "auprc", "spearman", "pearson", "r2", "mse", "ratio")
HALF = np.arange(60) % 2


def only_row(reps, **options):
    table = compare({reps.task: reps}, baseline="a", **{"scope": "checkpoint", **options})
    assert len(table.rows) == 1
    return table.rows[0]


def numbers(row):
    return row.low, row.high, row.p


@pytest.mark.parametrize(
    ("scope", "method"),
    [
        ("procedure", "se-t"),
        *[("checkpoint", method) for method in METHODS],
    ],
)
def test_identical_predictions(labelled, resample, scope, method):
    rng = np.random.default_rng(0)
    seeds = [rng.integers(0, 2, 60) for _ in range(3)]
    reps = resample(labelled(HALF, {"a": seeds, "b": seeds}), ["mcc"])
    row = only_row(reps, scope=scope, method=method)
    assert (row.delta, row.se, *numbers(row)) == (0, 0, 0, 0, 1)
    assert row.flags == ("identical",)
    assert row.verdict == "equivalent"
    assert row.p_adjusted == 1


def test_identical_arms_with_different_numbers_of_seeds(labelled, resample):
    reps = resample(labelled(HALF, {"a": [1 - HALF] * 3, "b": [1 - HALF]}), ["accuracy"])
    assert "identical" in only_row(reps).flags


def test_equal_metric_from_different_predictions(labelled, resample):
    first, second = HALF.copy(), HALF.copy()
    first[:4], second[4:8] = 1 - HALF[:4], 1 - HALF[4:8]  # four errors each, on other examples
    row = only_row(
        resample(labelled(HALF, {"a": [first], "b": [second]}), ["accuracy"], n_resamples=999)
    )
    assert row.delta == 0
    assert row.low < 0 < row.high
    assert row.p == 1
    assert row.flags == ()
    assert row.verdict == "inconclusive"


def test_undefined_metric_stays_in_the_table(summed, resample):
    reps = resample(summed({"a": [np.zeros(9)], "b": [np.zeros(9)]}, np.zeros(9)), ["ratio"])
    row = only_row(reps)
    assert np.isnan([row.delta, row.low, row.high, row.p]).all()
    assert row.flags == ("undefined_replicates", "undefined")
    assert row.verdict == "inconclusive"
    assert "undefined" in estimates({"task": reps}, scope="checkpoint").rows[0].flags


@pytest.mark.parametrize(
    ("n_defined", "flag", "has_interval"),
    [(10, None, True), (3, "undefined_replicates", True), (2, "too_many_undefined", False)],
)
def test_undefined_replicates(summed, resample, n_defined, flag, has_interval):
    # All replicates that miss the defined units are undefined: (1 - k/30)^30 = 5e-6, .042, .126
    denominator = np.zeros(30)
    denominator[:n_defined] = 1
    rng = np.random.default_rng(1)
    arms = {name: [rng.random(30) * denominator] for name in ("a", "b")}
    row = only_row(resample(summed(arms, denominator), ["ratio"], n_resamples=4000))
    assert row.n_undefined / 4000 == pytest.approx((1 - n_defined / 30) ** 30, abs=0.02)
    assert np.isfinite(numbers(row)).all() == has_interval
    assert flag is None or flag in row.flags


def test_constant_predictions_score_zero_by_convention(labelled, resample):
    zeros = np.zeros(60, dtype=int)
    reps = resample(labelled(HALF, {"a": [zeros], "b": [HALF]}), ["mcc", "f1", "macro_f1"])
    assert reps.observed[0, 0].tolist() == [0, 0, pytest.approx(1 / 3)]
    assert (reps.values[:, 0, 0, :2] == 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_errors(bad):
    with pytest.raises(StatsError, match="NaN or infinite for example 1"):
        Predictions(task="t", variant="a", seed=0, example_id=[0, 1], numerator=[0.0, bad])


@pytest.mark.parametrize("unit", ["example", "cluster"])
def test_one_unit_has_a_point_and_no_interval(summed, resample, unit):
    size = 1 if unit == "example" else 5
    arms = {"a": [np.arange(size) + 1.0], "b": [np.arange(size) + 2.0]}
    row = only_row(resample(summed(arms, cluster=np.zeros(size, dtype=int)), ["mean"], unit=unit))
    assert row.delta == pytest.approx(1)
    assert np.isnan(numbers(row)).all()
    assert "too_few_units" in row.flags


@pytest.mark.parametrize(("minority", "flags"), [(9, ("few_minority",)), (10, ())])
def test_few_examples_of_the_rarest_class(labelled, resample, minority, flags):
    rng = np.random.default_rng(2)
    y_true = (np.arange(200) < minority).astype(int)
    arms = {n: [np.where(rng.random(200) < 0.8, y_true, 1 - y_true)] for n in ("a", "b")}
    reps = resample(labelled(y_true, arms), ["mcc"], n_resamples=999)
    row = only_row(reps)
    assert row.flags == flags
    assert np.isfinite(numbers(row)).all()
    plain = resample(labelled(y_true, arms), ["accuracy"])
    assert only_row(plain).flags == ()


def test_one_class_only(labelled, resample):
    ones, rng = np.ones(40, dtype=int), np.random.default_rng(3)
    arms = {n: [rng.integers(0, 2, 40)] for n in ("a", "b")}
    row = only_row(resample(labelled(ones, arms), ["mcc"]))
    assert "single_class" in row.flags
    assert (row.delta, row.p) == (0, 1)


@pytest.mark.parametrize(
    ("n_clusters", "flag", "has_interval"),
    [(3, "too_few_clusters", False), (6, "few_clusters", True), (10, None, True)],
)
def test_few_clusters(summed, resample, n_clusters, flag, has_interval):
    rng = np.random.default_rng(4)
    cluster = np.repeat(np.arange(n_clusters), 20)
    arms = {n: [rng.random(len(cluster))] for n in ("a", "b")}
    row = only_row(
        resample(summed(arms, cluster=cluster), ["mean"], unit="cluster", n_resamples=999)
    )
    assert np.isfinite(numbers(row)).all() == has_interval
    assert np.isfinite(row.delta)
    assert (flag is None and not row.flags) or flag in row.flags
    assert has_interval or row.verdict == "inconclusive"


def test_unequal_clusters_count_by_their_effective_number(summed, resample):
    rng = np.random.default_rng(5)
    cluster = np.concatenate([np.zeros(500, dtype=int), np.arange(1, 12)])  # G = 12, effective 1.05
    arms = {n: [rng.random(511)] for n in ("a", "b")}
    row = only_row(resample(summed(arms, cluster=cluster), ["mean"], unit="cluster"))
    assert "too_few_clusters" in row.flags


@pytest.mark.parametrize(("n_seeds", "flags"), [(2, ("few_seeds",)), (3, ())])
def test_few_seeds(summed, resample, n_seeds, flags):
    rng = np.random.default_rng(6)
    arms = {n: [rng.random(80) for _ in range(n_seeds)] for n in ("a", "b")}
    row = only_row(resample(summed(arms), ["mean"], n_resamples=999), scope="procedure")
    assert row.flags == flags
    assert np.isfinite(numbers(row)).all()


@pytest.mark.parametrize(("n_units", "p"), [(3, 2 / 2**3), (10, 2 / 2**10)])
def test_difference_without_variance_gets_an_exact_p(labelled, resample, n_units, p):
    y_true = np.arange(n_units) % 2
    row = only_row(resample(labelled(y_true, {"a": [1 - y_true], "b": [y_true]}), ["accuracy"]))
    assert (row.delta, row.low, row.high) == (1, 1, 1)
    assert row.p == pytest.approx(p)
    assert row.flags == ("zero_variance",)
    assert np.isnan(row.mde80)
    assert row.verdict == ("better" if p < 0.05 else "inconclusive")


@pytest.mark.parametrize("method", ["se-t", "analytic", "bca"])
def test_constant_shift_without_variance_is_not_called_equivalent(summed, resample, method):
    numerator = np.random.default_rng(7).random(8)
    arms = {"a": [numerator], "b": [numerator + 0.001]}
    reps = resample(summed(arms), ["mean"])
    row = only_row(reps, equivalence_margin=0.01, method=method)
    assert row.delta == pytest.approx(0.001)
    assert "zero_variance" in row.flags
    assert row.p == pytest.approx(2 / 2**8)
    assert row.verdict == "better"


def test_perfect_scores_are_a_point(labelled, resample):
    reps = resample(labelled(HALF, {"a": [HALF]}), ["accuracy"])
    row = estimates({"task": reps}, scope="checkpoint").rows[0]
    assert (row.estimate, row.low, row.high) == (1, 1, 1)
    assert row.flags == ("zero_variance",)


def test_p_is_never_zero(summed, resample):
    rng = np.random.default_rng(8)
    arms = {"a": [rng.random(500)], "b": [rng.random(500) + 1e6]}
    for method in METHODS:
        assert only_row(resample(summed(arms), ["mean"]), method=method).p > 0


@pytest.fixture(scope="module")
def build(labelled, scored, summed):
    """Return a builder of a task for any kind of metric from labels and scores by variant."""

    def task(metric, y_true, arms, **options):
        if metric in ("accuracy", "mcc"):
            labels = {name: [(s > 0.5).astype(int) for s in seeds] for name, seeds in arms.items()}
            return labelled(y_true, labels, **options)
        if metric == "ratio":
            losses = {name: [np.abs(s) for s in seeds] for name, seeds in arms.items()}
            return summed(losses, np.full(len(y_true), 2.0), **options)
        return scored(y_true, arms, **options)

    return task


def scores_for(y_true, seed=0, n_seeds=1):
    rng = np.random.default_rng(seed)
    return [y_true + rng.standard_normal(len(y_true)) for _ in range(n_seeds)]


@pytest.mark.parametrize("scope", ["checkpoint", "procedure"])
@pytest.mark.parametrize("metric", KINDS)
def test_identical_arms_of_every_kind(build, resample, metric, scope):
    seeds = scores_for(HALF, n_seeds=2)
    row = only_row(resample(build(metric, HALF, {"a": seeds, "b": seeds}), [metric]), scope=scope)
    assert (row.delta, row.se, *numbers(row)) == (0, 0, 0, 0, 1)
    assert "identical" in row.flags


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("metric", KINDS)
def test_every_method_gives_a_finite_row_for_every_kind(build, resample, metric, method):
    arms = {name: scores_for(HALF, seed) for seed, name in enumerate("ab")}
    row = only_row(resample(build(metric, HALF, arms), [metric]), method=method)
    assert np.isfinite([*numbers(row), row.se, row.df, row.se_analytic, row.mc_error]).all()
    assert row.low <= row.high
    assert row.flags == ()


@pytest.mark.parametrize(("metric", "label"), [("auroc", 0), ("auroc", 1), ("auprc", 0)])
def test_one_class_leaves_ranking_undefined(scored, resample, metric, label):
    y_true = np.full(40, label)
    arms = {name: scores_for(y_true, seed) for seed, name in enumerate("ab")}
    reps = resample(scored(y_true, arms), [metric])
    row, alone = only_row(reps), estimates({"task": reps}, scope="checkpoint").rows[0]
    assert np.isnan([row.estimate, row.delta, *numbers(row), alone.estimate, alone.low]).all()
    assert row.flags == alone.flags == ("single_class", "undefined_replicates", "undefined")
    assert row.verdict == "inconclusive"


@pytest.mark.parametrize("metric", ["pearson", "spearman", "r2"])
def test_a_constant_truth_leaves_regression_undefined(scored, resample, metric):
    truth = np.full(40, 2.5)
    arms = {name: scores_for(truth, seed) for seed, name in enumerate("ab")}
    row = only_row(resample(scored(truth, arms), [metric]))
    assert np.isnan([row.estimate, row.delta, *numbers(row)]).all()
    assert {"constant_target", "undefined"} <= {*row.flags}


def test_constant_scores(scored, resample):
    arms = {"a": [np.full(60, 0.3)], "b": scores_for(HALF)}
    reps = resample(scored(HALF, arms), ["auroc"])
    ranked = estimates({"task": reps}, scope="checkpoint").rows[0]
    assert (ranked.estimate, ranked.low, ranked.high) == (0.5, 0.5, 0.5)
    assert ranked.tie_fraction == 1
    assert np.isfinite(numbers(only_row(reps))).all()
    for metric in ("pearson", "spearman"):
        row = only_row(resample(scored(HALF + 0.0, arms), [metric]))
        assert np.isnan([row.delta, *numbers(row)]).all()
        assert {"constant_scores", "undefined"} <= {*row.flags}
        assert np.isfinite(row.estimate)  # of the other arm


@pytest.mark.parametrize("metric", KINDS)
def test_one_example_is_a_point_at_most(build, resample, metric):
    one = np.ones(1, dtype=int)
    arms = {"a": [np.array([0.2])], "b": [np.array([0.9])]}
    row = only_row(resample(build(metric, one, arms), [metric]))
    assert np.isnan(numbers(row)).all()
    assert {"too_few_units", "undefined"} & {*row.flags}
    if metric in ("auroc", "spearman", "pearson", "r2"):
        assert np.isnan(row.delta)
    if metric in ("accuracy", "mse", "ratio"):
        assert np.isfinite(row.delta)


@pytest.mark.parametrize("metric", KINDS)
def test_one_cluster_is_a_point_at_most(build, resample, metric):
    arms = {name: scores_for(HALF, seed) for seed, name in enumerate("ab")}
    task = build(metric, HALF, arms, cluster=np.zeros(60, dtype=int))
    row = only_row(resample(task, [metric], unit="cluster"))
    assert np.isnan(numbers(row)).all()
    assert "too_few_units" in row.flags


@pytest.mark.parametrize("metric", KINDS)
def test_one_seed_is_no_procedure(build, resample, metric):
    arms = {name: scores_for(HALF, seed) for seed, name in enumerate("ab")}
    reps = resample(build(metric, HALF, arms), [metric])
    with pytest.raises(StatsError, match="has 1 seed; scope='procedure' needs 2 or more"):
        only_row(reps, scope="procedure")


@pytest.mark.parametrize(
    ("metric", "value", "truth", "delta"),
    [
        ("auroc", roc_auc_score, np.repeat([0, 1], 4), 1),
        ("spearman", lambda y, s: spearmanr(y, s).statistic, np.arange(8.0), 2),
    ],
)
def test_perfect_against_reversed_ranking_has_an_exact_p(
    scored, resample, metric, value, truth, delta
):
    scores = np.arange(8.0)
    row = only_row(resample(scored(truth, {"a": [-scores], "b": [scores]}), [metric]))
    assert (row.delta, row.low, row.high) == (delta, delta, delta)
    assert "zero_variance" in row.flags
    # Ranks are swapped: the scores of two models need not be on one scale.
    up, down = rankdata(scores), rankdata(-scores)
    swapped = []
    for stay in itertools.product([True, False], repeat=8):
        swapped.append(
            value(truth, np.where(stay, up, down)) - value(truth, np.where(stay, down, up))
        )
    assert row.p == pytest.approx((np.abs(swapped) >= delta - 1e-9).mean())


def test_ties_are_counted(scored, resample):
    y_true = np.arange(10) % 2
    tied = np.array([0.1, 0.1, 0.2, 0.3, 0.3, 0.3, 0.4, 0.5, 0.6, 0.7])
    reps = resample(scored(y_true, {"a": [np.arange(10.0)], "b": [tied]}), ["auroc"])
    assert only_row(reps).tie_fraction == 0.5  # the larger of the two arms
    assert [r.tie_fraction for r in estimates({"task": reps}, scope="checkpoint").rows] == [0, 0.5]


def test_examples_that_alignment_dropped_are_counted():
    preds = [
        Predictions(
            task="t",
            variant=name,
            seed=0,
            example_id=np.arange(start, 50),
            numerator=np.ones(50 - start),
        )
        for name, start in (("a", 0), ("b", 4))
    ]
    reps = bootstrap_metrics(align(preds, how="inner"), ["mean"], ResamplingPlan(n_resamples=99))
    assert only_row(reps).n_dropped == 4
    assert only_row(reps).n_examples == 46


def test_a_contrast_without_variance_gets_an_exact_p(summed, resample):
    rng = np.random.default_rng(9)
    shifts = {"s": np.full(4, 0.5), "t": np.full(3, 0.25)}
    parts = []
    for name, shift in shifts.items():
        base = rng.integers(0, 8, len(shift)) / 8.0  # sums without rounding
        parts.append(resample(summed({"a": [base], "b": [base + shift]}, task=name), ["mean"]))
    row = only_row(subtract(*parts, task="gap"))
    assert (row.delta, row.low, row.high) == (0.25, 0.25, 0.25)
    assert row.flags == ("zero_variance",)
    deltas = [
        np.mean(np.array(signs[:4]) * shifts["s"]) - np.mean(np.array(signs[4:]) * shifts["t"])
        for signs in itertools.product([1, -1], repeat=7)
    ]
    assert row.p == pytest.approx((np.abs(deltas) >= 0.25 - 1e-9).mean())

"""The policy for odd data, one test per row of the policy."""

import numpy as np
import pytest

from lightning_dna.errors import StatsError
from lightning_dna.stats.compare import compare, estimates
from lightning_dna.stats.predictions import Predictions

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
        *[("checkpoint", method) for method in ("se-t", "percentile", "basic", "symmetric")],
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


def test_constant_shift_without_variance_is_not_called_equivalent(summed, resample):
    numerator = np.random.default_rng(7).random(8)
    arms = {"a": [numerator], "b": [numerator + 0.001]}
    row = only_row(resample(summed(arms), ["mean"]), equivalence_margin=0.01)
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
    for method in ("se-t", "percentile", "basic", "symmetric"):
        assert only_row(resample(summed(arms), ["mean"]), method=method).p > 0

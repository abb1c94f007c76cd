"""Standard errors against brute force: DeLong's placements, leave-one-out loops, repeated data."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import matthews_corrcoef, roc_auc_score

from lightning_dna.errors import StatsError
from lightning_dna.stats.comparison import compare, estimates
from lightning_dna.stats.replicates import subtract
from lightning_dna.stats.standard_errors import (
    analytic_variance,
    estimate_influence,
    jackknife_deviations,
    jackknife_variance,
    replicate_errors,
)

N = 48


def pearson(truth, predicted):
    return stats.pearsonr(truth, predicted).statistic


def mean_squared(truth, predicted):
    return ((truth - predicted) ** 2).mean()


@pytest.fixture(scope="module")
def cases(labelled, scored, summed, resample):
    """Return replicates of one metric of each kind, and the same metric on rows of the data."""
    rng = np.random.default_rng(0)
    y = (np.arange(N) % 3 == 0).astype(int)
    base = y + rng.standard_normal(N)
    scores = {name: np.round(base + 0.7 * rng.standard_normal(N), 1) for name in "ab"}  # ties
    labels = {name: (score > 0.4).astype(int) for name, score in scores.items()}
    real = {name: base + 0.5 * rng.standard_normal(N) for name in "ab"}
    sizes = rng.integers(20, 90, N).astype(float)
    losses = {name: sizes * rng.gamma(4.0, 0.3, N) for name in "ab"}

    def wrap(arms):
        return {name: [values] for name, values in arms.items()}

    def on_rows(metric, truth, arms):
        return lambda rows: (
            metric(truth[rows], arms["b"][rows]) - metric(truth[rows], arms["a"][rows])
        )

    def ratio(size, loss):
        return loss.sum() / size.sum()

    tasks = {
        "mcc": (labelled(y, wrap(labels)), on_rows(matthews_corrcoef, y, labels)),
        "auroc": (scored(y, wrap(scores)), on_rows(roc_auc_score, y, scores)),
        "pearson": (scored(base, wrap(real)), on_rows(pearson, base, real)),
        "mse": (scored(base, wrap(real)), on_rows(mean_squared, base, real)),
        "ratio": (summed(wrap(losses), sizes), on_rows(ratio, sizes, losses)),
    }
    return {
        name: (resample(task, [name], n_resamples=999), statistic)
        for name, (task, statistic) in tasks.items()
    }


METRICS = ("mcc", "auroc", "pearson", "mse", "ratio")


def only_row(reps, **options):
    (row,) = compare({reps.task: reps}, baseline="a", scope="checkpoint", **options).rows
    return row


def draws_of(reps):
    return reps.values[:, 1, 0, 0] - reps.values[:, 0, 0, 0]


@pytest.mark.parametrize("method", ["percentile", "basic", "bca"])
@pytest.mark.parametrize("metric", METRICS)
def test_limits_of_compare_equal_scipy_on_our_replicates(cases, metric, method):
    reps, statistic = cases[metric]
    expected = stats.bootstrap(
        (np.arange(N),),
        statistic,
        vectorized=False,
        n_resamples=0,
        bootstrap_result=SimpleNamespace(bootstrap_distribution=draws_of(reps)),
        method=method,
    ).confidence_interval
    row = only_row(reps, method=method)
    np.testing.assert_allclose([row.low, row.high], expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("metric", METRICS)
def test_jackknife_deviations_equal_leaving_out_by_hand(cases, metric):
    reps, statistic = cases[metric]
    rows = np.arange(N)
    left_out = np.array([statistic(np.delete(rows, i)) for i in rows])
    deviations = jackknife_deviations(reps, 0, (1, 0))
    np.testing.assert_allclose(deviations, (N - 1) / N * (left_out.mean() - left_out), atol=1e-12)
    variance = (N - 1) / N * ((left_out - left_out.mean()) ** 2).sum()
    assert jackknife_variance(deviations, reps.parts) == pytest.approx(variance)


def delong_variance(y, one, two):
    """Variance of AUROC(two) - AUROC(one) from placements, pair by pair."""
    placements = []
    for score in (one, two):
        above = score[y == 1][:, None] - score[y == 0][None, :]
        placements.append((above > 0) + 0.5 * (above == 0))
    gap = placements[1] - placements[0]
    by_positive, by_negative = gap.mean(axis=1), gap.mean(axis=0)
    return by_positive.var(ddof=1) / len(by_positive) + by_negative.var(ddof=1) / len(by_negative)


def test_analytic_error_of_auroc_is_delongs(cases):
    reps, _ = cases["auroc"]
    (task,) = reps.tasks
    scores = np.asarray(task.y_score)[:, :, 0]
    expected = delong_variance(np.asarray(task.y_true), scores[:, 0], scores[:, 1]) ** 0.5
    row = only_row(reps, method="analytic")
    assert row.se_analytic == pytest.approx(expected, rel=1e-12)
    assert row.se == row.se_analytic
    assert row.high - row.delta == pytest.approx(stats.t.ppf(0.975, row.df) * expected)
    assert row.p == pytest.approx(2 * stats.t.sf(abs(row.delta) / expected, row.df))


def test_analytic_error_of_a_mean_is_the_paired_t_test(summed, resample):
    rng = np.random.default_rng(1)
    one, two = rng.random(30), rng.random(30)
    reps = resample(summed({"a": [one], "b": [two]}), ["mean"])
    row = only_row(reps, method="analytic")
    expected = stats.ttest_rel(two, one)
    assert row.delta / row.se == pytest.approx(expected.statistic)
    assert row.se_analytic == only_row(reps).se_analytic
    assert row.mc_error == 0


def test_errors_of_replicates_of_a_mean_are_those_of_the_repeated_data(summed, resample):
    rng = np.random.default_rng(2)
    one, two = rng.random(25), rng.random(25)
    reps = resample(summed({"a": [one], "b": [two]}), ["mean"], n_resamples=70)
    counts = reps.resample(np.eye(25)).astype(int)
    se, errors = replicate_errors(reps, estimate_influence(reps, 0, (1, 0)))
    gap = two - one
    assert se == pytest.approx(stats.sem(gap))
    expected = [stats.sem(np.repeat(gap, count)) for count in counts]
    np.testing.assert_allclose(errors, expected, rtol=1e-10)
    row = only_row(reps, method="studentized")
    pivots = [
        (np.repeat(gap, c).mean() - gap.mean()) / e for c, e in zip(counts, expected, strict=True)
    ]
    upper, lower = np.quantile(pivots, [0.975, 0.025])
    assert (row.low, row.high) == pytest.approx((gap.mean() - upper * se, gap.mean() - lower * se))


def test_resamples_without_an_error_are_flagged(labelled, resample):
    y = np.arange(60) % 2
    better = y.copy()
    worse = np.where(np.arange(60) < 3, 1 - y, y)  # 5% of the resamples hold none of the three
    reps = resample(labelled(y, {"a": [worse], "b": [better]}), ["accuracy"], n_resamples=999)
    row = only_row(reps, method="studentized")
    assert "studentized_undefined" in row.flags
    assert np.isfinite([row.low, row.high, row.p]).all()


def test_groups_have_their_own_correction():
    values = np.array([-1.0, 1.0, -2.0, 0.0, 2.0])
    found = analytic_variance(values, [np.arange(2), np.arange(2, 5)])
    assert found == pytest.approx(2 * values[:2].var(ddof=1) + 3 * values[2:].var(ddof=1))


@pytest.mark.parametrize("method", ["bca", "studentized", "analytic"])
def test_contrasts_of_two_example_sets(summed, resample, method):
    rng = np.random.default_rng(3)
    data = {
        name: {arm: rng.gamma(2.0, size=n) for arm in "ab"} for name, n in (("s", 40), ("t", 25))
    }
    parts = [
        resample(
            summed({arm: [values] for arm, values in arms.items()}, task=name),
            ["mean"],
            n_resamples=999,
        )
        for name, arms in data.items()
    ]
    row = only_row(subtract(*parts, task="gap"), method=method)
    gaps = [arms["b"] - arms["a"] for arms in data.values()]
    assert row.delta == pytest.approx(gaps[0].mean() - gaps[1].mean())
    welch = stats.ttest_ind(*gaps, equal_var=False).confidence_interval()
    assert row.se_analytic == pytest.approx(sum(stats.sem(gap) ** 2 for gap in gaps) ** 0.5)
    tolerance = 0.25 * row.se if method != "analytic" else 0.05 * row.se
    assert (row.low, row.high) == pytest.approx((welch.low, welch.high), abs=tolerance)


def test_bca_of_a_contrast_equals_scipy_with_two_samples(summed, resample):
    rng = np.random.default_rng(4)
    data = {name: rng.gamma(1.0, size=n) for name, n in (("s", 30), ("t", 20))}
    parts = [
        resample(summed({"b": [values]}, task=name), ["mean"], n_resamples=499)
        for name, values in data.items()
    ]
    reps = subtract(*parts, task="gap")
    expected = stats.bootstrap(
        tuple(data.values()),
        lambda one, two, axis: one.mean(axis=axis) - two.mean(axis=axis),
        n_resamples=0,
        bootstrap_result=SimpleNamespace(bootstrap_distribution=reps.values[:, 0, 0, 0]),
        method="bca",
    ).confidence_interval
    (row,) = estimates({"gap": reps}, scope="checkpoint", method="bca").rows
    np.testing.assert_allclose([row.low, row.high], expected, rtol=1e-12)


def test_strata_have_errors_of_their_own(labelled, resample):
    rng = np.random.default_rng(5)
    y = (np.arange(90) < 30).astype(int)
    arms = {name: [np.where(rng.random(90) < 0.5 + 0.3 * y, y, 1 - y)] for name in "ab"}
    row = only_row(resample(labelled(y, arms), ["accuracy"], n_resamples=999, strata="class"))
    gap = (arms["b"][0] == y) * 1.0 - (arms["a"][0] == y)
    expected = sum(len(g) * g.var(ddof=1) for g in (gap[y == 0], gap[y == 1])) ** 0.5 / 90
    assert row.se_analytic == pytest.approx(expected)
    assert row.se == pytest.approx(expected, rel=0.1)


def test_unequal_clusters_take_the_larger_error_and_fewer_degrees_of_freedom(summed, resample):
    sizes = np.array([200, 30, 30, 20, 20, 20, 20, 10, 10, 10, 10, 10])
    cluster = np.repeat(np.arange(12), sizes)
    larger = set()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        arms = {name: [rng.random(390) + rng.standard_normal(12)[cluster]] for name in "ab"}
        reps = resample(summed(arms, cluster=cluster), ["mean"], unit="cluster", n_resamples=999)
        row = only_row(reps)
        gap = arms["b"][0] - arms["a"][0]
        left_out = np.array([gap[cluster != g].mean() for g in range(12)])
        jackknife = (11 / 12 * ((left_out - left_out.mean()) ** 2).sum()) ** 0.5
        bootstrap = draws_of(reps).std(ddof=1) * (12 / 11) ** 0.5
        assert row.se == pytest.approx(max(jackknife, bootstrap))
        assert row.df <= 390**2 / (sizes**2).sum() - 1
        larger.add(jackknife > bootstrap)
    assert larger == {True, False}


def test_clusters_of_equal_size_behave_like_examples(summed, resample):
    rng = np.random.default_rng(6)
    arms = {name: [rng.random(390)] for name in "ab"}
    reps = resample(
        summed(arms, cluster=np.arange(390) // 30), ["mean"], unit="cluster", n_resamples=999
    )
    row = only_row(reps)
    assert row.se == pytest.approx(draws_of(reps).std(ddof=1) * (13 / 12) ** 0.5)
    assert row.df <= 12


def test_draws_by_cell_have_no_errors_by_unit(labelled, resample):
    y = np.arange(40) % 2
    reps = resample(
        labelled(y, {"a": [y], "b": [(y + (np.arange(40) < 9)) % 2]}), ["mcc"], draws="cell"
    )
    assert np.isfinite(only_row(reps, method="bca").low)
    with pytest.raises(StatsError, match="draws='cell' has no weights by unit"):
        only_row(reps, method="studentized")


def test_influence_values_stand_in_for_a_jackknife_that_is_too_long(cases, monkeypatch):
    reps, _ = cases["auroc"]
    exact = only_row(reps, method="bca")
    monkeypatch.setattr("lightning_dna.stats.standard_errors.MOST_RANKED_STEPS", N * N - 1)
    assert jackknife_deviations(reps, 0, (1, 0)) is None
    close = only_row(reps, method="bca")
    assert (close.low, close.high) == pytest.approx((exact.low, exact.high), abs=0.05 * exact.se)


def test_a_unit_without_which_there_is_no_estimate(scored, resample):
    y_true = (np.arange(30) == 7).astype(int)  # one positive
    rng = np.random.default_rng(8)
    task = scored(y_true, {name: [y_true + rng.standard_normal(30)] for name in "ab"})
    reps = resample(task, ["auroc"], n_resamples=499)
    assert jackknife_deviations(reps, 0, (1, 0)) is None
    row = only_row(reps, method="bca")
    assert "too_many_undefined" in row.flags
    assert np.isfinite(row.se_analytic)


def test_jackknife_of_clusters_leaves_whole_clusters_out(scored, resample):
    rng = np.random.default_rng(9)
    y_true, cluster = np.arange(60) % 2, np.sort(rng.integers(0, 8, 60))
    scores = {name: y_true + rng.standard_normal(60) for name in "ab"}
    task = scored(y_true, {name: [score] for name, score in scores.items()}, cluster=cluster)
    reps = resample(task, ["auroc"], unit="cluster")
    left_out = np.array(
        [
            roc_auc_score(y_true[kept], scores["b"][kept])
            - roc_auc_score(y_true[kept], scores["a"][kept])
            for kept in (cluster != g for g in range(8))
        ]
    )
    expected = 7 / 8 * (left_out.mean() - left_out)
    np.testing.assert_allclose(jackknife_deviations(reps, 0, (1, 0)), expected, atol=1e-12)


def test_what_hangs_on_a_quantile_is_not_left_to_the_jackknife(scored, resample):
    """With 1000 negatives ten may be called positive, and with any one of them less only nine."""
    rng = np.random.default_rng(3)
    cluster = rng.integers(0, 300, 2000)
    y_true = (np.arange(2000) < 1000).astype(int)
    scores = {"a": [rng.standard_normal(2000) + y_true]}
    task = scored(y_true, scores, cluster=cluster)
    reps = resample(task, ["tpr_at_fpr01"], n_resamples=500, unit="cluster")
    row = estimates({reps.task: reps}, scope="checkpoint").to_frame().iloc[0]
    assert row["se"] == pytest.approx(np.std(reps.values, ddof=1), rel=0.01)
    assert row["high"] - row["low"] < 6 * row["se"]

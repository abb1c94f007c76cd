"""Random swaps against listing them in plain Python, scipy, scikit-learn and the binomial law."""

import itertools

import numpy as np
import pytest
import sklearn.metrics as sk
from scipy import stats

from lightning_dna.errors import ConfigError, StatsError
from lightning_dna.stats.hypothesis_tests.permutation import (
    contrast_permutation_test,
    permutation_test,
)
from lightning_dna.stats.metrics import METRICS


def tpr_at_one_percent(y_true, score):
    false, true, _ = sk.roc_curve(y_true, score, drop_intermediate=False)
    return true[false <= 0.01].max()


LABELS = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "f1": lambda y, p: sk.f1_score(y, p, zero_division=0),
    "macro_f1": lambda y, p: sk.f1_score(y, p, average="macro", zero_division=0),
    "mcc": sk.matthews_corrcoef,
}
SCORES = {
    "auroc": sk.roc_auc_score,
    "auprc": sk.average_precision_score,
    "tpr_at_fpr01": tpr_at_one_percent,
    "spearman": lambda y, s: stats.spearmanr(y, s).statistic,
    "pearson": lambda y, s: stats.pearsonr(y, s).statistic,
    "r2": sk.r2_score,
    "mse": sk.mean_squared_error,
    "mae": sk.mean_absolute_error,
}
RATIOS = ("mlm_accuracy", "cross_entropy", "bits_per_base", "ratio", "mean", "exposure")
REACHES = {
    "two-sided": lambda values, observed: np.abs(values) >= abs(observed) - 1e-12,
    "greater": lambda values, observed: values >= observed - 1e-12,
    "less": lambda values, observed: values <= observed + 1e-12,
}
CLUSTER = np.array([0, 0, 1, 1, 1, 2, 3])


def all_swaps(score, y_true, first, second, unit):
    """Differences of seed means for every way to swap units; arms are lists of one array a seed."""
    first, second = np.array(first), np.array(second)
    swaps = np.array(list(itertools.product([False, True], repeat=unit.max() + 1)))[:, unit]
    arms = [np.where(swap, second, first) for swap in swaps]
    values = np.array([np.mean([score(y_true, seed) for seed in arm]) for arm in arms])
    return values - values[::-1]  # the first entry swaps nothing; its mirror image everything


def agrees(result, values, alternative="two-sided"):
    assert result.exact
    assert result.n_resamples == 0
    assert result.statistic == pytest.approx(values[0], abs=1e-13)
    assert result.p == pytest.approx(REACHES[alternative](values, values[0]).mean(), rel=1e-12)
    assert result.null_sd == pytest.approx(values.std(), rel=1e-9)


def test_every_metric_is_listed_here():
    assert {*LABELS, *SCORES, *RATIOS} == set(METRICS)


@pytest.mark.parametrize("metric", LABELS)
@pytest.mark.parametrize("unit", ["example", "cluster"])
def test_all_swaps_of_labels(labelled, metric, unit):
    rng = np.random.default_rng(0)
    y_true = np.array([0, 1, 1, 0, 1, 0, 1])
    arms = {name: [rng.integers(0, 2, 7) for _ in range(2)] for name in ("a", "b")}
    task = labelled(y_true, {**arms, "other": [1 - y_true] * 2}, cluster=CLUSTER)
    units = CLUSTER if unit == "cluster" else np.arange(7)
    values = all_swaps(LABELS[metric], y_true, arms["a"], arms["b"], units)
    for alternative in REACHES:
        result = permutation_test(task, metric, "a", "b", unit=unit, alternative=alternative)
        agrees(result, values, alternative)
    assert result.n_units == units.max() + 1
    assert result.n_seeds == 2


@pytest.mark.parametrize("metric", ["macro_f1", "mcc", "balanced_accuracy"])
def test_all_swaps_of_several_classes(labelled, metric):
    rng = np.random.default_rng(1)
    y_true = np.array([0, 1, 2, 3, 0, 1, 2])
    arms = {name: [rng.integers(0, 4, 7)] for name in ("a", "b")}
    values = all_swaps(LABELS[metric], y_true, arms["a"], arms["b"], np.arange(7))
    agrees(permutation_test(labelled(y_true, arms), metric, "a", "b"), values)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("metric", SCORES)
@pytest.mark.parametrize("unit", ["example", "cluster"])
def test_all_swaps_of_scores(scored, metric, ties, unit):
    rng = np.random.default_rng(3)
    target = np.arange(7) % 3 == 0 if METRICS[metric].binary else rng.integers(0, 5, 7)
    # The means of the arms differ: a swap must not mix predictions with two centres.
    offsets = np.array([0, 3])[:, None, None]
    draws = rng.integers(0, 4, (2, 2, 7)) * 1.0 if ties else rng.normal(size=(2, 2, 7))
    first, second = draws + offsets
    second[:, 4] = first[:, 4]
    units = CLUSTER if unit == "cluster" else np.arange(7)
    values = all_swaps(SCORES[metric], target, first, second, units)
    task = scored(target, {"b": [*second], "c": [*first + 1], "a": [*first]}, cluster=CLUSTER)
    result = permutation_test(task, metric, "a", "b", unit=unit)
    agrees(result, values)
    assert result.n_differing == len(set(units[(first != second).any(axis=0)]))


@pytest.mark.parametrize("metric", ["auroc", "auprc", "tpr_at_fpr01", "spearman"])
def test_all_swaps_of_ranks(scored, metric):
    rng = np.random.default_rng(12)
    target = np.arange(7) % 3 == 0 if metric != "spearman" else rng.normal(size=7)
    first, second = np.round(rng.normal(size=(2, 2, 7)), 1)
    ranks = stats.rankdata(first, axis=1), stats.rankdata(second, axis=1)
    values = all_swaps(SCORES[metric], target, *ranks, np.arange(7))
    task = scored(target, {"a": [*first], "b": [*second], "c": [*np.exp(second) + 9]})
    for other in ("b", "c"):
        agrees(permutation_test(task, metric, "a", other, swap="ranks"), values)


@pytest.mark.parametrize("metric", RATIOS)
def test_all_swaps_of_ratios(summed, metric):
    rng = np.random.default_rng(2)
    size = np.ones(8) if metric in ("mean", "exposure") else rng.integers(1, 9, 8) * 1.0
    arms = {name: [rng.random(8) * size for _ in range(3)] for name in ("a", "b")}

    def score(y_true, numerator):
        return numerator.sum() / size.sum()

    values = all_swaps(score, None, arms["a"], arms["b"], np.arange(8))
    agrees(permutation_test(summed(arms, size), metric, "a", "b"), values)


def test_swaps_carry_weights(labelled):
    rng = np.random.default_rng(4)
    y_true, weight = np.arange(8) % 2, rng.random(8)
    arms = {name: [rng.integers(0, 2, 8)] for name in ("a", "b")}

    def score(y_true, predicted):
        return sk.balanced_accuracy_score(y_true, predicted, sample_weight=weight)

    values = all_swaps(score, y_true, arms["a"], arms["b"], np.arange(8))
    task = labelled(y_true, arms, weight=weight)
    agrees(permutation_test(task, "balanced_accuracy", "a", "b"), values)


def test_all_swaps_of_a_contrast(labelled):
    rng = np.random.default_rng(5)
    train, held_out = np.arange(5) % 2, np.arange(4) % 2
    arms = [{name: [rng.integers(0, 2, n)] for name in ("a", "b")} for n in (5, 4)]
    tasks = [
        labelled(y_true, arm, task=name)
        for y_true, arm, name in zip((train, held_out), arms, ("train", "test"), strict=True)
    ]
    one, two = (
        all_swaps(LABELS["mcc"], y_true, arm["a"], arm["b"], np.arange(len(y_true)))
        for y_true, arm in zip((train, held_out), arms, strict=True)
    )
    values = (one[:, None] - two).ravel()
    result = contrast_permutation_test([(1, tasks[0]), (-1, tasks[1])], "mcc", "a", "b")
    agrees(result, values)
    assert result.n_units == 9


@pytest.mark.parametrize("alternative", REACHES)
def test_a_mean_agrees_with_scipy(summed, alternative):
    rng = np.random.default_rng(6)
    arms = {"a": [rng.normal(0.4, 1, 10)], "b": [rng.normal(0, 1, 10)]}

    def difference(first, second, axis):
        return first.mean(axis=axis) - second.mean(axis=axis)

    expected = stats.permutation_test(
        (arms["a"][0], arms["b"][0]),
        difference,
        permutation_type="samples",
        n_resamples=np.inf,
        alternative=alternative,
        vectorized=True,
    )
    result = permutation_test(summed(arms), "mean", "a", "b", alternative=alternative)
    assert result.exact
    assert result.statistic == pytest.approx(expected.statistic)
    assert result.p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize(
    ("wins", "losses"), [(3, 0), (5, 1), (7, 4), (60, 33), (1500, 0), (900, 800)]
)
def test_swaps_of_accuracy_are_exact_mcnemar(labelled, wins, losses):
    first, second = np.ones(1700, dtype=int), np.ones(1700, dtype=int)
    second[:wins] = 0
    first[wins : wins + losses] = 0
    task = labelled(np.ones(1700, dtype=int), {"a": [first], "b": [second]})
    for alternative in REACHES:
        result = permutation_test(task, "accuracy", "a", "b", alternative=alternative)
        expected = stats.binomtest(wins, wins + losses, alternative=alternative).pvalue
        assert result.exact
        assert result.n_differing == wins + losses
        assert result.p == pytest.approx(max(expected, 1e-307), rel=1e-10, abs=1e-300)
        assert result.p > 0


@pytest.fixture(scope="module")
def many(labelled):
    """Units that differ in four ways, about 27 of each: too many outcomes to list."""
    y_true = np.arange(200) % 4
    first, second = y_true.copy(), y_true.copy()
    second[:66] = (y_true[:66] + 1) % 4
    first[66:108] = (y_true[66:108] + 1) % 4
    return labelled(y_true, {"a": [first], "b": [second]})


def test_drawn_swaps_of_accuracy_follow_the_binomial_law(many):
    result = permutation_test(many, "accuracy", "a", "b", n_resamples=40_000)
    expected = stats.binomtest(66, 108).pvalue
    assert not result.exact
    assert result.n_resamples == 40_000
    assert result.statistic == pytest.approx((66 - 42) / 200)
    assert result.p == pytest.approx(expected, abs=4 * (expected / 40_000) ** 0.5)


def test_the_variance_of_a_difference_of_accuracies(many, resample):
    discordant, delta, n = 108 / 200, 24 / 200, 200
    reps = resample(many, ["accuracy"], n_resamples=20_000)
    bootstrap = np.var(reps.values[:, 0, 0, 0] - reps.values[:, 1, 0, 0])
    tolerance = 5 * (2 / 20_000) ** 0.5  # standard error of a variance, times 5
    assert bootstrap == pytest.approx((discordant - delta**2) / n, rel=tolerance)
    # The mean under exchange is 0, so nothing is taken off.
    exchange = permutation_test(many, "accuracy", "a", "b", n_resamples=20_000).null_sd ** 2
    assert exchange == pytest.approx(discordant / n, rel=tolerance)
    assert abs(bootstrap - exchange) > delta**2 / n / 2


def test_drawn_swaps_of_scores_are_close_to_scipy(scored):
    rng = np.random.default_rng(7)
    y_true = np.arange(60) % 2
    arms = {"a": [rng.normal(y_true * 1.0)], "b": [rng.normal(y_true * 0.4)]}

    def difference(first, second, axis=-1):
        rank = stats.rankdata(np.stack([first, second]), axis=-1)
        sums = (rank * (y_true == 1)).sum(axis=-1)
        return (sums[0] - sums[1]) / 900  # the constant of Mann and Whitney cancels

    expected = stats.permutation_test(
        (arms["a"][0], arms["b"][0]),
        difference,
        permutation_type="samples",
        n_resamples=20_000,
        vectorized=True,
        rng=np.random.default_rng(8),
    )
    result = permutation_test(scored(y_true, arms), "auroc", "a", "b")
    assert not result.exact
    assert result.statistic == pytest.approx(expected.statistic)
    noise = (expected.pvalue * (1 / 9999 + 1 / 20_000)) ** 0.5
    assert 0.001 < expected.pvalue < 0.2
    assert result.p == pytest.approx(expected.pvalue, abs=4 * noise)


def test_few_resamples_give_no_small_p(scored):
    y_true = np.arange(40) % 2
    task = scored(y_true, {"a": [y_true + np.arange(40) / 99], "b": [-y_true - np.arange(40) / 99]})
    result = permutation_test(task, "auroc", "a", "b", n_resamples=99)
    assert (result.statistic, result.p) == (1, 1 / 100)


@pytest.fixture(scope="module")
def wide():
    """Scores, labels and numbers of two arms with two seeds, 300 examples in 120 clusters."""
    rng = np.random.default_rng(9)
    y_true = rng.integers(0, 2, 300)
    arms = {name: [rng.normal(y_true * 1.0) for _ in range(2)] for name in ("a", "b", "c")}
    return y_true, arms, rng.integers(0, 120, 300)


@pytest.mark.parametrize("metric", ["auroc", "spearman", "mse", "mcc", "accuracy"])
@pytest.mark.parametrize("unit", ["example", "cluster"])
def test_order_and_company_change_no_digit(scored, wide, metric, unit):
    y_true, arms, cluster = wide
    options = {"n_resamples": 299, "unit": unit}
    task = scored(y_true, arms, cluster=cluster, labels=True)
    reference = permutation_test(task, metric, "a", "b", **options)
    assert not reference.exact
    order = np.random.default_rng(10).permutation(300)
    shuffled = scored(
        y_true[order],
        {name: [scores[order] for scores in arms[name]] for name in ("b", "a")},
        ids=order,
        cluster=cluster[order],
        labels=True,
    )
    assert permutation_test(shuffled, metric, "a", "b", **options) == reference
    mirrored = permutation_test(task, metric, "b", "a", **options)
    assert mirrored.statistic == -reference.statistic
    assert (mirrored.p, mirrored.null_sd) == (reference.p, reference.null_sd)
    greater, less = (
        permutation_test(task, metric, *pair, alternative=side, **options).p
        for pair, side in ((("a", "b"), "greater"), (("b", "a"), "less"))
    )
    assert greater == less


def test_streams_depend_on_seed_and_task_only(many, labelled, wide, scored):
    first = permutation_test(many, "mcc", "a", "b")
    assert permutation_test(many, "mcc", "a", "b") == first
    assert permutation_test(many, "mcc", "a", "b", seed=1).null_sd != first.null_sd
    y_true, arms, _ = wide
    here, there = (scored(y_true, arms, task=name) for name in ("here", "there"))
    results = [permutation_test(task, "mae", "a", "b", n_resamples=99) for task in (here, there)]
    assert results[0].null_sd != results[1].null_sd


@pytest.mark.parametrize("metric", ["auroc", "auprc", "spearman"])
def test_the_backend_changes_no_digit(scored, wide, monkeypatch, metric):
    y_true, arms, cluster = wide
    task = scored(y_true, arms, cluster=cluster)
    reference = permutation_test(task, metric, "a", "b", n_resamples=150)
    monkeypatch.setattr("lightning_dna.stats.sampling.compiled_kernels", lambda backend: None)
    assert permutation_test(task, metric, "a", "b", n_resamples=150) == reference


def test_the_longer_arm_is_cut(summed):
    seeds = [np.array([1.0, 2.0, 0.0]), np.array([0.0, 4.0, 1.0])]
    longer = permutation_test(summed({"a": seeds, "b": [np.zeros(3)]}), "mean", "a", "b")
    assert longer == permutation_test(
        summed({"a": seeds[:1], "b": [np.zeros(3)]}), "mean", "a", "b"
    )
    assert longer.n_seeds == 1


def test_equal_arms(labelled, scored):
    y_true = np.arange(30) % 2
    labels = permutation_test(labelled(y_true, {"a": [y_true], "b": [y_true]}), "mcc", "a", "b")
    scores = permutation_test(scored(y_true, {"a": [y_true], "b": [y_true]}), "auroc", "a", "b")
    for result in (labels, scores):
        assert (result.statistic, result.p, result.null_sd, result.n_differing) == (0, 1, 0, 0)
        assert result.exact


def test_an_undefined_metric_has_no_p(scored):
    ones = np.ones(6, dtype=int)
    rng = np.random.default_rng(11)
    task = scored(ones, {name: [rng.normal(size=6)] for name in ("a", "b")})
    result = permutation_test(task, "auroc", "a", "b")
    assert np.isnan([result.statistic, result.p, result.null_sd]).all()


def test_swaps_without_a_value_count_as_extreme(scored):
    target, first, second = np.arange(4) * 1.0, [0, 0, 1, 1], [1, 1, 0, 0]
    task = scored(target, {"a": [np.array(first) * 1.0], "b": [np.array(second) * 1.0]})
    with pytest.warns(stats.ConstantInputWarning):
        values = all_swaps(SCORES["spearman"], target, [first], [second], np.arange(4))
    result = permutation_test(task, "spearman", "a", "b")
    extreme = np.isnan(values) | (np.abs(values) >= abs(values[0]) - 1e-12)
    assert np.isnan(values).any()
    assert result.p == pytest.approx(extreme.mean())
    assert result.null_sd == pytest.approx(np.nanstd(values))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"metric": "acuracy"}, ConfigError, "Did you mean 'accuracy'"),
        ({"a": "hyena"}, ConfigError, "task 'task': unknown variant 'hyena'; allowed: a, b"),
        ({"metric": "mean"}, StatsError, "metric 'mean' needs a numerator"),
        ({"metric": "auroc"}, StatsError, "metric 'auroc'"),
        ({"unit": "cluster"}, StatsError, "unit='cluster' needs cluster_id"),
        ({"unit": "gene"}, StatsError, "unit must be 'example' or 'cluster', not 'gene'"),
        ({"swap": "ranks"}, StatsError, "swap='ranks' is for metrics of ranks"),
        ({"swap": "logits"}, StatsError, "swap must be 'scores' or 'ranks', not 'logits'"),
        ({"alternative": "larger"}, StatsError, "alternative 'larger'; allowed: two-sided"),
        ({"n_resamples": 0}, StatsError, "n_resamples must be 1 or more"),
        ({"seed": -1}, StatsError, "seed 0 or more"),
    ],
)
def test_bad_requests(labelled, options, error, message):
    task = labelled(["x", "y", "x"], {name: [["x", "y", "y"]] for name in ("a", "b")})
    with pytest.raises(error, match=message):
        permutation_test(task, **{"metric": "accuracy", "a": "a", "b": "b", **options})

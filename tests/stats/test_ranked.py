"""AUROC, average precision and Spearman under weights, against scikit-learn and scipy."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from lightning_dna.stats.ranked import (
    Order,
    auprc_influence,
    auprc_lanes,
    auroc_influence,
    auroc_lanes,
    spearman_influence,
    spearman_lanes,
    tpr_influence,
    tpr_lanes,
)


def tpr_at_one_percent(y_true, score, **options):
    false, true, _ = sk.roc_curve(y_true, score, drop_intermediate=False, **options)
    return true[false <= 0.01].max()


def drawn(n, lanes, seed=0):
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=lanes).T


@pytest.fixture(params=["continuous", "tied", "two values"])
def data(request):
    rng = np.random.default_rng(1)
    truth = (rng.random(70) < 0.3).astype(int)
    score = truth + rng.standard_normal(70)
    if request.param == "tied":
        score = np.round(score)
    if request.param == "two values":
        score = (score > 0.5).astype(float)
    return truth, score, np.round(score + rng.standard_normal(70), 1)


@pytest.mark.parametrize(
    ("lanes", "reference"),
    [
        (auroc_lanes, sk.roc_auc_score),
        (auprc_lanes, sk.average_precision_score),
        (tpr_lanes, tpr_at_one_percent),
    ],
)
def test_binary_metrics_equal_scikit_learn_on_repeated_data(data, lanes, reference):
    truth, score, _ = data
    weights = drawn(70, 50)
    found = lanes(Order.of(score), truth == 1, weights)
    expected = [reference(np.repeat(truth, w), np.repeat(score, w)) for w in weights.T]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)


def test_spearman_equals_scipy_on_repeated_data(data):
    _, score, target = data
    weights = drawn(70, 50)
    found = spearman_lanes(Order.of(score), Order.of(target), weights)
    expected = [
        stats.spearmanr(np.repeat(score, w), np.repeat(target, w)).statistic for w in weights.T
    ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)


def test_perfect_orders_are_exactly_one():
    values = np.random.default_rng(2).standard_normal(301)
    order, weights = Order.of(values), drawn(301, 64)
    assert (spearman_lanes(order, Order.of(values**3), weights) == 1).all()
    assert (spearman_lanes(order, Order.of(-values), weights) == -1).all()
    assert (auroc_lanes(order, values > 0, weights) == 1).all()
    assert (auroc_lanes(order, values < 0, weights) == 0).all()
    assert (auprc_lanes(order, values > 0, weights) == 1).all()


def test_constant_scores():
    order, positive, weights = Order.of(np.zeros(9)), np.arange(9) < 3, np.ones((9, 1), dtype=int)
    assert auroc_lanes(order, positive, weights) == 0.5
    assert auprc_lanes(order, positive, weights) == 1 / 3
    assert tpr_lanes(order, positive, weights) == 0
    assert np.isnan(spearman_lanes(order, Order.of(np.arange(9.0)), weights))
    assert np.isnan(spearman_influence(order, Order.of(np.arange(9.0)))).all()
    assert order.tie_fraction == 1
    assert Order.of(np.array([1.0, 2.0, 1.0, 3.0])).tie_fraction == 0.5


def test_lanes_with_one_class_are_undefined_and_the_others_are_not():
    order, positive = Order.of(np.array([0.1, 0.2, 0.3])), np.array([False, True, True])
    weights = np.array([[3, 0, 1], [0, 2, 1], [0, 1, 1]])
    np.testing.assert_array_equal(auroc_lanes(order, positive, weights), [np.nan, np.nan, 1])
    np.testing.assert_array_equal(auprc_lanes(order, positive, weights), [np.nan, np.nan, 1])
    np.testing.assert_array_equal(tpr_lanes(order, positive, weights), [np.nan, np.nan, 1])


def slopes(value, n, step=1e-6):
    rows = []
    for example in range(n):
        weight = np.ones(n)
        weight[example] += step
        high = value(weight)
        weight[example] -= 2 * step
        rows.append((high - value(weight)) / (2 * step))
    return rows


@pytest.mark.parametrize(
    ("influence", "reference"),
    [(auroc_influence, sk.roc_auc_score), (auprc_influence, sk.average_precision_score)],
)
def test_influence_is_the_derivative_by_a_sample_weight(data, influence, reference):
    truth, score, _ = data
    found = influence(Order.of(score), truth == 1)
    expected = slopes(lambda w: reference(truth, score, sample_weight=w), 70)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    assert abs(found.sum()) < 1e-12


def test_influence_on_spearman_is_the_derivative_of_the_weighted_correlation_of_ranks(data):
    _, score, target = data

    def weighted(weight):
        ranks = [
            np.array([weight[side < v].sum() + weight[side == v].sum() / 2 for v in side])
            for side in (score, target)
        ]
        covariance = np.cov(*ranks, aweights=weight, ddof=0)
        return covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])

    assert weighted(np.ones(70)) == pytest.approx(stats.spearmanr(score, target).statistic)
    found = spearman_influence(Order.of(score), Order.of(target))
    np.testing.assert_allclose(found, slopes(weighted, 70), atol=1e-8)
    assert abs(found.sum()) < 1e-12


@pytest.mark.parametrize("missing", [0, 1])
def test_influence_without_one_class_is_undefined(missing):
    order, positive = Order.of(np.arange(4.0)), np.full(4, missing == 0)
    assert np.isnan(auroc_influence(order, positive)).all()
    assert np.isnan(auprc_influence(order, positive)).all()
    assert np.isnan(tpr_influence(order, positive)).all()


def test_whole_numbers_stay_exact_at_a_large_size():
    rng = np.random.default_rng(3)
    n = 200_000
    positive, score = rng.random(n) < 0.5, rng.standard_normal(n)
    found = auroc_lanes(Order.of(score), positive, np.full((n, 1), 7))[0]
    assert found == pytest.approx(sk.roc_auc_score(positive, score), abs=1e-15)
    order = Order.of(score)
    assert spearman_lanes(order, order, np.full((n, 1), 7))[0] == 1


@pytest.mark.parametrize(("negatives", "rate"), [(99, 0.25), (100, 0.5), (200, 0.75), (201, 0.75)])
def test_rate_at_one_percent_by_hand(negatives, rate):
    """Of four positives each stands one negative deeper; below 100 negatives none may be called."""
    score = np.concatenate([[10.0, 8, 6, 4], [9.0, 7, 5], np.zeros(negatives - 3)])
    positive = np.arange(len(score)) < 4
    found = tpr_lanes(Order.of(score), positive, np.ones((len(score), 1), dtype=int))
    assert found == rate
    assert tpr_at_one_percent(positive, score) == rate


def test_rate_at_one_percent_leaves_out_scores_that_tie_with_too_many_negatives():
    score = np.concatenate([[3.0, 2.0], [2.0, 2.0], np.zeros(98)])
    positive = np.arange(102) < 2
    assert tpr_lanes(Order.of(score), positive, np.ones((102, 1), dtype=int)) == 0.5


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_influence_on_the_rate_gives_its_standard_error(shift):
    rng = np.random.default_rng(4)
    positive = np.arange(4000) < 2000
    values, errors = [], []
    for _ in range(300):
        order = Order.of(rng.standard_normal(4000) + shift * positive)
        values.append(tpr_lanes(order, positive, np.ones((4000, 1), dtype=int))[0])
        influence = tpr_influence(order, positive)
        assert abs(influence.sum()) < 1e-12
        errors.append(np.sqrt((influence**2).sum()))
    assert np.mean(values) == pytest.approx(stats.norm.sf(stats.norm.isf(0.01) - shift), rel=0.1)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)

"""McNemar against statsmodels and the binomial law; DeLong against all pairs and the bootstrap."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar

from lightning_dna.errors import ConfigError, StatsError
from lightning_dna.stats.hypothesis_tests.classical import (
    delong_test,
    mcnemar_from_counts,
    mcnemar_test,
)
from lightning_dna.stats.hypothesis_tests.permutation import permutation_test

COUNTS = [(0, 0), (0, 1), (3, 0), (1, 5), (7, 4), (21, 21), (60, 33), (900, 1010)]


@pytest.mark.parametrize(("n01", "n10"), COUNTS)
def test_exact_mcnemar_agrees_with_statsmodels(n01, n10):
    expected = mcnemar([[100, n10], [n01, 50]], exact=True)
    result = mcnemar_from_counts(n01, n10)
    assert result.statistic == expected.statistic
    assert result.p == pytest.approx(expected.pvalue, rel=1e-10)
    for alternative in ("greater", "less"):
        one_sided = mcnemar_from_counts(n01, n10, alternative=alternative).p
        law = stats.binomtest(n10, n01 + n10, alternative=alternative) if n01 + n10 else None
        assert one_sided == pytest.approx(law.pvalue if law else 1.0, rel=1e-10)


@pytest.mark.parametrize(("n01", "n10"), COUNTS[1:])
def test_mid_p_takes_half_of_the_observed_outcome_off(n01, n10):
    law = stats.binom(n01 + n10, 0.5)
    upper = law.sf(n10) + law.pmf(n10) / 2
    greater = mcnemar_from_counts(n01, n10, mid_p=True, alternative="greater")
    assert greater.p == pytest.approx(upper, rel=1e-9)
    both = mcnemar_from_counts(n01, n10, mid_p=True)
    assert both.mid_p
    assert both.p == pytest.approx(2 * min(upper, 1 - upper), rel=1e-9)


def test_mcnemar_is_never_zero():
    assert 0 < mcnemar_from_counts(5000, 0).p < 1e-300
    assert 0 < mcnemar_from_counts(5000, 0, mid_p=True).p < 1e-300


@pytest.fixture(scope="module")
def answers():
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 3, 80)
    arms = {
        name: [np.where(rng.random(80) < right, y_true, rng.integers(0, 3, 80)) for _ in range(2)]
        for name, right in (("a", 0.7), ("b", 0.4))
    }
    return y_true, arms


def test_mcnemar_of_a_task_arrays_and_counts(labelled, answers):
    y_true, arms = answers
    task = labelled(y_true, arms)
    for seed in (0, 1):
        first, second = arms["a"][seed] == y_true, arms["b"][seed] == y_true
        table = [
            [(first & second).sum(), (first & ~second).sum()],
            [(~first & second).sum(), (~first & ~second).sum()],
        ]
        expected = mcnemar(table, exact=True)
        result = mcnemar_test(task, "a", "b", seed=seed)
        assert (result.n10, result.n01) == (table[0][1], table[1][0])
        assert result.p == pytest.approx(expected.pvalue, rel=1e-10)
        assert mcnemar_test(y_true, arms["a"][seed], arms["b"][seed]) == result
        assert mcnemar_test(task, "b", "a", seed=seed).p == result.p


def test_swaps_of_accuracy_approach_exact_mcnemar(labelled, answers):
    y_true, arms = answers
    task = labelled(y_true, {name: seeds[:1] for name, seeds in arms.items()})
    exact = mcnemar_test(task, "a", "b").p
    result = permutation_test(task, "accuracy", "a", "b", n_resamples=40_000)
    assert not result.exact
    assert 0 < exact < 0.2
    assert result.p == pytest.approx(exact, abs=4 * (exact / 40_000) ** 0.5)


def test_mcnemar_of_text_labels():
    assert mcnemar_test(["x", "y", "x"], ["x", "y", "y"], ["y", "y", "x"]).p == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1, 0], [1, 0, 1], [1, 0]), StatsError, r"y_true \(2,\), a \(3,\), b \(2,\)"),
        (([1, 0], [1, np.nan], [1, 0]), StatsError, "a is NaN or infinite at row 1"),
        (([1, 0], ["1", "0"], [1, 0]), StatsError, "some labels are numbers and some are text"),
        (([[1, 0]], [[1, 0]], [[1, 0]]), StatsError, "one value per example"),
    ],
)
def test_bad_arrays_for_mcnemar(arguments, error, message):
    with pytest.raises(error, match=message):
        mcnemar_test(*arguments)


def test_bad_tasks_for_mcnemar(labelled, scored, answers):
    y_true, arms = answers
    task = labelled(y_true, {"a": arms["a"], "b": arms["b"][:1]})
    with pytest.raises(StatsError, match="variant 'a' has the seeds 0, 1; name one of them"):
        mcnemar_test(task, "a", "b")
    with pytest.raises(StatsError, match="variant 'b' has the seeds 0; name"):
        mcnemar_test(task, "a", "b", seed=1)
    with pytest.raises(ConfigError, match="unknown variant 'c'"):
        mcnemar_test(task, "c", "b", seed=0)
    weighted = labelled(y_true, {"a": arms["a"][:1]}, weight=np.arange(80) + 1.0)
    with pytest.raises(StatsError, match="these have weights"):
        mcnemar_test(weighted, "a", "a")
    with pytest.raises(StatsError, match="needs y_true and y_pred"):
        mcnemar_test(scored(y_true, {"a": [y_true * 0.5]}), "a", "a")
    with pytest.raises(StatsError, match="counts must be 0 or more; found -1 and 2"):
        mcnemar_from_counts(-1, 2)
    with pytest.raises(StatsError, match="alternative 'more'"):
        mcnemar_from_counts(1, 2, alternative="more")


def all_pairs(y_true, *arms):
    """Areas and their covariance from every (positive, negative) pair, one after the other."""
    y_true = np.asarray(y_true)
    kernels = [
        np.array(
            [
                [1.0 if p > n else 0.5 if p == n else 0.0 for n in scores[y_true == 0]]
                for p in scores[y_true == 1]
            ]
        )
        for scores in map(np.asarray, arms)
    ]
    of_positives = np.array([kernel.mean(axis=1) for kernel in kernels])
    of_negatives = np.array([kernel.mean(axis=0) for kernel in kernels])
    areas = np.array([kernel.mean() for kernel in kernels])
    shape = (len(arms), len(arms))
    covariance = np.zeros(shape)
    for row, column in np.ndindex(shape):
        for placed in (of_positives, of_negatives):
            deviations = (placed[row] - areas[row]) * (placed[column] - areas[column])
            count = len(deviations)
            covariance[row, column] += deviations.sum() / (count - 1) / count
    return areas, covariance


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("n", "positives"), [(4, 2), (9, 3), (60, 20), (61, 58)])
def test_delong_agrees_with_all_pairs(n, positives, ties):
    rng = np.random.default_rng(n)
    y_true = np.arange(n) < positives
    a, b = (rng.normal(shift * y_true) for shift in (1.0, 0.5))
    if ties:
        a, b = np.round(a * 2), np.round(b)
    areas, covariance = all_pairs(y_true, a, b)
    result = delong_test(y_true, a, b)
    assert (result.auc_a, result.auc_b) == pytest.approx(tuple(areas), abs=1e-14)
    assert result.auc_a == pytest.approx(roc_auc_score(y_true, a), abs=1e-14)
    np.testing.assert_allclose(result.covariance, covariance, rtol=1e-12, atol=1e-16)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert result.se == pytest.approx(variance**0.5, rel=1e-10)
    z = (areas[0] - areas[1]) / variance**0.5
    assert result.z == pytest.approx(z, rel=1e-10, abs=1e-12)
    assert result.p == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-9)
    reach = stats.norm.ppf(0.975) * variance**0.5
    assert (result.low, result.high) == pytest.approx(
        (result.delta - reach, result.delta + reach), rel=1e-9
    )
    assert (result.n_positive, result.n_negative) == (positives, n - positives)


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(1)
    y_true = rng.integers(0, 2, 300)
    shared = rng.normal(size=300)
    return y_true, shared + rng.normal(y_true * 1.2), shared + rng.normal(y_true * 0.8)


def fields(result):
    return {name: value for name, value in vars(result).items() if name != "covariance"}


def test_delong_does_not_depend_on_scale_or_order(scores):
    y_true, a, b = scores
    reference = delong_test(y_true, a, b)
    moved = delong_test(y_true, np.exp(a), 3 * b - 7)
    assert fields(moved) == fields(reference)
    order = np.random.default_rng(2).permutation(300)
    shuffled = delong_test(y_true[order], a[order], b[order])
    assert fields(shuffled) == pytest.approx(fields(reference), rel=1e-12)


def test_delong_is_symmetric(scores):
    y_true, a, b = scores
    one, two = delong_test(y_true, a, b), delong_test(y_true, b, a)
    assert one.delta == -two.delta
    assert (one.se, one.p) == (two.se, two.p)
    assert (one.low, one.high) == (-two.high, -two.low)
    np.testing.assert_array_equal(one.covariance, two.covariance[::-1, ::-1])
    # Calling negatives positive and turning the scores round leaves both areas as they are.
    turned = delong_test(1 - y_true, -a, -b)
    assert fields(turned) == pytest.approx(
        {**fields(one), "n_positive": one.n_negative, "n_negative": one.n_positive}, rel=1e-12
    )


def test_one_sided_delong(scores):
    y_true, a, b = scores
    both = delong_test(y_true, a, b, level=0.9)
    greater = delong_test(y_true, a, b, alternative="greater")
    less = delong_test(y_true, a, b, alternative="less")
    assert both.delta > 0
    assert greater.p == pytest.approx(both.p / 2)
    assert less.p == pytest.approx(1 - both.p / 2)
    assert (greater.low, greater.high) == (pytest.approx(both.low), np.inf)
    assert (less.low, less.high) == (-np.inf, pytest.approx(both.high))


def test_delong_error_is_that_of_the_bootstrap(scores):
    y_true, a, b = scores
    rng = np.random.default_rng(3)
    draws = []
    for _ in range(600):
        rows = rng.integers(0, 300, 300)
        draws.append(roc_auc_score(y_true[rows], a[rows]) - roc_auc_score(y_true[rows], b[rows]))
    # Standard error of a standard deviation: 1 / sqrt(2 * 600) = 2.9 %; the bias is of order 1 / n.
    assert np.std(draws) / delong_test(y_true, a, b).se == pytest.approx(1, abs=0.09)


def test_delong_of_many_examples():
    rng = np.random.default_rng(4)
    y_true = np.arange(400_000) % 2
    a, b = (np.round(rng.normal(shift * y_true), 3) for shift in (1.0, 0.99))
    result = delong_test(y_true, a, b)
    assert result.auc_a == pytest.approx(roc_auc_score(y_true, a), abs=1e-12)
    # Independent scores of two normal laws a distance d apart: the area is Phi(d / sqrt 2), and
    # the law of a placement is known, so its variance can be integrated.
    grid = (np.arange(20_000) + 0.5) / 20_000
    variance = sum(
        2 * np.var(stats.norm.cdf(stats.norm.ppf(grid) + shift)) / 200_000 for shift in (1.0, 0.99)
    )
    assert result.se == pytest.approx(variance**0.5, rel=0.01)


def test_delong_of_equal_orders():
    y_true = np.arange(20) % 2
    a = np.random.default_rng(5).normal(size=20)
    for b in (a, np.exp(a)):
        for alternative in ("two-sided", "greater", "less"):
            result = delong_test(y_true, a, b, alternative=alternative)
            assert (result.delta, result.se, result.z, result.p) == (0, 0, 0, 1)
        assert (result.low, result.high) == (-np.inf, 0)


def test_areas_without_variance_get_the_p_value_of_swaps():
    y_true = np.array([0, 0, 0, 1, 1, 1])
    result = delong_test(y_true, 2 * y_true - 1, 1 - 2 * y_true)
    assert (result.delta, result.se, result.z) == (1, 0, np.inf)
    assert (result.low, result.high) == (1, 1)
    # Of the 64 ways to swap only the data and its mirror image separate the classes this far.
    assert result.p == pytest.approx(2 / 64)
    assert delong_test(y_true, np.exp(y_true), 1e6 - y_true).p == result.p


def test_delong_of_a_task(scored, scores):
    y_true, a, b = scores
    task = scored(y_true, {"x": [a, b], "y": [b, a]})
    for seed, pair in ((0, (a, b)), (1, (b, a))):
        result = delong_test(task, "x", "y", seed=seed)
        assert fields(result) == fields(delong_test(y_true, *pair))
    with pytest.raises(StatsError, match="variant 'x' has the seeds 0, 1; name one of them"):
        delong_test(task, "x", "y")
    with pytest.raises(ConfigError, match="unknown variant 'z'"):
        delong_test(task, "x", "z", seed=0)


def test_tasks_that_do_not_fit_delong(labelled):
    three = labelled([0, 1, 2, 1], {"a": [[0, 1, 2, 0]]})
    with pytest.raises(StatsError, match="needs the labels 0 and 1"):
        delong_test(three, "a", "a")
    text = labelled(["x", "y", "x", "y"], {"a": [["x", "y", "x", "x"]]})
    with pytest.raises(StatsError, match="'auroc' needs y_score"):
        delong_test(text, "a", "a")
    weighted = labelled([0, 1, 0, 1], {"a": [[0, 1, 1, 0]]}, weight=[1.0, 2.0, 1.0, 1.0])
    with pytest.raises(StatsError, match="these have weights"):
        delong_test(weighted, "a", "a")


@pytest.mark.parametrize(
    ("y_true", "a", "message"),
    [
        ([1, 1, 1, 1], [1, 2, 3, 4], "found 4 of class 1 and 0 of class 0"),
        ([0, 0, 0, 1], [1, 2, 3, 4], "2 or more examples of each class; found 1 of class 1"),
        ([0, 0, 1, 1], [1, 2, np.nan, 4], "a is NaN or infinite at row 2"),
        ([0, 0, 1, 1], [1, 2, np.inf, 4], "a is NaN or infinite at row 2"),
        ([0, 0, 1, np.nan], [1, 2, 3, 4], "y_true is NaN or infinite at row 3"),
        ([0, 0, 1, 1], [1, 2, 3], r"y_true \(4,\), a \(3,\), b \(4,\)"),
        ([0, 0, 1, 2], [1, 2, 3, 4], r"y_true must be 0 or 1 \(1 is positive\); found 2"),
        (["n", "n", "p", "p"], [1, 2, 3, 4], "y_true must be 0 or 1"),
        ([0, 0, 1, 1], ["1", "2", "3", "4"], "a must hold scores"),
    ],
)
def test_bad_arrays_for_delong(y_true, a, message):
    with pytest.raises(StatsError, match=message):
        delong_test(y_true, a, [4, 1, 3, 2])


@pytest.mark.parametrize("option", [{"level": 95}, {"alternative": "more"}])
def test_bad_options_for_delong(option):
    with pytest.raises(StatsError, match=next(iter(option))):
        delong_test([0, 0, 1, 1], [1, 2, 3, 4], [4, 1, 3, 2], **option)

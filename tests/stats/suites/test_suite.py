"""Statistics of a suite and their tests, on plain arrays, against scipy and by simulation."""

import numpy as np
import pytest
from scipy import optimize, stats

from lightning_dna.stats.suites.fixed import count_factor
from lightning_dna.stats.suites.judgement import score_test, share_test, signs
from lightning_dna.stats.suites.suite import interquartile_mean, median_weights, middle_weights


@pytest.mark.parametrize("shape", [(4, 1), (5, 4), (8, 2)])
def test_interquartile_mean_is_that_of_scipy_where_nothing_is_cut(shape):
    values = np.random.default_rng(1).standard_normal((3, *shape))
    expected = [stats.trim_mean(scores.ravel(), 0.25) for scores in values]
    assert interquartile_mean(values, np.ones(shape, bool)) == pytest.approx(expected)


def test_interquartile_mean_gives_each_task_the_same_weight():
    values = np.random.default_rng(2).standard_normal((1, 3, 4))
    present = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 0, 0]], dtype=bool)
    copies = np.concatenate(
        [np.repeat(values[0, task, there], 4 // there.sum()) for task, there in enumerate(present)]
    )
    assert interquartile_mean(values, present) == pytest.approx(stats.trim_mean(copies, 0.25))
    values[0, 0, 0] = np.nan
    assert np.isnan(interquartile_mean(values, present)).all()


def test_weights_are_derivatives():
    rng = np.random.default_rng(12)
    values = rng.standard_normal((2, 5, 3))
    present = rng.random((5, 3)) < 0.8
    present[:, 0] = True
    found = middle_weights(values, present)
    for number, place in enumerate(np.argwhere(present)):
        moved = values.copy()
        moved[:, place[0], place[1]] += 1e-7
        change = interquartile_mean(moved, present) - interquartile_mean(values, present)
        assert found[:, number] == pytest.approx(change / 1e-7, abs=1e-6)
    odd = np.array([[3.0, 1, 2], [1, 2, 3], [1, 3, 2]])
    assert median_weights(odd).tolist() == [0, 1 / 3, 2 / 3]
    assert median_weights(odd[:1, :2]).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("size", [6, 11, 30])
def test_sign_test_and_order_statistics(size):
    values = np.random.default_rng(size).standard_normal(size) + 0.4
    found = signs(values)
    positive = int((values > 0).sum())
    assert found.p("two-sided") == pytest.approx(stats.binomtest(positive, size).pvalue)
    for alternative in ("greater", "less"):
        expected = stats.binomtest(positive, size, alternative=alternative).pvalue
        assert found.p(alternative) == pytest.approx(expected)
    for level in (0.8, 0.95):
        expected = stats.quantile_test(values, p=0.5).confidence_interval(level)
        if np.isfinite([expected.low, expected.high]).all():
            low, high = found.interval(level, "two-sided")
            assert low >= expected.low  # both are order statistics with at least that coverage
            assert high <= expected.high
            counts = [int((values < limit).sum()) for limit in (low, high)]
            inside = stats.binom.cdf(counts[1], size, 0.5) - stats.binom.cdf(counts[0], size, 0.5)
            assert inside >= level


def test_share_interval_solves_the_binomial_equation():
    values = np.array([1, 1, 1, 0.5, 1, 0, 1, 1, 0.75]) - 0.5
    low, high = share_test(values).interval(0.95, "two-sided")
    critical, share = stats.t.ppf(0.975, 8), values.mean() + 0.5

    def excess(theta):
        return (share - theta) ** 2 - critical**2 * theta * (1 - theta) / 9

    assert low + 0.5 == pytest.approx(optimize.brentq(excess, 0, share))
    assert high + 0.5 == pytest.approx(optimize.brentq(excess, share, 1))


def test_limits_of_the_score_test_are_where_it_begins_to_reject():
    values = np.array([-1.0, 2, 1, 0, 1, 2, 1, 2, 0, 1])
    low, high = score_test(values, low=-2, high=2).interval(0.95, "two-sided")
    for limit in (low, high):
        assert score_test(values - limit, low=-9, high=9).p("two-sided") == pytest.approx(0.05)
    assert score_test(values[:3], low=-2, high=2).interval(0.95, "two-sided") == (-2, 2)
    assert score_test(np.ones(7), low=-1, high=1).p("two-sided") == pytest.approx(
        2 * stats.t.sf(7**0.5, 6)
    )


def judgements(values):
    """Judgements of (tasks,) differences by every test across tasks."""
    wins = np.sign(values)
    yield "median", signs(values)
    yield "mean_rank", score_test(wins, low=-1, high=1)
    yield "probability", share_test(wins / 2)


@pytest.mark.parametrize("n_tasks", [5, 7, 18, 50])
def test_tests_across_tasks_keep_their_level(n_tasks):
    rng = np.random.default_rng(n_tasks)
    size, rejected, usual = 1500, {}, 0
    for _ in range(size):
        values = rng.standard_normal(n_tasks)
        for name, found in judgements(values):
            low, high = found.interval(0.95, "two-sided")
            assert (found.p("two-sided") < 0.05) == (not low <= 0 <= high)
            rejected[name] = rejected.get(name, 0) + (found.p("two-sided") < 0.05)
        with np.errstate(divide="ignore"):
            wins = np.sign(values)
            usual += abs(wins.mean()) / np.divide(wins.std(ddof=1), n_tasks**0.5) > stats.t.ppf(
                0.975, n_tasks - 1
            )
    limit = 0.05 + 3 * (0.05 * 0.95 / size) ** 0.5
    assert max(rejected.values()) / size <= limit
    if n_tasks == 7:
        assert usual / size > limit  # the usual t finds no error where all signs agree


@pytest.mark.parametrize("n_variants", [2, 3, 6])
def test_mean_square_of_a_rank_has_the_right_mean(n_variants):
    """Of equal variants: (V^2 - 1) / 12 is the variance of a random rank."""
    rng = np.random.default_rng(n_variants)
    data = rng.standard_normal((40_000, n_variants))
    ranks = [
        (one > one[:, :1]).sum(axis=1) for one in (data, data + rng.standard_normal(data.shape))
    ]
    square = ((ranks[1] - ranks[0]) ** 2).mean()
    expected = (n_variants**2 - 1) / 12
    factor = count_factor(np.array([n_variants - 2.0]))[0]
    assert square * factor == pytest.approx(expected, rel=0.03)
    if n_variants == 6:
        assert square < 0.85 * expected

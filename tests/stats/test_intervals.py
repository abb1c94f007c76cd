"""Intervals against scipy on the same replicates; p-values are the inverse of their intervals."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from lightning_dna.errors import StatsError
from lightning_dna.stats.intervals import (
    confidence_interval,
    logit_interval,
    monte_carlo_error,
    p_value,
    t_quantile,
    t_upper_tail,
)

DATA = np.random.default_rng(0).gamma(2.0, size=60)
DRAWS = np.random.default_rng(1).choice(DATA, (2000, 60)).mean(axis=1)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("method", ["percentile", "basic"])
def test_percentile_and_basic_equal_scipy_on_the_same_replicates(method, level, alternative):
    expected = stats.bootstrap(
        (DATA,),
        np.mean,
        n_resamples=0,
        bootstrap_result=SimpleNamespace(bootstrap_distribution=DRAWS),
        method=method,
        confidence_level=level,
        alternative=alternative,
    ).confidence_interval
    found = confidence_interval(
        DATA.mean(), DRAWS, method=method, level=level, alternative=alternative
    )
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-14)


def test_se_t_is_the_textbook_interval():
    u = (DATA - DATA.mean()) / 60
    found = confidence_interval(DATA.mean(), DRAWS, df=59, influence=u)
    reach = stats.t.ppf(0.975, 59) * DRAWS.std(ddof=1) * (60 / 59) ** 0.5
    assert (found.low, found.high) == pytest.approx((DATA.mean() - reach, DATA.mean() + reach))
    heavy = confidence_interval(DATA.mean(), DRAWS, influence=u)
    assert heavy.high - heavy.low > found.high - found.low  # skewed influences: fewer than 59 df
    normal = confidence_interval(0.0, DRAWS, se=2.0)
    assert normal.high == pytest.approx(2 * 1.959964, abs=1e-5)


def test_symmetric_reach_is_a_quantile_of_absolute_deviations():
    found = confidence_interval(
        1.0, np.array([0.0, 0.5, 1.5, 3.0, 1.0]), method="symmetric", level=0.75
    )
    assert (found.low, found.high) == (0.0, 2.0)  # |deviations| sorted: 0, .5, .5, 1, 2


@pytest.mark.parametrize("method", ["se-t", "percentile", "basic", "symmetric"])
def test_levels_nest(method):
    limits = [
        confidence_interval(2.0, DRAWS, method=method, level=x, df=20)
        for x in (0.5, 0.8, 0.95, 0.99)
    ]
    for inner, outer in itertools.pairwise(limits):
        assert outer.low <= inner.low <= inner.high <= outer.high


@pytest.mark.parametrize(
    ("method", "alternative"),
    [
        *itertools.product(["se-t", "percentile", "basic"], ["two-sided", "greater", "less"]),
        ("symmetric", "two-sided"),
    ],
)
def test_p_value_falls_below_alpha_exactly_when_the_interval_excludes_zero(method, alternative):
    draws = np.random.default_rng(2).standard_normal(1999)
    for observed in np.linspace(-4, 4, 41):
        shifted = draws + observed
        found = confidence_interval(
            observed, shifted, method=method, alternative=alternative, se=1.0, df=30
        )
        p = p_value(observed, shifted, method=method, alternative=alternative, se=1.0, df=30)
        if abs(p - 0.05) > 0.003:  # quantiles interpolate between two replicates
            assert (p < 0.05) == (not found.low <= 0 <= found.high)


def test_p_values_are_never_zero_and_equal_student():
    assert p_value(1e3, DRAWS, se=1e-3, df=1e6) > 0
    assert p_value(5.0, np.full(99, 5.0), method="percentile", se=1, df=9) == pytest.approx(0.02)
    assert p_value(2.0, DRAWS, se=1.0, df=7.5) == pytest.approx(2 * stats.t.sf(2, 7.5), rel=1e-12)
    assert p_value(2.0, DRAWS, alternative="less", se=1.0, df=7.5) == pytest.approx(
        stats.t.cdf(2, 7.5)
    )
    assert p_value(-2.0, DRAWS, alternative="less", se=1.0, df=7.5) == pytest.approx(
        stats.t.cdf(-2, 7.5)
    )


def test_student_functions_equal_scipy_stats():
    for df in (1, 1.7, 12, 1e5):
        assert t_quantile(0.99, df) == pytest.approx(stats.t.ppf(0.99, df), rel=1e-12)
        assert t_upper_tail(30.0, df) == pytest.approx(stats.t.sf(30, df), rel=1e-12)
    assert np.isnan(t_quantile(0.9, float("nan")))
    assert np.isnan(t_upper_tail(1.0, float("nan")))


def test_logit_interval_stays_inside_and_equals_the_delta_method():
    found = logit_interval(0.99, se=0.01, df=50, level=0.95, low=0, high=1)
    assert 0 < found.low < 0.99 < found.high < 1
    reach = stats.t.ppf(0.975, 50) * 0.01 / (0.99 * 0.01)
    assert found.low == pytest.approx(1 / (1 + np.exp(-(np.log(99) - reach))))
    wide = logit_interval(0.0, se=0.1, df=50, level=0.95, low=-1, high=1)  # an MCC of 0
    assert wide.low == pytest.approx(-wide.high)
    assert wide.high == pytest.approx(stats.t.ppf(0.975, 50) * 0.1, rel=0.02)


def test_undefined_replicates_are_left_out():
    holes = np.concatenate([DRAWS, np.full(50, np.nan)])
    for method in ("se-t", "percentile", "basic", "symmetric"):
        assert confidence_interval(2.0, holes, method=method, df=9) == confidence_interval(
            2.0, DRAWS, method=method, df=9
        )
    assert np.isnan(confidence_interval(2.0, np.full(9, np.nan)).low)
    assert np.isnan(confidence_interval(np.nan, DRAWS).high)


@pytest.mark.parametrize("method", ["se-t", "percentile"])
def test_monte_carlo_error_is_the_spread_of_limits_over_resampling_runs(method):
    rng = np.random.default_rng(3)
    limits = [
        confidence_interval(0.0, rng.standard_normal(400), method=method, df=40).high
        for _ in range(600)
    ]
    expected = monte_carlo_error(method, se=1.0, df=40, level=0.95, n_resamples=400)
    assert np.std(limits) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "bca"}, "'bca'; allowed: se-t, percentile, basic, symmetric"),
        ({"method": "symmetric", "alternative": "less"}, "'symmetric' is two-sided"),
        ({"level": 95}, "level must lie between 0 and 1, such as 0.95; found 95"),
        ({"alternative": "larger"}, "'larger'; allowed: two-sided, greater, less"),
    ],
)
def test_options_name_what_is_allowed(options, message):
    with pytest.raises(StatsError, match=message):
        confidence_interval(0.0, DRAWS, **options)

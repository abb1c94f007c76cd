"""Intervals against scipy on the same replicates; p-values are the inverse of their intervals."""

import itertools
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
from scipy import stats

from lightning_dna.errors import StatsError
from lightning_dna.stats.acceleration import accelerated_tail, bias_correction, nominal_tail
from lightning_dna.stats.intervals import (
    Method,
    confidence_interval,
    logit_interval,
    monte_carlo_error,
    p_value,
    t_quantile,
    t_upper_tail,
)

DATA = np.random.default_rng(0).gamma(2.0, size=60)
RESAMPLES = np.random.default_rng(1).choice(DATA, (2000, 60))
DRAWS = RESAMPLES.mean(axis=1)
ERRORS = RESAMPLES.std(axis=1, ddof=1) / 60**0.5
INFLUENCE = (DATA - DATA.mean()) / 60
METHODS = get_args(Method)
NEEDS = {"influence": INFLUENCE, "replicate_se": ERRORS}  # each method reads what it knows


def scipy_limits(statistic, data, draws, **options):
    """Limits of scipy.stats.bootstrap from replicates that it did not draw itself."""
    return stats.bootstrap(
        (data,),
        statistic,
        n_resamples=0,
        bootstrap_result=SimpleNamespace(bootstrap_distribution=draws),
        **options,
    ).confidence_interval


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("method", ["percentile", "basic", "bca"])
def test_limits_equal_scipy_on_the_same_replicates(method, level, alternative):
    options = {"method": method, "alternative": alternative}
    expected = scipy_limits(np.mean, DATA, DRAWS, confidence_level=level, **options)
    left_out = (DATA.sum() - DATA) / 59
    found = confidence_interval(
        DATA.mean(), DRAWS, level=level, influence=left_out.mean() - left_out, **options
    )
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-14)
    assert found.flag == ""


@pytest.mark.parametrize("metric", ["mean", "variance", "correlation", "trimmed"])
@pytest.mark.parametrize("shape", ["continuous", "tied"])
def test_bca_equals_scipy_for_other_statistics(metric, shape):
    rng = np.random.default_rng(7)
    x = rng.gamma(1.5, size=40)
    y = x + rng.standard_normal(40)
    if shape == "tied":  # z0 counts ties half
        x, y = np.round(x), np.round(y)

    def statistic(rows):
        one, two = x[rows], y[rows]
        if metric == "correlation":
            return np.corrcoef(one, two)[0, 1]
        return {
            "mean": one.mean() - two.mean(),
            "variance": one.var(),
            "trimmed": np.sort(one)[4:36].mean(),
        }[metric]

    rows = np.arange(40)
    draws = np.array([statistic(rng.integers(0, 40, 40)) for _ in range(999)])
    expected = scipy_limits(statistic, rows, draws, method="bca", vectorized=False)
    left_out = np.array([statistic(np.delete(rows, i)) for i in rows])
    deviations = left_out.mean() - left_out
    found = confidence_interval(statistic(rows), draws, method="bca", influence=deviations)
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-13)


def test_bca_with_all_replicates_on_one_side_is_percentile_with_a_flag():
    above = np.linspace(1.0, 2.0, 101)
    found = confidence_interval(0.5, above, method="bca", influence=INFLUENCE)
    plain = confidence_interval(0.5, above, method="percentile")
    assert (found.low, found.high, found.flag) == (plain.low, plain.high, "bca_fallback")
    assert plain.flag == ""
    p = p_value(0.5, above, method="bca", influence=INFLUENCE, se=1, df=9)
    assert p == p_value(0.5, above, method="percentile", se=1, df=9)


def test_bca_of_identical_models_is_a_point():
    found = confidence_interval(0.0, np.zeros(99), method="bca", influence=np.zeros(60))
    assert (found.low, found.high, found.flag) == (0, 0, "")  # scipy gives NaN here


def test_bca_tails_grow_beyond_the_pole():
    z0, tails = 0.3, np.linspace(0.001, 0.999, 999)
    for a in (-2.0, -0.1, 0.0, 0.1, 2.0):
        shares = np.array([accelerated_tail(tail, z0, a) for tail in tails])
        assert (np.diff(shares) >= 0).all()
        assert ((shares >= 0) & (shares <= 1)).all()
        inside = (shares > 1e-9) & (shares < 1 - 1e-9)
        back = [nominal_tail(share, z0, a) for share in shares[inside]]
        np.testing.assert_allclose(back, tails[inside], rtol=1e-6)
    assert bias_correction(5.0, np.zeros(9)) == np.inf
    assert [nominal_tail(share, 0.1, 0.2) for share in (0.0, 1.0)] == [0.0, 1.0]


def test_studentized_is_the_textbook_bootstrap_t():
    pivots = np.sort((DRAWS - DATA.mean()) / ERRORS)
    se = DATA.std(ddof=1) / 60**0.5
    found = confidence_interval(DATA.mean(), DRAWS, method="studentized", **NEEDS)
    low, high = np.quantile(pivots, [0.975, 0.025])
    assert (found.low, found.high) == pytest.approx(
        (DATA.mean() - low * se, DATA.mean() - high * se)
    )
    # Replicates without an error of their own are left out.
    holes = {"influence": INFLUENCE, "replicate_se": np.where(np.arange(2000) < 5, 0.0, ERRORS)}
    fewer = confidence_interval(DATA.mean(), DRAWS, method="studentized", **holes)
    shorter = {"influence": INFLUENCE, "replicate_se": ERRORS[5:]}
    assert fewer == confidence_interval(DATA.mean(), DRAWS[5:], method="studentized", **shorter)


def test_analytic_is_the_textbook_t_interval():
    found = confidence_interval(DATA.mean(), DRAWS, method="analytic", influence=INFLUENCE, df=59)
    expected = stats.ttest_1samp(DATA, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


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


@pytest.mark.parametrize("method", METHODS)
def test_levels_nest(method):
    limits = [
        confidence_interval(2.0, DRAWS, method=method, level=x, df=20, **NEEDS)
        for x in (0.5, 0.8, 0.95, 0.99)
    ]
    for inner, outer in itertools.pairwise(limits):
        assert outer.low <= inner.low <= inner.high <= outer.high


@pytest.mark.parametrize(
    ("method", "alternative"),
    [
        *itertools.product(sorted({*METHODS} - {"symmetric"}), ["two-sided", "greater", "less"]),
        ("symmetric", "two-sided"),
    ],
)
def test_p_value_falls_below_alpha_exactly_when_the_interval_excludes_zero(method, alternative):
    rng = np.random.default_rng(2)
    draws = rng.gamma(20.0, size=1999) / 20**0.5  # skewed, variance 1
    draws -= draws.mean()
    options = {"method": method, "alternative": alternative, "se": 1.0, "df": 30}
    options |= {"influence": INFLUENCE, "replicate_se": rng.uniform(0.8, 1.2, 1999)}
    for observed in np.linspace(-4, 4, 41):
        shifted = draws + observed
        found = confidence_interval(observed, shifted, **options)
        p = p_value(observed, shifted, **options)
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
    for method in METHODS:
        options = {"method": method, "df": 9, "influence": INFLUENCE}
        assert confidence_interval(
            2.0, holes, replicate_se=np.append(ERRORS, np.ones(50)), **options
        ) == confidence_interval(2.0, DRAWS, replicate_se=ERRORS, **options)
    assert np.isnan(confidence_interval(2.0, np.full(9, np.nan)).low)
    assert np.isnan(confidence_interval(np.nan, DRAWS).high)
    blind = {"method": "studentized", "replicate_se": np.zeros(2000), "se": 1.0}
    assert np.isnan(confidence_interval(2.0, DRAWS, **blind).low)
    assert np.isnan(p_value(2.0, DRAWS, df=9, **blind))


@pytest.mark.parametrize("method", ["se-t", "percentile"])
def test_monte_carlo_error_is_the_spread_of_limits_over_resampling_runs(method):
    rng = np.random.default_rng(3)
    limits = [
        confidence_interval(0.0, rng.standard_normal(400), method=method, df=40).high
        for _ in range(600)
    ]
    options = {"se": 1.0, "df": 40, "level": 0.95, "n_resamples": 400}
    assert np.std(limits) == pytest.approx(monte_carlo_error(method, **options), rel=0.15)
    assert monte_carlo_error("analytic", **options) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "bcaa"}, "'bcaa'; allowed: se-t, percentile, basic, symmetric, bca, student"),
        ({"method": "bca"}, "'bca' needs influence"),
        ({"method": "studentized", "se": 1.0}, "'studentized' needs replicate_se"),
        ({"method": "studentized", "replicate_se": ERRORS}, "'studentized' needs influence, or se"),
        ({"method": "analytic"}, "'analytic' needs influence, or se"),
        ({"method": "symmetric", "alternative": "less"}, "'symmetric' is two-sided"),
        ({"level": 95}, "level must lie between 0 and 1, such as 0.95; found 95"),
        ({"alternative": "larger"}, "'larger'; allowed: two-sided, greater, less"),
    ],
)
def test_options_name_what_is_allowed(options, message):
    with pytest.raises(StatsError, match=message):
        confidence_interval(0.0, DRAWS, **options)

"""Equivalence against statsmodels; detectable effects against the noncentral t distribution."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from lightning_dna.errors import StatsError
from lightning_dna.stats.power import (
    design_effect,
    minimum_detectable_effect,
    required_units,
    tost,
    verdict,
)


@pytest.mark.parametrize("shift", [0.0, 0.05, -0.12, 0.5])
@pytest.mark.parametrize("n_units", [12, 200])
def test_tost_of_a_mean_equals_statsmodels(shift, n_units):
    rng = np.random.default_rng(n_units)
    first = rng.standard_normal(n_units)
    second = first + 0.4 * rng.standard_normal(n_units) + shift
    expected = ttost_paired(first, second, -0.15, 0.15)[0]
    difference = first - second
    se = difference.std(ddof=1) / n_units**0.5
    found = tost(difference.mean(), se, n_units - 1, margin=0.15)
    assert found.p == pytest.approx(expected, rel=1e-9)
    assert found.equivalent == (expected < 0.05)
    reach = stats.t.ppf(0.95, n_units - 1) * se  # the 90% interval
    assert (found.low, found.high) == pytest.approx(
        (difference.mean() - reach, difference.mean() + reach)
    )


def test_tost_without_variance_or_with_a_bad_margin():
    assert tost(0.01, 0.0, 9, margin=0.02).equivalent
    assert not tost(0.03, 0.0, 9, margin=0.02).equivalent
    assert not tost(0.0, float("nan"), 9, margin=0.02).equivalent
    for margin in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(StatsError, match="margin must be a number above 0"):
            tost(0.0, 1.0, 9, margin=margin)


@pytest.mark.parametrize("power", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("df", [100, 1999])
def test_power_at_the_minimum_detectable_effect(df, power):
    effect = minimum_detectable_effect(0.013, df, power=power)
    critical, shift = stats.t.ppf(0.975, df), effect / 0.013
    exact = stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift)
    assert exact == pytest.approx(power, abs=0.01)
    one_sided = minimum_detectable_effect(0.013, df, power=power, alternative="greater")
    assert stats.nct.sf(stats.t.ppf(0.95, df), df, one_sided / 0.013) == pytest.approx(
        power, abs=0.01
    )


def test_power_at_the_minimum_detectable_effect_by_simulation():
    rng = np.random.default_rng(0)
    n_units, spread = 150, 1.0
    effect = minimum_detectable_effect(spread / n_units**0.5, n_units - 1)
    data = rng.normal(effect, spread, (4000, n_units))
    rejected = (stats.ttest_1samp(data, 0, axis=1).pvalue < 0.05).mean()
    assert rejected == pytest.approx(0.8, abs=0.02)


def test_required_units_scale_with_the_square_of_the_effect():
    detectable = minimum_detectable_effect(0.01, 500)
    assert required_units(detectable, se=0.01, df=500, n_units=2000) == 2000
    assert required_units(detectable / 2, se=0.01, df=500, n_units=2000) == 8000
    assert required_units(-detectable * 3, se=0.01, df=500, n_units=2000) == 223  # 2000 / 9, up
    assert required_units(100.0, se=0.01, df=500, n_units=2000) == 2
    with pytest.raises(StatsError, match="infinitely many"):
        required_units(0.0, se=0.01, df=500, n_units=2000)


def test_design_effect_of_equal_members_is_the_cluster_size():
    values = np.random.default_rng(1).standard_normal(400)
    values -= values.mean()
    found = design_effect(5 * values, np.repeat(values, 5))
    assert found == pytest.approx(5 * (400 / 399) / (2000 / 1999))
    assert design_effect(values, values) == 1
    assert np.isnan(design_effect(np.zeros(4), np.zeros(8)))
    assert np.isnan(design_effect(np.ones(1), np.ones(8)))


@pytest.mark.parametrize(
    ("delta", "p", "equivalent", "greater", "expected"),
    [
        (0.1, 0.01, False, True, "better"),
        (-0.1, 0.01, False, True, "worse"),
        (-0.1, 0.01, False, False, "better"),
        (0.1, 0.01, False, False, "worse"),
        (0.1, 0.06, False, True, "inconclusive"),
        (0.1, float("nan"), False, True, "inconclusive"),
        (0.0, 0.01, False, True, "inconclusive"),
        (0.001, 0.0001, True, True, "equivalent"),
        (0.001, 0.9, True, True, "equivalent"),
    ],
)
def test_verdict(delta, p, equivalent, greater, expected):
    assert verdict(delta, p, equivalent=equivalent, greater_is_better=greater) == expected

"""Decisions and plans against statsmodels, the noncentral t distribution and simulated studies."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower
from statsmodels.stats.weightstats import ttost_paired

from lightning_dna.errors import StatsError
from lightning_dna.stats.noise_model import NoiseModel
from lightning_dna.stats.planning import (
    detectable_effects,
    optimal_split,
    paired_accuracy_se,
    required_seeds,
    unpaired_accuracy_se,
)
from lightning_dna.stats.power import (
    design_effect,
    equivalence_power,
    minimum_detectable_effect,
    non_inferiority,
    power_of,
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
    with pytest.raises(StatsError, match="cannot be below 0; found -1"):
        tost(0.0, -1.0, 9, margin=0.1)


@pytest.mark.parametrize("greater", [True, False])
@pytest.mark.parametrize("shift", [0.1, -0.02, -0.3])
def test_non_inferiority_is_one_half_of_statsmodels_tost(shift, greater):
    rng = np.random.default_rng(5)
    second = rng.standard_normal(80)
    first = second + 0.3 * rng.standard_normal(80) + (shift if greater else -shift)
    halves = ttost_paired(first, second, -0.15, 0.15)[1:]
    expected = halves[0][1] if greater else halves[1][1]
    difference = first - second
    se = difference.std(ddof=1) / 80**0.5
    found = non_inferiority(difference.mean(), se, 79, 0.15, greater_is_better=greater)
    assert found.p == pytest.approx(expected, rel=1e-9)
    assert found.non_inferior == (expected < 0.05)
    side = -1 if greater else 1
    assert found.limit == pytest.approx(difference.mean() + side * stats.t.ppf(0.95, 79) * se)


def test_non_inferiority_without_variance_or_with_a_bad_margin():
    assert non_inferiority(-0.01, 0.0, 9, 0.02).non_inferior
    assert non_inferiority(-0.03, 0.0, 9, 0.02).p == 1
    assert not non_inferiority(0.0, math.nan, 9, 0.02).non_inferior
    with pytest.raises(StatsError, match="non-inferiority margin must be a number above 0"):
        non_inferiority(0.0, 1.0, 9, 0.0)


@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("df", [1, 2.5, 4, 30, 1999])
def test_power_at_the_minimum_detectable_effect_is_that_of_the_noncentral_t(df, power):
    effect = minimum_detectable_effect(0.013, df, power=power, exact=True)
    assert stats.nct.sf(stats.t.ppf(0.975, df), df, effect / 0.013) == pytest.approx(
        power, rel=1e-6
    )
    one_sided = minimum_detectable_effect(0.013, df, power=power, alternative="greater", exact=True)
    assert stats.nct.sf(stats.t.ppf(0.95, df), df, one_sided / 0.013) == pytest.approx(
        power, rel=1e-6
    )


def test_the_minimum_detectable_effect_tends_to_the_usual_sum_of_quantiles():
    usual = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert minimum_detectable_effect(1.0, math.inf) == pytest.approx(usual)
    of_t = stats.t.ppf(0.975, 500) + stats.norm.ppf(0.8)
    assert minimum_detectable_effect(1.0, 500) == pytest.approx(of_t, rel=1e-12)
    assert minimum_detectable_effect(1.0, 500, exact=True) == pytest.approx(of_t, rel=1e-3)
    for power, alpha in [(1.0, 0.05), (0.05, 0.05), (0.8, 0.0), (math.nan, 0.05)]:
        with pytest.raises(StatsError, match="power must lie between"):
            minimum_detectable_effect(1.0, 9, alpha=alpha, power=power)


@pytest.mark.parametrize("n_units", [5, 150])
def test_power_in_simulated_studies(n_units):
    rng = np.random.default_rng(0)
    se, df = 1 / n_units**0.5, n_units - 1
    effect = minimum_detectable_effect(se, df, exact=True)
    data = rng.standard_normal((20_000, n_units))
    found = (stats.ttest_1samp(data + effect, 0, axis=1).pvalue < 0.05).mean()
    assert found == pytest.approx(0.8, abs=0.01)
    found = (stats.ttest_1samp(data + effect / 2, 0, axis=1).pvalue < 0.05).mean()
    assert power_of(effect / 2, se, df) == pytest.approx(found, abs=0.01)


@pytest.mark.parametrize("effect", [0.0, 0.4, -0.7])
def test_power_equals_statsmodels(effect):
    for alternative, name in [
        ("two-sided", "two-sided"),
        ("greater", "larger"),
        ("less", "smaller"),
    ]:
        expected = TTestPower().power(effect, 12, 0.05, alternative=name)
        found = power_of(effect, 1 / 12**0.5, 11, alternative=alternative)
        assert found == pytest.approx(expected, abs=1e-9)
    assert power_of(0.0, 1.0, 7) == pytest.approx(0.05)
    assert power_of(1.0, 1.0, math.inf) == pytest.approx(
        stats.norm.sf(1.959964 - 1) + stats.norm.cdf(-1.959964 - 1), abs=1e-6
    )
    with pytest.raises(StatsError, match="standard error above 0"):
        power_of(1.0, 0.0, 9)


# Simulated in the specification: share of studies declared equivalent at margin 0.02, 10%
# discordance, with no true difference.
@pytest.mark.parametrize(("n_units", "expected"), [(500, 0.0), (2000, 0.755), (10_000, 1.0)])
def test_equivalence_power_of_the_specification(n_units, expected):
    se = paired_accuracy_se(0.1, n_units)
    assert equivalence_power(0.02, se, n_units - 1) == pytest.approx(expected, abs=0.02)


def test_equivalence_power_in_simulated_studies():
    rng = np.random.default_rng(1)
    data = rng.normal(0.1, 1.0, (20_000, 40))
    centre, se = data.mean(axis=1), data.std(axis=1, ddof=1) / 40**0.5
    reach = stats.t.ppf(0.95, 39) * se
    declared = ((centre - reach > -0.5) & (centre + reach < 0.5)).mean()
    assert equivalence_power(0.5, 1 / 40**0.5, 39, effect=0.1) == pytest.approx(declared, abs=0.01)
    assert equivalence_power(0.1, 1.0, 39) == 0


def test_required_units_scale_with_the_square_of_the_effect():
    detectable = minimum_detectable_effect(0.01, 500)
    assert required_units(detectable, se=0.01, df=500, n_units=2000) == 2000
    assert required_units(detectable / 2, se=0.01, df=500, n_units=2000) == 8000
    assert required_units(-detectable * 3, se=0.01, df=500, n_units=2000) == 223  # 2000 / 9, up
    assert required_units(100.0, se=0.01, df=500, n_units=2000) == 2
    with pytest.raises(StatsError, match="infinitely many"):
        required_units(0.0, se=0.01, df=500, n_units=2000)
    with pytest.raises(StatsError, match="degrees of freedom above 0, not 0"):
        required_units(0.1, se=0.01, df=0, n_units=2000)
    with pytest.raises(StatsError, match="needs a standard error and df; found nan and 9"):
        required_units(0.1, se=math.nan, df=9, n_units=2000)


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


# The table of the specification: (z_.975 + z_.80) sqrt(discordance / n); two sets at accuracy .85.
MDE_TABLE = {
    200: (0.0280, 0.0443, 0.0626, 0.0886, 0.1000),
    500: (0.0177, 0.0280, 0.0396, 0.0560, 0.0633),
    1000: (0.0125, 0.0198, 0.0280, 0.0396, 0.0447),
    2000: (0.0089, 0.0140, 0.0198, 0.0280, 0.0316),
    5000: (0.0056, 0.0089, 0.0125, 0.0177, 0.0200),
    20000: (0.0028, 0.0044, 0.0063, 0.0089, 0.0100),
    100000: (0.0013, 0.0020, 0.0028, 0.0040, 0.0045),
}


@pytest.mark.parametrize("n_examples", MDE_TABLE)
def test_detectable_differences_of_accuracies(n_examples):
    errors = [paired_accuracy_se(p, n_examples) for p in (0.02, 0.05, 0.1, 0.2)]
    errors.append(unpaired_accuracy_se(0.85, 0.85, n_examples))
    found = [minimum_detectable_effect(se, math.inf) for se in errors]
    assert found == pytest.approx(MDE_TABLE[n_examples], abs=5.1e-5)


def test_standard_error_of_paired_accuracies_is_that_of_the_differences():
    differences = np.repeat([1.0, -1.0, 0.0], [30, 10, 160])  # discordance .2, effect .1
    expected = differences.std() / 200**0.5
    assert paired_accuracy_se(0.2, 200, effect=0.1) == pytest.approx(expected)
    assert paired_accuracy_se(0.2, 200, effect=0.1, design_effect=4) == pytest.approx(2 * expected)
    for options in [{"discordance": 1.1}, {"effect": 0.3}, {"n_examples": 0}, {"design_effect": 0}]:
        with pytest.raises(StatsError):
            paired_accuracy_se(**{"discordance": 0.2, "n_examples": 100, **options})
    with pytest.raises(StatsError, match="accuracy must lie between"):
        unpaired_accuracy_se(0.5, -0.1, 100)


def test_examples_for_a_discordance_alone():
    found = required_units(0.02, se=paired_accuracy_se(0.1, 1), df=math.inf, n_units=1)
    assert found == math.ceil((1.959964 + 0.841621) ** 2 * 0.1 / 0.02**2)


SEEDS_ONLY = {"sigma2_example": 0.0, "sigma2_residual": 0.0}


def test_seeds_that_are_the_only_noise_are_those_of_a_t_test():
    for effect in (0.6, 1.0, 2.0):  # in standard deviations between seeds
        independent = TTestIndPower().solve_power(effect, power=0.8, alpha=0.05)
        noise = NoiseModel(sigma2_seed=2.0, **SEEDS_ONLY)  # 1 in each arm
        assert required_seeds(effect, noise, n_units=1000) == math.ceil(independent)
        paired = TTestPower().solve_power(effect, power=0.8, alpha=0.05)
        noise = NoiseModel(sigma2_seed=1.0, seed_groups=1, **SEEDS_ONLY)
        assert required_seeds(-effect, noise, n_units=1000) == math.ceil(paired)


def test_examples_that_are_the_only_noise_are_those_of_a_t_test():
    noise = NoiseModel(sigma2_example=1.0, sigma2_seed=0.0)
    expected = math.ceil(TTestPower().solve_power(0.3, power=0.8, alpha=0.05))
    found = optimal_split(0.3, noise, cost_per_unit=1.0, cost_per_seed=1.0)
    assert (found.n_units, found.n_seeds, found.cost) == (expected, 2, expected + 2)


def test_required_seeds_reach_the_power_and_one_less_does_not():
    noise = NoiseModel(sigma2_example=0.05, sigma2_seed=0.0004, sigma2_residual=0.05)
    effect, n_units = 0.025, 2000
    seeds = required_seeds(effect, noise, n_units=n_units)

    def power(s):
        between = (0.0004 + 0.05 / n_units) / s
        example = (0.05 + 0.05 / s) / n_units
        total = example + 0.0004 / s
        df = total**2 / (2 * (between / 2) ** 2 / (s - 1) + example**2 / (n_units - 1))
        return stats.nct.sf(stats.t.ppf(0.975, df), df, effect / total**0.5)

    assert power(seeds - 1) < 0.8 <= power(seeds)
    with pytest.raises(StatsError, match=r"no number of seeds detects 0\.01 on 2000 units"):
        required_seeds(0.01, noise, n_units=n_units)
    for effect in (0.0, math.nan):
        with pytest.raises(StatsError, match="effect that is not 0"):
            required_seeds(effect, noise, n_units=n_units)


def test_planned_power_is_that_of_simulated_crossed_studies():
    rng = np.random.default_rng(6)
    noise = NoiseModel(sigma2_example=1.0, sigma2_seed=0.02, sigma2_residual=2.0)
    n_units, n_seeds, size = 200, 4, 4000
    plan = detectable_effects(noise, n_units=[n_units], n_seeds=[n_seeds])[0]
    rejected = 0
    for _ in range(size):
        tables = [
            rng.normal(0, 0.1, n_seeds) + rng.standard_normal((n_units, n_seeds)) for _ in range(2)
        ]
        common = rng.standard_normal(n_units) + plan.detectable
        shares = [table.mean(axis=0).var(ddof=1) / n_seeds for table in tables]
        inner = [t - t.mean(axis=0) - t.mean(axis=1, keepdims=True) + t.mean() for t in tables]
        residual = sum((x**2).sum() / ((n_units - 1) * (n_seeds - 1)) for x in inner)
        residual /= n_units * n_seeds
        paired = common + tables[0].mean(axis=1) - tables[1].mean(axis=1)
        example = paired.var(ddof=1) / n_units
        total = example + max(sum(shares) - residual, 0)
        spread = sum(x**2 for x in shares) / (n_seeds - 1) + example**2 / (n_units - 1)
        critical = stats.t.ppf(0.975, max(total**2 / spread, n_seeds - 1))
        rejected += abs(paired.mean()) > critical * total**0.5
    assert rejected / size == pytest.approx(0.8, abs=0.03)


def test_optimal_split_is_the_cheapest_of_all_studies():
    noise = NoiseModel(sigma2_example=0.5, sigma2_seed=0.02, sigma2_residual=1.0)
    prices = {"cost_per_unit": 1.0, "cost_per_seed": 20.0, "cost_per_evaluation": 0.1}
    found = optimal_split(0.3, noise, **prices)
    grid = detectable_effects(noise, n_units=range(2, 400), n_seeds=range(2, 15))
    costs = [
        s.n_units + 20 * s.n_seeds + 0.1 * s.n_units * s.n_seeds
        for s in grid
        if s.detectable <= 0.3
    ]
    assert found.cost == pytest.approx(min(costs))
    assert found.detectable <= 0.3
    assert 2 < found.n_seeds < 14
    with pytest.raises(StatsError, match="is not detected with up to 50 units and 3 seeds"):
        optimal_split(0.3, noise, **prices, max_units=50, max_seeds=3)
    with pytest.raises(StatsError, match="costs must be 0 or more"):
        optimal_split(0.3, noise, cost_per_unit=-1, cost_per_seed=1)
    with pytest.raises(StatsError, match="2 or more seeds; found 100 and 1"):
        detectable_effects(noise, n_units=[100], n_seeds=[1])

"""Variances against the two-way analysis of variance, with every resample listed."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lightning_dna.errors import StatsError
from lightning_dna.stats.noise_model import NoiseModel
from lightning_dna.stats.variance import (
    Arm,
    crossed_components,
    crossed_variance,
    effective_df,
    example_variance,
    variance_components,
)

N_UNITS = 4


def exhaustive_arm(table, counts, sign=1):
    """Replicates of the column means of an (examples, seeds) table over all n^n resamples."""
    values = counts @ table / len(table)
    # ddof=1 over the full list: undo it, the list is the whole law
    centre = values.mean(axis=0)
    values = centre + (values - centre) * ((len(values) - 1) / len(values)) ** 0.5
    return Arm(values=values, observed=table.mean(axis=0), sign=sign)


def mean_squares(table):
    """Mean squares of examples, seeds and residual of a balanced two-way layout."""
    n, s = table.shape
    grand, rows, columns = table.mean(), table.mean(axis=1), table.mean(axis=0)
    residual = table - rows[:, None] - columns + grand
    return (
        s * ((rows - grand) ** 2).sum() / (n - 1),
        n * ((columns - grand) ** 2).sum() / (s - 1),
        (residual**2).sum() / ((n - 1) * (s - 1)),
    )


@pytest.mark.parametrize("seed", range(5))
def test_one_arm_equals_the_analysis_of_variance(all_resamples, seed):
    rng = np.random.default_rng(seed)
    n, s = N_UNITS, 3
    table = rng.standard_normal((n, s)) + 2 * rng.standard_normal((n, 1)) + rng.standard_normal(s)
    found = crossed_variance(
        [exhaustive_arm(table, all_resamples(n))], correction=n / (n - 1), example_df=n - 1
    )
    of_example, of_seed, of_residual = mean_squares(table)
    assert found.example == pytest.approx(of_example / (n * s), rel=1e-6)
    assert found.residual == pytest.approx(of_residual / (n * s), rel=1e-6)
    assert found.seed == pytest.approx(max(of_seed - of_residual, 0) / (n * s), rel=1e-6, abs=1e-12)
    if found.seed > 0:
        assert found.total == pytest.approx(
            (of_example + of_seed - of_residual) / (n * s), rel=1e-6
        )
    by_hand = found.total**2 / (
        (of_seed / (n * s)) ** 2 / (s - 1) + (of_example / (n * s)) ** 2 / (n - 1)
    )
    assert found.df == pytest.approx(by_hand, rel=1e-6)


def test_two_arms_share_examples_and_not_seeds(all_resamples):
    rng = np.random.default_rng(9)
    n = N_UNITS
    common = 3 * rng.standard_normal((n, 1))
    first = common + rng.standard_normal((n, 2)) + 3 * rng.standard_normal(2)
    second = common + rng.standard_normal((n, 4)) + 3 * rng.standard_normal(4)
    counts = all_resamples(n)
    found = crossed_variance(
        [exhaustive_arm(first, counts), exhaustive_arm(second, counts, -1)],
        correction=n / (n - 1),
        example_df=n - 1,
    )
    paired = first.mean(axis=1) - second.mean(axis=1)
    assert found.example == pytest.approx(paired.var(ddof=1) / n, rel=1e-6)
    seed = sum(
        (mean_squares(table)[1] - mean_squares(table)[2]) / table.size for table in (first, second)
    )
    assert found.seed == pytest.approx(seed, rel=1e-6)


def test_paired_seeds_are_one_table_of_differences(all_resamples):
    rng = np.random.default_rng(10)
    shared = 5 * rng.standard_normal(3)
    first, second = (rng.standard_normal((N_UNITS, 3)) + shared for _ in range(2))
    counts = all_resamples(N_UNITS)
    arms = [exhaustive_arm(first, counts), exhaustive_arm(second, counts, -1)]
    options = {"correction": 4 / 3, "example_df": 3}
    paired = crossed_variance(arms, paired_seeds=True, **options)
    direct = crossed_variance([exhaustive_arm(first - second, counts)], **options)
    assert paired.total == pytest.approx(direct.total, rel=1e-6)
    assert paired.df == pytest.approx(direct.df, rel=1e-6)
    assert paired.total < crossed_variance(arms, **options).total


def test_limits_without_seed_or_residual_variance(all_resamples):
    rng = np.random.default_rng(11)
    counts = all_resamples(N_UNITS)
    options = {"correction": 4 / 3, "example_df": 3}
    column = rng.standard_normal((N_UNITS, 1))
    same = crossed_variance([exhaustive_arm(np.repeat(column, 3, axis=1), counts)], **options)
    assert same.seed == 0
    assert same.residual == 0
    assert same.df == pytest.approx(3)
    assert same.example == pytest.approx(column.var(ddof=1) / N_UNITS, rel=1e-6)
    shifted = column + np.array([0.0, 1.0, 5.0])  # seeds differ by the same on every example
    found = crossed_variance([exhaustive_arm(shifted, counts)], **options)
    assert found.residual == pytest.approx(0, abs=1e-12)
    assert found.seed == pytest.approx(np.var([0, 1, 5], ddof=1) / 3, rel=1e-6)


def test_errors_of_seeds():
    one = Arm(values=np.zeros((9, 1)), observed=np.zeros(1))
    two = Arm(values=np.zeros((9, 2)), observed=np.zeros(2))
    with pytest.raises(StatsError, match="needs 2 or more seeds"):
        crossed_variance([one, two], correction=1, example_df=5)
    three = Arm(values=np.zeros((9, 3)), observed=np.zeros(3), sign=-1)
    with pytest.raises(StatsError, match="same seeds in both arms"):
        crossed_variance([two, three], correction=1, example_df=5, paired_seeds=True)


def test_replicates_that_differ_by_rounding_have_no_variance():
    values = 0.3 + np.array([[0.0], [1e-17], [0.0]])
    arm = Arm(values=values + 1e-16 * np.arange(3)[:, None], observed=np.array([0.3]))
    assert example_variance([arm], 1.0) == 0
    tiny = Arm(values=np.array([[1e-20], [2e-20], [4e-20]]), observed=np.array([2e-20]))
    assert example_variance([tiny], 1.0) == pytest.approx(np.var([1, 2, 4], ddof=1) * 1e-40)


def test_effective_df():
    assert effective_df(np.array([1.0, -1.0] * 10)) == 19  # equal sizes: n - 1
    normal = np.random.default_rng(0).standard_normal(20_000)
    assert effective_df(normal) == pytest.approx(20_000, rel=0.05)
    heavy = np.array([10.0, *np.full(99, 0.01)])
    assert effective_df(heavy) == pytest.approx(2 / (1 - 1 / 100), rel=0.01)  # one unit carries all
    u = np.array([3.0, -1.0, -1.0, -1.0])
    assert effective_df(u) == pytest.approx(min(3, 2 * 12**2 / (84 - 12**2 / 4)))
    assert np.isnan(effective_df(np.array([1.0])))
    assert effective_df(np.zeros(5)) == 4


def test_effective_df_of_parts_is_satterthwaite():
    rng = np.random.default_rng(1)
    first, second = np.sign(rng.standard_normal(10)), 2 * np.sign(rng.standard_normal(40))
    found = effective_df(np.concatenate([first, second]), parts=(10, 40))
    assert found == pytest.approx((10 + 160) ** 2 / (10**2 / 9 + 160**2 / 39))


def test_components_of_a_real_pair(summed, resample):
    rng = np.random.default_rng(12)
    n, s = 300, 4
    example, seeds = rng.standard_normal((n, 1)), 0.5 * rng.standard_normal((2, s))
    tables = [example + seeds[i] + 0.3 * rng.standard_normal((n, s)) for i in range(2)]
    task = summed({"a": list(tables[0].T), "b": list(tables[1].T)})
    reps = resample(task, ["mean"], n_resamples=4000)
    found = variance_components(reps, "a", "b", metric="mean")
    seed = sum((mean_squares(t)[1] - mean_squares(t)[2]) / t.size for t in tables)
    assert found.seed == pytest.approx(seed, rel=0.02)
    paired = tables[0].mean(axis=1) - tables[1].mean(axis=1)
    assert found.example == pytest.approx(paired.var(ddof=1) / n, rel=0.1)
    assert found.df < 8


def test_two_arms_equal_obuchowski_and_rockette(all_resamples):
    """Between-seed variances plus jackknife covariances of different seeds (Hillis 2007)."""
    rng = np.random.default_rng(13)
    n = N_UNITS
    common = 2 * rng.standard_normal((n, 1))
    tables = [common + rng.standard_normal((n, s)) + 3 * rng.standard_normal(s) for s in (3, 2)]
    covariance = np.cov(np.hstack(tables).T) / n  # of means: the jackknife gives the same
    within = [covariance[:3, :3], covariance[3:, 3:]]
    expected = -2 * covariance[:3, 3:].mean()  # Cov3
    for table, block in zip(tables, within, strict=True):
        expected += table.mean(axis=0).var(ddof=1) / table.shape[1]
        expected += block[~np.eye(len(block), dtype=bool)].mean()  # Cov2
    counts = all_resamples(n)
    found = crossed_variance(
        [exhaustive_arm(tables[0], counts), exhaustive_arm(tables[1], counts, -1)],
        correction=n / (n - 1),
        example_df=n - 1,
    )
    assert found.seed > 0
    assert found.total == pytest.approx(expected, rel=1e-6)


@pytest.fixture(scope="module")
def exhaustive_pair(summed, resample, all_resamples):
    """Replicates of two arms over all resamples, and their (examples, seeds) tables."""
    rng = np.random.default_rng(14)
    common = 3 * rng.standard_normal((N_UNITS, 1))
    tables = [
        common + rng.standard_normal((N_UNITS, 3)) + 4 * rng.standard_normal(3) for _ in range(2)
    ]
    task = summed({"a": list(tables[0].T), "b": list(tables[1].T)})
    counts = all_resamples(N_UNITS)
    values = np.stack([exhaustive_arm(table, counts).values for table in tables], axis=1)
    return replace(resample(task, ["mean"], n_resamples=9), values=values[..., None]), tables


def test_noise_model_is_the_analysis_of_variance_per_example_and_seed(exhaustive_pair):
    reps, tables = exhaustive_pair
    found = variance_components(reps, "a", "b", metric="mean")
    for name, table in zip("ab", tables, strict=True):
        of_example, of_seed, of_residual = mean_squares(table)
        arm = found.arms[name]
        assert arm.sigma2_residual == pytest.approx(of_residual, rel=1e-6)
        assert arm.sigma2_seed == pytest.approx((of_seed - of_residual) / N_UNITS, rel=1e-6)
        assert arm.sigma2_example == pytest.approx(max(of_example - of_residual, 0) / 3, rel=1e-6)
        assert arm.seed_groups == 1
    difference = tables[0].mean(axis=1) - tables[1].mean(axis=1)
    residual = sum(mean_squares(table)[2] for table in tables)
    assert found.noise.sigma2_residual == pytest.approx(residual, rel=1e-6)
    assert found.noise.sigma2_example == pytest.approx(
        max(difference.var(ddof=1) - residual / 3, 0), rel=1e-6
    )
    assert found.noise.seed_groups == 2


def test_noise_model_of_the_study_itself_gives_back_its_variance(exhaustive_pair):
    reps, _ = exhaustive_pair
    for paired in (False, True):
        found = variance_components(reps, "a", "b", metric="mean", paired_seeds=paired)
        assert found.noise.seed_groups == (1 if paired else 2)
        if found.noise.sigma2_example > 0:
            assert found.noise.variance(N_UNITS, 3) == pytest.approx(found.total, rel=1e-9)
        assert found.total == found.example + found.seed


def test_noise_model_of_other_sizes():
    noise = NoiseModel(sigma2_example=4.0, sigma2_seed=0.3, sigma2_residual=6.0)
    assert noise.variance(100, 3) == pytest.approx(0.04 + 0.1 + 0.02)
    # two arms: each between-seed share (.3 + .06) / 3 / 2 = .06; examples .06
    assert noise.df(100, 3) == pytest.approx(0.16**2 / (2 * 0.06**2 / 2 + 0.06**2 / 99))
    paired = replace(noise, seed_groups=1)
    assert paired.df(100, 3) == pytest.approx(max(0.16**2 / (0.12**2 / 2 + 0.06**2 / 99), 2))
    with pytest.raises(StatsError, match="sigma2_seed must be 0 or more"):
        replace(noise, sigma2_seed=-0.1)
    with pytest.raises(StatsError, match="sigma2_example must be 0 or more"):
        replace(noise, sigma2_example=float("nan"))
    with pytest.raises(StatsError, match="seed_groups must be 1 or 2"):
        replace(noise, seed_groups=3)


def test_degrees_of_freedom_never_fall_below_those_of_the_seeds():
    # The residual takes nearly all off: the formula alone would give 0.13.
    options = {"example": 0.01, "example_df": 99, "seed_df": [2, 2]}
    assert crossed_components(shares=[0.5, 0.5], residual=0.75, **options).df == 2
    assert crossed_components(shares=[0.5, 0.5], residual=0.0, **options).df > 3.9
    options["example_df"] = 1
    assert crossed_components(shares=[0.5, 0.5], residual=0.75, **options).df == 1


@pytest.mark.parametrize("n_seeds", [2, 3, 10])
@pytest.mark.parametrize("seed_sd", [0.0, 0.03, 0.1])
def test_equal_procedures_do_not_differ_too_often(n_seeds, seed_sd):
    """Correct or not by a probit model with shared examples, as in the specification."""
    rng = np.random.default_rng(15)
    n, size, rejected, naive = 120, 500, 0, 0
    for _ in range(size):
        hard = 1.2 + rng.standard_normal((n, 1))
        tables = [
            (
                hard
                + 0.25 * rng.standard_normal((n, 1))
                + seed_sd * rng.standard_normal(n_seeds)
                + 0.35 * rng.standard_normal((n, n_seeds))
                > 0
            ).astype(float)
            for _ in range(2)
        ]
        difference = tables[0].mean(axis=1) - tables[1].mean(axis=1)
        example = difference.var(ddof=1) / n
        found = crossed_components(
            example=example,
            example_df=n - 1,
            shares=[table.mean(axis=0).var(ddof=1) / n_seeds for table in tables],
            residual=sum(mean_squares(table)[2] for table in tables) / (n * n_seeds),
            seed_df=[n_seeds - 1] * 2,
        )
        rejected += abs(difference.mean()) > stats.t.ppf(0.975, found.df) * found.total**0.5
        naive += abs(difference.mean()) > stats.t.ppf(0.975, n - 1) * example**0.5
    limit = 0.05 + 3 * (0.05 * 0.95 / size) ** 0.5
    assert rejected / size <= limit
    if seed_sd == 0.1:
        assert naive / size > limit  # examples alone do not know about seeds

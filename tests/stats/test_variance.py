"""Variances against the two-way analysis of variance, with every resample listed."""

import numpy as np
import pytest

from lightning_dna.errors import StatsError
from lightning_dna.stats.variance import (
    Arm,
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

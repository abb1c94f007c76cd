"""The exchange test against listing by hand, the binomial law and exact McNemar."""

import numpy as np
import pytest
from scipy import stats

from lightning_dna.stats.exchange import exchange_p_value


def exchange(reps, **options):
    seeds = np.arange(len(reps.seeds))
    defaults = {"n_resamples": 9999, "seed": 0}
    return exchange_p_value(
        reps.statistics, reps.metrics[0], 0, (0, seeds), (1, seeds), **{**defaults, **options}
    )


@pytest.mark.parametrize(("wins", "losses"), [(3, 0), (5, 1), (7, 4), (2, 2)])
def test_listed_exchanges_equal_exact_mcnemar(labelled, resample, wins, losses):
    y_true = np.ones(30, dtype=int)
    first, second = y_true.copy(), y_true.copy()
    second[:wins] = 0
    first[wins : wins + losses] = 0
    reps = resample(labelled(y_true, {"a": [first], "b": [second]}), ["accuracy"])
    expected = stats.binomtest(wins, wins + losses).pvalue
    assert exchange(reps) == pytest.approx(expected, rel=1e-12)
    one_sided = stats.binomtest(wins, wins + losses, alternative="greater").pvalue
    assert exchange(reps, alternative="greater") == pytest.approx(one_sided, rel=1e-12)
    other_side = stats.binomtest(wins, wins + losses, alternative="less").pvalue
    assert exchange(reps, alternative="less") == pytest.approx(other_side, rel=1e-12)


def test_drawn_exchanges_are_close_to_exact_mcnemar(labelled, resample):
    y_true = np.ones(60, dtype=int)
    first, second = y_true.copy(), y_true.copy()
    second[:20] = 0
    first[20:30] = 0
    reps = resample(labelled(y_true, {"a": [first], "b": [second]}), ["accuracy"])
    expected = stats.binomtest(20, 30).pvalue
    assert exchange(reps) == pytest.approx(expected, abs=0.012)
    assert exchange(reps) == exchange(reps)
    assert exchange(reps) != exchange(reps, seed=1)


def test_drawn_p_is_never_zero(labelled, resample):
    y_true = np.ones(40, dtype=int)
    reps = resample(labelled(y_true, {"a": [y_true], "b": [1 - y_true]}), ["accuracy"])
    assert exchange(reps, n_resamples=99) == 1 / 100


def test_seeds_of_one_example_move_together(summed, resample):
    numerators = [np.array([1.0, 2.0, 0.0]), np.array([0.0, 4.0, 1.0])]
    reps = resample(summed({"a": numerators, "b": [np.zeros(3), np.zeros(3)]}), ["mean"])
    # Differences of seed means per example: 0.5, 3, 0.5; signs +++ reach 4, +-+ reaches -2 ...
    per_example = np.array([0.5, 3.0, 0.5])
    signs = np.array(np.meshgrid(*[[1, -1]] * 3)).reshape(3, -1).T
    expected = (np.abs(signs @ per_example) >= 4 - 1e-9).mean()
    assert exchange(reps) == pytest.approx(expected)

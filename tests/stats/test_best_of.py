"""Expected best of n: against all subsets, a closed form, and coverage."""

import itertools
import math

import numpy as np
import pytest

from lightning_dna.stats.best_of import best_of_weights, expected_best


@pytest.mark.parametrize("total", [1, 2, 5, 7])
def test_it_is_the_mean_of_the_best_over_all_subsets(total):
    values = np.random.default_rng(total).normal(size=total)
    found = expected_best(values, n_resamples=99)
    for n in range(1, total + 1):
        best = [min(subset) for subset in itertools.combinations(values, n)]
        assert found.estimate[n - 1] == pytest.approx(math.fsum(best) / len(best), rel=1e-12)
    assert found.n.tolist() == list(range(1, total + 1))


def test_higher_is_the_mirror_of_lower():
    values = np.random.default_rng(0).normal(size=9)
    lower, higher = expected_best(-values), expected_best(values, better="higher")
    np.testing.assert_allclose(higher.estimate, -lower.estimate, rtol=1e-14)
    np.testing.assert_allclose(higher.low, -lower.high)
    np.testing.assert_allclose(higher.high, -lower.low)


def test_weights_stay_finite_for_many_trials_and_add_up():
    weights = best_of_weights(2000)
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-12)
    assert weights[0] == pytest.approx(1 / 2000)
    assert weights[-1, 0] == 1.0


def test_a_trial_that_failed_counts_until_enough_others_are_tried():
    found = expected_best([1.0, 2.0, math.inf], n_resamples=999)
    assert np.isinf(found.estimate[0])  # the one trial may be the one that failed
    assert found.estimate[2] == 1.0
    assert found.estimate[1] == pytest.approx(
        (1 + 1 + 2) / 3
    )  # two of three: never only the failed
    assert np.isinf(found.high[:2]).all()
    assert np.isfinite(found.low[2])


def test_it_is_unbiased_and_its_interval_covers_for_uniform_trials():
    """The best of n uniform values is 1 / (n + 1) on average."""
    rng, total, repeats = np.random.default_rng(1), 40, 400
    truth = 1 / (np.arange(1, total + 1) + 1)
    estimates, covered = [], []
    for index in range(repeats):
        found = expected_best(rng.random(total), n_resamples=399, seed=index)
        estimates.append(found.estimate)
        covered.append((found.low <= truth) & (truth <= found.high))
    mean, error = np.mean(estimates, axis=0), np.std(estimates, axis=0) / math.sqrt(repeats)
    assert (np.abs(mean - truth) < 4 * error + 1e-9).all()
    coverage = np.mean(covered, axis=0)
    assert (coverage[:4] > 0.88).all()
    assert coverage[-1] < 0.80  # as documented: too narrow where n nears the number of trials


@pytest.mark.parametrize("values", [[], [1.0, math.nan]])
def test_what_cannot_be_estimated_is_refused(values):
    with pytest.raises(ValueError, match="trial"):
        expected_best(values)

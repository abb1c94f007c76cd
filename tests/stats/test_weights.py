"""Resample weights follow the multinomial law to the last count, and depend on their key only."""

import numpy as np
import pytest
from scipy import stats

from lightning_dna.stats.plan import ResamplingPlan
from lightning_dna.stats.sampling import Sampler
from lightning_dna.stats.weights import (
    BITS,
    FINE,
    block_keys,
    draw_weights,
    hashed,
    poisson_mean,
    poisson_table,
    scaled,
)


def many(n_units, blocks, law="multinomial", seed=0):
    keys = [block_keys(seed, "t", block)[None] for block in range(blocks)]
    return np.concatenate([draw_weights(key, n_units, law) for key in keys], axis=1)


def test_all_resamples_of_three_units_have_their_multinomial_probability():
    weights = many(3, 600)
    vectors, counts = np.unique(weights, axis=1, return_counts=True)
    expected = stats.multinomial(3, [1 / 3] * 3).pmf(vectors.T) * weights.shape[1]
    assert vectors.shape[1] == 10  # every way to distribute 3 draws
    assert stats.chisquare(counts, expected).pvalue > 1e-3


@pytest.mark.parametrize(("n_units", "blocks"), [(7, 400), (30, 300), (300, 60), (5000, 6)])
def test_counts_of_a_unit_are_binomial(n_units, blocks):
    weights = many(n_units, blocks)
    assert (weights.sum(axis=0, dtype=int) == n_units).all()
    found = np.bincount(weights.ravel(), minlength=n_units + 1)
    expected = stats.binom(n_units, 1 / n_units).pmf(np.arange(len(found))) * weights.size
    rare = expected < 10
    found = np.append(found[~rare], found[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    # Counts of one resample are slightly negatively correlated, which makes this conservative.
    assert stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue > 1e-3


def test_weights_have_the_covariance_of_the_multinomial():
    n_units = 12
    weights = many(n_units, 600).astype(float)
    error = 4 / weights.shape[1] ** 0.5
    np.testing.assert_allclose(weights.mean(axis=1), 1, atol=error)
    covariance = np.cov(weights)
    np.testing.assert_allclose(np.diag(covariance), 1 - 1 / n_units, atol=3 * error)
    off = covariance[~np.eye(n_units, dtype=bool)]
    np.testing.assert_allclose(off, -1 / n_units, atol=2 * error)
    share = 1 / n_units
    skewness = ((weights - 1) ** 3).mean()
    assert skewness == pytest.approx((1 - share) * (1 - 2 * share), abs=0.04)


def test_replicates_of_a_block_are_independent():
    weights = many(200, 60).astype(float).reshape(200, 60, 64).transpose(2, 0, 1).reshape(64, -1)
    correlation = np.corrcoef(weights)[~np.eye(64, dtype=bool)]
    assert np.abs(correlation).max() < 5 / (200 * 60) ** 0.5
    # A neighbour of a unit says nothing but the -1/n of sampling with replacement.
    neighbours = np.corrcoef(weights[:, :-1].ravel(), weights[:, 1:].ravel())[0, 1]
    assert abs(neighbours) < 5 / weights.size**0.5 + 1 / 200


def test_the_twelve_bit_table_and_its_remainder_are_the_poisson_law():
    for n_units in (5, 100, 20_000, 10**6):
        mean = poisson_mean(n_units, "multinomial")
        table = poisson_table(mean)
        edges = np.array([0, *table.thresholds, 2**BITS - table.spare])
        law = np.zeros(24)
        law[: len(edges) - 1] = np.diff(edges) / 2**BITS
        law += np.diff(table.remainder, prepend=0) * table.spare / 2**BITS
        np.testing.assert_allclose(law, stats.poisson(mean).pmf(np.arange(24)), atol=1e-15)


@pytest.mark.parametrize("law", ["poisson", "bayesian"])
def test_other_laws(law):
    weights = many(40, 300, law).astype(float)
    if law == "bayesian":
        weights /= FINE
        p = stats.kstest(weights.ravel()[:5000], stats.expon.cdf).pvalue
    else:
        found = np.bincount(weights.astype(int).ravel())[:6]
        expected = stats.poisson(1).pmf(np.arange(6)) * weights.size
        p = stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue
    assert p > 1e-3
    assert weights.mean() == pytest.approx(1, abs=0.01)
    assert weights.var() == pytest.approx(1, abs=0.02)
    assert weights.sum(axis=0).var() == pytest.approx(40, rel=0.05)  # the total is free


def test_strata_keep_their_size():
    strata = (np.arange(0, 30, 3), np.setdiff1d(np.arange(30), np.arange(0, 30, 3)))
    keys = np.stack([block_keys(0, "t", 0, stratum) for stratum in range(2)])
    weights = draw_weights(keys, 30, "multinomial", strata)
    assert (weights[strata[0]].sum(axis=0) == 10).all()
    assert (weights[strata[1]].sum(axis=0) == 20).all()


def test_seed_task_block_and_stratum_key_the_stream():
    reference = block_keys(3, "t", 1)
    assert (block_keys(3, "t", 1) == reference).all()
    for other in [(4, "t", 1), (3, "u", 1), (3, "t", 2), (3, "t", 1, 1)]:
        assert (block_keys(*other) != reference).all()


def test_hash_is_splitmix64():
    # First outputs of the published generator from state 1234567.
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert hashed(np.uint64(1234567), np.arange(4)).tolist() == known


def test_uniform_whole_numbers_equal_the_exact_quotient():
    words = np.array([0, 1, 2**63, 2**64 - 1, 0xDEADBEEF12345678], dtype=np.uint64)
    for size in (1, 7, 20_000, 2**31):
        assert scaled(words, size).tolist() == [int(word) * size >> 64 for word in words.tolist()]


def test_sampler_sums_do_not_depend_on_threads():
    columns = np.random.default_rng(0).standard_normal((4000, 2))
    sums = [
        Sampler(
            plan=ResamplingPlan(n_resamples=700, n_threads=threads), task="t", n_units=4000
        ).sums(columns)
        for threads in (1, 2, 5)
    ]
    assert (sums[0] == sums[1]).all()
    assert (sums[0] == sums[2]).all()

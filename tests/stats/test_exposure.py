"""Exposure and its null law, against closed forms and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from lightning_dna.stats.exposure import (
    combined_p_value,
    exposure,
    null_mean,
    null_variance,
    rank_among,
)


def test_exposure_is_the_definition_written_out():
    for places, rank in ((21, 1), (64, 64), (1000, 37)):
        found = exposure(np.array([rank]), places).item()
        assert found == pytest.approx(math.log2(places / rank), abs=1e-12)


@pytest.mark.parametrize("places", [21, 64, 1024])
def test_moments_of_the_null_are_sums_over_all_places(places):
    bits = [math.log2(places) - math.log2(k) for k in range(1, places + 1)]
    mean = sum(bits) / places
    assert null_mean(places) == pytest.approx(mean, rel=1e-10)
    variance = sum((value - mean) ** 2 for value in bits) / places
    assert null_variance(places) == pytest.approx(variance, rel=1e-10)
    assert null_mean(10**7) == pytest.approx(math.log2(math.e), abs=1e-5)


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_the_rank_of_one_among_its_like_is_uniform_with_and_without_ties(decimals):
    """10,000 canaries, each with 24 references of its own; rounding makes some or many equal."""
    rng = np.random.default_rng(7)
    ranks = []
    for _ in range(10_000):
        losses = rng.normal(size=25)
        losses = losses if decimals is None else losses.round(decimals)
        ranks.append(rank_among(float(losses[0]), losses[1:], tie=rng.random()))
    counts = np.bincount(ranks, minlength=26)[1:]
    assert len(counts) == 25
    assert stats.chisquare(counts).pvalue > 0.001
    bits = exposure(np.array(ranks), 25)
    standard_error = math.sqrt(null_variance(25) / len(ranks))
    assert abs(bits.mean() - null_mean(25)) < 4 * standard_error


def test_a_model_without_any_preference_gives_every_place():
    same = np.full(9, 1.5)
    places = {rank_among(1.5, same, tie=tie) for tie in np.linspace(0, 0.999, 50)}
    assert places == set(range(1, 11))


def test_the_p_value_of_a_group_is_the_share_of_all_ranks_that_are_as_extreme():
    places = 21
    bits = {rank: math.log2(places / rank) for rank in range(1, places + 1)}
    observed = [2, 9, 5]
    threshold = sum(bits[rank] for rank in observed) - 1e-9
    extreme = sum(
        bits[a] + bits[b] + bits[c] >= threshold for a in bits for b in bits for c in bits
    )
    found = combined_p_value(np.array(observed), places)
    assert found == pytest.approx(extreme / places**3, abs=2e-3)  # exposures on a grid
    assert combined_p_value(np.array([1, 1, 1]), places) == pytest.approx(places**-3, rel=1e-6)
    assert combined_p_value(np.ones(16, dtype=np.int64), 1024) == 1e-12


def test_the_p_value_of_a_group_holds_its_level():
    rng = np.random.default_rng(1)
    found = np.array([combined_p_value(rng.integers(1, 65, 4), 64) for _ in range(2000)])
    for level in (0.01, 0.05, 0.5):
        assert (found <= level).mean() == pytest.approx(
            level, abs=4 * math.sqrt(level * (1 - level) / 2000)
        )

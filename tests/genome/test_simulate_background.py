"""The Markov background: stationarity, strand symmetry, exact likelihoods."""

import itertools
import math

import numpy as np
import pytest

from lightning_dna.genome.alphabet import encode
from lightning_dna.genome.simulate_background import (
    background_log_probabilities,
    context_frequencies,
    gc_content,
    sample_chain,
    sample_guided,
    transition_table,
)

UNIFORM = np.full((16, 4), 0.25)


@pytest.mark.parametrize("gc", [0.2, 0.42, 0.6, 0.8])
@pytest.mark.parametrize("seed", [0, 5])
def test_the_chain_has_the_gc_content_asked_for(gc: float, seed: int) -> None:
    table = transition_table(gc, seed=seed)
    assert np.allclose(table.sum(axis=1), 1)
    assert (table > 0).all()
    # Long-run frequencies by walking the chain, not by solving for them.
    pairs = np.full((4, 4), 1 / 16)
    for _ in range(200):
        pairs = np.einsum("xy,xyz->yz", pairs, table.reshape(4, 4, 4))
    assert pairs.sum(axis=0)[[1, 2]].sum() == pytest.approx(gc, abs=1e-9)
    assert context_frequencies(table) == pytest.approx(pairs.ravel(), abs=1e-9)
    assert gc_content(table) == pytest.approx(gc, abs=1e-9)


def test_both_strands_follow_the_same_chain() -> None:
    table = transition_table(0.4, seed=3)
    triples = (context_frequencies(table)[:, None] * table).reshape(4, 4, 4)
    for x, y, z in itertools.product(range(4), repeat=3):
        assert triples[x, y, z] == pytest.approx(triples[3 - z, 3 - y, 3 - x], abs=1e-12)


def test_the_chain_is_not_just_composition() -> None:
    table = transition_table(0.4, seed=3)
    assert np.ptp(table, axis=0).min() > 0.1
    assert np.allclose(transition_table(0.4, seed=3, strength=0.0), [0.3, 0.2, 0.2, 0.3])


def test_seed_changes_the_chain_and_gc_alone_does_not_change_the_seed() -> None:
    assert not np.allclose(transition_table(0.4, seed=0), transition_table(0.4, seed=1))
    assert np.array_equal(transition_table(0.4, seed=0), transition_table(0.4, seed=0))


def test_sample_chain_follows_its_table_and_its_levels() -> None:
    rng = np.random.default_rng(0)
    tables = [transition_table(0.3, seed=1), transition_table(0.7, seed=1)]
    levels = np.repeat([0, 1], 60_000)
    codes = sample_chain(tables, levels, rng)
    assert codes.dtype == np.uint8
    for level, gc in enumerate((0.3, 0.7)):
        part = codes[levels == level].astype(int)
        assert np.isin(part, (1, 2)).mean() == pytest.approx(gc, abs=0.01)
        counts = np.zeros((16, 4))
        np.add.at(counts, (4 * part[:-2] + part[1:-1], part[2:]), 1)
        seen = counts.sum(axis=1, keepdims=True)
        error = counts / seen - tables[level]
        # Five standard errors of a proportion, over 64 cells.
        assert (np.abs(error) < 5 * np.sqrt(0.25 / seen)).all()


def test_sample_guided_follows_chain_and_columns() -> None:
    table = transition_table(0.4, seed=2)
    emissions = np.array([[1.0, 0, 0, 0], [0, 0, 0.25, 0.75]])
    guide = np.full((20_000, 8), -1)
    guide[:, 3], guide[:, 4] = 0, 1
    codes = sample_guided(table, emissions, guide, np.random.default_rng(0)).astype(int)
    assert (codes[:, 3] == 0).all()
    assert set(codes[:, 4]) == {2, 3}
    assert (codes[:, 4] == 3).mean() == pytest.approx(0.75, abs=0.02)
    # The base after the motif is conditioned on the motif's bases: context A then T.
    after = codes[codes[:, 4] == 3, 5]
    frequencies = np.bincount(after, minlength=4) / len(after)
    assert frequencies == pytest.approx(table[4 * 0 + 3], abs=0.02)
    first = np.bincount(4 * codes[:, 0] + codes[:, 1], minlength=16) / len(codes)
    assert first == pytest.approx(context_frequencies(table), abs=0.015)


def test_log_probabilities_by_hand() -> None:
    table = UNIFORM.copy()
    table[4 * 0 + 1] = [0.1, 0.2, 0.3, 0.4]  # after AC
    table[4 * 1 + 2] = [0.7, 0.1, 0.1, 0.1]  # after CG
    logs = background_log_probabilities(encode("ACGA")[None], table)
    assert logs[0] == pytest.approx([0, 0, math.log(0.3), math.log(0.7)])


def test_probabilities_of_all_sequences_sum_to_one() -> None:
    table = transition_table(0.45, seed=4)
    every = np.array(list(itertools.product(range(4), repeat=5)), dtype=np.uint8)
    start = context_frequencies(table)[4 * every[:, 0].astype(int) + every[:, 1]]
    total = (start * np.exp(background_log_probabilities(every, table).sum(axis=1))).sum()
    assert total == pytest.approx(1)

"""Motifs and the promoter grammar."""

import itertools

import numpy as np
import pytest

from lightning_dna.genome.alphabet import encode
from lightning_dna.genome.simulate_motifs import (
    PROMOTER_GRAMMAR,
    WRONG_SPACINGS,
    Motif,
    place_motifs,
)


def test_probabilities_by_hand() -> None:
    matrix = Motif(consensus="TC", conservation=0.94).probabilities
    assert matrix == pytest.approx(np.array([[0.02, 0.02, 0.02, 0.94], [0.02, 0.94, 0.02, 0.02]]))


def test_samples_follow_the_probabilities() -> None:
    motif = Motif(consensus="ACGT", conservation=0.7)
    rng = np.random.default_rng(0)
    drawn = np.stack([motif.sample(rng) for _ in range(4000)])
    for position in range(4):
        frequencies = np.bincount(drawn[:, position], minlength=4) / len(drawn)
        assert frequencies == pytest.approx(motif.probabilities[position], abs=0.03)


def test_log_ratios_against_a_plain_loop() -> None:
    motif = Motif(consensus="GAT", conservation=0.85)
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 4, size=(3, 10), dtype=np.uint8)
    background = np.log(rng.uniform(0.1, 0.5, size=(3, 10)))
    scores = motif.log_ratios(codes, background)
    assert scores.shape == (3, 8)
    for row, start in itertools.product(range(3), range(8)):
        expected = 0.0
        for offset, letter in enumerate("GAT"):
            matches = "ACGT"[codes[row, start + offset]] == letter
            expected += np.log(0.85 if matches else 0.05) - background[row, start + offset]
        assert scores[row, start] == pytest.approx(expected)


def test_grammar_pairs_can_be_told_apart() -> None:
    motifs = [m for pair in PROMOTER_GRAMMAR for m in (pair.upstream, pair.downstream)]
    assert len({pair.name for pair in PROMOTER_GRAMMAR}) == len(PROMOTER_GRAMMAR) >= 2
    for first, second in itertools.combinations(motifs, 2):
        shared = sum(a == b for a, b in zip(first.consensus, second.consensus, strict=True))
        assert shared <= 8, (first, second)
    for pair in PROMOTER_GRAMMAR:
        assert set(pair.spacings) < set(WRONG_SPACINGS)


def test_place_motifs_writes_the_rows_of_the_stacked_columns() -> None:
    motifs = [Motif(consensus="AC"), Motif(consensus="GGT")]
    guide = np.full((3, 8), -1)
    place_motifs(guide, motifs, 1, np.array([0, 2]), np.array([2, 5]))
    place_motifs(guide, motifs, 0, np.array([0]), np.array([6]))
    assert guide.tolist() == [
        [-1, -1, 2, 3, 4, -1, 0, 1],
        [-1] * 8,
        [-1, -1, -1, -1, -1, 2, 3, 4],
    ]
    stacked = np.vstack([motif.probabilities for motif in motifs])
    assert stacked[[2, 3, 4]].argmax(axis=1).tolist() == encode("GGT").tolist()

"""Dinucleotide shuffles: what they keep, and that every arrangement is as likely as any other."""

from collections import Counter
from itertools import pairwise, permutations

import numpy as np
import pytest
from scipy import stats

from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import decode, encode
from lightning_dna.genome.shuffles import dinucleotide_shuffles


@pytest.mark.parametrize("length", [2, 7, 64, 301])
def test_pairs_and_ends_are_kept(length):
    rng = np.random.default_rng(length)
    codes = rng.integers(0, 4, length).astype(np.uint8)
    shuffles = dinucleotide_shuffles(codes, 50, rng)
    assert shuffles.shape == (50, length)
    assert shuffles.dtype == np.uint8
    wanted = Counter(pairwise(codes.tolist()))
    for row in shuffles.tolist():
        assert Counter(pairwise(row)) == wanted
        assert (row[0], row[-1]) == (codes[0], codes[-1])
    if length > 50:
        assert len(np.unique(shuffles, axis=0)) == 50


def test_every_arrangement_comes_equally_often():
    letters = "ACAGACCGA"
    pairs = Counter(pairwise(letters))
    every = {
        "".join(("A", *middle, "A"))
        for middle in permutations(letters[1:-1])
        if Counter(pairwise(("A", *middle, "A"))) == pairs
    }
    drawn = dinucleotide_shuffles(encode(letters), 6000, np.random.default_rng(3))
    found = Counter(decode(row) for row in drawn)
    assert set(found) == every
    assert len(every) > 10
    assert stats.chisquare([found[text] for text in sorted(every)]).pvalue > 0.001


def test_a_single_letter_has_one_arrangement():
    drawn = dinucleotide_shuffles(encode("AAAAA"), 3, np.random.default_rng(0))
    assert (drawn == 0).all()


@pytest.mark.parametrize("letters", ["ACNGT", "A"])
def test_what_cannot_be_shuffled_is_refused(letters):
    with pytest.raises(DataError, match="cannot be shuffled; give two bases or more"):
        dinucleotide_shuffles(encode(letters), 1, np.random.default_rng(0))

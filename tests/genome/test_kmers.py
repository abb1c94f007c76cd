"""Canonical k-mers and sketches against strings and Python sets."""

import numpy as np
import pytest

from lightning_dna.errors import ConfigError
from lightning_dna.genome import kmers
from lightning_dna.genome.alphabet import decode, encode, reverse_complement
from lightning_dna.genome.kmers import canonical_kmers, forward_kmers, sketch

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def text(rng, length, letters="ACGT"):
    return "".join(rng.choice(list(letters), size=length))


def number(word):
    """A word in base 4."""
    return sum("ACGT".index(letter) * 4**place for place, letter in enumerate(reversed(word)))


def words(sequence, k):
    found = [sequence[at : at + k] for at in range(len(sequence) - k + 1)]
    return [word for word in found if "N" not in word]


def canonical(word):
    return min(word, word[::-1].translate(COMPLEMENT))


@pytest.mark.parametrize("k", [2, 3, 5, 8, 16, 21, 30, 31])
def test_every_kmer_is_its_number(k):
    sequence = text(np.random.default_rng(k), 80, "ACGTN")
    values, valid = forward_kmers(encode(sequence), k)
    assert values[valid].tolist() == [number(word) for word in words(sequence, k)]
    assert len(values) == len(valid) == 80 - k + 1
    values, valid = canonical_kmers(encode(sequence), k)
    assert values[valid].tolist() == [number(canonical(word)) for word in words(sequence, k)]


def test_a_sequence_shorter_than_k_has_none():
    values, valid = canonical_kmers(encode("ACG"), 5)
    assert (len(values), len(valid)) == (0, 0)


def test_the_soft_mask_does_not_matter():
    assert np.array_equal(
        canonical_kmers(encode("acgTTgc"), 4)[0], canonical_kmers(encode("ACGTTGC"), 4)[0]
    )


def test_both_strands_have_one_sketch():
    codes = encode(text(np.random.default_rng(1), 300))
    assert np.array_equal(
        sketch([codes], k=9).values, sketch([reverse_complement(codes)], k=9).values
    )
    own = sketch([codes, reverse_complement(codes)], k=9, both_strands=False)
    assert not np.array_equal(own.select(np.array([0])).values, own.select(np.array([1])).values)


@pytest.mark.parametrize("block", [40, 1 << 21])
def test_sketches_hold_each_kmer_once_however_the_work_is_cut(monkeypatch, block):
    monkeypatch.setattr(kmers, "_BLOCK", block)
    monkeypatch.setattr(kmers.joined_blocks, "__kwdefaults__", {"block": block, "whole": False})
    rng = np.random.default_rng(2)
    sequences = [text(rng, length, "ACGTTTN") for length in (0, 3, 90, 250, 12, 7)]
    found = sketch([encode(one) for one in sequences], k=6)
    expected = [len({canonical(word) for word in words(one, 6)}) for one in sequences]
    assert found.sizes.tolist() == expected
    assert len(found) == len(sequences)
    for row in range(len(found)):
        values = found.select(np.array([row])).values
        assert np.all(values[1:] > values[:-1])


def test_a_scaled_sketch_is_a_subset_of_about_the_share():
    codes = encode(text(np.random.default_rng(3), 50_000))
    whole, part = sketch([codes], k=21), sketch([codes], k=21, scaled=20)
    assert set(part.values.tolist()) <= set(whole.values.tolist())
    assert len(part.values) == pytest.approx(len(whole.values) / 20, rel=0.1)


def test_select_takes_rows_in_their_order():
    found = sketch([encode(one) for one in ("AAAA", "ACGTA", "CCCCC")], k=3)
    chosen = found.select(np.array([2, 0]))
    assert chosen.sizes.tolist() == [found.sizes[2], found.sizes[0]]
    assert chosen.owners.tolist() == [0, 1]


@pytest.mark.parametrize("k", [1, 32])
def test_lengths_that_do_not_fit_are_refused(k):
    with pytest.raises(ConfigError, match=f"k is {k}; allowed: 2 to 31"):
        sketch([encode("ACGT")], k=k)


def test_a_scale_below_one_is_refused():
    with pytest.raises(ConfigError, match="scaled is 0"):
        sketch([encode("ACGT")], k=3, scaled=0)


def test_the_helper_of_these_tests_reverses_as_the_alphabet_does():
    assert decode(reverse_complement(encode("AACGT"))) == "AACGT"[::-1].translate(COMPLEMENT)

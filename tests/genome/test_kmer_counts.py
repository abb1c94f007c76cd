"""Counts of words against string search."""

from functools import partial

import numpy as np
import pytest

from lightning_dna.errors import ConfigError
from lightning_dna.genome import kmers
from lightning_dna.genome.alphabet import encode
from lightning_dna.genome.kmer_counts import count_words, reverse_complements

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def letters(length: int, seed: int, alphabet: str = "ACGT") -> str:
    return "".join(np.random.default_rng(seed).choice(list(alphabet), length))


def number(word: str) -> int:
    return int(word.translate(str.maketrans("ACGT", "0123")), 4)


def numbers(words: list[str]):
    return np.array([number(word) for word in words], dtype=np.uint64)


def other_strand(word: str) -> str:
    return word.translate(COMPLEMENT)[::-1]


def search(texts: list[str], word: str) -> int:
    """Occurrences on both strands, overlaps included."""
    return sum(
        text[at : at + len(word)].upper() == one
        for text in texts
        for one in (word, other_strand(word))
        for at in range(len(text) - len(word) + 1)
    )


@pytest.mark.parametrize("k", [1, 2, 3, 8, 15, 16, 17, 31])
def test_reverse_complements_are_those_of_letters(k):
    words = [letters(k, seed) for seed in range(20)]
    found = reverse_complements(numbers(words), k)
    np.testing.assert_array_equal(found, numbers([other_strand(word) for word in words]))


@pytest.mark.parametrize("k", [2, 3, 4, 6, 12])
def test_counts_against_string_search(k):
    texts = [letters(300, 1, "ACGTacgt") + "NNn" + letters(80, 2, "AT"), "ACGT", "A", "GGC" * 9]
    words = ["A" * k, ("AC" * k)[:k], ("AT" * k)[:k], *(letters(k, seed) for seed in range(30))]
    words += [texts[0][at : at + k].upper() for at in range(0, 280, 7)]
    found = count_words([encode(text) for text in texts], numbers(words), k)
    assert found.tolist() == [search(texts, word) for word in words]
    assert found.max() > 0


def test_a_palindrome_stands_on_both_strands():
    assert count_words([encode("GGAATTCC")], numbers(["AATT", "GGAA"]), 4).tolist() == [2, 2]


def test_shape_is_kept_and_nothing_counts_as_nothing():
    words = numbers(["AC", "CA", "GG", "AC"]).reshape(2, 2)
    assert count_words([encode("ACA")], words, 2).tolist() == [[1, 1], [0, 1]]
    assert count_words([], words, 2).tolist() == [[0, 0], [0, 0]]
    assert count_words([encode("ACA")], words[:0], 2).shape == (0, 2)


def test_borders_of_blocks_lose_and_double_nothing(monkeypatch):
    texts = [letters(90, 5), letters(7, 6)]
    words = sorted({text[at : at + 5] for text in texts for at in range(len(text) - 4)})
    whole = kmers.joined_blocks
    for block in (6, 20, 50):
        monkeypatch.setattr(kmers, "joined_blocks", partial(whole, block=block))
        found = count_words([encode(text) for text in texts], numbers(words), 5)
        assert found.tolist() == [search(texts, word) for word in words]


def test_a_word_longer_than_64_bits_is_refused():
    with pytest.raises(ConfigError, match="k is 32; allowed: 2 to 31"):
        count_words([encode("ACGT")], numbers(["A"]), 32)

"""Similarity of windows to other sequence, against Python sets and a search letter by letter."""

import numpy as np
import pytest

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome import similarity_windows
from lightning_dna.genome.alphabet import SOFT_MASK, decode, encode, reverse_complement
from lightning_dna.genome.similarity_windows import (
    LONG_K,
    SIMILARITY_K,
    identity_estimate,
    null_containment,
    similarity_between_chromosomes,
    window_similarity,
)

COMPLEMENT = str.maketrans("ACGT", "TGCA")
K = 7


def other_strand(text):
    return text[::-1].translate(COMPLEMENT)


def words(text, k=K):
    found = {text[at : at + k] for at in range(len(text) - k + 1)}
    return {min(one, other_strand(one)) for one in found if "N" not in one}


def brute_containment(window, targets):
    mine, there = words(window), set().union(*map(words, targets), set())
    return len(mine & there) / len(mine) if mine else np.nan


def brute_match(window, targets, k=K):
    """The longest stretch without N of the window that stands in a target, by trying all."""
    best = 0
    for text in (window, other_strand(window)):
        for first in range(len(text)):
            for last in range(first + max(k, best + 1), len(text) + 1):
                piece = text[first:last]
                if "N" in piece or not any(piece in target for target in targets):
                    break
                best = last - first
    return best


def family(seed, n=16):
    """Windows and targets that share pieces of a common pool on both strands."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("ACGT"))
    pool = ["".join(rng.choice(letters, 90)) for _ in range(4)]
    made = []
    for _ in range(n):
        start, size = int(rng.integers(60)), int(rng.integers(5, 60))
        piece = pool[rng.integers(4)][start : start + size]
        piece = "".join(rng.choice(letters, int(rng.integers(30)))) + piece
        piece = other_strand(piece) if rng.random() < 0.5 else piece
        made.append(piece + "N" * int(rng.integers(2)) + "AC" * int(rng.integers(3)))
    return made


@pytest.fixture(params=["small", "whole"])
def blocks(request, monkeypatch):
    """Work in many small blocks, and in one."""
    if request.param == "small":
        for name, size in (("_TOGETHER", 100), ("_BLOCK", 8), ("_STRETCHES", 16)):
            monkeypatch.setattr(similarity_windows, name, size)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("seed", range(3))
def test_against_sets_and_a_search(seed):
    windows, targets = family(seed), family(seed)[:6] + family(seed + 10)[:2]
    found = window_similarity([*map(encode, windows)], [*map(encode, targets)], k=K)
    expected = [brute_containment(window, targets) for window in windows]
    np.testing.assert_array_equal(found.containment, expected)
    assert found.longest_match.tolist() == [brute_match(window, targets) for window in windows]
    assert found.kmers.tolist() == [len(words(window)) for window in windows]


@pytest.mark.usefixtures("blocks")
def test_own_group_is_left_out():
    windows, targets = family(4), family(4)[:9]
    mine = np.arange(16) % 3
    theirs = np.repeat([0, 1, 2], 3)
    found = window_similarity(
        [*map(encode, windows)],
        [*map(encode, targets)],
        k=K,
        window_groups=mine,
        target_groups=theirs,
    )
    others = [
        [target for target, group in zip(targets, theirs, strict=True) if group != own]
        for own in mine
    ]
    expected = [brute_containment(*pair) for pair in zip(windows, others, strict=True)]
    np.testing.assert_array_equal(found.containment, expected)
    longest = [brute_match(*pair) for pair in zip(windows, others, strict=True)]
    assert found.longest_match.tolist() == longest


def random_codes(rng, size):
    return rng.integers(0, 4, size).astype(np.uint8)


def test_unrelated_sequence_shares_what_chance_says():
    rng = np.random.default_rng(0)
    windows = [random_codes(rng, 1_000) for _ in range(60)]
    target = random_codes(rng, 200_000)
    found = window_similarity(windows, [target], k=11)
    expected = null_containment(11, 200_000)
    assert expected == pytest.approx(0.0909, abs=0.001)  # 1 - exp(-2 * 200,000 / 4^11)
    assert found.containment.mean() == pytest.approx(expected, rel=0.05)
    silent = window_similarity(windows, [target])
    assert silent.containment.max() == 0.0
    assert silent.longest_match.max() == 0


@pytest.mark.parametrize("identity", [1.0, 0.99, 0.95, 0.9])
def test_planted_duplicates_of_known_identity(identity):
    """Of a copy of which each base is kept with chance p, each k-mer is kept with chance p^k."""
    rng = np.random.default_rng(3)
    target = random_codes(rng, 300_000)
    windows = []
    for number in range(150):
        copy = target[2_000 * number : 2_000 * number + 1_000].copy()
        changed = rng.random(1_000) >= identity
        copy[changed] = (copy[changed] + rng.integers(1, 4, changed.sum())) % 4
        windows.append(reverse_complement(copy) if number % 2 else copy)
    found = window_similarity(windows, [target])
    assert found.containment.mean() == pytest.approx(identity**SIMILARITY_K, abs=0.02)
    longer = window_similarity(windows, [target], k=LONG_K, matches=False)
    # of all windows together, as the estimate from the few k-mers of one is a rough one
    both = found.containment.mean(keepdims=True), longer.containment.mean(keepdims=True)
    estimate = identity_estimate(*both, k=SIMILARITY_K, long_k=LONG_K)
    assert estimate[0] == pytest.approx(identity, abs=0.005)
    assert longer.longest_match.tolist() == [-1] * 150


def test_half_a_duplicate_is_half_contained_and_of_full_identity():
    rng = np.random.default_rng(5)
    target = random_codes(rng, 50_000)
    window = np.concatenate((target[7_000:7_500], random_codes(rng, 500)))
    found = window_similarity([window], [target])
    assert found.containment[0] == pytest.approx(480 / 980, abs=0.005)  # 500 - 20 of 1,000 - 20
    assert 500 <= found.longest_match[0] <= 505  # a base or two may fit by chance
    longer = window_similarity([window], [target], k=LONG_K, matches=False).containment
    estimate = identity_estimate(found.containment, longer, k=SIMILARITY_K, long_k=LONG_K)
    assert estimate[0] == pytest.approx(1.0, abs=0.01)
    nothing = np.zeros(1)
    assert np.isnan(identity_estimate(nothing, nothing, k=21, long_k=31)).all()


def test_soft_mask_and_short_windows():
    letters = encode("ACGTTGCATGCCATTAGACC")
    found = window_similarity([letters | np.uint8(SOFT_MASK), letters[:5]], [letters], k=9)
    assert found.containment[0] == 1.0
    assert np.isnan(found.containment[1])
    assert found.longest_match.tolist() == [20, 0]


def test_a_sample_of_the_kmers_is_near():
    rng = np.random.default_rng(8)
    target = random_codes(rng, 40_000)
    window = np.concatenate((target[:10_000], random_codes(rng, 10_000)))
    found = window_similarity([window], [target], scaled=10, matches=False)
    assert found.containment[0] == pytest.approx(0.5, abs=0.05)
    assert found.kmers[0] == pytest.approx(1_998, rel=0.1)


def test_between_chromosomes():
    rng = np.random.default_rng(1)
    first, second = random_codes(rng, 330), random_codes(rng, 250)
    second[100:200] = reverse_complement(first[100:200])
    first[200:300] = first[:100]  # a repeat within a chromosome is none between them
    found = similarity_between_chromosomes([first, second], 100)
    assert found.containment.tolist() == [0.0, 1.0, 0.0, 0.0, 1.0]
    # what stands beside the copy may fit by chance, but a window is no longer than itself
    assert found.longest_match.tolist() == [0, 100, 0, 0, 100]
    assert decode(first[:3]) == decode(first[200:203])


def test_nothing_to_compare():
    empty = window_similarity([], [encode("ACGT" * 10)])
    assert (len(empty.containment), len(empty.longest_match)) == (0, 0)
    alone = window_similarity([encode("ACGT" * 10)], [])
    assert (alone.containment.tolist(), alone.longest_match.tolist()) == ([0.0], [0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"k": 40}, "k is 40; allowed: 2 to 31"),
        ({"scaled": 4}, "exact matches need every k-mer: scaled is 4"),
        ({"window_groups": np.array([0])}, "go together; give both"),
        (
            {"window_groups": np.array([0, 1]), "target_groups": np.array([0])},
            "2 groups for 1 windows",
        ),
        ({"window_groups": np.array([0]), "target_groups": np.array([1, 0])}, "ascending"),
    ],
)
def test_bad_input(change, said):
    targets = [encode("ACGT" * 10)] * (1 if "2 groups" in said else 2)
    with pytest.raises((ConfigError, DataError), match=said):
        window_similarity([encode("ACGT" * 10)], targets, **{"k": 5, **change})


def test_a_window_shorter_than_k_is_refused():
    with pytest.raises(ConfigError, match=r"length is 20; allowed: k \(21\)"):
        similarity_between_chromosomes([encode("ACGT")], 20)

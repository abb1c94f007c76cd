"""Containment, best matches and clusters against Python sets and a depth-first search."""

import numpy as np
import pytest

from lightning_dna.errors import ConfigError
from lightning_dna.genome import similarity
from lightning_dna.genome.alphabet import encode, reverse_complement
from lightning_dna.genome.exact_matches import longest_matches
from lightning_dna.genome.kmers import sketch
from lightning_dna.genome.similarity import (
    best_matches,
    components,
    containment,
    have_relatives,
    homology_clusters,
    identical_groups,
)

COMPLEMENT = str.maketrans("ACGT", "TGCA")
K = 7


def sets(sequences, k=K):
    """The canonical k-mers of each sequence as sets of words."""
    found = []
    for one in sequences:
        words = {one[at : at + k] for at in range(len(one) - k + 1)}
        words = {word for word in words if "N" not in word}
        found.append({min(word, word[::-1].translate(COMPLEMENT)) for word in words})
    return found


def family(seed, n=60, length=40):
    """Sequences that share pieces: each is made of stretches of a few common ones."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("ACGT"))
    pool = ["".join(rng.choice(letters, 200)) for _ in range(6)]
    made = []
    for _ in range(n):
        start = int(rng.integers(0, 160))
        piece = pool[rng.integers(6)][start : start + int(rng.integers(0, length))]
        piece += "".join(rng.choice(letters, int(rng.integers(0, length))))
        piece = piece[::-1].translate(COMPLEMENT) if rng.random() < 0.5 else piece
        made.append(piece + "N" * int(rng.integers(0, 2)))
    return made


def coded(sequences):
    return [encode(one) for one in sequences]


@pytest.fixture(params=[5, 1 << 22])
def pairs_at_a_time(request, monkeypatch):
    """Work in many small blocks, and in one."""
    monkeypatch.setattr(similarity, "_PAIRS", request.param)


@pytest.mark.parametrize("seed", range(3))
def test_containment_in_a_collection(seed):
    queries, targets = family(seed), family(seed)[:20]
    there = set().union(*sets(targets))
    expected = [len(q & there) / len(q) if q else np.nan for q in sets(queries)]
    found = containment(coded(queries), coded(targets), k=K)
    np.testing.assert_array_equal(found, expected)


def test_containment_in_nothing():
    np.testing.assert_array_equal(containment(coded(["ACGTACGT", "AC"]), [], k=4), [0.0, np.nan])


def test_scaled_containment_is_near_the_exact_one():
    rng = np.random.default_rng(5)
    target = rng.integers(0, 4, 40_000).astype(np.uint8)
    query = np.concatenate((target[:10_000], rng.integers(0, 4, 10_000).astype(np.uint8)))
    exact = containment([query], [target], k=21)[0]
    assert exact == pytest.approx(0.5, abs=0.001)
    assert containment([query], [target], k=21, scaled=10)[0] == pytest.approx(exact, abs=0.05)


@pytest.mark.usefixtures("pairs_at_a_time")
@pytest.mark.parametrize("seed", range(3))
def test_best_matches(seed):
    queries, targets = family(seed), family(seed + 100)[:20] + family(seed)[:20]
    left, right = sets(queries), sets(targets)
    found = best_matches(sketch(coded(queries), k=K), sketch(coded(targets), k=K))
    there = set().union(*right)
    for row, mine in enumerate(left):
        if not mine:
            assert np.isnan(found.containment[row])
            assert found.target[row] == -1
            continue
        shared = [len(mine & other) for other in right]
        assert found.containment[row] == max(shared) / len(mine)
        assert found.target[row] == (int(np.argmax(shared)) if max(shared) else -1)
        assert found.pooled[row] == len(mine & there) / len(mine)
        assert found.capped[row] == 0


@pytest.mark.usefixtures("pairs_at_a_time")
def test_best_matches_among_others():
    sequences = family(7)
    own = sets(sequences)
    sketches = sketch(coded(sequences), k=K)
    found = best_matches(sketches, sketches, other=True)
    for row, mine in enumerate(own):
        others = [one for at, one in enumerate(own) if at != row]
        if mine:
            assert found.containment[row] == max(len(mine & one) for one in others) / len(mine)
            assert found.pooled[row] == len(mine & set().union(*others)) / len(mine)
            assert found.target[row] != row


def test_a_frequent_kmer_is_followed_to_the_first_targets_and_counts():
    targets = ["AAAAAAAAA" + tail for tail in ("GGCAT", "TGACC", "CGTCA")]
    sketches = sketch(coded(["AAAAAAAAACGTCA"]), k=K)
    free = best_matches(sketches, sketch(coded(targets), k=K))
    capped = best_matches(sketches, sketch(coded(targets), k=K), max_occurrences=2)
    (mine,) = sets(["AAAAAAAAACGTCA"])
    assert (free.containment[0], free.target[0]) == (1.0, 2)
    # The shared word is followed to the first two targets, and the best one is the third.
    assert (capped.containment[0], capped.target[0]) == ((len(mine) - 1) / len(mine), 2)
    assert capped.capped[0] == 1 / len(mine)
    assert capped.pooled[0] == 1.0


@pytest.mark.usefixtures("pairs_at_a_time")
def test_a_family_of_thousands_is_one_cluster(monkeypatch):
    """Every word of a family stands in more sequences than words are followed to."""
    monkeypatch.setattr(similarity, "_OF_FREQUENT", 4)
    rng = np.random.default_rng(0)
    ancestor = rng.choice(list("ACGT"), 80)
    members = []
    for _ in range(90):
        one = ancestor.copy()
        one[rng.integers(0, 80, 2)] = rng.choice(list("ACGT"), 2)
        members.append("".join(one))
    strangers = ["".join(rng.choice(list("ACGT"), 80)) for _ in range(10)]
    targets = sketch(coded(members[:60]), k=K)
    queries = sketch(coded(members[60:] + strangers), k=K)
    found = best_matches(queries, targets, max_occurrences=5)
    exact = best_matches(queries, targets, max_occurrences=60)
    assert (exact.capped == 0).all()
    assert (found.capped[:30] > 0.5).all()
    assert (found.containment <= exact.containment).all()
    assert (found.containment + found.capped >= exact.containment - 1e-12).all()
    assert (found.containment[:30] > 0.5).all()
    related = have_relatives(queries, targets, threshold=0.3, max_occurrences=5)
    assert related.tolist() == [True] * 30 + [False] * 10
    labels = homology_clusters(
        coded(members + strangers), k=K, threshold=0.3, max_occurrences=5
    ).tolist()
    assert labels == reference_clusters(members + strangers, 0.3)
    assert set(labels[:90]) == {0}


def reference_clusters(sequences, threshold):
    """Connected components by depth-first search over all pairs."""
    kmers = sets(sequences)
    keys = [min(one, one[::-1].translate(COMPLEMENT)) for one in sequences]
    label = [-1] * len(sequences)
    for first in range(len(sequences)):
        stack = [first] if label[first] < 0 else []
        while stack:
            at = stack.pop()
            if label[at] >= 0:
                continue
            label[at] = max(label) + 1 if at == first else label[first]
            for other in range(len(sequences)):
                least = min(len(kmers[at]), len(kmers[other]))
                shared = len(kmers[at] & kmers[other])
                related = shared > 0 and shared >= threshold * least
                if label[other] < 0 and (related or keys[at] == keys[other]):
                    stack.append(other)
    return label


@pytest.mark.usefixtures("pairs_at_a_time")
@pytest.mark.parametrize("threshold", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_clusters_are_connected_components(seed, threshold):
    sequences = family(seed)
    found = homology_clusters(coded(sequences), k=K, threshold=threshold)
    assert found.tolist() == reference_clusters(sequences, threshold)


def test_copies_without_a_kmer_stay_together():
    codes = coded(["ACG", "CGT", "ACG", "AAA"])
    assert homology_clusters(codes, k=K, threshold=0.5).tolist() == [0, 0, 0, 1]
    assert identical_groups(codes).tolist() == [0, 0, 0, 1]


def test_relatives_by_the_rule_of_clusters():
    queries, targets = family(11), family(11)[:10]
    left, right = sets(queries), sets(targets)
    expected = [any(q & t and len(q & t) >= 0.3 * min(len(q), len(t)) for t in right) for q in left]
    found = have_relatives(sketch(coded(queries), k=K), sketch(coded(targets), k=K), threshold=0.3)
    assert found.tolist() == expected


def test_nothing_to_cluster():
    assert len(components(sketch([], k=K), threshold=0.5)) == 0


@pytest.mark.parametrize("threshold", [0.0, 1.1])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(ConfigError, match=r"allowed: \(0, 1\]"):
        homology_clusters(coded(["ACGT"]), k=3, threshold=threshold)


def test_sketches_made_differently_are_refused():
    with pytest.raises(ConfigError, match="make both alike"):
        best_matches(sketch(coded(["ACGTA"]), k=3), sketch(coded(["ACGTA"]), k=4))


def test_a_cap_below_one_is_refused():
    one = sketch(coded(["ACGTA"]), k=3)
    with pytest.raises(ConfigError, match="max_occurrences is 0"):
        best_matches(one, one, max_occurrences=0)


def longest_by_hand(query, target):
    """The longest common substring without N, by trying every length."""
    for length in range(len(query), 0, -1):
        for at in range(len(query) - length + 1):
            piece = query[at : at + length]
            if "N" not in piece and piece in target:
                return length
    return 0


@pytest.mark.parametrize("seed", range(3))
def test_longest_matches_on_both_strands(seed):
    queries, targets = family(seed, n=25), family(seed + 50, n=10) + family(seed, n=10)
    found = longest_matches(coded(queries), coded(targets), k=K)
    for row, query in enumerate(queries):
        back = query[::-1].translate(COMPLEMENT)
        plus = max(longest_by_hand(query, one) for one in targets)
        minus = max(longest_by_hand(back, one) for one in targets)
        expected = max(plus, minus)
        assert found.length[row] == (expected if expected >= K else 0)
        if expected < K:
            assert found.target[row] == -1
            continue
        length, start = int(found.length[row]), int(found.query_start[row])
        there = int(found.target_start[row])
        piece = query[start : start + length]
        held = targets[found.target[row]][there : there + length]
        assert bool(found.reverse[row]) == (minus > plus)
        assert held == (piece[::-1].translate(COMPLEMENT) if found.reverse[row] else piece)


def test_longest_match_in_nothing():
    found = longest_matches(coded(["ACGTACGT"]), [], k=4)
    assert (found.length.tolist(), found.target.tolist()) == ([0], [-1])


def test_a_whole_sequence_is_found_on_the_other_strand():
    codes = np.random.default_rng(9).integers(0, 4, 500).astype(np.uint8)
    found = longest_matches([reverse_complement(codes)[100:400]], [codes], k=16)
    assert (found.length[0], found.target_start[0], found.reverse[0]) == (300, 100, True)

"""Bits per base of Markov models over tokens, against sums written out."""

import math

import numpy as np
import pytest

from lightning_dna.tokenizers.token_markov import TokenMarkov

KNOWN = np.array([False, True, True, True])  # id 0 is what stands for an N


def test_order_0_by_hand():
    model = TokenMarkov([np.array([1, 1, 2, 0, 1])], KNOWN)
    # Four tokens of bases, three kinds of them: 4/7, 2/7, 1/7.
    order_0, _ = model.bits([np.array([1, 2, 0, 3])])
    assert order_0 == pytest.approx(-math.log2(4 / 7) - math.log2(2 / 7) - math.log2(1 / 7))


def test_order_1_by_hand():
    model = TokenMarkov([np.array([1, 2, 1, 2, 1, 3, 0, 3, 2])], KNOWN)
    # 1: 3 times, 2: 3 times, 3: twice, so 4/11, 4/11, 3/11. Behind 1: 2, 2, 3. Behind 3: 2.
    alone = {1: 4 / 11, 2: 4 / 11, 3: 3 / 11}
    _, order_1 = model.bits([np.array([1, 2, 3, 0, 3, 1])])
    two_behind_one = (2 + 2 * alone[2]) / (3 + 2)
    three_behind_two = (0 + 1 * alone[3]) / (2 + 1)  # behind 2 there was 1, twice
    one_behind_three = (0 + 1 * alone[1]) / (1 + 1)
    factors = [alone[1], two_behind_one, three_behind_two, alone[3], one_behind_three]
    assert order_1 == pytest.approx(-sum(map(math.log2, factors)))


def test_what_was_never_followed_by_anything_is_followed_by_order_0():
    model = TokenMarkov([np.array([1, 2])], KNOWN)
    order_0, order_1 = model.bits([np.array([3, 1])])
    assert order_1 == pytest.approx(order_0)


def test_probabilities_sum_to_one():
    rng = np.random.default_rng(0)
    known = np.arange(7) > 1
    model = TokenMarkov([rng.integers(0, 7, 50) for _ in range(3)], known)
    for left in range(2, 7):
        pairs = [model.bits([np.array([left, right])]) for right in range(2, 7)]
        first = [model.bits([np.array([left])])[0]] * 5
        following = [2 ** -(pair[1] - one) for pair, one in zip(pairs, first, strict=True)]
        assert sum(following) == pytest.approx(1)


def test_memory_helps_where_there_is_an_order():
    model = TokenMarkov([np.tile([1, 2, 3], 100)], KNOWN)
    order_0, order_1 = model.bits([np.tile([1, 2, 3], 10)])
    assert order_0 == pytest.approx(30 * math.log2(3))
    assert order_1 < 3

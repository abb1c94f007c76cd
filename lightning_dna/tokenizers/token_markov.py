"""How many bits a base costs a Markov model of tokens: a cheap measure of a vocabulary.

A tokenizer cuts a sequence in one way, so the code length of its tokens is one of its bases, and
divided by their number comparable between vocabularies: an upper bound on the bits per base of the
sequence under such a model. It is not what a trained network would reach. It favours vocabularies
whose tokens are long enough to be context, and few enough to be counted on the corpus at hand.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from lightning_dna.tokenizers.base import Ids

Counts = npt.NDArray[np.int64]


class TokenMarkov:
    """Markov models of order 0 and 1 over tokens, counted once.

    Order 0: ``P(y) = (n(y) + 1) / (N + V)`` over the ``V`` tokens of bases. Order 1, smoothed after
    Witten and Bell: ``P(y | x) = (n(xy) + t(x) P(y)) / (n(x) + t(x))``, with ``t(x)`` the number of
    different tokens seen behind ``x``. What is not of bases parts runs; the first token of a run
    is coded by order 0.

    Args:
        runs: Ids of training sequences.
        known: Flag of each id: whether it stands for bases, shape ``(vocabulary,)``.

    References:
        Witten and Bell, IEEE Transactions on Information Theory 37(4), 1991, method C.

    Example:
        >>> model = TokenMarkov([np.array([0, 1, 0, 1])], np.array([True, True]))
        >>> order_0, order_1 = model.bits([np.array([0, 1])])
        >>> order_0, round(order_1, 4)  # 1 + 1 bits; 1 + log2 of (2 + 1) / (2 + 1 / 2)
        (2.0, 1.263)
    """

    def __init__(self, runs: Iterable[Ids], known: npt.NDArray[np.bool_]) -> None:
        self._known = known
        self._size = len(known)
        tokens = np.zeros(self._size, dtype=np.int64)
        found = [np.zeros(0, dtype=np.int64)]
        for ids in runs:
            left, right = self._pairs(ids)
            tokens += np.bincount(ids[known[ids]], minlength=self._size)
            found.append(left * self._size + right)
        self._keys, self._counts = np.unique(np.concatenate(found), return_counts=True)
        before = self._keys // self._size
        self._behind = np.bincount(before, self._counts, self._size)
        self._kinds = np.bincount(before, minlength=self._size).astype(np.float64)
        self._alone = np.where(known, (tokens + 1.0) / (tokens.sum() + known.sum()), 0.0)

    def bits(self, runs: Iterable[Ids]) -> tuple[float, float]:
        """Return the bits of sequences under order 0 and under order 1.

        Args:
            runs: Ids of each sequence; those that stand for no bases cost nothing.
        """
        order_0 = order_1 = 0.0
        for ids in runs:
            flags = self._known[ids]
            alone = -np.log2(self._alone[ids[flags]])
            left, right = self._pairs(ids)
            after = -np.log2(self._alone[right])
            order_0 += float(alone.sum())
            order_1 += float(
                alone.sum() - after.sum() - np.log2(self._following(left, right)).sum()
            )
        return order_0, order_1

    def _pairs(self, ids: Ids) -> tuple[Counts, Counts]:
        """Return the neighbours of which both stand for bases."""
        wide = ids.astype(np.int64)
        both = self._known[wide[:-1]] & self._known[wide[1:]]
        return wide[:-1][both], wide[1:][both]

    def _following(self, left: Counts, right: Counts) -> npt.NDArray[np.float64]:
        """Return P(right | left) of pairs."""
        counts = np.zeros(len(left))
        if len(self._keys):
            keys = left * self._size + right
            place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
            counts = np.where(self._keys[place] == keys, self._counts[place], 0.0)
        kinds, behind = self._kinds[left], self._behind[left]
        unseen = behind == 0  # such a token has nothing behind it to count: order 0
        kinds = np.where(unseen, 1.0, kinds)
        return np.asarray((counts + kinds * self._alone[right]) / (behind + kinds))

"""Byte-pair encoding as tables: what a list of merges says about every token and every border.

Tokens are numbered anew here: first the symbols (single characters) that merges use, then one
token for each merge, in the order of the merges. So a greater number was made later, and the number
of the token that a pair becomes is also the rank of that merge.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Pair = tuple[int, int]
Ranks = Mapping[Pair, tuple[int, int]]
Ints = npt.NDArray[np.int32]
Bits = npt.NDArray[np.uint64]

NEVER = 2**31 - 1
"""The rank of a merge that does not exist."""
MOST_BORDERS = 1 << 14
"""Tokens up to which the table of borders is built: a bit for each pair, 32 MiB."""
_WINDOW_ROWS = 1 << 17
_LEFT, _RIGHT = 0x9E3779B1, 0x85EBCA6B


@dataclass(frozen=True, kw_only=True)
class Merges:
    """A vocabulary of symbols and merges in the numbering of this module.

    Attributes:
        n_symbols: Number of symbols, numbered from 0.
        pairs: The two tokens of each merge, in the order of the merges.
        made: The token that each merge makes: usually the next number, but an older one where two
            merges make the same token.
        n_tokens: Number of tokens.
    """

    n_symbols: int
    pairs: tuple[Pair, ...]
    made: tuple[int, ...]
    n_tokens: int

    @cached_property
    def texts(self) -> tuple[tuple[int, ...], ...]:
        """The symbols of each token that is in order."""
        texts: list[tuple[int, ...]] = [(symbol,) for symbol in range(self.n_symbols)]
        for left, right in self.pairs:
            texts.append(texts[left] + texts[right])
        return tuple(texts)

    @cached_property
    def rank(self) -> dict[Pair, tuple[int, int]]:
        """The rank and the token of each pair that merges; of equal pairs the last one counts."""
        pairs = zip(self.pairs, self.made, strict=True)
        return {pair: (rank, token) for rank, (pair, token) in enumerate(pairs)}

    @cached_property
    def in_order(self) -> bool:
        """Whether each merge makes a token of its own out of older ones."""
        tokens = range(self.n_symbols, self.n_tokens)
        return self.made == tuple(tokens) and all(
            max(pair) < token for pair, token in zip(self.pairs, tokens, strict=True)
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """Arrays that the encoders read.

    Attributes:
        n_symbols: Number of symbols.
        window: Symbols that one look-up of ``windows`` covers.
        tokens: Per token its left part, right part, longest shorter prefix that is a token (-1 if
            none) and number of symbols, shape ``(n_tokens, 4)``.
        children: Per node of the prefix tree the child for each symbol, 0 for none.
        ends: Per node the token that ends there, -1 for none.
        windows: For each ``window`` symbols (to the base ``n_symbols + 1``, whose last digit is
            the end of a run): the longest token they start with, and the node that a longer one
            would pass, 0 for none.
        pair_keys: Hash table of pairs, ``left * n_tokens + right + 1``, 0 for an empty place.
        pair_tokens: The token that the pair at the same place becomes.
        merges: What the tables were built from.
    """

    n_symbols: int
    window: int
    tokens: Ints
    children: Ints
    ends: Ints
    windows: Ints
    pair_keys: npt.NDArray[np.int64]
    pair_tokens: Ints
    merges: Merges

    @property
    def longest(self) -> int:
        """Symbols of the longest token."""
        return int(self.tokens[:, 3].max(initial=1))


def build_tables(merges: Merges) -> Tables:
    """Build the tables of merges that are ``in_order``."""
    texts = merges.texts
    # A token whose own symbols do not merge into it never occurs in any text.
    occurs = [
        index < merges.n_symbols or merged(text, merges.rank) == [index]
        for index, text in enumerate(texts)
    ]
    children, ends = _prefix_tree(texts, occurs, merges.n_symbols)
    tokens = np.zeros((merges.n_tokens, 4), dtype=np.int32)
    for index, text in enumerate(texts):
        own = index - merges.n_symbols
        left, right = merges.pairs[own] if own >= 0 else (index, index)
        tokens[index] = left, right, _longest_prefix(text, children, ends), len(text)
    window, longest = 1, max(map(len, texts), default=1)
    while window < longest and (merges.n_symbols + 1) ** (window + 1) <= _WINDOW_ROWS:
        window += 1
    keys, made = _pair_table(merges)
    return Tables(
        n_symbols=merges.n_symbols,
        window=window,
        tokens=tokens,
        children=children,
        ends=ends,
        windows=_windows(children, ends, merges.n_symbols, window),
        pair_keys=keys,
        pair_tokens=made,
        merges=merges,
    )


def merged(symbols: Sequence[int], rank: Ranks) -> list[int]:
    """Encode by the definition: merge the pair of lowest rank, the leftmost first, until none is.

    Quadratic in the number of symbols: for single tokens.
    """
    tokens = list(symbols)
    while len(tokens) > 1:
        found = [(*rank[pair], at) for at, pair in enumerate(pairwise(tokens)) if pair in rank]
        if not found:
            break
        _, token, at = min(found, key=lambda merge: (merge[0], merge[2]))
        tokens[at : at + 2] = [token]
    return tokens


def _prefix_tree(
    texts: Sequence[Sequence[int]], occurs: Sequence[bool], n_symbols: int
) -> tuple[Ints, Ints]:
    """Return children and ends of the tree of the tokens that occur; node 0 is the root."""
    children = [[0] * n_symbols]
    ends = [-1]
    for index, text in enumerate(texts):
        if not occurs[index]:
            continue
        node = 0
        for symbol in text:
            if not children[node][symbol]:
                children[node][symbol] = len(children)
                children.append([0] * n_symbols)
                ends.append(-1)
            node = children[node][symbol]
        ends[node] = index
    return np.array(children, dtype=np.int32), np.array(ends, dtype=np.int32)


def _longest_prefix(text: Sequence[int], children: Ints, ends: Ints) -> int:
    """Return the longest token that the text starts with and is not all of it, or -1."""
    node, found = 0, -1
    for symbol in text[:-1]:
        node = int(children[node, symbol])
        if node == 0:
            break
        if ends[node] >= 0:
            found = int(ends[node])
    return found


def _windows(children: Ints, ends: Ints, n_symbols: int, window: int) -> Ints:
    """Return the table of windows, built one more symbol at a time."""
    nodes = np.zeros(1, dtype=np.int32)
    found = np.full(1, -1, dtype=np.int32)
    alive = np.ones(1, dtype=bool)
    children = np.concatenate((children, np.zeros((len(children), 1), dtype=np.int32)), axis=1)
    for _ in range(window):
        nodes = np.where(alive[:, None], children[nodes], 0).reshape(-1)
        alive = nodes > 0
        found = np.repeat(found, n_symbols + 1)
        found = np.where(alive & (ends[nodes] >= 0), ends[nodes], found)
    longer = alive & (children[nodes].max(axis=1) > 0)
    return np.stack((found, np.where(longer, nodes, 0)), axis=1).astype(np.int32)


def _pair_table(merges: Merges) -> tuple[npt.NDArray[np.int64], Ints]:
    """Return the hash table of the pairs that merge, at most a quarter full."""
    places = 1 << (4 * len(merges.pairs) + 1).bit_length()
    keys = np.zeros(places, dtype=np.int64)
    made = np.full(places, NEVER, dtype=np.int32)
    for (left, right), token in zip(merges.pairs, merges.made, strict=True):
        place = (left * _LEFT + right * _RIGHT) & (places - 1)
        key = left * merges.n_tokens + right + 1
        while keys[place] not in (0, key):
            place = (place + 1) & (places - 1)
        keys[place], made[place] = key, token
    return keys, made


def pairs_by_left(merges: Merges) -> tuple[npt.NDArray[np.int64], Ints, Ints]:
    """Return the pairs that merge, sorted by left token: first place of each, right, made."""
    table = np.array([(*pair, made) for pair, (_, made) in merges.rank.items()], dtype=np.int32)
    table = table.reshape(-1, 3)[np.argsort(table.reshape(-1, 3)[:, 0], kind="stable")]
    first = np.searchsorted(table[:, 0], np.arange(merges.n_tokens + 1))
    return first, np.ascontiguousarray(table[:, 1]), np.ascontiguousarray(table[:, 2])


def border_rows(tables: Tables) -> npt.NDArray[np.bool_]:
    """Return for each pair of tokens whether they stay apart, shape ``(n_tokens, n_tokens)``.

    Two neighbours stay apart if no merge crosses their border while both are made from symbols.
    Row by row: when the later one of the two was made, its near part had to be apart from the other
    until then. The rank at which the border of ``a`` and ``b`` falls is therefore that of
    ``right(a)`` and ``b`` if that is lower than ``a``, or that of ``a`` and ``left(b)`` if that is
    at most ``b`` (of equal ranks the leftmost merges first), and otherwise that of the pair.
    """
    merges = tables.merges
    n = merges.n_tokens
    left, right = tables.tokens[:, 0], tables.tokens[:, 1]
    first, other, made = pairs_by_left(merges)
    depth = np.zeros(n, dtype=np.int32)
    for token in range(merges.n_symbols, n):
        depth[token] = depth[left[token]] + 1
    levels = [np.flatnonzero(depth == level) for level in range(depth.max() + 1)]
    kept: dict[int, Ints] = {}
    needed = {int(token) for token in right}
    apart = np.zeros((n, n), dtype=bool)
    merge = np.full(n, NEVER, dtype=np.int32)
    for a in range(n):
        merge[other[first[a] : first[a + 1]]] = made[first[a] : first[a + 1]]
        row = merge.copy()
        if a >= merges.n_symbols:
            older = kept[int(right[a])][:a]
            row[:a] = np.where(older < a, older, row[:a])
        for level in levels[1:]:
            later = level[np.searchsorted(level, a) :]
            near = row[left[later]]
            row[later] = np.where(near <= later, near, row[later])
        merge[other[first[a] : first[a + 1]]] = NEVER
        if a in needed:
            kept[a] = row
        apart[a] = row == NEVER
    return apart

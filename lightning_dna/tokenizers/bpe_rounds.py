"""The merges of byte-pair training, many at a time: exact, from a few passes over the tokens.

Training merges the most frequent pair of neighbours (of equal counts the one of smaller ids), again
and again. One round of ours finds all merges down to some place in that order at once:

1. count the pairs, and take the most frequent ones, the candidates;
2. cut the tokens wherever two neighbours are no candidate, and count the distinct segments;
3. merge within the segments, until the best pair comes after the last candidate in the order.

That is exact. A pair with a new token, ``(x, ab)``, stands only where ``(x, a)`` stood, is not more
frequent than that pair was and has greater ids; so as long as it comes before the last candidate,
``(x, a)`` was a candidate, and no cut went through. Segments are short and few, so the work on them
costs little, and memory beyond the tokens does not grow with the corpus.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from lightning_dna.tokenizers.backend import Backend, compiled_kernels
from lightning_dna.tokenizers.bpe_tables import Pair

Tokens = npt.NDArray[np.uint16]
Blocks = Callable[[], Iterable[Tokens]]

BREAK = 0xFFFF
"""Stands between words."""
_MOST = 1000  # candidates of a round
_COVERED = 0.35  # of the pairs of the corpus, by the candidates


class Candidate(NamedTuple):
    """A frequent pair, and how often it stands."""

    times: int
    left: int
    right: int


class Learned(NamedTuple):
    """The merges of a round, and how often each pair stood in the corpus."""

    pairs: list[Pair]
    counts: list[int]
    rewrite: Callable[[Tokens], Tokens]


class Rounds(Protocol):
    """The three passes of a round, and the fourth that carries it out."""

    def candidates(self, blocks: Blocks, n_tokens: int, least: int) -> list[Candidate]:
        """Return the most frequent pairs, best first; none if all are rarer than ``least``."""
        ...

    def learn(
        self, blocks: Blocks, found: list[Candidate], n_tokens: int, most: int, least: int
    ) -> Learned:
        """Return at most ``most`` merges down to the last candidate."""
        ...


def make_rounds(backend: Backend = "auto") -> Rounds:
    """Return the fastest implementation at hand; their merges are the same."""
    if compiled_kernels(backend) is None:
        return PlainRounds()
    from lightning_dna.tokenizers.bpe_rounds_driver import CompiledRounds

    return CompiledRounds()


def chosen(ranked: list[Candidate], total: int) -> list[Candidate]:
    """Return the leading candidates: few enough, and a small enough part of all pairs."""
    covered, kept = 0, 0
    for candidate in ranked[:_MOST]:
        covered += candidate.times
        if kept and covered > _COVERED * total:
            break
        kept += 1
    return ranked[:kept]


def joined_blocks(blocks: Iterable[Tokens], consumed: Callable[[Tokens], int]) -> Iterator[Tokens]:
    """Yield blocks that begin with what the last one left over.

    Args:
        blocks: Consecutive tokens.
        consumed: Tells how many leading tokens of a block are done with.
    """
    held = np.zeros(0, dtype=np.uint16)
    for block in blocks:
        held = np.concatenate((held, block)) if len(held) else block
        done = consumed(held)
        yield held[:done]
        held = held[done:].copy()
    yield held


class PlainRounds:
    """The passes in numpy and Python."""

    def candidates(self, blocks: Blocks, n_tokens: int, least: int) -> list[Candidate]:
        """Return the most frequent pairs, best first."""
        counts: Counter[int] = Counter()
        last = np.full(1, BREAK, dtype=np.uint16)
        for block in blocks():
            tokens = np.concatenate((last, block)).astype(np.int64)
            left, right = tokens[:-1], tokens[1:]
            pairs = (left * n_tokens + right)[(left != BREAK) & (right != BREAK)]
            keys, times = np.unique(pairs, return_counts=True)
            counts.update(dict(zip(keys.tolist(), times.tolist(), strict=True)))
            last = block[-1:] if len(block) else last
        total = counts.total()
        ranked = sorted((-count, key) for key, count in counts.items() if count >= least)
        best = [Candidate(-count, *divmod(key, n_tokens)) for count, key in ranked[: _MOST + 1]]
        return chosen(best, total)

    def learn(
        self, blocks: Blocks, found: list[Candidate], n_tokens: int, most: int, least: int
    ) -> Learned:
        """Return at most ``most`` merges down to the last candidate."""
        inside = np.zeros(1 << 16, dtype=bool)
        keys = np.array([c.left * n_tokens + c.right for c in found], dtype=np.int64)
        inside[[c.left for c in found]] = True
        segments: Counter[bytes] = Counter()

        def cut(tokens: Tokens) -> npt.NDArray[np.int64]:
            """Return the places where a segment of two or more tokens begins and ends."""
            wide = tokens.astype(np.int64)
            near = np.flatnonzero(inside[tokens[:-1]])
            kept = near[np.isin(wide[near] * n_tokens + wide[near + 1], keys)]
            kept = kept[tokens[kept + 1] != BREAK]
            first = np.diff(kept, prepend=-2) != 1
            last = np.diff(kept, append=np.iinfo(np.int64).max) != 1
            return np.stack((kept[first], kept[last] + 2), axis=1)

        def done(tokens: Tokens) -> int:
            spans = cut(tokens)
            return (
                int(spans[-1, 0])
                if len(spans) and spans[-1, 1] == len(tokens)
                else max(len(tokens) - 1, 0)
            )

        for tokens in joined_blocks(blocks(), done):
            for start, end in cut(tokens).tolist():
                segments[tokens[start:end].tobytes()] += 1
        pairs, counts, results = _merge_segments(segments, found[-1], n_tokens, most, least)

        def rewrite(tokens: Tokens) -> Tokens:
            parts, at = [], 0
            for start, end in cut(tokens).tolist():
                parts += [tokens[at:start], results[tokens[start:end].tobytes()]]
                at = end
            return np.concatenate((*parts, tokens[at:]))

        return Learned(pairs, counts, rewrite)


def _merge_segments(
    segments: Counter[bytes], last: Candidate, n_tokens: int, most: int, least: int
) -> tuple[list[Pair], list[int], dict[bytes, Tokens]]:
    """Merge within segments until the best pair comes after ``last``."""
    words = [list(np.frombuffer(segment, dtype=np.uint16).tolist()) for segment in segments]
    times = list(segments.values())
    counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for number, word in enumerate(words):
        for pair in pairwise(word):
            counts[pair] += times[number]
            where[pair].add(number)
    pairs: list[Pair] = []
    totals: list[int] = []
    while len(pairs) < most and counts:
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        if (-counts[best], best) > (-last.times, (last.left, last.right)) or counts[best] < least:
            break
        new = n_tokens + len(pairs)
        pairs.append(best)
        totals.append(counts[best])
        for number in where[best]:
            word = words[number]
            counts.subtract(Counter(dict(_pair_counts(word, times[number]))))
            words[number] = word = _replaced(word, best, new)
            for pair, count in _pair_counts(word, times[number]).items():
                counts[pair] += count
                where[pair].add(number)
        counts = Counter({pair: count for pair, count in counts.items() if count > 0})
    results = [np.array(word, dtype=np.uint16) for word in words]
    return pairs, totals, dict(zip(segments, results, strict=True))


def _pair_counts(word: list[int], times: int) -> Counter[Pair]:
    """Count the pairs of one word that stands ``times`` times."""
    counts: Counter[Pair] = Counter()
    for pair in pairwise(word):
        counts[pair] += times
    return counts


def _replaced(word: list[int], pair: Pair, new: int) -> list[int]:
    """Return a word with a pair merged, the leftmost first."""
    result, at = [], 0
    while at < len(word):
        if at + 1 < len(word) and (word[at], word[at + 1]) == pair:
            result.append(new)
            at += 2
        else:
            result.append(word[at])
            at += 1
    return result

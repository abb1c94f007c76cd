"""Longest exact matches between sequences, on both strands: seeds, joined along diagonals.

Every stretch that two sequences share is found if it holds k bases or more: all of its k-mers are
hits on one diagonal, one after the other, and the number of such hits gives its length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lightning_dna.genome.alphabet import CODE_BITS, Codes, N, reverse_complement
from lightning_dna.genome.kmers import Integers, Values, check_k, forward_kmers, joined_blocks

_QUERY_BASES = 1 << 17  # bases of queries that are matched together
_QUERY_BITS = np.int64(31)
MAX_POSITIONS = 1_000


@dataclass(frozen=True, kw_only=True, eq=False)
class ExactMatches:
    """The longest exact match of every query; arrays of shape ``(queries,)``.

    Attributes:
        length: Bases of the match; 0 where there is none of k bases or more.
        target: Index of the target; -1 without a match.
        target_start: First base of the match in the target, on its plus strand.
        query_start: First base of the match in the query, on the query's plus strand.
        reverse: Whether the query matches with its other strand.
    """

    length: Integers
    target: Integers
    target_start: Integers
    query_start: Integers
    reverse: npt.NDArray[np.bool_]


def longest_matches(
    queries: Sequence[Codes],
    targets: Sequence[Codes],
    *,
    k: int = 16,
    max_positions: int = MAX_POSITIONS,
    query_groups: Integers | None = None,
    target_groups: Integers | None = None,
) -> ExactMatches:
    """Find for every query its longest stretch that a target holds letter by letter.

    N matches nothing. Among matches of one length the plus strand comes first, then the first
    target, then the first place.

    Args:
        queries: Base codes of each query.
        targets: Base codes of each target.
        k: Shortest match that is found, 2 to 31 bases.
        max_positions: A k-mer with more places than this in the targets is not followed, which can
            only shorten what is found.
        query_groups: Group of each query, shape ``(queries,)``: a query is not matched with the
            targets of its own group. ``None``: with all.
        target_groups: Group of each target, shape ``(targets,)``.

    Raises:
        ConfigError: If ``k`` is out of range.

    Example:
        >>> from lightning_dna.genome.alphabet import encode
        >>> found = longest_matches([encode("TTACCATT")], [encode("GGGATGGTG")], k=4)
        >>> found.length.tolist(), found.target_start.tolist(), found.reverse.tolist()
        ([5], [3], [True])
    """
    check_k(k)
    seeds = _Seeds.of(targets, k)
    best = [np.zeros(len(queries), dtype=np.int64) for _ in range(3)]
    reverse = np.zeros(len(queries), dtype=np.bool_)
    for other_strand in (False, True):
        turned = [reverse_complement(one) for one in queries] if other_strand else queries
        found = _longest(turned, seeds, k, max_positions, query_groups, target_groups)
        better = found[0] > best[0]
        for mine, new in zip(best, found, strict=True):
            mine[better] = new[better]
        reverse[better] = other_strand
    length, place, start = best
    target = np.searchsorted(seeds.starts, place, side="right") - 1
    hit = length > 0
    lengths = np.array([len(one) for one in queries], dtype=np.int64)
    return ExactMatches(
        length=length,
        target=np.where(hit, target, -1),
        target_start=np.where(hit, place - seeds.starts[target], -1),
        query_start=np.where(hit, np.where(reverse, lengths - start - length, start), -1),
        reverse=reverse,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seeds:
    """The places of every k-mer of the targets, which are joined with a gap after each.

    Attributes:
        keys: Distinct k-mers, sorted.
        edges: Where the places of each k-mer begin, shape ``(keys + 1,)``.
        places: Places in the joined targets, k-mer by k-mer.
        starts: First base of each target in the joined targets.
    """

    keys: Values
    edges: Integers
    places: Integers
    starts: Integers

    @classmethod
    def of(cls, targets: Sequence[Codes], k: int) -> "_Seeds":
        """Index the targets."""
        gap = np.array([N], dtype=np.uint8)
        parts = [part for one in targets for part in (one & np.uint8(CODE_BITS), gap)]
        joined = np.concatenate([gap[:0], *parts])
        values, valid = forward_kmers(joined, k)
        places = np.flatnonzero(valid)
        order = np.argsort(values[places], kind="stable")
        places = places[order]
        values = values[places]
        first = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))[: len(values)]
        lengths = np.array([0, *(len(one) + 1 for one in targets[:-1])], dtype=np.int64)
        return cls(
            keys=values[first],
            edges=np.append(first, len(values)),
            places=places,
            starts=np.cumsum(lengths),
        )


def _longest(
    queries: Sequence[Codes],
    seeds: _Seeds,
    k: int,
    max_positions: int,
    query_groups: Integers | None,
    target_groups: Integers | None,
) -> tuple[Integers, Integers, Integers]:
    """Return length, place in the joined targets and place in the query of the longest matches."""
    length, place, start = (np.zeros(len(queries), dtype=np.int64) for _ in range(3))
    if len(seeds.keys) == 0:
        return length, place, start
    for codes, owners in joined_blocks(queries, k=k, block=_QUERY_BASES, whole=True):
        values, valid = forward_kmers(codes, k)
        at = np.flatnonzero(valid)
        key = np.minimum(np.searchsorted(seeds.keys, values[at]), len(seeds.keys) - 1)
        known = seeds.keys[key] == values[at]
        known &= np.diff(seeds.edges)[key] <= max_positions
        at, key = at[known], key[known]
        counts = np.diff(seeds.edges)[key]
        offsets = np.cumsum(counts) - counts
        walk = np.arange(counts.sum()) + np.repeat(seeds.edges[key] - offsets, counts)
        query, target = np.repeat(at, counts), seeds.places[walk]
        if query_groups is not None and target_groups is not None:
            there = np.searchsorted(seeds.starts, target, side="right") - 1
            other = query_groups[owners[query]] != target_groups[there]
            query, target = query[other], target[other]
        # Sorted by diagonal, then place: hits of one match follow each other by 1.
        diagonal = target - query + len(codes)
        key = np.sort((diagonal << _QUERY_BITS) | query)
        first = np.flatnonzero(np.diff(key, prepend=-2) != 1)
        run = np.diff(np.append(first, len(key)))
        query = key[first] & ((1 << _QUERY_BITS) - 1)
        target = (key[first] >> _QUERY_BITS) - len(codes) + query
        owner = owners[query]
        order = np.lexsort((target, -run, owner))
        top = order[np.flatnonzero(np.diff(owner[order], prepend=-1))]
        begins = np.searchsorted(owners, owner[top])
        length[owner[top]] = run[top] + k - 1
        place[owner[top]], start[owner[top]] = target[top], query[top] - begins
    return length, place, start

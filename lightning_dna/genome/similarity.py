"""How much of a sequence stands in others: k-mer containment, best matches, homology clusters.

Containment of a query in a target is the share of the query's distinct canonical k-mers that the
target has, from 0 to 1; the strand does not matter. One changed base takes k k-mers with it, so
that relatives of 90 % identity still share (0.9^k) of them. Nothing here grows with the square of
the number of sequences: pairs are found through an inverted index, a bounded number at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from lightning_dna.errors import ConfigError
from lightning_dna.genome.alphabet import CODE_BITS, Codes, reverse_complement
from lightning_dna.genome.kmers import Integers, Sketches, Values, distinct, kmer_blocks, sketch

Shares = npt.NDArray[np.float64]

MAX_OCCURRENCES = 2_000
# Targets that a k-mer is followed to where more than MAX_OCCURRENCES have it: the first ones, the
# same for all such k-mers of a family, so that its members meet there, however many they are.
_OF_FREQUENT = 32
_PAIRS = 1 << 22  # pairs counted together
_FILTER_BITS = 24


def containment(
    queries: Sequence[Codes], targets: Sequence[Codes], *, k: int, scaled: int = 1
) -> Shares:
    """Return the share of each query's k-mers that occur anywhere in the targets.

    The targets are streamed: memory grows with the queries alone.

    Args:
        queries: Base codes of each query.
        targets: Base codes of the collection, such as chromosomes.
        k: Bases of a k-mer, 2 to 31.
        scaled: Estimate from one in this many k-mers; 1 is exact.

    Returns:
        Values from 0 to 1, shape ``(queries,)``; NaN for a query without a k-mer.

    Raises:
        ConfigError: If ``k`` or ``scaled`` is out of range.

    Example:
        >>> from lightning_dna.genome.alphabet import encode
        >>> containment([encode("ACCA"), encode("AAAA")], [encode("TTGGT")], k=3).tolist()
        [1.0, 0.0]
    """
    sketches = sketch(queries, k=k, scaled=scaled)
    wanted = distinct(sketches.values)
    found = np.zeros(len(wanted), dtype=np.bool_)
    shift = np.uint64(64 - _FILTER_BITS)
    maybe = np.zeros(1 << _FILTER_BITS, dtype=np.bool_)
    maybe[wanted >> shift] = True
    for values, _ in kmer_blocks(targets, k=k, scaled=scaled):
        values = values[maybe[values >> shift]]
        places, known = _look_up(wanted, values)
        found[places[known]] = True
    hits = found[_look_up(wanted, sketches.values)[0]]
    before = np.concatenate(([0], np.cumsum(hits)))
    return _shares(np.diff(before[sketches.offsets]), sketches.sizes)


@dataclass(frozen=True, kw_only=True, eq=False)
class BestMatches:
    """For every query the target that holds most of its k-mers.

    Attributes:
        target: Index of that target, the first among equals; -1 if none shares a k-mer. Shape
            ``(queries,)``, like the others.
        containment: Share of the query's k-mers in that target; NaN without k-mers.
        pooled: Share of the query's k-mers in all targets together.
        capped: Share of the query's k-mers that were followed to a few targets only, as too many
            have them.
    """

    target: Integers
    containment: Shares
    pooled: Shares
    capped: Shares


def best_matches(
    queries: Sketches,
    targets: Sketches,
    *,
    max_occurrences: int = MAX_OCCURRENCES,
    other: bool = False,
) -> BestMatches:
    """Find for every query the target with the highest containment.

    A k-mer that stands in more than ``max_occurrences`` targets is followed to the first few of
    them alone. Best matches can therefore only be underestimated, and by no more than ``capped``;
    of a family of thousands the first members still hold nearly all that the best one does.

    Args:
        queries: Sketches of the queries.
        targets: Sketches of the targets.
        max_occurrences: Most targets that a k-mer is followed to.
        other: Queries and targets are the same collection, and a sequence does not match itself;
            ``pooled`` is then the share that stands in any other sequence.

    Raises:
        ConfigError: If the two were made with different ``k`` or ``scaled``.
    """
    index = _Index.of(targets)
    n = len(queries)
    target = np.full(n, -1, dtype=np.int64)
    shared, pooled, capped = (np.zeros(n, dtype=np.int64) for _ in range(3))
    for block in _joins(queries, index, max_occurrences):
        count, row, column = block.pairs(own=other)
        pooled[block.rows] = block.pooled(1 if other else 0)
        capped[block.rows] = block.capped
        # Of each query the pair with most k-mers, the first target among equals.
        order = np.lexsort((column, -count, row))
        first = order[np.flatnonzero(np.diff(row[order], prepend=-1))]
        target[row[first]], shared[row[first]] = column[first], count[first]
    return BestMatches(
        target=target,
        containment=_shares(shared, queries.sizes),
        pooled=_shares(pooled, queries.sizes),
        capped=_shares(capped, queries.sizes),
    )


def have_relatives(
    queries: Sketches,
    targets: Sketches,
    *,
    threshold: float,
    max_occurrences: int = MAX_OCCURRENCES,
) -> npt.NDArray[np.bool_]:
    """Flag the queries that a target is related to, by the rule of `homology_clusters`.

    Args:
        queries: Sketches of the queries.
        targets: Sketches of the targets.
        threshold: Share of the smaller sketch's k-mers, in (0, 1].
        max_occurrences: Most targets that one k-mer is followed to.

    Returns:
        Shape ``(queries,)``.
    """
    flags = np.zeros(len(queries), dtype=np.bool_)
    for block in _joins(queries, _Index.of(targets), max_occurrences):
        count, row, column = block.pairs(own=False)
        smaller = np.minimum(queries.sizes[row], targets.sizes[column])
        flags[row[count >= threshold * smaller]] = True
    return flags


def homology_clusters(
    codes: Sequence[Codes],
    *,
    k: int,
    threshold: float,
    scaled: int = 1,
    max_occurrences: int = MAX_OCCURRENCES,
) -> Integers:
    """Group sequences that share k-mers: connected components of the similarity graph.

    Two sequences are joined if the smaller sketch has ``threshold`` or more of its k-mers in the
    other one. Identical sequences and reverse complements are always together, also without a
    k-mer. A k-mer that stands in more than ``max_occurrences`` different sequences joins each with
    the first few of them alone.

    Args:
        codes: Base codes of each sequence.
        k: Bases of a k-mer, 2 to 31.
        threshold: Containment from which two sequences are relatives, in (0, 1].
        scaled: Compare one in this many k-mers; 1 compares all.
        max_occurrences: Most sequences that one k-mer is followed to.

    Returns:
        Cluster of each sequence, numbered from 0 by first appearance, shape ``(sequences,)``.

    Raises:
        ConfigError: If an argument is out of range.

    Example:
        >>> from lightning_dna.genome.alphabet import encode
        >>> texts = ["ACCATTGAC", "GTCAATGGT", "GGGGGGGGG"]
        >>> homology_clusters([encode(text) for text in texts], k=5, threshold=0.5).tolist()
        [0, 0, 1]
    """
    if not 0.0 < threshold <= 1.0:
        raise ConfigError(f"threshold is {threshold}; allowed: (0, 1].")
    copies = identical_groups(codes)
    _, first = np.unique(copies, return_index=True)
    sketches = sketch([codes[index] for index in first], k=k, scaled=scaled)
    labels = components(sketches, threshold=threshold, max_occurrences=max_occurrences)
    return _by_appearance(labels[copies])


def components(
    sketches: Sketches, *, threshold: float, max_occurrences: int = MAX_OCCURRENCES
) -> Integers:
    """Return the connected components of some sketches, numbered by first appearance.

    Arguments as `homology_clusters`, which also keeps copies together.
    """
    sizes, labels = sketches.sizes, np.arange(len(sketches))
    for block in _joins(sketches, _Index.of(sketches), max_occurrences):
        count, row, column = block.pairs(own=True)
        related = count >= threshold * np.minimum(sizes[row], sizes[column])
        edges = labels[row[related]], labels[column[related]]
        # Labels are merged block by block: the graph itself is never held.
        ones = np.ones(len(edges[0]), dtype=np.int8)
        graph = csr_matrix((ones, edges), shape=(len(labels), len(labels)))
        labels = connected_components(graph, directed=False)[1].astype(np.int64)[labels]
    return _by_appearance(labels)


def identical_groups(codes: Sequence[Codes]) -> Integers:
    """Number sequences so that copies, also of the other strand, share a number.

    Args:
        codes: Base codes of each sequence; the soft mask does not matter.

    Returns:
        Number of each, from 0 by first appearance, shape ``(sequences,)``.

    Example:
        >>> from lightning_dna.genome.alphabet import encode
        >>> identical_groups([encode("AAC"), encode("AAG"), encode("GTT")]).tolist()
        [0, 1, 0]
    """
    known: dict[bytes, int] = {}
    return np.array([known.setdefault(_either_strand(one), len(known)) for one in codes], np.int64)


def _either_strand(codes: Codes) -> bytes:
    """Return a key that a sequence and its reverse complement share."""
    plain = np.bitwise_and(codes, np.uint8(CODE_BITS))
    return min(plain.tobytes(), reverse_complement(plain).tobytes())


def _by_appearance(labels: Integers) -> Integers:
    """Number labels from 0 in the order in which they first stand."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return np.asarray(rank[inverse], dtype=np.int64)


def _shares(counts: Integers, sizes: Integers) -> Shares:
    """Divide; NaN where there is nothing to divide by."""
    result = np.full(len(sizes), np.nan)
    np.divide(counts, sizes, out=result, where=sizes > 0)
    return result


def _look_up(keys: Values, values: Values) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Return the place of each value among sorted keys, and whether it stands there."""
    if len(keys) == 0:
        return np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
    order = np.argsort(values)  # a search in order stays in the cache
    places = np.empty(len(values), dtype=np.int64)
    places[order] = np.searchsorted(keys, values[order])
    np.minimum(places, len(keys) - 1, out=places)
    return places, keys[places] == values


@dataclass(frozen=True, kw_only=True, eq=False)
class _Index:
    """An inverted index: the sequences of every k-mer.

    Attributes:
        keys: Distinct k-mers, sorted.
        starts: Where the sequences of each k-mer begin, shape ``(keys + 1,)``.
        sequences: Sequences, k-mer by k-mer, ascending within each.
        sketches: What was indexed.
    """

    keys: Values
    starts: Integers
    sequences: npt.NDArray[np.int32]
    sketches: Sketches

    @classmethod
    def of(cls, sketches: Sketches) -> "_Index":
        """Index some sketches."""
        order = np.argsort(sketches.values, kind="stable")
        values = sketches.values[order]
        first = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
        first = first[: len(values)]  # no first value among none
        owners = np.repeat(np.arange(len(sketches), dtype=np.int32), sketches.sizes)
        return cls(
            keys=values[first],
            starts=np.concatenate((first, [len(values)])),
            sequences=owners[order],
            sketches=sketches,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Join:
    """Some queries and the targets of their k-mers.

    Attributes:
        rows: The queries.
        key: ``query * targets + target``, once for each k-mer that the two share; sorted.
        n_targets: Number of targets.
        occurrences: Targets that have each k-mer of the queries.
        edges: Where the k-mers of each query begin.
        capped: K-mers of each query that were not followed to all targets that have them.
    """

    rows: Integers
    key: Integers
    n_targets: int
    occurrences: Integers
    edges: Integers
    capped: Integers

    def pairs(self, *, own: bool) -> tuple[Integers, Integers, Integers]:
        """Return shared k-mers, query and target of each pair; not of a sequence with itself."""
        first = np.flatnonzero(np.diff(self.key, prepend=-1))
        count = np.diff(np.append(first, len(self.key)))
        row, column = np.divmod(self.key[first], self.n_targets)
        keep = row != column if own else np.ones(len(row), dtype=np.bool_)
        return count[keep], row[keep], column[keep]

    def pooled(self, least: int) -> Integers:
        """Count the k-mers of each query that more than ``least`` targets have."""
        before = np.concatenate(([0], np.cumsum(self.occurrences > least)))
        return np.diff(before[self.edges])


def _joins(queries: Sketches, index: _Index, max_occurrences: int) -> Iterator[_Join]:
    """Join queries with an index, so many queries at a time that their pairs stay bounded."""
    targets = index.sketches
    made = [(one.k, one.scaled, one.both_strands) for one in (queries, targets)]
    if made[0] != made[1]:
        raise ConfigError(
            f"sketches made with (k, scaled, both_strands) {made[0]} cannot be compared with"
            f" {made[1]}; make both alike."
        )
    if max_occurrences < 1:
        raise ConfigError(f"max_occurrences is {max_occurrences}; allowed: 1 or more.")
    first = 0
    while first < len(queries):
        # A block of values small enough to look up, then as many whole queries as pairs allow.
        last = int(np.searchsorted(queries.offsets, queries.offsets[first] + _PAIRS, "right")) - 1
        last = min(max(last, first + 1), len(queries))
        low, high = queries.offsets[first], queries.offsets[last]
        places, known = _look_up(index.keys, queries.values[low:high])
        counts = np.where(known, np.diff(index.starts)[places] if len(index.keys) else 0, 0)
        few = min(max_occurrences, _OF_FREQUENT)
        followed = np.where(counts <= max_occurrences, counts, few)
        edges = queries.offsets[first : last + 1] - low
        yield from _cut(first, edges, places, counts, followed, index)
        first = last


def _cut(
    first: int,
    edges: Integers,
    places: Integers,
    counts: Integers,
    followed: Integers,
    index: _Index,
) -> Iterator[_Join]:
    """Yield the joins of consecutive queries, cut where the pairs would become too many."""
    n_targets = len(index.sketches)
    pairs = np.concatenate(([0], np.cumsum(followed)))[edges]
    at, n = 0, len(edges) - 1
    while at < n:
        end = int(np.searchsorted(pairs, pairs[at] + _PAIRS, "right")) - 1
        end = min(max(end, at + 1), n)
        span = slice(edges[at], edges[end])
        lengths = followed[span]
        query = np.repeat(np.arange(at, end), np.diff(edges[at : end + 1]))
        offsets = np.cumsum(lengths) - lengths
        walk = np.arange(lengths.sum()) + np.repeat(index.starts[places[span]] - offsets, lengths)
        key = (first + np.repeat(query, lengths)) * n_targets + index.sequences[walk]
        key.sort()
        not_followed = np.concatenate(([0], np.cumsum(counts[span] > lengths)))
        yield _Join(
            rows=np.arange(first + at, first + end),
            key=key,
            n_targets=n_targets,
            occurrences=counts[span],
            edges=edges[at : end + 1] - edges[at],
            capped=np.diff(not_followed[edges[at : end + 1] - edges[at]]),
        )
        at = end

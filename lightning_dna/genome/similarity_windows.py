"""How much of each of many windows stands in other sequence: what a model could have copied.

Two measures, both blind to the strand: *containment*, the share of a window's distinct canonical
k-mers that the other sequence holds, and the *longest exact match*. The other sequence is streamed,
once or twice for every eight million bases of windows, and pairs of sequences are never formed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import Codes
from lightning_dna.genome.exact_matches import MAX_POSITIONS, longest_matches
from lightning_dna.genome.kmers import (
    Integers,
    Values,
    canonical_kmers,
    check_k,
    distinct,
    joined_blocks,
    kmer_blocks,
    scrambled,
    sketch,
)

Shares = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SIMILARITY_K = 21
"""Two thousand billion canonical 21-mers: 3 Gb of unrelated sequence hold 0.14 % of them."""
LONG_K = 31

_TOGETHER = 1 << 23  # bases of windows that are looked up together
_BLOCK = 1 << 21  # bases of targets worked on together
_STRETCHES = 1 << 22  # bases of shared stretches that are matched together
_NEVER = np.int32(-1)


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowSimilarity:
    """Similarity of windows to other sequence; arrays of shape ``(windows,)``.

    Attributes:
        kmers: Distinct canonical k-mers of each window, or of its sample.
        containment: Share of them that the other sequence holds, 0 to 1; NaN without a k-mer.
        longest_match: Bases of the longest stretch that stands in the other sequence letter by
            letter; 0 where it is shorter than k. -1 where it was not asked for.
    """

    kmers: Integers
    containment: Shares
    longest_match: Integers


def null_containment(k: int, bases: int) -> float:
    """Return the containment to expect in unrelated sequence of equally frequent bases.

    Args:
        k: Bases of a k-mer.
        bases: Bases of the sequence that is searched, both strands of it.

    Example:
        >>> round(null_containment(21, 3_000_000_000), 4), null_containment(21, 12_000_000) < 1e-5
        (0.0014, True)
    """
    return float(-np.expm1(-2.0 * bases / 4.0**k))


def identity_estimate(shorter: Shares, longer: Shares, *, k: int, long_k: int) -> Shares:
    """Estimate how alike the shared part of a window is, from containments at two lengths.

    A relative that covers a share f of a window with identity p holds about f p^k of its k-mers,
    so that the ratio at two lengths is p^(long_k - k), whatever f is. Changes are taken to fall
    independently; a tract shared exactly beside an older one moves the estimate towards it.

    Args:
        shorter: Containment of k-mers of length ``k``.
        longer: Containment of k-mers of length ``long_k``.
        k: The shorter length.
        long_k: The longer length.

    Returns:
        Values from 0 to 1; NaN where nothing of the longer length is shared.

    Example:
        >>> shares = np.array([0.5 * 0.95**21]), np.array([0.5 * 0.95**31])
        >>> identity_estimate(*shares, k=21, long_k=31).round(3).tolist()
        [0.95]
    """
    ratio = np.full(len(shorter), np.nan)
    np.divide(longer, shorter, out=ratio, where=(longer > 0) & (shorter > 0))
    return np.asarray(np.minimum(ratio, 1.0) ** (1.0 / (long_k - k)))


def window_similarity(
    windows: Sequence[Codes],
    targets: Sequence[Codes],
    *,
    k: int = SIMILARITY_K,
    scaled: int = 1,
    matches: bool = True,
    window_groups: Integers | None = None,
    target_groups: Integers | None = None,
    max_positions: int = MAX_POSITIONS,
) -> WindowSimilarity:
    """Measure how much of each window stands in the targets, on either strand.

    With groups, a window is compared with the targets of all groups but its own: with the other
    chromosomes, or with the rest of its genome.

    Args:
        windows: Base codes of each window, the soft mask allowed.
        targets: Base codes of each target, such as chromosomes.
        k: Bases of a k-mer, and the shortest match that is found; 2 to 31.
        scaled: Estimate containment from one in this many k-mers; 1 is exact.
        matches: Whether the longest exact match is looked for, which takes a second pass.
        window_groups: Group of each window, shape ``(windows,)``; ``None``: none is left out.
        target_groups: Group of each target, ascending, shape ``(targets,)``.
        max_positions: A k-mer with more places than this in a part of the targets is not followed,
            which can only shorten the matches that are found.

    Raises:
        ConfigError: If ``k`` or ``scaled`` is out of range, or matches are to be found from a
            sample of the k-mers, which cannot tell where they end.
        DataError: If groups do not go together, or those of the targets are not ascending.

    Example:
        >>> from lightning_dna.genome.alphabet import encode
        >>> found = window_similarity([encode("TTACCATT")], [encode("GGGATGGTG")], k=4)
        >>> found.containment.tolist(), found.longest_match.tolist()
        ([0.4], [5])
    """
    check_k(k)
    if matches and scaled > 1:
        raise ConfigError(f"exact matches need every k-mer: scaled is {scaled}; set it to 1.")
    groups = _Groups.of(window_groups, target_groups, len(windows), len(targets))
    parts = []
    for first, last in _spans(windows):
        some = slice(first, last)
        parts.append(
            _similarity(
                windows[some],
                targets,
                groups.of_some(some),
                k=k,
                scaled=scaled,
                max_positions=max_positions if matches else 0,
            )
        )
    return WindowSimilarity(
        kmers=np.concatenate([np.zeros(0, np.int64), *(part.kmers for part in parts)]),
        containment=np.concatenate([np.zeros(0), *(part.containment for part in parts)]),
        longest_match=np.concatenate(
            [np.zeros(0, np.int64), *(part.longest_match for part in parts)]
        ),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Groups:
    """Which targets a window is not compared with.

    Attributes:
        windows: Group of each window.
        targets: Group of each target, ascending.
        apart: Whether any window is kept from any target.
    """

    windows: npt.NDArray[np.int32]
    targets: npt.NDArray[np.int32]
    apart: bool

    @classmethod
    def of(
        cls, windows: Integers | None, targets: Integers | None, n_windows: int, n_targets: int
    ) -> "_Groups":
        """Check the groups that were given, or make such that nothing is left out."""
        if (windows is None) != (targets is None):
            raise DataError("groups of windows and groups of targets go together; give both.")
        if windows is None or targets is None:
            return cls(
                windows=np.full(n_windows, _NEVER),
                targets=np.zeros(n_targets, dtype=np.int32),
                apart=False,
            )
        if len(windows) != n_windows or len(targets) != n_targets:
            raise DataError(
                f"{len(windows)} groups for {n_windows} windows, {len(targets)} for {n_targets} "
                "targets; give one for each."
            )
        if len(targets) and (targets[0] < 0 or (np.diff(targets) < 0).any()):
            raise DataError("groups of targets must be ascending, from 0; sort the targets.")
        return cls(windows=windows.astype(np.int32), targets=targets.astype(np.int32), apart=True)

    def of_some(self, windows: slice) -> "_Groups":
        """Return the groups for some of the windows."""
        return _Groups(windows=self.windows[windows], targets=self.targets, apart=self.apart)


def _spans(windows: Sequence[Codes]) -> Iterator[tuple[int, int]]:
    """Cut windows into consecutive runs of bounded size."""
    before = np.cumsum([0, *map(len, windows)])
    first = 0
    while first < len(windows):
        last = int(np.searchsorted(before, before[first] + _TOGETHER, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last


def _similarity(
    windows: Sequence[Codes],
    targets: Sequence[Codes],
    groups: _Groups,
    *,
    k: int,
    scaled: int,
    max_positions: int,
) -> WindowSimilarity:
    """Measure windows that are looked up together."""
    sketches = sketch(windows, k=k, scaled=scaled)
    wanted = _Wanted.of(distinct(sketches.values))
    lowest, highest = wanted.groups_in(targets, groups, k=k, scaled=scaled)
    own = np.repeat(groups.windows, sketches.sizes)
    place = wanted.places(sketches.values)
    hits = (lowest[place] != _NEVER) & ((lowest[place] != own) | (highest[place] != own))
    before = np.concatenate(([0], np.cumsum(hits)))
    counts = np.diff(before[sketches.offsets])
    containment = np.full(len(windows), np.nan)
    np.divide(counts, sketches.sizes, out=containment, where=sketches.sizes > 0)
    length = np.full(len(windows), -1, dtype=np.int64)
    if max_positions:
        shared = _Wanted.of(distinct(sketches.values[hits]))
        length = _longest(windows, counts > 0, targets, shared, groups, k, max_positions)
    return WindowSimilarity(kmers=sketches.sizes, containment=containment, longest_match=length)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Wanted:
    """Distinct scrambled k-mers to look for, sorted, and a table that tells most others at once."""

    values: Values
    table: Flags
    shift: np.uint64

    @classmethod
    def of(cls, values: Values) -> "_Wanted":
        """Take distinct k-mers, sorted."""
        # Many places for each value, so that few others pass, in 64 MiB at most.
        bits = min(max(len(values).bit_length() + 4, 16), 26)
        shift = np.uint64(64 - bits)
        table = np.zeros(1 << bits, dtype=np.bool_)
        table[values >> shift] = True
        return cls(values=values, table=table, shift=shift)

    def places(self, values: Values) -> Integers:
        """Return the places of k-mers that are all wanted."""
        order = np.argsort(values)  # a search in order stays in the cache
        found = np.empty(len(values), dtype=np.int64)
        found[order] = np.searchsorted(self.values, values[order])
        return found

    def among(self, values: Values) -> tuple[Integers, Integers]:
        """Return which of some k-mers are wanted, ascending, and their places."""
        maybe = np.flatnonzero(self.table[values >> self.shift])
        if len(self.values) == 0 or len(maybe) == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        found = np.minimum(self.places(values[maybe]), len(self.values) - 1)
        known = self.values[found] == values[maybe]
        return maybe[known], found[known]

    def groups_in(
        self, targets: Sequence[Codes], groups: _Groups, *, k: int, scaled: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return the first and the last group of targets that holds each k-mer; -1 for none."""
        lowest = np.full(len(self.values), _NEVER)
        highest = lowest.copy()
        for values, owners in kmer_blocks(targets, k=k, scaled=scaled):
            at, place = self.among(values)
            group = groups.targets[owners[at]]
            # Groups ascend: of several assignments the last one stays.
            highest[place] = group
            new = lowest[place] == _NEVER
            lowest[place[new][::-1]] = group[new][::-1]
        return lowest, highest


def _longest(
    windows: Sequence[Codes],
    some: Flags,
    targets: Sequence[Codes],
    shared: _Wanted,
    groups: _Groups,
    k: int,
    max_positions: int,
) -> Integers:
    """Return the longest match of each window: only where targets hold shared k-mers is looked."""
    rows = np.flatnonzero(some)
    length = np.zeros(len(windows), dtype=np.int64)
    chosen = [windows[row] for row in rows.tolist()]
    overlap = max(map(len, chosen), default=0)
    for stretches, owners in _shared_stretches(targets, shared, k, overlap):
        found = longest_matches(
            chosen,
            stretches,
            k=k,
            max_positions=max_positions,
            query_groups=groups.windows[rows].astype(np.int64) if groups.apart else None,
            target_groups=groups.targets[owners].astype(np.int64) if groups.apart else None,
        )
        length[rows] = np.maximum(length[rows], found.length)
    return length


def _shared_stretches(
    targets: Sequence[Codes], shared: _Wanted, k: int, overlap: int
) -> Iterator[tuple[list[Codes], Integers]]:
    """Yield the stretches of the targets all of whose k-mers are shared, some at a time.

    Every exact match of k bases or more lies within one stretch, as long as targets are cut into
    pieces that overlap by the longest match.

    Yields:
        Stretches, and the target of each.
    """
    stretches: list[Codes] = []
    owners: list[int] = []
    size = 0
    pieces = [
        (index, start)
        for index, target in enumerate(targets)
        for start in range(0, max(len(target) - k + 1, 0), _BLOCK)
    ]
    cut = [targets[index][start : start + _BLOCK + overlap] for index, start in pieces]
    for codes, numbers in joined_blocks(cut, k=k, block=_BLOCK, whole=True):
        values, valid = canonical_kmers(codes, k)
        hits = shared.among(scrambled(values))[0]
        hits = hits[valid[hits]]
        ends = np.flatnonzero(np.diff(hits, append=-2) != 1)
        firsts = hits[np.concatenate(([0], ends[:-1] + 1)).astype(np.int64)[: len(ends)]]
        for first, last in zip(firsts.tolist(), hits[ends].tolist(), strict=True):
            stretches.append(codes[first : last + k])
            owners.append(pieces[int(numbers[first])][0])
            size += last + k - first
        if size >= _STRETCHES:
            yield stretches, np.array(owners, dtype=np.int64)
            stretches, owners, size = [], [], 0
    if stretches:
        yield stretches, np.array(owners, dtype=np.int64)


def similarity_between_chromosomes(
    chromosomes: Sequence[Codes],
    length: int,
    *,
    k: int = SIMILARITY_K,
    scaled: int = 1,
    matches: bool = True,
) -> WindowSimilarity:
    """Measure how much of each window of a genome stands on another chromosome of it.

    Args:
        chromosomes: Base codes of each chromosome.
        length: Bases of a window; windows lie side by side, what is left at an end is none.
        k: Bases of a k-mer, and the shortest match that is found.
        scaled: Estimate containment from one in this many k-mers.
        matches: Whether the longest exact match is looked for.

    Returns:
        One entry for each window, chromosome by chromosome.

    Raises:
        ConfigError: If the length is below k, or an argument of `window_similarity` is wrong.
    """
    if length < k:
        raise ConfigError(f"length is {length}; allowed: k ({k}) bases or more.")
    counts = [len(codes) // length for codes in chromosomes]
    return window_similarity(
        [
            codes[length * number : length * (number + 1)]
            for codes, count in zip(chromosomes, counts, strict=True)
            for number in range(count)
        ],
        chromosomes,
        k=k,
        scaled=scaled,
        matches=matches,
        window_groups=np.repeat(np.arange(len(chromosomes)), counts),
        target_groups=np.arange(len(chromosomes)),
    )

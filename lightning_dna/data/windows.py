"""Windows: where on the genome the sequences of a part of the split lie."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.intervals import (
    Intervals,
    as_intervals,
    bases_before,
    intersect,
    merge,
)
from lightning_dna.genome.repeat_annotation import RepeatAnnotation
from lightning_dna.genome.repeats import (
    RepeatPolicy,
    allowed_stretches,
    long_enough,
    treated_repeats,
    unknown_bases,
)

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Windows:
    """A list of windows, 0-based and half-open, each within one chromosome.

    Args:
        chroms: Chromosome names that ``chrom_index`` points into.
        chrom_index: Chromosome of each window, ``int32``, shape ``(n,)``.
        starts: First base of each window, ``int64``, shape ``(n,)``.
        ends: End of each window, excluded, ``int64``, shape ``(n,)``.
        dropped_n: Windows left out because too many of their bases are N.
        dropped_bases: Bases that the repeat policy keeps and no window covers: tails, short
            fragments, windows dropped for N, and gaps if the stride exceeds the length.
        removed_bases: Bases that the repeat policy removes.
        joined: Under ``remove-concat``, the stretches of each of ``chroms`` that are joined: then
            ``starts`` and ``ends`` count along the joined sequence. ``None`` otherwise.
        junctions: Places within windows at which two stretches are joined, window by window.
    """

    chroms: tuple[str, ...]
    chrom_index: npt.NDArray[np.int32]
    starts: Index
    ends: Index
    dropped_n: int
    dropped_bases: int
    removed_bases: int = 0
    joined: tuple[Intervals, ...] | None = None
    junctions: int = 0

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Index:
        """Bases of each window, shape ``(n,)``."""
        return self.ends - self.starts

    def select(self, indices: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> "Windows":
        """Return some of the windows, by index or by flag, in the order asked for.

        The counts of what was dropped stay those of the whole list.
        """
        return replace(
            self,
            chrom_index=self.chrom_index[indices],
            starts=self.starts[indices],
            ends=self.ends[indices],
        )

    def by_chrom(self) -> Iterator[tuple[str, Index]]:
        """Yield every chromosome that has windows, with the places of these."""
        for index in np.unique(self.chrom_index).tolist():
            yield self.chroms[index], np.flatnonzero(self.chrom_index == index)

    def example_ids(self) -> npt.NDArray[np.str_]:
        """Return ``"chrom:start-end"`` of each window, shape ``(n,)``: its name in score tables.

        Where stretches are joined it is ``"chrom:joined:start-end"``, for it is no place on the
        genome.
        """
        rows = zip(self.chrom_index.tolist(), self.starts.tolist(), self.ends.tolist(), strict=True)
        how = "" if self.joined is None else "joined:"
        return np.array(
            [f"{self.chroms[c]}:{how}{start}-{end}" for c, start, end in rows], dtype=np.str_
        )


def tile(
    genome: Genome,
    chroms: Sequence[str],
    *,
    length: int,
    stride: int | None = None,
    policy: RepeatPolicy | None = None,
    max_n_fraction: float = 0.1,
    minimum_length: int | None = None,
    repeats: RepeatAnnotation | None = None,
) -> Windows:
    """Lay windows over chromosomes, from the start of each stretch that the repeat policy keeps.

    Each kept stretch is tiled by itself, and only its last window can be shorter than ``length``.
    Under ``remove-concat`` those of a chromosome are one stretch, and windows span its junctions.

    Args:
        genome: The genome.
        chroms: Chromosomes to tile, each once.
        length: Bases of a full window.
        stride: Bases from one start to the next; ``None`` for ``length``: no base is in two.
        policy: Repeat policy; ``None`` keeps repeats. For evaluation, always keep.
        max_n_fraction: Windows with a larger share of N are dropped, and so are those with nothing
            else. What ``hard-mask`` turns into N counts only for the latter.
        minimum_length: Shortest window. ``None``: ``length`` (full windows only), but where the
            policy leaves fragments the smaller of ``length`` and its ``min_length``.
        repeats: Repeats by class; needed if the policy names classes.

    Returns:
        The windows, ordered as ``chroms`` and by position, and the count of what was dropped.

    Raises:
        ConfigError: If a number is out of range, or a chromosome is unknown or stands twice.
        DataError: If there is no window (the message says why), or the policy fits no repeat.

    Example:
        >>> windows = tile(Genome.from_sequences({"chr1": "ACGTACGTAC"}), ["chr1"], length=4)
        >>> windows.example_ids().tolist(), windows.dropped_bases
        (['chr1:0-4', 'chr1:4-8'], 2)
    """
    policy = policy or RepeatPolicy()
    stride = length if stride is None else stride
    if minimum_length is None:
        minimum_length = min(length, policy.min_length) if policy.fragments else length
    _check(genome, chroms, length, stride, max_n_fraction, minimum_length)
    _check_soft_mask(genome, policy)
    allowed = allowed_stretches(policy, genome, chroms, repeats)
    tables: list[Intervals] = []
    candidates = 0
    for chrom, stretches in allowed.items():
        fragments, unknown, hidden = _ground(policy, genome, chrom, stretches, repeats)
        table = _lay(fragments, length, stride, minimum_length)
        passed = _few_unknown(table, unknown, max_n_fraction) & _few_unknown(table, hidden, 1.0)
        tables.append(table[passed])
        candidates += len(table)
    everything = np.concatenate(tables)
    if len(everything) == 0:
        raise _no_window(genome, chroms, policy, length, minimum_length, candidates, max_n_fraction)
    kept_bases = sum(map(_total, allowed.values()))
    return Windows(
        chroms=tuple(chroms),
        chrom_index=np.repeat(np.arange(len(chroms), dtype=np.int32), [len(t) for t in tables]),
        starts=everything[:, 0].copy(),
        ends=everything[:, 1].copy(),
        dropped_n=candidates - len(everything),
        dropped_bases=kept_bases - sum(_total(merge(table)) for table in tables),
        removed_bases=sum(genome.lengths[chrom] for chrom in chroms) - kept_bases,
        joined=tuple(allowed.values()) if policy.joins else None,
        junctions=sum(map(_junctions, allowed.values(), tables)) if policy.joins else 0,
    )


def _ground(
    policy: RepeatPolicy,
    genome: Genome,
    chrom: str,
    stretches: Intervals,
    repeats: RepeatAnnotation | None,
) -> tuple[Intervals, Intervals, Intervals]:
    """Return where windows may lie, the bases that are N, and those that will be seen as N.

    Where stretches are joined, all three count along the joined sequence.
    """
    unknown = unknown_bases(genome, chrom)
    if policy.joins:
        unknown = _along(stretches, intersect(stretches, unknown))
        size = _total(stretches)
        return as_intervals([(0, size)] if size else []), unknown, unknown
    hidden = unknown
    if policy.name == "hard-mask":
        treated = treated_repeats(policy, genome, chrom, repeats)
        hidden = merge(np.concatenate((unknown, treated)))
    return long_enough(policy, stretches), unknown, hidden


def _total(intervals: Intervals) -> int:
    """Count the bases of a set."""
    return int(np.diff(intervals).sum())


def _along(stretches: Intervals, inside: Intervals) -> Intervals:
    """Return the coordinates, along the joined stretches, of intervals that lie within them."""
    return merge(bases_before(stretches, inside.ravel()).reshape(-1, 2))


def _junctions(stretches: Intervals, windows: Intervals) -> int:
    """Count the junctions within windows: window by window, not at their ends."""
    places = np.cumsum(np.diff(stretches).ravel())[:-1]
    before_end = np.searchsorted(places, windows[:, 1], side="left")
    up_to_start = np.searchsorted(places, windows[:, 0], side="right")
    return int(np.maximum(before_end - up_to_start, 0).sum())


def _check(
    genome: Genome,
    chroms: Sequence[str],
    length: int,
    stride: int,
    max_n_fraction: float,
    minimum_length: int,
) -> None:
    """Refuse settings without meaning."""
    for field, value in (
        ("length", length),
        ("stride", stride),
        ("minimum_length", minimum_length),
    ):
        if value < 1:
            raise ConfigError(f"windows: {field} is {value}; expected 1 or more bases.")
    if minimum_length > length:
        raise ConfigError(
            f"windows: minimum_length is {minimum_length}, above the length of {length}."
        )
    if not 0 <= max_n_fraction <= 1:
        raise ConfigError(f"windows: max_n_fraction is {max_n_fraction}; expected 0 to 1.")
    if not chroms:
        raise ConfigError("windows: no chromosome to tile; is this part of the split empty?")
    for position, chrom in enumerate(chroms):
        genome.stored(chrom)  # refuses an unknown one
        if chrom in chroms[:position]:
            raise ConfigError(f"windows: chromosome '{chrom}' stands twice; name each once.")


def _check_soft_mask(genome: Genome, policy: RepeatPolicy) -> None:
    """Refuse a repeat policy that would silently do nothing."""
    if policy.name != "keep" and not any(genome.soft_masked.values()):
        raise DataError(
            f"the repeat policy is '{policy.name}', but no base of the genome is soft-masked "
            f"(lower case), so it would change nothing. Use a soft-masked FASTA file, give the "
            f"repeats as a BED file, or use the policy 'keep'."
        )


def _lay(fragments: Intervals, length: int, stride: int, minimum_length: int) -> Intervals:
    """Return the windows of every fragment, shape ``(n, 2)``, sorted."""
    sizes = fragments[:, 1] - fragments[:, 0]
    # The first window, then one more for every stride until a window reaches the fragment's end.
    counts = 1 + -(-np.maximum(sizes - length, 0) // stride)
    owner = np.repeat(np.arange(len(fragments)), counts)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = fragments[owner, 0] + rank * stride
    ends = np.minimum(starts + length, fragments[owner, 1])
    long_enough = ends - starts >= minimum_length
    return np.stack((starts[long_enough], ends[long_enough]), axis=1)


def _few_unknown(
    windows: Intervals, unknown: Intervals, max_n_fraction: float
) -> npt.NDArray[np.bool_]:
    """Flag the windows whose share of N is within the limit and below 1, shape ``(n,)``."""
    count = bases_before(unknown, windows[:, 1]) - bases_before(unknown, windows[:, 0])
    sizes = windows[:, 1] - windows[:, 0]
    few: npt.NDArray[np.bool_] = (count / sizes <= max_n_fraction) & (count < sizes)
    return few


def _no_window(
    genome: Genome,
    chroms: Sequence[str],
    policy: RepeatPolicy,
    length: int,
    minimum_length: int,
    candidates: int,
    max_n_fraction: float,
) -> DataError:
    """Say why not a single window is left."""
    longest = max(chroms, key=lambda chrom: genome.lengths[chrom])
    of = ", ".join(chroms[:5]) + (" and others" if len(chroms) > 5 else "")
    if candidates:
        return DataError(
            f"all {candidates} windows on {of} have more than {max_n_fraction:.0%} N (unknown "
            f"bases) or no known base; choose other chromosomes, or raise max_n_fraction."
        )
    if genome.lengths[longest] < minimum_length:
        return DataError(
            f"a window of {minimum_length} bases is longer than every chromosome of {of}; the "
            f"longest, '{longest}', has {genome.lengths[longest]}. Choose a shorter length."
        )
    return DataError(
        f"without repeats, no stretch of {of} has {max(policy.min_length, minimum_length)} bases; "
        f"lower the repeat policy's minimum length, or use 'downweight' or 'keep'."
    )

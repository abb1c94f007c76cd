"""Windows: where on the genome the sequences of a part of the split lie."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import CODE_BITS, N
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.intervals import Intervals, bases_before, merge, runs
from lightning_dna.genome.repeats import RepeatPolicy, kept_fragments

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
    """

    chroms: tuple[str, ...]
    chrom_index: npt.NDArray[np.int32]
    starts: Index
    ends: Index
    dropped_n: int
    dropped_bases: int

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
        return Windows(
            chroms=self.chroms,
            chrom_index=self.chrom_index[indices],
            starts=self.starts[indices],
            ends=self.ends[indices],
            dropped_n=self.dropped_n,
            dropped_bases=self.dropped_bases,
        )

    def example_ids(self) -> npt.NDArray[np.str_]:
        """Return ``"chrom:start-end"`` of each window, shape ``(n,)``: its name in score tables."""
        rows = zip(self.chrom_index.tolist(), self.starts.tolist(), self.ends.tolist(), strict=True)
        return np.array(
            [f"{self.chroms[c]}:{start}-{end}" for c, start, end in rows], dtype=np.str_
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
) -> Windows:
    """Lay windows over chromosomes, from the start of each stretch that the repeat policy keeps.

    Each kept stretch is tiled by itself: no window joins two of them or leaves its chromosome. Only
    the last window of a stretch can be shorter than ``length``.

    Args:
        genome: The genome.
        chroms: Chromosomes to tile, each once.
        length: Bases of a full window.
        stride: Bases from one start to the next; ``None`` for ``length``: no base is in two.
        policy: Repeat policy; ``None`` keeps repeats. For evaluation, always keep.
        max_n_fraction: Windows with a larger share of N are dropped, and so are those with no known
            base at all.
        minimum_length: Shortest window. ``None``: ``length`` (full windows only), but under
            ``remove`` the smaller of ``length`` and the policy's ``min_length``.

    Returns:
        The windows, ordered as ``chroms`` and by position, and the count of what was dropped.

    Raises:
        ConfigError: If a number is out of range, or a chromosome is unknown or stands twice.
        DataError: If there is no window at all (the message says why), a chromosome is wholly
            soft-masked, or a policy other than ``keep`` meets a genome with no soft-masked base.

    Example:
        >>> windows = tile(Genome.from_sequences({"chr1": "ACGTACGTAC"}), ["chr1"], length=4)
        >>> windows.example_ids().tolist(), windows.dropped_bases
        (['chr1:0-4', 'chr1:4-8'], 2)
    """
    policy = policy or RepeatPolicy()
    stride = length if stride is None else stride
    if minimum_length is None:
        minimum_length = min(length, policy.min_length) if policy.name == "remove" else length
    _check(genome, chroms, length, stride, max_n_fraction, minimum_length)
    _check_soft_mask(genome, policy)
    tables: list[Intervals] = []
    dropped_n = dropped_bases = candidates = kept_bases = 0
    for chrom in chroms:
        kept = kept_fragments(policy, genome, chrom)
        table = _lay(kept, length, stride, minimum_length)
        unknown = runs((genome.stored(chrom) & CODE_BITS) == N)
        passed = table[_few_unknown(table, unknown, max_n_fraction)]
        tables.append(passed)
        candidates += len(table)
        dropped_n += len(table) - len(passed)
        kept_bases += _kept_bases(policy, genome, chrom)
        dropped_bases -= int(np.diff(merge(passed)).sum())
    if dropped_n == candidates:
        raise _no_window(genome, chroms, policy, length, minimum_length, candidates, max_n_fraction)
    everything = np.concatenate(tables)
    counts = [len(table) for table in tables]
    return Windows(
        chroms=tuple(chroms),
        chrom_index=np.repeat(np.arange(len(chroms), dtype=np.int32), counts),
        starts=everything[:, 0].copy(),
        ends=everything[:, 1].copy(),
        dropped_n=dropped_n,
        dropped_bases=kept_bases + dropped_bases,
    )


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


def _kept_bases(policy: RepeatPolicy, genome: Genome, chrom: str) -> int:
    """Count the bases that a policy leaves for windows, in fragments of any length."""
    removed = genome.soft_masked[chrom] if policy.name == "remove" else 0
    return genome.lengths[chrom] - removed


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

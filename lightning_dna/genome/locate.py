"""Where sequences stand in a genome: exact matches on both strands, every place of each.

The genome is streamed and the sequences are indexed, so that memory grows with the sequences and
not with the genome. A sequence is found by a seed, its first stretch of k bases without N, and then
compared letter by letter.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError
from lightning_dna.genome.alphabet import CODE_BITS, Codes, N, reverse_complement
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.kmers import Integers, Values, check_k, distinct, forward_kmers

SEED = 31
SHORT_SEED = 16  # for sequences that are too short for the usual seed
_CHUNK = 1 << 22  # bases of the genome looked at together
_FILTER_BITS = 22
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, kw_only=True, eq=False)
class Locations:
    """The places of some sequences; one entry for each place, ordered by sequence, then genome.

    Attributes:
        query: Index of the sequence, shape ``(places,)`` like the next three.
        chrom_index: Index of the chromosome in ``chroms``.
        start: First base, 0-based, on the plus strand.
        reverse: Whether the genome holds the reverse complement there.
        chroms: Names of the chromosomes that were searched.
        lengths: Length of each sequence in bases, shape ``(sequences,)``.
        searched: Whether a sequence has a seed; the others are too short or full of N.
    """

    query: Integers
    chrom_index: Integers
    start: Integers
    reverse: npt.NDArray[np.bool_]
    chroms: tuple[str, ...]
    lengths: Integers
    searched: npt.NDArray[np.bool_]

    @property
    def end(self) -> Integers:
        """End of each place, excluded, shape ``(places,)``."""
        return self.start + self.lengths[self.query]

    @property
    def n_hits(self) -> Integers:
        """Number of places of each sequence, shape ``(sequences,)``."""
        return np.bincount(self.query, minlength=len(self.lengths)).astype(np.int64)

    @property
    def first(self) -> Integers:
        """Index of the first place of each sequence, -1 without one, shape ``(sequences,)``."""
        place = np.searchsorted(self.query, np.arange(len(self.lengths)))
        return np.where(self.n_hits > 0, place, -1)


def locate(
    sequences: Sequence[Codes],
    genome: Genome,
    *,
    k: int = SEED,
    chroms: Sequence[str] | None = None,
) -> Locations:
    """Find every place of the genome that holds a sequence, or its reverse complement, exactly.

    N is a letter like the others here: it matches N alone. A palindrome is listed once, on the plus
    strand. Sequences without ``k`` bases free of N in a row are found by a seed of 16 bases; those
    without that are not searched for.

    Args:
        sequences: Base codes of each sequence; the soft mask does not matter.
        genome: The genome.
        k: Bases of the seed, 16 to 31.
        chroms: Chromosomes to search; ``None`` for all.

    Raises:
        ConfigError: If ``k`` is out of range, or there is no such chromosome.

    Example:
        >>> from lightning_dna.genome.alphabet import encode
        >>> genome = Genome.from_sequences({"I": "TTTTACGATCGGATTACACCGT"})
        >>> found = locate([encode("GGTGTAATCCGATCGT")], genome)
        >>> found.start.tolist(), found.end.tolist(), found.reverse.tolist()
        ([4], [20], [True])
    """
    check_k(k)
    if k < SHORT_SEED:
        raise ConfigError(f"k is {k}; allowed: {SHORT_SEED} to 31.")
    plain = [np.bitwise_and(one, np.uint8(CODE_BITS)) for one in sequences]
    names = tuple(genome.names if chroms is None else chroms)
    offsets = {size: [_seed_offset(one, size) for one in plain] for size in {k, SHORT_SEED}}
    columns: list[Integers] = []
    for size in sorted(offsets, reverse=True):
        # Each sequence goes with the longest seed that it has.
        members = [
            index
            for index, offset in enumerate(offsets[size])
            if offset >= 0 and (size == k or offsets[k][index] < 0)
        ]
        if members:
            columns += _search(plain, members, size, genome, names)
    rows = np.concatenate([np.zeros((0, 4), dtype=np.int64), *columns])
    rows = rows[np.lexsort((rows[:, 3], rows[:, 2], rows[:, 1], rows[:, 0]))]
    return Locations(
        query=rows[:, 0],
        chrom_index=rows[:, 1],
        start=rows[:, 2],
        reverse=rows[:, 3] == 1,
        chroms=names,
        lengths=np.fromiter(map(len, plain), dtype=np.int64, count=len(plain)),
        searched=np.array(
            [max(found) >= 0 for found in zip(*offsets.values(), strict=True)], dtype=np.bool_
        ),
    )


def _seed_offset(codes: Codes, size: int) -> int:
    """Return the first place of ``size`` bases without N, or -1."""
    if len(codes) < size:
        return -1
    gaps = np.concatenate(([-1], np.flatnonzero(codes >= N), [len(codes)]))
    long = np.flatnonzero(np.diff(gaps) > size)
    return int(gaps[long[0]]) + 1 if len(long) else -1


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seeded:
    """Sequences of one strand, to be found by their seeds.

    Attributes:
        codes: Letters to compare.
        query: Index of each among all sequences.
        offset: Place of the seed in each.
        reverse: Whether these are reverse complements.
        keys: Seeds, sorted; ``order`` gives the sequence of each.
        order: Indices into ``codes``.
    """

    codes: list[Codes]
    query: list[int]
    offset: list[int]
    reverse: bool
    keys: Values
    order: Integers

    @classmethod
    def of(cls, plain: list[Codes], members: list[int], size: int, *, reverse: bool) -> "_Seeded":
        """Index some sequences; a palindrome is left to the plus strand."""
        query = members
        codes = [reverse_complement(plain[i]) if reverse else plain[i] for i in members]
        if reverse:
            kept = [at for at, i in enumerate(members) if not np.array_equal(codes[at], plain[i])]
            codes, query = [codes[at] for at in kept], [members[at] for at in kept]
        offset = [_seed_offset(one, size) for one in codes]
        seeds = [
            forward_kmers(one[at : at + size], size)[0]
            for one, at in zip(codes, offset, strict=True)
        ]
        values = np.concatenate([np.zeros(0, dtype=np.uint64), *seeds])
        order = np.argsort(values, kind="stable")
        return cls(
            codes=codes,
            query=query,
            offset=offset,
            reverse=reverse,
            keys=values[order],
            order=order,
        )


def _search(
    plain: list[Codes], members: list[int], size: int, genome: Genome, names: tuple[str, ...]
) -> Iterator[Integers]:
    """Yield (query, chromosome, start, reverse) rows of the sequences that have a seed."""
    strands = [_Seeded.of(plain, members, size, reverse=reverse) for reverse in (False, True)]
    keys = distinct(np.concatenate([one.keys for one in strands]))
    shift = np.uint64(64 - _FILTER_BITS)
    maybe = np.zeros(1 << _FILTER_BITS, dtype=np.bool_)
    maybe[(keys * _SPREAD) >> shift] = True
    for chrom_index, chrom in enumerate(names):
        stored = genome.stored(chrom)
        for first in range(0, max(len(stored) - size + 1, 0), _CHUNK):
            values, valid = forward_kmers(stored[first : first + _CHUNK + size - 1], size)
            places = np.flatnonzero(maybe[(values * _SPREAD) >> shift] & valid)
            known = keys[np.minimum(np.searchsorted(keys, values[places]), len(keys) - 1)]
            places = places[known == values[places]]
            for strand in strands:
                rows = _compared(strand, stored, values[places], first + places)
                if rows:
                    marks = [[query, chrom_index, start, strand.reverse] for query, start in rows]
                    yield np.array(marks, dtype=np.int64)


def _compared(
    strand: _Seeded, stored: Codes, seeds: Values, places: Integers
) -> list[tuple[int, int]]:
    """Return (query, start) where a whole sequence stands, not just its seed."""
    low = np.searchsorted(strand.keys, seeds, side="left").tolist()
    high = np.searchsorted(strand.keys, seeds, side="right").tolist()
    found = []
    for place, left, right in zip(places.tolist(), low, high, strict=True):
        for at in strand.order[left:right].tolist():
            codes, start = strand.codes[at], place - strand.offset[at]
            end = start + len(codes)
            if (
                start >= 0
                and end <= len(stored)
                and np.array_equal(stored[start:end] & np.uint8(CODE_BITS), codes)
            ):
                found.append((strand.query[at], start))
    return found

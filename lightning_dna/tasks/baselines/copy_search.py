"""Where the training sequence has a window again, on either strand: seeds, then diagonals.

With 15 % of the bases hidden, long exact matches next to a hidden base are rare. So words of k
visible bases anywhere in the window are looked up; each place at which one stands lays the whole
window along the training sequence (a diagonal, without gaps), and every hidden base on it gets a
vote, weighted by how well the visible bases around it agree:

    weight = 2^(agreements - 2 x disagreements) within ``REACH`` bases on either side.

An agreement doubles the weight and a disagreement takes it to a quarter, as the likelihood ratio
does for a copy that agrees at 6 bases of 7 against chance that agrees at 3 of 7: less than bases
drawn independently would give, as a place was found because it agrees somewhere.
Experts that predict what followed an earlier copy, weighted by how they did nearby, are those of
the expert model of Cao et al., Data Compression Conference 2007; here both sides count.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lightning_dna.genome.alphabet import CODE_BITS, Codes, N, reverse_complement
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.kmer_counts import count_words
from lightning_dna.genome.kmers import Integers, Values, forward_kmers
from lightning_dna.tasks.baselines.own_places import LONGEST, OwnPlaces
from lightning_dna.tasks.heldout_mlm import Floats, WindowBases

# Chosen on yeast chromosomes V and XII (looked up without them, IV and X).
REACH = 32
PENALTY = 2
LEAST_SCORE = 8
MAX_PLACES = 200
"""A seed with more places than this in the rest of the training sequence is not followed."""

_SHORTEST = 8
_BLOCK = 1 << 21  # bases of the training sequence searched together
_PAIRS = 1 << 22  # pairs of a seed and its place held together
_CELLS = 1 << 20  # bases of windows laid along diagonals together
_FILTER_BITS = np.uint64(24)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_PLACE_BITS = np.int64(36)
_NOWHERE = np.int64(-(1 << 40))


def seed_length(bases: int) -> int:
    """Return the length of seeds: the shortest of which chance explains at most half a place.

    Both strands are searched, so a word of k bases stands in ``2 x bases / 4^k`` places by chance.

    Args:
        bases: Bases of the training sequence.

    Returns:
        8 to 17 bases.

    Example:
        >>> seed_length(10_000_000), seed_length(3_000_000_000)
        (13, 17)
    """
    k = _SHORTEST
    while k < LONGEST and 4**k < 4 * bases:
        k += 1
    return k


@dataclass(frozen=True, kw_only=True, eq=False)
class Seeds:
    """Words of visible bases of some windows, as they are written on either strand.

    Attributes:
        keys: Distinct words, sorted.
        edges: Where the places of each word begin, shape ``(keys + 1,)``.
        rows: Window of each place, word by word; the other strands follow all windows.
        columns: First base of the word in that row.
        k: Bases of a word.
    """

    keys: Values
    edges: Integers
    rows: Integers
    columns: Integers
    k: int

    @classmethod
    def of(cls, rows: Codes, k: int) -> "Seeds":
        """Index the words of rows of codes, hidden bases written as N."""
        apart = np.pad(rows, ((0, 0), (0, 1)), constant_values=N)
        values, visible = forward_kmers(apart.ravel(), k)
        places = np.flatnonzero(visible)
        order = np.argsort(values[places], kind="stable")
        return cls._sorted(values[places][order], *np.divmod(places[order], apart.shape[1]), k)

    @classmethod
    def _sorted(cls, values: Values, rows: Integers, columns: Integers, k: int) -> "Seeds":
        """Make an index of places that are sorted by word."""
        first = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))[: len(values)]
        edges = np.append(first, len(values))
        return cls(keys=values[first], edges=edges, rows=rows, columns=columns, k=k)

    def rare(self, sequences: Sequence[Codes], own: OwnPlaces, windows: int) -> "Seeds":
        """Leave out words with too many places in the sequences besides the window's own."""
        values = np.repeat(self.keys, np.diff(self.edges))
        places = np.repeat(count_words(sequences, self.keys, self.k), np.diff(self.edges))
        places -= own.counts(values[:, None], self.rows % windows, self.k)[:, 0]
        kept = (places > 0) & (places <= MAX_PLACES)
        return Seeds._sorted(values[kept], self.rows[kept], self.columns[kept], self.k)


def find_votes(genome: Genome, chroms: Sequence[str], batch: WindowBases) -> Floats:
    """Return the weight of the training places that have each base where a base is hidden.

    A window of a training chromosome is looked up as if its own bases were N there.

    Args:
        genome: The genome.
        chroms: Training chromosomes, both strands of which are searched.
        batch: Windows; hidden bases are never looked at.

    Returns:
        Summed weights of A, C, G, T, shape ``(hidden, 4)``; zeros where nothing was found.
    """
    n, width = batch.codes.shape
    shown = np.where(batch.hidden, np.uint8(N), batch.codes)
    rows = np.concatenate((shown, reverse_complement(shown)))
    number = np.full(batch.hidden.shape, -1, dtype=np.int64)
    number[batch.hidden] = np.arange(np.count_nonzero(batch.hidden))
    number = np.concatenate((number, number[:, ::-1]))
    sequences = [genome.stored(chrom) for chrom in chroms]
    own = OwnPlaces.of(genome, frozenset(chroms), batch)
    k = seed_length(sum(map(len, sequences)))
    seeds = Seeds.of(rows, k).rare(sequences, own, n)
    names = np.array(batch.windows.chroms, dtype=object)[batch.windows.chrom_index]
    votes = np.zeros(4 * np.count_nonzero(batch.hidden))
    for chrom, sequence in zip(chroms, sequences, strict=True):
        starts = np.where(names == chrom, batch.windows.starts, _NOWHERE)
        starts = np.concatenate((starts, starts))
        diagonals = _diagonals(sequence, seeds, starts, width)
        step = max(1, _CELLS // width)
        for first in range(0, len(diagonals), step):
            cell, weight = _weigh(
                sequence, diagonals[first : first + step], rows, number, starts, reverse_from=n
            )
            votes += np.bincount(cell, weight, minlength=len(votes))
    return votes.reshape(-1, 4)


def _diagonals(sequence: Codes, seeds: Seeds, starts: Integers, width: int) -> Integers:
    """Return each row and the place of its first base in the sequence, as one number.

    Args:
        sequence: A training chromosome.
        seeds: The seeds of the rows.
        starts: Own place of each row on this chromosome; far left of it where it has none.
        width: Bases of a row.

    Returns:
        Sorted, each once: ``row << 36 | (place + width)``.
    """
    found = [np.zeros(0, dtype=np.int64)]
    for at, key in _hits(sequence, seeds):
        counts = np.diff(seeds.edges)[key]
        upto = np.cumsum(counts)
        walk = np.arange(counts.sum()) + np.repeat(seeds.edges[key] - (upto - counts), counts)
        row, place = seeds.rows[walk], np.repeat(at, counts)
        own = (place + seeds.k > starts[row]) & (place < starts[row] + width)
        diagonal = (row << _PLACE_BITS) | (place - seeds.columns[walk] + width)
        found.append(np.unique(diagonal[~own]))
    return np.unique(np.concatenate(found))


def _hits(sequence: Codes, seeds: Seeds) -> Iterator[tuple[Integers, Integers]]:
    """Yield places of seeds in a sequence and which seed it is, a bounded number of pairs each."""
    if len(seeds.keys) == 0:
        return
    shift = np.uint64(64) - _FILTER_BITS
    maybe = np.zeros(1 << int(_FILTER_BITS), dtype=np.bool_)
    maybe[(seeds.keys * _SPREAD) >> shift] = True
    for start in range(0, len(sequence) - seeds.k + 1, _BLOCK):
        values, known = forward_kmers(sequence[start : start + _BLOCK + seeds.k - 1], seeds.k)
        at = np.flatnonzero(known & maybe[(values * _SPREAD) >> shift])
        key = np.minimum(np.searchsorted(seeds.keys, values[at]), len(seeds.keys) - 1)
        same = seeds.keys[key] == values[at]
        at, key = at[same] + start, key[same]
        upto = np.cumsum(np.diff(seeds.edges)[key])
        pairs = int(upto[-1]) if len(upto) else 0
        cuts = np.searchsorted(upto, np.arange(_PAIRS, pairs, _PAIRS))
        yield from zip(np.split(at, cuts), np.split(key, cuts), strict=True)


def _weigh(
    sequence: Codes,
    diagonals: Integers,
    rows: Codes,
    number: Integers,
    starts: Integers,
    *,
    reverse_from: int,
) -> tuple[Integers, Floats]:
    """Return the votes of some diagonals: ``4 x hidden base + letter``, and its weight."""
    width = rows.shape[1]
    row = diagonals >> _PLACE_BITS
    first = (diagonals & ((np.int64(1) << _PLACE_BITS) - 1)) - width
    at = first[:, None] + np.arange(width)
    there = sequence[np.clip(at, 0, len(sequence) - 1)] & np.uint8(CODE_BITS)
    own = (at >= starts[row, None]) & (at < starts[row, None] + width)
    there[(at < 0) | (at >= len(sequence)) | own] = N
    here = rows[row]
    compared = (here < N) & (there < N)
    score = _nearby(np.where(compared, np.where(here == there, 1, -PENALTY), 0))
    hidden = number[row]
    line, column = np.nonzero((hidden >= 0) & (there < N) & (score >= LEAST_SCORE))
    base = there[line, column].astype(np.int64)
    base = np.where(row[line] >= reverse_from, 3 - base, base)
    return 4 * hidden[line, column] + base, np.exp2(score[line, column].astype(np.float64))


def _nearby(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Sum along each row what lies within ``REACH`` on either side."""
    sums = np.cumsum(np.pad(values, ((0, 0), (REACH + 1, REACH))), axis=1, dtype=np.int32)
    return np.asarray(sums[:, 2 * REACH + 1 :] - sums[:, : -2 * REACH - 1])

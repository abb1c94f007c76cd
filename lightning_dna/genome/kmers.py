"""Canonical k-mers as 64-bit numbers, and sketches of sequences made of them.

A k-mer and its reverse complement are one *canonical* k-mer: the smaller of the two as a number in
base 4. A k-mer with an N is none. Numbers are then scrambled by a fixed bijection, so that "the
smallest 1/scaled of all values" is a sample of k-mers that is the same for every sequence
(FracMinHash: Irber et al., bioRxiv 2022.01.11.475838), from which containment is estimated without
bias as long as a sequence keeps a few of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError
from lightning_dna.genome.alphabet import CODE_BITS, Codes, N

Values = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]

MAX_K = 31
_BLOCK = 1 << 21  # bases worked on together: bounds the memory, whatever the length of a sequence
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31 = np.uint64(30), np.uint64(27), np.uint64(31)


def check_k(k: int) -> None:
    """Refuse a length of k-mers that does not fit into 64 bits.

    Raises:
        ConfigError: If it is not in [2, 31].
    """
    if not 2 <= k <= MAX_K:
        raise ConfigError(f"k is {k}; allowed: 2 to {MAX_K}, so that a k-mer fits into 64 bits.")


def forward_kmers(codes: Codes, k: int) -> tuple[Values, npt.NDArray[np.bool_]]:
    """Return every k-mer as it is written, as a number in base 4.

    Args:
        codes: Base codes, the soft mask allowed, shape ``(length,)``.
        k: Bases of a k-mer, 2 to 31.

    Returns:
        Number of the k-mer at each position, first base most significant, shape ``(length - k +
        1,)``, and whether it is free of N.

    Example:
        >>> values, valid = forward_kmers(np.array([0, 1, 2, 4], dtype=np.uint8), 2)
        >>> values.tolist()[:2], valid.tolist()
        ([1, 6], [True, True, False])
    """
    check_k(k)
    plain = np.bitwise_and(codes, np.uint8(CODE_BITS))
    return _packed(np.where(plain < N, plain, 0).astype(np.uint64), k), _free_of_n(plain, k)


def canonical_kmers(codes: Codes, k: int) -> tuple[Values, npt.NDArray[np.bool_]]:
    """Return every canonical k-mer; arguments and shapes as `forward_kmers`.

    Example:
        >>> strands = np.array([[0, 0, 1], [2, 3, 3]], dtype=np.uint8)
        >>> [canonical_kmers(codes, 3)[0].tolist() for codes in strands]
        [[1], [1]]
    """
    check_k(k)
    plain = np.bitwise_and(codes, np.uint8(CODE_BITS))
    letters = np.where(plain < N, plain, 0).astype(np.uint64)
    forward = _packed(letters, k)
    # The other strand, read from its own end: the same packing of the reversed complement.
    reverse = _packed(np.uint64(3) - letters[::-1], k)[::-1]
    return np.minimum(forward, reverse), _free_of_n(plain, k)


def scrambled(values: Values) -> Values:
    """Return the numbers under a fixed bijection of 64 bits (the finaliser of SplitMix64)."""
    mixed = (values ^ (values >> _30)) * _MIX_1
    mixed = (mixed ^ (mixed >> _27)) * _MIX_2
    return np.asarray(mixed ^ (mixed >> _31), dtype=np.uint64)


def distinct(values: Values) -> Values:
    """Return the different numbers, sorted: by sorting, which beats a hash table on large arrays.

    Example:
        >>> distinct(np.array([3, 1, 3], dtype=np.uint64)).tolist()
        [1, 3]
    """
    ordered = np.sort(values)
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))[: len(ordered)]]


def _packed(letters: Values, k: int) -> Values:
    """Number every stretch of ``k`` letters, by doubling: log2(k) passes instead of k."""
    count = max(len(letters) - k + 1, 0)
    result = np.zeros(count, dtype=np.uint64)
    piece, size, done = letters, 1, 0
    while True:
        if k & size:
            result = (result << np.uint64(2 * size)) | piece[done : done + count]
            done += size
        if done == k or count == 0:
            return result
        piece = (piece[: len(piece) - size] << np.uint64(2 * size)) | piece[size:]
        size *= 2


def _free_of_n(plain: Codes, k: int) -> npt.NDArray[np.bool_]:
    """Flag the stretches of ``k`` letters without an N."""
    before = np.concatenate(([0], np.cumsum(plain >= N, dtype=np.int64)))
    return np.asarray(before[k:] == before[: max(len(before) - k, 0)])


@dataclass(frozen=True, kw_only=True, eq=False)
class Sketches:
    """The distinct canonical k-mers of each of some sequences.

    Attributes:
        values: Scrambled k-mers, those of one sequence after those of another, sorted within each.
        offsets: Where the values of each sequence begin, shape ``(sequences + 1,)``.
        k: Bases of a k-mer.
        scaled: One in how many k-mers is kept; 1 keeps all.
        both_strands: Whether a k-mer and its reverse complement are one.
    """

    values: Values
    offsets: Integers
    k: int
    scaled: int
    both_strands: bool = True

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> Integers:
        """Number of k-mers of each sequence, shape ``(sequences,)``."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> Integers:
        """Sequence of each value, shape ``(values,)``."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def select(self, rows: Integers) -> "Sketches":
        """Return the sketches of some sequences, in that order."""
        sizes = self.sizes[rows]
        offsets = np.concatenate(([0], np.cumsum(sizes)))
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], sizes)
        return replace(self, values=self.values[places], offsets=offsets)


def sketch(
    sequences: Sequence[Codes], *, k: int, scaled: int = 1, both_strands: bool = True
) -> Sketches:
    """Return the distinct canonical k-mers of each sequence, or a fixed sample of them.

    Args:
        sequences: Base codes of each sequence, the soft mask allowed.
        k: Bases of a k-mer, 2 to 31.
        scaled: Keep one in this many k-mers, by value; 1 keeps all.
        both_strands: ``False`` takes k-mers as they are written, and tells the strands apart.

    Raises:
        ConfigError: If ``k`` or ``scaled`` is out of range.

    Example:
        >>> from lightning_dna.genome.alphabet import encode
        >>> sketch([encode("ACGT"), encode("AAAAA")], k=3).sizes.tolist()
        [1, 1]
    """
    parts: list[list[Values]] = [[] for _ in sequences]
    blocks = kmer_blocks(sequences, k=k, scaled=scaled, both_strands=both_strands)
    for values, owners in blocks:
        first, last = (int(owners[0]), int(owners[-1])) if len(owners) else (0, -1)
        edges = np.searchsorted(owners, np.arange(first, last + 2))
        for owner in range(first, last + 1):
            piece = values[edges[owner - first] : edges[owner - first + 1]]
            parts[owner].append(distinct(piece))
    none = np.zeros(0, dtype=np.uint64)
    kept = [
        part[0] if len(part) == 1 else distinct(np.concatenate([none, *part])) for part in parts
    ]
    sizes = np.fromiter(map(len, kept), dtype=np.int64, count=len(kept))
    return Sketches(
        values=np.concatenate([none, *kept]),
        offsets=np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
        k=k,
        scaled=scaled,
        both_strands=both_strands,
    )


def kmer_blocks(
    sequences: Sequence[Codes], *, k: int, scaled: int = 1, both_strands: bool = True
) -> Iterator[tuple[Values, Integers]]:
    """Yield scrambled canonical k-mers, about two million bases at a time.

    Args:
        sequences: Base codes; a long one is cut into overlapping pieces, so that each of its k-mers
            comes once.
        k: Bases of a k-mer.
        scaled: Keep one in this many k-mers, by value.
        both_strands: ``False`` takes k-mers as they are written.

    Yields:
        Values, and for each the index of its sequence, ascending.

    Raises:
        ConfigError: If ``k`` or ``scaled`` is out of range.
    """
    check_k(k)
    if scaled < 1:
        raise ConfigError(f"scaled is {scaled}; allowed: 1 (all k-mers) or more.")
    largest = np.uint64((2**64 - 1) // scaled)
    for codes, owners in joined_blocks(sequences, k=k):
        values, valid = (canonical_kmers if both_strands else forward_kmers)(codes, k)
        values = scrambled(values)
        if scaled > 1:
            valid &= values <= largest
        yield values[valid], owners[: len(values)][valid]


def joined_blocks(
    sequences: Sequence[Codes], *, k: int, block: int = _BLOCK, whole: bool = False
) -> Iterator[tuple[Codes, Integers]]:
    """Join sequences into blocks with an N between them.

    Args:
        sequences: Base codes of each; those shorter than ``k`` are left out.
        k: Bases of a k-mer.
        block: Bases of a block, about.
        whole: Keep long sequences whole instead of cutting them.

    Yields:
        Codes, and for each base the index of its sequence, ascending.
    """
    pieces: list[Codes] = []
    owners: list[int] = []
    size = 0
    for index, sequence in enumerate(sequences):
        step = max(len(sequence), 1) if whole else block
        for start in range(0, max(len(sequence) - k + 1, 0), step):
            piece = sequence[start : start + step + k - 1]
            pieces.append(piece)
            owners.append(index)
            size += len(piece) + 1
            if size >= block:
                yield _joined(pieces, owners)
                pieces, owners, size = [], [], 0
    if pieces:
        yield _joined(pieces, owners)


def _joined(pieces: list[Codes], owners: list[int]) -> tuple[Codes, Integers]:
    """Join pieces with a gap after each."""
    gap = np.array([N], dtype=np.uint8)
    lengths = [len(piece) + 1 for piece in pieces]
    codes = np.concatenate([part for piece in pieces for part in (piece, gap)])
    return codes, np.repeat(np.array(owners, dtype=np.int64), lengths)

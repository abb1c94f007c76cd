"""How often given words stand in sequences, on either strand; memory grows with the words alone."""

from collections.abc import Sequence

import numpy as np

from lightning_dna.genome.alphabet import Codes
from lightning_dna.genome.kmers import Integers, Values, check_k, kmer_blocks, scrambled

_FILTER_BITS = 24
# Two bits of a base at a time: pairs, then nibbles, and so on until halves of the number.
_SWAPS = tuple(
    (np.uint64(width), np.uint64(sum(((1 << width) - 1) << at for at in range(0, 64, 2 * width))))
    for width in (2, 4, 8, 16, 32)
)


def reverse_complements(words: Values, k: int) -> Values:
    """Return the other strand of words that are numbers in base 4, first base most significant.

    Args:
        words: Words, any shape.
        k: Bases of each, 1 to 31.

    Example:
        >>> reverse_complements(np.array([0b00_00_01], dtype=np.uint64), 3).tolist()  # AAC, GTT
        [47]
    """
    turned = ~words
    for width, low in _SWAPS:
        turned = ((turned & low) << width) | ((turned >> width) & low)
    return np.asarray(turned >> np.uint64(64 - 2 * k), dtype=np.uint64)


def count_words(sequences: Sequence[Codes], words: Values, k: int) -> Integers:
    """Count how often each word stands in some sequences, on either strand.

    A word that is its own reverse complement stands on both strands wherever it stands. The
    sequences are streamed: memory grows with the number of different words.

    Args:
        sequences: Base codes of each, the soft mask allowed; N is in no word.
        words: Words as numbers in base 4, first base most significant; any shape.
        k: Bases of a word, 2 to 31.

    Returns:
        Counts, shaped as ``words``.

    Raises:
        ConfigError: If ``k`` is out of range.

    Example:
        >>> from lightning_dna.genome.alphabet import encode
        >>> words = np.array([0b00_01, 0b00_11, 0b10_10], dtype=np.uint64)  # AC, AT, GG
        >>> count_words([encode("ACATGT")], words, 2).tolist()
        [2, 2, 0]
    """
    check_k(k)
    other = reverse_complements(words, k)
    wanted, places = np.unique(scrambled(np.minimum(words, other)), return_inverse=True)
    counts = np.zeros(len(wanted), dtype=np.int64)
    if len(wanted):
        shift = np.uint64(64 - _FILTER_BITS)
        maybe = np.zeros(1 << _FILTER_BITS, dtype=np.bool_)
        maybe[wanted >> shift] = True
        for values, _ in kmer_blocks(sequences, k=k):
            values = np.sort(values[maybe[values >> shift]])  # a search in order stays in the cache
            at = np.minimum(np.searchsorted(wanted, values), len(wanted) - 1)
            counts += np.bincount(at[wanted[at] == values], minlength=len(wanted))
    found = counts[places].reshape(words.shape)
    return np.where(words == other, 2 * found, found)

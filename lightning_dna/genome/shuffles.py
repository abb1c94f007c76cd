"""Random sequences with exactly the letters and the pairs of neighbours of a given one.

A sequence is a walk over its letters, and a sequence with the same pairs another walk over the same
edges. All of them are drawn with equal probability by the method of Altschul and Erickson (Mol.
Biol. Evol. 2:526, 1985): the edges that leave each letter are put in random order, orders whose
last edges do not all lead on to the final letter are drawn again, and the walk takes the edges of
each letter in turn.
"""

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import Codes, N

Integers = npt.NDArray[np.int64]


def dinucleotide_shuffles(codes: Codes, count: int, generator: np.random.Generator) -> Codes:
    """Draw sequences with the same dinucleotide counts, first base and last base, uniformly.

    Args:
        codes: Base codes 0 to 3, shape ``(length,)``; two bases or more.
        count: How many sequences.
        generator: Where the randomness comes from.

    Returns:
        Codes of shape ``(count, length)``, independent of each other. Sequences that allow few
        walks come more than once, and may come as they were given.

    Raises:
        DataError: If there is an N or a single base.

    Example:
        >>> bases = np.array([0, 1, 0, 2, 0, 1, 1], np.uint8)  # ACAGACC
        >>> shuffles = dinucleotide_shuffles(bases, 3, np.random.default_rng(0))
        >>> [sorted(zip(row[:-1].tolist(), row[1:].tolist())) for row in shuffles][0]
        [(0, 1), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]
    """
    if len(codes) < 2 or int(codes.max()) >= N:
        raise DataError(
            f"a sequence of {len(codes)} bases with {int((codes >= N).sum())} N cannot be shuffled;"
            " give two bases or more, and none unknown."
        )
    here, there = codes[:-1].astype(np.int64), codes[1:].astype(np.int64)
    counts = np.bincount(here, minlength=N)
    targets = np.zeros((count, N, int(counts.max())), dtype=np.int64)
    left = np.arange(count)
    while len(left):
        for base in np.flatnonzero(counts).tolist():
            leaving = np.broadcast_to(there[here == base], (len(left), counts[base]))
            targets[left, base, : counts[base]] = generator.permuted(leaving, axis=1)
        left = left[~_reach_the_end(targets[left], counts, int(codes[-1]))]
    shuffled = np.empty((count, len(codes)), dtype=np.uint8)
    shuffled[:, 0] = codes[0]
    taken = np.zeros((count, N), dtype=np.int64)
    rows, at = np.arange(count), np.full(count, codes[0], dtype=np.int64)
    for place in range(1, len(codes)):
        turn = taken[rows, at]
        taken[rows, at] += 1
        at = targets[rows, at, turn]
        shuffled[:, place] = at
    return shuffled


def _reach_the_end(targets: Integers, counts: Integers, end: int) -> npt.NDArray[np.bool_]:
    """Tell in which orders the last edges of all letters lead on to the final one."""
    last = np.broadcast_to(np.arange(N), (len(targets), N)).copy()
    for base in np.flatnonzero(counts).tolist():
        if base != end:
            last[:, base] = targets[:, base, counts[base] - 1]
    reached = last.copy()
    for _ in range(N):
        reached = np.take_along_axis(last, reached, axis=1)
    whole: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = ((reached == end) | (counts == 0)).all(
        axis=1
    )
    return whole

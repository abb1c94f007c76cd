"""Windows of training chromosomes without themselves: what they would count of their own place.

A reference that looks a training window up in the training sequence finds the window itself. What
the *rest* of the training sequence says is what is left if the window's own bases were N: every
word that holds one of them is taken off.
"""

import numpy as np
import numpy.typing as npt

from lightning_dna.genome.alphabet import CODE_BITS, N
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.kmer_counts import reverse_complements
from lightning_dna.genome.kmers import Integers, Values, canonical_kmers
from lightning_dna.tasks.heldout_mlm import WindowBases

LONGEST = 17
"""Longest word in bases; a window and a word share the 64 bits of a key."""

_BEYOND = LONGEST - 1


class OwnPlaces:
    """What windows of training chromosomes would count of themselves, on both strands.

    Attributes:
        base_counts: A, C, G, T of each window's own place, both strands, shape ``(windows, 4)``;
            zeros for a window that lies on no training chromosome.
    """

    def __init__(self, base_counts: Integers, stretches: npt.NDArray[np.uint8]) -> None:
        self.base_counts = base_counts
        self._stretches = stretches  # _BEYOND more bases on each side; N where nothing is

    @classmethod
    def of(cls, genome: Genome, chroms: frozenset[str], batch: WindowBases) -> "OwnPlaces":
        """Read the stretches around the windows that lie on ``chroms``."""
        windows = batch.windows
        n, width = batch.codes.shape
        stretches = np.full((n, width + 2 * _BEYOND), N, dtype=np.uint8)
        for chrom, rows in windows.by_chrom():
            if chrom not in chroms:
                continue
            stored = genome.stored(chrom)
            at = windows.starts[rows, None] + np.arange(-_BEYOND, width + _BEYOND)
            inside = (at >= 0) & (at < len(stored))
            codes = stored[np.clip(at, 0, len(stored) - 1)] & np.uint8(CODE_BITS)
            stretches[rows] = np.where(inside, codes, N)
        window = stretches[:, _BEYOND : _BEYOND + width]
        forward = np.stack([(window == base).sum(axis=1) for base in range(4)], axis=1)
        return cls(forward + forward[:, ::-1], stretches)

    def counts(self, words: Values, row: Integers, size: int) -> Integers:
        """Count words in what touches the own place of the windows they belong to.

        Args:
            words: Words, shape ``(n, 4)``.
            row: Window of each four words, shape ``(n,)``.
            size: Bases of a word, 2 to ``LONGEST``.
        """
        beyond = LONGEST - size
        touching = self._stretches[:, beyond : self._stretches.shape[1] - beyond]
        known = np.flatnonzero((touching < N).any(axis=1))
        if len(known) == 0:
            return np.zeros(words.shape, dtype=np.int64)
        apart = np.pad(touching[known], ((0, 0), (0, 1)), constant_values=N)
        values, valid = canonical_kmers(apart.ravel(), size)
        owner = np.repeat(known, apart.shape[1])[: len(values)].astype(np.uint64)
        owned = np.sort(((owner << np.uint64(2 * LONGEST)) | values)[valid])
        other = reverse_complements(words, size)
        keys = row.astype(np.uint64)[:, None] << np.uint64(2 * LONGEST)
        keys = keys | np.minimum(words, other)
        found = np.searchsorted(owned, keys, "right") - np.searchsorted(owned, keys, "left")
        return np.where(words == other, 2 * found, found)

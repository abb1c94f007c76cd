"""A finite-context mixture: a base given up to 16 visible bases around it, counted on both strands.

It says how far the words of the training sequence go. The contexts of a base are a chain: of k
bases in all, the k nearest ones, as evenly on both sides as the visible run on each side allows (8
on each, or 16 on one side where the other neighbour is hidden). From the empty context, which has
the base frequencies, to the longest,

    P_k(base) = (n_k(base) + c_k P_(k-1)(base)) / (n_k + c_k),

where n_k(base) counts the context around that base in the training chromosomes, on both strands.
A single sighting of a context that chance explains says little, of one that chance does not explain
nearly everything: with e_k = 2 x bases / 4^k, the sightings expected by chance, the pseudo-count is
c_k = ``CHANCE`` e_k^``POWER``, at most ``MOST``.

Finite-context models of orders up to 16 that compete, with inverted repeats and estimates suited to
each depth, are those of Pinho et al., PLoS ONE 6 (2011) e21588. Here contexts are two-sided, as a
masked model's are, and all orders are blended from the shortest to the longest, as in prediction by
partial matching (PPM, doi:10.1109/TCOM.1984.1096090), because hidden bases leave hardly two
positions with the same visible context.

Windows of a training chromosome are scored as if their own bases were N in the training sequence,
so that the counts say what the *rest* of it knows, and never quote the window itself.
"""

import math

import numpy as np

from lightning_dna.errors import ConfigError
from lightning_dna.genome.alphabet import N
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.kmer_counts import count_words
from lightning_dna.genome.kmers import Integers, Values
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.baselines.majority import base_probabilities
from lightning_dna.tasks.baselines.markov import word_counts
from lightning_dna.tasks.baselines.own_places import LONGEST, OwnPlaces
from lightning_dna.tasks.heldout_mlm import Floats, HeldoutMLM, WindowBases

MAX_ORDER = LONGEST - 1
# Chosen on yeast chromosomes V and XII (counted without them, IV and X).
# As good in bits per base as the best pseudo-count for every order by itself.
CHANCE = 100.0
POWER = 0.6
MOST = 500.0

_TABLED = 11  # longest word whose counts are all held: 4^11 numbers
_BASES_PER_BATCH = 1 << 22  # each batch reads the training sequence a few times


class ContextMixture:
    """The mixture over some training chromosomes; calling it predicts the hidden bases of windows.

    Args:
        genome: The genome.
        chroms: Training chromosomes; repeats are counted too.
        order: Longest context in bases, both sides together, 0 to 16.

    Raises:
        ConfigError: If the order is out of range.
        DataError: If the chromosomes hold no known base.

    Example:
        >>> mixture = ContextMixture(Genome.from_sequences({"I": "ACACACAC"}), ["I"], order=2)
        >>> round(mixture.pseudo_count(1)), round(mixture.pseudo_count(2))
        (230, 100)
    """

    def __init__(self, genome: Genome, chroms: tuple[str, ...], order: int = MAX_ORDER) -> None:
        if not 0 <= order <= MAX_ORDER:
            raise ConfigError(
                f"order of the context mixture is {order}; allowed: 0 to {MAX_ORDER}."
            )
        self.order = order
        self._own_place = frozenset(chroms)
        self._genome = genome
        self._sequences = [genome.stored(chrom) for chrom in chroms]
        forward = word_counts(genome, chroms, min(order + 1, _TABLED))
        self._tables = [_both_strands(table) for table in forward]
        self.bases = sum(map(len, self._sequences))
        base_probabilities(self._tables[0])  # refuses a sequence without a known base

    def pseudo_count(self, k: int) -> float:
        """Return c_k, the weight of the next shorter context beside the counts of k bases."""
        return min(CHANCE * math.pow(2 * self.bases / 4**k, POWER), MOST)

    def __call__(self, batch: WindowBases) -> Floats:
        """Return ln P of A, C, G, T at the hidden bases of some windows, shape ``(hidden, 4)``."""
        flanks = _Flanks.of(batch)
        own = OwnPlaces.of(self._genome, self._own_place, batch)
        counts = self._tables[0] - own.base_counts[flanks.row]
        result = (counts + 1.0) / (counts.sum(axis=1, keepdims=True) + 4.0)
        # A context that stands nowhere has no longer one that does.
        alive = np.arange(len(flanks.row))
        for k in range(1, self.order + 1):
            alive = alive[flanks.left[alive] + flanks.right[alive] >= k]
            words = flanks.words(alive, k)
            counts = self._counts(words, k + 1) - own.counts(words, flanks.row[alive], k + 1)
            total = counts.sum(axis=1)
            alive, counts, total = alive[total > 0], counts[total > 0], total[total > 0]
            weight = self.pseudo_count(k)
            result[alive] = (counts + weight * result[alive]) / (total + weight)[:, None]
        return np.asarray(np.log(result), dtype=np.float64)

    def _counts(self, words: Values, size: int) -> Integers:
        """Count words of ``size`` bases in the training sequence, on both strands."""
        if size <= len(self._tables):
            return np.asarray(self._tables[size - 1][words.astype(np.int64)])
        return count_words(self._sequences, words, size)


def _both_strands(table: Integers) -> Integers:
    """Add to the count of each word that of its reverse complement; table of shape ``(4^m,)``."""
    size = (len(table).bit_length() - 1) // 2
    # One axis for each base: complement along every axis, then read the axes backwards.
    turned = np.flip(table.reshape((4,) * size)).transpose(range(size)[::-1])
    return table + turned.ravel()


class _Flanks:
    """The visible bases next to each hidden one.

    Attributes:
        row: Window of each hidden base, shape ``(hidden,)``, like the others.
        left: Visible bases on its left before the next hidden, unknown or missing one, at most 16.
        right: The same on its right.
    """

    def __init__(self, row: Integers, left: Integers, right: Integers, words: list[Values]) -> None:
        self.row, self.left, self.right = row, left, right
        self._left_word, self._right_word = words

    @classmethod
    def of(cls, batch: WindowBases) -> "_Flanks":
        """Read the flanks of every hidden base; hidden bases are never looked at."""
        shown = np.where(batch.hidden, np.uint8(N), batch.codes)
        padded = np.pad(shown, ((0, 0), (MAX_ORDER, MAX_ORDER)), constant_values=N)
        row, column = np.nonzero(batch.hidden)
        reach = []
        words = []
        for step in (-1, 1):
            size = np.zeros(len(row), dtype=np.int64)
            word = np.zeros(len(row), dtype=np.uint64)
            visible = np.ones(len(row), dtype=np.bool_)
            for distance in range(1, MAX_ORDER + 1):
                base = padded[row, column + MAX_ORDER + step * distance]
                visible &= base < N
                size += visible
                # The nearest base is the last digit of the left word, the first of the right one.
                digit = 2 * (distance - 1 if step < 0 else MAX_ORDER - distance)
                word |= np.where(visible, base, 0).astype(np.uint64) << np.uint64(digit)
            reach.append(size)
            words.append(word)
        return cls(row, reach[0], reach[1], words)

    def words(self, chosen: Integers, k: int) -> Values:
        """Return the words that A, C, G, T make with the ``k`` nearest bases, ``(chosen, 4)``."""
        left, right = self.left[chosen], self.right[chosen]
        on_left = np.maximum(np.minimum(left, k // 2), k - right)
        bits_right = (2 * (k - on_left)).astype(np.uint64)
        bits_left = (2 * on_left).astype(np.uint64)
        low = self._left_word[chosen] & ((np.uint64(1) << bits_left) - np.uint64(1))
        after = self._right_word[chosen] >> (np.uint64(2 * MAX_ORDER) - bits_right)
        around = (low << (bits_right + np.uint64(2))) | after
        bases = np.arange(4, dtype=np.uint64) << bits_right[:, None]
        return np.asarray(around[:, None] | bases)


def score_context_mixture(
    task: HeldoutMLM,
    order: int = MAX_ORDER,
    *,
    variant: str = "context_mixture",
    seed: int = 0,
    progress: bool = False,
) -> Scores:
    """Score the mixture on the hidden bases of a task.

    Args:
        task: The task; counts come from its training chromosomes only, whatever repeats the arms
            leave out.
        order: Longest context in bases, both sides together.
        variant: Name in the score table.
        seed: Seed in the score table; nothing here is random.
        progress: Show a bar on stderr.

    Raises:
        ConfigError: If the order is out of range.
        DataError: If the training chromosomes hold no known base, or nothing is hidden.
    """
    return task.score_with(
        ContextMixture(task.genome, task.split.train, order),
        variant=variant,
        seed=seed,
        bases_per_batch=_BASES_PER_BATCH,
        progress=progress,
    )

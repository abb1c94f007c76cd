"""A two-sided Markov model: a base given up to ``order`` visible bases on each side, by counting.

What a language model knows beyond this is more than local composition. With contexts of ``left``
and ``right`` bases, P(base | context) is estimated as

    (count(left, base, right) + c P(base | shorter)) / (count(left, right) + c),

where ``shorter`` lacks the outermost base of the longer side (the left one if both are equal), down
to no context at all, which has the base frequencies of `majority`; c is ``CONCENTRATION``.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError
from lightning_dna.genome.alphabet import CODE_BITS, N
from lightning_dna.genome.fasta import Genome
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.baselines.majority import base_probabilities
from lightning_dna.tasks.card_kinds import MAX_MARKOV_ORDER
from lightning_dna.tasks.heldout_mlm import Floats, HeldoutMLM, WindowBases

Integers = npt.NDArray[np.int64]
Tables = dict[tuple[int, int], Floats]

# Chosen on yeast chromosomes V and XII (trained without them, IV and X): orders 3 to 5 all gain.
CONCENTRATION = 64.0
_BLOCK = 1 << 22  # bases counted at once; bounds memory on long chromosomes
_BASES_PER_BATCH = 1 << 20


def word_counts(genome: Genome, chroms: Sequence[str], longest: int) -> list[Integers]:
    """Count the words of 1 to ``longest`` bases on some chromosomes, forward strand.

    A word never holds an N and never joins two chromosomes.

    Args:
        genome: The genome.
        chroms: Chromosomes to count on; repeats are counted too.
        longest: Longest word in bases.

    Returns:
        For each length m an array of shape ``(4 ** m,)``, indexed by the word read as a number with
        the digits A 0, C 1, G 2, T 3, its first base leading.

    Example:
        >>> counts = word_counts(Genome.from_sequences({"chr1": "ACCNA"}), ["chr1"], 2)
        >>> counts[0].tolist(), [(int(i), int(counts[1][i])) for i in counts[1].nonzero()[0]]
        ([2, 2, 0, 0], [(1, 1), (5, 1)])
    """
    totals = [np.zeros(4**size, dtype=np.int64) for size in range(1, longest + 1)]
    for chrom in chroms:
        stored = genome.stored(chrom)
        for start in range(0, len(stored), _BLOCK):
            # Words that begin in this block may end in the next one.
            codes = np.bitwise_and(stored[start : start + _BLOCK + longest - 1], CODE_BITS)
            begins = min(_BLOCK, len(stored) - start)
            for total, counted in zip(totals, _count(codes, begins, longest), strict=True):
                total += counted
    return totals


def _count(codes: npt.NDArray[np.uint8], begins: int, longest: int) -> list[Integers]:
    """Count the words that begin at the first ``begins`` bases of ``codes``."""
    digits = codes.astype(np.int32)
    words = np.zeros(begins, dtype=np.int32)
    known = np.ones(begins, dtype=np.bool_)
    counts = []
    for size in range(1, longest + 1):
        n = max(0, min(begins, len(codes) - size + 1))
        last = digits[size - 1 : size - 1 + n]
        words = words[:n] * 4 + last
        known = known[:n] & (last < N)
        counts.append(np.bincount(words[known], minlength=4**size))
    return counts


def context_tables(counts: Sequence[Integers], order: int) -> Tables:
    """Estimate P(base | left context, right context) for every length of the two contexts.

    Args:
        counts: Word counts up to length ``2 * order + 1``, of `word_counts`.
        order: Longest context on each side.

    Returns:
        (left, right) to an array of shape ``(4 ** left, 4, 4 ** right)`` that sums to 1 over its
        middle axis. Contexts are read as numbers from left to right.
    """
    tables: Tables = {(0, 0): base_probabilities(counts[0])[None, :, None]}
    for total in range(1, 2 * order + 1):
        for left in range(max(0, total - order), min(order, total) + 1):
            right = total - left
            if left >= right:
                # The outermost base on the left is the leading digit.
                shorter = np.tile(tables[left - 1, right], (4, 1, 1))
            else:
                shorter = np.repeat(tables[left, right - 1], 4, axis=2)
            seen = counts[total].reshape(4**left, 4, 4**right)
            everything = seen.sum(axis=1, keepdims=True) + CONCENTRATION
            tables[left, right] = (seen + CONCENTRATION * shorter) / everything
    return tables


def log_probabilities(tables: Tables, batch: WindowBases, order: int) -> Floats:
    """Look up ln P of A, C, G, T at the hidden bases of some windows, shape ``(hidden, 4)``.

    A context ends at the first base that is hidden, N or outside the window, so the baseline sees
    what a masked model sees and no more.
    """
    codes = np.pad(batch.codes, ((0, 0), (order, order)), constant_values=N).astype(np.int64)
    visible = np.pad(~batch.hidden, ((0, 0), (order, order))) & (codes < N)
    row, column = np.nonzero(batch.hidden)
    column = column + order
    left, left_word = _reach(codes, visible, row, column, order, step=-1)
    right, right_word = _reach(codes, visible, row, column, order, step=1)
    result = np.empty((len(row), 4))
    for (left_size, right_size), table in tables.items():
        chosen = np.flatnonzero((left == left_size) & (right == right_size))
        result[chosen] = table[left_word[chosen], :, right_word[chosen]]
    return np.log(result)


def _reach(
    codes: Integers,
    visible: npt.NDArray[np.bool_],
    row: npt.NDArray[np.int64],
    column: npt.NDArray[np.int64],
    order: int,
    *,
    step: int,
) -> tuple[Integers, Integers]:
    """Return how many bases of context are visible on one side, and those bases as a number."""
    size = np.zeros(len(row), dtype=np.int64)
    word = np.zeros(len(row), dtype=np.int64)
    open_ended = np.ones(len(row), dtype=np.bool_)
    for distance in range(1, order + 1):
        there = column + step * distance
        open_ended &= visible[row, there]
        base = codes[row, there]
        longer = word * 4 + base if step > 0 else word + base * 4 ** (distance - 1)
        word = np.where(open_ended, longer, word)
        size += open_ended
    return size, word


def score_markov(
    task: HeldoutMLM, order: int, *, variant: str | None = None, seed: int = 0
) -> Scores:
    """Score the two-sided Markov model on the hidden bases of a task.

    Args:
        task: The task; counts come from its training chromosomes only.
        order: Longest context on each side, from 1 to 5.
        variant: Name in the score table; ``None`` for ``markov_<order>``.
        seed: Seed in the score table; nothing here is random.

    Raises:
        ConfigError: If the order is out of range.
        DataError: If the training chromosomes hold no known base, or nothing is hidden.
    """
    if not 1 <= order <= MAX_MARKOV_ORDER:
        raise ConfigError(f"Markov order is {order}; allowed: 1 to {MAX_MARKOV_ORDER}.")
    counts = word_counts(task.genome, task.split.train, 2 * order + 1)
    tables = context_tables(counts, order)
    return task.score_with(
        lambda batch: log_probabilities(tables, batch, order),
        variant=variant or f"markov_{order}",
        seed=seed,
        bases_per_batch=_BASES_PER_BATCH,
    )

"""Byte-pair training in memory, see ``bpe_exact_compiled`` for how. Needs numba."""

import numpy as np
import numpy.typing as npt

from lightning_dna.tokenizers import bpe_exact_compiled as kernels
from lightning_dna.tokenizers.bpe_rounds import BREAK
from lightning_dna.tokenizers.bpe_tables import Pair

SMALL_BREAK = 0xFF
"""Stands between words of one byte a token."""
MOST_TOKENS = 2**31
"""Places and counts have four bytes."""
_SQUARE = 96  # tokens for which pairs are counted in a table


def learn(
    tokens: npt.NDArray[np.uint8], n_tokens: int, most: int, least: int
) -> list[tuple[Pair, int]]:
    """Learn merges from tokens in memory.

    Args:
        tokens: Tokens below ``n_tokens`` with ``SMALL_BREAK`` between words, first and last; fewer
            than ``MOST_TOKENS``. Rewritten.
        n_tokens: Tokens before the first merge.
        most: Most merges.
        least: Least count of a pair that merges.

    Returns:
        The pairs in the order in which they merge, and how often each stood.
    """
    counts = np.zeros((SMALL_BREAK + 1, SMALL_BREAK + 1), dtype=np.int64)
    made = np.zeros((most, 3), dtype=np.int64)
    least = max(least, 1)
    kernels.count_square(tokens, counts)
    few = min(most, max(_SQUARE - n_tokens, 0))
    size, done = kernels.merge_square(tokens, counts, n_tokens, few, least, made)
    if done == few < most:
        wide = tokens[:size].astype(np.uint16)
        wide[wide == SMALL_BREAK] = BREAK
        tokens.resize(0, refcheck=False)
        here = n_tokens + done
        done += kernels.merge_lists(wide, counts, here, most - done, least, made[done:])
    return [((int(left), int(right)), int(count)) for left, right, count in made[:done]]

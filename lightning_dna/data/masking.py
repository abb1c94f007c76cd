"""Which bases are hidden: training masks by step, evaluation masks by genomic position.

Training masks come from a counter-based generator keyed by ``(seed, step)`` over the token stream
of that step, so arms that see the same bases hide the same bases, whatever their row length.
Evaluation masks are a pure function of ``(seed, chrom, position)``: the window, batch, process and
tokenizer have no say, so every arm is scored on the same bases.
"""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_WORD = 1 << 32
_PER_COUNT = 8  # words for each count of the generator
_BLOCK = 1 << 14
_MASK_STREAM = 0x6D61736B  # "mask": keeps these draws apart from any other use of the same seed
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


class MaskDraw(NamedTuple):
    """What happens to the tokens of one step; all three index the stream of that step.

    Attributes:
        targets: Positions to be predicted, ascending; int64 of shape (targets,).
        hidden: Positions among them that the model sees as the mask token (about 80 %).
        replaced: Positions among them that the model sees as a random base (about 10 %).
        bases: The random bases, 0..3 for A, C, G, T; one for each of ``replaced``.
    """

    targets: NDArray[np.int64]
    hidden: NDArray[np.int64]
    replaced: NDArray[np.int64]
    bases: NDArray[np.uint8]

    def after(self, first: int) -> "MaskDraw":
        """Return what happens to the tokens from ``first`` on, which then counts as 0."""
        if first == 0:
            return self
        kept = self.replaced >= first
        return MaskDraw(
            targets=self.targets[self.targets >= first] - first,
            hidden=self.hidden[self.hidden >= first] - first,
            replaced=self.replaced[kept] - first,
            bases=self.bases[kept],
        )


def mask_blocks(
    seed: int, step: int, tokens: int, *, first: int = 0
) -> Iterator[NDArray[np.uint32]]:
    """Yield the random words of the tokens of a training step, some thousands at a time.

    Small blocks stay in the processor's cache and need no fresh memory.

    Args:
        seed: Seed of the run, 0 or more.
        step: Training step, from 0.
        tokens: How many tokens of the step.
        first: Number of the first of them in the step.

    Yields:
        Words of consecutive tokens, in all one for each.
    """
    draws = np.random.Philox(key=seed, counter=[0, 0, _MASK_STREAM, step])
    skipped = first % _PER_COUNT
    draws.advance(first // _PER_COUNT)
    for done in range(0, skipped + tokens, _BLOCK):
        count = min(_BLOCK, skipped + tokens - done)
        words = draws.random_raw((count + 1) // 2).view(np.uint32)[:count]
        yield words[skipped:] if done == 0 else words


def thresholds(fraction: float) -> tuple[np.uint32, np.uint32, np.uint32]:
    """Return the words below which a token is a target, is hidden, and is hidden or replaced."""
    shares = (fraction, 0.8 * fraction, 0.9 * fraction)
    below, hidden, replaced = (np.uint32(share * _WORD) for share in shares)
    return below, hidden, replaced


def draw_masks(seed: int, step: int, tokens: int, fraction: float) -> MaskDraw:
    """Choose the targets of one training step and what the model sees in their place.

    Each token is a target with probability ``fraction``. Of the targets 80 % are hidden behind the
    mask token, 10 % show a base drawn uniformly from A, C, G, T (possibly the right one) and 10 %
    stay as they are. BERT draws its random tokens from the whole vocabulary; special tokens never
    appear here.

    Args:
        seed: Seed of the run, 0 or more.
        step: Training step, from 0.
        tokens: Tokens of the step.
        fraction: Expected share of targets, in (0, 1).

    Returns:
        The draw. The caller drops targets that are not A, C, G or T.
    """
    words = np.concatenate([*mask_blocks(seed, step, tokens)])
    below, hidden_below, replaced_below = thresholds(fraction)
    targets = np.flatnonzero(words < below)
    chosen = words[targets]
    shown = chosen >= hidden_below
    random = shown & (chosen < replaced_below)
    # The two lowest bits are independent of the comparison above for any fraction that matters
    # (2^32 / 4 values).
    return MaskDraw(
        targets=targets,
        hidden=targets[~shown],
        replaced=targets[random],
        bases=(chosen[random] & np.uint32(3)).astype(np.uint8),
    )


def evaluation_mask(
    seed: int, chrom: str, positions: NDArray[np.int64], fraction: float
) -> NDArray[np.bool_]:
    """Tell which genomic positions are hidden when models are scored.

    A SplitMix64 finaliser is applied to seed, CRC-32 of the chromosome name and position, and
    compared with ``fraction``. Masks of a smaller fraction are subsets of those of a larger one.

    Args:
        seed: Seed of the evaluation (not of the run), 0 or more.
        chrom: Chromosome name, as in the FASTA file.
        positions: 0-based positions, int64 of any shape.
        fraction: Expected share of hidden positions, in (0, 1).

    Returns:
        bool of the shape of ``positions``.

    Example:
        >>> mask = evaluation_mask(0, "chrI", np.arange(1000), 0.15)
        >>> bool((evaluation_mask(0, "chrI", np.arange(500, 600), 0.15) == mask[500:600]).all())
        True
    """
    key = stable_hash(np.array([seed], dtype=np.uint64), zlib.crc32(chrom.encode()))
    mixed = stable_hash(positions.astype(np.uint64), int(key[0]))
    return mixed < np.uint64(int(fraction * 2**64))


def stable_hash(values: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """Mix each value with a key into 64 well-spread bits, the same on every machine.

    The output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) applied to ``key + (value
    + 1) * golden``.

    Args:
        values: uint64 of any shape.
        key: Any integer from 0 up to 2**64 - 1.

    Returns:
        uint64 of the shape of ``values``.
    """
    mixed = (values + np.uint64(1)) * _GOLDEN + np.uint64(key)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_1
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))

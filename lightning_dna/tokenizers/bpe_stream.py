"""Byte-pair encoding of sequences that are too long to hold: blocks in, settled tokens out."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError
from lightning_dna.genome.alphabet import Codes
from lightning_dna.tokenizers.base import Offsets
from lightning_dna.tokenizers.bpe_encoder import Encoder, Starts, Symbols

Encoded = tuple[npt.NDArray[np.int32], Offsets]

BLOCK = 1 << 20
_STEPS = (8, 64, 512, 4096)  # how far from the end, in longest tokens, a settled border is sought


def stream(
    blocks: Iterable[Codes],
    block_length: int,
    *,
    whole: Callable[[Codes], Encoded],
    part: Callable[[Codes], tuple[Encoded, int]],
    least: int,
) -> Iterator[Encoded]:
    """Encode consecutive blocks of one sequence; see ``BPETokenizer.encode_stream``.

    Args:
        blocks: The sequence.
        block_length: Bases encoded at a time.
        whole: Encodes a whole sequence.
        part: Encodes the bases from a settled border on; also returns how many of the tokens are
            settled.
        least: Bases below which only the whole sequence can be encoded.
    """
    if block_length < 1:
        raise ConfigError(f"block_length = {block_length}; allowed: 1 base or more.")
    held = np.zeros(0, dtype=np.uint8)
    start = 0
    wanted = least
    for codes in _regrouped(blocks, block_length):
        held = np.concatenate((held, codes))
        if len(held) < wanted:
            continue
        (ids, offsets), settled = part(held)
        if settled == 0:
            wanted = 2 * len(held)  # so that the work stays linear
            continue
        yield ids[:settled], offsets[:settled] + start
        end = int(offsets[settled - 1, 1])
        held, start, wanted = held[end:], start + end, 1
    if len(held):
        ids, offsets = whole(held) if start == 0 else part(held)[0]
        yield ids, offsets + start


def _regrouped(blocks: Iterable[Codes], block_length: int) -> Iterator[Codes]:
    """Yield the same codes in blocks of one length, but for the last."""
    parts: list[Codes] = []
    held = 0
    for block in blocks:
        for at in range(0, len(block), block_length):
            parts.append(block[at : at + block_length])
            held += len(parts[-1])
            while held >= block_length:
                joined = np.concatenate(parts)
                yield joined[:block_length]
                parts, held = [joined[block_length:]], held - block_length
    if held:
        yield np.concatenate(parts)


def settled_tokens(encoder: Encoder, n_symbols: int, symbols: Symbols, starts: Starts) -> int:
    """Return how many leading tokens stay whatever symbols may follow.

    A border is settled if every encoding that a longer text can have passes through it. That
    encoding has its last border before the end of ``symbols`` at one of the last ``longest``
    places; so for each of them the symbols from the candidate on are encoded up to there, and their
    first token has to stay apart from the token before the candidate.

    Args:
        encoder: The encoder.
        n_symbols: Symbols that merge; the others part the text into runs.
        symbols: The text so far, whose first place is a settled border.
        starts: First symbol of each of its tokens.
    """
    alone = np.flatnonzero(symbols[-1:] >= n_symbols)
    if len(alone) or not len(symbols):
        return len(starts) - 1 if len(starts) else 0  # a row of unknown symbols may go on
    run = int(np.flatnonzero(symbols >= n_symbols)[-1]) + 1 if (symbols >= n_symbols).any() else 0
    first = int(np.searchsorted(starts, run))
    if not encoder.longest:
        return first
    for step in _STEPS:
        candidate = int(np.searchsorted(starts, len(symbols) - step * encoder.longest, "right")) - 1
        if candidate <= first:
            break
        if _is_settled(encoder, symbols, starts, candidate):
            return candidate
    return first


def _is_settled(encoder: Encoder, symbols: Symbols, starts: Starts, candidate: int) -> bool:
    """Tell whether no text that may follow can move the border before a token."""
    place = int(starts[candidate])
    before = symbols[int(starts[candidate - 1]) : place]
    left = int(encoder.encode(before)[0][0])
    return all(
        encoder.stays(left, int(encoder.encode(symbols[place:end])[0][0]))
        for end in range(len(symbols) - encoder.longest + 1, len(symbols) + 1)
    )

"""Sequences of different lengths as rows of ids, padded to one batch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.data.examples import Indices, sequence_lengths
from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import Codes
from lightning_dna.models.config import ModelConfig
from lightning_dna.tokenizers.base import Ids
from lightning_dna.training.finetune_config import TooLong

Number = TypeVar("Number", np.float32, np.float64)


def padded_batch(
    codes: Sequence[Codes], indices: Indices, device: torch.device
) -> tuple[Int[Tensor, "batch length"], Bool[Tensor, "batch length"]]:
    """Return ids and mask of some sequences, one token per base, padded on the right."""
    rows = CHARACTERS.rows([codes[index] for index in indices])
    return padded_rows(rows, np.arange(len(rows)), CHARACTERS.pad_id, device)


def padded_rows(
    rows: Sequence[Ids], indices: Indices, pad_id: int, device: torch.device
) -> tuple[Int[Tensor, "batch length"], Bool[Tensor, "batch length"]]:
    """Return ids and the mask of real positions of some rows, padded on the right.

    Args:
        rows: Token ids of all sequences.
        indices: Which of them make up the batch.
        pad_id: Id of padding.
        device: Where the batch goes.
    """
    chosen = [rows[index] for index in indices]
    lengths = sequence_lengths(chosen)
    ids = np.full((len(chosen), int(lengths.max())), pad_id, dtype=np.int64)
    for at, row in enumerate(chosen):
        ids[at, : len(row)] = row
    real = np.arange(ids.shape[1]) < lengths[:, None]
    return torch.from_numpy(ids).to(device), torch.from_numpy(real).to(device)


def checked_rows(
    codes: Sequence[Codes],
    config: ModelConfig,
    encoding: Encoding,
    *,
    where: str,
    spare: int = 0,
    too_long: TooLong = "error",
) -> list[Ids]:
    """Return the ids of sequences that a model can read.

    Args:
        codes: Base codes of each sequence.
        config: The model's settings.
        encoding: How sequences become ids.
        where: What the sequences are, for the message.
        spare: Positions that something else takes, such as a soft prompt.
        too_long: ``"truncate_center"`` keeps the middle of a sequence that is too long, and the
            special tokens around it.

    Raises:
        DataError: If there is no sequence, one is empty, or one is longer than the model allows.
    """
    lengths = sequence_lengths(codes)
    if not len(lengths):
        raise DataError(f"{where}: no sequence; one at least is needed.")
    if lengths.min() == 0:
        raise DataError(
            f"{where}: sequence {int(lengths.argmin())} (from 0) has no base; remove it."
        )
    longest = encoding.longest(config)
    most = None if longest is None else longest - spare
    if most is not None and most < 1:
        raise DataError(
            f"{where}: {spare} of the model's {longest} positions (model.max_length) are the "
            "prompt's (finetune.prompt_length), which leaves none for a sequence; shorten it."
        )
    rows = encoding.rows(codes)
    if most is None or sequence_lengths(rows).max() <= most:
        return rows
    if too_long == "truncate_center":
        return [centre(row, most, encoding.special_ids) for row in rows]
    if encoding.by_base:
        beside = f" less {spare} of the prompt (finetune.prompt_length)" if spare else ""
        raise DataError(
            f"{where}: sequence {int(lengths.argmax())} (from 0) has {int(lengths.max())} bases, "
            f"above model.max_length {config.max_length}{beside}; raise model.max_length in the "
            "recipe (it needs new pretraining), shorten the sequences of the task, or keep their "
            "middle (finetune.too_long: truncate_center)."
        )
    encoding.check_lengths(rows, replace(config, max_length=most), where=where)
    return rows


def centre(row: Ids, most: int, special_ids: Sequence[int] = ()) -> Ids:
    """Return the middle of a row that is too long, with the special tokens at its ends.

    Of an odd number of tokens to leave out, the one more is left out on the right.

    Example:
        >>> row = np.array([1, 20, 21, 22, 23, 24, 2])
        >>> centre(row, 4, special_ids=(1, 2)).tolist(), centre(row, 9).tolist()
        ([1, 21, 22, 2], [1, 20, 21, 22, 23, 24, 2])
    """
    if len(row) <= most:
        return row
    first = int(row[0] in special_ids)
    last = len(row) - int(row[-1] in special_ids)
    kept = most - first - (len(row) - last)
    start = first + (last - first - kept) // 2
    return np.concatenate((row[:first], row[start : start + kept], row[last:]))


def of_bases(
    input_ids: Int[Tensor, "batch length"],
    real: Bool[Tensor, "batch length"],
    special_ids: Sequence[int],
) -> Bool[Tensor, "batch length"]:
    """Return the real positions that stand for bases and not for the ends of a sequence."""
    for token in special_ids:
        real = real & (input_ids != token)
    return real


def in_input_order(parts: list[npt.NDArray[Number]], order: list[Indices]) -> npt.NDArray[Number]:
    """Undo the sorting by length."""
    stacked = np.concatenate(parts)
    restored = np.empty_like(stacked)
    restored[np.concatenate(order)] = stacked
    return restored

"""Sequences of different lengths as rows of ids, padded to one batch."""

from collections.abc import Iterable, Iterator, Sequence
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
    codes: Sequence[Codes], config: ModelConfig, encoding: Encoding, *, where: str
) -> list[Ids]:
    """Return the ids of sequences that a model can read.

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
    if encoding.by_base and lengths.max() > config.max_length:
        raise DataError(
            f"{where}: sequence {int(lengths.argmax())} (from 0) has {int(lengths.max())} bases, "
            f"above model.max_length {config.max_length}; raise model.max_length in the recipe (it "
            "needs new pretraining) or shorten the sequences of the task."
        )
    rows = encoding.rows(codes)
    encoding.check_lengths(rows, config, where=where)
    return rows


def labelled_batches(
    rows: Sequence[Ids],
    labels: npt.NDArray[np.int64],
    batches: Iterable[Indices],
    pad_id: int,
    device: torch.device,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield ids, mask and labels of each batch of examples."""
    for batch in batches:
        input_ids, real = padded_rows(rows, batch, pad_id, device)
        yield input_ids, real, torch.from_numpy(labels[batch]).to(device)


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

"""What a network is trained on: token ids, or hidden states that were computed once."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lightning_dna.data.encoding import Encoding
from lightning_dna.data.examples import Indices, batches_by_length, sequence_lengths
from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import Codes
from lightning_dna.models.backbone import Backbone
from lightning_dna.tokenizers.base import Ids
from lightning_dna.training.sequences import of_bases, padded_rows

BATCH_TOKENS = 16_384  # of a padded batch without gradients: bounds memory, fills a CPU
STATES_IN_MEMORY = 2**30  # bytes; more of them go to a file, at half the precision


class Inputs(Protocol):
    """Sequences of one part of a task, in whatever form a network reads."""

    @property
    def lengths(self) -> Indices:
        """Positions of each sequence, shape ``(n,)``."""

    def batch(
        self, indices: Indices, device: torch.device
    ) -> tuple[Tensor, Bool[Tensor, "batch length"]]:
        """Return some sequences, padded on the right, and the mask of their real positions."""


@dataclass(frozen=True, eq=False)
class TokenInputs:
    """Sequences as token ids.

    Attributes:
        rows: Ids of each sequence.
        pad_id: Id of padding.
    """

    rows: Sequence[Ids]
    pad_id: int

    @classmethod
    def of(cls, codes: Sequence[Codes], encoding: Encoding) -> "TokenInputs":
        """Encode sequences."""
        return cls(encoding.rows(codes), encoding.pad_id)

    @property
    def lengths(self) -> Indices:
        """Tokens of each sequence."""
        return sequence_lengths(self.rows)

    def batch(
        self, indices: Indices, device: torch.device
    ) -> tuple[Tensor, Bool[Tensor, "batch length"]]:
        """Return ids ``(batch, length)`` and the mask of real positions."""
        return padded_rows(self.rows, indices, self.pad_id, device)


@dataclass(frozen=True, eq=False)
class StateInputs:
    """Sequences as the hidden states of their bases, in one table.

    Attributes:
        states: States of all sequences, and perhaps of others, shape ``(tokens, width)``.
        starts: Row at which each sequence starts, shape ``(n,)``.
        lengths: Positions of each sequence, shape ``(n,)``.
    """

    states: npt.NDArray[np.floating[Any]]
    starts: Indices
    lengths: Indices

    def select(self, indices: Indices) -> "StateInputs":
        """Return some of the sequences, without a copy of their states."""
        return StateInputs(self.states, self.starts[indices], self.lengths[indices])

    @property
    def width(self) -> int:
        """Channels of a state."""
        return int(self.states.shape[1])

    def batch(
        self, indices: Indices, device: torch.device
    ) -> tuple[Float[Tensor, "batch length width"], Bool[Tensor, "batch length"]]:
        """Return states, zeros where there are none, and the mask of real positions."""
        lengths = self.lengths[indices]
        padded = np.zeros((len(indices), int(lengths.max()), self.width), dtype=np.float32)
        for row, (start, length) in enumerate(zip(self.starts[indices], lengths, strict=True)):
            padded[row, :length] = self.states[start : start + length]
        real = np.arange(padded.shape[1]) < lengths[:, None]
        return torch.from_numpy(padded).to(device), torch.from_numpy(real).to(device)


@torch.no_grad()
def hidden_states(
    backbone: Backbone,
    inputs: TokenInputs,
    *,
    special_ids: Sequence[int] = (),
    device: str = "cpu",
    in_memory: int = STATES_IN_MEMORY,
) -> StateInputs:
    """Compute the states of every base once, in evaluation mode and float32.

    Args:
        backbone: The trunk; it is read in evaluation mode and left in the mode it was in.
        inputs: Sequences to read; special tokens are read, and their states are not kept.
        special_ids: Ids that stand for no base.
        device: Where to compute.
        in_memory: Bytes up to which the states are float32 in memory. Larger ones are float16 in a
            temporary file that vanishes with the process: which of both follows from the data
            alone, so results do not depend on the machine.

    Returns:
        The states of each sequence in the order given.

    Raises:
        DataError: A sequence has no base, or a state is not finite in the table.
    """
    kept = np.fromiter(
        (np.isin(row, special_ids, invert=True).sum() for row in inputs.rows),
        dtype=np.int64,
        count=len(inputs.rows),
    )
    if not len(kept) or kept.min() == 0:
        raise DataError("hidden states: a sequence without any base, or no sequence; remove it.")
    starts = kept.cumsum() - kept
    states = _table(int(kept.sum()), backbone.config.width, in_memory)
    was_training, place = backbone.training, torch.device(device)
    backbone.to(place).eval()
    for batch in batches_by_length(inputs.lengths, max_tokens=BATCH_TOKENS):
        input_ids, real = inputs.batch(batch, place)
        hidden = backbone(input_ids, real)
        rows = hidden[of_bases(input_ids, real, special_ids)].float().cpu().numpy()
        if not np.abs(rows).max() <= np.finfo(states.dtype).max:
            raise DataError(
                f"hidden states: some are beyond {np.finfo(states.dtype).max:.6g}, the largest "
                f"number of {states.dtype}; read the last layer (finetune.layer: -1), whose states "
                "a norm has made small."
            )
        ends = kept[batch].cumsum()
        for index, end in zip(batch, ends, strict=True):
            states[starts[index] : starts[index] + kept[index]] = rows[end - kept[index] : end]
    backbone.train(was_training)
    return StateInputs(states, starts, kept)


def _table(rows: int, width: int, in_memory: int) -> npt.NDArray[np.floating[Any]]:
    """Return room for states, in memory or in a file without a name."""
    if rows * width * 4 <= in_memory:
        return np.empty((rows, width), dtype=np.float32)
    with tempfile.TemporaryFile(prefix="lightning-dna-states-") as file:
        return np.memmap(file, dtype=np.float16, mode="w+", shape=(rows, width))

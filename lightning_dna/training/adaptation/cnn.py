"""A small CNN on frozen hidden states, which are computed once.

The network is BEND's: two convolutions of 3 taps and 64 channels, GELU after each, and a linear
layer. BEND labels positions; for one label of a whole sequence the states after the second GELU are
made one vector first, by the pooling of the settings.

References:
    Marin et al., BEND: benchmarking DNA language models on biologically meaningful tasks, ICLR
    2024, and its public code, ``bend/models/downstream.py``.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lightning_dna.data.encoding import Encoding
from lightning_dna.data.examples import Indices
from lightning_dna.genome.alphabet import Codes
from lightning_dna.models.embedding import trunk_at
from lightning_dna.models.heads import ClassificationHead
from lightning_dna.models.initialisation import parameter_generator
from lightning_dna.models.language_model import LanguageModel
from lightning_dna.tokenizers.base import Ids
from lightning_dna.training.finetune import Reader
from lightning_dna.training.finetune_config import FineTuneConfig
from lightning_dna.training.inputs import Inputs, StateInputs, TokenInputs, hidden_states
from lightning_dna.training.sequences import checked_rows


class TwoConvolutions(nn.Module):
    """Two convolutions with GELU, from states to channels; the length stays.

    Padding is zero before both, as what lies beyond a sequence is: it changes nothing.

    Args:
        width: Channels of the states.
        channels: Channels of both convolutions.
        taps: Taps of both, odd.
        seed: Seed of the initial weights, drawn evenly within ``1 / sqrt(inputs * taps)``.
    """

    def __init__(self, width: int, *, channels: int, taps: int, seed: int) -> None:
        super().__init__()
        self.first = _convolution(width, channels, taps, seed, "first")
        self.second = _convolution(channels, channels, taps, seed, "second")

    def forward(
        self, states: Float[Tensor, "batch length width"], real: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length channels"]:
        """Return the channels at every position."""
        x = states.transpose(1, 2)  # batch width length
        for layer in (self.first, self.second):
            x = nn.functional.gelu(layer(x * real[:, None]))
        return x.transpose(1, 2)


class StateCNN(nn.Module):
    """Two convolutions on hidden states, one vector for each sequence, and a linear layer."""

    def __init__(self, width: int, config: FineTuneConfig, *, n_classes: int, seed: int) -> None:
        super().__init__()
        self.convolutions = TwoConvolutions(
            width, channels=config.cnn_width, taps=config.cnn_taps, seed=seed
        )
        self.head = ClassificationHead(
            config.cnn_width,
            n_classes=n_classes,
            seed=seed,
            pooling=config.pooling,
            form=config.head,
            dropout=config.head_dropout,
        )

    def forward(
        self, states: Float[Tensor, "batch length width"], real: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits of every class."""
        logits: Tensor = self.head(self.convolutions(states, real), real)
        return logits


def state_reader(
    model: LanguageModel,
    config: FineTuneConfig,
    encoding: Encoding,
    *,
    device: str,
    kept: dict[str, StateInputs] | None = None,
) -> Reader:
    """Return how sequences become the frozen states of their bases at a layer of a model.

    The states of special tokens are not among them.

    Args:
        model: The model; not modified.
        config: Which layer is read, and what happens to long sequences.
        encoding: How sequences become ids.
        device: Where to compute.
        kept: States of this model that were computed before, by what they are states of; new ones
            are added. Without it nothing is kept.
    """
    backbone = trunk_at(model.backbone, config.layer).requires_grad_(False)

    def read(codes: Sequence[Codes], where: str) -> Inputs:
        rows = checked_rows(codes, model.config, encoding, where=where, too_long=config.too_long)
        key = _key(rows, config.layer)
        if kept is not None and key in kept:
            return kept[key]
        states = hidden_states(
            backbone,
            TokenInputs(rows, encoding.pad_id),
            special_ids=encoding.special_ids,
            device=device,
        )
        if kept is not None:
            kept[key] = states
        return states

    return read


def keep_parts(
    model: LanguageModel,
    config: FineTuneConfig,
    encoding: Encoding,
    codes: Sequence[Codes],
    parts: Iterable[Indices],
    *,
    device: str,
) -> dict[str, StateInputs]:
    """Compute the states of sequences once, for trainings that read different parts of them.

    They stay in the memory of one table of scores and go to no file that other tables share, as
    embeddings do: of 1,350 sequences of 256 bases states of width 64 are 84 MiB, their averages
    0.3 MiB, and no other table reads them.

    Args:
        model: The model; not modified.
        config: Which layer is read, and what happens to long sequences.
        encoding: How sequences become ids.
        codes: All sequences, such as the pool that folds are of.
        parts: Numbers of the sequences of each part.
        device: Where to compute.

    Returns:
        What :func:`state_reader` takes as ``kept``: the states of every part.
    """
    where = "the examples"
    rows = checked_rows(codes, model.config, encoding, where=where, too_long=config.too_long)
    whole: dict[str, StateInputs] = {}
    state_reader(model, config, encoding, device=device, kept=whole)(codes, where)
    (states,) = whole.values()
    return {
        _key([rows[index] for index in part], config.layer): states.select(part) for part in parts
    }


def _key(rows: Sequence[Ids], layer: int) -> str:
    """Hash token ids and the layer that is read."""
    digest = hashlib.blake2b(f"{layer}".encode(), digest_size=16)
    for row in rows:
        digest.update(len(row).to_bytes(8, "little") + np.asarray(row, dtype=np.int64).tobytes())
    return digest.hexdigest()


@torch.no_grad()
def _convolution(inputs: int, outputs: int, taps: int, seed: int, name: str) -> nn.Conv1d:
    """Return a convolution that keeps the length, with weights from a stream of its own."""
    layer = nn.Conv1d(inputs, outputs, taps, padding=taps // 2, device="meta")
    layer.to_empty(device="cpu")
    bound = 1 / math.sqrt(inputs * taps)
    for part, parameter in layer.named_parameters():
        generator = parameter_generator(seed, f"state_cnn.{name}.{part}")
        parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * bound)
    return layer

"""What a program for attention is asked, and what it promises."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.packing import Packing
from lightning_dna.models.positions import OffsetBias

Layout: TypeAlias = Bool[Tensor, "batch length"] | Packing | None
"""Which tokens see each other: all of a row, those a mask says are real, or packed sequences."""


@dataclass(frozen=True)
class Situation:
    """What a program has to work with.

    Attributes:
        device: Kind of device, such as ``"cpu"`` or ``"cuda"``.
        dtype: Format of queries, keys and values.
        gradients: Whether gradients will be asked for.
        config: The model's settings.
    """

    device: str
    dtype: torch.dtype
    gradients: bool
    config: ModelConfig


class Backend(Protocol):
    """A program that computes attention.

    Every one computes ``softmax(q k' / sqrt(head_width) + bias) v`` per head. What comes out at
    padded positions is finite and means nothing.
    """

    name: str

    def obstacle(self, situation: Situation) -> str | None:
        """Say what keeps the program from working: found, allowed, what to do; or ``None``."""

    def packs(self, situation: Situation) -> bool:
        """Say whether it is at its best with packed sequences where there is padding."""

    def attend(
        self,
        q: Float[Tensor, "batch length heads head_width"],
        k: Float[Tensor, "batch length heads head_width"],
        v: Float[Tensor, "batch length heads head_width"],
        bias: OffsetBias,
        layout: Layout,
    ) -> Float[Tensor, "batch length heads head_width"]:
        """Attend; packed sequences are one row, ``batch`` being 1."""

"""Attention written out: the definition that every other program is measured by."""

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_dna.models.mixers.attention_backends.base import Layout, Situation
from lightning_dna.models.packing import Packing
from lightning_dna.models.positions import OffsetBias


class Eager:
    """Scores, bias, softmax, values, each as a whole tensor of size length x length.

    For checks, and for reading the weights: memory grows with the square of the length.
    """

    name = "eager"

    def obstacle(self, situation: Situation) -> None:
        """Nothing stands in the way."""

    def packs(self, situation: Situation) -> bool:
        """It can, sequence by sequence."""
        return True

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, bias: OffsetBias, layout: Layout
    ) -> Float[Tensor, "batch length heads head_width"]:
        """Attend, see :class:`Backend`."""
        if isinstance(layout, Packing):
            return layout.each(lambda q, k, v: self.attend(q, k, v, bias, None), q, k, v)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # batch heads length head_width
        scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
        scores = scores + bias(q.shape[2], q.dtype, q.device).flip(-2)
        if layout is not None:
            lowest = torch.finfo(scores.dtype).min  # a row of padding alone must stay finite
            scores = scores.masked_fill(~layout[:, None, None, :], lowest)
        mixed: Tensor = scores.softmax(dim=-1) @ v
        return mixed.transpose(1, 2)

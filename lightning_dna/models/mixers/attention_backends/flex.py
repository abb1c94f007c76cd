"""Attention by torch's FlexAttention: any bias and mask, compiled into one kernel on CUDA.

References:
    Dong et al., Flex Attention, MLSys 2025; the documentation of
    ``torch.nn.attention.flex_attention``.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from lightning_dna.models.mixers.attention_backends.base import Layout, Situation
from lightning_dna.models.packing import Packing
from lightning_dna.models.positions import ALIBI, OffsetBias

NARROWEST_HEAD = 16
HIDDEN = -1e30  # a score that no weight survives, and that keeps a row without any other finite
ScoreOf = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


class Flex:
    """FlexAttention, compiled on CUDA; on a CPU uncompiled and forward only, for checks."""

    name = "flex"

    def obstacle(self, situation: Situation) -> str | None:
        """Say what keeps FlexAttention from working, or ``None``."""
        config = situation.config
        if situation.device not in ("cuda", "cpu"):
            return (
                f"FlexAttention runs on CUDA devices, and the model is on '{situation.device}'; "
                "use auto, sdpa or eager"
            )
        if situation.device == "cpu" and situation.gradients:
            return (
                "FlexAttention has no gradient on a CPU, and the model is being trained on one; "
                "use auto, sdpa or eager, or a GPU (trainer.accelerator)"
            )
        width = config.head_width
        if situation.device == "cuda" and (width < NARROWEST_HEAD or width & (width - 1)):
            return (
                f"FlexAttention takes heads of {NARROWEST_HEAD}, 32, 64, ... channels, and "
                f"model.width {config.width} over model.heads {config.heads} gives {width}; "
                "change model.heads, or use auto, sdpa or eager"
            )
        return None

    def packs(self, situation: Situation) -> bool:
        """Not at its best: the map of blocks that are seen would have to be drawn every step."""
        return False

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, bias: OffsetBias, layout: Layout
    ) -> Float[Tensor, "batch length heads head_width"]:
        """Attend, see :class:`Backend`."""
        if isinstance(layout, Packing):
            return layout.each(lambda q, k, v: self.attend(q, k, v, bias, None), q, k, v)
        config = bias.config
        attention = _compiled() if q.is_cuda else flex_attention
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # batch heads length head_width
        mixed: Tensor = attention(
            q,
            k,
            v,
            score_mod=score_of(bias, layout, q.device),
            block_mask=_block_mask(q.shape[2], config.causal, config.attention_reach, q.device),
        )
        return mixed.transpose(1, 2)


@functools.cache
def _compiled() -> Any:
    """Compile once; without compilation all scores would be written out."""
    return torch.compile(flex_attention)


def score_of(
    bias: OffsetBias, attention_mask: Bool[Tensor, "batch length"] | None, device: torch.device
) -> ScoreOf | None:
    """Return the function that adds ALiBi to one score and hides padding, ``None`` for neither."""
    past, future = (side.to(device, torch.float32) for side in bias.slopes())
    sloped = bool(bias.config.position_scheme in ALIBI)
    if not sloped and attention_mask is None:
        return None

    def changed(score: Tensor, row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        if sloped:
            slope = torch.where(key > query, future[head], past[head])
            score = score - slope * (query - key).abs()
        if attention_mask is not None:  # a row of padding alone must stay finite
            score = torch.where(attention_mask[row, key], score, HIDDEN)
        return score

    return changed


@functools.lru_cache(maxsize=64)
def _block_mask(
    length: int, causal: bool, reach: int | None, device: torch.device
) -> BlockMask | None:
    """Say which blocks of the score matrix are computed, ``None`` for all."""
    if not causal and reach is None:
        return None

    def seen(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        near = query >= key if causal else query == query
        return near if reach is None else near & ((query - key).abs() <= reach)

    return create_block_mask(seen, None, None, length, length, device=device)

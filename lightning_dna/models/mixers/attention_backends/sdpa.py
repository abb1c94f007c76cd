"""Attention by torch's ``scaled_dot_product_attention``, on any device.

On a CPU no tensor of size length x length exists: the bias is a view of a table, and from
``LONG`` tokens on attention with a bias goes by blocks of queries.

In float32 the CPU kernel of torch 2.13 errs by up to 1.7 times as much as attention written out, as
a root mean square; its largest single error can be five times as large. By blocks it is 1.4 times.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from lightning_dna.models.mixers.attention_backends.base import Layout, Situation
from lightning_dna.models.mixers.attention_backends.blocks import attend_in_blocks
from lightning_dna.models.packing import Packing
from lightning_dna.models.positions import OffsetBias

# Elsewhere the fused kernels want a bias with aligned rows, and head widths in steps of 8.
STRIDED_BIAS_DEVICES = frozenset({"cpu"})
LONG = 512  # below it one call of the kernel costs less than many blocks ...
LONG_IN_SHORT_FORMATS = 1536  # ... which compute in float32


class ScaledDotProduct:
    """Torch's own kernels."""

    name = "sdpa"

    def obstacle(self, situation: Situation) -> None:
        """Nothing stands in the way."""

    def packs(self, situation: Situation) -> bool:
        """On a CPU; on a GPU a call per sequence would cost more than the padding."""
        return situation.device == "cpu"

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, bias: OffsetBias, layout: Layout
    ) -> Float[Tensor, "batch length heads head_width"]:
        """Attend, see :class:`Backend`."""
        if isinstance(layout, Packing):
            return layout.each(lambda q, k, v: self.attend(q, k, v, bias, None), q, k, v)
        long = LONG_IN_SHORT_FORMATS if q.dtype.itemsize < 4 else LONG
        in_blocks = bias.by_distance and q.device.type == "cpu" and q.shape[1] >= long
        if in_blocks and layout is None and not torch.compiler.is_compiling():
            return attend_in_blocks(q, k, v, bias)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))  # batch heads length head_width
        if not bias.by_distance and (layout is None or not bias.config.causal):
            seen = None if layout is None else layout[:, None, None, :]
            mixed = functional.scaled_dot_product_attention(
                q, k, v, attn_mask=seen, is_causal=bias.config.causal
            )
        else:
            mixed = attend_with_bias(q, k, v, bias(q.shape[2], q.dtype, q.device), layout)
        return mixed.transpose(1, 2)


def attend_with_bias(
    q: Float[Tensor, "batch heads length head_width"],
    k: Float[Tensor, "batch heads length head_width"],
    v: Float[Tensor, "batch heads length head_width"],
    bias: Float[Tensor, "heads_or_one length length"],
    attention_mask: Bool[Tensor, "batch length"] | None,
) -> Float[Tensor, "batch heads length head_width"]:
    """Attend with a bias whose rows are reversed, see :class:`OffsetBias`.

    Padding rides in one more channel, 1 in every query and hugely negative in the padded keys:
    adding it to the bias instead would take a length x length matrix for every row of the batch.
    """
    head_width = q.shape[-1]
    strided = bias.device.type in STRIDED_BIAS_DEVICES
    if not strided:
        bias = bias.contiguous()
    if attention_mask is not None:
        hidden = torch.zeros_like(attention_mask, dtype=k.dtype)
        hidden = hidden.masked_fill(~attention_mask, torch.finfo(k.dtype).min / 2)  # batch length
        hidden = hidden[:, None, :, None].expand(*k.shape[:-1], 1)
        q, k = functional.pad(q, (0, 1), value=1.0), torch.cat((k, hidden), dim=-1)
        more = 0 if strided else 7
        q, k = functional.pad(q, (0, more)), functional.pad(k, (0, more))
        v = functional.pad(v, (0, 1 + more))
    everywhere = bias.expand(*q.shape[:2], -1, -1)  # batch heads length length, a view
    mixed = functional.scaled_dot_product_attention(
        q.flip(-2), k, v, attn_mask=everywhere, scale=head_width**-0.5
    )
    return mixed.flip(-2)[..., :head_width]

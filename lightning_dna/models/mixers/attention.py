"""Multi-head attention, two-sided or causal, with any position scheme and local reach."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.initialisation import ResidualLinear
from lightning_dna.models.positions import ALIBI, OffsetBias, RotaryEmbedding

# Elsewhere the fused kernels want a bias with aligned rows, and head widths in steps of 8.
STRIDED_BIAS_DEVICES = frozenset({"cpu"})


class Attention(nn.Module):
    """``softmax(q k' / sqrt(head_width) + bias) v`` per head, between two projections with biases.

    The kernel is torch's ``scaled_dot_product_attention``. On a CPU no tensor of size length x
    length exists, with padding or without.

    Args:
        config: The model's settings.
        layer: Number of the layer from 0; all layers are alike.
    """

    def __init__(self, config: ModelConfig, layer: int = 0) -> None:
        super().__init__()
        self.config = config
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = ResidualLinear(config.width, config.width, layers=config.layers)
        biased = config.position_scheme in ALIBI or config.attention_reach is not None
        self.bias = OffsetBias(config) if biased or config.causal else None
        self.only_causal = config.causal and not biased
        self.rotary = (
            RotaryEmbedding(
                config.head_width,
                max_length=config.max_length,
                base=config.rope_base,
                scaling=config.rope_scaling,
                factor=config.rope_factor,
            )
            if config.position_scheme == "rope"
            else None
        )

    def forward(
        self,
        x: Float[Tensor, "batch length width"],
        attention_mask: Bool[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """Mix positions.

        Args:
            x: Normalised input.
            attention_mask: True at real positions. No real position sees one that is not; what
                comes out at the others is finite and means nothing.

        Returns:
            What the block adds to its residual stream.
        """
        parts_heads = (3, self.config.heads, self.config.head_width)
        projected = self.query_key_value(x).unflatten(-1, parts_heads)
        q, k, v = projected.unbind(2)  # each: batch length heads head_width
        if self.rotary is not None:
            q, k = self.rotary(q), self.rotary(k)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))  # batch heads length head_width
        if self.only_causal and attention_mask is None:
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        elif self.bias is None:
            seen = None if attention_mask is None else attention_mask[:, None, None, :]
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        else:
            bias = self.bias(x.shape[1], q.dtype, q.device)
            mixed = attend_with_bias(q, k, v, bias, attention_mask)
        added: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return added

    def flops_per_base(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per base by kind, a multiply-add being two.

        Every pair of positions counts, masked or not: the kernel computes them all.
        """
        projections = self.query_key_value.weight.numel() + self.output.weight.numel()
        return {"projection": 2.0 * projections, "attention": 4.0 * length * self.config.width}


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

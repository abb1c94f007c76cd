"""Multi-head attention, two-sided or causal, with any position scheme and local reach."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.initialisation import ResidualLinear
from lightning_dna.models.linear_maps import LinearMap
from lightning_dna.models.mixers.attention_backends.base import Layout, Situation
from lightning_dna.models.mixers.attention_backends.table import BACKENDS, BackendName, choose
from lightning_dna.models.packing import Packing
from lightning_dna.models.positions import OffsetBias, RotaryEmbedding


class Attention(nn.Module):
    """``softmax(q k' / sqrt(head_width) + bias) v`` per head, between two projections with biases.

    The program in between is the config's ``attention_backend``; on a CPU none but ``eager`` makes
    a tensor of size length x length, with padding or without.

    Args:
        config: The model's settings.
        layer: Number of the layer from 0; all layers are alike.

    Attributes:
        backend: The program that the last call used, ``None`` before the first.
    """

    def __init__(self, config: ModelConfig, layer: int = 0) -> None:
        super().__init__()
        self.config = config
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = ResidualLinear(config.width, config.width, layers=config.layers)
        self.bias = OffsetBias(config)
        self.backend: BackendName | None = None
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
        self, x: Float[Tensor, "batch length width"], layout: Layout = None
    ) -> Float[Tensor, "batch length width"]:
        """Mix positions.

        Args:
            x: Normalised input.
            layout: A mask, True at real positions, or how sequences are packed into one row. No
                real position sees one that is not, or one of another sequence; what comes out at
                the others is finite and means nothing.

        Returns:
            What the block adds to its residual stream.

        Raises:
            ConfigError: The backend that the config names cannot work here.
        """
        parts_heads = (3, self.config.heads, self.config.head_width)
        projected = self.query_key_value(x).unflatten(-1, parts_heads)
        q, k, v = projected.unbind(2)  # each: batch length heads head_width
        if self.rotary is not None:
            positions = layout.positions if isinstance(layout, Packing) else None
            q, k = self.rotary(q, positions), self.rotary(k, positions)
        self.backend = choose(_situation(self.config, q))
        mixed = BACKENDS[self.backend].attend(q, k, v, self.bias, layout)
        added: Tensor = self.output(mixed.flatten(2))
        return added

    def packs(self, device: torch.device) -> bool:
        """Say whether sequences had better be packed on a device, where there is padding.

        Raises:
            ConfigError: The backend that the config names cannot work there.
        """
        dtype = self.query_key_value.weight.dtype
        if torch.is_autocast_enabled(device.type):
            dtype = torch.get_autocast_dtype(device.type)
        situation = Situation(device.type, dtype, torch.is_grad_enabled(), self.config)
        return BACKENDS[choose(situation)].packs(situation)

    def linear_maps(self) -> dict[str, LinearMap]:
        """Return the linear maps that adapters may change; three of them share a matrix."""
        return {
            "query": LinearMap("query_key_value", 0, 3, lora=True),
            "key": LinearMap("query_key_value", 1, 3, ia3=True),
            "value": LinearMap("query_key_value", 2, 3, lora=True, ia3=True),
            "output": LinearMap("output"),
        }

    def flops_per_base(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per base by kind, a multiply-add being two.

        Every pair of positions counts, masked or not, though on a CPU long sequences skip what
        their heads cannot see.
        """
        projections = self.query_key_value.weight.numel() + self.output.weight.numel()
        return {"projection": 2.0 * projections, "attention": 4.0 * length * self.config.width}


def _situation(config: ModelConfig, q: Tensor) -> Situation:
    """Describe a call by its queries."""
    return Situation(q.device.type, q.dtype, q.requires_grad, config)


def attention_backends(model: nn.Module) -> tuple[BackendName, ...]:
    """Return the programs that the attention layers of a model have used, sorted; () for none."""
    layers = (module for module in model.modules() if isinstance(module, Attention))
    return tuple(sorted({layer.backend for layer in layers if layer.backend is not None}))

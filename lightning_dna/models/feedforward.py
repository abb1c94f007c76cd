"""Feed-forward layers: what happens to each position by itself."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.initialisation import ResidualLinear
from lightning_dna.models.linear_maps import LinearMap, inner_channels
from lightning_dna.models.mlp_rows import mlp_rows


class MLP(nn.Module):
    """``W2 GELU(W1 x + b1) + b2`` with ``inner_width`` channels between; no ``b`` on request."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.approximation = config.gelu_approximation
        self.expand = nn.Linear(config.width, config.inner_width, bias=config.biases)
        self.contract = ResidualLinear(
            config.inner_width, config.width, layers=config.layers, bias=config.biases
        )

    def forward(
        self, x: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch length width"]:
        """Transform each position."""
        plain = isinstance(self.expand, nn.Linear) and isinstance(self.contract, nn.Linear)
        # The compiler fuses this itself; what peft puts in a layer's place has to be called.
        if torch.compiler.is_compiling() or not plain:
            inner = functional.gelu(self.expand(x), approximate=self.approximation)
            added: Tensor = self.contract(inner)  # batch length width
            return added
        first, second = self.expand, self.contract
        return mlp_rows(
            x, (first.weight, first.bias), (second.weight, second.bias), self.approximation
        )

    def linear_maps(self) -> dict[str, LinearMap]:
        """Return the linear maps that adapters may change."""
        return {"expand": LinearMap("expand"), "contract": inner_channels("contract")}

    def flops_per_base(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per base by kind, a multiply-add being two."""
        return {"feedforward": 2.0 * (self.expand.weight.numel() + self.contract.weight.numel())}


class LinearFeedForward(nn.Module):
    """``GELU(W x + b)``: one matrix, as in the blocks of GPN's and ConvNova's published models."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.approximation = config.gelu_approximation
        self.transform = nn.Linear(config.width, config.width, bias=config.biases)

    def forward(
        self, x: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch length width"]:
        """Transform each position."""
        return functional.gelu(self.transform(x), approximate=self.approximation)

    def linear_maps(self) -> dict[str, LinearMap]:
        """Return the linear maps that adapters may change."""
        return {"transform": LinearMap("transform", ia3=True)}

    def flops_per_base(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per base by kind, a multiply-add being two."""
        return {"feedforward": 2.0 * self.transform.weight.numel()}


class NoFeedForward(nn.Module):
    """Nothing: the block is its mixer alone, as Caduceus's are."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()

    def forward(
        self, x: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch length width"]:
        """Return zeros, to be added to the residual stream."""
        return torch.zeros_like(x)

    def linear_maps(self) -> dict[str, LinearMap]:
        """Return the linear maps that adapters may change."""
        return {}

    def flops_per_base(self, length: int) -> dict[str, float]:
        """Return no operations."""
        return {}


class GatedFeedForward(nn.Module):
    """``W3 (f(W1 x) * W2 x)``, f being GELU (GEGLU) or SiLU (SwiGLU); no biases unless asked for.

    The two differ in ``f`` alone: same shapes, same parameter count, same initial weights.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.activation = config.feedforward
        self.approximation = config.gelu_approximation
        self.gate_and_value = nn.Linear(
            config.width, 2 * config.inner_width, bias=config.gated_bias == "both"
        )
        self.contract = ResidualLinear(
            config.inner_width,
            config.width,
            layers=config.layers,
            bias=config.gated_bias != "none",
        )

    def forward(
        self, x: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch length width"]:
        """Transform each position."""
        gate, value = self.gate_and_value(x).chunk(2, dim=-1)  # each: batch length inner
        if self.activation == "swiglu":
            opened = functional.silu(gate)
        else:
            opened = functional.gelu(gate, approximate=self.approximation)
        added: Tensor = self.contract(opened * value)  # batch length width
        return added

    def linear_maps(self) -> dict[str, LinearMap]:
        """Return the linear maps that adapters may change."""
        return {
            "gate_and_value": LinearMap("gate_and_value"),
            "contract": inner_channels("contract"),
        }

    def flops_per_base(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per base by kind, a multiply-add being two."""
        return {
            "feedforward": 2.0 * (self.gate_and_value.weight.numel() + self.contract.weight.numel())
        }


FeedForward = type[MLP] | type[GatedFeedForward] | type[LinearFeedForward] | type[NoFeedForward]

FEEDFORWARDS: Mapping[str, FeedForward] = {
    "mlp": MLP,
    "geglu": GatedFeedForward,
    "swiglu": GatedFeedForward,
    "linear": LinearFeedForward,
    "none": NoFeedForward,
}

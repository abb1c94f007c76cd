"""Feed-forward layers: what happens to each position by itself."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.initialisation import ResidualLinear


class MLP(nn.Module):
    """``W2 GELU(W1 x + b1) + b2`` with ``inner_width`` channels between."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.approximation = config.gelu_approximation
        self.expand = nn.Linear(config.width, config.inner_width)
        self.contract = ResidualLinear(config.inner_width, config.width, layers=config.layers)

    def forward(
        self, x: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch length width"]:
        """Transform each position."""
        inner = functional.gelu(self.expand(x), approximate=self.approximation)
        added: Tensor = self.contract(inner)  # batch length width
        return added

    def flops_per_base(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per base by kind, a multiply-add being two."""
        return {"feedforward": 2.0 * (self.expand.weight.numel() + self.contract.weight.numel())}


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

    def flops_per_base(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per base by kind, a multiply-add being two."""
        return {
            "feedforward": 2.0 * (self.gate_and_value.weight.numel() + self.contract.weight.numel())
        }


FEEDFORWARDS: Mapping[str, type[MLP] | type[GatedFeedForward]] = {
    "mlp": MLP,
    "geglu": GatedFeedForward,
    "swiglu": GatedFeedForward,
}

"""Convolutions over a position's neighbours: a plain layer of a CNN, and a gated dilated one.

Both see a few taps around each position, so how far a model sees grows with its depth: by the same
step in every layer of a plain tower, by steps that double in a dilated one.

Differences from published models: GPN puts a GELU behind a dilated convolution where there is a
gate here, and its first layer has nine taps; ConvNova's gate comes from a second branch that has
convolutions of its own all the way up. Here both stand in the trunk that all mixers share.

References:
    Benegas et al., DNA language models are powerful predictors (GPN), PNAS 2023. Bo et al.,
    Revisiting convolution architecture in DNA foundation models (ConvNova), ICLR 2025.
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.initialisation import ResidualLinear


class Neighbourhood(nn.Linear):
    """A linear map of the ``taps x width`` numbers around each position, zeros beyond the ends.

    A convolution in its other spelling: the weight is a matrix, so that initial values and weight
    decay follow the rules of every other projection.
    """

    def __init__(self, config: ModelConfig, *, outputs: int, dilation: int) -> None:
        super().__init__(config.convolution_taps * config.width, outputs)
        self.taps = config.convolution_taps
        self.dilation = dilation
        self.causal = config.causal

    def forward(
        self, x: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch length outputs"]:
        """Map every neighbourhood; in a causal model the last tap is the position itself."""
        weight = self.weight.view(len(self.weight), self.taps, -1)
        kernel = weight.transpose(1, 2)  # outputs width taps
        span = (self.taps - 1) * self.dilation
        left = span if self.causal else span // 2
        signal = functional.pad(x.transpose(1, 2), (left, span - left))  # batch width length+span
        mapped = functional.conv1d(signal, kernel, self.bias, dilation=self.dilation)
        return mapped.transpose(1, 2)

    def flops_per_base(self) -> float:
        """Return forward FLOPs per base, a multiply-add being two."""
        return 2.0 * self.weight.numel()


class Convolution(nn.Module):
    """``W GELU(convolution(x))``: a layer of a plain CNN, all channels seeing all channels.

    Args:
        config: The model's settings.
        layer: Number of the layer from 0; all layers are alike.
    """

    def __init__(self, config: ModelConfig, layer: int = 0) -> None:
        super().__init__()
        self.approximation = config.gelu_approximation
        self.input = Neighbourhood(config, outputs=config.width, dilation=1)
        self.output = ResidualLinear(config.width, config.width, layers=config.layers)

    def forward(
        self,
        x: Float[Tensor, "batch length width"],
        attention_mask: Bool[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """Mix neighbours.

        Args:
            x: Normalised input.
            attention_mask: True at real positions. The others are taken for zero, as what lies
                beyond the ends of a sequence is.

        Returns:
            What the block adds to its residual stream.
        """
        seen = self.input(_without_padding(x, attention_mask))  # batch length width
        added: Tensor = self.output(functional.gelu(seen, approximate=self.approximation))
        return added

    def flops_per_base(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per base by kind, a multiply-add being two."""
        return {
            "convolution": self.input.flops_per_base(),
            "projection": 2.0 * self.output.weight.numel(),
        }


class DilatedConvolution(nn.Module):
    """``W (value * sigmoid(gate))``, value and gate being convolutions with spaced taps.

    Args:
        config: The model's settings.
        layer: Number of the layer from 0; its taps lie ``2^(layer mod convolution_cycle)`` apart.
    """

    def __init__(self, config: ModelConfig, layer: int = 0) -> None:
        super().__init__()
        dilation = 2 ** (layer % config.convolution_cycle)
        self.gate_and_value = Neighbourhood(config, outputs=2 * config.width, dilation=dilation)
        self.output = ResidualLinear(config.width, config.width, layers=config.layers)

    def forward(
        self,
        x: Float[Tensor, "batch length width"],
        attention_mask: Bool[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """Mix positions at this layer's distances.

        Args:
            x: Normalised input.
            attention_mask: True at real positions. The others are taken for zero, as what lies
                beyond the ends of a sequence is.

        Returns:
            What the block adds to its residual stream.
        """
        both = self.gate_and_value(_without_padding(x, attention_mask))
        gate, value = both.chunk(2, dim=-1)  # each: batch length width
        added: Tensor = self.output(value * gate.sigmoid())
        return added

    def flops_per_base(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per base by kind, a multiply-add being two."""
        return {
            "convolution": self.gate_and_value.flops_per_base(),
            "projection": 2.0 * self.output.weight.numel(),
        }


def _without_padding(
    x: Float[Tensor, "batch length width"], attention_mask: Bool[Tensor, "batch length"] | None
) -> Float[Tensor, "batch length width"]:
    """Set padded positions to zero."""
    return x if attention_mask is None else x.masked_fill(~attention_mask[..., None], 0.0)

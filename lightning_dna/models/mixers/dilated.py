"""Convolutions over a position's neighbours: a plain layer of a CNN, and a gated dilated one.

Both see a few taps around each position, so how far a model sees grows with its depth: by the same
step in every layer of a plain tower, by steps that double in a dilated one.

Both stand in the trunk that all mixers share. GPN's blocks are two of its settings, exactly (rows
``gpn`` and ``gpn-brassicales`` of the variant table). ConvNova's are not: its gate comes from a
second branch that has convolutions of its own all the way up, which the supervised network
``convnova_like`` has; here gate and value read the same stream.

References:
    Benegas et al., DNA language models are powerful predictors (GPN), PNAS 2023. Bo et al.,
    Revisiting convolution architecture in DNA foundation models (ConvNova), ICLR 2025.
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.initialisation import ResidualLinear
from lightning_dna.models.linear_maps import LinearMap


class Neighbourhood(nn.Linear):
    """A linear map of the ``taps x width`` numbers around each position, zeros beyond the ends.

    A convolution in its other spelling: the weight is a matrix, so that initial values and weight
    decay follow the rules of every other projection.
    """

    def __init__(self, config: ModelConfig, layer: int, *, outputs: int, dilation: int = 1) -> None:
        first = config.convolution_first_taps if layer == 0 else None
        taps = config.convolution_taps if first is None else first
        super().__init__(taps * config.width, outputs, bias=config.biases)
        self.taps = taps
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
        layer: Number of the layer from 0; only the first may have other taps.
    """

    def __init__(self, config: ModelConfig, layer: int = 0) -> None:
        super().__init__()
        self.approximation = config.gelu_approximation
        self.input = Neighbourhood(config, layer, outputs=config.width)
        self.output = ResidualLinear(
            config.width, config.width, layers=config.layers, bias=config.biases
        )

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

    def linear_maps(self) -> dict[str, LinearMap]:
        """Return the linear maps that adapters may change."""
        return {
            "input": LinearMap("input", lora=True, ia3=True),
            "output": LinearMap("output", lora=True),
        }

    def flops_per_base(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per base by kind, a multiply-add being two."""
        return {
            "convolution": self.input.flops_per_base(),
            "projection": 2.0 * self.output.weight.numel(),
        }


class DilatedConvolution(nn.Module):
    """A convolution with spaced taps, in one of three forms.

    Gated: ``W (value * sigmoid(gate))``, value and gate being two of them. Projected: ``W
    GELU(convolution)``. Plain: ``GELU(convolution)``.

    Args:
        config: The model's settings.
        layer: Number of the layer from 0; its taps lie ``2^(layer mod convolution_cycle)`` apart.
    """

    def __init__(self, config: ModelConfig, layer: int = 0) -> None:
        super().__init__()
        dilation = 2 ** (layer % config.convolution_cycle)
        self.approximation = config.gelu_approximation
        self.gated = config.dilated_form == "gated"
        outputs = 2 * config.width if self.gated else config.width
        neighbourhood = Neighbourhood(config, layer, outputs=outputs, dilation=dilation)
        self.gate_and_value = neighbourhood if self.gated else None
        self.input = None if self.gated else neighbourhood
        self.output = (
            None
            if config.dilated_form == "plain"
            else ResidualLinear(
                config.width, config.width, layers=config.layers, bias=config.biases
            )
        )

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
        seen = self.neighbourhood(_without_padding(x, attention_mask))
        if self.gated:
            gate, value = seen.chunk(2, dim=-1)  # each: batch length width
            seen = value * gate.sigmoid()
        else:
            seen = functional.gelu(seen, approximate=self.approximation)
        added: Tensor = seen if self.output is None else self.output(seen)
        return added

    @property
    def neighbourhood(self) -> Neighbourhood:
        """The convolution: gate and value side by side, or one of as many channels as come in."""
        return next(part for part in (self.gate_and_value, self.input) if part is not None)

    def linear_maps(self) -> dict[str, LinearMap]:
        """Return the linear maps that adapters may change."""
        layer = "gate_and_value" if self.gated else "input"
        maps = {"input": LinearMap(layer, lora=True, ia3=True)}
        return maps if self.output is None else {**maps, "output": LinearMap("output", lora=True)}

    def flops_per_base(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per base by kind, a multiply-add being two."""
        convolution = {"convolution": self.neighbourhood.flops_per_base()}
        if self.output is None:
            return convolution
        return {**convolution, "projection": 2.0 * self.output.weight.numel()}


def _without_padding(
    x: Float[Tensor, "batch length width"], attention_mask: Bool[Tensor, "batch length"] | None
) -> Float[Tensor, "batch length width"]:
    """Set padded positions to zero."""
    return x if attention_mask is None else x.masked_fill(~attention_mask[..., None], 0.0)

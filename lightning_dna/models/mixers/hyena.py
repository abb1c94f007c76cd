"""The Hyena operator: gates and long convolutions whose filters a small network writes.

Differences from the published code: the two-sided form is new (the published one leaves out each
position's own neighbourhood); FFT lengths need not be powers of two; with order above 2 every
filter gets the whole range of decay rates, where the published code spreads one range over all
filters' channels. At order 2 and causal, the parameters and the function are the published ones.

References:
    Poli et al., Hyena hierarchy, ICML 2023. Nguyen et al., HyenaDNA, NeurIPS 2023.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from lightning_dna.models.config import ModelConfig
from lightning_dna.models.initialisation import GeneratorFor, ResidualLinear, draw_normal
from lightning_dna.models.mixers.convolution import (
    fast_fft_length,
    long_convolution,
    short_convolution,
)

FEATURES = 5  # time, and cosine and sine at two frequencies
BANDS = (1e-4, 1.0)  # turns over max_length
SINE_FREQUENCY = 10.0
FAST_DECAY, SLOW_DECAY, DECAY_TARGET = 0.3, 1.5, 1e-2


class ImplicitFilter(nn.Module):
    """Filters as a function of time: a sine network of features, times an exponential decay.

    Time runs from 0 to 1 over ``max_length``, not over the sequence at hand: a short sequence uses
    the first part of the same filters. The fastest channel decays to 1 % at 30 % of ``max_length``,
    the slowest would at 150 % of it. One sine frequency per hidden unit is trained and shared by
    the three layers.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.filters = (config.hyena_order - 1) * (1 if config.causal else 2)
        hidden = config.hyena_filter_width
        self.first = nn.Linear(FEATURES, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.third = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, self.filters * config.width, bias=False)
        self.frequency = nn.Parameter(torch.full((hidden,), SINE_FREQUENCY))

    def initialise(self, generator_for: GeneratorFor) -> None:
        """Set the sine frequencies; the linear layers follow the general rule."""
        self.frequency.fill_(SINE_FREQUENCY)

    def forward(self, length: int) -> Float[Tensor, "filters width length"]:
        """Return the first ``length`` taps of every filter, in float32 at least.

        Raises:
            ConfigError: ``length`` is above the model's ``max_length``.
        """
        self.config.check_length(length, part="the Hyena filters")
        precision = torch.promote_types(self.frequency.dtype, torch.float32)
        frequency = self.frequency.to(precision)
        time, features = self._features(length, frequency)
        hidden = features  # length features
        with torch.autocast(features.device.type, enabled=False):
            for layer in (self.first, self.second, self.third):
                weight, bias = layer.weight.to(precision), layer.bias.to(precision)
                hidden = torch.sin(frequency * functional.linear(hidden, weight, bias))
            taps = self.last.weight.to(precision) @ hidden.T  # (filters width) length
            return taps.view(self.filters, -1, length) * self._decay(time)

    def _features(self, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return time (length,) and the positional features (length, 5)."""
        position = torch.arange(length, dtype=torch.float64, device=like.device)
        time = position / max(1, self.config.max_length - 1)
        slow, fast = (2 * math.pi * band / self.config.max_length * position for band in BANDS)
        features = torch.stack((time, slow.cos(), fast.cos(), -slow.sin(), -fast.sin()), dim=-1)
        return time.to(like), features.to(like)

    def _decay(self, time: Float[Tensor, " length"]) -> Float[Tensor, "width length"]:
        """Return the fixed exponential decay of every channel."""
        slow, fast = math.log(DECAY_TARGET) / SLOW_DECAY, math.log(DECAY_TARGET) / FAST_DECAY
        rate = torch.linspace(-slow, -fast, self.config.width, dtype=time.dtype, device=time.device)
        return torch.exp(-rate[:, None] * time) + self.config.hyena_filter_shift


class Hyena(nn.Module):
    """``W_out (x_0 * conv(x_1 * conv(... x_n * v)))``, all parts projected from the input.

    Every part is projected and passed through a short depthwise convolution; then gates and long
    convolutions alternate. A causal model has one filter per convolution, a two-sided one has two,
    one for each direction, so that every position reaches every other.

    Args:
        config: The model's settings.
        layer: Number of the layer from 0; all layers are alike.
    """

    def __init__(self, config: ModelConfig, layer: int = 0) -> None:
        super().__init__()
        self.config = config
        parts = config.hyena_order + 1
        self.input = nn.Linear(config.width, parts * config.width)
        channels = parts * config.width
        self.short_weight = nn.Parameter(torch.empty(channels, config.hyena_short_filter))
        self.short_bias = nn.Parameter(torch.empty(channels))
        self.filter = ImplicitFilter(config)
        self.skip = nn.Parameter(torch.empty(config.hyena_order - 1, config.width))
        self.output = ResidualLinear(config.width, config.width, layers=config.layers)

    def initialise(self, generator_for: GeneratorFor) -> None:
        """Draw short filters uniformly within 1/sqrt(taps) and skips from N(0, 1), as published."""
        bound = 1.0 / math.sqrt(self.short_weight.shape[-1])
        short = {"short_weight": self.short_weight, "short_bias": self.short_bias}
        for name, parameter in short.items():
            uniform = torch.rand(parameter.shape, generator=generator_for(name))
            parameter.copy_((2 * uniform - 1) * bound)
        draw_normal(self.skip, 1.0, generator_for("skip"))

    def forward(
        self,
        x: Float[Tensor, "batch length width"],
        attention_mask: Bool[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """Mix positions.

        Args:
            x: Normalised input.
            attention_mask: True at real positions. The others are zero before every convolution, as
                the surroundings of a sequence are, so they change nothing.

        Returns:
            What the block adds to its residual stream.

        Raises:
            ConfigError: The sequence is longer than the filters.
        """
        parts = self._project(x)  # batch (parts width) length
        if attention_mask is not None:
            parts = parts * attention_mask[:, None]
        taps, biases = self.short_weight, self.short_bias
        parts = short_convolution(parts, taps, biases, causal=self.config.causal)
        first_gate, *gates, v = parts.chunk(self.config.hyena_order + 1, dim=1)
        for gate, (forward_taps, backward_taps) in zip(
            reversed(gates), self._filters(x.shape[1]), strict=True
        ):
            v = v * gate  # batch width length
            if attention_mask is not None:
                v = v * attention_mask[:, None]
            v = long_convolution(v.to(forward_taps.dtype), forward_taps, backward_taps)
        v = v.to(parts.dtype) * first_gate
        weight = self.output.weight.T.expand(len(x), -1, -1)
        return torch.baddbmm(self.output.bias.expand(*x.shape[:2], -1), v.transpose(1, 2), weight)

    def _project(
        self, x: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch channels length"]:
        """Project to all parts, channels first as the convolutions want them, without a copy."""
        weight = self.input.weight.expand(len(x), -1, -1)  # batch channels width
        bias = self.input.bias[:, None].expand(len(x), -1, x.shape[1])
        return torch.baddbmm(bias, weight, x.transpose(1, 2))

    def _filters(self, length: int) -> list[tuple[Tensor, Tensor | None]]:
        """Return every convolution's two filters, the skip being lag 0 of the forward one."""
        taps = self.filter(length)  # filters width length
        order = self.config.hyena_order - 1
        skip = self.skip.to(taps.dtype)[..., None]  # convolutions width 1
        forward = taps[:order] + functional.pad(skip, (0, length - 1))
        backward: list[Tensor | None] = [None] * order if self.config.causal else [*taps[order:]]
        return list(zip(forward, backward, strict=True))

    def flops_per_base(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per base by kind, a multiply-add being two.

        A real FFT of size n is counted as ``2.5 n log2 n``; each convolution takes one there and
        one back per sequence. What does not depend on the batch (writing the filters and
        transforming them) is left out.
        """
        config = self.config
        size = fast_fft_length(2 * length - 1)
        transforms = 2 * 2.5 * size * math.log2(size) + 6 * (size / 2 + 1)  # and the product
        channels = (config.hyena_order - 1) * config.width
        taps_and_gates = 2.0 * self.short_weight.numel() + config.hyena_order * config.width
        return {
            "projection": 2.0 * (self.input.weight.numel() + self.output.weight.numel()),
            "fft": channels * transforms / length,
            "short_convolution": taps_and_gates,
        }

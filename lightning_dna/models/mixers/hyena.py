"""The Hyena operator: gates and long convolutions whose filters a small network writes.

Differences from the published code: the two-sided form is new (the published one leaves out each
position's own neighbourhood); FFT lengths need not be powers of two; with order above 2 every
filter gets the whole range of decay rates, where the published code spreads one range over all
filters' channels (``hyena_decay: spread``). At order 2 and causal, the parameters and the function
are the published ones.

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
from lightning_dna.models.linear_maps import LinearMap
from lightning_dna.models.mixers.convolution import (
    fast_fft_length,
    long_convolution,
    short_convolution,
)
from lightning_dna.models.mixers.filter_cache import FilterCache, Responses
from lightning_dna.models.mixers.hyena_operator import (
    channel_groups,
    filter_responses,
    hyena_operator,
)
from lightning_dna.models.mixers.long_filters import Filters, Operator
from lightning_dna.models.mixers.projections import channels_of, rows_of
from lightning_dna.models.mixers.sine_network import sine_network

SLOWEST_BAND = 1e-4  # turns over max_length; the others are 1, 2, ...
SINE_FREQUENCY = 10.0
DECAY_TARGET = 1e-2
_NAMES = ("first", "second", "third")


def layer_name(number: int) -> str:
    """Return what a sine layer is called, ``number`` counting from 0."""
    return _NAMES[number] if number < len(_NAMES) else f"layer_{number + 1}"


class ImplicitFilter(nn.Module):
    """Filters as a function of time: a sine network of features, times an exponential decay.

    Time runs from 0 to 1 over ``max_length``, not over the sequence at hand: a short sequence uses
    the first part of the same filters. By default the fastest channel decays to 1 % at 30 % of
    ``max_length``, the slowest would at 150 % of it. One sine frequency per hidden unit is trained
    and shared by the layers. The two directions of a convolution share their decay.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.filters = (config.hyena_order - 1) * (1 if config.causal else 2)
        hidden = config.hyena_filter_width
        self.names = [layer_name(number) for number in range(config.hyena_filter_layers)]
        for number, name in enumerate(self.names):
            inputs = hidden if number else config.hyena_features
            self.add_module(name, nn.Linear(inputs, hidden))
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
        hidden, last, time, _ = self.parts(length)
        with torch.autocast(hidden.device.type, enabled=False):
            taps = last @ hidden.T  # (filters width) length
            decay = self._decay(time)  # convolutions width length
            return (taps.view(-1, *decay.shape) * decay).view(self.filters, -1, length)

    def parts(self, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what the taps are a product of, in float32 at least.

        Returns:
            Last hidden layer (length, inner), its output layer (filters * width, inner), the time
            of every lag (length,), the decay rates (width, convolutions).

        Raises:
            ConfigError: ``length`` is above the model's ``max_length``.
        """
        self.config.check_length(length, part="the Hyena filters")
        precision = torch.promote_types(self.frequency.dtype, torch.float32)
        frequency = self.frequency.to(precision)
        time, features = self._features(length, frequency)
        layers = [
            tensor.to(precision)
            for layer in (getattr(self, name) for name in self.names)
            for tensor in (layer.weight, layer.bias)
        ]
        with torch.autocast(features.device.type, enabled=False):
            hidden = sine_network(features, frequency, *layers)
        return hidden, self.last.weight.to(precision), time, self._rates(time)

    def _features(self, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return time (length,) and the positional features (length, features)."""
        position = torch.arange(length, dtype=torch.float64, device=like.device)
        time = position / max(1, self.config.max_length - 1)
        count = (self.config.hyena_features - 1) // 2
        step = (count - 1 - SLOWEST_BAND) / max(1, count - 1)
        bands = [SLOWEST_BAND + step * number for number in range(count)]
        turns = (2 * math.pi * band / self.config.max_length * position for band in bands)
        angles = torch.stack([*turns], dim=-1)  # length frequencies
        features = torch.cat((time[:, None], angles.cos(), -angles.sin()), dim=-1)
        return time.to(like), features.to(like)

    def _decay(self, time: Float[Tensor, " length"]) -> Float[Tensor, "convolutions width length"]:
        """Return the fixed exponential decay of every channel."""
        falling = torch.exp(-self._rates(time).T[..., None] * time)
        return falling + self.config.hyena_filter_shift

    def _rates(self, like: Tensor) -> Float[Tensor, "width convolutions"]:
        """Return how fast every channel decays in every convolution."""
        config = self.config
        width, convolutions = config.width, config.hyena_order - 1
        if config.hyena_decay == "none":
            return torch.zeros(width, convolutions, dtype=like.dtype, device=like.device)
        rates = torch.linspace(
            -math.log(DECAY_TARGET) / config.hyena_slow_decay,
            -math.log(DECAY_TARGET) / config.hyena_fast_decay,
            width * (convolutions if config.hyena_decay == "spread" else 1),
            dtype=like.dtype,
            device=like.device,
        )
        return rates.view(-1, width).T.expand(width, convolutions)


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
        self._operator = Operator(config.hyena_order, config.causal, config.hyena_filter_shift)
        self._cache = FilterCache()

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
        parts = channels_of(self.input, x)  # batch (parts width) length
        # torch.compile fuses the plain operations itself and would unroll the loop over groups.
        gated = self._plain if torch.compiler.is_compiling() else self._by_group
        return rows_of(self.output, gated(parts, attention_mask))

    def _by_group(self, parts: Tensor, mask: Tensor | None) -> Float[Tensor, "batch width length"]:
        """Convolve and gate, a group of channels at a time."""
        length = parts.shape[-1]
        responses = None
        with torch.autocast(parts.device.type, enabled=False):
            filters = self._filters(length)
            if not self.training and not torch.is_grad_enabled():
                responses = self._kept_responses(filters, len(parts))
            return hyena_operator(
                self._operator,
                parts,
                self.short_weight,
                self.short_bias,
                filters,
                mask,
                responses,
            )

    def _plain(self, parts: Tensor, mask: Tensor | None) -> Float[Tensor, "batch width length"]:
        """Convolve and gate, one operation after the other on all channels."""
        if mask is not None:
            parts = parts * mask[:, None]
        taps, biases = self.short_weight, self.short_bias
        parts = short_convolution(parts, taps, biases, causal=self.config.causal)
        first_gate, *gates, v = parts.chunk(self.config.hyena_order + 1, dim=1)
        for gate, (forward_taps, backward_taps) in zip(
            reversed(gates), self._taps(parts.shape[-1]), strict=True
        ):
            v = v * gate  # batch width length
            if mask is not None:
                v = v * mask[:, None]
            v = long_convolution(v.to(forward_taps.dtype), forward_taps, backward_taps)
        return v.to(parts.dtype) * first_gate

    def _filters(self, length: int) -> Filters:
        """Return what this call's filters are written from."""
        hidden, last, time, rates = self.filter.parts(length)
        return Filters(hidden, last, self.skip.to(hidden.dtype), time, rates)

    def _kept_responses(self, filters: Filters, batch: int) -> Responses | None:
        """Return the filters' transforms, kept from an earlier evaluation where they are small."""
        channels, length, dtype = self.skip.numel(), len(filters.time), filters.hidden.dtype
        groups = channel_groups(
            batch, self.config.width, fast_fft_length(2 * length - 1), self.skip.device
        )
        return self._cache.get(
            [*self.filter.parameters(), self.skip],
            key=(length, len(groups)),
            size=channels * (fast_fft_length(2 * length - 1) + 2) * dtype.itemsize,
            make=lambda: list(filter_responses(self._operator, filters, batch)),
        )

    def train(self, mode: bool = True) -> "Hyena":
        """Set the mode; in training no transforms of filters are kept."""
        self._cache.clear()
        return super().train(mode)

    def _taps(self, length: int) -> list[tuple[Tensor, Tensor | None]]:
        """Return every convolution's two filters, the skip being lag 0 of the forward one."""
        taps = self.filter(length)  # filters width length
        order = self.config.hyena_order - 1
        skip = self.skip.to(taps.dtype)[..., None]  # convolutions width 1
        forward = taps[:order] + functional.pad(skip, (0, length - 1))
        backward: list[Tensor | None] = [None] * order if self.config.causal else [*taps[order:]]
        return list(zip(forward, backward, strict=True))

    def linear_maps(self) -> dict[str, LinearMap]:
        """Return the linear maps that adapters may change."""
        return {
            "input": LinearMap("input", lora=True, ia3=True),
            "output": LinearMap("output", lora=True),
        }

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

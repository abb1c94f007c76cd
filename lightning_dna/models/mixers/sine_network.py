"""The sine network that writes Hyena's filters, keeping nothing of its layers for backward."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def sine_network(
    features: Float[Tensor, "length features"],
    frequency: Float[Tensor, " inner"],
    *layers: Tensor,
) -> Float[Tensor, "length inner"]:
    """Apply ``h -> sin(frequency * (W h + b))`` layer by layer.

    Its activations are nine numbers per unit and lag, its arithmetic next to none, so that the
    backward pass computes them again.

    Args:
        features: Input of the first layer, without a gradient.
        frequency: Shared by the layers.
        layers: Weight and bias of the first layer, of the second, and so on.

    Returns:
        The last layer's output.
    """
    if torch.compiler.is_compiling():
        return _sines(features, frequency, layers)[-1][2]
    hidden: Tensor = _SineNetwork.apply(features, frequency, *layers)  # type: ignore[no-untyped-call]
    return hidden


def _sines(
    features: Tensor, frequency: Tensor, layers: tuple[Tensor, ...]
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return input, linear output and sine of every layer."""
    found, hidden = [], features
    for weight, bias in zip(layers[::2], layers[1::2], strict=True):
        linear = functional.linear(hidden, weight, bias)
        found.append((hidden, linear, torch.sin(frequency * linear)))
        hidden = found[-1][2]
    return found


class _SineNetwork(torch.autograd.Function):
    """:func:`sine_network` with its gradient."""

    @staticmethod
    def forward(features: Tensor, frequency: Tensor, *layers: Tensor) -> Tensor:
        return _sines(features, frequency, layers)[-1][2]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, frequency, *layers = ctx.saved_tensors
        with torch.autocast(features.device.type, enabled=False):
            found = _sines(features, frequency, tuple(layers))
            for_frequency = torch.zeros_like(frequency)
            for_layers: list[Tensor] = []
            for number in reversed(range(len(found))):
                entering, linear, _ = found[number]
                turned = gradient * torch.cos(frequency * linear)
                for_frequency += (turned * linear).sum(dim=0)
                turned *= frequency
                for_layers = [turned.T @ entering, turned.sum(dim=0), *for_layers]
                gradient = turned @ layers[2 * number]
        return None, for_frequency, *for_layers

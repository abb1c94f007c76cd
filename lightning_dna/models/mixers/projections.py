"""Linear layers between rows (position by channel) and channels first, without a transposed copy.

A matrix product reads a transposed factor as fast as a straight one; element by element such a view
is slow. Autograd would hand the gradient of a transposed factor back transposed: here each product,
forward and backward, writes the layout that its reader wants.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Rows = Float[Tensor, "batch length width"]
Channels = Float[Tensor, "batch channels length"]


def to_channels(
    rows: Rows, weight: Float[Tensor, "channels width"], bias: Float[Tensor, " channels"]
) -> Channels:
    """Return ``W x + b`` at every position, channels first; under autocast rounded as usual."""
    if torch.compiler.is_compiling():
        return _channels(rows, weight, bias)
    out: Tensor = _ToChannels.apply(*_rounded(rows, weight, bias))  # type: ignore[no-untyped-call]
    return out


def to_rows(
    channels: Channels, weight: Float[Tensor, "width channels"], bias: Float[Tensor, " width"]
) -> Rows:
    """Return ``W v + b`` at every position, one row per position."""
    if torch.compiler.is_compiling():
        return _rows(channels, weight, bias)
    out: Tensor = _ToRows.apply(*_rounded(channels, weight, bias))  # type: ignore[no-untyped-call]
    return out


def channels_of(layer: nn.Module, rows: Rows) -> Channels:
    """Return what a linear layer makes of every position, channels first.

    A layer that something else has been put in the place of, an adapter of ``peft`` for one, is
    called and not read: its weight alone would not be the whole of it.
    """
    if isinstance(layer, nn.Linear):
        return to_channels(rows, layer.weight, layer.bias)
    out: Tensor = layer(rows).transpose(1, 2)
    return out


def rows_of(layer: nn.Module, channels: Channels) -> Rows:
    """Return what a linear layer makes of every position, rows first; see :func:`channels_of`."""
    if isinstance(layer, nn.Linear):
        return to_rows(channels, layer.weight, layer.bias)
    out: Tensor = layer(channels.transpose(1, 2))
    return out


def _rounded(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors in autocast's precision, if it is on, as inside a Function it is not."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype(device)) for tensor in tensors)


def _channels(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    added = bias[:, None].expand(len(rows), -1, rows.shape[1])
    return torch.baddbmm(added, weight.expand(len(rows), -1, -1), rows.transpose(1, 2))


def _rows(channels: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    added = bias.expand(len(channels), channels.shape[2], -1)
    return torch.baddbmm(added, channels.transpose(1, 2), weight.T.expand(len(channels), -1, -1))


class _ToChannels(torch.autograd.Function):
    """:func:`to_channels` with a gradient."""

    @staticmethod
    def forward(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return _channels(rows, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, weight = ctx.saved_tensors
        for_rows = torch.bmm(gradient.transpose(1, 2), weight.expand(len(rows), -1, -1))
        for_weight = _summed(torch.bmm(gradient, rows))
        return for_rows, for_weight, gradient.sum(dim=(0, 2))


class _ToRows(torch.autograd.Function):
    """:func:`to_rows` with a gradient."""

    @staticmethod
    def forward(channels: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return _rows(channels, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        channels, weight = ctx.saved_tensors
        turned = gradient.transpose(1, 2)  # batch width length
        for_channels = torch.bmm(weight.T.expand(len(channels), -1, -1), turned)
        for_weight = _summed(torch.bmm(turned, channels.transpose(1, 2)))
        return for_channels, for_weight, gradient.sum(dim=(0, 1))


def _summed(by_row: Float[Tensor, "batch rows columns"]) -> Float[Tensor, "rows columns"]:
    """Sum over the batch."""
    return by_row[0] if len(by_row) == 1 else by_row.sum(dim=0)

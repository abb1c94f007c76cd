"""LoRA and IA3 as functions of a layer's weights.

Both change what a linear map computes without touching its matrix: LoRA adds a product of two thin
matrices, IA3 multiplies channels by trained factors. They are written here on the weights and not
on what passes through a layer, ``x (W + BA)'`` in place of ``x W' + x A' B'``, which is the same
function. So they hold for every layer of ours, also for those whose weights are read by a compiled
or fused program that never calls the layer (Hyena's projections, the MLP), for a convolution's
kernel, and for query and value alone where query, key and value share one matrix. Dropout between
the factors, which published LoRA recipes set to 0.05, has no place in this form.

References:
    Hu et al., LoRA: low-rank adaptation of large language models, ICLR 2022. Liu et al., Few-shot
    parameter-efficient fine-tuning is better and cheaper than in-context learning, NeurIPS 2022.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lightning_dna.models.initialisation import parameter_generator
from lightning_dna.models.linear_maps import Placed, chosen_maps


@dataclass(frozen=True)
class Rows:
    """Rows of a matrix, from ``start`` up to ``stop``."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of rows."""
        return self.stop - self.start


class LowRank(nn.Module):
    """``W + scale B A`` on some blocks of the rows of ``W``, with factors of their own for each.

    ``B`` starts at zero, so that training starts from the pretrained function; ``A`` is drawn
    evenly within ``1 / sqrt(inputs)``, as in the published code.

    Args:
        blocks: Blocks of rows, in order and apart.
        inputs: Columns of the matrix.
        rank: Columns of ``B`` and rows of ``A``, for each block.
        scale: Factor of the product: alpha over rank.
        seed: Seed of ``A``.
        path: The layer's path, which makes its random stream.
    """

    def __init__(
        self, blocks: Sequence[Rows], inputs: int, *, rank: int, scale: float, seed: int, path: str
    ) -> None:
        super().__init__()
        self.blocks, self.scale = tuple(blocks), scale
        self.down = nn.ParameterList(
            _uniform((rank, inputs), inputs, seed, f"{path}.down.{number}")
            for number in range(len(self.blocks))
        )
        self.up = nn.ParameterList(
            nn.Parameter(torch.zeros(block.size, rank)) for block in self.blocks
        )

    def forward(self, weight: Tensor) -> Tensor:
        """Return the adapted matrix."""
        with torch.autocast(weight.device.type, enabled=False):
            added = [
                weight[block.start : block.stop] + self.scale * (up @ down)
                for block, up, down in zip(self.blocks, self.up, self.down, strict=True)
            ]
        adapted: Tensor = _with_rows(weight, self.blocks, added)
        return adapted


class Scaled(nn.Module):
    """``W`` with blocks of its rows, and of its bias, multiplied by trained factors; or columns.

    The factors start at one.

    Args:
        blocks: Blocks of rows, in order and apart.
        columns: Number of columns where it is these that are multiplied; ``None`` for rows.
    """

    def __init__(self, blocks: Sequence[Rows], *, columns: int | None = None) -> None:
        super().__init__()
        self.blocks, self.by_column = tuple(blocks), columns is not None
        sizes = [block.size for block in self.blocks] if columns is None else [columns]
        self.factors = nn.ParameterList(nn.Parameter(torch.ones(size)) for size in sizes)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the adapted matrix or bias."""
        if self.by_column:
            scaled_columns: Tensor = weight * self.factors[0]
            return scaled_columns
        scaled = []
        for block, factor in zip(self.blocks, self.factors, strict=True):
            rows = weight[block.start : block.stop]
            scaled.append(rows * (factor[:, None] if weight.ndim == 2 else factor))
        return _with_rows(weight, self.blocks, scaled)


Adapter = LowRank | Scaled


@dataclass(frozen=True)
class Adapted:
    """An adapter in its place.

    Attributes:
        path: Path of the layer from the trunk.
        layer: The layer.
        adapter: The adapter on its weight.
    """

    path: str
    layer: nn.Linear
    adapter: Adapter


def add_lora(
    backbone: nn.Module, names: tuple[str, ...], *, rank: int, alpha: float, seed: int
) -> list[Adapted]:
    """Freeze a trunk and put LoRA on some of its linear maps, in place.

    Args:
        backbone: The trunk.
        names: Names of linear maps; none stand for query and value of attention, and for input and
            output of every other mixer.
        rank: Rank of the factors of every map.
        alpha: The product is multiplied by ``alpha / rank``.
        seed: Seed of the factors.

    Raises:
        ConfigError: The trunk has no linear map of a given name.
    """
    backbone.requires_grad_(False)
    found = []
    for path, maps in _by_layer(chosen_maps(backbone, names, method="lora")):
        layer = maps[0].layer
        blocks = [Rows(one.start, one.stop) for one in maps]
        adapter = LowRank(
            blocks, layer.in_features, rank=rank, scale=alpha / rank, seed=seed, path=path
        )
        found.append(attach(path, layer, adapter))
    return found


def add_ia3(backbone: nn.Module, names: tuple[str, ...]) -> list[Adapted]:
    """Freeze a trunk and put IA3's factors on some of its linear maps, in place.

    Args:
        backbone: The trunk.
        names: Names of linear maps; none stand for key and value of attention, the input of every
            other mixer, and the inner channels of the feed-forward.

    Raises:
        ConfigError: The trunk has no linear map of a given name.
    """
    backbone.requires_grad_(False)
    found = []
    for path, maps in _by_layer(chosen_maps(backbone, names, method="ia3")):
        layer = maps[0].layer
        reads = maps[0].usual.ia3_scales == "inputs"
        blocks = [Rows(one.start, one.stop) for one in maps]
        adapter = Scaled(blocks, columns=layer.in_features if reads else None)
        found.append(attach(path, layer, adapter))
    return found


def attach(path: str, layer: nn.Linear, adapter: Adapter) -> Adapted:
    """Put an adapter on a layer's weight, and on its bias where that is scaled too."""
    adapter.to(layer.weight.device, layer.weight.dtype)
    parametrize.register_parametrization(layer, "weight", adapter)
    if isinstance(adapter, Scaled) and not adapter.by_column and layer.bias is not None:
        parametrize.register_parametrization(layer, "bias", adapter)
    return Adapted(path, layer, adapter)


def adapters(backbone: nn.Module) -> list[Adapted]:
    """Return the adapters of a trunk, in the order of its layers."""
    found = []
    for path, module in backbone.named_modules():
        if isinstance(module, nn.Linear) and parametrize.is_parametrized(module, "weight"):
            adapter = module.get_submodule("parametrizations.weight.0")
            if isinstance(adapter, LowRank | Scaled):
                found.append(Adapted(path, module, adapter))
    return found


@torch.no_grad()
def merge(backbone: nn.Module) -> None:
    """Write every adapter into the weights that it changes, and remove it, in place.

    The outputs stay the same to the last bit, since both forms compute with the same numbers.
    """
    for one in adapters(backbone):
        for name in ("weight", "bias"):
            if parametrize.is_parametrized(one.layer, name):
                parametrize.remove_parametrizations(one.layer, name, leave_parametrized=True)


def _by_layer(maps: Iterable[Placed]) -> Iterable[tuple[str, list[Placed]]]:
    """Group maps that share a layer, in the order of their rows."""
    grouped: dict[str, list[Placed]] = {}
    for one in maps:
        grouped.setdefault(one.path, []).append(one)
    return grouped.items()


def _with_rows(weight: Tensor, blocks: Sequence[Rows], new: Sequence[Tensor]) -> Tensor:
    """Return a tensor with blocks of its rows replaced."""
    if len(blocks) == 1 and blocks[0].size == len(weight):
        return new[0]
    parts, at = [], 0
    for block, rows in zip(blocks, new, strict=True):
        parts += [weight[at : block.start], rows]
        at = block.stop
    return torch.cat((*parts, weight[at:]))


def _uniform(shape: tuple[int, int], inputs: int, seed: int, name: str) -> nn.Parameter:
    """Draw a parameter evenly within ``1 / sqrt(inputs)``."""
    drawn = torch.rand(shape, generator=parameter_generator(seed, name))
    return nn.Parameter((2 * drawn - 1) / math.sqrt(inputs))

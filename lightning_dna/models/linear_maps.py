"""Which linear maps a model has that an adapter may change, by names that the parts give them.

A part of a block (mixer or feed-forward) lists its own maps under the field's names: attention has
``query``, ``key``, ``value`` and ``output``, every other mixer ``input`` and ``output``. Nothing is
guessed from the name of a parameter. Maps that share one matrix, as query, key and value do, are
told apart by its rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import nn

from lightning_dna.errors import unknown_name


@dataclass(frozen=True)
class LinearMap:
    """One linear map of a part: some rows of the matrix of one of its layers.

    Attributes:
        layer: Attribute of the part that holds the ``nn.Linear``.
        block: Number of the block of rows, from 0.
        blocks: Equal blocks of rows that share the matrix.
        lora: Whether LoRA changes this map where none is named.
        ia3: Whether IA3 does.
        ia3_scales: What IA3's factors multiply: what comes out, or what goes in.
    """

    layer: str
    block: int = 0
    blocks: int = 1
    lora: bool = False
    ia3: bool = False
    ia3_scales: Literal["outputs", "inputs"] = "outputs"


def inner_channels(layer: str) -> LinearMap:
    """Return the map that reads a feed-forward's inner channels, which IA3 scales."""
    return LinearMap(layer, ia3=True, ia3_scales="inputs")


@runtime_checkable
class HasLinearMaps(Protocol):
    """A part of a block that says which linear maps it has."""

    def linear_maps(self) -> Mapping[str, LinearMap]:
        """Return them by name."""


@dataclass(frozen=True)
class Placed:
    """A linear map in a model.

    Attributes:
        path: Path of the layer from the trunk, such as ``blocks.0.mixer.query_key_value``.
        layer: The layer.
        name: Name of the map.
        start: First of its rows of the layer's matrix.
        stop: Row after the last.
        usual: What the part says of it.
    """

    path: str
    layer: nn.Linear
    name: str
    start: int
    stop: int
    usual: LinearMap


def linear_maps(backbone: nn.Module) -> Iterator[Placed]:
    """Yield every linear map of a trunk, from the first block to the last.

    Example:
        >>> from lightning_dna.models.config import ModelConfig
        >>> from lightning_dna.models.language_model import build_model
        >>> model = build_model(ModelConfig(width=8, layers=1, heads=2), seed=0)
        >>> [one.name for one in linear_maps(model.backbone)]
        ['query', 'key', 'value', 'output', 'expand', 'contract']
    """
    for number, block in enumerate(backbone.get_submodule("blocks").children()):
        for where in ("mixer", "feedforward"):
            part = getattr(block, where)
            if not isinstance(part, HasLinearMaps):
                continue
            for name, one in part.linear_maps().items():
                layer = getattr(part, one.layer)
                size = layer.out_features // one.blocks
                start = one.block * size
                path = f"blocks.{number}.{where}.{one.layer}"
                yield Placed(path, layer, name, start, start + size, one)


def chosen_maps(
    backbone: nn.Module, names: tuple[str, ...], *, method: Literal["lora", "ia3"]
) -> list[Placed]:
    """Return the linear maps that an adapter is to change.

    Args:
        backbone: The trunk.
        names: Names of maps; none stand for those that the parts call usual for the method.
        method: The method.

    Raises:
        ConfigError: No block has a map of a given name; the message lists those there are.
    """
    found = [*linear_maps(backbone)]
    known = dict.fromkeys(one.name for one in found)
    for name in names:
        if name not in known:
            raise unknown_name("linear map", name, [*known], where="finetune.lora_targets")
    if names:
        return [one for one in found if one.name in names]
    return [one for one in found if (one.usual.lora if method == "lora" else one.usual.ia3)]

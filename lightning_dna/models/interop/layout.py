"""What a published layout is: its settings and its names, and how both turn into ours and back.

A layout is a table. Each :class:`Entry` ties one of our parameters to the published tensors it is
made of; the same table reads and writes, so neither direction can drift from the other.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import LanguageModel

Published = Mapping[str, Any]  # the content of a published config.json
Shapes = Mapping[str, torch.Size]
CONSTANT_TOLERANCE = 1e-4  # of tables that every program computes for itself, some in float16
_SHOWN = 12


@dataclass(frozen=True)
class Entry:
    """One of our parameters and where it is published.

    Attributes:
        ours: Name in our state dict.
        parts: Published tensors that, one below the other, make it up; mostly one.
        aliases: Other names under which the published file repeats the (only) part, as tied weights
            are; any one of the names is enough.
        shape: Published shape of the part where it differs from ours in axes of length one.
    """

    ours: str
    parts: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Constant:
    """A published tensor that is no parameter of ours.

    Attributes:
        name: Published name.
        value: What it always holds, where the model's function depends on it; ``None`` for what
            the function does not use, whatever it holds.
        written: Whether models that came from no published file get it.
    """

    name: str
    value: Callable[[], Tensor] | None = None
    written: bool = True


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A family of published checkpoints.

    Attributes:
        name: What it is called in messages and in our own files.
        claims: Whether a ``config.json`` is of this family.
        sign: Regular expression that the names of this family's weights match, and no other's.
        rename: Bring a name to the form used here, whatever wrapper saved it.
        read_config: From ``config.json`` (and the tensors' shapes) to our settings.
        write_config: From our settings to a ``config.json``; ``None`` where the family has no
            such model.
        entries: Our parameters.
        constants: Everything else a file of the family may hold.
        finish: Set what the published code has fixed and our settings have no name for.
    """

    name: str
    claims: Callable[[Published], bool]
    sign: str
    rename: Callable[[str], str]
    read_config: Callable[[Published, Shapes, str], ModelConfig]
    write_config: Callable[[ModelConfig], dict[str, Any] | None]
    entries: Callable[[ModelConfig], Sequence[Entry]]
    constants: Callable[[ModelConfig], Sequence[Constant]]
    finish: Callable[[LanguageModel], None] = lambda model: None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a model keeps of the published files it was read from, to write them back unchanged.

    Attributes:
        layout: Name of the layout.
        config: Content of ``config.json``.
        names: Published names of the tensors that were there.
        constants: Those of them that are no parameters of ours.
    """

    layout: str
    config: Published
    names: frozenset[str]
    constants: Mapping[str, Tensor] = field(default_factory=dict)


def rename_all(layout: Layout, tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Bring all names of a file to the layout's form.

    Raises:
        DataError: No name is of this family, or two become one.
    """
    if not any(re.search(layout.sign, name) for name in tensors):
        raise DataError(
            f"{where}: config.json is of a {layout.name} model, but no tensor is named like its "
            f"weights ('{layout.sign}'); this is a checkpoint of another architecture or of one "
            f"part. Found: {_some(tensors)}."
        )
    renamed = {layout.rename(name): tensor for name, tensor in tensors.items()}
    if len(renamed) != len(tensors):
        raise DataError(
            f"{where}: two names of tensors mean the same one. Found: {_some(tensors)}."
        )
    return renamed


def to_ours(
    layout: Layout,
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    shapes: Shapes,
    where: str,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Turn published tensors into our state dict.

    Args:
        layout: The layout.
        config: Our settings.
        tensors: Published tensors, names in the layout's form.
        shapes: Shapes of our parameters.
        where: The file, for messages.

    Returns:
        Our state dict in float32, and the tensors that are no part of it.

    Raises:
        DataError: Tensors are missing, left over, of another shape, or differ where the family
            has them equal; the message lists them.
    """
    left = dict(tensors)
    ours: dict[str, Tensor] = {}
    missing: list[str] = []
    wrong: list[str] = []
    unequal: list[str] = []
    for entry in layout.entries(config):
        parts = []
        for part in entry.parts:
            found = {name: left.pop(name) for name in (part, *entry.aliases) if name in left}
            values = list(found.values())
            if not values:
                missing.append(part)
                continue
            if not all(torch.equal(values[0], value) for value in values[1:]):
                unequal.append(" and ".join(found))
            wanted = _part_shape(entry, shapes[entry.ours])
            if values[0].shape != wanted:
                wrong.append(f"{part} {[*values[0].shape]} instead of {[*wanted]}")
                continue
            if not values[0].is_floating_point():
                wrong.append(f"{part}, which holds {values[0].dtype} and no weights")
            elif not values[0].isfinite().all():
                wrong.append(f"{part}, which holds numbers that are not finite")
            parts.append(values[0].to(torch.float32))
        if len(parts) == len(entry.parts):
            ours[entry.ours] = torch.cat(parts).reshape(shapes[entry.ours])
    constants: dict[str, Tensor] = {}
    for constant in layout.constants(config):
        if constant.name not in left:
            continue
        value = constants[constant.name] = left.pop(constant.name)
        if constant.value is not None and not _same(value, constant.value()):
            wrong.append(f"{constant.name}, which is not what the published formula gives")
    _complain(layout, where, missing=missing, unknown=[*left], wrong=wrong, unequal=unequal)
    return ours, constants


def to_published(
    layout: Layout, config: ModelConfig, ours: Mapping[str, Tensor], origin: Origin | None
) -> dict[str, Tensor]:
    """Turn our state dict into published tensors.

    Args:
        layout: The layout.
        config: Our settings.
        ours: Our state dict.
        origin: The files the model came from: its names and constants are used again. ``None``
            writes all names of the layout and the constants that have a formula.

    Returns:
        Tensors by published name.
    """
    tensors: dict[str, Tensor] = {}
    for entry in layout.entries(config):
        value = ours[entry.ours]
        shape = _part_shape(entry, value.shape)
        values = [part.reshape(shape) for part in value.chunk(len(entry.parts))]
        tensors |= dict(zip(entry.parts, values, strict=True))
        tensors |= dict.fromkeys(entry.aliases, values[0])
    if origin is not None:
        kept = {name: tensor for name, tensor in tensors.items() if name in origin.names}
        return kept | dict(origin.constants)
    for constant in layout.constants(config):
        if constant.value is not None and constant.written:
            tensors[constant.name] = constant.value()
    return tensors


def integer(config: Published, key: str, where: str) -> int:
    """Return a setting that has to be a positive integer.

    Raises:
        ConfigError: It is missing or something else.
    """
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        found = f"found {value!r}" if key in config else "it is missing"
        raise ConfigError(f"{where}: {key} has to be a positive integer, but {found}.")
    return value


def refuse_others(
    config: Published, allowed: Mapping[str, tuple[Any, ...]], layout: str, where: str
) -> None:
    """Refuse settings with which the family's models would be others than the one built here.

    Args:
        config: Published settings.
        allowed: Values by key; the first is also the one in force where the key is missing.
        layout: Name of the family.
        where: The file, for the message.

    Raises:
        ConfigError: A key has another value.
    """
    for key, values in allowed.items():
        found = config.get(key, values[0])
        if found not in values:
            raise ConfigError(
                f"{where}: {key} is {found!r}; of {layout} checkpoints, those with "
                f"{' or '.join(repr(value) for value in values)} can be loaded."
            )


def _part_shape(entry: Entry, ours: Sequence[int]) -> torch.Size:
    """Return the published shape of each part of one of our parameters."""
    if entry.shape is not None:
        return torch.Size(entry.shape)
    return torch.Size((ours[0] // len(entry.parts), *ours[1:]))


def _same(value: Tensor, expected: Tensor) -> bool:
    """Whether a table holds what its formula gives."""
    if value.shape != expected.shape:
        return False
    if not value.is_floating_point():
        return bool((value == expected).all())
    # A checkpoint in a short format has its tables rounded too.
    tolerance = max(CONSTANT_TOLERANCE, 2 * torch.finfo(value.dtype).eps)
    close = torch.isclose(value.double(), expected.double(), rtol=tolerance, atol=tolerance)
    return bool(close.all())


def _complain(layout: Layout, where: str, **lists: list[str]) -> None:
    """Raise one error with all that is wrong, if anything is."""
    if not any(lists.values()):
        return
    titles = {
        "missing": "missing",
        "unknown": "unknown",
        "wrong": "of another shape or content",
        "unequal": "tied but unequal",
    }
    parts = [
        f"{titles[kind]}: {', '.join(sorted(names))}" for kind, names in lists.items() if names
    ]
    raise DataError(
        f"{where}: these are not the weights of the {layout.name} model that config.json "
        f"describes; {'; '.join(parts)}. Nothing was loaded: fetch the whole checkpoint, with its "
        "own config.json."
    )


def _some(names: Iterable[str]) -> str:
    """List names, the first of very many."""
    ordered = sorted(names)
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return (", ".join(ordered[:_SHOWN]) or "none") + more

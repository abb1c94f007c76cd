"""Adapters in the file layout of the ``peft`` library, written and read without it.

A folder holds ``adapter_config.json`` and ``adapter_model.safetensors``, as ``peft`` writes them
around a :class:`lightning_dna.models.language_model.LanguageModel`, and ``head.safetensors``, our
own file of the head on top. LoRA on query and value alone, which share one matrix with the key, is
written as LoRA on that matrix: of the sum of both ranks, with zeros where one does not reach.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_dna import atomic
from lightning_dna.errors import DataError
from lightning_dna.models.interop import files
from lightning_dna.models.linear_maps import linear_maps
from lightning_dna.training.adaptation.weight_adapters import (
    Adapted,
    LowRank,
    Rows,
    Scaled,
    adapters,
    attach,
)
from lightning_dna.training.finetune import SequenceClassifier

CONFIG, ADAPTER, HEAD = "adapter_config.json", "adapter_model.safetensors", "head.safetensors"
_WRAPPER, _TRUNK = "base_model.model.", "backbone."
_LORA_DOWN, _LORA_UP, _IA3 = ".lora_A.weight", ".lora_B.weight", ".ia3_l"
# Options of peft that change the function and that we do not have.
_UNKNOWN_OPTIONS = (
    "use_dora",
    "lora_bias",
    "fan_in_fan_out",
    "use_qalora",
    "use_bdlora",
    "alora_invocation_tokens",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "modules_to_save",
    "kasa_config",
)


def save_adapters(classifier: SequenceClassifier, folder: Path) -> None:
    """Write the LoRA or IA3 adapters of a classifier, and its head.

    Args:
        classifier: What ``adapt`` returned as ``classifier`` for the way ``lora`` or ``ia3``.
        folder: Where to write; made when missing.

    Raises:
        DataError: The classifier has no adapter.
    """
    found = adapters(classifier.backbone)
    if not found:
        raise DataError(
            "save_adapters: this classifier has no adapter; it takes what the way 'lora' or 'ia3' "
            "has trained, before its adapters are merged."
        )
    tensors: dict[str, Tensor] = {}
    for one in found:
        tensors |= {f"{_WRAPPER}{_TRUNK}{one.path}{end}": part for end, part in _written(one)}
    files.write_safetensors(folder / ADAPTER, tensors)
    head = {name: value.detach().cpu() for name, value in classifier.head.state_dict().items()}
    files.write_safetensors(folder / HEAD, head)
    atomic.write_json(folder / CONFIG, _config(found))


def load_adapters(classifier: SequenceClassifier, folder: Path) -> list[Adapted]:
    """Freeze a classifier's trunk and put the adapters of a folder on it, and the head if any.

    Args:
        classifier: A classifier without adapters over the same model; changed in place.
        folder: What :func:`save_adapters` or ``peft`` wrote, around a language model of ours or
            its trunk.

    Returns:
        The adapters, in the order of the layers.

    Raises:
        DataError: A file is missing, is of another method than LoRA and IA3 or uses options of
            ``peft`` that change the function and that we do not have, or does not fit the model.
    """
    if not (folder / CONFIG).is_file():
        raise DataError(f"{folder}: no {CONFIG}; give a folder that an adapter was saved to.")
    config = atomic.read_json(folder / CONFIG)
    _check_options(config, folder / CONFIG)
    layers = {one.path: one.layer for one in linear_maps(classifier.backbone)}
    made = []
    for path, parts in _by_path(files.read_safetensors(folder / ADAPTER), folder).items():
        if path not in layers:
            raise DataError(
                f"{folder / ADAPTER}: holds an adapter for '{path}', which this model does not "
                f"have; its layers are {', '.join(dict.fromkeys(layers))}."
            )
        adapter = _read(path, parts, layers[path], config, folder / ADAPTER)
        made.append((path, layers[path], adapter))
    classifier.backbone.requires_grad_(False)
    if (folder / HEAD).is_file():
        _load_head(classifier, folder / HEAD)
    for path, layer, adapter in made:
        attach(path, layer, adapter)
    return adapters(classifier.backbone)


def _written(one: Adapted) -> list[tuple[str, Tensor]]:
    """Return an adapter's tensors by the ending of their names."""
    adapter, layer = one.adapter, one.layer
    if isinstance(adapter, LowRank):
        up = torch.zeros(layer.out_features, sum(part.shape[1] for part in adapter.up))
        at = 0
        for block, part in zip(adapter.blocks, adapter.up, strict=True):
            up[block.start : block.stop, at : at + part.shape[1]] = part.detach().cpu()
            at += part.shape[1]
        down = torch.cat([part.detach().cpu() for part in adapter.down])
        return [(_LORA_DOWN, down), (_LORA_UP, up)]
    if adapter.by_column:
        return [(_IA3, adapter.factors[0].detach().cpu()[None])]
    factors = torch.ones(layer.out_features)
    for block, part in zip(adapter.blocks, adapter.factors, strict=True):
        factors[block.start : block.stop] = part.detach().cpu()
    return [(_IA3, factors[:, None])]


def _config(found: Sequence[Adapted]) -> dict[str, Any]:
    """Return what ``peft`` needs to know besides the tensors."""
    paths = [_TRUNK + one.path for one in found]
    shared = {
        "base_model_name_or_path": None,
        "task_type": None,
        "inference_mode": True,
        "target_modules": paths,
        "modules_to_save": None,
        "fan_in_fan_out": False,
    }
    if isinstance(found[0].adapter, Scaled):
        columns = [
            path
            for path, one in zip(paths, found, strict=True)
            if isinstance(one.adapter, Scaled) and one.adapter.by_column
        ]
        return {"peft_type": "IA3", **shared, "feedforward_modules": columns}
    ranks, alphas = {}, {}
    for path, one in zip(paths, found, strict=True):
        if isinstance(one.adapter, LowRank):
            ranks[path] = sum(part.shape[1] for part in one.adapter.up)
            alphas[path] = one.adapter.scale * ranks[path]
    first = paths[0]
    return {
        "peft_type": "LORA",
        **shared,
        "r": ranks[first],
        "lora_alpha": alphas[first],
        "lora_dropout": 0.0,
        "bias": "none",
        "rank_pattern": {path: rank for path, rank in ranks.items() if rank != ranks[first]},
        "alpha_pattern": {path: a for path, a in alphas.items() if a != alphas[first]},
    }


def _check_options(config: Mapping[str, Any], path: Path) -> None:
    """Refuse adapters that compute something else than ours."""
    if config.get("peft_type") not in ("LORA", "IA3"):
        raise DataError(
            f"{path}: peft_type is {config.get('peft_type')!r}; LORA and IA3 can be read."
        )
    used = [name for name in _UNKNOWN_OPTIONS if config.get(name)]
    if config.get("bias", "none") != "none":
        used.append("bias")
    if used:
        raise DataError(
            f"{path}: uses {', '.join(used)}, which changes what the adapter computes and cannot "
            "be read; train the adapter without."
        )


def _by_path(tensors: Mapping[str, Tensor], folder: Path) -> dict[str, dict[str, Tensor]]:
    """Group tensors by the layer that they belong to."""
    grouped: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        ending = next((e for e in (_LORA_DOWN, _LORA_UP, _IA3) if name.endswith(e)), None)
        if ending is None:
            raise DataError(f"{folder / ADAPTER}: '{name}' is no part of a LoRA or IA3 adapter.")
        path = name.removeprefix(_WRAPPER).removeprefix(_TRUNK).removesuffix(ending)
        grouped.setdefault(path, {})[ending] = tensor
    return grouped


def _read(
    path: str, parts: Mapping[str, Tensor], layer: nn.Linear, config: Mapping[str, Any], file: Path
) -> LowRank | Scaled:
    """Build the adapter of one layer, on all of its rows."""
    rows = [Rows(0, layer.out_features)]
    adapter: LowRank | Scaled
    if _IA3 in parts:
        by_column = len(parts[_IA3]) == 1 and layer.out_features > 1
        adapter = Scaled(rows, columns=layer.in_features if by_column else None)
        values = [(adapter.factors[0], parts[_IA3].flatten())]
    else:
        missing = [end for end in (_LORA_DOWN, _LORA_UP) if end not in parts]
        if missing:
            raise DataError(
                f"{file}: '{path}' lacks {missing[0].removeprefix('.')}; write it anew."
            )
        down, up = parts[_LORA_DOWN], parts[_LORA_UP]
        rank = len(down)
        alpha = _by_pattern(config.get("alpha_pattern"), path, config.get("lora_alpha", 8))
        scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
        adapter = LowRank(rows, layer.in_features, rank=rank, scale=scale, seed=0, path=path)
        values = [(adapter.down[0], down), (adapter.up[0], up)]
    for parameter, value in values:
        if parameter.shape != value.shape:
            raise DataError(
                f"{file}: '{path}' has shape {[*value.shape]}, and this model's layer takes "
                f"{[*parameter.shape]}; the adapter belongs to another model."
            )
        with torch.no_grad():
            parameter.copy_(value)
    return adapter


def _by_pattern(patterns: Mapping[str, float] | None, path: str, usual: float) -> float:
    """Return the value of the first pattern that the end of a layer's path matches."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", f"{_WRAPPER}{_TRUNK}{path}"):
            return value
    return usual


def _load_head(classifier: SequenceClassifier, file: Path) -> None:
    """Fill the head."""
    tensors, own = files.read_safetensors(file), classifier.head.state_dict()
    found = {name: [*value.shape] for name, value in tensors.items()}
    wanted = {name: [*value.shape] for name, value in own.items()}
    if found != wanted:
        raise DataError(
            f"{file}: holds {found}, and this classifier's head takes {wanted}; build it with the "
            "classes, finetune.pooling and finetune.head that it was trained with."
        )
    classifier.head.load_state_dict(tensors)

"""HyenaDNA's layout: the repository's own, its training checkpoints', and that of ``...-hf``.

Layers may be causal attention instead of Hyena (``attn_layer_idx``), all of them in AttnDNA, which
may have a table of positions. At orders above 2 the channels of the filters lie as in
``standalone_hyenadna.py``, filter after filter.

The published code reads no attention mask. Ours may be given one, and then padded positions change
nothing; without one both compute the same.

References:
    Nguyen et al., HyenaDNA, NeurIPS 2023; https://github.com/HazyResearch/hyena-dna.
"""

import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lightning_dna.errors import ConfigError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.interop.layout import (
    Constant,
    Entry,
    Layout,
    Published,
    Shapes,
    integer,
    refuse_others,
)
from lightning_dna.models.mixers.hyena import DECAY_TARGET, SLOWEST_BAND, layer_name

SHIFT = 0.05  # the released code's default, where config.json is silent
_WRAPPERS = re.compile(r"^(module\.)?(model\.|hyena\.|hyenadna\.)?(?=backbone\.|lm_head\.)")
_SHORT = ".mixer.short_filter.weight"
# Our linear layers and norms, and the published ones, within a block.
_COMMON = {
    "mixer_norm": "norm1",
    "feedforward_norm": "norm2",
    "feedforward.expand": "mlp.fc1",
    "feedforward.contract": "mlp.fc2",
    "mixer.output": "mixer.out_proj",
}
_HYENA = {"mixer.input": "mixer.in_proj"}
_ATTENTION = {"mixer.query_key_value": "mixer.Wqkv"}
_TABLE = "backbone.embeddings.word_embeddings.weight"
_POSITIONS = "backbone.embeddings.position_embeddings.weight"
_ALLOWED: Mapping[str, tuple[Any, ...]] = {
    "n_head": (None,),
    "process_group": (None,),
}
_ALLOWED_IN_LAYER = {
    "_name_": ("hyena",),
    "modulate": (True, False),
    "bidirectional": (False,),
    "linear_mixer": (False,),
    "normalized": (False,),
    "bias": (True,),
    "train_freq": (True,),
    "num_heads": (1,),
    "num_blocks": (1,),
    "inner_factor": (1,),
    "outer_mixing": (False,),
    "post_order_ffn": (False,),
    "jit_filter": (False,),
    "filter_cls": ("hyena-filter",),
    "activation": ("id",),
}
# What the published code takes where config.json is silent.
_DEFAULTS: Mapping[str, Any] = {
    "order": 2,
    "emb_dim": 3,
    "filter_order": 64,
    "num_inner_mlps": 2,
    "shift": SHIFT,
    "fast_decay_pct": 0.3,
    "slow_decay_pct": 1.5,
    "target": DECAY_TARGET,
}
_ALLOWED_IN_ATTENTION: Mapping[str, tuple[Any, ...]] = {
    "causal": (True,),
    "bias": (True,),
    "dwconv": (False,),
    "softmax_scale": (None,),
    "rotary_emb_dim": (0,),
}
# What the flat config.json of the ...-hf checkpoints calls the settings of a layer.
_FLAT = {
    "hyena_order": "order",
    "emb_dim": "emb_dim",
    "num_inner_mlps": "num_inner_mlps",
    "filter_order": "filter_order",
    "max_seq_len": "l_max",
    "use_bias": "bias",
    "train_freq": "train_freq",
}


def claims(config: Published) -> bool:
    """Whether a ``config.json`` is HyenaDNA's, nested or flat."""
    described = isinstance(config.get("layer"), dict) or "attn_layer_idx" in config
    nested = described and "d_model" in config
    return nested or config.get("model_type") == "hyenadna"


def rename(name: str) -> str:
    """Strip what wrappers put before a name, and activation checkpointing into it."""
    return re.sub(r"\.(mixer|mlp)\.layer\.", r".\1.", _WRAPPERS.sub("", name))


def read_config(config: Published, shapes: Shapes, where: str) -> ModelConfig:
    """Turn a published configuration into ours.

    The published embedding dropout has no counterpart of its own and is left out; the residual
    dropout is kept.
    """
    layer = config.get("layer")
    if not isinstance(layer, dict):
        layer = {ours: config[theirs] for theirs, ours in _FLAT.items() if theirs in config}
    refuse_others(config, _ALLOWED, "HyenaDNA", where)
    width = integer(config, "d_model", where)
    inner = config.get("d_inner")  # the published code's default is four times the width
    multiple = config.get("pad_vocab_size_multiple", config.get("pad_vocab_size_multiple_of", 1))
    return ModelConfig(
        objective="next_token",
        **_read_mixers(config, where),
        **_read_layer(layer, shapes, f"{where}: layer"),
        **_read_length(config, layer, where),
        width=width,
        layers=integer(config, "n_layer", where),
        feedforward_width=width * 4 if inner is None else integer(config, "d_inner", where),
        gelu_approximation="tanh",
        norm_epsilon=config.get("layer_norm_epsilon", 1e-5),
        dropout=config.get("resid_dropout", config.get("hyena_dropout", 0.0)),
        vocab_size=-(-integer(config, "vocab_size", where) // multiple) * multiple,
    )


def _read_mixers(config: Published, where: str) -> dict[str, Any]:
    """Return the mixers of all layers: attention where the configuration says so, else Hyena."""
    places, layers = config.get("attn_layer_idx"), integer(config, "n_layer", where)
    if not places:
        return {"mixer": "hyena"}
    if not isinstance(places, list) or not set(places) <= set(range(layers)):
        raise ConfigError(
            f"{where}: attn_layer_idx is {places!r}; expected a list of layers, 0 to {layers - 1}."
        )
    attention = config.get("attn_cfg") or {}
    refuse_others(attention, _ALLOWED_IN_ATTENTION, "HyenaDNA", f"{where}: attn_cfg")
    return {
        "mixer": tuple("attention" if n in places else "hyena" for n in range(layers)),
        "heads": integer(attention, "num_heads", f"{where}: attn_cfg"),
    }


def _read_layer(layer: Published, shapes: Shapes, where: str) -> dict[str, Any]:
    """Return the settings of the Hyena operator, which are the same in all layers."""
    refuse_others(layer, _ALLOWED_IN_LAYER, "HyenaDNA", where)
    layer = {**_DEFAULTS, **layer}
    inner = layer["num_inner_mlps"]
    order = integer(layer, "order", where)
    taps = next((shape[-1] for name, shape in shapes.items() if name.endswith(_SHORT)), 3)
    return {
        "hyena_order": order,
        "hyena_filter_layers": 1 if inner == 0 else 1 + integer(layer, "num_inner_mlps", where),
        "hyena_filter_width": integer(layer, "filter_order", where),
        "hyena_features": integer(layer, "emb_dim", where),
        "hyena_short_filter": taps,
        **_read_decay(layer, order, where),
    }


def _read_decay(layer: Published, order: int, where: str) -> dict[str, Any]:
    """Return how the filters decay; ours are told by when 1 % is left, whatever the target."""
    for key, below in (("fast_decay_pct", math.inf), ("slow_decay_pct", math.inf), ("target", 1)):
        value = layer[key]
        if not isinstance(value, int | float) or not 0 < value < below:
            raise ConfigError(
                f"{where}: {key} is {value!r}; expected a number above 0 and below {below}."
            )
    target = layer["target"]
    unit = 1.0 if target == DECAY_TARGET else math.log(DECAY_TARGET) / math.log(target)
    modulated = layer.get("modulate", True)
    rates = "each" if order == 2 else "spread"
    return {
        "hyena_decay": rates if modulated else "none",
        "hyena_fast_decay": layer["fast_decay_pct"] * unit,
        "hyena_slow_decay": layer["slow_decay_pct"] * unit,
        "hyena_filter_shift": layer["shift"] if modulated else 0.0,
    }


def _read_length(config: Published, layer: Published, where: str) -> dict[str, Any]:
    """Return the longest input, and the table of positions if there is one."""
    rows, layers = config.get("max_position_embeddings"), range(integer(config, "n_layer", where))
    without_hyena = set(layers) <= set(config.get("attn_layer_idx") or ())
    if not rows:
        longest = 1024 if without_hyena and "l_max" not in layer else integer(layer, "l_max", where)
        return {
            "position": "none" if config.get("attn_layer_idx") else None,
            "max_length": longest,
        }
    if not without_hyena and rows != layer.get("l_max"):
        raise ConfigError(
            f"{where}: max_position_embeddings is {rows!r} and layer.l_max {layer.get('l_max')!r}; "
            "of HyenaDNA checkpoints with a table of positions, those where both are the same can "
            "be loaded."
        )
    return {
        "position": "learned",
        "max_length": integer(config, "max_position_embeddings", where),
    }


def write_config(config: ModelConfig) -> dict[str, Any] | None:
    """Turn our settings into a published configuration, or ``None`` if there is none."""
    places = [layer for layer, mixer in enumerate(config.mixers) if mixer == "attention"]
    learned = config.position_scheme == "learned"
    same = ModelConfig(
        objective="next_token",
        mixer=tuple("attention" if n in places else "hyena" for n in range(config.layers)),
        position=config.position if learned or not places else "none",
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        max_length=config.max_length,
        feedforward_width=config.feedforward_width,
        feedforward_match=config.feedforward_match,
        hyena_order=config.hyena_order,
        hyena_filter_layers=config.hyena_filter_layers,
        hyena_filter_width=config.hyena_filter_width,
        hyena_features=config.hyena_features,
        hyena_short_filter=config.hyena_short_filter,
        hyena_filter_shift=config.hyena_filter_shift,
        hyena_decay=config.hyena_decay,
        hyena_fast_decay=config.hyena_fast_decay,
        hyena_slow_decay=config.hyena_slow_decay,
        gelu_approximation="tanh",
        norm_epsilon=config.norm_epsilon,
        dropout=config.dropout,
        vocab_size=config.vocab_size,
        initial_std=config.initial_std,
    )
    if same != config or config.position_scheme not in ("none", "learned"):
        return None
    if config.hyena_order > 2 and config.hyena_decay == "each":
        return None
    return {
        "d_model": config.width,
        "n_layer": config.layers,
        "d_inner": config.mlp_width,
        "vocab_size": config.vocab_size,
        "pad_vocab_size_multiple": 1,
        "resid_dropout": config.dropout,
        "embed_dropout": config.dropout,
        "layer_norm_epsilon": config.norm_epsilon,
        "residual_in_fp32": True,
        **({"attn_layer_idx": places, "attn_cfg": {"num_heads": config.heads}} if places else {}),
        **({"max_position_embeddings": config.max_length} if learned else {}),
        "layer": {
            "_name_": "hyena",
            "order": config.hyena_order,
            "emb_dim": config.hyena_features,
            "filter_order": config.hyena_filter_width,
            "num_inner_mlps": config.hyena_filter_layers - 1,
            "l_max": config.max_length,
            "modulate": config.hyena_decay != "none",
            "fast_decay_pct": config.hyena_fast_decay,
            "slow_decay_pct": config.hyena_slow_decay,
            "short_filter_order": config.hyena_short_filter,
            "shift": config.hyena_filter_shift,
            "w": 10,
            "lr_pos_emb": 0.0,
        },
    }


def entries(config: ModelConfig) -> list[Entry]:
    """List our parameters and their published names."""
    rows = [Entry("backbone.embedding.weight", (_TABLE,), ("lm_head.weight",))]
    if config.position_scheme == "learned":
        rows.append(Entry("backbone.positions.table.weight", (_POSITIONS,)))
    for layer in range(config.layers):
        rows += _layer_entries(config, layer)
    for kind in ("weight", "bias"):
        rows.append(Entry(f"backbone.final_norm.{kind}", (f"backbone.ln_f.{kind}",)))
    return rows


def constants(config: ModelConfig) -> list[Constant]:
    """List the tables that the published filters carry: times, features and decay rates."""
    rows = []
    for layer in _hyena_layers(config):
        prefix = f"backbone.layers.{layer}.mixer.filter_fn."
        rows += [
            Constant(prefix + "pos_emb.t", partial(_times, config.max_length)),
            Constant(
                prefix + "pos_emb.z", partial(_features, config.max_length, config.hyena_features)
            ),
            Constant(prefix + "modulation.deltas", partial(_rates, config)),
        ]
    return rows


def _hyena_layers(config: ModelConfig) -> list[int]:
    """List the layers that are not attention."""
    return [layer for layer, mixer in enumerate(config.mixers) if mixer == "hyena"]


def _layer_entries(config: ModelConfig, layer: int) -> list[Entry]:
    """List the parameters of one layer."""
    ours, theirs = f"backbone.blocks.{layer}.", f"backbone.layers.{layer}."
    count, network = config.hyena_filter_layers, "mixer.filter_fn.implicit_filter."
    sines = {f"mixer.filter.{layer_name(n)}": f"{network}{2 * n}" for n in range(count)}
    linear = _COMMON | (_HYENA | sines if layer in _hyena_layers(config) else _ATTENTION)
    rows = [
        Entry(f"{ours}{mine}.{kind}", (f"{theirs}{name}.{kind}",))
        for mine, name in linear.items()
        for kind in ("weight", "bias")
    ]
    if layer not in _hyena_layers(config):
        return rows
    short, filters = theirs + "mixer.short_filter.", theirs + "mixer.filter_fn."
    # One sine, shared, stands after every linear layer but the last.
    first, *others = (f"{theirs}{network}{2 * n + 1}.freq" for n in range(count))
    taps = ((config.hyena_order + 1) * config.width, 1, config.hyena_short_filter)
    channels = (config.hyena_order - 1) * config.width
    return [
        *rows,
        Entry(ours + "mixer.filter.last.weight", (f"{theirs}{network}{2 * count}.weight",)),
        Entry(
            ours + "mixer.filter.frequency",
            (first,),
            tuple(others),
            shape=(1, config.hyena_filter_width),
        ),
        Entry(ours + "mixer.short_weight", (short + "weight",), shape=taps),
        Entry(ours + "mixer.short_bias", (short + "bias",)),
        Entry(ours + "mixer.skip", (filters + "bias",), shape=(channels,)),
    ]


def _times(length: int) -> Tensor:
    """Tabulate time, 0 to 1, shape (1, length, 1)."""
    return torch.linspace(0, 1, length)[None, :, None]


def _features(length: int, features: int) -> Tensor:
    """Tabulate time, and cosine and negative sine at each frequency, (1, length, features)."""
    bands = (features - 1) // 2
    turn = 2 * math.pi * torch.arange(length, dtype=torch.float64) / length
    angle = turn[:, None] * torch.linspace(SLOWEST_BAND, bands - 1, bands, dtype=torch.float64)
    columns = (_times(length)[0].double(), angle.cos(), -angle.sin())
    return torch.cat(columns, dim=-1)[None].float()


def _rates(config: ModelConfig) -> Tensor:
    """Tabulate the exponents at which channels decay, shape (1, 1, channels of all filters)."""
    exponent, channels = math.log(DECAY_TARGET), (config.hyena_order - 1) * config.width
    slow, fast = exponent / config.hyena_slow_decay, exponent / config.hyena_fast_decay
    return torch.linspace(slow, fast, channels)[None, None]


LAYOUT = Layout(
    name="HyenaDNA",
    claims=claims,
    sign=r"\blayers\.\d+\.mixer\.",
    rename=rename,
    read_config=read_config,
    write_config=write_config,
    entries=entries,
    constants=constants,
)

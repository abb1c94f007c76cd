"""HyenaDNA's layout: the repository's own, its training checkpoints', and that of ``...-hf``.

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
from lightning_dna.models.mixers.hyena import DECAY_TARGET, FAST_DECAY, FEATURES, SLOW_DECAY

SHIFT = 0.05  # the released code's default, where config.json is silent
SINES = (1, 3, 5)  # places of the shared sine among the filter's layers
_WRAPPERS = re.compile(r"^(module\.)?(model\.|hyena\.|hyenadna\.)?(?=backbone\.|lm_head\.)")
_TABLE = "backbone.embeddings.word_embeddings.weight"
_ALLOWED: Mapping[str, tuple[Any, ...]] = {
    "layer_norm_epsilon": (1e-5,),
    "n_head": (None,),
    "attn_layer_idx": (None, []),
    "process_group": (None,),
}
_ALLOWED_IN_LAYER = {
    "_name_": ("hyena",),
    "order": (2,),
    "emb_dim": (5,),
    "modulate": (True,),
    "num_inner_mlps": (2,),
    "bidirectional": (False,),
    "normalized": (False,),
    "bias": (True,),
    "fast_decay_pct": (FAST_DECAY,),
    "slow_decay_pct": (SLOW_DECAY,),
    "target": (DECAY_TARGET,),
    "num_heads": (1,),
    "outer_mixing": (False,),
    "post_order_ffn": (False,),
}
# What the flat config.json of the ...-hf checkpoints calls the settings of a layer.
_FLAT = {
    "hyena_order": "order",
    "emb_dim": "emb_dim",
    "num_inner_mlps": "num_inner_mlps",
    "filter_order": "filter_order",
    "max_seq_len": "l_max",
    "use_bias": "bias",
}


def claims(config: Published) -> bool:
    """Whether a ``config.json`` is HyenaDNA's, nested or flat."""
    nested = isinstance(config.get("layer"), dict) and "d_model" in config
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
    if "emb_dim" not in layer or "filter_order" not in layer:
        raise ConfigError(
            f"{where}: layer.emb_dim and layer.filter_order are needed; found: "
            f"{', '.join(sorted(layer)) or 'neither'}."
        )
    refuse_others(layer, _ALLOWED_IN_LAYER, "HyenaDNA", where)
    width = integer(config, "d_model", where)
    taps = shapes.get("backbone.layers.0.mixer.short_filter.weight", (0, 0, 3))[-1]
    multiple = config.get("pad_vocab_size_multiple", config.get("pad_vocab_size_multiple_of", 1))
    return ModelConfig(
        objective="next_token",
        mixer="hyena",
        width=width,
        layers=integer(config, "n_layer", where),
        max_length=integer(layer, "l_max", where),
        feedforward_width=integer(config, "d_inner", where),
        hyena_filter_width=integer(layer, "filter_order", where),
        hyena_short_filter=taps,
        hyena_filter_shift=layer.get("shift", SHIFT),
        gelu_approximation="tanh",
        dropout=config.get("resid_dropout", config.get("hyena_dropout", 0.0)),
        vocab_size=-(-integer(config, "vocab_size", where) // multiple) * multiple,
    )


def write_config(config: ModelConfig) -> dict[str, Any] | None:
    """Turn our settings into a published configuration, or ``None`` if there is none."""
    same = ModelConfig(
        objective="next_token",
        mixer="hyena",
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        max_length=config.max_length,
        feedforward_width=config.feedforward_width,
        feedforward_match=config.feedforward_match,
        hyena_filter_width=config.hyena_filter_width,
        hyena_short_filter=3,
        hyena_filter_shift=config.hyena_filter_shift,
        gelu_approximation="tanh",
        dropout=config.dropout,
        vocab_size=config.vocab_size,
        initial_std=config.initial_std,
    )
    if same != config:
        return None
    return {
        "d_model": config.width,
        "n_layer": config.layers,
        "d_inner": config.mlp_width,
        "vocab_size": config.vocab_size,
        "pad_vocab_size_multiple": 1,
        "resid_dropout": config.dropout,
        "embed_dropout": config.dropout,
        "residual_in_fp32": True,
        "layer": {
            "_name_": "hyena",
            "emb_dim": FEATURES,
            "filter_order": config.hyena_filter_width,
            "l_max": config.max_length,
            "modulate": True,
            "short_filter_order": 3,
            "shift": config.hyena_filter_shift,
            "w": 10,
            "lr_pos_emb": 0.0,
        },
    }


def entries(config: ModelConfig) -> list[Entry]:
    """List our parameters and their published names."""
    rows = [Entry("backbone.embedding.weight", (_TABLE,), ("lm_head.weight",))]
    for layer in range(config.layers):
        rows += _layer_entries(config, f"backbone.blocks.{layer}.", f"backbone.layers.{layer}.")
    for kind in ("weight", "bias"):
        rows.append(Entry(f"backbone.final_norm.{kind}", (f"backbone.ln_f.{kind}",)))
    return rows


def constants(config: ModelConfig) -> list[Constant]:
    """List the tables that the published filters carry: times, features and decay rates."""
    rows = []
    for layer in range(config.layers):
        prefix = f"backbone.layers.{layer}.mixer.filter_fn."
        rows += [
            Constant(prefix + "pos_emb.t", partial(_times, config.max_length)),
            Constant(prefix + "pos_emb.z", partial(_features, config.max_length)),
            Constant(prefix + "modulation.deltas", partial(_rates, config.width)),
        ]
    return rows


def _layer_entries(config: ModelConfig, ours: str, theirs: str) -> list[Entry]:
    """List the parameters of one layer."""
    linear = {
        "mixer_norm": "norm1",
        "feedforward_norm": "norm2",
        "feedforward.expand": "mlp.fc1",
        "feedforward.contract": "mlp.fc2",
        "mixer.input": "mixer.in_proj",
        "mixer.output": "mixer.out_proj",
        "mixer.filter.first": "mixer.filter_fn.implicit_filter.0",
        "mixer.filter.second": "mixer.filter_fn.implicit_filter.2",
        "mixer.filter.third": "mixer.filter_fn.implicit_filter.4",
    }
    rows = [
        Entry(f"{ours}{mine}.{kind}", (f"{theirs}{name}.{kind}",))
        for mine, name in linear.items()
        for kind in ("weight", "bias")
    ]
    channels, width = 3 * config.width, config.width
    short, filters = theirs + "mixer.short_filter.", theirs + "mixer.filter_fn."
    first, *others = (f"{filters}implicit_filter.{place}.freq" for place in SINES)
    taps = (channels, 1, config.hyena_short_filter)
    return [
        *rows,
        Entry(ours + "mixer.filter.last.weight", (filters + "implicit_filter.6.weight",)),
        Entry(
            ours + "mixer.filter.frequency",
            (first,),
            tuple(others),
            shape=(1, config.hyena_filter_width),
        ),
        Entry(ours + "mixer.short_weight", (short + "weight",), shape=taps),
        Entry(ours + "mixer.short_bias", (short + "bias",)),
        Entry(ours + "mixer.skip", (filters + "bias",), shape=(width,)),
    ]


def _times(length: int) -> Tensor:
    """Tabulate time, 0 to 1, shape (1, length, 1)."""
    return torch.linspace(0, 1, length)[None, :, None]


def _features(length: int) -> Tensor:
    """Tabulate time, and cosine and negative sine at two frequencies, shape (1, length, 5)."""
    turn = 2 * math.pi * torch.arange(length, dtype=torch.float64) / length
    angle = turn[:, None] * torch.tensor([1e-4, 1.0], dtype=torch.float64)
    columns = (_times(length)[0].double(), angle.cos(), -angle.sin())
    return torch.cat(columns, dim=-1)[None].float()


def _rates(width: int) -> Tensor:
    """Tabulate the exponents at which channels decay, shape (1, 1, width)."""
    exponent = math.log(DECAY_TARGET)
    return torch.linspace(exponent / SLOW_DECAY, exponent / FAST_DECAY, width)[None, None]


LAYOUT = Layout(
    name="HyenaDNA",
    claims=claims,
    sign=r"\.filter_fn\.implicit_filter\.",
    rename=rename,
    read_config=read_config,
    write_config=write_config,
    entries=entries,
    constants=constants,
)

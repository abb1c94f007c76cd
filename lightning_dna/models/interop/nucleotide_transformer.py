"""Nucleotide Transformer v2's layout: an ESM with rotary positions and SwiGLU.

References:
    Dalla-Torre et al., Nucleotide Transformer, Nature Methods 2024;
    https://huggingface.co/InstaDeepAI/nucleotide-transformer-v2-500m-multi-species.
"""

import re
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

ROPE_BASE = 10_000.0
_TABLE = "esm.embeddings.word_embeddings.weight"
_DECODER = "lm_head.decoder.weight"
_ALLOWED = {
    "token_dropout": (False,),
    "emb_layer_norm_before": (False, None),
    "is_folding_model": (False,),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
}


def claims(config: Published) -> bool:
    """Whether a ``config.json`` is of an ESM, of which this is one."""
    return config.get("model_type") == "esm"


def rename(name: str) -> str:
    """Strip what wrappers put before a name."""
    return re.sub(r"^(module\.)?(model\.)?(?=esm\.|lm_head\.)", "", name)


def read_config(config: Published, shapes: Shapes, where: str) -> ModelConfig:
    """Turn a published configuration into ours."""
    refuse_others(config, _ALLOWED, "Nucleotide Transformer v2", where)
    position = config.get("position_embedding_type", "absolute")
    if position != "rotary":
        raise ConfigError(
            f"{where}: position_embedding_type is '{position}', as in version 1 and in other ESMs; "
            "of Nucleotide Transformer checkpoints, those of version 2 ('rotary') can be loaded."
        )
    tied = config.get("tie_word_embeddings", True)
    return ModelConfig(
        mixer="attention",
        position="rope",
        rope_base=ROPE_BASE,
        norm_epsilon=config.get("layer_norm_eps", 1e-12),
        feedforward="swiglu",
        feedforward_match="width",
        feedforward_width=integer(config, "intermediate_size", where),
        gated_bias="both" if config.get("add_bias_fnn", True) else "none",
        head="transform" if tied else "transform_untied",
        width=integer(config, "hidden_size", where),
        layers=integer(config, "num_hidden_layers", where),
        heads=integer(config, "num_attention_heads", where),
        max_length=config.get("max_position_embeddings", 1026),
        vocab_size=integer(config, "vocab_size", where),
        dropout=config.get("hidden_dropout_prob", 0.1),
    )


def write_config(config: ModelConfig) -> dict[str, Any] | None:
    """Turn our settings into a published configuration, or ``None`` if there is none."""
    if config.head == "tied" or config.gated_bias == "output":
        return None
    same = ModelConfig(
        mixer="attention",
        position="rope",
        rope_base=ROPE_BASE,
        norm_epsilon=config.norm_epsilon,
        feedforward="swiglu",
        feedforward_match="width",
        feedforward_width=config.feedforward_width,
        gated_bias=config.gated_bias,
        head=config.head,
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        max_length=config.max_length,
        vocab_size=config.vocab_size,
        dropout=config.dropout,
        initial_std=config.initial_std,
    )
    if same != config:
        return None
    return {
        "add_bias_fnn": config.gated_bias == "both",
        "architectures": ["EsmForMaskedLM"],
        "attention_probs_dropout_prob": 0.0,
        "emb_layer_norm_before": False,
        "hidden_dropout_prob": config.dropout,
        "hidden_size": config.width,
        "initializer_range": config.initial_std,
        "intermediate_size": config.mlp_width,
        "layer_norm_eps": config.norm_epsilon,
        "mask_token_id": 2,
        "max_position_embeddings": config.max_length,
        "model_type": "esm",
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "pad_token_id": 1,
        "position_embedding_type": "rotary",
        "tie_word_embeddings": config.head == "transform",
        "token_dropout": False,
        "vocab_size": config.vocab_size,
    }


def entries(config: ModelConfig) -> list[Entry]:
    """List our parameters and their published names."""
    tied = config.head == "transform"
    rows = [
        Entry("backbone.embedding.weight", (_TABLE,), (_DECODER,) if tied else ()),
        Entry("head.bias", ("lm_head.bias",), ("lm_head.decoder.bias",)),
    ]
    if not tied:
        rows.append(Entry("head.table.weight", (_DECODER,)))
    pairs: dict[str, tuple[str, ...]] = {
        "backbone.final_norm": ("esm.encoder.emb_layer_norm_after",),
        "head.dense": ("lm_head.dense",),
        "head.norm": ("lm_head.layer_norm",),
    }
    for layer in range(config.layers):
        ours, theirs = f"backbone.blocks.{layer}.", f"esm.encoder.layer.{layer}."
        attended = tuple(f"{theirs}attention.self.{part}" for part in ("query", "key", "value"))
        pairs |= {
            ours + "mixer_norm": (theirs + "attention.LayerNorm",),
            ours + "mixer.query_key_value": attended,
            ours + "mixer.output": (theirs + "attention.output.dense",),
            ours + "feedforward_norm": (theirs + "LayerNorm",),
            ours + "feedforward.gate_and_value": (theirs + "intermediate.dense",),
            ours + "feedforward.contract": (theirs + "output.dense",),
        }
    for mine, names in pairs.items():
        bare = ".feedforward." in mine and config.gated_bias == "none"
        for kind in ("weight",) if bare else ("weight", "bias"):
            rows.append(Entry(f"{mine}.{kind}", tuple(f"{name}.{kind}" for name in names)))
    return rows


def constants(config: ModelConfig) -> list[Constant]:
    """List what a file may hold besides.

    Those are RoPE's frequencies, which follow from a formula (newer releases of transformers have
    them once instead of in every layer); and a table of positions and a head
    for contacts, which the published code makes and does not use.
    """
    frequencies = partial(_frequencies, config.head_width)
    rows = [
        Constant("esm.rotary_embeddings.inv_freq", frequencies, written=False),
        Constant("esm.embeddings.position_embeddings.weight"),
        Constant("esm.embeddings.position_ids"),
        Constant("esm.contact_head.regression.weight"),
        Constant("esm.contact_head.regression.bias"),
    ]
    for layer in range(config.layers):
        name = f"esm.encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq"
        rows.append(Constant(name, frequencies))
    return rows


def _frequencies(head_width: int) -> Tensor:
    """Tabulate RoPE's frequencies, shape (head_width / 2,)."""
    pairs = head_width // 2
    return ROPE_BASE ** (-torch.arange(pairs, dtype=torch.float32) / pairs)


LAYOUT = Layout(
    name="Nucleotide Transformer v2",
    claims=claims,
    sign=r"\.attention\.self\.query\.",
    rename=rename,
    read_config=read_config,
    write_config=write_config,
    entries=entries,
    constants=constants,
)

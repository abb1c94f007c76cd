"""DNABERT-2's layout: a MosaicBERT with ALiBi, GEGLU and a norm after every branch.

References:
    Zhou et al., DNABERT-2, ICLR 2024; https://huggingface.co/zhihan1996/DNABERT-2-117M.
"""

import re
from typing import Any

from torch import nn

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
from lightning_dna.models.language_model import LanguageModel

_TABLE = "bert.embeddings.word_embeddings.weight"
_DECODER = "cls.predictions.decoder."
_ALLOWED = {"hidden_act": ("gelu",)}  # the head's; the table is tied, whatever config.json says
_HEAD_EPSILON = 1e-12  # fixed in the published code; layer_norm_eps is of all the other norms
_EIGHT = 8  # the published code rounds vocabularies up to this, whatever config.json says


def claims(config: Published) -> bool:
    """Whether a ``config.json`` is of a BERT, of which this is one."""
    return config.get("model_type") == "bert"


def rename(name: str) -> str:
    """Strip what wrappers put before a name, and an old spelling of norms."""
    plain = re.sub(r"^(module\.)?(model\.)?(?=bert\.|cls\.)", "", name)
    return plain.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )


def read_config(config: Published, shapes: Shapes, where: str) -> ModelConfig:
    """Turn a published configuration into ours.

    The published code drops out inside the gated feed-forward, ours after it; in evaluation there
    is no difference.
    """
    refuse_others(config, _ALLOWED, "DNABERT-2", where)
    vocabulary = integer(config, "vocab_size", where)
    rounded = -(-vocabulary // _EIGHT) * _EIGHT
    rows = shapes.get(_TABLE, (vocabulary,))[0]
    return ModelConfig(
        mixer="attention",
        position="alibi",
        norm_placement="post",
        norm_epsilon=config.get("layer_norm_eps", 1e-12),
        feedforward="geglu",
        feedforward_match="width",
        feedforward_width=integer(config, "intermediate_size", where),
        gated_bias="output",
        head="transform",
        token_types=integer(config, "type_vocab_size", where),
        width=integer(config, "hidden_size", where),
        layers=integer(config, "num_hidden_layers", where),
        heads=integer(config, "num_attention_heads", where),
        max_length=config.get("max_position_embeddings", 512),
        vocab_size=rounded if rows == rounded else vocabulary,
        dropout=config.get("hidden_dropout_prob", 0.1),
    )


def write_config(config: ModelConfig) -> dict[str, Any] | None:
    """Turn our settings into a published configuration, or ``None`` if there is none."""
    same = ModelConfig(
        mixer="attention",
        position="alibi",
        norm_placement="post",
        norm_epsilon=config.norm_epsilon,
        feedforward="geglu",
        feedforward_match="width",
        feedforward_width=config.feedforward_width,
        gated_bias="output",
        head="transform",
        token_types=max(1, config.token_types),
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
        "alibi_starting_size": config.max_length,
        "architectures": ["BertForMaskedLM"],
        "attention_probs_dropout_prob": 0.0,
        "hidden_act": "gelu",
        "hidden_dropout_prob": config.dropout,
        "hidden_size": config.width,
        "initializer_range": config.initial_std,
        "intermediate_size": config.mlp_width,
        "layer_norm_eps": config.norm_epsilon,
        "max_position_embeddings": config.max_length,
        "model_type": "bert",
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "type_vocab_size": config.token_types,
        "vocab_size": config.vocab_size,
    }


def entries(config: ModelConfig) -> list[Entry]:
    """List our parameters and their published names."""
    rows = [
        Entry("backbone.embedding.weight", (_TABLE,), (_DECODER + "weight",)),
        Entry("backbone.token_types.weight", ("bert.embeddings.token_type_embeddings.weight",)),
        Entry("head.bias", (_DECODER + "bias",), ("cls.predictions.bias",)),
    ]
    pairs = {
        "backbone.embedding_norm": "bert.embeddings.LayerNorm",
        "head.dense": "cls.predictions.transform.dense",
        "head.norm": "cls.predictions.transform.LayerNorm",
    }
    for layer in range(config.layers):
        ours, theirs = f"backbone.blocks.{layer}.", f"bert.encoder.layer.{layer}."
        gated = "mlp.gated_layers.weight"
        rows.append(Entry(f"{ours}feedforward.gate_and_value.weight", (theirs + gated,)))
        pairs |= {
            ours + "mixer.query_key_value": theirs + "attention.self.Wqkv",
            ours + "mixer.output": theirs + "attention.output.dense",
            ours + "mixer_norm": theirs + "attention.output.LayerNorm",
            ours + "feedforward.contract": theirs + "mlp.wo",
            ours + "feedforward_norm": theirs + "mlp.layernorm",
        }
    for mine, name in pairs.items():
        rows += [Entry(f"{mine}.{kind}", (f"{name}.{kind}",)) for kind in ("weight", "bias")]
    return rows


def constants(config: ModelConfig) -> list[Constant]:
    """List what a file may hold besides: numbers of positions, and a pooler that no logit uses."""
    return [
        Constant("bert.embeddings.position_ids"),
        Constant("bert.pooler.dense.weight"),
        Constant("bert.pooler.dense.bias"),
    ]


def finish(model: LanguageModel) -> None:
    """Give the head's norm the epsilon that the published code has written into it."""
    if model.head is not None and isinstance(model.head.norm, nn.LayerNorm):
        model.head.norm.eps = _HEAD_EPSILON


LAYOUT = Layout(
    name="DNABERT-2",
    claims=claims,
    sign=r"\.attention\.self\.Wqkv\.",
    rename=rename,
    read_config=read_config,
    write_config=write_config,
    entries=entries,
    constants=constants,
    finish=finish,
)

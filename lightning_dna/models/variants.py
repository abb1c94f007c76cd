"""The table of named models: one row each, the settings in which it differs from the defaults.

Rows called after an axis are arms for ablations at any size; ``hyenadna-...``, ``attndna...``,
``dnabert2``, ``nt-v2-...`` and ``gpn...`` have the shape of a published model (the weights of the
first four come through ``load_pretrained``); ``...-like`` rows differ from one as they say. Initial
weights follow the rules of this package. No torch here: the command line lists this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning_dna.errors import unknown_name
from lightning_dna.models.config import ModelConfig


@dataclass(frozen=True)
class Variant:
    """One row.

    Attributes:
        description: What it is, in one line.
        changes: Fields of :class:`ModelConfig` and their values; all others keep their defaults.
    """

    description: str
    changes: Mapping[str, Any]


def _hyenadna(layers: int, width: int, max_length: int) -> Variant:
    """Return the shape of a released HyenaDNA checkpoint: its trunk, filters and tied head."""
    return Variant(
        f"HyenaDNA as released for {max_length - 2:,} bases: {layers} layers, {width} channels",
        {
            "objective": "next_token",
            "mixer": "hyena",
            "layers": layers,
            "width": width,
            "max_length": max_length,
            "hyena_filter_shift": 0.05,
            "gelu_approximation": "tanh",
        },
    )


def _attndna(layers: int, width: int) -> Variant:
    """Return HyenaDNA's trunk with causal attention in place of the Hyena operator."""
    return Variant(
        f"AttnDNA, HyenaDNA's attention baseline: {layers} layers, {width} channels, 8 heads, no "
        "position but the causal mask",
        {
            "objective": "next_token",
            "mixer": "attention",
            "position": "none",
            "layers": layers,
            "width": width,
            "heads": 8,
            "max_length": 1_026,
            "gelu_approximation": "tanh",
        },
    )


def _mosaic(description: str, **changes: Any) -> Variant:
    """Return a BERT as DNABERT-2 is one: ALiBi, gated feed-forward, norms after each branch."""
    common = {
        "mixer": "attention",
        "position": "alibi",
        "norm_placement": "post",
        "norm_epsilon": 1e-12,
        "feedforward_match": "width",
        "gated_bias": "output",
        "token_types": 2,
        "head": "transform",
        "layers": 12,
        "width": 768,
        "heads": 12,
        "vocab_size": 4_096,
    }
    return Variant(description, common | changes)


def _nucleotide_transformer(layers: int, width: int) -> Variant:
    """Return the shape of a released Nucleotide Transformer v2, over its 6-mer vocabulary."""
    return Variant(
        f"Nucleotide Transformer v2: {layers} layers, {width} channels, RoPE, SwiGLU",
        {
            "mixer": "attention",
            "position": "rope",
            "norm_epsilon": 1e-12,
            "feedforward": "swiglu",
            "feedforward_match": "width",
            "head": "transform_untied",
            "layers": layers,
            "width": width,
            "heads": 16,
            "max_length": 2_050,
            "vocab_size": 4_107,
        },
    )


def _caduceus(description: str, strand: str) -> Variant:
    """Return the Caduceus that was pretrained for GenomicBenchmarks: Mamba both ways, no MLP."""
    return Variant(
        description,
        {
            "mixer": "mamba",
            "feedforward": "none",
            "norm": "rmsnorm",
            "strand": strand,
            "layers": 4,
            "width": 118,
        },
    )


def _gpn(description: str, **changes: Any) -> Variant:
    """Return a GPN: dilated convolutions with GELU, over one-hot tokens.

    Its own vocabulary has 7 tokens; the row has 16, those of the character tokenizer.
    """
    common = {
        "mixer": "dilated",
        "embedding": "one_hot",
        "head": "transform_untied",
        "layers": 25,
        "width": 512,
        "max_length": 512,
    }
    return Variant(description, common | changes)


VARIANTS: Mapping[str, Variant] = {
    "attention_alibi": Variant(
        "two-sided attention, symmetric ALiBi: cannot tell a sequence from its reversal",
        {"mixer": "attention", "position": "alibi"},
    ),
    "attention_rope": Variant(
        "two-sided attention, rotary positions", {"mixer": "attention", "position": "rope"}
    ),
    "attention_alibi_asymmetric": Variant(
        "two-sided attention, ALiBi with other slopes to the left than to the right in half the "
        "heads: knows the direction",
        {"mixer": "attention", "position": "alibi_asymmetric"},
    ),
    "attention_sinusoidal": Variant(
        "two-sided attention, sines and cosines of the position added to the tokens",
        {"mixer": "attention", "position": "sinusoidal"},
    ),
    "attention_rope_linear": Variant(
        "two-sided attention, rotary positions pressed together four times",
        {
            "mixer": "attention",
            "position": "rope",
            "rope_scaling": "linear",
            "rope_factor": 4.0,
        },
    ),
    "attention_rope_ntk": Variant(
        "two-sided attention, rotary positions whose slowest pair is four times slower",
        {"mixer": "attention", "position": "rope", "rope_scaling": "ntk", "rope_factor": 4.0},
    ),
    "attention_learned": Variant(
        "two-sided attention, learned positions", {"mixer": "attention", "position": "learned"}
    ),
    "attention_none": Variant(
        "two-sided attention without positions: a bag of bases",
        {"mixer": "attention", "position": "none"},
    ),
    "attention_local": Variant(
        "two-sided attention that reaches 32 bases each way per layer",
        {"mixer": "attention", "position": "alibi", "attention_reach": 32},
    ),
    "attention_alibi_geglu": Variant(
        "ALiBi attention, GEGLU at the MLP's parameter count",
        {"mixer": "attention", "position": "alibi", "feedforward": "geglu"},
    ),
    "attention_alibi_swiglu": Variant(
        "ALiBi attention, SwiGLU at the MLP's parameter count",
        {"mixer": "attention", "position": "alibi", "feedforward": "swiglu"},
    ),
    "attention_rope_geglu": Variant(
        "RoPE attention, GEGLU at the MLP's parameter count",
        {"mixer": "attention", "position": "rope", "feedforward": "geglu"},
    ),
    "attention_rope_swiglu": Variant(
        "RoPE attention, SwiGLU at the MLP's parameter count",
        {"mixer": "attention", "position": "rope", "feedforward": "swiglu"},
    ),
    "attention_alibi_rmsnorm": Variant(
        "ALiBi attention, RMSNorm",
        {"mixer": "attention", "position": "alibi", "norm": "rmsnorm"},
    ),
    "attention_alibi_post": Variant(
        "ALiBi attention, norms after each branch as in BERT",
        {"mixer": "attention", "position": "alibi", "norm_placement": "post"},
    ),
    "hyena": Variant("two-sided Hyena: one filter per direction", {"mixer": "hyena"}),
    "hyena_geglu": Variant(
        "two-sided Hyena, GEGLU at the MLP's parameter count",
        {"mixer": "hyena", "feedforward": "geglu"},
    ),
    "hyena_swiglu": Variant(
        "two-sided Hyena, SwiGLU at the MLP's parameter count",
        {"mixer": "hyena", "feedforward": "swiglu"},
    ),
    "attention_alibi_next_token": Variant(
        "causal attention, ALiBi",
        {"objective": "next_token", "mixer": "attention", "position": "alibi"},
    ),
    "attention_rope_next_token": Variant(
        "causal attention, rotary positions",
        {"objective": "next_token", "mixer": "attention", "position": "rope"},
    ),
    "hyena_next_token": Variant("causal Hyena", {"objective": "next_token", "mixer": "hyena"}),
    "hyena_order_3": Variant(
        "two-sided Hyena with three gates and two long convolutions",
        {"mixer": "hyena", "hyena_order": 3},
    ),
    "convolution": Variant("plain CNN tower, five taps a layer", {"mixer": "convolution"}),
    "convolution_next_token": Variant(
        "causal CNN tower", {"objective": "next_token", "mixer": "convolution"}
    ),
    "dilated": Variant(
        "gated dilated convolutions, taps twice as far apart in every layer", {"mixer": "dilated"}
    ),
    "dilated_next_token": Variant(
        "causal gated dilated convolutions", {"objective": "next_token", "mixer": "dilated"}
    ),
    "mamba": Variant("two-sided Mamba: a scan each way, one projection", {"mixer": "mamba"}),
    "mamba_next_token": Variant("causal Mamba", {"objective": "next_token", "mixer": "mamba"}),
    "hybrid_hyena_attention": Variant(
        "Hyena and RoPE attention by turns",
        {"mixer": ("hyena", "attention"), "position": "rope"},
    ),
    "hybrid_hyena_attention_next_token": Variant(
        "causal Hyena and RoPE attention by turns",
        {"objective": "next_token", "mixer": ("hyena", "attention"), "position": "rope"},
    ),
    "hybrid_dilated_attention": Variant(
        "gated dilated convolutions and ALiBi attention by turns",
        {"mixer": ("dilated", "attention"), "position": "alibi"},
    ),
    "attention_rope_averaged": Variant(
        "RoPE attention; predictions averaged over both strands",
        {"mixer": "attention", "position": "rope", "strand": "averaged"},
    ),
    "attention_rope_equivariant": Variant(
        "RoPE attention on both strands, weights shared, in training too",
        {"mixer": "attention", "position": "rope", "strand": "equivariant"},
    ),
    "hyena_averaged": Variant(
        "two-sided Hyena; predictions averaged over both strands",
        {"mixer": "hyena", "strand": "averaged"},
    ),
    "hyena_equivariant": Variant(
        "two-sided Hyena on both strands, weights shared, in training too",
        {"mixer": "hyena", "strand": "equivariant"},
    ),
    "hyenadna-tiny-1k": _hyenadna(2, 128, 1_026),
    "hyenadna-tiny-1k-d256": _hyenadna(2, 256, 1_026),
    "hyenadna-tiny-16k": _hyenadna(2, 128, 16_386),
    "hyenadna-small-32k": _hyenadna(4, 256, 32_770),
    "hyenadna-medium-160k": _hyenadna(8, 256, 160_002),
    "hyenadna-medium-450k": _hyenadna(8, 256, 450_002),
    "hyenadna-large-1m": _hyenadna(8, 256, 1_000_002),
    "attndna": _attndna(2, 128),
    "attndna-deep": _attndna(8, 256),
    "dnabert2": _mosaic("DNABERT-2 as released", feedforward="geglu", max_length=512),
    "dnagrinder-like": _mosaic(
        "dnaGrinder, whose shape is inferred: neither code nor weights were released",
        feedforward="swiglu",
        feedforward_width=1_152,
        max_length=2_314,
    ),
    "gpn": _gpn(
        "GPN as its code builds it by default: 25 blocks of dilated convolution and MLP, no biases",
        dilated_form="projected",
        biases=False,
        convolution_taps=5,
        convolution_first_taps=9,
        convolution_cycle=8,
        feedforward_width=2_048,
    ),
    "gpn-brassicales": _gpn(
        "GPN as released for Brassicales: norms on what each branch adds, no inner widths",
        dilated_form="plain",
        norm_placement="branch",
        convolution_taps=9,
        convolution_cycle=6,
        feedforward="linear",
    ),
    "caduceus-ph-like": _caduceus(
        "Caduceus-Ph's trunk, two-sided Mamba without MLP, in plain torch; both strands averaged "
        "in evaluation (set data.reverse_complement for its augmentation)",
        "averaged",
    ),
    "caduceus-ps-like": _caduceus(
        "Caduceus-PS's trunk in plain torch; equivariance by averaging both strands, not by "
        "channels of their own",
        "equivariant",
    ),
    "convnova-like": Variant(
        "ConvNova's size and gates, not its second branch: gate and value read one stream here "
        "(the supervised baseline convnova_like has the branch)",
        {
            "mixer": "dilated",
            "convolution_taps": 9,
            "convolution_cycle": 5,
            "feedforward": "linear",
            "head": "transform_untied",
            "layers": 5,
            "width": 128,
        },
    ),
    "enformer-like": Variant(
        "Enformer's order, convolutions and then attention, at one vector per base: no pooling, no "
        "batch norm, RoPE (the supervised baseline enformer_like pools)",
        {
            "mixer": ("convolution", "convolution", "attention", "attention", "attention"),
            "position": "rope",
            "convolution_first_taps": 15,
            "feedforward_width": 512,
            "layers": 5,
            "width": 256,
            "heads": 8,
        },
    ),
    "nt-v2-50m": _nucleotide_transformer(12, 512),
    "nt-v2-100m": _nucleotide_transformer(22, 512),
    "nt-v2-250m": _nucleotide_transformer(24, 768),
    "nt-v2-500m": _nucleotide_transformer(29, 1_024),
}


def variant_config(name: str, **changes: Any) -> ModelConfig:
    """Return the settings of a named variant, with further changes on top.

    Args:
        name: A row of :data:`VARIANTS`.
        **changes: Fields of :class:`ModelConfig` that replace the row's, for example its size.

    Returns:
        The settings.

    Raises:
        ConfigError: The name is in no row, or the changed settings are inconsistent.

    Example:
        >>> variant_config("hyenadna-tiny-1k").layers
        2
        >>> variant_config("attention_rope", width=64, layers=2).position
        'rope'
    """
    if name not in VARIANTS:
        raise unknown_name("variant", name, VARIANTS)
    return ModelConfig(**{**VARIANTS[name].changes, **changes})

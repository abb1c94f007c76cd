"""The table of named models: one row each, the settings in which it differs from the defaults.

Rows called after an axis are arms for ablations at any size; rows called ``hyenadna-...`` have the
shape of a released checkpoint. No torch here: the command line lists this table.
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


VARIANTS: Mapping[str, Variant] = {
    "attention_alibi": Variant(
        "two-sided attention, symmetric ALiBi: cannot tell a sequence from its reversal",
        {"mixer": "attention", "position": "alibi"},
    ),
    "attention_rope": Variant(
        "two-sided attention, rotary positions", {"mixer": "attention", "position": "rope"}
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
    "hyenadna-tiny-1k": _hyenadna(2, 128, 1_026),
    "hyenadna-tiny-1k-d256": _hyenadna(2, 256, 1_026),
    "hyenadna-tiny-16k": _hyenadna(2, 128, 16_386),
    "hyenadna-small-32k": _hyenadna(4, 256, 32_770),
    "hyenadna-medium-160k": _hyenadna(8, 256, 160_002),
    "hyenadna-medium-450k": _hyenadna(8, 256, 450_002),
    "hyenadna-large-1m": _hyenadna(8, 256, 1_000_002),
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

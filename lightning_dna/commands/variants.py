"""What ``lightning-dna list variants`` and ``lightning-dna show NAME`` say about named models."""

from typing import Any

import yaml

from lightning_dna.errors import unknown_name
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.variants import VARIANTS, variant_config

_NAME_WIDTH = 36


def listing() -> str:
    """Return every named model with its description, one to a line. No torch.

    Example:
        >>> print(listing().splitlines()[0])
        variants:
    """
    rows = (f"  {name:<{_NAME_WIDTH}} {row.description}" for name, row in VARIANTS.items())
    trained = "networks trained on a task alone are baselines of its card: gb_cnn, gb_cnn_fixed,"
    return "\n".join(("variants:", *rows, "", trained, "convnova_like, enformer_like, onehot_cnn"))


def describe(name: str) -> str:
    """Return one named model as YAML: what it sets, and its parameters, counted and not built.

    Args:
        name: A row of the variant table.

    Raises:
        ConfigError: The name is in no row.

    Example:
        >>> print(describe("hyenadna-tiny-1k").splitlines()[0])
        name: hyenadna-tiny-1k
    """
    if name not in VARIANTS:
        raise unknown_name("variant", name, VARIANTS)
    from lightning_dna.models.cost import parameter_counts

    config = variant_config(name)
    counts = parameter_counts(config)
    changes = {
        field: list(value) if isinstance(value, tuple) else value
        for field, value in VARIANTS[name].changes.items()
    }
    content: dict[str, Any] = {
        "name": name,
        "description": VARIANTS[name].description,
        "model": changes,
        "size": {"layers": config.layers, "width": config.width, "max_length": config.max_length},
        "parameters": {
            "total": counts.total,
            "embedding": counts.embedding,
            "mixer": counts.mixer,
            "feedforward": counts.feedforward,
            "norm": counts.norm,
            "head": counts.head,
        },
        "feedforward_of_a_block": _feedforward(config, counts.feedforward),
    }
    return yaml.safe_dump(content, sort_keys=False, width=100)


def _feedforward(config: ModelConfig, total: int) -> dict[str, Any]:
    """Return the size of a block's feed-forward, and of the MLP that it is measured against."""
    size = {
        "kind": config.feedforward,
        "inner_width": config.inner_width,
        "parameters": total // config.layers,
    }
    if config.feedforward in ("mlp", "linear"):
        return size
    width, inner = config.width, config.mlp_width
    return size | {
        "matched_in": config.feedforward_match,
        "mlp_inner_width": inner,
        "mlp_parameters": 2 * width * inner + inner + width,
    }

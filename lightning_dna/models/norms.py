"""Normalisation layers by name."""

from torch import nn

from lightning_dna.models.config import ModelConfig

NORMS: dict[str, type[nn.LayerNorm] | type[nn.RMSNorm]] = {
    "layernorm": nn.LayerNorm,
    "rmsnorm": nn.RMSNorm,
}


def make_norm(config: ModelConfig) -> nn.Module:
    """Return a normalisation over channels: trained scale, and trained shift for LayerNorm."""
    return NORMS[config.norm](config.width, eps=config.norm_epsilon)

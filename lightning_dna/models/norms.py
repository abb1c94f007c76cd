"""Normalisation layers by name."""

from torch import nn

from lightning_dna.models.config import ModelConfig


def make_norm(config: ModelConfig) -> nn.Module:
    """Return a normalisation over channels: trained scale, and trained shift for LayerNorm.

    The shift is left out where the config's ``biases`` are.
    """
    if config.norm == "rmsnorm":
        return nn.RMSNorm(config.width, eps=config.norm_epsilon)
    return nn.LayerNorm(config.width, eps=config.norm_epsilon, bias=config.biases)

"""AdamW with sensible parameter groups, and linear warm-up followed by cosine decay."""

import math
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from lightning_dna.training.config import OptimizerConfig


def parameter_groups(
    model: nn.Module, spared: frozenset[str], weight_decay: float
) -> list[dict[str, Any]]:
    """Split parameters into those with and those without weight decay.

    Args:
        model: The module to train.
        spared: Names of parameters without weight decay (norms, biases, embeddings, Hyena filters).
        weight_decay: Decay of all others.
    """
    decayed = [p for name, p in model.named_parameters() if name not in spared]
    free = [p for name, p in model.named_parameters() if name in spared]
    groups = ((decayed, weight_decay), (free, 0.0))
    return [{"params": list(p), "weight_decay": decay} for p, decay in groups if p]


def rate_at(step: int, total_steps: int, warmup_fraction: float, final_fraction: float) -> float:
    """Return the learning rate of a step as a share of its peak.

    Linear from 0 (excluded) to 1 over the warm-up steps, then half a cosine down to
    ``final_fraction`` at the last step.

    Example:
        >>> [round(rate_at(s, 10, 0.2, 0.1), 3) for s in (0, 1, 2, 9)]
        [0.5, 1.0, 1.0, 0.1]
    """
    warmup = round(warmup_fraction * total_steps)
    if step < warmup:
        return (step + 1) / warmup
    left = max(1, total_steps - 1 - warmup)
    progress = min(1.0, (step - warmup) / left)
    return final_fraction + (1 - final_fraction) * 0.5 * (1 + math.cos(math.pi * progress))


def adamw(
    model: nn.Module, spared: frozenset[str], config: OptimizerConfig, total_steps: int
) -> tuple[AdamW, LambdaLR]:
    """Build optimizer and schedule.

    Args:
        model: The module to train.
        spared: Names of parameters without weight decay.
        config: Settings.
        total_steps: Steps of the whole training.
    """
    kinds = {parameter.device.type for parameter in model.parameters()}
    optimizer = AdamW(
        parameter_groups(model, spared, config.weight_decay),
        lr=config.lr,
        betas=config.betas,
        eps=config.epsilon,
        fused=kinds <= {"cpu", "cuda"},  # one kernel for all parameters; not on every device
    )
    schedule = LambdaLR(
        optimizer,
        lambda step: rate_at(step, total_steps, config.warmup_fraction, config.final_lr_fraction),
    )
    return optimizer, schedule


def seed_of_step(seed: int, step: int) -> int:
    """Mix a seed and a step into one 63-bit seed, so that dropout repeats after a resume.

    Example:
        >>> seed_of_step(0, 1) != seed_of_step(1, 0)
        True
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    return int(torch.randint(2**62, (1,), generator=generator).item())

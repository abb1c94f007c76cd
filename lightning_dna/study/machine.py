"""What kind of device this machine gives a training, and what a step of one needs there."""

import torch

from lightning_dna.models.memory import Precision, TrainingMemory, training_memory
from lightning_dna.study.recipe import ArmSettings
from lightning_dna.training.config import TrainerConfig


def where_it_runs(trainer: TrainerConfig) -> tuple[str, Precision]:
    """Return the kind of device a training takes here, and its precision.

    A device whose kernels cannot be asked for their memory counts as the CPU.
    """
    gpu = trainer.accelerator in ("auto", "cuda") and torch.cuda.is_available()
    half = trainer.precision == "bf16" or (
        trainer.precision == "auto" and gpu and torch.cuda.is_bf16_supported()
    )
    return "cuda" if gpu else "cpu", "bf16" if half else "32"


def tokens_of(length: int, rate: float) -> int:
    """Return the tokens of a window of some bases, at so many tokens per base."""
    return max(1, round(length * rate))


def step_memory(
    settings: ArmSettings, *, precision: Precision, rate: float = 1.0, device: str = "cpu"
) -> TrainingMemory:
    """Return the memory of a whole training step of an arm.

    Args:
        settings: The arm.
        precision: That of its training.
        rate: Its tokens per base.
        device: Where it is measured, as torch names it.
    """
    length = min(settings.data.length, settings.model.max_length)  # a checkpoint may take less
    return training_memory(
        settings.model,
        rows=max(1, settings.budget.tokens_per_step // length),
        length=tokens_of(length, rate),
        precision=precision,
        checkpointing=settings.trainer.activation_checkpointing,
        device=device,
    )

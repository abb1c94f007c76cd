"""What kind of device this machine gives a training."""

import torch

from lightning_dna.models.memory import Precision
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

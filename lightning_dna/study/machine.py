"""What kind of device this machine gives a training, and what a step of one needs there."""

import os
from collections.abc import Sequence

import torch

from lightning_dna.errors import ConfigError
from lightning_dna.models.memory import Precision, TrainingMemory, training_memory
from lightning_dna.study.recipe import ArmSettings
from lightning_dna.training.config import TrainerConfig
from lightning_dna.training.devices import devices_here


def where_it_runs(trainer: TrainerConfig) -> tuple[str, Precision]:
    """Return the kind of device a training takes here, and its precision.

    A device whose kernels cannot be asked for their memory counts as the CPU.
    """
    gpu = trainer.accelerator in ("auto", "cuda") and torch.cuda.is_available()
    half = trainer.precision == "bf16" or (
        trainer.precision == "auto" and gpu and torch.cuda.is_bf16_supported()
    )
    return "cuda" if gpu else "cpu", "bf16" if half else "32"


def devices_of(trainer: TrainerConfig) -> int:
    """Return how many devices a training is meant to take; ``auto`` is every GPU seen here."""
    if trainer.devices != "auto":
        return trainer.devices
    kind, there = devices_here(trainer)
    return there if kind == "cuda" else 1


def worker_devices(trainers: Sequence[TrainerConfig], workers: int) -> list[dict[str, str]]:
    """Return the GPUs of each worker process, as the variables to set for it.

    Each gets as many as the most demanding training asks for, or an equal share of all where one
    takes ``auto``. Workers that train on one GPU at a time may be more than there are, and then
    share. Nothing is set without GPUs, or for one worker.

    Args:
        trainers: Of the trainings that are left.
        workers: How many processes.

    Raises:
        ConfigError: If trainings on several GPUs leave a worker without its own.
    """
    on_gpu = [trainer for trainer in trainers if devices_here(trainer)[0] == "cuda"]
    if workers == 1 or not on_gpu:
        return [{} for _ in range(workers)]
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]
    each = max(1 if trainer.devices == "auto" else trainer.devices for trainer in on_gpu)
    if each > 1 and each * workers > len(there):
        raise ConfigError(
            f"--workers is {workers}, and a training takes {each} devices, but there are"
            f" {len(there)} GPUs; allowed: up to {max(1, len(there) // each)} workers."
        )
    if any(trainer.devices == "auto" for trainer in on_gpu):
        each = max(each, len(there) // workers)
    shares = ([(index * each + i) % len(there) for i in range(each)] for index in range(workers))
    return [{"CUDA_VISIBLE_DEVICES": ",".join(there[i] for i in share)} for share in shares]


def tokens_of(length: int, rate: float) -> int:
    """Return the tokens of a window of some bases, at so many tokens per base."""
    return max(1, round(length * rate))


def step_memory(
    settings: ArmSettings,
    *,
    precision: Precision,
    rate: float = 1.0,
    device: str = "cpu",
    devices: int = 1,
) -> TrainingMemory:
    """Return the memory of a whole training step of an arm, on one device.

    Of several devices each has its part of the rows and the whole model; where the weights are
    spread (``fsdp``) it needs less than is said here.

    Args:
        settings: The arm.
        precision: That of its training.
        rate: Its tokens per base.
        device: Where it is measured, as torch names it.
        devices: How many share the rows.
    """
    length = min(settings.data.length, settings.model.max_length)  # a checkpoint may take less
    return training_memory(
        settings.model,
        rows=max(1, -(-(settings.budget.tokens_per_step // length) // devices)),
        length=tokens_of(length, rate),
        precision=precision,
        checkpointing=settings.trainer.activation_checkpointing,
        device=device,
    )

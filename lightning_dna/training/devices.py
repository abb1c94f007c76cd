"""On how many devices of this machine one training runs, and how it is spread over them."""

import os
from typing import Literal

import torch

from lightning_dna.errors import ConfigError
from lightning_dna.training.config import RunConfig, TrainerConfig

Spread = Literal["one", "ddp", "fsdp"]


def devices_here(trainer: TrainerConfig) -> tuple[str, int]:
    """Return the kind of device a training may take here, and how many there are.

    Of the CPU every core that this process may use counts as a device. Apple's GPU is always one.
    """
    if trainer.accelerator in ("auto", "cuda") and torch.cuda.is_available():
        return "cuda", torch.cuda.device_count()
    if trainer.accelerator == "mps" or (
        trainer.accelerator == "auto" and torch.backends.mps.is_available()
    ):
        return "mps", 1
    return "cpu", _cores()


def device_count(trainer: TrainerConfig) -> int:
    """Return how many devices one training takes here.

    ``auto`` is every GPU that this process sees, and one device where there is none.

    Raises:
        ConfigError: If there are fewer devices than asked for, or weights are to be spread over a
            single one.

    Example:
        >>> device_count(TrainerConfig(accelerator="cpu", devices="auto"))
        1
    """
    kind, there = devices_here(trainer)
    of_auto = there if kind == "cuda" else 1
    count = of_auto if trainer.devices == "auto" else trainer.devices
    if count > there:
        names = {"cuda": "CUDA device(s)", "mps": "MPS device", "cpu": "core(s) of the CPU"}
        raise ConfigError(
            f"trainer.devices is {count}, but this process sees {there} {names[kind]}; allowed: 1"
            f" to {there}, or auto. See CUDA_VISIBLE_DEVICES and trainer.accelerator."
        )
    if count == 1 and trainer.strategy == "fsdp":
        raise ConfigError(
            "trainer.strategy is 'fsdp', which spreads the weights over several devices, but the"
            f" training has one here (trainer.devices is {trainer.devices}); use strategy auto, or"
            " more devices."
        )
    return count


def spread_of(trainer: TrainerConfig, count: int) -> Spread:
    """Return how a training is spread over so many devices."""
    if count == 1:
        return "one"
    return "fsdp" if trainer.strategy == "fsdp" else "ddp"


def check_devices(run: RunConfig) -> int:
    """Return how many devices a run takes here, which must each get a window of every step.

    Raises:
        ConfigError: As `device_count`, or if a step has too few tokens for so many devices.
    """
    count = device_count(run.trainer)
    least = count * run.data.length
    if count > 1 and run.budget.tokens_per_step < least:
        raise ConfigError(
            f"trainer.devices is {count}, and budget.tokens_per_step is"
            f" {run.budget.tokens_per_step}, less than one window of data.length"
            f" {run.data.length} for each device; use fewer devices, or {least} tokens per step or"
            " more, which is another run."
        )
    return count


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""A task that can be learned, and small models of every mixer."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lightning_dna.data.examples import Examples
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.training.config import FineTuneConfig

ATTENTION = ModelConfig(width=16, layers=2, heads=2, max_length=64)


def examples(n: int, *, seed: int, length: int = 24) -> Examples:
    """Class 1 is rich in G and C, class 0 in A and T; lengths differ."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    strong = rng.random((n, length)) < np.where(labels, 0.75, 0.25)[:, None]
    codes = np.where(strong, rng.integers(1, 3, (n, length)), rng.integers(0, 2, (n, length)) * 3)
    lengths = rng.integers(length // 2, length + 1, n)
    return Examples(
        codes=[row[:end].astype(np.uint8) for row, end in zip(codes, lengths, strict=True)],
        labels=labels,
        ids=tuple(f"x{index}" for index in range(n)),
    )


@pytest.fixture(scope="session")
def toy() -> SimpleNamespace:
    configs = {
        "attention": ATTENTION,
        "rope": replace(ATTENTION, position="rope"),
        "learned": replace(ATTENTION, position="learned"),
        "glu": replace(ATTENTION, feedforward="geglu"),
        "hyena": replace(ATTENTION, mixer="hyena", hyena_filter_width=8),
        "causal": replace(ATTENTION, mixer="hyena", hyena_filter_width=8, objective="next_token"),
        "mamba": replace(ATTENTION, mixer="mamba"),
        "convolution": replace(ATTENTION, mixer="convolution"),
        "dilated": replace(ATTENTION, mixer="dilated"),
        "hybrid": replace(ATTENTION, mixer=("hyena", "attention"), hyena_filter_width=8),
    }
    return SimpleNamespace(
        train=examples(96, seed=1),
        valid=examples(48, seed=2),
        test=examples(48, seed=3),
        examples=examples,
        configs=configs,
        models={name: build_model(config, seed=0).eval() for name, config in configs.items()},
        settings=FineTuneConfig(
            epochs=4, lr=1e-2, batch_size=16, patience=4, prompt_length=5, lora_rank=2
        ),
    )

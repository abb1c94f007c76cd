"""A tiny run that trains in about a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_dna import settings
from lightning_dna.training.config import RunConfig


@pytest.fixture(scope="session")
def toy_fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three chromosomes of 6 kb from an order-2 chain, so that there is something to learn."""
    rng = np.random.default_rng(0)
    table = rng.dirichlet(np.full(4, 0.3), size=16)
    path = tmp_path_factory.mktemp("toy") / "toy.fa"
    with path.open("w") as handle:
        for name in ("chr1", "chr2", "chr3"):
            letters = [0, 1]
            for _ in range(5998):
                letters.append(int(rng.choice(4, p=table[letters[-2] * 4 + letters[-1]])))
            text = "".join("ACGT"[i] for i in letters)
            masked = text[:900].lower() + text[900:]
            handle.write(f">{name}\n{masked}\n")
    return path


@pytest.fixture(scope="session")
def toy_run(toy_fasta: Path) -> Callable[..., RunConfig]:
    """Return a function from nested changes to a run."""

    def make(**changes: Any) -> RunConfig:
        base = {
            "data": {
                "genome": str(toy_fasta),
                "length": 64,
                "split": {"valid": ["chr2"], "test": ["chr3"]},
                "validation_windows": 20,
            },
            "model": {"width": 16, "layers": 1, "heads": 2, "max_length": 64},
            "budget": {"tokens": 24 * 512, "tokens_per_step": 512},
            "optimizer": {"lr": 0.01},
            "trainer": {"validate_every": 0.25, "points": 6, "accelerator": "cpu"},
        }
        return settings.build(RunConfig, settings.merge(base, changes), where="test")

    return make

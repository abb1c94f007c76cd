"""A recipe so small that a cell takes a second, on a genome with something to learn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lightning_dna import settings
from lightning_dna.study.study import Study, load_study


@pytest.fixture(scope="session")
def toy_fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three chromosomes of 3 kb from an order-2 chain; the first 900 bases of each are masked."""
    rng = np.random.default_rng(0)
    table = rng.dirichlet(np.full(4, 0.3), size=16)
    path = tmp_path_factory.mktemp("toy") / "toy.fa"
    with path.open("w") as handle:
        for name in ("chr1", "chr2", "chr3"):
            letters = [0, 1]
            for _ in range(2998):
                letters.append(int(rng.choice(4, p=table[letters[-2] * 4 + letters[-1]])))
            text = "".join("ACGT"[i] for i in letters)
            handle.write(f">{name}\n{text[:900].lower()}{text[900:]}\n")
    return path


@pytest.fixture
def write_yaml(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Return a function that writes a YAML file into the test's folder."""

    def write(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def content(toy_fasta: Path, write_yaml: Callable[[str, Any], Path]) -> dict[str, Any]:
    """A recipe's content: attention against Hyena, two seeds, a suite of 12 windows."""
    write_yaml(
        "suite/card.yaml",
        {
            "name": "bases",
            "kind": "heldout_mlm",
            "title": "Hidden bases",
            "baselines": ["majority", "markov_2"],
            "max_windows": 12,
            "cluster_length": 256,
        },
    )
    suite = write_yaml("suite/suite.yaml", {"description": "x", "tasks": ["card.yaml"]})
    return {
        "question": "Does the mixer matter?",
        "baseline": "attention",
        "suite": str(suite),
        "seeds": [0, 1],
        "shared": {
            "data": {
                "genome": str(toy_fasta),
                "length": 64,
                "split": {"valid": ["chr2"], "test": ["chr3"]},
                "validation_windows": 8,
            },
            "model": {"width": 16, "layers": 1, "heads": 2, "max_length": 128},
            "budget": {"tokens": 20 * 256, "tokens_per_step": 256},
            "optimizer": {"lr": "1e-2"},
            "trainer": {"validate_every": 0.5, "points": 4, "accelerator": "cpu", "threads": 1},
        },
        "arms": {"attention": None, "hyena": {"model": {"mixer": "hyena"}}},
        "comparison": {
            "planned": ["bases:mlm_accuracy", "bases:bits_per_base"],
            "resamples": 199,
            "margins": {"mlm_accuracy": 0.01},
        },
    }


@pytest.fixture
def make_study(
    content: dict[str, Any], write_yaml: Callable[[str, Any], Path]
) -> Callable[..., Study]:
    """Return a function from nested changes of the recipe to a study."""

    def make(name: str = "toy", **changes: Any) -> Study:
        merged = settings.merge(content, changes)
        return load_study(write_yaml(f"{name}.yaml", merged))

    return make


@pytest.fixture
def add_promoters(content: dict[str, Any], write_yaml: Callable[[str, Any], Path]) -> None:
    """Add a tiny labelled task with a baseline that is random."""
    write_yaml(
        "suite/promoter.yaml",
        {
            "name": "promoter",
            "kind": "simulated_classification",
            "title": "Promoters",
            "metrics": ["accuracy", "mcc"],
            "baselines": ["kmer_logistic", "onehot_cnn"],
            "ways": ["frozen", "full"],
            "simulated": "promoter",
            "n_train": 40,
            "n_valid": 20,
            "n_test": 30,
            "length": 96,
        },
    )
    write_yaml("suite/suite.yaml", {"description": "x", "tasks": ["card.yaml", "promoter.yaml"]})
    content["shared"]["finetune"] = {"epochs": 1, "batch_size": 20, "probe_c": [0.1, 1]}

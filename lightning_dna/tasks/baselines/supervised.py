"""Networks trained on the task alone, as baselines: our own, published ones, and likenesses.

All are trained by one protocol, not by their authors', so that they differ in the network alone.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from lightning_dna.data.examples import Examples
from lightning_dna.errors import unknown_name
from lightning_dna.genome.alphabet import Codes
from lightning_dna.models.supervised.convnova import ConvNovaLike
from lightning_dna.models.supervised.enformer import EnformerLike
from lightning_dna.models.supervised.gb_cnn import GenomicBenchmarksCNN, input_length
from lightning_dna.tasks.baselines.network import TRAINING, train_network
from lightning_dna.tasks.baselines.onehot_cnn import OneHotCNN
from lightning_dna.training.config import FineTuneConfig

Builder = Callable[[int, Sequence[int], int], nn.Module]


def _onehot_cnn(n_classes: int, lengths: Sequence[int], seed: int) -> nn.Module:
    """Build our own small network."""
    return OneHotCNN(n_classes, seed=seed)


def _gb_cnn(n_classes: int, lengths: Sequence[int], seed: int) -> nn.Module:
    """Build the GenomicBenchmarks network as published, its sigmoid before the loss included."""
    length = input_length(lengths)
    return GenomicBenchmarksCNN(n_classes, length=length, seed=seed, double_sigmoid=True)


def _gb_cnn_fixed(n_classes: int, lengths: Sequence[int], seed: int) -> nn.Module:
    """Build the GenomicBenchmarks network without that sigmoid."""
    length = input_length(lengths)
    return GenomicBenchmarksCNN(n_classes, length=length, seed=seed, double_sigmoid=False)


def _convnova_like(n_classes: int, lengths: Sequence[int], seed: int) -> nn.Module:
    """Build ConvNova's trunk under a linear layer."""
    return ConvNovaLike(n_classes, seed=seed)


def _enformer_like(n_classes: int, lengths: Sequence[int], seed: int) -> nn.Module:
    """Build a trunk in Enformer's order under a linear layer."""
    return EnformerLike(n_classes, seed=seed)


# From the number of classes, the lengths of the training sequences in bases, and the seed.
NETWORKS: Mapping[str, Builder] = {
    "onehot_cnn": _onehot_cnn,
    "gb_cnn": _gb_cnn,
    "gb_cnn_fixed": _gb_cnn_fixed,
    "convnova_like": _convnova_like,
    "enformer_like": _enformer_like,
}


def supervised_baseline(
    name: str,
    train: Examples,
    valid: Examples,
    test_codes: Sequence[Codes],
    *,
    n_classes: int,
    seed: int,
    config: FineTuneConfig = TRAINING,
    device: str = "cpu",
) -> tuple[npt.NDArray[np.float64], dict[str, Any]]:
    """Train one of the networks from initial weights.

    Args:
        name: A row of :data:`NETWORKS`.
        train: Examples to learn from; their longest one sets the input length of ``gb_cnn``.
        valid: Examples that choose the epoch.
        test_codes: Base codes of the sequences to predict; their labels are not needed.
        n_classes: Number of classes.
        seed: Seed of the initial weights and of the order of the examples.
        config: Settings of the training; with several learning rates, validation chooses.
        device: Where to train.

    Returns:
        Class probabilities of the test sequences, shape ``(n, n_classes)``, and a record of the
        training.

    Raises:
        ConfigError: If the name is unknown.
    """
    if name not in NETWORKS:
        raise unknown_name("network", name, NETWORKS)
    lengths = train.lengths.tolist()
    build = partial(NETWORKS[name], n_classes, lengths, seed)
    return train_network(build, train, valid, test_codes, seed=seed, config=config, device=device)

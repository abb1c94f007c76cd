"""How every network among the baselines is trained: fine-tuning's loop, from initial weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from lightning_dna.data.examples import Examples
from lightning_dna.genome.alphabet import Codes
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune import predict, train_classifier

TRAINING = FineTuneConfig(epochs=20, lr=1e-3, batch_size=32, weight_decay=0.01, patience=5)


def train_network(
    network: nn.Module,
    train: Examples,
    valid: Examples,
    test_codes: Sequence[Codes],
    *,
    seed: int,
    config: FineTuneConfig = TRAINING,
    device: str = "cpu",
) -> tuple[npt.NDArray[np.float64], dict[str, Any]]:
    """Train a network and predict; the validation examples choose the epoch.

    Args:
        network: Module from token ids and mask to logits, with its initial weights; trained in
            place.
        train: Examples to learn from.
        valid: Examples that choose the epoch.
        test_codes: Base codes of the sequences to predict; their labels are not needed.
        seed: Seed of the order of the examples.
        config: Settings of the training.
        device: Where to train.

    Returns:
        Class probabilities of the test sequences, shape ``(n, n_classes)``, and a record of the
        training.
    """
    tuned = train_classifier(network, train, valid, config, seed=seed, device=device)
    record = {
        "seed": seed,
        "best_epoch": tuned.best_epoch,
        "epochs_run": tuned.epochs_run,
        "valid_metric": tuned.valid_metric,
        "seconds": tuned.seconds,
        "parameters_updated": tuned.parameters_updated,
    }
    return predict(tuned.classifier, test_codes), record

"""How every network among the baselines is trained: fine-tuning's loop, from initial weights."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from lightning_dna.data.examples import Examples
from lightning_dna.genome.alphabet import Codes
from lightning_dna.tasks.learning_rates import choose_rate
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.finetune import FineTuned, predict, train_classifier

TRAINING = FineTuneConfig(epochs=20, lr=1e-3, batch_size=32, weight_decay=0.01, patience=5)
_STEP = 10**0.5  # between neighbouring learning rates


def with_budget(rates: int) -> FineTuneConfig:
    """Return the training of the networks with as many learning rates as the arms may try.

    Args:
        rates: Number of rates, 1 or more. They lie about 1e-3, half a decade apart: 3e-4, 1e-3 and
            3e-3 if there are three.

    Example:
        >>> with_budget(3).lr
        (0.000316, 0.001, 0.00316)
    """
    if rates == 1:
        return TRAINING
    middle = (rates - 1) // 2
    found = tuple(float(f"{1e-3 * _STEP ** (at - middle):.3g}") for at in range(rates))
    return dataclasses.replace(TRAINING, lr=found)


def train_network(
    build: Callable[[], nn.Module],
    train: Examples,
    valid: Examples,
    test_codes: Sequence[Codes],
    *,
    seed: int,
    config: FineTuneConfig = TRAINING,
    device: str = "cpu",
) -> tuple[npt.NDArray[np.float64], dict[str, Any]]:
    """Train a network and predict; the validation examples choose the epoch and learning rate.

    Args:
        build: Makes the module from token ids and mask to logits, with its initial weights; called
            for each learning rate.
        train: Examples to learn from.
        valid: Examples that choose.
        test_codes: Base codes of the sequences to predict; their labels are not needed.
        seed: Seed of the order of the examples.
        config: Settings of the training, with one or several learning rates.
        device: Where to train.

    Returns:
        Class probabilities of the test sequences, shape ``(n, n_classes)``, and a record of the
        training.
    """

    def train_once(one: FineTuneConfig) -> FineTuned:
        return train_classifier(build(), train, valid, one, seed=seed, device=device)

    choice = choose_rate(train_once, config)
    tuned = choice.tuned
    record = {
        "seed": seed,
        "best_epoch": tuned.best_epoch,
        "epochs_run": tuned.epochs_run,
        "valid_metric": tuned.valid_metric,
        "seconds": choice.seconds,
        "parameters_updated": tuned.parameters_updated,
        "chosen_lr": choice.rate,
        "lr_at_edge": choice.at_edge,
        "tried": list(choice.tried),
    }
    return predict(tuned.classifier, test_codes), record

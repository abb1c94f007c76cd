"""What networks with many outputs learn, and what chooses the weights that they keep."""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from lightning_dna.data.regions import IGNORED, Labels
from lightning_dna.errors import ConfigError
from lightning_dna.stats.label_lanes import label_values, over_labels
from lightning_dna.stats.metrics import METRICS
from lightning_dna.training.loop import Objective

Outputs = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_RANKED = ("auroc", "auprc")


def of_labels(metric: str) -> Objective:
    """Return the objective of independent labels: binary cross-entropy, and logits.

    Args:
        metric: Row of ``LABEL_METRICS`` that chooses, whatever the settings of single-label tasks
            name; ``finetune.metric: loss`` chooses by the loss.
    """

    def value(name: str, labels: npt.NDArray[np.generic], outputs: Outputs) -> float:
        if name == "loss":
            return -float(_binary_loss(torch.from_numpy(outputs), torch.from_numpy(labels)))
        return over_labels(metric, np.asarray(labels) == 1, outputs)

    return Objective(loss=_binary_loss, outputs=lambda logits: logits, value=value)


def _binary_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over examples and labels."""
    return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


def of_positions(
    metric: str, *, classes: int, bins: int, positive_weight: float | None = None
) -> Objective:
    """Return the objective of a class for every base or bin.

    Two classes have one logit, and are told apart by rank; more have one logit each, and the class
    with the largest is predicted.

    Args:
        metric: Metric over all bins that chooses: ``auroc`` or ``auprc`` of two classes, else a
            classification metric. Of two classes ``finetune.metric: loss`` chooses by the loss.
        classes: Number of classes.
        bins: Bins of the longest sequence; outputs of shorter ones are filled up.
        positive_weight: Weight of class 1 of two in the loss.
    """
    loss = partial(_position_loss, classes=classes, positive_weight=positive_weight)

    def outputs(logits: Tensor) -> Tensor:
        found = logits[..., 0] if classes == 2 else logits.argmax(dim=-1).double()
        return functional.pad(found[:, :bins], (0, max(0, bins - found.shape[1])))

    def value(name: str, labels: npt.NDArray[np.generic], found: Outputs) -> float:
        if name == "loss":
            if classes > 2:
                raise ConfigError(
                    "finetune.metric 'loss' is not kept for a class of every base; leave it at its "
                    "default, and the card's first metric chooses."
                )
            logits = torch.from_numpy(found)[..., None]
            return -float(loss(logits, torch.from_numpy(labels)))
        return position_value(metric, np.asarray(labels, dtype=np.int8), found, classes)

    return Objective(loss=loss, outputs=outputs, value=value)


def output_count(classes: int) -> int:
    """Return the number of logits of a bin."""
    return 1 if classes == 2 else classes


def _position_loss(
    logits: Tensor, labels: Tensor, *, classes: int, positive_weight: float | None
) -> Tensor:
    """Return the mean over the bins that have a class."""
    labels = labels[:, : logits.shape[1]]
    logits = logits[:, : labels.shape[1]]
    known = labels != IGNORED
    if classes > 2:
        return functional.cross_entropy(logits[known], labels[known].long())
    weight = None if positive_weight is None else torch.tensor(positive_weight).to(logits)
    return functional.binary_cross_entropy_with_logits(
        logits[..., 0][known], labels[known].to(logits.dtype), pos_weight=weight
    )


def position_value(metric: str, labels: Labels, outputs: Outputs, classes: int) -> float:
    """Return a metric over all bins of all sequences.

    Args:
        metric: Its name.
        labels: (n, bins) classes, ``IGNORED`` where there is none.
        outputs: (n, bins) scores of class 1, or predicted classes where there are more than two.
        classes: Number of classes.
    """
    known = labels != IGNORED
    if metric in _RANKED:
        return float(
            label_values(metric, (labels[known] == 1)[:, None], outputs[known][:, None])[0]
        )
    counts = position_counts(labels, predicted_classes(outputs, classes), classes).sum(axis=0)
    return float(METRICS[metric].value(counts.reshape(-1).astype(np.float64)))


def predicted_classes(outputs: Outputs, classes: int) -> Counts:
    """Return the predicted class of every bin; of two classes, 1 where its logit is above 0."""
    return (outputs > 0).astype(np.int64) if classes == 2 else outputs.astype(np.int64)


def position_counts(labels: Labels, predicted: Counts, classes: int) -> Counts:
    """Count hits, predicted and true bins of each class in each sequence.

    Args:
        labels: (n, bins) classes, ``IGNORED`` where there is none.
        predicted: (n, bins) classes.
        classes: Number of classes.

    Returns:
        Shape ``(n, 3, classes)``.

    Example:
        >>> labels = np.array([[0, 1, 1, IGNORED]], np.int8)
        >>> position_counts(labels, np.array([[0, 1, 0, 1]]), 2).tolist()
        [[[1, 1], [2, 1], [1, 2]]]
    """
    known = labels != IGNORED
    numbers = np.arange(classes)
    true = (labels[..., None] == numbers) & known[..., None]
    guessed = (predicted[..., None] == numbers) & known[..., None]
    counted: Callable[[npt.NDArray[np.bool_]], Counts] = partial(np.sum, axis=1)
    return np.stack([counted(true & guessed), counted(guessed), counted(true)], axis=1)

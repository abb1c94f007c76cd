"""A batch in parts, for a device that cannot hold it whole: the same step in less memory.

The gradients of the parts are added up before the optimizer moves. Each part counts by the weight
of its targets, so that the sum is the gradient of the whole batch and not a mean of means, which
differs where parts have unequal numbers of targets.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from lightning_dna.data.batches import IGNORE, Batch

Losses = tuple[Tensor, Tensor, Tensor]


def parts_of(batch: Batch, count: int) -> Iterator[Batch]:
    """Cut a batch into ``count`` parts of whole rows, or as many as it has rows.

    Rows keep their width, so that a part computes what the whole would.
    """
    rows = batch.input_ids.shape[0]
    bounds = [rows * index // min(count, rows) for index in range(min(count, rows) + 1)]
    for first, last in itertools.pairwise(bounds):
        real = None if batch.attention_mask is None else batch.attention_mask[first:last]
        yield replace(
            batch,
            input_ids=batch.input_ids[first:last],
            targets=batch.targets[first:last],
            attention_mask=real,
            weights=None if batch.weights is None else batch.weights[first:last],
            tokens=(last - first) * batch.length if real is None else int(real.sum()),
        )


def loss_in_parts(loss: Callable[[Batch], Losses], batch: Batch, count: int) -> Losses:
    """Add up the gradients of all parts but the last, and return the loss that is left to follow.

    Args:
        loss: Weighted loss, unweighted loss and accuracy of a batch.
        batch: The whole batch.
        count: Number of parts.

    Returns:
        The last part's share of the weighted loss, to be followed backward by the caller; loss and
        accuracy of the whole batch without gradients.
    """
    parts = list(parts_of(batch, count))
    targets = torch.stack([(part.targets != IGNORE).sum() for part in parts])
    weights = torch.stack([_weight(part) for part in parts])
    share = weights / weights.sum().clamp_min(1e-8)
    number = targets / targets.sum().clamp_min(1)
    plain = accuracy = torch.zeros((), device=batch.input_ids.device)
    weighted = plain
    for index, part in enumerate(parts):
        weighted, part_plain, part_accuracy = loss(part)
        weighted = weighted * share[index]
        plain = plain + part_plain * number[index]
        accuracy = accuracy + part_accuracy * number[index]
        if index + 1 < len(parts):
            weighted.backward()  # type: ignore[no-untyped-call]
    return weighted, plain, accuracy


def _weight(part: Batch) -> Tensor:
    """Return the sum of the weights of a part's targets."""
    chosen = part.targets != IGNORE
    if part.weights is None:
        return chosen.sum().float()
    return (part.weights * chosen).sum()

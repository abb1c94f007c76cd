"""Several processes that train one model together, and the numbers that they tell each other.

Each process has a device of its own and takes its part of the rows of every step. What is exchanged
here are a few numbers of a step, through the memory of the CPU and a group of processes of its own,
so that no process waits for its device. Gradients go another way: that of Lightning's DDP, or of
`lightning_dna.training.sharding`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from lightning_dna.data.batches import IGNORE, Batch

Numbers = NDArray[np.float64]


class Ranks:
    """This process among all that train the model; by default it is alone.

    Args:
        rank: Its number, from 0; the first one writes the files and shows the progress.
        count: How many there are.
        group: Group of all processes whose collectives work on the CPU; needed where there are
            several.

    Example:
        >>> alone = Ranks()
        >>> alone.leads, alone.total([1.0, 2.0]).tolist(), alone.most(3.0)
        (True, [1.0, 2.0], 3.0)
    """

    def __init__(
        self, rank: int = 0, count: int = 1, group: dist.ProcessGroup | None = None
    ) -> None:
        self.rank = rank
        self.count = count
        self._group = group

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def gather(self, values: Sequence[float] | Numbers) -> Numbers:
        """Return the numbers of every process; all of them must ask, and with as many.

        Args:
            values: Numbers of this process, shape (values,).

        Returns:
            float64 of shape (processes, values), the same in every process.
        """
        own = torch.from_numpy(np.array(values, dtype=np.float64))
        if self.count == 1:
            return own[None].numpy()
        found = [torch.empty_like(own) for _ in range(self.count)]
        dist.all_gather(found, own, group=self._group)
        return torch.stack(found).numpy()

    def total(self, values: Sequence[float] | Numbers) -> Numbers:
        """Return the sums over all processes, shape (values,)."""
        return np.asarray(self.gather(values).sum(axis=0))

    def most(self, value: float) -> float:
        """Return the largest of one number of each process."""
        if self.count == 1:
            return float(value)
        return float(self.gather([value]).max())

    def of_first(self, value: float) -> float:
        """Return the number of the process that leads."""
        if self.count == 1:
            return float(value)
        return float(self.gather([value])[0, 0])


ALONE = Ranks()


@dataclass(frozen=True)
class Share:
    """How much one process's part of a step counts.

    Attributes:
        weight: What its weighted loss, a mean over the weights of its targets, is multiplied by, so
            that the mean over processes is that of the whole step.
        targets: Its share of the targets.
        fewest_rows: Rows of the process that has the fewest.
    """

    weight: float
    targets: float
    fewest_rows: int


WHOLE = Share(weight=1.0, targets=1.0, fewest_rows=sys.maxsize)


def share_of(batch: Batch, ranks: Ranks) -> Share:
    """Compare a process's part of a step with those of the others, on the CPU.

    Args:
        batch: Its part.
        ranks: All processes, which must all ask.
    """
    chosen = batch.targets != IGNORE
    number = float(chosen.sum())
    weight = number if batch.weights is None else float((batch.weights * chosen).double().sum())
    of_all = ranks.gather([weight, number, len(batch.input_ids)])
    weights, targets, _ = of_all.sum(axis=0).tolist()
    return Share(
        weight=ranks.count * weight / max(weights, 1e-8),
        targets=number / max(targets, 1.0),
        fewest_rows=int(of_all[:, 2].min()),
    )

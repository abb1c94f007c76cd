"""The training windows that canaries stand in, read as the training reads them.

A model can know a canary by heart and say nothing of it when it meets it alone: what brings the
memory back may be the sequence around it, or its place within the window. So canaries are also
ranked where they were planted, each reference in the place of the canary in the very same window
(the fixed format around the secret of Carlini et al., The Secret Sharer, USENIX Security 2019).
Canary and references are drawn alike and independently of the window, so the law of the rank
without memory stays what it is. A canary of the control gets a window that holds no copy, where
there are enough.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lightning_dna.data.batches import TrainingBatches
from lightning_dna.data.config import DataConfig
from lightning_dna.data.training_set import TrainingSet
from lightning_dna.genome.alphabet import CODE_BITS, Codes


@dataclass(frozen=True, kw_only=True, eq=False)
class CanaryHost:
    """A training window with room for a canary.

    Attributes:
        codes: What training reads of it, forward, codes 0 to 4, shape ``(window,)``.
        start: First base of the canary within it.
    """

    codes: Codes
    start: int

    def holding(self, sequences: Codes) -> Codes:
        """Return the window once for each sequence, which stands in the place of the canary.

        Args:
            sequences: Codes, shape ``(sequences, length)``.

        Returns:
            Codes, shape ``(sequences, window)``.

        Example:
            >>> host = CanaryHost(codes=np.array([3, 3, 3], np.uint8), start=1)
            >>> host.holding(np.array([[0], [1]], np.uint8)).tolist()
            [[3, 0, 3], [3, 1, 3]]
        """
        rows = np.repeat(self.codes[None], len(sequences), axis=0)
        rows[:, self.start : self.start + sequences.shape[1]] = sequences
        return rows


def canary_hosts(training: TrainingSet, config: DataConfig) -> Mapping[str, CanaryHost]:
    """Return a training window of every canary, by its name: that of its first copy.

    Args:
        training: The windows of a training with canaries.
        config: Its settings, with canaries.

    Raises:
        ValueError: If the training has none.
    """
    planting = training.planting
    if planting is None:
        raise ValueError("this training has no canaries")
    reader = TrainingBatches(
        training.genome,
        training.windows,
        config,
        objective="masked",
        seed=0,
        treated=training.treated,
        planting=planting,
    )
    rows, starts = planting.hosts()
    flat = np.bitwise_and(reader.stored(rows), np.uint8(CODE_BITS))
    windows = np.split(flat, np.cumsum(rows.ends - rows.starts)[:-1])
    return {
        canary.name: CanaryHost(codes=codes, start=start)
        for canary, codes, start in zip(
            planting.canaries.canaries, windows, starts.tolist(), strict=True
        )
    }

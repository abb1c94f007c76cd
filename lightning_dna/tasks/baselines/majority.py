"""The majority baseline: the base frequencies of the training chromosomes, for every base."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import CODE_BITS, N
from lightning_dna.genome.fasta import Genome
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.heldout_mlm import Floats, HeldoutMLM, WindowBases

_BASES_PER_BATCH = 1 << 20


def base_counts(genome: Genome, chroms: Sequence[str]) -> npt.NDArray[np.int64]:
    """Count A, C, G and T on some chromosomes, repeats included, shape ``(4,)``.

    Example:
        >>> base_counts(Genome.from_sequences({"chr1": "AAcGN"}), ["chr1"]).tolist()
        [2, 1, 1, 0]
    """
    counts = np.zeros(8, dtype=np.int64)
    for chrom in chroms:
        counts += np.bincount(genome.stored(chrom) & CODE_BITS, minlength=8)
    return counts[:N]


def base_probabilities(counts: npt.NDArray[np.int64]) -> Floats:
    """Turn counts of A, C, G, T into probabilities, each count one higher so that none is 0.

    Raises:
        DataError: If nothing was counted.

    Example:
        >>> base_probabilities(np.array([2, 1, 1, 0])).tolist()
        [0.375, 0.25, 0.25, 0.125]
    """
    if not counts.sum():
        raise DataError("the training chromosomes hold no A, C, G or T; nothing can be counted.")
    return np.asarray((counts + 1.0) / (counts.sum() + 4.0), dtype=np.float64)


def score_majority(task: HeldoutMLM, *, variant: str = "majority", seed: int = 0) -> Scores:
    """Score the base frequencies of the training chromosomes on the hidden bases of a task.

    The prediction is the most frequent base; nats are those of the frequencies.

    Args:
        task: The task; counts come from its training chromosomes only.
        variant: Name in the score table.
        seed: Seed in the score table; nothing here is random.

    Raises:
        DataError: If the training chromosomes hold no known base, or nothing is hidden.
    """
    counts = base_counts(task.genome, task.split.train)
    logarithms = np.log(base_probabilities(counts))

    def predict(batch: WindowBases) -> Floats:
        return np.broadcast_to(logarithms, (int(batch.hidden.sum()), 4))

    return task.score_with(predict, variant=variant, seed=seed, bases_per_batch=_BASES_PER_BATCH)

"""What training does with repeats: keep them, leave them out, or let them count less."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import SOFT_MASK, Codes, N
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.intervals import Intervals, as_intervals, complement, runs

RepeatTreatment = Literal["keep", "remove", "downweight"]

_BLOCK = 1 << 24  # bases looked at together: bounds the memory on a chromosome


@dataclass(frozen=True, kw_only=True)
class RepeatPolicy:
    """How soft-masked bases are treated in training; evaluation always sees them.

    Args:
        name: ``keep``: as every other base. ``remove``: no window holds one; the stretches between
            them stay apart, never joined. ``downweight``: they are read, their loss counts less.
        weight: Loss weight of a soft-masked base under ``downweight``, in [0, 1]; others have 1.
        min_length: Shortest stretch worth keeping under ``remove``, in bases.

    Raises:
        ConfigError: If a value is out of range.
    """

    name: RepeatTreatment = "keep"
    weight: float = 0.1
    min_length: int = 64

    def __post_init__(self) -> None:
        if self.name not in get_args(RepeatTreatment):
            raise ConfigError(
                f"repeats: policy '{self.name}'; allowed: {', '.join(get_args(RepeatTreatment))}."
            )
        if not 0 <= self.weight <= 1:
            raise ConfigError(f"repeats: weight is {self.weight}; expected a number in [0, 1].")
        if self.min_length < 1:
            raise ConfigError(f"repeats: min_length is {self.min_length}; expected 1 or more.")


def loss_weights(policy: RepeatPolicy, soft_mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return the weight of each base in the training loss ``sum(loss * weight) / sum(weight)``.

    This is the weighting of GPN (Benegas et al. 2023), where repeats weigh 0.1.

    Args:
        policy: The policy.
        soft_mask: Which bases are soft-masked, any shape.

    Returns:
        Weights of the same shape: 1 everywhere under ``keep``; under ``downweight`` the policy's
        weight, and under ``remove`` 0, where a base is soft-masked.

    Example:
        >>> mask = np.array([True, False])
        >>> loss_weights(RepeatPolicy(name="downweight", weight=0.25), mask).tolist()
        [0.25, 1.0]
    """
    weight = {"keep": 1.0, "remove": 0.0, "downweight": policy.weight}[policy.name]
    return np.where(soft_mask, np.float32(weight), np.float32(1.0))


def kept_fragments(policy: RepeatPolicy, genome: Genome, chrom: str) -> Intervals:
    """Return the stretches of a chromosome that windows may lie in.

    Args:
        policy: The policy.
        genome: The genome.
        chrom: Chromosome name.

    Returns:
        Rows ``(start, end)``, shape ``(n, 2)``: the whole chromosome under ``keep`` and
        ``downweight``; under ``remove`` the stretches without a soft-masked base that have at least
        ``policy.min_length`` bases, possibly none.

    Raises:
        DataError: Under ``remove`` and ``downweight``, if every known base of the chromosome is
            soft-masked: nothing, or nothing but repeats, would be learned from it.
    """
    length = genome.lengths.get(chrom, 0)
    whole = as_intervals([(0, length)])
    stored = genome.stored(chrom)  # names an unknown chromosome
    if policy.name == "keep":
        return whole
    if not _has_unique_base(stored):
        raise DataError(
            f"chromosome '{chrom}': every known base is soft-masked (lower case), so the repeat "
            f"policy '{policy.name}' leaves nothing to learn from. Exclude it from the split, use "
            f"the policy 'keep', or give the repeats as a BED file."
        )
    if policy.name == "downweight":
        return whole
    fragments = complement(runs((stored & SOFT_MASK) != 0), length)
    return fragments[fragments[:, 1] - fragments[:, 0] >= policy.min_length]


def _has_unique_base(stored: Codes) -> bool:
    """Whether some base is known and not soft-masked."""
    for start in range(0, len(stored), _BLOCK):
        block = stored[start : start + _BLOCK]
        if bool(np.any(block < N)):  # a code without the soft-mask bit is its own value
            return True
    return False

"""What training does with repeats: keep them, leave them out, hide them, or let them count less."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import CODE_BITS, SOFT_MASK, Codes, N
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.intervals import Intervals, as_intervals, complement, merge, runs
from lightning_dna.genome.matched_control import matched_removal
from lightning_dna.genome.repeat_annotation import RepeatAnnotation

RepeatTreatment = Literal[
    "keep",
    "remove",
    "downweight",
    "remove-split",
    "remove-concat",
    "hard-mask",
    "matched-unique",
]

_BLOCK = 1 << 24  # bases looked at together: bounds the memory on a chromosome
_SPELLINGS = {"remove-split": "remove"}


def canonical_treatment(name: str) -> str:
    """Return the one spelling of a policy by which runs are told apart.

    Example:
        >>> canonical_treatment("remove-split"), canonical_treatment("keep")
        ('remove', 'keep')
    """
    return _SPELLINGS.get(name, name)


@dataclass(frozen=True, kw_only=True)
class RepeatPolicy:
    """How repeats are treated in training; evaluation always sees them.

    Repeats are the soft-masked bases, or those of some classes of an annotation.

    Args:
        name: ``keep``: as every other base. ``remove`` or ``remove-split``: no window holds one;
            the stretches between them stay apart. ``remove-concat``: no window holds one, and the
            stretches of a chromosome are joined, which makes junctions that no genome has.
            ``hard-mask``: they are seen as N and never predicted. ``downweight``: they are read,
            their loss counts less. ``matched-unique``: they are kept, and as many other bases are
            removed, in stretches as long (`matched_removal`).
        weight: Loss weight of a repeat base under ``downweight``, in [0, 1]; others have 1.
        min_length: Shortest stretch worth keeping under ``remove`` and ``matched-unique``, in
            bases.
        classes: Classes that are treated, such as ``("LINE", "SINE/Alu")``; empty for all repeats.
        seed: Seed of the places under ``matched-unique``, 0 or more.

    Raises:
        ConfigError: If a value is out of range.
    """

    name: RepeatTreatment = "keep"
    weight: float = 0.1
    min_length: int = 64
    classes: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in get_args(RepeatTreatment):
            raise ConfigError(
                f"repeats: policy '{self.name}'; allowed: {', '.join(get_args(RepeatTreatment))}."
            )
        object.__setattr__(self, "name", canonical_treatment(self.name))
        if not 0 <= self.weight <= 1:
            raise ConfigError(f"repeats: weight is {self.weight}; expected a number in [0, 1].")
        if self.min_length < 1:
            raise ConfigError(f"repeats: min_length is {self.min_length}; expected 1 or more.")
        if self.seed < 0:
            raise ConfigError(f"repeats: seed is {self.seed}; expected 0 or more.")
        if len(set(self.classes)) < len(self.classes):
            raise ConfigError(f"repeats: classes {list(self.classes)} name one twice.")

    @property
    def fragments(self) -> bool:
        """Whether what is kept is cut into stretches that stay apart."""
        return self.name in ("remove", "matched-unique")

    @property
    def joins(self) -> bool:
        """Whether stretches that are apart in the genome are joined."""
        return self.name == "remove-concat"


def loss_weights(policy: RepeatPolicy, repeat: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return the weight of each base in the training loss ``sum(loss * weight) / sum(weight)``.

    This is the weighting of GPN (Benegas et al. 2023), where repeats weigh 0.1. The sums are over
    the targets of one batch, so a batch of nothing but repeats moves the model as much as any.

    Args:
        policy: The policy.
        repeat: Which bases are repeats that the policy treats, any shape.

    Returns:
        Weights of the same shape: 1 for every base under ``keep`` and ``matched-unique``; for a
        repeat the policy's weight under ``downweight``, and 0 where no loss is taken.

    Example:
        >>> mask = np.array([True, False])
        >>> loss_weights(RepeatPolicy(name="downweight", weight=0.25), mask).tolist()
        [0.25, 1.0]
    """
    weight = {"keep": 1.0, "matched-unique": 1.0, "downweight": policy.weight}.get(policy.name, 0.0)
    return np.where(repeat, np.float32(weight), np.float32(1.0))


def treated_repeats(
    policy: RepeatPolicy, genome: Genome, chrom: str, repeats: RepeatAnnotation | None = None
) -> Intervals:
    """Return the repeats of a chromosome that a policy is about, whatever it does with them.

    Args:
        policy: The policy.
        genome: The genome.
        chrom: Chromosome name.
        repeats: Repeats by class; needed if the policy names classes.

    Raises:
        ConfigError: If there is no such chromosome or class, or classes are named without repeats.
    """
    if not policy.classes:
        return _runs_where(genome.stored(chrom), lambda codes: (codes & SOFT_MASK) != 0)
    if repeats is None:
        raise ConfigError(
            f"repeats: the classes {', '.join(policy.classes)} are named, but no file says which "
            f"class a repeat is; give RepeatMasker output or a BED file with a class column."
        )
    return repeats.intervals(chrom, policy.classes)


def allowed_stretches(
    policy: RepeatPolicy,
    genome: Genome,
    chroms: Sequence[str],
    repeats: RepeatAnnotation | None = None,
) -> dict[str, Intervals]:
    """Return what a policy leaves of each chromosome, stretches of any length.

    Args:
        policy: The policy.
        genome: The genome.
        chroms: Chromosomes; ``matched-unique`` pools them.
        repeats: Repeats by class; needed if the policy names classes.

    Returns:
        Chromosome to its stretches: all of it under ``keep``, ``downweight`` and ``hard-mask``.

    Raises:
        DataError: Under all policies but ``keep``, if there is no repeat to treat; under those that
            treat repeats, if every known base of a chromosome is one; under ``matched-unique``, if
            more bases are repeats than are not.
        ConfigError: If there is no such chromosome or class.
    """
    whole = {chrom: as_intervals([(0, len(genome.stored(chrom)))]) for chrom in chroms}
    if policy.name == "keep":
        return whole
    treated = {chrom: treated_repeats(policy, genome, chrom, repeats) for chrom in chroms}
    if policy.classes and not any(len(rows) for rows in treated.values()):
        raise DataError(
            f"repeats: no repeat of class {', '.join(policy.classes)} on {', '.join(chroms[:5])}"
            f"{' and others' if len(chroms) > 5 else ''}, so '{policy.name}' would change nothing."
        )
    lengths = {chrom: genome.lengths[chrom] for chrom in chroms}
    if policy.name == "matched-unique":
        unknown = {chrom: unknown_bases(genome, chrom) for chrom in chroms}
        removed = matched_removal(treated, unknown, lengths, seed=policy.seed).removed
    else:
        _check_something_left(policy, genome, treated)
        removed = treated
    if not (policy.fragments or policy.joins):
        return whole
    return {chrom: complement(removed[chrom], lengths[chrom]) for chrom in chroms}


def kept_fragments(
    policy: RepeatPolicy, genome: Genome, chrom: str, repeats: RepeatAnnotation | None = None
) -> Intervals:
    """Return the stretches of a chromosome that windows may lie in.

    Arguments and errors as in `allowed_stretches`, for one chromosome.

    Returns:
        Rows ``(start, end)``, shape ``(n, 2)``: what the policy leaves; if that is in fragments
        that stay apart, only those of at least ``policy.min_length`` bases, possibly none.
    """
    return long_enough(policy, allowed_stretches(policy, genome, [chrom], repeats)[chrom])


def long_enough(policy: RepeatPolicy, stretches: Intervals) -> Intervals:
    """Drop the stretches that a policy finds too short."""
    if not policy.fragments:
        return stretches
    return stretches[stretches[:, 1] - stretches[:, 0] >= policy.min_length]


def unknown_bases(genome: Genome, chrom: str) -> Intervals:
    """Return the stretches of N of a chromosome."""
    return _runs_where(genome.stored(chrom), lambda codes: (codes & CODE_BITS) == N)


def _check_something_left(
    policy: RepeatPolicy, genome: Genome, treated: Mapping[str, Intervals]
) -> None:
    """Refuse a chromosome of which nothing, or nothing but repeats, would be learned."""
    for chrom, rows in treated.items():
        if policy.classes:
            left = len(complement(rows, genome.lengths[chrom])) > 0
        else:
            left = _has_unique_base(genome.stored(chrom))
        if not left:
            which = "in these classes" if policy.classes else "soft-masked (lower case)"
            raise DataError(
                f"chromosome '{chrom}': every known base is {which}, so the repeat "
                f"policy '{policy.name}' leaves nothing to learn from. Exclude it from the split, "
                f"use the policy 'keep', or give the repeats as a BED file."
            )


def _runs_where(stored: Codes, test: Callable[[Codes], npt.NDArray[np.bool_]]) -> Intervals:
    """Return the stretches in which a test of the stored bytes holds, block by block."""
    blocks = range(0, len(stored), _BLOCK)
    return merge(np.concatenate([runs(test(stored[at : at + _BLOCK])) + at for at in blocks]))


def _has_unique_base(stored: Codes) -> bool:
    """Whether some base is known and not soft-masked."""
    for start in range(0, len(stored), _BLOCK):
        block = stored[start : start + _BLOCK]
        if bool(np.any(block < N)):  # a code without the soft-mask bit is its own value
            return True
    return False

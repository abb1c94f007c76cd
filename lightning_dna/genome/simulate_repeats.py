"""Repeat families of a simulated genome: old and young copies of a few sequences, everywhere.

Copies differ from their family's sequence by substitutions and small insertions and deletions, more
so in old families; they lie on both strands, some cut short at the 5' end as retrotransposons often
are.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError
from lightning_dna.genome.alphabet import SOFT_MASK, Codes, reverse_complement
from lightning_dna.genome.intervals import runs
from lightning_dna.genome.simulate_background import sample_chain, transition_table

SHORTEST, LONGEST = 100, 1500
_SHORTEST_COPY = 60
_TRUNCATED = 0.3  # fraction of copies that lack a 5' part
_INDELS_PER_SUBSTITUTION = 0.1
_MEAN_INDEL = 2.5  # bases, geometric
_MOST_DIVERGENCE = 0.5
_ATTEMPTS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class RepeatFamily:
    """One family.

    Attributes:
        name: Name in every truth table.
        consensus: The sequence copies descend from, base codes 0 to 3.
        divergence: Mean fraction of bases substituted in its copies: its age.
    """

    name: str
    consensus: Codes
    divergence: float


@dataclass(frozen=True, kw_only=True)
class RepeatCopy:
    """The truth about one copy; 0-based half-open on the forward strand.

    Attributes:
        chrom: Chromosome.
        start: First base.
        end: End, excluded.
        strand: Strand on which it reads like the consensus.
        family: Name of its family.
        divergence: Substituted bases as a fraction of the consensus bases it still has.
        indels: Number of insertions and deletions.
        consensus_start: First base of the consensus it descends from; the last is the consensus'
            own.
    """

    chrom: str
    start: int
    end: int
    strand: Literal["+", "-"]
    family: str
    divergence: float
    indels: int
    consensus_start: int


def draw_families(n: int, divergence: float, rng: np.random.Generator) -> list[RepeatFamily]:
    """Draw families of 100 to 1500 bases, short and long, young and old.

    Lengths are spread evenly on a logarithmic scale, ages evenly between 0.3 and 1.7 times the
    mean, and the two are paired at random.

    Args:
        n: Number of families.
        divergence: Mean divergence over families, 0 to 0.3.
        rng: Source of randomness.

    Returns:
        The families, shortest first.
    """
    steps = (np.arange(n) + rng.random(n)) / max(n, 1)
    lengths = np.round(SHORTEST * (LONGEST / SHORTEST) ** steps).astype(int)
    ages = divergence * rng.permutation(np.linspace(0.3, 1.7, n) if n > 1 else np.ones(n))
    families = []
    for index, (length, age) in enumerate(zip(lengths, ages, strict=True)):
        table = transition_table(rng.uniform(0.38, 0.58), seed=int(rng.integers(2**32)))
        consensus = sample_chain([table], np.zeros(length, dtype=np.int64), rng)
        families.append(
            RepeatFamily(name=f"family{index + 1}", consensus=consensus, divergence=float(age))
        )
    return families


def mutate(
    consensus: Codes, divergence: float, rng: np.random.Generator
) -> tuple[Codes, float, int]:
    """Let a copy diverge from its ancestor.

    Args:
        consensus: The ancestor, base codes 0 to 3.
        divergence: Probability that a base is substituted; transitions are as frequent as both
            transversions together. Insertions and deletions start a tenth as often.
        rng: Source of randomness.

    Returns:
        The copy, the fraction of its remaining ancestral bases that were substituted, and the
        number of insertions and deletions.
    """
    substituted = rng.random(len(consensus)) < divergence
    # A<->G and C<->T differ by exclusive or with 2; the transversions by 1 and 3.
    changes = rng.choice(np.array([2, 2, 1, 3], dtype=np.uint8), size=len(consensus))
    codes = np.where(substituted, consensus ^ changes, consensus).astype(np.uint8)
    events = np.flatnonzero(rng.random(len(consensus)) < divergence * _INDELS_PER_SUBSTITUTION)
    kept = np.ones(len(consensus), dtype=bool)
    pieces, last = [], 0
    for position in events:
        size = int(rng.geometric(1 / _MEAN_INDEL))
        if rng.random() < 0.5:
            kept[position : position + size] = False
        else:
            pieces += [codes[last:position][kept[last:position]]]
            pieces += [rng.integers(0, 4, size=size, dtype=np.uint8)]
            last = int(position)
    pieces.append(codes[last:][kept[last:]])
    remaining = max(int(kept.sum()), 1)
    return np.concatenate(pieces), float((substituted & kept).sum() / remaining), len(events)


def place_repeats(
    codes: Codes,
    protected: npt.NDArray[np.bool_],
    families: list[RepeatFamily],
    fraction: float,
    *,
    chrom: str,
    rng: np.random.Generator,
) -> list[RepeatCopy]:
    """Lay soft-masked copies over the free space of one chromosome, in place.

    Every family gets one copy first; after that families are drawn so that each covers about as
    many bases. Copies never touch one another or a protected base.

    Args:
        codes: Base codes of the chromosome; copies are written with the soft-mask bit.
        protected: Bases that must stay.
        families: The families.
        fraction: Fraction of the chromosome to cover at least; overshoots by less than one copy.
        chrom: Name of the chromosome.
        rng: Source of randomness.

    Returns:
        The copies, sorted by start.

    Raises:
        ConfigError: If the free space is too fragmented or too small for the fraction.
    """
    if not families or fraction == 0:
        return []
    taken = protected.copy()
    weights = np.array([1 / len(family.consensus) for family in families])
    weights /= weights.sum()
    copies: list[RepeatCopy] = []
    covered, failures = 0, 0
    while covered < fraction * len(codes) or len(copies) < len(families):
        pending = len(copies) < len(families)
        index = len(copies) if pending else int(rng.choice(len(families), p=weights))
        sequence, copy = _draw_copy(families[index], chrom, rng)
        start = _free_start(taken, len(sequence), rng)
        if start is None:
            failures += 1
            if failures == _ATTEMPTS:
                raise ConfigError(
                    f"simulated {chrom}: repeats cover {covered} of {len(codes)} bases and no "
                    f"more fit; lower repeat_fraction ({fraction:g}) or genes_per_chromosome, or "
                    f"raise chromosome_length."
                )
            continue
        end = start + len(sequence)
        codes[start:end] = sequence | np.uint8(SOFT_MASK)
        taken[max(start - 1, 0) : end + 1] = True
        covered += len(sequence)
        copies.append(replace(copy, start=start, end=end))
    return sorted(copies, key=lambda copy: copy.start)


def _draw_copy(
    family: RepeatFamily, chrom: str, rng: np.random.Generator
) -> tuple[Codes, RepeatCopy]:
    """Draw a copy as it reads on the forward strand; its place is still to be found."""
    first, length = 0, len(family.consensus)
    if rng.random() < _TRUNCATED and length > _SHORTEST_COPY:
        first = int(rng.integers(1, length - _SHORTEST_COPY + 1))
    own = min(family.divergence * float(rng.gamma(10.0, 0.1)), _MOST_DIVERGENCE)
    sequence, divergence, indels = mutate(family.consensus[first:], own, rng)
    forward = rng.random() < 0.5
    copy = RepeatCopy(
        chrom=chrom,
        start=0,
        end=len(sequence),
        strand="+" if forward else "-",
        family=family.name,
        divergence=divergence,
        indels=indels,
        consensus_start=first,
    )
    return sequence if forward else reverse_complement(sequence), copy


def _free_start(taken: npt.NDArray[np.bool_], length: int, rng: np.random.Generator) -> int | None:
    """Draw a start at which ``length`` bases are free, all such starts equally likely."""
    free = runs(~taken)
    starts = np.maximum(free[:, 1] - free[:, 0] - length + 1, 0)
    if starts.sum() == 0:
        return None
    chosen = int(rng.integers(starts.sum()))
    stretch = int(np.searchsorted(np.cumsum(starts), chosen, side="right"))
    return int(free[stretch, 0] + chosen - starts[:stretch].sum())

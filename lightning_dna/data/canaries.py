"""Canaries: sequences that nothing but this training holds, to measure what it learns by heart.

A canary is planted in the training windows a declared number of times, and later ranked by its loss
among references: sequences of the very same law that were planted nowhere (Carlini et al., The
Secret Sharer, USENIX Security 2019). What is ``random`` are independent bases, each of the four
with probability one quarter; what is ``shuffled`` are stretches of the training chromosomes with
their dinucleotides in another order. Canaries and references follow from the seed alone, and those
that are shuffled from the chromosomes too, so arms with the same settings have the same ones.

No torch here.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from lightning_dna.errors import ConfigError, DataError, unknown_name
from lightning_dna.genome.alphabet import CODE_BITS, Codes, N, decode
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.shuffles import dinucleotide_shuffles

CanaryKind = Literal["random", "shuffled"]

# The rank of a canary among R places gives no p-value below 1 / R: this many references at least
# make one below 0.05 possible.
FEWEST_REFERENCES = 20
_MOST_TRIES = 10_000
_STREAM = 0x63616E79  # "cany": keeps these draws apart from any other use of the same seed
_TIES = 0x74696573  # "ties"
_SOURCE, _REFERENCES, _CANARY = 0, 1, 2  # what is drawn; canaries add their repetitions


@dataclass(frozen=True, kw_only=True)
class CanaryConfig:
    """Which canaries are planted in the training windows, and how often.

    Attributes:
        kinds: ``random`` (independent bases) and ``shuffled`` (dinucleotide shuffles of stretches
            of the training chromosomes).
        length: Bases of a canary, 16 or more.
        per_count: Different canaries of each kind for each number of repetitions.
        repetitions: How often a canary stands in the training windows, a group of canaries for
            each number. As many canaries that are planted nowhere, the control, are always added.
        references: Sequences of the same law that each canary is ranked with.
        tracked_references: The first of these, which the exposure over the training steps uses.
        max_share: Largest share of the bases of the training windows that canaries may take.
        seed: Seed of the sequences and of their places, the same for every training seed.
    """

    kinds: tuple[CanaryKind, ...] = ("random", "shuffled")
    length: int = 64
    per_count: int = 8
    repetitions: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    references: int = 1023
    tracked_references: int = 63
    max_share: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges; kinds and repetitions are kept in one order."""
        for kind in self.kinds:
            if kind not in get_args(CanaryKind):
                raise unknown_name("kind", kind, get_args(CanaryKind), where="data.canaries.kinds")
        lists = (("kinds", self.kinds), ("repetitions", self.repetitions))
        for name, values in lists:
            if not values or len(set(values)) < len(values):
                raise ConfigError(
                    f"data.canaries.{name} is {list(values)}; expected one or more, each once."
                )
        if min(self.repetitions) < 1:
            raise ConfigError(
                f"data.canaries.repetitions holds {min(self.repetitions)}; allowed: 1 or more. A"
                " control group that is planted nowhere is always added."
            )
        for name, lowest in (("length", 16), ("per_count", 1), ("seed", 0)):
            if getattr(self, name) < lowest:
                raise ConfigError(
                    f"data.canaries.{name} is {getattr(self, name)}; allowed: {lowest} or more."
                )
        self._check_references()
        if not 0.0 < self.max_share < 1.0:
            raise ConfigError(f"data.canaries.max_share is {self.max_share}; allowed: (0, 1).")
        object.__setattr__(self, "kinds", tuple(sorted(self.kinds)))
        object.__setattr__(self, "repetitions", tuple(sorted(self.repetitions)))

    def _check_references(self) -> None:
        """Refuse fewer references than a significant rank needs."""
        for name in ("references", "tracked_references"):
            found = getattr(self, name)
            if found < FEWEST_REFERENCES:
                raise ConfigError(
                    f"data.canaries.{name} is {found}: even the first of {found + 1} places has a"
                    f" p-value of 1/{found + 1}, which is not below 0.05; allowed:"
                    f" {FEWEST_REFERENCES} or more."
                )
        if self.tracked_references > self.references:
            raise ConfigError(
                f"data.canaries.tracked_references is {self.tracked_references}, above"
                f" data.canaries.references, {self.references}; lower it."
            )

    @property
    def groups(self) -> tuple[int, ...]:
        """Numbers of repetitions, the control group of 0 first."""
        return (0, *self.repetitions)

    @property
    def copies(self) -> int:
        """Copies of canaries in the training windows."""
        return len(self.kinds) * self.per_count * sum(self.repetitions)


@dataclass(frozen=True, kw_only=True, eq=False)
class Canary:
    """One canary.

    Attributes:
        kind: ``random`` or ``shuffled``.
        repetitions: How often it stands in the training windows; 0: nowhere.
        number: Its number in its group, from 0. Canaries of one kind and number share references.
        codes: Its bases, codes 0 to 3, shape ``(length,)``.
    """

    kind: CanaryKind
    repetitions: int
    number: int
    codes: Codes

    @property
    def name(self) -> str:
        """Its name in score tables: two different sequences never share one."""
        digest = hashlib.sha256(self.codes.tobytes()).hexdigest()[:8]
        return f"{self.kind}:x{self.repetitions}:{self.number}:{digest}"


class CanarySet:
    """All canaries of a training, and what they are ranked with.

    Args:
        config: Settings.
        genome: The genome, for shuffled canaries.
        chroms: Its training chromosomes.

    Raises:
        DataError: If no stretch without N is found for a shuffled canary.

    Example:
        >>> config = CanaryConfig(kinds=("random",), length=16, per_count=1, repetitions=(4,))
        >>> found = CanarySet(config, Genome.from_sequences({"chrI": "ACGT"}), ["chrI"])
        >>> [canary.name for canary in found.canaries]
        ['random:x0:0:926b5955', 'random:x4:0:e44af79a']
    """

    def __init__(self, config: CanaryConfig, genome: Genome, chroms: Sequence[str]) -> None:
        self.config = config
        self._genome = genome
        # In the order of the genome: a split may name the same chromosomes in another one.
        self._chroms = tuple(name for name in genome.names if name in chroms)
        self._sources = [
            self._source(number) if "shuffled" in config.kinds else None
            for number in range(config.per_count)
        ]

    @cached_property
    def canaries(self) -> tuple[Canary, ...]:
        """Every canary, by kind, repetitions and number; those of the control among them."""
        return tuple(
            Canary(
                kind=kind,
                repetitions=repetitions,
                number=number,
                codes=self._drawn(kind, number, 1, _CANARY + repetitions)[0],
            )
            for kind in self.config.kinds
            for repetitions in self.config.groups
            for number in range(self.config.per_count)
        )

    def references(self, kind: CanaryKind, number: int, count: int | None = None) -> Codes:
        """Draw what the canaries of one kind and number are ranked with.

        Args:
            kind: ``random`` or ``shuffled``.
            number: Number of the canaries in their groups.
            count: Only the first of them; ``None``: all.

        Returns:
            Codes 0 to 3, shape ``(count, length)``.
        """
        found = self._drawn(kind, number, self.config.references, _REFERENCES)
        return found[: self.config.references if count is None else count]

    def tie(self, canary: Canary) -> float:
        """Return a number in [0, 1) that places a canary among references of equal loss."""
        what = _CANARY + canary.repetitions
        return float(self._generator(canary.kind, canary.number, what, stream=_TIES).random())

    def digest(self) -> str:
        """Hash every canary and the stretches that references are shuffled from."""
        names = [canary.name for canary in self.canaries]
        names += [decode(source) for source in self._sources if source is not None]
        return hashlib.sha256("\n".join(names).encode()).hexdigest()[:24]

    def _drawn(self, kind: CanaryKind, number: int, count: int, what: int) -> Codes:
        """Draw sequences of the law of one kind and number."""
        generator = self._generator(kind, number, what)
        source = self._sources[number]
        if kind == "shuffled" and source is not None:
            return dinucleotide_shuffles(source, count, generator)
        return generator.integers(0, N, size=(count, self.config.length), dtype=np.uint8)

    def _generator(
        self, kind: CanaryKind, number: int, what: int, *, stream: int = _STREAM
    ) -> np.random.Generator:
        """Return a generator of its own for everything that is drawn."""
        which = get_args(CanaryKind).index(kind)
        counter = [0, what, 2 * number + which, stream]
        return np.random.Generator(np.random.Philox(key=self.config.seed, counter=counter))

    def _source(self, number: int) -> Codes:
        """Draw a stretch of the training chromosomes without N, each place alike."""
        length = self.config.length
        room = np.array([max(0, self._genome.lengths[c] - length + 1) for c in self._chroms])
        ends = np.cumsum(room)
        generator = self._generator("shuffled", number, _SOURCE)
        for _ in range(_MOST_TRIES if ends[-1] else 0):
            place = int(generator.integers(ends[-1]))
            which = int(np.searchsorted(ends, place, side="right"))
            start = place - int(ends[which] - room[which])
            stored = self._genome.stored(self._chroms[which])[start : start + length]
            codes = np.bitwise_and(stored, np.uint8(CODE_BITS))
            if int(codes.max()) < N:
                return codes
        raise DataError(
            f"no stretch of {length} bases without N was found on the training chromosomes to"
            " shuffle; lower data.canaries.length, or use data.canaries.kinds: [random]."
        )

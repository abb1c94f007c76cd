"""The windows of membership inference: members, windows matched to them, and mutated copies."""

import copy
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from lightning_dna.data.masking import evaluation_mask, stable_hash
from lightning_dna.data.windows import Windows, tile
from lightning_dna.errors import ConfigError, DataError, unknown_name
from lightning_dna.genome.alphabet import Codes, N
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.card_kinds import TaskKind
from lightning_dna.tasks.heldout_mlm import TOKENS_PER_BATCH, HeldoutMLM, Part, WindowBases
from lightning_dna.tasks.strata import GenomeStrata
from lightning_dna.tasks.window_matching import Pairs, matched_pairs, window_strata

CANDIDATES = 20
"""Windows of the first side that are looked at for each of the second: more find no more pairs."""


class MatchedWindows(HeldoutMLM):
    """Windows of two sides in pairs, to be scored like windows of held-out chromosomes.

    The part ``train`` holds the members: windows of the training chromosomes. The part ``test``
    holds as many windows of the test chromosomes, with the same strata. In a control both are held
    out: ``train`` then holds windows of the validation chromosomes, or every even one of the blocks
    of ``cluster_length`` bases on the validation and test chromosomes, ``test`` the odd ones.

    Args:
        card: A card of kind ``membership``.
        genome: The genome.
        split: Its chromosomes; what a counting baseline counts on are those for training.
        length: Window length in bases where the card does not fix one.
        strata: What else is known of the bases, for the matching.

    Raises:
        ConfigError: If the split has no test chromosome.
    """

    kind: ClassVar[TaskKind] = "membership"

    def __init__(
        self,
        card: TaskCard,
        genome: Genome,
        split: ChromosomeSplit,
        length: int,
        strata: GenomeStrata | None = None,
    ) -> None:
        super().__init__(card, genome, split, length)
        self._regions = strata
        self._copy = 0

    @property
    def held_out(self) -> tuple[str, ...]:
        """Validation and test chromosomes, in the order of the genome."""
        both = {*self.split.valid, *self.split.test}
        return tuple(chrom for chrom in self.genome.names if chrom in both)

    @property
    def chroms(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The chromosomes that the two sides are taken from.

        Raises:
            ConfigError: If a control needs validation chromosomes and there are none.
        """
        if self.card.control == "blocks":
            return self.held_out, self.held_out
        if self.card.control == "none":
            return self.split.train, self.split.test
        if not self.split.valid:
            raise ConfigError(
                f"task '{self.card.name}' compares validation with test chromosomes, but the split "
                f"has no validation chromosome; name some in data.split.valid, or set control: "
                f"blocks on the card."
            )
        return self.split.valid, self.split.test

    @cached_property
    def _all(self) -> tuple[Windows, Windows]:
        """Every window of the two sides; of a far larger first side some, evenly spread."""
        first, second = (tile(self.genome, some, length=self.length) for some in self.chroms)
        if self.card.control == "blocks":
            odd = (second.starts // self.card.cluster_length) % 2 == 1
            if odd.all() or not odd.any():
                raise DataError(
                    f"task '{self.card.name}': the held-out chromosomes hold fewer than two "
                    f"blocks of {self.card.cluster_length} bases; lower cluster_length on the card."
                )
            return second.select(~odd), second.select(odd)
        limit = CANDIDATES * len(second)
        if len(first) > limit:
            first = first.select(np.arange(limit, dtype=np.int64) * len(first) // limit)
        return first, second

    @cached_property
    def pairs(self) -> Pairs:
        """Which windows are paired.

        Raises:
            ConfigError: If the split lacks chromosomes for a side.
            DataError: If no window fits, none can be paired, or the annotation has nothing on a
                chromosome.
        """
        if self._regions is not None:
            self._regions.check(dict.fromkeys(chrom for some in self.chroms for chrom in some))
        first, second = (
            window_strata(self.genome, windows, self._regions) for windows in self._all
        )
        try:
            return matched_pairs(
                first, second, seed=self.card.mask_seed, most=self.card.max_windows
            )
        except DataError as error:
            raise DataError(f"task '{self.card.name}': {error}") from error

    @property
    def notes(self) -> tuple[str, ...]:
        """How many windows are compared, and what could not be matched."""
        number, unmatched = len(self._all[1]), self.pairs.unmatched
        sides = {
            "none": "training windows with as many windows of test chromosomes",
            "chromosomes": "windows of validation chromosomes with as many of test chromosomes",
            "blocks": "windows of even blocks of held-out chromosomes with as many of odd blocks",
        }[self.card.control]
        alike = "repeats, GC content and region" if self._regions else "repeats and GC content"
        text = f"Compares {len(self.pairs):,} {sides}, matched by {alike}."
        if unmatched:
            text += (
                f" {unmatched:,} of {number:,} windows of the second side found no partner, most of"
                f" them of the stratum '{self.pairs.worst}'."
            )
        return (text,)

    def windows(self, part: Part) -> Windows:
        """Return the windows of a side: ``train`` for members, ``test`` for those matched to them.

        Raises:
            ConfigError: If the part is neither.
        """
        if part not in ("train", "test"):
            raise unknown_name("part", part, ("train", "test"))
        if part not in self._windows:
            first, second = self._all
            self._windows["train"] = first.select(self.pairs.first)
            self._windows["test"] = second.select(self.pairs.second)
        return self._windows[part]

    def neighbour(self, number: int) -> "MatchedWindows":
        """Return the same windows with point mutations, the same ones for every model.

        Args:
            number: Which copy, from 1; 0 is the sequence as it is.
        """
        self.windows("train")
        other = copy.copy(self)
        other._copy = number
        return other

    def batches(self, part: Part, *, bases: int = TOKENS_PER_BATCH) -> Iterator[WindowBases]:
        """Read the windows of a part; hidden are the same bases in every copy."""
        for batch in super().batches(part, bases=bases):
            if not self._copy:
                yield batch
                continue
            codes = batch.codes.copy()
            for chrom, rows in batch.windows.by_chrom():
                positions = batch.windows.starts[rows, None] + np.arange(self.length)
                name = f"copy {self._copy} of {chrom}"
                codes[rows] = mutated(
                    codes[rows], name, positions, self.card.mutation_rate, self.card.mask_seed
                )
            yield replace(batch, codes=codes)


def mutated(
    codes: Codes, name: str, positions: npt.NDArray[np.int64], rate: float, seed: int
) -> Codes:
    """Put other bases in the place of some, by genomic position; N stays.

    Args:
        codes: Base codes 0 to 4, of any shape.
        name: Chromosome and copy: each has its own mutations.
        positions: 0-based position of each base, of the same shape.
        rate: Expected share of the bases that are mutated, in (0, 1).
        seed: Seed of the mutations, 0 or more.

    Returns:
        New codes of the same shape; the three other bases are equally likely.

    Example:
        >>> codes = np.zeros(1000, dtype=np.uint8)
        >>> counts = np.bincount(mutated(codes, "1", np.arange(1000), 0.3, 0))
        >>> bool((abs(counts[1:] - 100) < 30).all())
        True
    """
    changed = evaluation_mask(seed, name, positions, rate) & (codes < N)
    key = stable_hash(np.array([seed], dtype=np.uint64), zlib.crc32(f"{name}, base".encode()))
    step = stable_hash(positions.astype(np.uint64), int(key[0])) % np.uint64(N - 1)
    other = (codes.astype(np.uint64) + step + np.uint64(1)) % np.uint64(N)
    result: Codes = np.where(changed, other.astype(np.uint8), codes)
    return result

"""What a repeat policy changes in the rows of a step: joined stretches, classes, hidden repeats."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_dna.data.stream import Rows
from lightning_dna.genome.alphabet import SOFT_MASK, Codes, N
from lightning_dna.genome.intervals import Intervals, covered
from lightning_dna.genome.repeat_annotation import RepeatAnnotation
from lightning_dna.genome.repeats import RepeatPolicy, loss_weights


class JoinedStretches:
    """From coordinates along joined stretches back to pieces of the genome.

    Args:
        joined: The joined stretches of each chromosome, as in ``Windows.joined``.
    """

    def __init__(self, joined: Sequence[Intervals]) -> None:
        everything = np.concatenate([*joined])
        sizes = np.diff(everything).ravel()
        self._starts = everything[:, 0]
        self._ends = np.cumsum(sizes)  # of each stretch, along all chromosomes joined
        self._firsts = self._ends - sizes
        totals = [int(np.diff(stretches).sum()) for stretches in joined]
        self._bases = np.cumsum([0, *totals])[:-1]  # where each chromosome begins there

    def pieces(self, rows: Rows) -> Rows:
        """Cut rows at junctions: the same bases in the same order, in genomic coordinates.

        Args:
            rows: Rows whose ``starts`` and ``ends`` count along the joined stretches.

        Returns:
            One row or more for each; those of a row that is read on the reverse strand come last
            piece first.
        """
        low = self._bases[rows.chrom_index] + rows.starts
        high = self._bases[rows.chrom_index] + rows.ends
        first = np.searchsorted(self._ends, low, side="right")
        last = np.searchsorted(self._ends, high, side="left")
        counts = last - first + 1
        owner = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        flipped = rows.flipped[owner]
        piece = np.where(flipped, last[owner] - within, first[owner] + within)
        shift = self._starts[piece] - self._firsts[piece]
        return Rows(
            chrom_index=rows.chrom_index[owner],
            starts=np.maximum(low[owner], self._firsts[piece]) + shift,
            ends=np.minimum(high[owner], self._ends[piece]) + shift,
            flipped=flipped,
        )


class ChromosomeTreatment(NamedTuple):
    """How training treats the repeats of one chromosome.

    Attributes:
        policy: The policy.
        stretches: The repeats, where they are not the soft-masked bases.
    """

    policy: RepeatPolicy
    stretches: Intervals | None = None


def treatments(
    policy: RepeatPolicy, chroms: Sequence[str], repeats: RepeatAnnotation | None
) -> tuple[ChromosomeTreatment, ...]:
    """Return the treatment of each chromosome of one genome.

    Args:
        policy: The policy.
        chroms: Chromosomes, by their names in ``repeats``.
        repeats: Repeats by class; needed if the policy names classes.
    """
    if repeats is None or not policy.classes:
        return tuple(ChromosomeTreatment(policy) for _ in chroms)
    return tuple(
        ChromosomeTreatment(policy, repeats.intervals(chrom, policy.classes)) for chrom in chroms
    )


class RowTreatment:
    """Treats the repeats in rows as the policy of each row's chromosome says.

    Args:
        chromosomes: Treatment of each chromosome that rows point into.
    """

    def __init__(self, chromosomes: Sequence[ChromosomeTreatment]) -> None:
        policies = [treatment.policy for treatment in chromosomes]
        stretches = [treatment.stretches for treatment in chromosomes]
        self._stretches = stretches if any(rows is not None for rows in stretches) else None
        self._hides = np.array([policy.name == "hard-mask" for policy in policies])
        self._only = policies[0] if len(set(policies)) == 1 else None
        self._downweights = np.array([policy.name == "downweight" for policy in policies])
        weights = [policy.weight if policy.name == "downweight" else 1.0 for policy in policies]
        self._weights = np.array(weights, dtype=np.float32)

    def apply(self, stored: Codes, rows: Rows) -> None:
        """Mark as repeats what the policies treat, and hide what they hide, in place.

        Args:
            stored: The bytes of the rows one after the other, as `gather` returns them.
            rows: The rows, in genomic coordinates.
        """
        if self._stretches is not None:
            self._mark(stored, rows, self._stretches)
        if self._hides.all():
            hide_repeats(stored)
        elif self._hides.any():
            hidden = _by_base(self._hides, rows) & ((stored & SOFT_MASK) != 0)
            stored[hidden] = N

    def weights(self, stored: Codes, rows: Rows) -> NDArray[np.float32] | None:
        """Return the loss weight of each base of treated rows; ``None`` where all weigh 1."""
        if not self._downweights.any():
            return None
        repeat = (stored & SOFT_MASK) != 0
        if self._only is not None:
            return loss_weights(self._only, repeat)
        return np.where(repeat, _by_base(self._weights, rows), np.float32(1.0))

    @staticmethod
    def _mark(stored: Codes, rows: Rows, stretches: Sequence[Intervals | None]) -> None:
        """Set the soft-mask bit of the stored bytes anew where repeats are told by class."""
        flags = (stored & SOFT_MASK) != 0
        at = 0
        columns = (column.tolist() for column in rows)
        for index, start, end, flipped in zip(*columns, strict=True):
            here = stretches[index]
            if here is not None:
                found = covered(here, start, end)
                flags[at : at + end - start] = found[::-1] if flipped else found
            at += end - start
        stored &= np.uint8(~SOFT_MASK & 0xFF)
        stored |= flags.view(np.uint8) * np.uint8(SOFT_MASK)


def _by_base(values: NDArray[Any], rows: Rows) -> NDArray[Any]:
    """Repeat the value of each row's chromosome for each of its bases."""
    return np.repeat(values[rows.chrom_index], rows.ends - rows.starts)


def hide_repeats(stored: Codes) -> None:
    """Turn marked bases into N, in place: seen as unknown, never predicted."""
    repeat: NDArray[np.bool_] = (stored & SOFT_MASK) != 0
    stored[repeat] = N

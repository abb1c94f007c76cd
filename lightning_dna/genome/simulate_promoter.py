"""The promoter task: is a pair of motifs at the distance the grammar asks for?

A sequence is cut into slots of some 60 bases. In a positive every slot holds one pair of
``PROMOTER_GRAMMAR`` at an allowed spacing. Half of the negatives hold the same motifs at other
spacings, the rest hold background alone. So motif content alone is worth something (3/4 of the
noise-free labels), and only the spacing, within some 50 bases, is worth all there is.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lightning_dna.genome.alphabet import Codes
from lightning_dna.genome.simulate_background import (
    ORDER,
    Table,
    background_log_probabilities,
    sample_guided,
    transition_table,
)
from lightning_dna.genome.simulate_motifs import (
    PROMOTER_GRAMMAR,
    WRONG_SPACINGS,
    MotifPair,
    place_motifs,
)

_SLOT_LENGTH = 60


@dataclass(frozen=True, kw_only=True)
class PromoterTask:
    """The generative model of the promoter task; its exact posterior is in closed form.

    Attributes:
        grammar: The motif pairs, equally likely.
        gc: GC content of the background.
        decoy_fraction: Fraction of the negatives that hold a wrongly spaced pair.
        label_noise: Probability that a label is flipped after the sequence was drawn.
    """

    grammar: tuple[MotifPair, ...] = PROMOTER_GRAMMAR
    gc: float = 0.38
    decoy_fraction: float = 0.5
    label_noise: float = 0.03

    @property
    def minimum_length(self) -> int:
        """Shortest sequence, in bases, that holds every pair at every spacing."""
        longest = max(len(pair.upstream) + len(pair.downstream) for pair in self.grammar)
        return ORDER + longest + max(WRONG_SPACINGS)

    def sample(
        self, n: int, length: int, rng: np.random.Generator
    ) -> tuple[Codes, npt.NDArray[np.int64]]:
        """Draw sequences with their true labels, before label noise.

        Args:
            n: Number of sequences.
            length: Their length in bases.
            rng: Source of randomness.

        Returns:
            Base codes, shape ``(n, length)``, and labels 0 or 1, shape ``(n,)``; positives have
            probability one half each.
        """
        truth = rng.integers(0, 2, size=n)
        has_pairs = (truth == 1) | (rng.random(n) < self.decoy_fraction)
        guide = np.full((n, length), -1)
        for slot in self.slots(length):
            self._guide_slot(guide, slot, np.flatnonzero(has_pairs & (truth == 1)), rng, right=True)
            self._guide_slot(
                guide, slot, np.flatnonzero(has_pairs & (truth == 0)), rng, right=False
            )
        motifs = [motif for pair in self.grammar for motif in (pair.upstream, pair.downstream)]
        emissions = np.vstack([motif.probabilities for motif in motifs])
        return sample_guided(self.background(), emissions, guide, rng), truth

    def log_odds(self, codes: Codes) -> Table:
        """Return log P(sequence | positive) - log P(sequence | negative), before label noise.

        In each slot every pair, spacing and position is enumerated; the slots are independent given
        the kind of sequence. All likelihoods are relative to background alone, whose own likelihood
        cancels.

        Args:
            codes: Base codes 0 to 3, shape ``(n, length)``.

        Returns:
            Natural logarithms, shape ``(n,)``.
        """
        background = background_log_probabilities(codes, self.background())
        slots = self.slots(codes.shape[1])
        right = np.zeros((codes.shape[0], len(slots)))
        wrong = np.zeros((codes.shape[0], len(slots)))
        for pair in self.grammar:
            first = np.exp(pair.upstream.log_ratios(codes, background))
            second = np.exp(pair.downstream.log_ratios(codes, background))
            for index, slot in enumerate(slots):
                right[:, index] += _mean_ratio(pair, first, second, slot, pair.spacings)
                wrong[:, index] += _mean_ratio(pair, first, second, slot, _wrong_spacings(pair))
        pairs = len(self.grammar)
        positive = np.log(right / pairs).sum(axis=1)
        decoy = np.log(wrong / pairs).sum(axis=1)
        with np.errstate(divide="ignore"):  # without decoys, log 0 is the right weight for them
            weights = np.log([self.decoy_fraction, 1 - self.decoy_fraction])
        return np.asarray(positive - np.logaddexp(weights[0] + decoy, weights[1]))

    def slots(self, length: int) -> list[range]:
        """Cut a sequence into equal slots that hold one pair each, after the first two bases.

        Example:
            >>> PromoterTask().slots(140)
            [range(2, 71), range(71, 140)]
        """
        n_slots = max(1, (length - ORDER) // _SLOT_LENGTH)
        edges = ORDER + (length - ORDER) * np.arange(n_slots + 1) // n_slots
        return [range(int(a), int(b)) for a, b in pairwise(edges)]

    def _guide_slot(
        self,
        guide: npt.NDArray[np.int64],
        slot: range,
        rows: npt.NDArray[np.int64],
        rng: np.random.Generator,
        *,
        right: bool,
    ) -> None:
        """Place one pair in ``slot`` of each of ``rows``: pair, then spacing, then position."""
        which = rng.integers(0, len(self.grammar), size=len(rows))
        motifs = [motif for pair in self.grammar for motif in (pair.upstream, pair.downstream)]
        for index, pair in enumerate(self.grammar):
            chosen = rows[which == index]
            spacings = pair.spacings if right else _wrong_spacings(pair)
            shift = len(pair.upstream) + rng.choice(spacings, size=len(chosen))
            start = rng.integers(slot.start, slot.stop - shift - len(pair.downstream) + 1)
            place_motifs(guide, motifs, 2 * index, chosen, start)
            place_motifs(guide, motifs, 2 * index + 1, chosen, start + shift)

    def background(self) -> Table:
        """Return the background chain, shape ``(16, 4)``."""
        return transition_table(self.gc, seed=0)


def _wrong_spacings(pair: MotifPair) -> tuple[int, ...]:
    """List the spacings at which the pair means nothing."""
    return tuple(spacing for spacing in WRONG_SPACINGS if spacing not in pair.spacings)


def _mean_ratio(
    pair: MotifPair, first: Table, second: Table, slot: range, spacings: tuple[int, ...]
) -> Table:
    """Average the likelihood ratio of a pair over equally likely spacings and positions.

    Args:
        pair: The pair, for the lengths of its motifs.
        first: Likelihood ratio of the upstream motif at each start, shape ``(n, starts)``.
        second: The same of the downstream motif.
        slot: Positions that the pair may cover.
        spacings: Bases between the two.

    Returns:
        Shape ``(n,)``.
    """
    total = np.zeros(first.shape[0])
    for spacing in spacings:
        shift = len(pair.upstream) + spacing
        stop = slot.stop - shift - len(pair.downstream) + 1
        together = np.einsum(
            "ns,ns->n", first[:, slot.start : stop], second[:, slot.start + shift : stop + shift]
        )
        total += together / (stop - slot.start)
    return total / len(spacings)

"""The long-range task: do two far-apart repeats point the same way?

Near the left end lies a (GA)n or, read on the other strand, (CT)n tract; near the right end a (GT)n
or (CA)n tract. Each is oriented by its own fair coin, and the label says whether the coins agree.

What follows, for every model whose log-odds only *adds up* what it sees in windows too short to
reach both tracts, whatever the number and position of those windows:

- What such a window shows depends on one of the coins, and either coin alone says nothing about the
  label. (The background between keeps a trace of the coin to its left, but forgets it at a
  geometric rate: after ``minimum_distance`` bases nothing that float64 can hold is left.)
- Cross-entropy is convex in an additive log-odds and its gradient at the constant is zero, so the
  best such model *is* the constant one: none beats log 2 nats, none is better than a coin.
- Thresholding an additive score puts a half-plane over the two coins, which can agree with at most
  three of their four cases. So even a score picked *for its test accuracy* stays at or below 3/4 of
  the noise-free labels, and a fitted one wanders around 1/2 with more than binomial spread.

A model that multiplies pooled features (maximum pooling, a hidden layer after pooling) is not
additive and can join the two ends; the argument is about a linear head on mean-pooled features.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from lightning_dna.genome.alphabet import Codes
from lightning_dna.genome.simulate_background import (
    ORDER,
    Table,
    background_log_probabilities,
    sample_guided,
    transition_table,
)
from lightning_dna.genome.simulate_motifs import Motif, place_motifs


@dataclass(frozen=True, kw_only=True)
class LongRangeTask:
    """The generative model of the long-range task; its exact posterior is in closed form.

    Attributes:
        left: The repeated unit of the left tract in its two orientations.
        right: The repeated unit of the right tract in its two orientations.
        conservation: Probability of the unit's own base at each position of a tract.
        tract_share: Length of a tract as a fraction of the sequence, rounded down to whole units.
        jitter: Each tract lies 0 to this many bases from its end of the sequence.
        gc: GC content of the background.
        label_noise: Probability that a label is flipped after the sequence was drawn.
        minimum_distance: Fewest bases between the two tracts.
    """

    left: tuple[str, str] = ("GA", "CT")
    right: tuple[str, str] = ("GT", "CA")
    conservation: float = 0.92
    tract_share: float = 0.2
    jitter: int = 8
    gc: float = 0.42
    label_noise: float = 0.05
    minimum_distance: int = 64

    @property
    def minimum_length(self) -> int:
        """Shortest sequence, in bases, that keeps the tracts apart by ``minimum_distance``."""
        fixed = ORDER + 2 * self.jitter + self.minimum_distance
        return math.ceil(fixed / (1 - 2 * self.tract_share))

    def tracts(self, length: int) -> list[Motif]:
        """Return both orientations of the left tract, then both of the right one.

        Args:
            length: Length of the sequence in bases.
        """
        repeats = int(length * self.tract_share) // len(self.left[0])
        return [
            Motif(consensus=unit * repeats, conservation=self.conservation)
            for unit in (*self.left, *self.right)
        ]

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
        left, right = rng.integers(0, 2, size=(2, n))
        left_start = ORDER + rng.integers(0, self.jitter + 1, size=n)
        motifs = self.tracts(length)
        right_start = length - len(motifs[0]) - rng.integers(0, self.jitter + 1, size=n)
        guide = np.full((n, length), -1)
        for index in (0, 1):
            on_left, on_right = np.flatnonzero(left == index), np.flatnonzero(right == index)
            place_motifs(guide, motifs, index, on_left, left_start[on_left])
            place_motifs(guide, motifs, 2 + index, on_right, right_start[on_right])
        emissions = np.vstack([motif.probabilities for motif in motifs])
        codes = sample_guided(self.background(), emissions, guide, rng)
        return codes, (left == right).astype(np.int64)

    def log_odds(self, codes: Codes) -> Table:
        """Return log P(sequence | positive) - log P(sequence | negative), before label noise.

        Orientations and positions are enumerated. The two tracts never overlap, so the sums over
        their positions are separate factors, and the background's likelihood cancels.

        Args:
            codes: Base codes 0 to 3, shape ``(n, length)``.

        Returns:
            Natural logarithms, shape ``(n,)``.
        """
        background = background_log_probabilities(codes, self.background())
        from_left = slice(ORDER, ORDER + self.jitter + 1)
        from_right = slice(-self.jitter - 1, None)
        scores = [tract.log_ratios(codes, background) for tract in self.tracts(codes.shape[1])]
        left = [logsumexp(score[:, from_left], axis=1) for score in scores[:2]]
        right = [logsumexp(score[:, from_right], axis=1) for score in scores[2:]]
        same = np.logaddexp(left[0] + right[0], left[1] + right[1])
        different = np.logaddexp(left[0] + right[1], left[1] + right[0])
        return np.asarray(same - different)

    def background(self) -> Table:
        """Return the background chain, shape ``(16, 4)``."""
        return transition_table(self.gc, seed=0)

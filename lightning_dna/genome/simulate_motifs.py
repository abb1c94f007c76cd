"""The words of simulated DNA: short motifs, and the promoter grammar made of spaced pairs.

These tables are constants, not seeded: the promoters of every simulated genome and the examples of
the labelled tasks speak the same grammar, so what a model learned from the genome can help in the
task.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lightning_dna.genome.alphabet import Codes, encode
from lightning_dna.genome.simulate_background import Table


@dataclass(frozen=True, kw_only=True)
class Motif:
    """A short pattern in which each base is drawn by itself, mostly the consensus.

    Attributes:
        consensus: Upper-case A, C, G, T.
        conservation: Probability of the consensus base at each position; the other three share the
            rest equally.
    """

    consensus: str
    conservation: float = 0.9

    def __len__(self) -> int:
        return len(self.consensus)

    @property
    def probabilities(self) -> Table:
        """Base probabilities, shape ``(length, 4)``, columns A, C, G, T.

        Example:
            >>> Motif(consensus="AG", conservation=0.7).probabilities.round(2).tolist()
            [[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1]]
        """
        matrix = np.full((len(self), 4), (1 - self.conservation) / 3)
        matrix[np.arange(len(self)), encode(self.consensus)] = self.conservation
        return matrix

    def sample(self, rng: np.random.Generator) -> Codes:
        """Draw one instance as base codes, shape ``(length,)``."""
        cumulative = np.cumsum(self.probabilities, axis=1)[:, :3]
        drawn = (rng.random((len(self), 1)) >= cumulative).sum(axis=1)
        return np.asarray(drawn, dtype=np.uint8)

    def log_ratios(self, codes: Codes, background: Table) -> Table:
        """Score every placement against the background that would have been there.

        Args:
            codes: Base codes 0 to 3, shape ``(n, length)``.
            background: log P(base | context) of the same positions, shape ``(n, length)``.

        Returns:
            Shape ``(n, length - len(self) + 1)``: log P(bases | motif starts here) minus
            log P(bases | background), natural logarithms.
        """
        columns = np.log(self.probabilities)
        starts = codes.shape[1] - len(self) + 1
        scores = np.zeros((codes.shape[0], starts))
        for offset, column in enumerate(columns):
            window = slice(offset, offset + starts)
            scores += column[codes[:, window]] - background[:, window]
        return scores


@dataclass(frozen=True, kw_only=True)
class MotifPair:
    """Two motifs that mean something only at the right distance.

    Attributes:
        name: Name in the truth tables.
        upstream: The motif farther from the transcription start.
        downstream: The motif nearer to it.
        spacings: Allowed numbers of bases between the two, equally likely.
    """

    name: str
    upstream: Motif
    downstream: Motif
    spacings: tuple[int, ...]


PROMOTER_GRAMMAR = (
    MotifPair(
        name="alpha",
        upstream=Motif(consensus="GGTGACGTCACC"),
        downstream=Motif(consensus="GCTATAAAAGGC"),
        spacings=(10, 11, 12),
    ),
    MotifPair(
        name="beta",
        upstream=Motif(consensus="AGCCAATCGGCG"),
        downstream=Motif(consensus="ACCGGAAGTGCC"),
        spacings=(16, 17, 18),
    ),
    MotifPair(
        name="gamma",
        upstream=Motif(consensus="GCCACGTGACCG"),
        downstream=Motif(consensus="GGGGGCGGGGCT"),
        spacings=(22, 23, 24),
    ),
)
WRONG_SPACINGS = tuple(range(4, 31))  # of decoy pairs, less the spacings allowed for that pair


def place_motifs(
    guide: npt.NDArray[np.int64],
    motifs: list[Motif],
    index: int,
    rows: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
) -> None:
    """Write one motif into some rows of the guide of ``sample_guided``, in place.

    Args:
        guide: Shape ``(n, length)``: the row of the stacked motif columns that draws a position.
        motifs: All motifs, in the order in which their columns are stacked.
        index: Which of them to place.
        rows: Rows of the guide, shape ``(k,)``.
        starts: 0-based start in each of these rows, shape ``(k,)``.
    """
    first_column = sum(len(motif) for motif in motifs[:index])
    offsets = np.arange(len(motifs[index]))
    guide[rows[:, None], starts[:, None] + offsets] = first_column + offsets

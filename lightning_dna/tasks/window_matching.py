"""Windows of two sides matched one to one by what they hold: repeats, GC content, annotation.

A model tells the two sides of a genome apart by composition alone where they differ in it. Pairs of
windows in equal strata leave that out, up to what the strata do not see.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lightning_dna.data.windows import Windows
from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import CODE_BITS, SOFT_MASK, Codes
from lightning_dna.genome.annotation import gc_names, gc_strata
from lightning_dna.genome.fasta import Genome
from lightning_dna.tasks.strata import (
    CLASS_PREFIX,
    DIVERGENCE_PREFIX,
    SEPARATOR,
    GenomeStrata,
)

Index = npt.NDArray[np.int64]

REPEAT_EDGES = (0.0, 0.1, 0.5, 0.9)
"""Shares of repeat bases at which a bin ends; the first holds windows without any."""
REPEAT_NAMES = (
    "no repeat",
    "repeat to 10 %",
    "repeat to 50 %",
    "repeat to 90 %",
    "repeat above 90 %",
)
GC_EDGES = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65)
"""Finer than those that held-out scores are shown by: composition must not pose as memory."""

_KEY = 0x70616972  # "pair": keeps these draws apart from any other use of the same seed
_BLOCK = 1 << 22  # bases looked at together


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """What `matched_pairs` found.

    Attributes:
        first: Chosen windows of the first side, ascending, int64 of shape ``(pairs,)``.
        second: Those of the second side, with as many in every stratum.
        unmatched: Windows of the second side for which the first has none left.
        worst: The stratum with most of them; ``""`` if there are none.
    """

    first: Index
    second: Index
    unmatched: int
    worst: str

    def __len__(self) -> int:
        return len(self.first)


def window_strata(
    genome: Genome, windows: Windows, strata: GenomeStrata | None = None
) -> npt.NDArray[np.str_]:
    """Name the stratum of each window: repeats, GC content, and the region that most bases are in.

    Args:
        genome: The genome.
        windows: The windows, all of one length.
        strata: What else is known of the bases; regions are taken from it, codon positions
            together, and with several genomes the genome.

    Returns:
        Names such as ``"no repeat, gc_35_40, intron"``, shape ``(windows,)``.

    Example:
        >>> from lightning_dna.data.windows import tile
        >>> genome = Genome.from_sequences({"1": "ACGTacgtaaaa"})
        >>> window_strata(genome, tile(genome, ["1"], length=6)).tolist()
        ['repeat to 50 %, gc_50_55', 'repeat above 90 %, gc_0_25']
    """
    if not len(windows):
        return np.zeros(0, dtype=np.str_)
    regions = None if strata is None else _Regions(strata)
    names = np.empty(len(windows), dtype=object)
    length = int(windows.lengths[0])
    bins = gc_names(GC_EDGES)
    for chrom, members in windows.by_chrom():
        for rows in np.array_split(members, max(1, len(members) * length // _BLOCK)):
            starts = windows.starts[rows]
            stored = genome.stored(chrom)[starts[:, None] + np.arange(length)]
            codes = np.bitwise_and(stored, np.uint8(CODE_BITS))
            soft = (stored & SOFT_MASK) != 0
            share = np.searchsorted(REPEAT_EDGES, soft.mean(axis=1), side="left")
            gc = gc_strata(codes, GC_EDGES)
            parts = [[REPEAT_NAMES[i] for i in share], [bins[i] for i in gc]]
            if regions is not None:
                parts.append(regions.of_windows(chrom, starts, codes, soft))
            names[rows] = [
                ", ".join(part for part in one if part) for one in zip(*parts, strict=True)
            ]
    return names.astype(np.str_)


class _Regions:
    """The regions of a genome's strata: what is left without repeats, GC and codon positions."""

    def __init__(self, strata: GenomeStrata) -> None:
        self._strata = strata
        found = [_region(label) for label in strata.labels]
        self._names = list(dict.fromkeys(found))
        self._of_label = np.array([self._names.index(name) for name in found])

    def of_windows(
        self, chrom: str, starts: Index, codes: Codes, soft: npt.NDArray[np.bool_]
    ) -> list[str]:
        """Return the region that most bases of each window are in, the first among equals."""
        region = self._of_label[self._strata.of_windows(chrom, starts, codes, soft)]
        size = len(self._names)
        cell = region + size * np.arange(len(region))[:, None]
        counts = np.bincount(cell.ravel(), minlength=size * len(region)).reshape(-1, size)
        return [self._names[one] for one in counts.argmax(axis=1)]


def _region(label: str) -> str:
    """Return what a base's stratum says of its region.

    Example:
        >>> _region("unique+codon_2+gc_30_40"), _region("repeat+yeast+intron+gc_0_30+class_LTR")
        ('coding', 'yeast intron')
    """
    parts = [
        "coding" if part.startswith(("codon_", "cds_")) else part
        for part in label.split(SEPARATOR)[1:]
        if not part.startswith(("gc_", CLASS_PREFIX, DIVERGENCE_PREFIX))
    ]
    return " ".join(parts)


def matched_pairs(
    first: npt.NDArray[np.str_],
    second: npt.NDArray[np.str_],
    *,
    seed: int,
    most: int | None = None,
) -> Pairs:
    """Choose as many windows of one side as of the other in every stratum, at random.

    In each stratum all windows of the side that has fewer are chosen, and as many of the other.

    Args:
        first: Stratum of each window of the first side.
        second: Stratum of each window of the second side.
        seed: Seed of the choice, 0 or more.
        most: Largest number of pairs; those that are kept are a random choice too.

    Returns:
        The pairs, and how many windows of the second side found no partner.

    Raises:
        DataError: If no stratum has windows of both sides.

    Example:
        >>> found = matched_pairs(np.array(["a", "b", "a"]), np.array(["a", "c"]), seed=0)
        >>> len(found), found.second.tolist(), found.unmatched, found.worst
        (1, [0], 1, 'c')
    """
    rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, _KEY, 0]))
    chosen: list[tuple[Index, Index]] = []
    lacking: Counter[str] = Counter()
    for name in np.unique(np.concatenate([first, second])).tolist():
        sides = [rng.permutation(np.flatnonzero(side == name)) for side in (first, second)]
        size = min(map(len, sides))
        chosen.append((sides[0][:size], sides[1][:size]))
        lacking[name] = len(sides[1]) - size
    pairs = (
        np.concatenate([np.stack(one) for one in chosen], axis=1) if chosen else np.zeros((2, 0))
    )
    if not pairs.shape[1]:
        raise DataError(
            f"none of the {len(first)} and {len(second)} windows of the two sides have the same "
            f"repeats, GC content and region, so that nothing can be matched; use shorter windows, "
            f"or other chromosomes."
        )
    if most is not None:
        pairs = pairs[:, rng.permutation(pairs.shape[1])[:most]]
    [(worst, count)] = lacking.most_common(1)
    return Pairs(
        first=np.sort(pairs[0]),
        second=np.sort(pairs[1]),
        unmatched=sum(lacking.values()),
        worst=worst if count else "",
    )

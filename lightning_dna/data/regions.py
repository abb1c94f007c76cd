"""Stretches of a genome with many labels each, read from the genome when they are needed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
import numpy.typing as npt

from lightning_dna.data.examples import Indices
from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import Codes, N, reverse_complement
from lightning_dna.genome.fasta import Genome

Labels = npt.NDArray[np.int8]

IGNORED = -1
"""Label of a position that counts neither in the loss nor in a score."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionSequences(Sequence[Codes]):
    """The base codes of regions, cut from the genome one at a time.

    Attributes:
        genome: The genome.
        chroms: (n,) chromosome of each region, as the genome names it.
        starts: (n,) first base, 0-based; may lie before the chromosome, where bases are N.
        ends: (n,) end, excluded; may lie beyond the chromosome.
        reverse: (n,) whether a region is read as its reverse complement.

    Example:
        >>> genome = Genome.from_sequences({"chr1": "AACGT"})
        >>> regions = RegionSequences(
        ...     genome=genome, chroms=np.array(["chr1", "chr1"]), starts=np.array([-1, 1]),
        ...     ends=np.array([2, 4]), reverse=np.array([False, True]),
        ... )
        >>> [codes.tolist() for codes in regions]
        [[4, 0, 0], [1, 2, 3]]
    """

    genome: Genome
    chroms: npt.NDArray[np.str_]
    starts: Indices
    ends: Indices
    reverse: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.chroms)

    @overload
    def __getitem__(self, index: int) -> Codes: ...
    @overload
    def __getitem__(self, index: slice) -> "list[Codes]": ...
    def __getitem__(self, index: int | slice) -> "Codes | list[Codes]":
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        chrom = str(self.chroms[index])
        start, end = int(self.starts[index]), int(self.ends[index])
        inside = self.genome.codes(chrom, max(0, start), min(end, self.genome.lengths[chrom]))
        codes = np.full(end - start, N, dtype=np.uint8)
        codes[max(0, -start) : max(0, -start) + len(inside)] = inside
        return reverse_complement(codes) if self.reverse[index] else codes


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledRegions:
    """Sequences with many labels each.

    Attributes:
        codes: Base codes 0 to 4 (A, C, G, T, N) of each sequence.
        labels: (n, labels) 0 or 1 for each label of a region; or (n, most bins) the class of each
            bin of a sequence, ``IGNORED`` where there is none.
        ids: Name of each sequence, unique.
        clusters: Cluster of each sequence.

    Raises:
        DataError: If the columns differ in length.
    """

    codes: Sequence[Codes]
    labels: Labels
    ids: tuple[str, ...]
    clusters: tuple[str, ...]

    def __post_init__(self) -> None:
        sizes = (len(self.codes), len(self.labels), len(self.ids), len(self.clusters))
        if len(set(sizes)) != 1:
            raise DataError(
                f"labelled regions have {sizes[0]} sequences, {sizes[1]} rows of labels, "
                f"{sizes[2]} ids and {sizes[3]} clusters; one of each is needed."
            )

    def __len__(self) -> int:
        return len(self.codes)

    def select(self, rows: Indices) -> "LabelledRegions":
        """Return some regions, in the order given."""
        codes = self.codes
        if isinstance(codes, RegionSequences):
            codes = replace(
                codes,
                chroms=codes.chroms[rows],
                starts=codes.starts[rows],
                ends=codes.ends[rows],
                reverse=codes.reverse[rows],
            )
        else:
            codes = [codes[row] for row in rows]
        return LabelledRegions(
            codes=codes,
            labels=self.labels[rows],
            ids=tuple(self.ids[row] for row in rows),
            clusters=tuple(self.clusters[row] for row in rows),
        )

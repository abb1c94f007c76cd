"""Where genes, exons, codons, introns and promoters lie: interval sets, and one stratum per base.

Coordinates are 0-based and half-open. The sets may overlap, for several transcripts and both
strands count; the strata never do, by the order of precedence of `STRATA`.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError, DataError, unknown_name
from lightning_dna.genome.alphabet import C, Codes, G, N
from lightning_dna.genome.annotation_files import (
    CDS,
    EXON,
    GENE,
    NO_GROUP,
    NO_PHASE,
    PROMOTER,
    TRANSCRIPT,
    UTR3,
    UTR5,
    Features,
    read_features,
)
from lightning_dna.genome.intervals import Intervals, as_intervals, complement, merge, subtract

Strata = npt.NDArray[np.uint8]

REGIONS = ("gene", "exon", "cds", "utr5", "utr3", "intron", "promoter", "intergenic")
"""Names of the interval sets."""

STRATA = (
    "intergenic",
    "intron",
    "promoter",
    "noncoding_exon",
    "utr3",
    "utr5",
    "cds_ambiguous",
    "codon_1",
    "codon_2",
    "codon_3",
)
"""Names of the strata by code. Of those that hold at a base, the last one counts: coding sequence
before untranslated region, before other exons, before promoter, before intron. ``cds_ambiguous`` is
coding sequence that transcripts read in several frames, or whose strand is not given."""

_AMBIGUOUS = STRATA.index("cds_ambiguous")
# Which codon positions are claimed at a base, as bits, to its stratum; 0 leaves it as it is.
_BY_CLAIMS = np.full(8, _AMBIGUOUS, dtype=np.uint8)
for _position in range(3):
    _BY_CLAIMS[1 << _position] = STRATA.index(f"codon_{_position + 1}")

GC_EDGES = (0.3, 0.4, 0.5, 0.6)


@dataclass(frozen=True, eq=False)
class ChromosomeRegions:
    """The interval sets of one chromosome.

    Attributes:
        sets: Region name to its set of intervals.
        frames: Strand (1 or -1) and residue to the coding stretches whose base ``i`` is position
            ``(strand * (i - residue)) % 3`` of its codon, from 0.
        unframed: Coding stretches without a strand.
    """

    sets: Mapping[str, Intervals]
    frames: Mapping[tuple[int, int], Intervals]
    unframed: Intervals


class Annotation:
    """An annotation laid over a genome; made by `Annotation.read`.

    Attributes:
        chroms: Chromosomes that have features, in the order of the genome.
        lengths: Bases of every chromosome of the genome.
        skipped: Sequences of the file that the genome does not have, to their number of features.
        promoter: Bases before and after a transcription start that are its promoter.
        digest: What the sets are, wherever the file lies: the same sets, the same digest.
    """

    def __init__(
        self,
        features: Mapping[str, Features],
        lengths: Mapping[str, int],
        *,
        promoter: tuple[int, int] = (500, 100),
        skipped: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        if min(promoter) < 0:
            raise ConfigError(
                f"promoter is {promoter}; expected bases before and after, 0 or more."
            )
        self.lengths = dict(lengths)
        self.chroms = tuple(features)
        self.skipped = dict(skipped)
        self.promoter = promoter
        self._regions = {
            chrom: _chromosome_regions(columns, lengths[chrom], promoter)
            for chrom, columns in features.items()
        }
        self.digest = self._digest()

    @classmethod
    def read(
        cls,
        path: str | Path,
        lengths: Mapping[str, int],
        *,
        promoter: tuple[int, int] = (500, 100),
    ) -> "Annotation":
        """Read a GTF, GFF3 or BED file; formats and errors as in `read_features`.

        Args:
            path: The file.
            lengths: Length of each chromosome of the genome, in bases.
            promoter: Bases before and after each start of a gene or transcript, on its strand,
                that count as promoter.
        """
        found = read_features(path, lengths)
        return cls(found.features, lengths, promoter=promoter, skipped=found.skipped)

    def regions(self, chrom: str) -> Mapping[str, Intervals]:
        """Return the interval sets of a chromosome by name (`REGIONS`).

        ``gene``: from first to last base of each gene and transcript. ``exon``: exons, CDS and
        untranslated regions of any transcript. ``cds``: coding sequence with its stop codon.
        ``utr5``, ``utr3``: exons of coding transcripts before and after their coding sequence, and
        what the file calls so. ``intron``: within a gene and in no exon of any transcript.
        ``promoter``: around starts. ``intergenic``: in no gene; most promoters lie there too.

        Raises:
            ConfigError: If the genome has no such chromosome.
            DataError: If the annotation has nothing on it.
        """
        return self._chromosome(chrom).sets

    def strata(self, chrom: str, start: int, end: int) -> Strata:
        """Return the stratum of each base of a stretch, as codes into `STRATA`.

        Needs a few bytes for each base asked for, however long the chromosome.

        Args:
            chrom: Chromosome name.
            start: First base, 0-based.
            end: End, excluded.

        Returns:
            uint8 of shape ``(end - start,)``.

        Raises:
            ConfigError: If the genome has no such chromosome.
            DataError: If the stretch does not lie within it, or the annotation has nothing on it.
        """
        found = self._chromosome(chrom)
        if not 0 <= start <= end <= self.lengths[chrom]:
            raise DataError(
                f"{chrom}:{start}-{end} does not lie within chromosome '{chrom}' of "
                f"{self.lengths[chrom]} bases."
            )
        strata = np.zeros(end - start, dtype=np.uint8)
        for code, name in ((1, "intron"), (2, "promoter"), (3, "exon"), (4, "utr3"), (5, "utr5")):
            for low, high in _within(found.sets[name], start, end):
                strata[low:high] = code
        claims = np.zeros(end - start, dtype=np.uint8)
        bits = np.array([1, 2, 4], dtype=np.uint8)
        for (strand, residue), stretches in found.frames.items():
            for low, high in _within(stretches, start, end):
                position = strand * (np.arange(start + low, start + high) - residue) % 3
                claims[low:high] |= bits[position]
        for low, high in _within(found.unframed, start, end):
            claims[low:high] = 7
        coding = claims != 0
        strata[coding] = _BY_CLAIMS[claims[coding]]
        return strata

    def _chromosome(self, chrom: str) -> ChromosomeRegions:
        """Return a chromosome's sets, or say that there are none."""
        if chrom not in self.lengths:
            raise unknown_name("chromosome", chrom, self.lengths)
        if chrom not in self._regions:
            raise DataError(
                f"the annotation has no feature on chromosome '{chrom}'; it has some on "
                f"{', '.join(self.chroms[:5])}{' and others' if len(self.chroms) > 5 else ''}. "
                f"Leave the chromosome out, or use an annotation that covers it."
            )
        return self._regions[chrom]

    def _digest(self) -> str:
        """Hash every set."""
        digest = hashlib.sha256()
        for chrom, found in self._regions.items():
            digest.update(f"\0{chrom}".encode())
            named = [*found.sets.items(), *found.frames.items(), ("unframed", found.unframed)]
            for name, stretches in named:
                digest.update(f"\0{name}\0".encode() + stretches.astype("<i8").tobytes())
        return digest.hexdigest()[:24]


def gc_strata(codes: Codes, edges: Sequence[float] = GC_EDGES) -> Strata:
    """Return the GC bin of each sequence: how many edges its share of G and C reaches.

    Args:
        codes: Base codes 0 to 4 along the last axis, any leading shape; N does not count.
        edges: Ascending shares in (0, 1) at which a new bin begins.

    Returns:
        Bins from 0 to ``len(edges)``, uint8 of the leading shape; 0 where nothing but N is known.

    Example:
        >>> gc_strata(np.array([[0, 0, 0, 3], [1, 2, 0, 4]], np.uint8)).tolist()
        [0, 4]
    """
    known = (codes < N).sum(axis=-1)
    share = ((codes == C) | (codes == G)).sum(axis=-1) / np.maximum(known, 1)
    bins: Strata = np.searchsorted(np.asarray(edges), share, side="right").astype(np.uint8)
    return bins


def gc_names(edges: Sequence[float] = GC_EDGES) -> tuple[str, ...]:
    """Return the names of the GC bins, in per cent.

    Example:
        >>> gc_names((0.4, 0.5))
        ('gc_0_40', 'gc_40_50', 'gc_50_100')
    """
    marks = [0, *(round(100 * edge) for edge in edges), 100]
    return tuple(f"gc_{low}_{high}" for low, high in itertools.pairwise(marks))


def _within(stretches: Intervals, start: int, end: int) -> list[list[int]]:
    """Return the parts of a set that lie in a window, relative to its start."""
    low = int(np.searchsorted(stretches[:, 1], start, side="right"))
    high = int(np.searchsorted(stretches[:, 0], end, side="left"))
    rows: list[list[int]] = (np.clip(stretches[low:high], start, end) - start).tolist()
    return rows


def _chromosome_regions(
    columns: Features, length: int, promoter: tuple[int, int]
) -> ChromosomeRegions:
    """Build the interval sets of one chromosome from its features."""
    spans = np.stack((columns.start, columns.end), axis=1)
    kind = columns.kind
    left, right = _untranslated(columns, spans)
    utr5 = np.concatenate((spans[kind == UTR5], left))
    utr3 = np.concatenate((spans[kind == UTR3], right))
    exon = merge(spans[np.isin(kind, (EXON, CDS, UTR5, UTR3))])
    genes, starts = _genes(columns, spans, promoter)
    gene = merge(np.concatenate((genes, exon)))
    promoters = np.clip(np.concatenate((starts, spans[kind == PROMOTER])), 0, length)
    frames, unframed = _frames(columns, spans)
    sets = {
        "gene": gene,
        "exon": exon,
        "cds": merge(spans[kind == CDS]),
        "utr5": merge(utr5),
        "utr3": merge(utr3),
        "intron": subtract(gene, exon),
        "promoter": merge(promoters),
        "intergenic": complement(gene, length),
    }
    return ChromosomeRegions(sets=sets, frames=frames, unframed=unframed)


def _extents(
    columns: Features, spans: Intervals, chosen: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], Intervals]:
    """Return the transcripts among chosen features, and the extent of the chosen ones in each."""
    groups, member = np.unique(columns.group[chosen], return_inverse=True)
    extents = np.empty((len(groups), 2), dtype=np.int64)
    extents[:, 0] = np.iinfo(np.int64).max
    extents[:, 1] = 0
    np.minimum.at(extents[:, 0], member, spans[chosen, 0])
    np.maximum.at(extents[:, 1], member, spans[chosen, 1])
    return groups, extents


def _genes(
    columns: Features, spans: Intervals, promoter: tuple[int, int]
) -> tuple[Intervals, Intervals]:
    """Return the extents of genes and transcripts, and the windows around their starts."""
    parts = (columns.group != NO_GROUP) & np.isin(columns.kind, (TRANSCRIPT, EXON, CDS, UTR5, UTR3))
    groups, transcripts = _extents(columns, spans, parts)
    strands = np.zeros(len(groups), dtype=np.int64)
    strands[np.searchsorted(groups, columns.group[parts])] = columns.strand[parts]
    alone = (columns.kind == GENE) | ((columns.kind == TRANSCRIPT) & (columns.group == NO_GROUP))
    genes = np.concatenate((spans[alone], transcripts))
    strands = np.concatenate((columns.strand[alone], strands))
    before, after = promoter
    forward, backward = genes[strands == 1, 0], genes[strands == -1, 1]
    windows = (
        np.stack((forward - before, forward + after), axis=1),
        np.stack((backward - after, backward + before), axis=1),
    )
    return genes, np.concatenate(windows)


def _untranslated(columns: Features, spans: Intervals) -> tuple[Intervals, Intervals]:
    """Return what exons of coding transcripts hold before and after the coding sequence."""
    grouped = columns.group != NO_GROUP
    coding, extents = _extents(columns, spans, grouped & (columns.kind == CDS))
    exons = np.flatnonzero(
        grouped & (columns.kind == EXON) & np.isin(columns.group, coding) & (columns.strand != 0)
    )
    if len(exons) == 0:
        return as_intervals([]), as_intervals([])
    coded = extents[np.searchsorted(coding, columns.group[exons])]
    low = np.stack((spans[exons, 0], np.minimum(spans[exons, 1], coded[:, 0])), axis=1)
    high = np.stack((np.maximum(spans[exons, 0], coded[:, 1]), spans[exons, 1]), axis=1)
    forward = columns.strand[exons] == 1
    before = np.concatenate((low[forward], high[~forward]))
    after = np.concatenate((high[forward], low[~forward]))
    return before[before[:, 1] > before[:, 0]], after[after[:, 1] > after[:, 0]]


def _frames(
    columns: Features, spans: Intervals
) -> tuple[dict[tuple[int, int], Intervals], Intervals]:
    """Sort coding stretches by strand and by where their codons begin."""
    coding = columns.kind == CDS
    stretches, strand, phase = spans[coding], columns.strand[coding], _phases(columns, coding)
    # The first codon begins at start + phase, on the reverse strand at end - 1 - phase.
    first = np.where(strand == 1, stretches[:, 0] + phase, stretches[:, 1] - 1 - phase) % 3
    frames = {
        (way, residue): merge(stretches[(strand == way) & (first == residue)])
        for way in (1, -1)
        for residue in range(3)
    }
    return frames, merge(stretches[strand == 0])


def _phases(columns: Features, coding: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the phase of each CDS; one that is not given follows from the CDS before it."""
    phase = columns.phase[coding].copy()
    missing = phase == NO_PHASE
    if not missing.any():
        return phase
    group, strand = columns.group[coding], columns.strand[coding]
    place = np.where(strand == -1, -columns.end[coding], columns.start[coding])
    order = np.lexsort((place, group))
    sizes = (columns.end - columns.start)[coding][order]
    before = np.cumsum(sizes) - sizes
    # Bases of the same transcript that come before; a feature of no transcript stands for itself.
    head = np.concatenate(([True], group[order][1:] != group[order][:-1]))
    head |= group[order] == NO_GROUP
    before -= np.maximum.accumulate(np.where(head, before, 0))
    derived = np.empty_like(phase)
    derived[order] = -before % 3
    phase[missing] = derived[missing]
    return phase

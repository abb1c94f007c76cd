"""Strata of held-out bases beyond the soft mask: codon position, exon, intron, GC, kind of repeat.

A base has one label for each factor, and its stratum is their names joined by ``+``, such as
``unique+codon_1+gc_30_40``. Scores are summed by whole strata, so any factor can be read from them
afterwards. No torch here.
"""

import hashlib
import itertools
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from lightning_dna.data.config import DataConfig
from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import Codes
from lightning_dna.genome.annotation import STRATA, Annotation, gc_names, gc_strata
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.joined import JoinedGenome, split_name
from lightning_dna.genome.repeat_annotation import RepeatAnnotation, divergence_names

SEPARATOR = "+"
SOFT_MASK_STRATA = ("unique", "repeat")  # indexed by the soft mask
CLASS_PREFIX, DIVERGENCE_PREFIX = "class_", "div_"
FREQUENCY_PREFIX = "af_"  # of alleles, in per cent
STRATUM_PREFIXES = (CLASS_PREFIX, DIVERGENCE_PREFIX, FREQUENCY_PREFIX)

Labels = npt.NDArray[np.int64]


def annotated_names() -> tuple[str, ...]:
    """Return the names of the strata that an annotation gives: regions, then GC bins.

    Example:
        >>> annotated_names()[0], annotated_names()[-1]
        ('intergenic', 'gc_60_100')
    """
    return (*STRATA, *gc_names())


class GenomeStrata:
    """The strata of a genome.

    The GC bin is that of a whole window, its N left out; every other factor is of the single base.

    Args:
        annotation: Genes.
        repeats: Repeats by class, if there are any.
        divergence: Whether repeats are told apart by their divergence too.

    Attributes:
        labels: Name of each stratum; windows are labelled by their places here.
        digest: What the strata depend on, wherever the files lie.
    """

    def __init__(
        self,
        annotation: Annotation,
        repeats: RepeatAnnotation | None = None,
        *,
        divergence: bool = False,
    ) -> None:
        self.annotation = annotation
        self.repeats = repeats
        self._diverged = repeats if divergence else None
        classes = () if repeats is None else repeats.classes
        factors: tuple[tuple[str, ...], ...] = (
            SOFT_MASK_STRATA,
            STRATA,
            gc_names(),
            ("", *(CLASS_PREFIX + c for c in classes)),
        )
        if self._diverged is not None:
            factors += (("", *divergence_names()),)
        self._sizes = tuple(map(len, factors))
        self.labels = tuple(
            SEPARATOR.join(name for name in names if name) for names in itertools.product(*factors)
        )
        parts = [annotation.digest]
        if repeats is not None:
            parts += [f"{name} {repeats.digest((name,))}" for name in classes]
        if self._diverged is not None:
            parts.append(f"divergence {self._diverged.divergence_digest()}")
        self.digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]

    @classmethod
    def read(cls, config: DataConfig, genome: Genome) -> "GenomeStrata | None":
        """Read what the settings of the data name; ``None`` where that is nothing.

        With several genomes, each has the annotation that its settings name, if any, and its name
        is a stratum of all its bases.

        Raises:
            DataError: If a file cannot be used, or fits the genome nowhere.
        """
        if isinstance(genome, JoinedGenome):
            return JoinedStrata(
                {
                    name: cls.read(member, genome.members[name])
                    for name, member in config.members.items()
                }
            )
        if config.annotation is None:
            return None
        repeats = None
        if config.repeat_bed is not None:
            repeats = RepeatAnnotation.read(config.repeat_bed, genome.lengths)
        return cls(Annotation.read(config.annotation, genome.lengths), repeats)

    def by_divergence(self) -> "GenomeStrata | None":
        """Return strata that tell repeats apart by divergence too; ``None`` if it is not known."""
        if self.repeats is None or not self.repeats.has_divergence:
            return None
        return GenomeStrata(self.annotation, self.repeats, divergence=True)

    def check(self, chroms: Iterable[str]) -> None:
        """Refuse chromosomes on which the annotation has nothing.

        Raises:
            DataError: If there is one; nothing is silently called intergenic.
        """
        for chrom in chroms:
            self.annotation.regions(chrom)

    def of_windows(
        self,
        chrom: str,
        starts: npt.NDArray[np.int64],
        codes: Codes,
        repeat: npt.NDArray[np.bool_],
    ) -> Labels:
        """Label the bases of some windows of a chromosome.

        Args:
            chrom: Chromosome name.
            starts: First base of each window, 0-based, shape ``(windows,)``.
            codes: Base codes 0 to 4, shape ``(windows, length)``.
            repeat: Soft-masked bases, shape ``(windows, length)``.

        Returns:
            Places in ``labels``, shape ``(windows, length)``.
        """
        region = np.empty(codes.shape, dtype=np.int64)
        kind = np.zeros(codes.shape, dtype=np.int64)
        age = np.zeros(codes.shape, dtype=np.int64)
        for row, start in enumerate(starts.tolist()):
            end = start + codes.shape[1]
            region[row] = self.annotation.strata(chrom, start, end)
            if self.repeats is not None:
                kind[row] = self.repeats.codes(chrom, start, end)
            if self._diverged is not None:
                age[row] = self._diverged.divergence_codes(chrom, start, end)
        gc = np.broadcast_to(gc_strata(codes)[:, None], codes.shape)
        factors = (repeat.astype(np.int64), region, gc.astype(np.int64), kind, age)
        known = factors[: len(self._sizes)]
        return np.asarray(np.ravel_multi_index(known, self._sizes), dtype=np.int64)


class JoinedStrata(GenomeStrata):
    """The strata of several genomes, told apart by the name of the genome.

    A base of the genome ``yeast`` has the stratum that it has there with the name behind the first
    part, such as ``unique+yeast+codon_1+gc_30_40``; without an annotation, ``unique+yeast``.

    Args:
        members: Name of each genome to its strata, ``None`` where it has no annotation.
    """

    def __init__(self, members: Mapping[str, GenomeStrata | None]) -> None:
        self._members = dict(members)
        self._offsets: dict[str, int] = {}
        labels: list[str] = []
        for name, strata in self._members.items():
            self._offsets[name] = len(labels)
            for label in SOFT_MASK_STRATA if strata is None else strata.labels:
                first, *others = label.split(SEPARATOR)
                labels.append(SEPARATOR.join((first, name, *others)))
        self.labels = tuple(labels)
        parts = [
            f"{name} {strata.digest if strata is not None else 'none'}"
            for name, strata in self._members.items()
        ]
        self.digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]

    def by_divergence(self) -> "GenomeStrata | None":
        """Return strata by divergence too, of the genomes of which it is known."""
        found = {
            name: None if strata is None else strata.by_divergence()
            for name, strata in self._members.items()
        }
        if not any(found.values()):
            return None
        return JoinedStrata({name: found[name] or self._members[name] for name in found})

    def check(self, chroms: Iterable[str]) -> None:
        """Refuse chromosomes on which the annotation of their genome has nothing.

        Raises:
            DataError: If there is one.
        """
        for name, chrom in map(split_name, chroms):
            strata = self._members[name]
            if strata is None:
                continue
            try:
                strata.check([chrom])
            except DataError as error:
                raise DataError(f"data.genomes.{name}: {error}") from error

    def of_windows(
        self,
        chrom: str,
        starts: npt.NDArray[np.int64],
        codes: Codes,
        repeat: npt.NDArray[np.bool_],
    ) -> Labels:
        """Label the bases of some windows; as for one genome, but for the name ``NAME:chrom``."""
        name, own = split_name(chrom)
        strata = self._members[name]
        if strata is None:
            return self._offsets[name] + repeat.astype(np.int64)
        return self._offsets[name] + strata.of_windows(own, starts, codes, repeat)

"""Alleles: does a model prefer the allele of the reference, and more so where it was trained?

A polymorphic base is hidden in a window of the reference around it, and P(REF) is compared with
P(ALT). Grammar prefers one of two alleles wherever the sequence lies; a memory of the text prefers
REF on the training chromosomes more than on those held out. Scores are those of hidden bases with
two letters to choose from: ``correct`` where REF is the more probable one (the first of A, C, G, T
among equals), nats of P(REF) / (P(REF) + P(ALT)). So chance is an accuracy of 50 % and 1 bit, and
the gap, chromosomes and strata come as for held-out bases; with allele frequencies in the file they
are strata too, ``af_0_1`` for less than 1 %, and so on.

The sequence around the base is that of the reference, whatever an arm was trained on: an arm that
read haplotypes saw both alleles of a common site, and one that read the reference only one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lightning_dna.data.windows import Index, Windows
from lightning_dna.errors import ConfigError, DataError, unknown_name
from lightning_dna.genome.alphabet import CODE_BITS, N
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.joined import JoinedGenome
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.tasks.allele_sites import FREQUENCY_STRATA, AlleleSites, read_allele_sites
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.card_kinds import TaskKind
from lightning_dna.tasks.heldout import HeldOutTask
from lightning_dna.tasks.heldout_mlm import (
    TOKENS_PER_BATCH,
    Floats,
    HeldoutMLM,
    Part,
    Predictor,
    WindowBases,
)
from lightning_dna.tasks.labelled_files import check_sum, find_files
from lightning_dna.tasks.memorization_cards import VARIANTS
from lightning_dna.tasks.strata import SEPARATOR, GenomeStrata

_MOST_UNKNOWN = 0.1
"""Windows with a larger share of N are left out, as everywhere."""


@dataclass(frozen=True, eq=False)
class SiteWindows(Windows):
    """Windows around sites, which may share a window near the end of a chromosome.

    Attributes:
        sites: Place of each window's site among the sites, int64 of shape ``(n,)``.
        names: Name of each site, which stands in score tables, shape ``(n,)``.
    """

    sites: Index = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    names: npt.NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, dtype=np.str_))

    def select(self, indices: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> "SiteWindows":
        """Return some of the windows, by index or by flag, in the order asked for."""
        return replace(
            self,
            chrom_index=self.chrom_index[indices],
            starts=self.starts[indices],
            ends=self.ends[indices],
            sites=self.sites[indices],
            names=self.names[indices],
        )

    def example_ids(self) -> npt.NDArray[np.str_]:
        """Return the name of each site."""
        return self.names


class AlleleWindows(HeldoutMLM):
    """Sites as hidden bases, one in each window.

    The site stands in the middle, but near an end of the chromosome; or, with ``site_windows:
    tiled``, wherever the windows have it that lie end to end from the start of the chromosome, as
    training lays them: a memory that is bound to a place in the window is silent in any other.
    Left out are sites on chromosomes shorter than a window, the first base of a chromosome and of
    a tiled window, which a next-token model has nothing to predict from, and sites in windows with
    more than a tenth of N.

    Args:
        card: A card of kind ``alleles``.
        genome: The genome.
        split: Its chromosomes for training and test.
        length: Window length in bases where the card does not fix one.
        strata: What else is known of the bases.
        sites: The sites.
        source: The file that they come from, for messages.

    Raises:
        ConfigError: If the split has no test chromosome.
    """

    kind: ClassVar[TaskKind] = "alleles"

    def __init__(
        self,
        card: TaskCard,
        genome: Genome,
        split: ChromosomeSplit,
        length: int,
        strata: GenomeStrata | None,
        *,
        sites: AlleleSites,
        source: Path,
    ) -> None:
        super().__init__(card, genome, split, length, strata)
        self.sites = sites
        self.source = source
        suffixes = (*(f"{SEPARATOR}{name}" for name in FREQUENCY_STRATA), "")
        self.labels = tuple(label + suffix for label in self.labels for suffix in suffixes)

    def windows(self, part: Part) -> Windows:
        """Return the windows around the sites of a part, in the order of the genome.

        Raises:
            ConfigError: If the part is neither ``train`` nor ``test``.
            DataError: If the file has no usable site on the chromosomes of the part.
        """
        if part not in ("train", "test"):
            raise unknown_name("part", part, ("train", "test"))
        if part not in self._windows:
            windows = self._around(part)
            limit = self.card.max_windows or len(windows)
            if len(windows) > limit:
                places = (2 * np.arange(limit, dtype=np.int64) + 1) * len(windows) // (2 * limit)
                windows = windows.select(places)
            self._windows[part] = windows
        return self._windows[part]

    def _around(self, part: Part) -> SiteWindows:
        """Lay a window around every usable site of a part."""
        sites, chroms = self.sites, self.split.part(part)
        lengths = np.array([self.genome.lengths[name] for name in sites.chroms])
        wanted = np.array([name in chroms for name in sites.chroms])
        long_enough = lengths[sites.chrom_index] >= self.length
        here = np.flatnonzero(wanted[sites.chrom_index] & long_enough & (sites.positions > 0))
        if self.card.site_windows == "tiled":
            here = here[sites.positions[here] % self.length > 0]
            starts = sites.positions[here] // self.length * self.length
        else:
            starts = sites.positions[here] - self.length // 2
        starts = np.clip(starts, 0, lengths[sites.chrom_index[here]] - self.length)
        known = self._known(sites.chrom_index[here], starts)
        here, starts = here[known], starts[known]
        if not len(here):
            also = ", or set train_windows: false on the card" if part == "train" else ""
            raise DataError(
                f"task '{self.card.name}': {self.source} has no site with two alleles of one base "
                f"on the {part} chromosomes ({', '.join(chroms)}) that a window of {self.length} "
                f"bases holds; give variants of these chromosomes, or choose other ones in "
                f"data.split{also}."
            )
        return SiteWindows(
            chroms=sites.chroms,
            chrom_index=sites.chrom_index[here],
            starts=starts,
            ends=starts + self.length,
            dropped_n=int((~known).sum()),
            dropped_bases=0,
            sites=here,
            names=_names(sites, here),
        )

    def _known(self, chrom_index: npt.NDArray[np.int32], starts: Index) -> npt.NDArray[np.bool_]:
        """Tell which windows have few enough N."""
        known = np.ones(len(starts), dtype=np.bool_)
        for index in np.unique(chrom_index).tolist():
            rows = chrom_index == index
            unknown = (self.genome.stored(self.sites.chroms[index]) & CODE_BITS) == N
            before = np.concatenate([[0], np.cumsum(unknown)])
            count = before[starts[rows] + self.length] - before[starts[rows]]
            known[rows] = count <= _MOST_UNKNOWN * self.length
        return known

    def batches(self, part: Part, *, bases: int = TOKENS_PER_BATCH) -> Iterator[WindowBases]:
        """Read the windows of a part; hidden is the site of each alone."""
        for batch in super().batches(part, bases=bases):
            sites = _sites_of(batch)
            hidden = np.zeros_like(batch.hidden)
            column = self.sites.positions[sites] - batch.windows.starts
            hidden[np.arange(len(sites)), column] = True
            strata = batch.repeat.astype(np.int64) if batch.strata is None else batch.strata
            frequency = self.sites.stratum[sites][:, None]
            strata = strata * (len(FREQUENCY_STRATA) + 1) + frequency
            yield replace(batch, hidden=hidden, strata=strata)

    def score_with(self, predict: Predictor, **options: Any) -> Scores:
        """Score anything that gives each hidden base a probability of each letter.

        Only the letters of the two alleles count: their probabilities are made to add up to 1.

        Args:
            predict: Gives log-probabilities at the hidden bases of a batch.
            options: As of `HeldoutMLM.score_with`.

        Returns:
            One row for each site.
        """

        def between(batch: WindowBases) -> Floats:
            sites = _sites_of(batch)
            return between_alleles(predict(batch), self.sites.ref[sites], self.sites.alt[sites])

        return super().score_with(between, **options)


def between_alleles(
    log_probabilities: Floats, ref: npt.NDArray[np.uint8], alt: npt.NDArray[np.uint8]
) -> Floats:
    """Keep the probabilities of two letters and make them add up to 1.

    Args:
        log_probabilities: ln P of A, C, G, T, shape ``(sites, 4)``.
        ref: Code of the one letter, shape ``(sites,)``.
        alt: Code of the other.

    Returns:
        Of the same shape; minus infinity for the other two letters.

    Example:
        >>> rows = np.log([[0.2, 0.4, 0.3, 0.1]])
        >>> np.exp(between_alleles(rows, np.array([0]), np.array([2]))).round(2).tolist()
        [[0.4, 0.0, 0.6, 0.0]]
    """
    rows = np.arange(len(ref))
    pair = log_probabilities[rows, ref], log_probabilities[rows, alt]
    result = np.full(log_probabilities.shape, -np.inf)
    total = np.logaddexp(*pair)
    result[rows, ref], result[rows, alt] = pair[0] - total, pair[1] - total
    return result


def _sites_of(batch: WindowBases) -> Index:
    """Return the sites of a batch's windows."""
    if not isinstance(batch.windows, SiteWindows):
        raise AssertionError("windows of alleles know their sites")
    return batch.windows.sites


def _names(sites: AlleleSites, chosen: Index) -> npt.NDArray[np.str_]:
    """Name sites as ``chrom:position:REF:ALT``, position from 1."""
    columns = (sites.chrom_index, sites.positions, sites.ref, sites.alt)
    rows = zip(*(column[chosen].tolist() for column in columns), strict=True)
    return np.array(
        [f"{sites.chroms[c]}:{at + 1}:{'ACGT'[ref]}:{'ACGT'[alt]}" for c, at, ref, alt in rows],
        dtype=np.str_,
    )


class AllelesTask(HeldOutTask):
    """The sites of the card's file, or of the one that training draws haplotypes from."""

    @cached_property
    def source(self) -> Path:
        """The VCF file.

        Raises:
            ConfigError: If neither the card nor the study names one.
            DataError: If the card's file is missing, or has another checksum.
        """
        if self.card.files:
            path = find_files(self.card, self.around.tasks_root)[VARIANTS]
            check_sum(path, (self.card.sha256 or {}).get(VARIANTS))
            return path
        if self.around.vcf is None:
            raise ConfigError(
                f"task '{self.card.name}' needs a VCF file; name one as data.vcf in the recipe, or "
                f"as files.variants on a card of your own."
            )
        return Path(self.around.vcf).expanduser()

    @cached_property
    def windows(self) -> AlleleWindows:
        """The sites on the study's genome."""
        around = self.around
        if isinstance(around.genome, JoinedGenome):
            raise ConfigError(
                f"task '{self.card.name}' is of one genome, and the study has several "
                f"({', '.join(around.genome.members)}); use a study of the one that the VCF file "
                f"belongs to."
            )
        return AlleleWindows(
            self.card,
            around.genome,
            around.split,
            around.window_length,
            around.strata,
            sites=read_allele_sites(self.source, around.genome),
            source=self.source,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out."""
        return tuple(f"{self.card.name}: {note}" for note in self.windows.sites.notes)

    def content(self) -> Mapping[str, Any]:
        """Return the digest of the genome, its split, the window length, strata and sites."""
        return {**super().content(), "sites": self.windows.sites.digest}

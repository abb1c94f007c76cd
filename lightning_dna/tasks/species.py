"""Which species a window of a genome is from, on chromosomes that nothing has learned from.

The task of HyenaDNA (Nguyen et al. 2023) drew test windows from chromosomes that its pretraining
had read. Here test chromosomes are apart from those of training and validation, and a study whose
own pretraining read one of them is refused unless the card allows it. A model can still tell two
species apart by what is theirs alone, such as their repeats and base composition: that is the task.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lightning_dna.data.examples import Examples
from lightning_dna.errors import ConfigError, DataError, unknown_name
from lightning_dna.genome.alphabet import N
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.intervals import Interval, match_names
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.card_files import PARTS
from lightning_dna.tasks.examples import LabelledTask
from lightning_dna.tasks.labelled import ClassificationTask
from lightning_dna.tasks.labelled_files import check_sum, find_files
from lightning_dna.tasks.species_source import SpeciesSource
from lightning_dna.tasks.task import Candidate, Record

_ROUNDS = 100  # of drawing, until there is no hope of finding as many windows as wanted

Places = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]  # chromosome number and first base


class Species(NamedTuple):
    """One species.

    Attributes:
        genome: Its genome.
        chroms: Part to its chromosomes, by their names in the genome.
    """

    genome: Genome
    chroms: Mapping[str, tuple[str, ...]]

    def drawn_from(self, part: str, source: SpeciesSource) -> tuple[str, ...]:
        """Return the chromosomes from which the windows of a part are drawn."""
        if source.protocol == "published":
            return tuple(chrom for chroms in self.chroms.values() for chrom in chroms)
        return self.chroms[part]


class SpeciesTask(ClassificationTask):
    """Windows of genomes as labelled sequences; a table for each way of using the weights."""

    @cached_property
    def examples(self) -> LabelledTask:
        """Train, validation and test windows."""
        card, source = self.card, source_of(self.card)
        notes = [card.deviation] if card.deviation else []
        if source.protocol == "published":
            notes.append(
                "Windows of all parts come from the same chromosomes and may overlap (protocol "
                "published): the scores are of a leaky split."
            )
        if self.seen:
            notes.append(
                f"Pretraining read the test chromosomes {', '.join(self.seen)} (seen: allow)."
            )
        return LabelledTask(
            **species_examples(card, self.opened),
            classes=tuple(source.chromosomes),
            notes=tuple(f"{card.name}: {note}" for note in notes),
        )

    @cached_property
    def opened(self) -> dict[str, "Species"]:
        """The species, in the order of their labels."""
        return open_species(self.card, self.around.tasks_root)

    @cached_property
    def seen(self) -> tuple[str, ...]:
        """The test chromosomes, as ``species:chrom``, that the study's own pretraining reads.

        A chromosome is known by the digest of its letters. Other assemblies of it, and parts of it,
        are not found so; `lightning-dna data locate` finds single sequences.

        Raises:
            ConfigError: If there is one and the card does not allow it.
        """
        card, source, around = self.card, source_of(self.card), self.around
        read = {around.genome.digests[chrom]: chrom for chrom in around.split.train}
        found = {}
        for species, one in self.opened.items():
            for chrom in one.drawn_from("test", source):
                if one.genome.digests[chrom] in read:
                    found[f"{species}:{chrom}"] = read[one.genome.digests[chrom]]
        if found and source.seen == "refuse":
            test, train = next(iter(found.items()))
            raise ConfigError(
                f"task '{card.name}': the test chromosome '{test}' is among those of pretraining, "
                f"as '{train}' ({len(found)} of them in all); hold it out in data.split, test on "
                "others, or set species.seen: allow on the card and have it said in the record."
            )
        return tuple(found)

    def score(self, candidate: Candidate, table: str | None) -> tuple[Scores, Record | None]:
        """Score one arm in one way; the record says which test chromosomes pretraining read."""
        scores, record = super().score(candidate, table)
        return scores, {**(record or {}), "test_chromosomes_seen": list(self.seen)}


def source_of(card: TaskCard) -> SpeciesSource:
    """Return what a card of kind ``species`` says of its windows."""
    assert card.species is not None  # noqa: S101 - the card checks it
    return card.species


def open_species(card: TaskCard, tasks_root: Path | None) -> dict[str, Species]:
    """Open the genome of each species, in the card's order.

    A chromosome that the genome does not have is looked for with and without ``chr``.

    Raises:
        ConfigError: If a chromosome is not in its genome.
        DataError: If a file is missing or damaged, two species have the same sequence, or one has
            it in two parts.
    """
    source, paths = source_of(card), find_files(card, tasks_root)
    for species, path in paths.items():
        check_sum(path, (card.sha256 or {}).get(species))
    opened: dict[str, Species] = {}
    home: dict[str, tuple[str, str, str]] = {}
    for species, named in source.chromosomes.items():
        genome, chroms = Genome.open(paths[species]), {}
        for part in PARTS:
            where = f"task '{card.name}', species.chromosomes.{species}.{part}"
            chroms[part] = tuple(_found(c, genome, where) for c in getattr(named, part))
            for chrom in chroms[part]:
                here = (species, part, chrom)
                other = home.setdefault(genome.digests[chrom], here)
                if other[:2] != here[:2]:
                    raise DataError(
                        f"task '{card.name}': {other[0]}:{other[2]} ({other[1]}) and "
                        f"{species}:{chrom} ({part}) are the same sequence; a sequence has one "
                        "species and one part."
                    )
        opened[species] = Species(genome, chroms)
    return opened


def _found(chrom: str, genome: Genome, where: str) -> str:
    """Return the name of a chromosome in its genome."""
    try:
        return match_names([chrom], genome.lengths, where=where)[chrom]
    except DataError:
        raise unknown_name("chromosome", chrom, genome.names, where=where) from None


def species_examples(card: TaskCard, opened: Mapping[str, Species]) -> dict[str, Examples]:
    """Draw the windows of every part and species.

    Args:
        card: A card of kind ``species``.
        opened: Name of each species to its genome and chromosomes.

    Returns:
        Part to its windows: species one after the other, each in order of its drawing. Ids are
        ``part:species:chrom:start-end``; clusters are stretches of chromosomes, or chromosomes if
        the card's unit is ``chromosome``.

    Raises:
        DataError: If a species has too few places for a part.
    """
    source, parts = source_of(card), {}
    for part in PARTS:
        codes, labels, ids, clusters, coordinates = [], [], [], [], []
        for label, (species, one) in enumerate(opened.items()):
            genome, chroms = one.genome, one.drawn_from(part, source)
            count = getattr(source.windows, part)
            where = f"task '{card.name}': the {part} chromosomes of {species}"
            places = draw_places(
                genome, chroms, source, count=count, draws=f"{species}/{part}", where=where
            )
            for index, start in zip(*(column.tolist() for column in places), strict=True):
                chrom, end = chroms[index], start + source.length
                codes.append(genome.codes(chrom, start, end))
                labels.append(label)
                ids.append(f"{part}:{species}:{chrom}:{start}-{end}")
                block = "" if card.unit == "chromosome" else f":{start // source.cluster_length}"
                clusters.append(f"{species}:{chrom}{block}")
                coordinates.append(Interval(f"{species}:{chrom}", start, end, "."))
        parts[part] = Examples(
            codes=codes,
            labels=np.array(labels, dtype=np.int64),
            ids=tuple(ids),
            clusters=tuple(clusters),
            coordinates=tuple(coordinates),
        )
    return parts


def draw_places(
    genome: Genome,
    chroms: Sequence[str],
    source: SpeciesSource,
    *,
    count: int,
    draws: str,
    where: str,
) -> Places:
    """Draw the places of windows, each place at most once, all places alike.

    Args:
        genome: The genome.
        chroms: Chromosomes, by length as likely as they have places.
        source: Length of a window, limit of N, seed.
        count: Windows.
        draws: Tells these draws from others with the same seed.
        where: What messages begin with.

    Returns:
        Number of the chromosome and first base of each window, shapes ``(count,)``.

    Raises:
        DataError: If there are too few places.
    """
    room = np.array([max(0, genome.lengths[chrom] - source.length + 1) for chrom in chroms])
    ends = np.cumsum(room)
    total = int(ends[-1])
    key = hashlib.sha256(f"{source.seed}/{draws}".encode()).digest()[:16]
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key)))
    limit = source.max_n_fraction * source.length
    chosen: dict[int, None] = {}
    tried: set[int] = set()
    for _ in range(_ROUNDS):
        if total == 0 or len(chosen) == count or len(tried) == total:
            break
        for place in generator.integers(0, total, size=2 * count).tolist():
            if place in tried or len(chosen) == count:
                continue
            tried.add(place)
            index = int(np.searchsorted(ends, place, side="right"))
            start = place - int(ends[index] - room[index])
            codes = genome.codes(chroms[index], start, start + source.length)
            if np.count_nonzero(codes == N) <= limit:
                chosen[place] = None
    if len(chosen) < count:
        raise DataError(
            f"{where} ({', '.join(chroms[:5])}) have places for {len(chosen)} windows of "
            f"{source.length} bases with at most {source.max_n_fraction:.0%} N; {count} are "
            "wanted. Ask for fewer or shorter ones, or name more chromosomes."
        )
    places = np.array([*chosen], dtype=np.int64)
    indices = np.searchsorted(ends, places, side="right")
    return indices, places - (ends - room)[indices]

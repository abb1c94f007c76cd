"""What a training reads: windows of one genome, of several, or of haplotypes in their place."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lightning_dna.data.canaries import CanarySet
from lightning_dna.data.canary_planting import Planting
from lightning_dna.data.config import DataConfig, file_digest
from lightning_dna.data.mixed_stream import MixedStream, Source
from lightning_dna.data.repeat_rows import ChromosomeTreatment, treatments
from lightning_dna.data.source import members_of, open_repeats, training_windows
from lightning_dna.data.stream import TokenStream, WindowStream
from lightning_dna.data.windows import Windows
from lightning_dna.errors import DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.haplotype_map import CoordinateMap
from lightning_dna.genome.haplotypes import (
    HaplotypeGenome,
    Haplotypes,
    VariantBudget,
    build_haplotypes,
)
from lightning_dna.genome.intervals import Intervals, as_intervals, merge
from lightning_dna.genome.joined import JoinedGenome, joined_name, split_name
from lightning_dna.genome.repeat_annotation import RepeatAnnotation
from lightning_dna.genome.splits import ChromosomeSplit

_MOST_HAPLOTYPES = 4  # sets of haplotypes that a process keeps
_haplotypes: dict[tuple[object, ...], Haplotypes] = {}


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSource:
    """One genome, or one haplotype, with its training windows.

    Attributes:
        name: Name of the genome that shares are stated of; ``""`` for the only one.
        genome: Its sequence.
        windows: Its windows, by its own chromosome names.
        treated: How the repeats of each of its chromosomes are treated.
        draws: Tells its random draws from those of the others.
    """

    name: str
    genome: Genome
    windows: Windows
    treated: tuple[ChromosomeTreatment, ...]
    draws: int


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSet:
    """All sources of a training, side by side.

    Attributes:
        genome: The sequence that windows point into.
        windows: The windows of all sources.
        treated: How the repeats of each chromosome of the windows are treated.
        sources: The sources, in the order of their windows.
        shares: Share of the training bases of each source; they add up to 1.
        budgets: Genome to what variants changed in it, where there are haplotypes.
        planting: The canaries in the windows of the first source; ``None`` without canaries.
    """

    genome: Genome
    windows: Windows
    treated: tuple[ChromosomeTreatment, ...]
    sources: tuple[TrainingSource, ...]
    shares: tuple[float, ...]
    budgets: Mapping[str, VariantBudget]
    planting: Planting | None = None

    def stream(self, *, seed: int, reverse_complement: bool) -> TokenStream:
        """Return the windows in training order."""
        streams = [
            WindowStream(
                source.windows,
                seed=seed,
                reverse_complement=reverse_complement,
                draws=source.draws,
            )
            for source in self.sources
        ]
        if len(streams) == 1 and not isinstance(self.genome, JoinedGenome):
            return streams[0]
        counts = [len(source.windows.chroms) for source in self.sources]
        firsts = np.cumsum([0, *counts])[:-1].tolist()
        parts = [Source(*row) for row in zip(streams, self.shares, firsts, strict=True)]
        return MixedStream(self.windows, parts, seed=seed)

    def by_genome(self, values: Sequence[float]) -> dict[str, float]:
        """Add up a value of each source over the sources of each genome."""
        found: dict[str, float] = {}
        for source, value in zip(self.sources, values, strict=True):
            found[source.name] = found.get(source.name, 0) + value
        return found

    def canary_record(self) -> dict[str, Mapping[str, Any]]:
        """Return what the record of a training says of canaries; nothing where there are none."""
        return {} if self.planting is None else {"canaries": self.planting.record()}


def training_set(config: DataConfig, genome: Genome, split: ChromosomeSplit) -> TrainingSet:
    """Lay the training windows over every genome, under the repeat policy of each.

    With variants, haplotypes stand in the place of their reference and share its weight equally;
    soft mask and classes of repeats are lifted to their coordinates. Canaries are planted in the
    windows of the first genome, or of its first haplotype.

    Args:
        config: Settings of the data.
        genome: What `open_genome` returns for them.
        split: What `resolve_split` returns.

    Raises:
        ConfigError: If a class of repeats or a chromosome is unknown, or canaries do not fit.
        DataError: If there is no window in a genome that is trained on, or a file cannot be used.
    """
    found = _without_canaries(config, genome, split)
    if config.canaries is None:
        return found
    canaries = CanarySet(config.canaries, genome, split.train)
    planting = Planting(canaries, found.windows, hosts=len(found.sources[0].windows))
    return replace(found, planting=planting)


def _without_canaries(config: DataConfig, genome: Genome, split: ChromosomeSplit) -> TrainingSet:
    """Lay the training windows over every genome."""
    members = members_of(config, genome)
    sources: list[TrainingSource] = []
    weights: list[float] = []
    budgets: dict[str, VariantBudget] = {}
    for name, (member, one) in members.items():
        weight = config.genomes[name].weight if name else None
        chroms = split.train
        if name:
            chroms = tuple(c for m, c in map(split_name, split.train) if m == name)
        if weight == 0 or not chroms:
            continue
        try:
            found, budget = _sources(name, member, one, chroms)
        except DataError as error:
            raise DataError(f"data.genomes.{name}: {error}" if name else str(error)) from error
        if budget is not None:
            budgets[name] = budget
        sizes = [int(source.windows.lengths.sum()) for source in found]
        sources += found
        weight = sum(sizes) / len(found) if weight is None else weight
        weights += [weight / len(found)] * len(found)
    if len(members) == 1 and len(sources) == 1 and not budgets and not config.genomes:
        only = sources[0]
        return TrainingSet(
            genome=genome,
            windows=only.windows,
            treated=only.treated,
            sources=(only,),
            shares=(1.0,),
            budgets={},
        )
    return _joined(sources, weights, budgets)


def _joined(
    sources: Sequence[TrainingSource],
    weights: Sequence[float],
    budgets: Mapping[str, VariantBudget],
) -> TrainingSet:
    """Put sources side by side; without any there was no chromosome to train on."""
    if not sources:
        raise DataError(
            "no genome with a weight above 0 has a training chromosome; look at the splits of "
            "data.genomes."
        )
    names = [f"{source.name or 'genome'}/{number}" for number, source in enumerate(sources)]
    genome = JoinedGenome(
        {name: source.genome for name, source in zip(names, sources, strict=True)}
    )
    return TrainingSet(
        genome=genome,
        windows=_joined_windows(names, sources),
        treated=tuple(treatment for source in sources for treatment in source.treated),
        sources=tuple(sources),
        shares=tuple(weight / sum(weights) for weight in weights),
        budgets=budgets,
    )


def _joined_windows(names: Sequence[str], sources: Sequence[TrainingSource]) -> Windows:
    """Return the windows of all sources, chromosomes renamed as in the joined genome."""
    windows = [source.windows for source in sources]
    shifts = np.cumsum([0, *(len(one.chroms) for one in windows)])[:-1].astype(np.int32)
    joins = any(one.joined is not None for one in windows)
    return Windows(
        chroms=tuple(
            joined_name(name, chrom)
            for name, one in zip(names, windows, strict=True)
            for chrom in one.chroms
        ),
        chrom_index=np.concatenate(
            [one.chrom_index + shift for one, shift in zip(windows, shifts, strict=True)]
        ),
        starts=np.concatenate([one.starts for one in windows]),
        ends=np.concatenate([one.ends for one in windows]),
        dropped_n=sum(one.dropped_n for one in windows),
        dropped_bases=sum(one.dropped_bases for one in windows),
        removed_bases=sum(one.removed_bases for one in windows),
        joined=tuple(rows for source in sources for rows in _stretches(source)) if joins else None,
        junctions=sum(one.junctions for one in windows),
    )


def _stretches(source: TrainingSource) -> tuple[Intervals, ...]:
    """Return what is joined of each chromosome: all of it where nothing was removed."""
    if source.windows.joined is not None:
        return source.windows.joined
    lengths = source.genome.lengths
    return tuple(as_intervals([(0, lengths[chrom])]) for chrom in source.windows.chroms)


def _sources(
    name: str, config: DataConfig, genome: Genome, chroms: Sequence[str]
) -> tuple[list[TrainingSource], VariantBudget | None]:
    """Return the sources that one genome gives: itself, or its haplotypes."""
    repeats = open_repeats(config, genome)
    if config.variants == "none" or config.vcf is None:
        return [_source(name, config, genome, chroms, repeats, 0)], None
    haplotypes = open_haplotypes(config, genome.select(chroms))
    found = []
    for number, haplotype in enumerate(haplotypes.genomes, start=1):
        lifted = None if repeats is None else lift_repeats(repeats, haplotype)
        found.append(_source(name, config, haplotype, chroms, lifted, number))
    return found, haplotypes.budget


def _source(
    name: str,
    config: DataConfig,
    genome: Genome,
    chroms: Sequence[str],
    repeats: RepeatAnnotation | None,
    number: int,
) -> TrainingSource:
    """Lay the windows of one source."""
    draws = 0
    if name or number:  # by name: another genome beside it changes nothing in its order
        text = f"{name}/{number}".encode()
        draws = int.from_bytes(hashlib.sha256(text).digest()[:7]) + 1
    return TrainingSource(
        name=name,
        genome=genome,
        windows=training_windows(config, genome, chroms, repeats),
        treated=treatments(config.repeat_policy, chroms, repeats),
        draws=draws,
    )


def open_haplotypes(config: DataConfig, genome: Genome) -> Haplotypes:
    """Build the haplotypes of one genome, or return those built before in this process.

    Raises:
        DataError: If the VCF file cannot be used or does not belong to the genome.
    """
    assert config.variants != "none" and config.vcf is not None  # noqa: S101, PT018 - our mistake
    key = (
        genome.digest,
        file_digest(config.vcf),
        config.variants,
        config.haplotypes,
        config.variant_seed,
        config.vcf_sample,
    )
    if key not in _haplotypes:
        found = build_haplotypes(
            genome,
            Path(config.vcf).expanduser(),
            include=config.variants,
            count=config.haplotypes,
            seed=config.variant_seed,
            sample=config.vcf_sample,
        )
        if len(_haplotypes) >= _MOST_HAPLOTYPES:
            del _haplotypes[next(iter(_haplotypes))]
        _haplotypes[key] = found
    return _haplotypes[key]


def lift_repeats(repeats: RepeatAnnotation, haplotype: HaplotypeGenome) -> RepeatAnnotation:
    """Return repeats by class in the coordinates of a haplotype."""
    lifted = {
        chrom: {
            name: lift_intervals(haplotype.coordinates(chrom), repeats.intervals(chrom, (name,)))
            for name in repeats.names
        }
        for chrom in haplotype.names
    }
    return RepeatAnnotation(lifted, haplotype.lengths, skipped=repeats.skipped)


def lift_intervals(there: CoordinateMap, intervals: Intervals) -> Intervals:
    """Return stretches of the reference in the coordinates of a haplotype.

    Args:
        there: The coordinates of the chromosome.
        intervals: A set of rows ``(start, end)`` on the reference, shape ``(n, 2)``.

    Returns:
        The set of the same bases on the haplotype, inverted ones where they are now. Inserted bases
        belong to a stretch if the base before them does; what is deleted is left out.

    Example:
        >>> from lightning_dna.genome.haplotype_map import Segment
        >>> there = CoordinateMap([Segment(4, 0, 1), Segment(2, 3, 0), Segment(5, 6, 1)])
        >>> lift_intervals(there, as_intervals([(2, 7), (9, 11)])).tolist()
        [[2, 7], [9, 11]]
    """
    ends = there.references + there.lengths * there.steps
    low = np.where(there.steps < 0, ends + 1, there.references)
    high = np.where(there.steps < 0, there.references + 1, ends)
    high = np.where(there.steps == 0, there.references + 1, high)
    first = np.searchsorted(intervals[:, 1], low, side="right")
    counts = np.searchsorted(intervals[:, 0], high, side="left") - first
    row = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = intervals[first[row] + within]
    start = np.maximum(chosen[:, 0], low[row]) - low[row]
    end = np.minimum(chosen[:, 1], high[row]) - low[row]
    length, step = there.lengths[row], there.steps[row]
    start, end = (
        np.where(step > 0, start, np.where(step < 0, length - end, 0)),
        np.where(step > 0, end, np.where(step < 0, length - start, length)),
    )
    return merge(np.stack((there.starts[row] + start, there.starts[row] + end), axis=1))

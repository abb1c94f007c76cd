"""A small genome with known truth, made from a seed: no download, and something to learn.

Beyond base composition there are repeats (copies of a few families on every chromosome), codon bias
and splice signals in genes, and promoters whose motif pairs keep fixed distances. Genes and repeats
never overwrite each other: repeats lie between genes and inside introns.
"""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import decode
from lightning_dna.genome.simulate_background import Table, sample_chain, transition_table
from lightning_dna.genome.simulate_files import write_files
from lightning_dna.genome.simulate_genes import (
    Gene,
    GeneTemplate,
    codon_usage,
    draw_gene,
    place_gene,
)
from lightning_dna.genome.simulate_repeats import (
    RepeatCopy,
    RepeatFamily,
    draw_families,
    place_repeats,
)

SIMULATOR_VERSION = 1  # raise it whenever the same settings make another genome
_BETWEEN_GENES = 50  # fewest bases between two genes, or a gene and the chromosome's end


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """What the simulated genome looks like.

    Attributes:
        seed: Seed, 0 or more; the same settings make the same genome everywhere.
        chromosomes: Number of chromosomes, named chr1, chr2, ...; adding one changes no other.
        chromosome_length: Bases per chromosome, 5,000 or more.
        repeat_families: Number of repeat families; each has a copy on every chromosome.
        repeat_fraction: Fraction of every chromosome that repeats cover at least, 0 to 0.8.
        divergence: Mean divergence of repeats from their families, 0 to 0.3.
        genes_per_chromosome: Genes on every chromosome.
        gc_levels: GC contents of the isochores, each between 0.2 and 0.8.
        isochore_length: Mean length of an isochore in bases, 100 or more.
        background_strength: How strongly two bases bias the next one in the background, 0 to 3: the
            standard deviation of log-preferences. Real genomes are near the default.
    """

    seed: int = 0
    chromosomes: int = 6
    chromosome_length: int = 100_000
    repeat_families: int = 4
    repeat_fraction: float = 0.3
    divergence: float = 0.1
    genes_per_chromosome: int = 12
    gc_levels: tuple[float, ...] = (0.36, 0.41, 0.46, 0.52)
    isochore_length: int = 10_000
    background_strength: float = 0.35

    def __post_init__(self) -> None:
        for name, least, most in (
            ("seed", 0, None),
            ("chromosomes", 1, 1000),
            ("chromosome_length", 5000, None),
            ("repeat_families", 0, 1000),
            ("repeat_fraction", 0.0, 0.8),
            ("divergence", 0.0, 0.3),
            ("genes_per_chromosome", 0, None),
            ("isochore_length", 100, None),
            ("background_strength", 0.0, 3.0),
        ):
            found = getattr(self, name)
            if not (found >= least and (most is None or found <= most)):
                allowed = f"{least} or more" if most is None else f"{least} to {most}"
                raise ConfigError(f"simulation: {name} is {found}; allowed: {allowed}.")
        if not self.gc_levels or not all(0.2 <= level <= 0.8 for level in self.gc_levels):
            raise ConfigError(
                f"simulation: gc_levels is {list(self.gc_levels)}; allowed: one or more fractions "
                f"between 0.2 and 0.8."
            )
        if self.repeat_fraction > 0 and self.repeat_families == 0:
            raise ConfigError(
                f"simulation: repeat_families is 0 while repeat_fraction is "
                f"{self.repeat_fraction:g}; set repeat_fraction to 0 or add families."
            )


@dataclass(frozen=True, kw_only=True)
class Isochore:
    """A stretch of background of one GC content; 0-based half-open."""

    chrom: str
    start: int
    end: int
    gc: float


@dataclass(frozen=True, kw_only=True)
class PromoterSite:
    """One row of the promoter table: which gene, and where its motif pair lies."""

    gene_id: str
    chrom: str
    strand: str
    pair: str
    spacing: int
    upstream: tuple[int, int]
    downstream: tuple[int, int]
    transcription_start: int


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedGenome:
    """The sequences and everything that is true about them.

    Attributes:
        config: The settings.
        sequences: Chromosome names to letters; repeats are lower case.
        genes: In order of chromosome and position, with exons, coding parts and promoter.
        repeats: In order of chromosome and position.
        families: The repeat families.
        codon_usage: Codon frequencies, shape ``(64,)``, codons in the order AAA, AAC, AAG, ...
        isochores: In order of chromosome and position.
    """

    config: SimulationConfig
    sequences: dict[str, str]
    genes: tuple[Gene, ...]
    repeats: tuple[RepeatCopy, ...]
    families: tuple[RepeatFamily, ...]
    codon_usage: Table
    isochores: tuple[Isochore, ...]

    @cached_property
    def promoters(self) -> tuple[PromoterSite, ...]:
        """One row per gene, in the order of ``genes``."""
        return tuple(
            PromoterSite(
                gene_id=gene.gene_id, chrom=gene.chrom, strand=gene.strand, **asdict(gene.promoter)
            )
            for gene in self.genes
        )

    def truth(self) -> dict[str, Any]:
        """Return everything but the sequences as plain JSON content."""
        return {
            "simulator_version": SIMULATOR_VERSION,
            "config": asdict(self.config),
            "isochores": [asdict(row) for row in self.isochores],
            "families": [
                {"name": f.name, "divergence": f.divergence, "consensus": decode(f.consensus)}
                for f in self.families
            ],
            "codon_usage": self.codon_usage.tolist(),
            "genes": [asdict(gene) for gene in self.genes],
            "repeats": [asdict(copy) for copy in self.repeats],
        }

    def write(self, folder: Path) -> Path:
        """Write genome.fa, annotation.gtf, repeats.bed and truth.json, each atomically.

        Args:
            folder: Where to; made if missing.

        Returns:
            Path of the FASTA file, which is written last.

        Raises:
            DataError: If the folder cannot be written.
        """
        return write_files(
            folder,
            sequences=self.sequences,
            genes=self.genes,
            repeats=self.repeats,
            truth=self.truth(),
            build=f"simulated-{_fingerprint(self.config)}",
        )


def simulate(config: SimulationConfig) -> SimulatedGenome:
    """Make the genome.

    Args:
        config: The settings.

    Returns:
        Sequences and truth; equal for equal settings.

    Raises:
        ConfigError: If genes or repeats do not fit on a chromosome.

    Example:
        >>> genome = simulate(
        ...     SimulationConfig(chromosomes=2, chromosome_length=9000, genes_per_chromosome=1)
        ... )
        >>> {name: len(sequence) for name, sequence in genome.sequences.items()}
        {'chr1': 9000, 'chr2': 9000}
    """
    rng = _stream(config, 0)
    families = draw_families(config.repeat_families, config.divergence, rng)
    usage = codon_usage(rng)
    tables = [
        transition_table(level, seed=config.seed, strength=config.background_strength)
        for level in config.gc_levels
    ]
    sequences: dict[str, str] = {}
    genes: list[Gene] = []
    repeats: list[RepeatCopy] = []
    isochores: list[Isochore] = []
    for number in range(1, config.chromosomes + 1):
        chrom, rng = f"chr{number}", _stream(config, number)
        levels, stretches = _isochores(config, chrom, rng)
        codes = sample_chain(tables, levels, rng)
        protected = np.zeros(len(codes), dtype=bool)
        templates = [draw_gene(usage, rng) for _ in range(config.genes_per_chromosome)]
        starts = _gene_starts(templates, config, chrom, rng)
        for index, (template, start) in enumerate(zip(templates, starts, strict=True), start=1):
            gene = place_gene(
                template,
                codes,
                protected,
                gene_id=f"SIMG{number:03d}{index:05d}",
                chrom=chrom,
                start=start,
                strand="+" if rng.random() < 0.5 else "-",
            )
            genes.append(gene)
        repeats += place_repeats(
            codes, protected, families, config.repeat_fraction, chrom=chrom, rng=rng
        )
        isochores += stretches
        sequences[chrom] = decode(codes)
    return SimulatedGenome(
        config=config,
        sequences=sequences,
        genes=tuple(genes),
        repeats=tuple(repeats),
        families=tuple(families),
        codon_usage=usage,
        isochores=tuple(isochores),
    )


def simulated_genome_path(config: SimulationConfig, cache_folder: Path | None = None) -> Path:
    """Return the FASTA file of a simulated genome, making it in the cache on first use.

    Several processes may ask at once: one makes it, the others wait. The folder appears complete or
    not at all, with annotation.gtf, repeats.bed and truth.json beside the FASTA file.

    Args:
        config: The settings.
        cache_folder: Where genomes are kept. Default: ``$XDG_CACHE_HOME`` or ``~/.cache``, then
            ``lightning_dna/simulated``.

    Returns:
        Path of genome.fa.

    Raises:
        ConfigError: As ``simulate``.
        DataError: If the cache folder cannot be written.
    """
    if cache_folder is None:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        cache_folder = Path(base) / "lightning_dna" / "simulated"
    parent = Path(cache_folder).expanduser().absolute()
    folder = parent / _fingerprint(config)
    fasta = folder / "genome.fa"
    if fasta.is_file():
        return fasta
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with FileLock(parent / f"{folder.name}.lock"):
            if not fasta.is_file():
                _build(config, folder)
    except OSError as error:
        raise DataError(
            f"cannot keep the simulated genome in {folder}: {error}; free some space, or choose "
            f"another folder with the environment variable XDG_CACHE_HOME."
        ) from error
    return fasta


def _build(config: SimulationConfig, folder: Path) -> None:
    """Make the whole folder beside its place, then rename it; the caller holds the lock."""
    for leftover in folder.parent.glob(f"{folder.name}-*"):
        shutil.rmtree(leftover)  # of a process that was killed: whoever holds the lock is alone
    genome = simulate(config)
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}-", dir=folder.parent) as work:
        genome.write(Path(work) / "files")
        if folder.exists():  # without its FASTA file, else nobody would have asked
            shutil.rmtree(folder)
        (Path(work) / "files").replace(folder)


def _fingerprint(config: SimulationConfig) -> str:
    """Name the genome that these settings make under this version of the simulator."""
    content = json.dumps([SIMULATOR_VERSION, asdict(config)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _stream(config: SimulationConfig, number: int) -> np.random.Generator:
    """Return the generator of one chromosome; 0 is for what all chromosomes share."""
    return np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(number,)))


def _isochores(
    config: SimulationConfig, chrom: str, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], list[Isochore]]:
    """Cut a chromosome into stretches of one GC level each, neighbours differing."""
    levels = np.empty(config.chromosome_length, dtype=np.int64)
    n_levels = len(config.gc_levels)
    level = int(rng.integers(n_levels))
    rows = []
    start = 0
    while start < config.chromosome_length:
        drawn = config.isochore_length * rng.uniform(0.5, 1.5)
        end = min(start + int(drawn), config.chromosome_length)
        levels[start:end] = level
        rows.append(Isochore(chrom=chrom, start=start, end=end, gc=config.gc_levels[level]))
        if n_levels > 1:
            level = (level + int(rng.integers(1, n_levels))) % n_levels
        start = end
    return levels, rows


def _gene_starts(
    templates: list[GeneTemplate],
    config: SimulationConfig,
    chrom: str,
    rng: np.random.Generator,
) -> list[int]:
    """Spread genes over a chromosome: in the order given, free space cut uniformly at random."""
    needed = sum(len(template) + _BETWEEN_GENES for template in templates) + _BETWEEN_GENES
    free = config.chromosome_length - needed
    if free < 0:
        raise ConfigError(
            f"simulated {chrom}: {len(templates)} genes need {needed} bases and chromosome_length "
            f"is {config.chromosome_length}; lower genes_per_chromosome or raise chromosome_length."
        )
    offsets = np.sort(rng.integers(0, free + 1, size=len(templates)))
    starts, position = [], 0
    for template, offset in zip(templates, offsets, strict=True):
        position += _BETWEEN_GENES
        starts.append(position + int(offset))
        position += len(template)
    return starts

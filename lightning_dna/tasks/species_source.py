"""What a card says of a species task: chromosomes of each species, windows, protocol. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lightning_dna.errors import ConfigError

Protocol = Literal["held_out", "published"]


@dataclass(frozen=True, kw_only=True)
class SpeciesChromosomes:
    """Chromosomes of one species, by their names in its file.

    Attributes:
        train: Chromosomes of training windows.
        valid: Chromosomes of validation windows.
        test: Chromosomes of test windows.

    Raises:
        ConfigError: If a chromosome stands twice.
    """

    train: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        home: dict[str, str] = {}
        for part in ("train", "valid", "test"):
            for name in getattr(self, part):
                if name in home:
                    raise ConfigError(
                        f"species.chromosomes: '{name}' stands in {home[name]} and in {part}; a "
                        "chromosome has one place (protocol: published mixes them all)."
                    )
                home[name] = part


@dataclass(frozen=True, kw_only=True)
class WindowCounts:
    """Windows of each species in each part.

    Attributes:
        train: Training windows.
        valid: Validation windows.
        test: Test windows.
    """

    train: int = 1000
    valid: int = 200
    test: int = 500

    def __post_init__(self) -> None:
        for part in ("train", "valid", "test"):
            if getattr(self, part) < 1:
                raise ConfigError(
                    f"species.windows.{part} is {getattr(self, part)}; allowed: 1 or more."
                )


@dataclass(frozen=True, kw_only=True)
class SpeciesSource:
    """Windows of several genomes; which species a window is of is its label.

    Attributes:
        chromosomes: Species to its chromosomes; the same species as in the card's ``files``.
            Chromosomes are found with and without ``chr``.
        length: Bases of a window.
        windows: Windows of each species in each part; every class is as large as any other.
        protocol: ``held_out``: each part has chromosomes of its own. ``published``: windows of
            every part come from all chromosomes, and those of two parts may overlap, as in
            published tasks that split windows at random; to measure what that is worth.
        seen: What to do if the study's own pretraining read a test chromosome: ``refuse`` it, or
            ``allow`` and say so.
        cluster_length: Windows that start within one stretch of this many bases of a chromosome
            share a cluster.
        max_n_fraction: Windows with a larger share of N are not drawn, in [0, 1).
        seed: Seed of the places: part of the task, not of a run.

    Raises:
        ConfigError: If a value is not allowed.
    """

    chromosomes: dict[str, SpeciesChromosomes]
    length: int = 1024
    windows: WindowCounts = field(default_factory=WindowCounts)
    protocol: Protocol = "held_out"
    seen: Literal["refuse", "allow"] = "refuse"
    cluster_length: int = 100_000
    max_n_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.chromosomes) < 2:
            raise ConfigError(
                f"species.chromosomes names {len(self.chromosomes)} species; two or more are "
                "needed to tell apart."
            )
        for species, chromosomes in self.chromosomes.items():
            parts = {part: getattr(chromosomes, part) for part in ("train", "valid", "test")}
            missing = [part for part, names in parts.items() if not names]
            if len(missing) == 3 or (missing and self.protocol == "held_out"):
                raise ConfigError(
                    f"species.chromosomes: {species} has no chromosome for {', '.join(missing)}; "
                    "each part needs one of its own (protocol: published takes all for each)."
                )
        for name, value in (("length", self.length), ("cluster_length", self.cluster_length)):
            if value < 1:
                raise ConfigError(f"species.{name} is {value}; allowed: 1 or more.")
        if self.seed < 0:
            raise ConfigError(f"species.seed is {self.seed}; allowed: 0 or more.")
        if not 0.0 <= self.max_n_fraction < 1.0:
            raise ConfigError(
                f"species.max_n_fraction is {self.max_n_fraction}; allowed: from 0 to below 1."
            )


def check_species_card(
    files: Mapping[str, str] | None, unit: str, source: SpeciesSource | None
) -> None:
    """Check that a card of species names a genome and chromosomes for each.

    Raises:
        ConfigError: If one is missing, or the unit is not one of windows.
    """
    if source is None:
        raise ConfigError(
            "species is missing; give the chromosomes of each species under species.chromosomes."
        )
    given, wanted = set(files or {}), set(source.chromosomes)
    if given != wanted:
        raise ConfigError(
            "files must name one FASTA file for each species of species.chromosomes; "
            f"without a file: {', '.join(sorted(wanted - given)) or 'none'}; without chromosomes: "
            f"{', '.join(sorted(given - wanted)) or 'none'}."
        )
    if unit not in ("example", "cluster", "chromosome"):
        raise ConfigError(
            f"unit '{unit}' has no meaning for windows of species; use cluster or chromosome."
        )

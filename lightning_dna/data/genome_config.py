"""Settings of one genome among several, and of the variants that training sees."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lightning_dna.errors import ConfigError
from lightning_dna.genome.annotation import STRATA, gc_names
from lightning_dna.genome.repeats import RepeatTreatment, canonical_treatment
from lightning_dna.genome.splits import SplitSpec

Variants = Literal["none", "snv", "snv+indel", "+sv"]

# Genomes name chromosomes and rows of the report, beside those that these words name.
RESERVED_NAMES = frozenset({"repeat", "unique", "train", "gap", *STRATA, *gc_names()})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class GenomeConfig:
    """One of several genomes of a run; its chromosomes are named ``NAME:chrom`` everywhere.

    Attributes:
        genome: Path of a FASTA file (plain, gzip or bgzip), or ``"simulated"``.
        weight: Its share of the training bases, relative to the weights of the others; 0: it is
            scored, and not trained on. ``None`` for all genomes: shares follow the bases of their
            training windows.
        split: Its chromosomes for training, validation and test, by their names in its own file;
            ``None``: what ``data.split`` says.
        repeats: What to do with its repeats in training; ``None``: what ``data.repeats`` says.
        repeat_bed: File of its repeats, as ``data.repeat_bed``.
        repeat_classes: Classes of its repeats that are treated, as ``data.repeat_classes``.
        annotation: GTF, GFF3 or BED file of its genes, as ``data.annotation``.
        vcf: Variants of its training chromosomes, as ``data.vcf``.
    """

    genome: str = ""
    weight: float | None = None
    split: SplitSpec | None = None
    repeats: RepeatTreatment | None = None
    repeat_bed: str | None = None
    repeat_classes: tuple[str, ...] = ()
    annotation: str | None = None
    vcf: str | None = None

    def __post_init__(self) -> None:
        """Check what can be checked for one genome alone."""
        if not self.genome:
            raise ConfigError("a genome of data.genomes names no file; give one as its genome.")
        if self.weight is not None and not 0.0 <= self.weight < float("inf"):
            raise ConfigError(
                f"data.genomes: the weight of {self.genome} is {self.weight}; allowed: 0 (scored, "
                "not trained on) or more."
            )
        if self.repeats is not None:
            object.__setattr__(self, "repeats", canonical_treatment(self.repeats))
        object.__setattr__(self, "repeat_classes", tuple(sorted(self.repeat_classes)))


def check_genomes(genomes: Mapping[str, GenomeConfig], *, only: Mapping[str, object]) -> None:
    """Check what several genomes must agree on.

    Args:
        genomes: Name to genome.
        only: Settings that belong to a single genome, with their values; none may be given beside
            ``genomes``.

    Raises:
        ConfigError: If a name is not allowed, a single genome's setting is given too, some genomes
            have a weight and others none, or none has a weight above 0.
    """
    for setting, value in only.items():
        if value:
            raise ConfigError(
                f"data.{setting} is given beside data.genomes; write it under the genome that it "
                f"belongs to, as data.genomes.NAME.{setting}."
            )
    for name in genomes:
        if not _NAME.fullmatch(name) or name in RESERVED_NAMES or name.startswith("class_"):
            raise ConfigError(
                f"data.genomes: '{name}' is not allowed as the name of a genome; use letters, "
                "digits, '_', '-' and '.', beginning with a letter or digit, and no name of a "
                "stratum such as 'repeat' or 'intron'."
            )
    weights = {name: genome.weight for name, genome in genomes.items()}
    without = [name for name, weight in weights.items() if weight is None]
    if without and len(without) < len(weights):
        raise ConfigError(
            f"data.genomes: {', '.join(without)} has no weight, and others have; give one to each, "
            "or to none for shares by size."
        )
    if not without and not any(weights.values()):
        raise ConfigError("data.genomes: every weight is 0; nothing would be trained on.")


def split_of_member(spec: SplitSpec, name: str, members: tuple[str, ...]) -> SplitSpec:
    """Return the part of a split of several genomes that is about one of them.

    Args:
        spec: A split by names, written ``NAME:chrom``, by fraction or by folds.
        name: The genome.
        members: All genomes.

    Raises:
        ConfigError: If a chromosome is named without its genome, or with an unknown one.

    Example:
        >>> spec = SplitSpec(test=("yeast:chrI", "worm:I"), valid=("yeast:chrII",))
        >>> split_of_member(spec, "worm", ("yeast", "worm")).test
        ('I',)
    """
    lists: dict[str, tuple[str, ...] | None] = {}
    for part in ("train", "valid", "test", "exclude"):
        names: tuple[str, ...] | None = getattr(spec, part)
        for chrom in names or ():
            if chrom.partition(":")[0] not in members:
                raise ConfigError(
                    f"data.split.{part} names '{chrom}'; with several genomes write NAME:chrom, "
                    f"with one of {', '.join(members)} as NAME, or give data.genomes.NAME.split."
                )
        mark = f"{name}:"
        found = tuple(c.removeprefix(mark) for c in names or () if c.startswith(mark))
        lists[part] = None if names is None else found
    return SplitSpec(
        train=lists["train"],
        valid=lists["valid"],
        test=lists["test"],
        exclude=lists["exclude"] or (),
        valid_fraction=spec.valid_fraction,
        test_fraction=spec.test_fraction,
        folds=spec.folds,
        fold=spec.fold,
        seed=spec.seed,
    )

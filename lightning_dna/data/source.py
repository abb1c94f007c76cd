"""From data settings to opened genomes, their chromosomes by part, and their repeats by class."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning_dna.data.config import DataConfig
from lightning_dna.data.windows import Windows, tile
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.joined import JoinedGenome, joined_name
from lightning_dna.genome.repeat_annotation import RepeatAnnotation
from lightning_dna.genome.simulate import simulated_genome_path
from lightning_dna.genome.splits import ChromosomeSplit, SplitSpec, expand, named_parts

SIMULATED = "simulated"


def open_genome(config: DataConfig) -> Genome:
    """Open the genome that the settings name, or all of them as one.

    Args:
        config: Settings; ``genome`` is a path or ``"simulated"``, ``repeat_bed`` replaces the soft
            mask. With ``genomes``, chromosomes are named ``NAME:chrom``.

    Returns:
        The genome, encoded once into the cache and memory-mapped.

    Raises:
        DataError: If a file is missing, damaged or not what it should be, or two genomes hold the
            same sequences.
    """
    if not config.genomes:
        return _open_one(config)
    opened: dict[str, Genome] = {}
    for name, member in config.members.items():
        try:
            opened[name] = _open_one(member)
        except DataError as error:
            raise DataError(f"data.genomes.{name}: {error}") from error
    _refuse_same_genome(opened)
    return JoinedGenome(opened)


def _open_one(config: DataConfig) -> Genome:
    """Open one genome."""
    if config.genome == SIMULATED:
        path = simulated_genome_path(config.simulation)
    else:
        path = Path(config.genome).expanduser()
    return Genome.open(path, mask_bed=Path(config.repeat_bed) if config.repeat_bed else None)


def _refuse_same_genome(genomes: Mapping[str, Genome]) -> None:
    """Refuse a genome that is given twice, wherever its copies lie and whatever its names."""
    seen: dict[frozenset[str], str] = {}
    for name, genome in genomes.items():
        sequences = frozenset(genome.digests.values())
        if sequences in seen:
            raise DataError(
                f"data.genomes: '{seen[sequences]}' and '{name}' hold the same sequences; give a "
                "genome once, and change its weight to see more of it."
            )
        seen[sequences] = name


def members_of(config: DataConfig, genome: Genome) -> dict[str, tuple[DataConfig, Genome]]:
    """Return settings and genome of each member by name; those of the only one have none.

    Raises:
        ConfigError: If the genome is not that of the settings.
    """
    if not config.genomes:
        return {"": (config, genome)}
    found = genome.members if isinstance(genome, JoinedGenome) else {}
    if list(found) != list(config.members):
        raise ConfigError(
            f"data.genomes names {', '.join(config.members)}, but the genome that was opened has "
            f"{', '.join(found) or 'no members'}; open it with the same settings."
        )
    return {name: (member, found[name]) for name, member in config.members.items()}


def resolve_split(config: DataConfig, genome: Genome) -> ChromosomeSplit:
    """Return the chromosomes for training, validation and test.

    With several genomes each is split by itself, and chromosomes are named ``NAME:chrom``. There,
    the same sequence under two names may not stand in training and in another part.

    Raises:
        ConfigError: If a chromosome is unknown or stands in two parts.
        DataError: If a held-out sequence is among those of training under another name.
    """
    if not config.genomes:
        return ChromosomeSplit.resolve(config.split, genome.lengths)
    parts: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for name, (member, one) in members_of(config, genome).items():
        try:
            found = _parts_of_member(member.split, one.lengths)
        except ConfigError as error:
            raise ConfigError(f"data.genomes.{name}: {error}") from error
        if config.genomes[name].weight and not found[0]:
            raise ConfigError(
                f"data.genomes.{name} has weight {config.genomes[name].weight} and no training "
                "chromosome; name some in its split, or set its weight to 0."
            )
        for names, chroms in zip(parts.values(), found, strict=True):
            names += [joined_name(name, chrom) for chrom in chroms]
    split = ChromosomeSplit(**{part: tuple(names) for part, names in parts.items()})
    _refuse_shared_sequences(split, genome)
    return split


def _parts_of_member(spec: SplitSpec, lengths: Mapping[str, int]) -> Sequence[tuple[str, ...]]:
    """Return the parts of one of several genomes; one that is only scored may not train."""
    if not spec.by_names:
        split = ChromosomeSplit.resolve(spec, lengths)
        return split.train, split.valid, split.test
    return named_parts(
        lengths,
        train=spec.train,
        valid=spec.valid or (),
        test=spec.test or (),
        exclude=expand(spec.exclude, lengths),
    )


def _refuse_shared_sequences(split: ChromosomeSplit, genome: Genome) -> None:
    """Refuse a sequence that stands in two parts under two names."""
    home: dict[str, tuple[str, str]] = {}
    for part, chroms in (("train", split.train), ("valid", split.valid), ("test", split.test)):
        for chrom in chroms:
            other, name = home.setdefault(genome.digests[chrom], (part, chrom))
            if other != part:
                raise DataError(
                    f"'{name}' ({other}) and '{chrom}' ({part}) are the same sequence "
                    f"({genome.digests[chrom]}), so what is held out would be trained on; put both "
                    "into one part, or leave one out with split.exclude."
                )


def open_repeats(config: DataConfig, genome: Genome) -> RepeatAnnotation | None:
    """Read the repeats by class where the settings of one genome name classes, else ``None``.

    Raises:
        ConfigError: If a class is not in the file.
        DataError: If the file cannot be used or belongs to another genome.
    """
    if not config.repeat_classes or config.repeat_bed is None:
        return None
    repeats = RepeatAnnotation.read(config.repeat_bed, genome.lengths)
    repeats.chosen(config.repeat_classes)
    return repeats


def training_windows(
    config: DataConfig,
    genome: Genome,
    chroms: Sequence[str],
    repeats: RepeatAnnotation | None = None,
) -> Windows:
    """Lay the windows of a training over chromosomes of one genome; errors as in `tile`.

    Args:
        config: Length, stride, repeat policy and limit of N.
        genome: The genome.
        chroms: Training chromosomes.
        repeats: Repeats by class; read again where they are needed and not given.
    """
    return tile(
        genome,
        chroms,
        length=config.length,
        stride=config.stride,
        policy=config.repeat_policy,
        max_n_fraction=config.max_n_fraction,
        repeats=repeats or open_repeats(config, genome),
    )

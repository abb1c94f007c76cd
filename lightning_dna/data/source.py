"""From data settings to an opened genome, its repeats by class, and the windows of training."""

from collections.abc import Sequence
from pathlib import Path

from lightning_dna.data.config import DataConfig
from lightning_dna.data.windows import Windows, tile
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.repeat_annotation import RepeatAnnotation
from lightning_dna.genome.simulate import simulated_genome_path

SIMULATED = "simulated"


def open_genome(config: DataConfig) -> Genome:
    """Open the genome that the settings name.

    Args:
        config: Settings; ``genome`` is a path or ``"simulated"``, ``repeat_bed`` replaces the soft
            mask.

    Returns:
        The genome, encoded once into the cache and memory-mapped.

    Raises:
        DataError: If a file is missing, damaged or not what it should be.
    """
    if config.genome == SIMULATED:
        path = simulated_genome_path(config.simulation)
    else:
        path = Path(config.genome).expanduser()
    return Genome.open(path, mask_bed=Path(config.repeat_bed) if config.repeat_bed else None)


def open_repeats(config: DataConfig, genome: Genome) -> RepeatAnnotation | None:
    """Read the repeats by class where the settings name classes; ``None`` where they do not.

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
    """Lay the windows of a training over chromosomes; errors as in `tile`.

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

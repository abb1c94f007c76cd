"""From data settings to an opened genome: a FASTA file, or the simulated genome."""

from pathlib import Path

from lightning_dna.data.config import DataConfig
from lightning_dna.genome.fasta import Genome
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

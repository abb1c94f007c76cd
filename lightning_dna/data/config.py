"""Settings of the data: which genome, which chromosomes, which windows, what is hidden."""

from dataclasses import dataclass, field
from typing import Literal

from lightning_dna.errors import ConfigError
from lightning_dna.genome.repeats import RepeatPolicy
from lightning_dna.genome.simulate import SimulationConfig
from lightning_dna.genome.splits import SplitSpec


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """From a FASTA file to training windows, in the order in which the data walks.

    Attributes:
        genome: Path of a FASTA file (plain, gzip or bgzip), or ``"simulated"``.
        simulation: The simulated genome, used only when ``genome`` is ``"simulated"``.
        repeat_bed: BED file of repeats that replaces the soft mask (lower case) of the FASTA file.
        split: Chromosomes for training, validation and test.
        length: Window length in bases.
        stride: Bases between the starts of neighbouring windows; ``None`` means ``length`` (no
            overlap).
        max_n_fraction: Windows with a larger share of N are dropped, in [0, 1].
        repeats: What to do with soft-masked bases in training: ``keep`` them, ``remove`` them
            (fragments stay apart) or ``downweight`` them in the loss.
        repeat_weight: Loss weight of a repeat base under ``downweight``, in [0, 1].
        repeat_min_length: Shortest fragment kept under ``remove``, in bases.
        reverse_complement: Whether each window is turned to the other strand with probability one
            half, anew in every epoch.
        mask_fraction: Share of the bases that are hidden and predicted, in (0, 1).
        validation_windows: At most this many windows of the validation chromosomes, evenly spread,
            are used to follow training.
        validation_seed: Seed of the validation masks, the same for every arm and training seed.
    """

    genome: str = "simulated"
    simulation: SimulationConfig = field(default_factory=SimulationConfig)
    repeat_bed: str | None = None
    split: SplitSpec = field(default_factory=SplitSpec)
    length: int = 512
    stride: int | None = None
    max_n_fraction: float = 0.1
    repeats: Literal["keep", "remove", "downweight"] = "keep"
    repeat_weight: float = 0.1
    repeat_min_length: int = 64
    reverse_complement: bool = False
    mask_fraction: float = 0.15
    validation_windows: int = 256
    validation_seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges; the repeat policy checks its own."""
        if not self.genome:
            raise ConfigError("data.genome is empty; give a FASTA path or 'simulated'.")
        if self.length < 8:
            raise ConfigError(f"data.length is {self.length}; allowed: 8 bases or more.")
        if self.stride is not None and self.stride < 1:
            raise ConfigError(f"data.stride is {self.stride}; allowed: 1 base or more.")
        if not 0.0 <= self.max_n_fraction <= 1.0:
            raise ConfigError(f"data.max_n_fraction is {self.max_n_fraction}; allowed: [0, 1].")
        if not 0.0 < self.mask_fraction < 1.0:
            raise ConfigError(f"data.mask_fraction is {self.mask_fraction}; allowed: (0, 1).")
        if self.validation_windows < 1:
            raise ConfigError(
                f"data.validation_windows is {self.validation_windows}; allowed: 1 or more."
            )
        if self.validation_seed < 0:
            raise ConfigError(
                f"data.validation_seed is {self.validation_seed}; allowed: 0 or more."
            )
        if self.repeats == "remove" and self.repeat_min_length > self.length:
            raise ConfigError(
                f"data.repeat_min_length is {self.repeat_min_length}, above data.length "
                f"{self.length}: no fragment could be used; lower it."
            )
        _ = self.repeat_policy

    @property
    def repeat_policy(self) -> RepeatPolicy:
        """The repeat settings as the policy that the genome room works with."""
        return RepeatPolicy(
            name=self.repeats, weight=self.repeat_weight, min_length=self.repeat_min_length
        )

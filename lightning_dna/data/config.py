"""Settings of the data: which genome, which chromosomes, which windows, what is hidden."""

import functools
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.repeats import RepeatPolicy, RepeatTreatment, canonical_treatment
from lightning_dna.genome.simulate import SimulationConfig
from lightning_dna.genome.splits import SplitSpec

# Settings that did not exist when the first runs were made; at their defaults they stay out of the
# identity of a run.
YOUNGER_FIELDS = ("repeat_classes", "repeat_seed")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """From a FASTA file to training windows, in the order in which the data walks.

    Attributes:
        genome: Path of a FASTA file (plain, gzip or bgzip), or ``"simulated"``.
        simulation: The simulated genome, used only when ``genome`` is ``"simulated"``.
        repeat_bed: File of repeats that replaces the soft mask (lower case) of the FASTA file: BED,
            or RepeatMasker output (``.out``).
        annotation: GTF, GFF3 or BED file of genes: held-out accuracy is then reported by codon
            position, exon, intron and so on, GC content, and the classes of ``repeat_bed``. No
            effect on training.
        split: Chromosomes for training, validation and test.
        length: Window length in bases.
        stride: Bases between the starts of neighbouring windows; ``None`` means ``length`` (no
            overlap).
        max_n_fraction: Windows with a larger share of N are dropped, in [0, 1].
        repeats: What to do with repeats in training: ``keep`` them; ``remove-split`` (or
            ``remove``): no window holds one, fragments stay apart; ``remove-concat``: fragments are
            joined; ``hard-mask``: seen as N, never predicted; ``downweight`` them in the loss;
            ``matched-unique``: keep them and remove as many other bases, the control.
        repeat_weight: Loss weight of a repeat base under ``downweight``, in [0, 1].
        repeat_min_length: Shortest fragment kept under ``remove-split`` and ``matched-unique``, in
            bases.
        repeat_classes: Classes that are treated, such as ``[LINE, SINE/Alu]``, as ``repeat_bed``
            names them (RepeatMasker's class, or the fourth column of a BED file); all others are
            kept. Empty for all repeats.
        repeat_seed: Seed of the places under ``matched-unique``, the same for every training seed.
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
    annotation: str | None = None
    split: SplitSpec = field(default_factory=SplitSpec)
    length: int = 512
    stride: int | None = None
    max_n_fraction: float = 0.1
    repeats: RepeatTreatment = "keep"
    repeat_weight: float = 0.1
    repeat_min_length: int = 64
    repeat_classes: tuple[str, ...] = ()
    repeat_seed: int = 0
    reverse_complement: bool = False
    mask_fraction: float = 0.15
    validation_windows: int = 256
    validation_seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges; the repeat policy checks its own. Each policy has one spelling inside."""
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
        object.__setattr__(self, "repeats", canonical_treatment(self.repeats))
        object.__setattr__(self, "repeat_classes", tuple(sorted(self.repeat_classes)))
        if self.repeat_classes and not self.repeat_bed:
            raise ConfigError(
                f"data.repeat_classes is {list(self.repeat_classes)}, but lower case alone does not"
                " say which class a repeat is; give RepeatMasker output, or a BED file with a class"
                " column, as data.repeat_bed."
            )
        if self.repeat_policy.fragments and self.repeat_min_length > self.length:
            raise ConfigError(
                f"data.repeat_min_length is {self.repeat_min_length}, above data.length "
                f"{self.length}: no fragment could be used; lower it."
            )

    @property
    def repeat_policy(self) -> RepeatPolicy:
        """The repeat settings as the policy that the genome room works with."""
        return RepeatPolicy(
            name=self.repeats,
            weight=self.repeat_weight,
            min_length=self.repeat_min_length,
            classes=self.repeat_classes,
            seed=self.repeat_seed,
        )


def file_digest(path: str) -> str:
    """Hash what a file holds, wherever it lies.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        stat = Path(path).expanduser().stat()
        return _digest_of(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}; check the path.") from error


@functools.lru_cache(maxsize=16)
def _digest_of(path: str, size: int, changed: int) -> str:
    """Hash a file once for each of its states."""
    digest = hashlib.sha256()
    with Path(path).expanduser().open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:24]

"""Settings of the data: which genome, which chromosomes, which windows, what is hidden."""

import functools
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from lightning_dna.data.canaries import CanaryConfig
from lightning_dna.data.genome_config import (
    GenomeConfig,
    Variants,
    check_genomes,
    split_of_member,
)
from lightning_dna.data.tokenization import check_mask_unit, check_tokenizer
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.repeats import RepeatPolicy, RepeatTreatment, canonical_treatment
from lightning_dna.genome.simulate import SimulationConfig
from lightning_dna.genome.splits import SplitSpec

# Settings that did not exist when the first runs were made; at their defaults they stay out of the
# identity of a run.
YOUNGER_FIELDS = (
    *("repeat_classes", "repeat_seed", "tokenizer", "mask_unit", "genomes", "variants"),
    "canaries",
)


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
        tokenizer: What a model reads: ``character`` (single bases), ``kmer-K`` (side by side),
            ``bpe-V`` (V byte-pair tokens learned from the training chromosomes) or ``bpe:FILE`` (a
            ``tokenizer.json``). Lengths and budgets are counted in bases whatever it is.
        mask_unit: What is hidden of longer tokens: a whole ``token``; or, of byte pairs, a single
            ``base`` that is a token of its own, as held-out bases are scored.
        genomes: Instead of ``genome``: name to genome, for a run on several of them. Then ``split``
            by names is of chromosomes ``NAME:chrom``.
        variants: What training reads: the reference alone (``none``), or in its place haplotypes
            with the variants of ``vcf`` put in, single-base ones (``snv``), short insertions and
            deletions too (``snv+indel``), or structural ones too (``+sv``). Evaluation stays on
            the reference.
        vcf: Variants, plain or gzip; read unless ``variants`` is ``none``.
        haplotypes: Haplotypes that are made from ``vcf``; each gets the same share of the bases.
        variant_seed: Seed of what the file leaves open: alleles without genotypes, phases.
        vcf_sample: The person whose genotypes are used; ``None``: those of all, or frequencies.
        canaries: Sequences planted in the training windows, to measure what is learned by heart;
            ``None``: none. Nothing but training sees them.
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
    tokenizer: str = "character"
    mask_unit: Literal["token", "base"] = "token"
    genomes: dict[str, GenomeConfig] = field(default_factory=dict)
    variants: Variants = "none"
    vcf: str | None = None
    haplotypes: int = 2
    variant_seed: int = 0
    vcf_sample: str | None = None
    canaries: CanaryConfig | None = None

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
        check_tokenizer(self.tokenizer)
        check_mask_unit(self.mask_unit, self.tokenizer)
        self._check_genomes_and_variants()
        self._check_canaries()
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

    def _check_genomes_and_variants(self) -> None:
        """Check the settings of several genomes, and of variants."""
        if self.genomes:
            check_genomes(
                self.genomes,
                only={
                    "genome": self.genome != "simulated" and self.genome,
                    "repeat_bed": self.repeat_bed,
                    "repeat_classes": self.repeat_classes,
                    "annotation": self.annotation,
                    "vcf": self.vcf,
                },
            )
            # By name: neither results nor run ids depend on the order in which they are written.
            object.__setattr__(self, "genomes", dict(sorted(self.genomes.items())))
            _ = self.members  # each is checked like the settings of an only genome
        if self.haplotypes < 1:
            raise ConfigError(f"data.haplotypes is {self.haplotypes}; allowed: 1 or more.")
        if self.variant_seed < 0:
            raise ConfigError(f"data.variant_seed is {self.variant_seed}; allowed: 0 or more.")
        if self.variants != "none" and not any(one.vcf for one in self.members.values()):
            raise ConfigError(
                f"data.variants is '{self.variants}', but no file says which variants there are; "
                "give one as data.vcf, or as data.genomes.NAME.vcf."
            )

    def _check_canaries(self) -> None:
        """Check that canaries fit into windows, and that no base is in several of these."""
        if self.canaries is None:
            return
        if self.canaries.length > self.length:
            raise ConfigError(
                f"data.canaries.length is {self.canaries.length}, above data.length {self.length}:"
                " a canary stands within a window; shorten it, or lengthen the windows."
            )
        if self.stride is not None and self.stride < self.length:
            raise ConfigError(
                f"data.stride is {self.stride}, below data.length {self.length}: a canary in"
                " overlapping windows would be read more often than data.canaries.repetitions"
                " says; leave data.stride out."
            )

    @property
    def members(self) -> dict[str, "DataConfig"]:
        """Settings of each genome alone, by name; those of the only one have the name ``""``."""
        if not self.genomes:
            return {"": self}
        names = tuple(self.genomes)
        return {
            name: self._member(one, one.split or split_of_member(self.split, name, names))
            for name, one in self.genomes.items()
        }

    def _member(self, one: GenomeConfig, split: SplitSpec) -> "DataConfig":
        """Return the settings of one of several genomes as if it were the only one."""
        return replace(
            self,
            genomes={},
            genome=one.genome,
            split=split,
            repeats=one.repeats or self.repeats,
            repeat_bed=one.repeat_bed,
            repeat_classes=one.repeat_classes,
            annotation=one.annotation,
            vcf=one.vcf,
            variants=self.variants if one.vcf else "none",
        )

    @property
    def equal_windows(self) -> bool:
        """Whether all training windows have the same length: no policy leaves fragments."""
        return not any(one.repeat_policy.fragments for one in self.members.values())

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


def deciding_files(config: DataConfig) -> dict[str, Any]:
    """Hash the files that decide a training and do not show in the digest of the sequence.

    Returns:
        ``repeat_file`` where classes of repeats are named, ``vcf_file`` where variants are read;
        with several genomes, under ``genome_files`` by name.
    """
    files = {}
    for name, member in config.members.items():
        found = {}
        if member.repeat_classes and member.repeat_bed:
            found["repeat_file"] = file_digest(member.repeat_bed)
        if member.variants != "none" and member.vcf:
            found["vcf_file"] = file_digest(member.vcf)
        files[name] = found
    if not config.genomes:
        return files[""]
    return {"genome_files": {name: found for name, found in files.items() if found}}


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

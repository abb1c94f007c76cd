"""Settings of training, and the run that holds them all. No torch here."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from lightning_dna import settings
from lightning_dna.data.config import YOUNGER_FIELDS as YOUNGER_DATA_FIELDS
from lightning_dna.data.config import DataConfig, deciding_files, file_digest
from lightning_dna.data.length_schedule import YOUNGER_FIELDS as YOUNGER_SCHEDULE_FIELDS
from lightning_dna.data.length_schedule import LengthScheduleConfig
from lightning_dna.data.tokenization import (
    CHARACTER,
    check_special_tokens,
    file_of,
    vocabulary_rows,
)
from lightning_dna.errors import ConfigError
from lightning_dna.models.choices import YOUNGER_FIELDS
from lightning_dna.models.config import ModelConfig
from lightning_dna.tokenizers.character import CharacterTokenizer
from lightning_dna.training.finetune_config import FineTuneConfig, check_rates

__all__ = [
    "BudgetConfig",
    "FineTuneConfig",
    "LengthScheduleConfig",
    "OptimizerConfig",
    "RunConfig",
    "TrainerConfig",
    "deciding_settings",
]

# Settings that cannot change the trained weights.
_WITHOUT_EFFECT = (
    "accelerator",
    "devices",
    "strategy",
    "validate_every",
    "points",
    "checkpoint_every_seconds",
    "logger",
    "num_workers",
    "threads",
    "activation_checkpointing",
)
# Files: what they hold counts, not where they lie; an annotation does nothing to the training.
_FILES = ("genome", "simulation", "repeat_bed", "annotation", "vcf")
_OF_VARIANTS = ("haplotypes", "variant_seed", "vcf_sample")  # without effect where there are none
# Settings that did not exist when the first runs were made, by section.
_YOUNGER = {
    "data": YOUNGER_DATA_FIELDS,
    "model": YOUNGER_FIELDS,
    "length_schedule": YOUNGER_SCHEDULE_FIELDS,
}


@dataclass(frozen=True, kw_only=True)
class BudgetConfig:
    """What every arm may spend.

    Attributes:
        tokens: Bases (padding not counted) of the whole training, which are its tokens unless
            ``data.tokenizer`` says otherwise; rounded down to whole steps.
        tokens_per_step: Bases of every step, whatever the row length and the tokens.
    """

    tokens: int = 2_000_000
    tokens_per_step: int = 8_192

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.tokens_per_step < 8:
            raise ConfigError(
                f"budget.tokens_per_step is {self.tokens_per_step}; allowed: 8 or more."
            )
        if self.tokens < self.tokens_per_step:
            raise ConfigError(
                f"budget.tokens is {self.tokens}, less than one step of {self.tokens_per_step} "
                "(budget.tokens_per_step); raise the one or lower the other."
            )

    @property
    def steps(self) -> int:
        """Whole steps that the budget pays for."""
        return self.tokens // self.tokens_per_step


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW with linear warm-up and cosine decay.

    Attributes:
        lr: Peak learning rate.
        weight_decay: Decoupled weight decay of the matrices; norms, biases, embeddings and the
            implicit filters of Hyena have none.
        betas: Decay rates of AdamW's two moments.
        epsilon: Added to the denominator of AdamW.
        warmup_fraction: Share of the steps in which the rate rises linearly from zero, in [0, 1).
        final_lr_fraction: Rate at the end, as a share of ``lr``, in [0, 1].
        gradient_clip: Largest Euclidean norm of the gradient; 0 switches clipping off.
    """

    lr: float = 1e-3
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = 1e-8
    warmup_fraction: float = 0.05
    final_lr_fraction: float = 0.1
    gradient_clip: float = 1.0

    def __post_init__(self) -> None:
        """Check ranges."""
        check_rates("optimizer", self.lr, self.weight_decay, self.warmup_fraction)
        if len(self.betas) != 2 or not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ConfigError(f"optimizer.betas is {self.betas}; allowed: two numbers in [0, 1).")
        if not self.epsilon > 0.0:
            raise ConfigError(f"optimizer.epsilon is {self.epsilon}; allowed: above 0.")
        if not 0.0 <= self.final_lr_fraction <= 1.0:
            raise ConfigError(
                f"optimizer.final_lr_fraction is {self.final_lr_fraction}; allowed: [0, 1]."
            )
        if not 0.0 <= self.gradient_clip < math.inf:
            raise ConfigError(
                f"optimizer.gradient_clip is {self.gradient_clip}; allowed: 0 (off) or more."
            )


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Where and how training runs; nothing here but ``precision`` changes what is learned.

    Attributes:
        accelerator: Device kind; ``auto`` takes a GPU when there is one.
        devices: Devices of this machine that one training takes, each with a part of every batch;
            ``auto`` is every GPU, and one device without any. Scoring takes one.
        strategy: How several devices share the work: ``ddp`` keeps the whole model on each,
            ``fsdp`` a part of every weight and of its optimizer state; ``auto`` is ``ddp``.
        precision: ``auto`` is bfloat16 autocast on a GPU that supports it and 32-bit elsewhere.
        validate_every: Share of the steps between validations, in (0, 1]. The last step is always
            validated.
        points: About how many rows the learning curve gets.
        checkpoint_every_seconds: Time between checkpoints from which a killed run resumes; 0 means
            every step.
        logger: A logger of Lightning to use beside ``curves.csv``; ``csv`` and ``none`` add none.
        num_workers: Processes that prepare batches; 0 prepares them in the training process, which
            is faster here.
        threads: Threads of torch within one operation; ``None`` leaves torch's choice.
        activation_checkpointing: Keep only every block's input for the backward pass, which then
            computes the rest again: less memory for about a third more time, same weights.
    """

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int | Literal["auto"] = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    precision: Literal["auto", "32", "bf16"] = "auto"
    validate_every: float = 0.1
    points: int = 100
    checkpoint_every_seconds: float = 60.0
    logger: Literal["csv", "tensorboard", "wandb", "mlflow", "comet", "none"] = "csv"
    num_workers: int = 0
    threads: int | None = None
    activation_checkpointing: bool = False

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.devices != "auto" and self.devices < 1:
            raise ConfigError(f"trainer.devices is {self.devices}; allowed: 1 or more, or auto.")
        if not 0.0 < self.validate_every <= 1.0:
            raise ConfigError(f"trainer.validate_every is {self.validate_every}; allowed: (0, 1].")
        if self.points < 1:
            raise ConfigError(f"trainer.points is {self.points}; allowed: 1 or more.")
        if not self.checkpoint_every_seconds >= 0.0:
            raise ConfigError(
                f"trainer.checkpoint_every_seconds is {self.checkpoint_every_seconds}; "
                "allowed: 0 or more."
            )
        if self.num_workers < 0:
            raise ConfigError(f"trainer.num_workers is {self.num_workers}; allowed: 0 or more.")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"trainer.threads is {self.threads}; allowed: 1 or more, or null.")


def validation_interval(share: float, steps: int) -> int:
    """Return the number of steps between validations.

    Example:
        >>> validation_interval(0.1, 250), validation_interval(0.1, 4)
        (25, 1)
    """
    return max(1, round(share * steps))


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One arm with one seed: everything that decides the trained weights.

    Attributes:
        data: Genome, chromosomes, windows, masks.
        model: Architecture.
        budget: Tokens to spend.
        optimizer: Optimizer and learning rate.
        length_schedule: Row length over the steps.
        trainer: Device, precision, logging.
        seed: Seed of the initial weights, the data order, the masks and dropout.
    """

    data: DataConfig
    model: ModelConfig
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    length_schedule: LengthScheduleConfig = field(default_factory=LengthScheduleConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what only the parts together can tell."""
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; allowed: 0 or more.")
        if self.data.length > self.model.max_length:
            raise ConfigError(
                f"data.length is {self.data.length} but model.max_length is "
                f"{self.model.max_length}; raise model.max_length or shorten the windows."
            )
        self._check_tokens()
        if self.budget.tokens_per_step < self.data.length:
            raise ConfigError(
                f"budget.tokens_per_step is {self.budget.tokens_per_step}, less than one window of "
                f"data.length {self.data.length}; a step holds at least one window."
            )
        self.length_schedule.check_against(
            self.data.length,
            equal_windows=self.data.equal_windows,
        )

    def _check_tokens(self) -> None:
        """Check that the model has a row for every token, and reads tokens as they are."""
        rows = CharacterTokenizer.vocab_size
        what, usual = "single bases and special tokens", " (16 by default)"
        if self.data.tokenizer != CHARACTER:
            rows = vocabulary_rows(self.data.tokenizer)
            check_special_tokens(self.data.tokenizer, masked=self.model.objective == "masked")
            what, usual = f"the tokens of data.tokenizer '{self.data.tokenizer}'", ""
            if self.model.strand != "single":
                raise ConfigError(
                    f"model.strand '{self.model.strand}' complements single bases, and"
                    f" data.tokenizer is '{self.data.tokenizer}'; use strand single, or"
                    " data.reverse_complement to train on both strands."
                )
        if self.model.vocab_size < rows:
            raise ConfigError(
                f"model.vocab_size is {self.model.vocab_size}, but {what} have ids up to "
                f"{rows - 1}; allowed: {rows} or more{usual}."
            )


def deciding_settings(run: RunConfig) -> dict[str, Any]:
    """Return the settings that decide the trained weights, as plain nested values.

    The place of the sequence is not among them: its digest says what it is, wherever it lies. Nor
    are settings that did not exist when the first runs were made, unless they are used.
    """
    content: dict[str, Any] = settings.plain(run)
    for section, names in _YOUNGER.items():
        found = getattr(run, section)
        usual = type(found)()
        for name in names:
            if getattr(found, name) == getattr(usual, name):
                del content[section][name]
    for name in _WITHOUT_EFFECT:
        del content["trainer"][name]
    for name in _FILES:
        del content["data"][name]
    for name in _OF_VARIANTS if run.data.variants == "none" else ():
        del content["data"][name]
    for genome in content["data"].get("genomes", {}).values():
        for name in _FILES:
            genome.pop(name, None)
    content |= deciding_files(run.data)
    tokenizer_file = file_of(run.data.tokenizer)
    if tokenizer_file is not None:
        del content["data"]["tokenizer"]
        content["tokenizer_file"] = file_digest(tokenizer_file)
    return content

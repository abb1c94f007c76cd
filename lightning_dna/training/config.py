"""Settings of training and fine-tuning, and the run that holds them all. No torch here."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from lightning_dna import settings
from lightning_dna.data.config import YOUNGER_FIELDS as YOUNGER_DATA_FIELDS
from lightning_dna.data.config import DataConfig, file_digest
from lightning_dna.data.length_schedule import YOUNGER_FIELDS as YOUNGER_SCHEDULE_FIELDS
from lightning_dna.data.length_schedule import LengthScheduleConfig
from lightning_dna.errors import ConfigError
from lightning_dna.models.choices import YOUNGER_FIELDS
from lightning_dna.models.config import ModelConfig
from lightning_dna.tokenizers.character import CharacterTokenizer

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
    "validate_every",
    "points",
    "checkpoint_every_seconds",
    "logger",
    "num_workers",
    "threads",
    "activation_checkpointing",
)
# Files: what they hold counts, not where they lie; an annotation does nothing to the training.
_FILES = ("genome", "simulation", "repeat_bed", "annotation")
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
        tokens: Real tokens (padding not counted) of the whole training; rounded down to whole
            steps.
        tokens_per_step: Real tokens of every step, whatever the row length.
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
        _check_rates("optimizer", self.lr, self.weight_decay, self.warmup_fraction)
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


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """How a model is adapted to a labelled task; the same for every arm.

    Attributes:
        epochs: Most passes over the training examples.
        lr: Peak learning rate of trunk and head.
        batch_size: Examples per step.
        weight_decay: Decoupled weight decay of the matrices.
        warmup_fraction: Share of the steps in which the rate rises linearly from zero, in [0, 1).
        patience: Epochs without a better validation metric after which training stops.
        metric: Validation metric that chooses the epoch.
        gradient_clip: Largest Euclidean norm of the gradient; 0 switches clipping off.
        probe_c: Inverse regularisation strengths that the linear probe chooses among, on
            validation examples.
    """

    epochs: int = 10
    lr: float = 3e-4
    batch_size: int = 32
    weight_decay: float = 0.01
    warmup_fraction: float = 0.1
    patience: int = 3
    metric: Literal["mcc", "accuracy"] = "mcc"
    gradient_clip: float = 1.0
    probe_c: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0)

    def __post_init__(self) -> None:
        """Check ranges."""
        _check_rates("finetune", self.lr, self.weight_decay, self.warmup_fraction)
        for name in ("epochs", "batch_size", "patience"):
            value = {
                "epochs": self.epochs,
                "batch_size": self.batch_size,
                "patience": self.patience,
            }
            if value[name] < 1:
                raise ConfigError(f"finetune.{name} is {value[name]}; allowed: 1 or more.")
        if self.metric not in ("mcc", "accuracy"):
            raise ConfigError(f"finetune.metric is {self.metric!r}; allowed: mcc, accuracy.")
        if not 0.0 <= self.gradient_clip < math.inf:
            raise ConfigError(
                f"finetune.gradient_clip is {self.gradient_clip}; allowed: 0 or more."
            )
        if not self.probe_c or not all(0.0 < value < math.inf for value in self.probe_c):
            raise ConfigError(
                f"finetune.probe_c is {self.probe_c}; allowed: one or more positive numbers."
            )


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
        if self.model.vocab_size < CharacterTokenizer.vocab_size:
            raise ConfigError(
                f"model.vocab_size is {self.model.vocab_size}, but single bases and special tokens "
                f"have ids up to {CharacterTokenizer.vocab_size - 1}; allowed: "
                f"{CharacterTokenizer.vocab_size} or more (16 by default)."
            )
        if self.budget.tokens_per_step < self.data.length:
            raise ConfigError(
                f"budget.tokens_per_step is {self.budget.tokens_per_step}, less than one window of "
                f"data.length {self.data.length}; a step holds at least one window."
            )
        self.length_schedule.check_against(
            self.data.length,
            equal_windows=not self.data.repeat_policy.fragments,
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
    if run.data.repeat_classes and run.data.repeat_bed:
        # Which class each repeat is does not show in the genome's digest.
        content["repeat_file"] = file_digest(run.data.repeat_bed)
    return content


def _check_rates(where: str, lr: float, weight_decay: float, warmup_fraction: float) -> None:
    """Check the settings that pretraining and fine-tuning share."""
    if not 0.0 < lr < math.inf:
        raise ConfigError(f"{where}.lr is {lr}; allowed: above 0.")
    if not 0.0 <= weight_decay < math.inf:
        raise ConfigError(f"{where}.weight_decay is {weight_decay}; allowed: 0 or more.")
    if not 0.0 <= warmup_fraction < 1.0:
        raise ConfigError(f"{where}.warmup_fraction is {warmup_fraction}; allowed: [0, 1).")

"""Settings of using a model on a labelled task: what is trained, how, and what is read from it."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from lightning_dna.errors import ConfigError, unknown_name
from lightning_dna.models.choices import Pooling

SelectionMetric = Literal["mcc", "accuracy", "loss"]
Scheduler = Literal["cosine", "linear", "constant"]
HeadForm = Literal["linear", "pooler"]
PromptBackbone = Literal["frozen", "tuned"]
TooLong = Literal["error", "truncate_center"]

_AT_LEAST_ONE = (
    "epochs",
    "batch_size",
    "patience",
    "lora_rank",
    "prompt_length",
    "cnn_width",
    "cnn_taps",
)


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """How a model is adapted to a labelled task; the same for every arm.

    Attributes:
        epochs: Most passes over the training examples.
        lr: Peak learning rate of whatever is trained. Several make a budget: every arm tries each
            of them and keeps the one that is best on the validation examples.
        batch_size: Examples per step.
        weight_decay: Decoupled weight decay of the matrices.
        warmup_fraction: Share of the steps in which the rate rises linearly from zero, in [0, 1).
        patience: Epochs without a better validation metric after which training stops.
        metric: Validation metric that chooses the epoch; ``loss`` is the mean cross-entropy, of
            which less is better.
        gradient_clip: Largest Euclidean norm of the gradient; 0 switches clipping off.
        probe_c: Inverse regularisation strengths that the linear probe chooses among, on
            validation examples.
        scheduler: What follows the warm-up: half a cosine, a straight line, or the peak rate on.
        final_lr_fraction: Rate at the end of cosine or line, as a share of ``lr``, in [0, 1].
        warmup_steps: Steps of the warm-up in place of ``warmup_fraction``, 0 or more.
        max_steps: Steps after which training ends and the rate is at its end, if the epochs would
            take more.
        validate_every_steps: Validate after every so many steps, and at the end, and keep the best;
            ``None`` validates after each epoch.
        pooling: How the states of a sequence become one vector. ``mean`` and ``max`` read the
            positions of bases; ``first`` and ``last`` the first and the last token, which are the
            special ones where a checkpoint reads such; ``attention`` is a mean whose weights are
            learned, and no way for a linear probe.
        layer: Which states are read: 0 for the embeddings, then one for each block; -1 and the
            number of blocks for the last ones, after the final norm. Later blocks are left out.
        head: ``linear``, or ``pooler``: a layer with tanh before it, as BERT has.
        head_dropout: Dropout before the last layer of the head, in [0, 1).
        lora_rank: Rank of the two factors of LoRA.
        lora_alpha: LoRA's product is multiplied by ``lora_alpha / lora_rank``.
        lora_targets: Names of the linear maps that LoRA or IA3 change. None: ``query`` and
            ``value`` of attention, ``input`` and ``output`` of every other mixer for LoRA; ``key``,
            ``value``, or ``input``, and the feed-forward's inner channels for IA3.
        prompt_length: Trained vectors in front of every sequence; they count towards the model's
            ``max_length``.
        prompt_backbone: Whether the other weights are ``frozen`` or ``tuned`` with the prompt.
        cnn_width: Channels of both layers of the CNN on frozen states.
        cnn_taps: Taps of both, odd.
        too_long: What to do with a sequence that is longer than the model: an ``error``, or keep
            its middle (``truncate_center``).
    """

    epochs: int = 10
    lr: float | tuple[float, ...] = 3e-4
    batch_size: int = 32
    weight_decay: float = 0.01
    warmup_fraction: float = 0.1
    patience: int = 3
    metric: SelectionMetric = "mcc"
    gradient_clip: float = 1.0
    probe_c: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4)
    scheduler: Scheduler = "cosine"
    final_lr_fraction: float = 0.0
    warmup_steps: int | None = None
    max_steps: int | None = None
    validate_every_steps: int | None = None
    pooling: Pooling = "mean"
    layer: int = -1
    head: HeadForm = "linear"
    head_dropout: float = 0.0
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_targets: tuple[str, ...] = ()
    prompt_length: int = 32
    prompt_backbone: PromptBackbone = "frozen"
    cnn_width: int = 64
    cnn_taps: int = 3
    too_long: TooLong = "error"

    def __post_init__(self) -> None:
        """Check ranges."""
        self._check_choices()
        self._check_rates()
        for name in _AT_LEAST_ONE:
            _check_at_least(name, getattr(self, name), 1)
        _check_at_least("warmup_steps", self.warmup_steps, 0)
        _check_at_least("max_steps", self.max_steps, 1)
        _check_at_least("validate_every_steps", self.validate_every_steps, 1)
        _check_at_least("layer", self.layer, -1)
        if not 0.0 <= self.gradient_clip < math.inf:
            raise ConfigError(
                f"finetune.gradient_clip is {self.gradient_clip}; allowed: 0 or more."
            )
        if not 0.0 < self.lora_alpha < math.inf:
            raise ConfigError(f"finetune.lora_alpha is {self.lora_alpha}; allowed: above 0.")
        if self.cnn_taps % 2 == 0:
            raise ConfigError(
                f"finetune.cnn_taps is {self.cnn_taps}; allowed: an odd number, so that a "
                "convolution has a middle."
            )
        if not self.probe_c or not all(0.0 < value < math.inf for value in self.probe_c):
            raise ConfigError(
                f"finetune.probe_c is {self.probe_c}; allowed: one or more positive numbers."
            )

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates that every arm may try."""
        return self.lr if isinstance(self.lr, tuple) else (self.lr,)

    @property
    def rate(self) -> float:
        """The learning rate of one training.

        Raises:
            ConfigError: Several are to be tried, and none has been chosen.
        """
        if len(self.rates) > 1:
            raise ConfigError(
                f"finetune.lr holds {len(self.rates)} rates, {self.rates}, and one training takes "
                "one; choose one, or run the study, which tries all on the validation examples."
            )
        return self.rates[0]

    def _check_choices(self) -> None:
        """Refuse an unknown name."""
        for name, allowed in (
            ("metric", SelectionMetric),
            ("scheduler", Scheduler),
            ("pooling", Pooling),
            ("head", HeadForm),
            ("prompt_backbone", PromptBackbone),
            ("too_long", TooLong),
        ):
            if getattr(self, name) not in get_args(allowed):
                raise unknown_name(f"finetune.{name}", str(getattr(self, name)), get_args(allowed))

    def _check_rates(self) -> None:
        """Check the learning rates, and what goes with them."""
        if not self.rates or len(set(self.rates)) < len(self.rates):
            raise ConfigError(
                f"finetune.lr is {self.lr}; allowed: a number above 0, or several different ones."
            )
        for rate in self.rates:
            check_rates("finetune", rate, self.weight_decay, self.warmup_fraction)
        if not 0.0 <= self.final_lr_fraction <= 1.0:
            raise ConfigError(
                f"finetune.final_lr_fraction is {self.final_lr_fraction}; allowed: [0, 1]."
            )
        if not 0.0 <= self.head_dropout < 1.0:
            raise ConfigError(f"finetune.head_dropout is {self.head_dropout}; allowed: [0, 1).")


def check_rates(where: str, lr: float, weight_decay: float, warmup_fraction: float) -> None:
    """Check the settings that pretraining and fine-tuning share.

    Args:
        where: Section of the settings, for the message.
        lr: Learning rate.
        weight_decay: Weight decay.
        warmup_fraction: Share of the steps that warm up.

    Raises:
        ConfigError: If one of them is out of range.
    """
    if not 0.0 < lr < math.inf:
        raise ConfigError(f"{where}.lr is {lr}; allowed: above 0.")
    if not 0.0 <= weight_decay < math.inf:
        raise ConfigError(f"{where}.weight_decay is {weight_decay}; allowed: 0 or more.")
    if not 0.0 <= warmup_fraction < 1.0:
        raise ConfigError(f"{where}.warmup_fraction is {warmup_fraction}; allowed: [0, 1).")


def _check_at_least(name: str, value: int | None, lowest: int) -> None:
    """Refuse a number that is too small; ``None`` stands for no number."""
    if value is not None and value < lowest:
        raise ConfigError(f"finetune.{name} is {value}; allowed: {lowest} or more.")

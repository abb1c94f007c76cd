"""The LightningModules: masked and next-token language models, and named thin subclasses.

Loss and accuracy are over target positions only. The loss is ``sum(l * w) / sum(w)`` with the
weights of the batch (GPN's normalisation); validation is never weighted.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.optim import Optimizer
from torchmetrics import MeanMetric

from lightning_dna.data.batches import IGNORE, Batch
from lightning_dna.errors import ConfigError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import build_model
from lightning_dna.training.config import OptimizerConfig
from lightning_dna.training.microbatches import loss_in_parts
from lightning_dna.training.optim import adamw, seed_of_step
from lightning_dna.training.ranks import ALONE, WHOLE, Ranks, share_of
from lightning_dna.training.stability import StepLog


class LanguageModule(LightningModule):
    """A language model with its loss, metrics and optimizer; use one of the subclasses.

    Args:
        config: The architecture; the fields that the subclass pins are set whatever it says.
        optimizer: Optimizer settings.
        total_steps: Steps of the whole training, for the learning-rate schedule.
        seed: Seed of the initial weights and of dropout.

    Raises:
        ConfigError: If ``config`` says something else than what the subclass's name promises.
    """

    pinned: ClassVar[Mapping[str, Any]] = {}
    """Fields of the config that make the class what its name says."""

    def __init__(
        self,
        config: ModelConfig | None = None,
        *,
        optimizer: OptimizerConfig | None = None,
        total_steps: int = 1000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config = self._pin(config)
        self.optimizer_config = optimizer or OptimizerConfig()
        self.total_steps = total_steps
        self.seed = seed
        self.microbatches = 1  # parts of a batch, one after the other, where memory is short
        self.ranks, self._share = ALONE, WHOLE
        self.model = build_model(self.config, seed=seed)
        self.valid_loss, self.valid_accuracy = _mean(), _mean()
        self.step_log = StepLog()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; shorter for the one that Lightning sets some fifty times a step."""
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @classmethod
    def _pin(cls, config: ModelConfig | None) -> ModelConfig:
        """Set the pinned fields, refusing a config that was made for another class."""
        if config is None:
            return ModelConfig(**cls.pinned)
        default = ModelConfig()
        for field, value in cls.pinned.items():
            found = getattr(config, field)
            if found not in (value, getattr(default, field)):
                raise ConfigError(
                    f"{cls.__name__} has model.{field} = {value!r}, but the config says {found!r}; "
                    "change the config, or use the class that fits it."
                )
        return replace(config, **cls.pinned)

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return weighted loss, unweighted loss and accuracy over the targets of a batch.

        Returns:
            Three scalars; losses in nats per target.
        """
        chosen = batch.targets != IGNORE
        scores = self.model.logits_at(batch.input_ids, batch.attention_mask, chosen).float()
        targets = batch.targets[chosen]  # (targets,), and scores are (targets, vocab)
        nats = cross_entropy(scores, targets, reduction="none")
        plain = nats.sum() / max(1, len(targets))  # a batch without targets has loss 0, not NaN
        weighted = plain
        if batch.weights is not None:
            weights = batch.weights[chosen]
            weighted = (nats * weights).sum() / weights.sum().clamp_min(1e-8)
        accuracy = (scores.argmax(dim=-1) == targets).float().sum() / max(1, len(targets))
        return weighted, plain.detach(), accuracy.detach()

    def join(self, ranks: Ranks) -> None:
        """Train as one of several processes."""
        self.ranks = self.step_log.ranks = ranks

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Learn from the other processes how much the part of a step counts that this one has."""
        if self.ranks.count > 1:
            self._share = share_of(batch, self.ranks)
        return batch

    def _counted(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss, unweighted loss and accuracy as this process's part of the step's."""
        weighted, plain, accuracy = self.loss(batch)
        if self.ranks.count > 1:
            weighted = weighted * self._share.weight
            plain, accuracy = plain * self._share.targets, accuracy * self._share.targets
        return weighted, plain, accuracy

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout by step, so that a resumed run draws what an uninterrupted one would.

        Of several processes each draws its own, as the rows of one batch do.
        """
        if self.config.dropout > 0:
            torch.manual_seed(seed_of_step(self.seed, self.global_step) + self.ranks.rank)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, or of its last part where the others are behind it."""
        if self.microbatches > 1:
            self.model.zero_grad(set_to_none=True)
            parts = min(self.microbatches, self._share.fewest_rows)
            weighted, plain, accuracy = loss_in_parts(self._counted, batch, parts)
        else:
            weighted, plain, accuracy = self._counted(batch)
        self.step_log.add(plain, accuracy)
        return weighted

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Forget the last step's gradients; the first parts of a batch have left theirs already."""
        if self.microbatches == 1:
            optimizer.zero_grad()

    def validation_step(self, batch: Batch, batch_idx: int = 0) -> None:
        """Add a batch to the validation metrics, weighted by its number of targets."""
        _, plain, accuracy = self.loss(batch)
        targets = (batch.targets != IGNORE).sum()
        self.valid_loss.update(plain, weight=targets)
        self.valid_accuracy.update(accuracy, weight=targets)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by norm and log it; Lightning's own refuses fused optimizers in mixed precision.

        It does so because they may have to undo a loss scaling, which bfloat16 does not have.
        """
        if gradient_clip_algorithm not in (None, "norm"):
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        else:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            if gradient_clip_val:
                norm = clip_grad_norm_(parameters, gradient_clip_val)
            else:
                norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
            self.step_log.add_norm(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the steps since the last point of the curve and all that is counted."""
        checkpoint["step_log"] = self.step_log.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting; resume points of the first versions kept their means as weights."""
        for key in [key for key in checkpoint["state_dict"] if key.startswith("train_")]:
            del checkpoint["state_dict"][key]
        if "step_log" in checkpoint:
            self.step_log.load_state_dict(checkpoint["step_log"])

    def configure_optimizers(self) -> Any:
        """Return AdamW with its schedule, which steps with every batch."""
        spared = frozenset(f"model.{name}" for name in self.model.without_weight_decay())
        optimizer, schedule = adamw(self, spared, self.optimizer_config, self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _mean() -> MeanMetric:
    """Return a mean in which a loss that is not a number shows instead of being left out.

    2026-11: ``nan_strategy="disable"`` would say so, but drops the weights (torchmetrics 1.9).
    """
    return MeanMetric(nan_strategy=math.nan)


class MaskedLanguageModule(LanguageModule):
    """Masked-LM training of any two-sided model."""

    pinned: ClassVar[Mapping[str, Any]] = {"objective": "masked"}


class NextTokenModule(LanguageModule):
    """Next-token training of any causal model."""

    pinned: ClassVar[Mapping[str, Any]] = {"objective": "next_token"}


class HyenaMaskedLM(MaskedLanguageModule):
    """Two-sided Hyena, masked LM."""

    pinned: ClassVar[Mapping[str, Any]] = {"objective": "masked", "mixer": "hyena"}


class AttentionALiBiMaskedLM(MaskedLanguageModule):
    """Attention with symmetric ALiBi, masked LM."""

    pinned: ClassVar[Mapping[str, Any]] = {
        "objective": "masked",
        "mixer": "attention",
        "position": "alibi",
    }


class AttentionRoPEMaskedLM(MaskedLanguageModule):
    """Attention with rotary positions, masked LM."""

    pinned: ClassVar[Mapping[str, Any]] = {
        "objective": "masked",
        "mixer": "attention",
        "position": "rope",
    }


class HyenaNextToken(NextTokenModule):
    """Causal Hyena, next token."""

    pinned: ClassVar[Mapping[str, Any]] = {"objective": "next_token", "mixer": "hyena"}


class AttentionALiBiNextToken(NextTokenModule):
    """Causal attention with ALiBi, next token."""

    pinned: ClassVar[Mapping[str, Any]] = {
        "objective": "next_token",
        "mixer": "attention",
        "position": "alibi",
    }


class AttentionRoPENextToken(NextTokenModule):
    """Causal attention with rotary positions, next token."""

    pinned: ClassVar[Mapping[str, Any]] = {
        "objective": "next_token",
        "mixer": "attention",
        "position": "rope",
    }


MODULES: Mapping[Literal["masked", "next_token"], type[LanguageModule]] = {
    "masked": MaskedLanguageModule,
    "next_token": NextTokenModule,
}

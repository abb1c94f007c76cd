"""What happens around the training steps: following, resume points, and progress."""

import io
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from tqdm import tqdm

from lightning_dna import atomic
from lightning_dna.data.batches import IGNORE, Batch, without_targets
from lightning_dna.errors import ConfigError
from lightning_dna.training.config import validation_interval
from lightning_dna.training.modules import LanguageModule
from lightning_dna.training.ranks import ALONE, Ranks

_STEPS_BETWEEN_VARIANCES = 20  # or they would slow a short training down
OnValidation = Callable[[int, Mapping[str, float]], None]


class DivergedError(ConfigError):
    """A training whose loss or weights are no longer finite numbers."""

    def __init__(self, what: str, step: int, module: LanguageModule) -> None:
        config = module.optimizer_config
        super().__init__(
            f"training diverged: the {what} is not finite at step {step} of {module.total_steps};"
            f" lower optimizer.lr (it is {config.lr}), raise optimizer.warmup_fraction"
            f" ({config.warmup_fraction}) or set optimizer.gradient_clip"
            f" ({config.gradient_clip}; 0 is off)."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes as the message alone."""
        return _diverged, (str(self),)


def _diverged(message: str) -> DivergedError:
    """Build the error again from its message."""
    error = DivergedError.__new__(DivergedError)
    error.args = (message,)
    return error


class Stopwatch:
    """Seconds of training alone: whatever runs while it is paused does not count."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0.0

    def start(self) -> None:
        """Run; the seconds so far stay."""
        self._since = time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stand still within the block, after the device has done what was asked of it before."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - self._since
        try:
            yield
        finally:
            self.start()


class WeightSums:
    """Mean over steps of what the loss is divided by, where targets have weights.

    A policy that lets repeats count less moves the model by a mean over the weights of a batch, so
    this sum says how much evidence a step had. Without weights it is the number of targets, and
    nothing is kept.
    """

    def __init__(self) -> None:
        self.total: Tensor | float = 0.0
        self.steps = 0

    def add(self, batch: Batch) -> None:
        """Count a batch; nothing waits for the device."""
        if batch.weights is not None:
            self.total = self.total + (batch.weights * (batch.targets != IGNORE)).sum()
            self.steps += 1

    def mean_and_reset(self, ranks: Ranks = ALONE) -> dict[str, float]:
        """Return the mean since the last call as a column of the curve; none without weights."""
        if not self.steps:
            return {}
        mean = float(ranks.total([float(self.total)])[0]) / self.steps
        self.total, self.steps = 0.0, 0
        return {"weight_sum": mean}

    def state_dict(self, ranks: Ranks = ALONE) -> dict[str, float]:
        """Return what a resumed run needs, of all processes."""
        return {"total": float(ranks.total([float(self.total)])[0]), "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, float], ranks: Ranks = ALONE) -> None:
        """Go on from a saved state; of several processes the one that leads takes the sum."""
        self.total, self.steps = state["total"] if ranks.leads else 0.0, int(state["steps"])


class Follow(Callback):
    """Validates at fixed shares of the steps and keeps the learning curve.

    Its state travels in the checkpoint, so the curve of a resumed run has no seam.

    Args:
        batches: Fixed validation batches; may be empty.
        total_steps: Steps of the whole training.
        tokens_per_step: Real tokens of each step.
        validate_every: Share of the steps between validations.
        points: About how many rows the curve gets.
        path: Where the curve is written.
        on_validation: Called with the step and the validation metrics; may raise to stop the
            training.
        also: Called at every validation for further columns of the curve.
        ranks: The processes of this training. Each has its part of the validation batches; the one
            that leads writes the curve and calls back.
    """

    def __init__(
        self,
        batches: list[Batch],
        *,
        total_steps: int,
        tokens_per_step: int,
        validate_every: float,
        points: int,
        path: Path,
        on_validation: OnValidation | None,
        also: Callable[[LanguageModule], Mapping[str, float]] | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.ranks = ranks
        self.also = also
        self.batches = batches
        self.total_steps = total_steps
        self.tokens_per_step = tokens_per_step
        self.validation_interval = validation_interval(validate_every, total_steps)
        self.point_interval = max(1, round(total_steps / points))
        self.path = path
        self.on_validation = on_validation
        self.rows: list[dict[str, float]] = []
        self.padded = 0.0
        self.real = 0
        self.weights = WeightSums()
        self.stopwatch = Stopwatch()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of this process; earlier processes' seconds came with the checkpoint."""
        self.stopwatch.start()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count padding, and write a point of the curve where one is due."""
        assert isinstance(pl_module, LanguageModule)  # noqa: S101 - fit builds no other
        step = trainer.global_step
        self.padded += batch.input_ids.numel() - batch.tokens
        self.real += batch.tokens
        self.weights.add(batch)
        validate = step % self.validation_interval == 0 or step == self.total_steps
        if validate or step % self.point_interval == 0:
            with self.stopwatch.paused():
                self._add_point(trainer, pl_module, batch, step, validate=validate)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count what came after the last pause."""
        with self.stopwatch.paused():
            self.write()

    def _add_point(
        self, trainer: Trainer, module: LanguageModule, batch: Batch, step: int, *, validate: bool
    ) -> None:
        """Append one row; training metrics are means since the row before.

        Raises:
            DivergedError: If a loss is not finite.
        """
        rare = self.point_interval >= _STEPS_BETWEEN_VARIANCES
        row = {
            "step": step,
            "tokens": step * self.tokens_per_step,
            "length": int(self.ranks.most(batch.length)),
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            **module.step_log.point(trainer.optimizers[0] if validate or rare else None),
            "valid_loss": math.nan,
            "valid_accuracy": math.nan,
        }
        row |= self.weights.mean_and_reset(self.ranks)
        if validate and self.batches:
            row |= self.validate(module)
        if validate and self.also is not None:
            row |= self.also(module)
        for name in ("train_loss", "valid_loss") if validate and self.batches else ("train_loss",):
            if not math.isfinite(row[name]):
                raise DivergedError(name, step, module)
        self.rows.append(row)
        if trainer.logger is not None:
            known = {key: value for key, value in row.items() if not math.isnan(value)}
            trainer.logger.log_metrics(known, step=step)
        if validate:
            self.write()
            if self.batches and self.on_validation is not None and self.ranks.leads:
                self.on_validation(step, row)

    def validate(self, module: LanguageModule) -> dict[str, float]:
        """Return loss (nats per base) and accuracy on the validation batches of all processes.

        A process that has fewer of them than another computes one more that counts nothing, since
        all processes must work where weights are spread over their devices. The metrics add up over
        processes what they have counted before they divide.
        """
        module.valid_loss.reset()
        module.valid_accuracy.reset()
        module.eval()
        with torch.no_grad(), module.trainer.precision_plugin.forward_context():
            for index in range(int(self.ranks.most(len(self.batches)))):
                own = index < len(self.batches)
                batch = self.batches[index] if own else without_targets(self.batches[-1])
                module.validation_step(batch.to(module.device), index)
        module.train()
        return {
            "valid_loss": float(module.valid_loss.compute()),
            "valid_accuracy": float(module.valid_accuracy.compute()),
        }

    def write(self) -> None:
        """Write the curve so far."""
        if self.ranks.leads:
            atomic.write_text(self.path, pd.DataFrame(self.rows).to_csv(index=False))

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, counted over all processes, which must all ask."""
        padded, real = self.ranks.total([self.padded, self.real]).tolist()
        return {
            "rows": self.rows,
            "padded": padded,
            "real": int(real),
            "weights": self.weights.state_dict(self.ranks),
            "seconds": self.stopwatch.seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.rows = list(state_dict["rows"])
        if "weights" in state_dict:  # a resume point of an older version has none
            self.weights.load_state_dict(state_dict["weights"], self.ranks)
        if self.ranks.leads:  # what all had counted goes on being counted once
            self.padded = state_dict["padded"]
            self.real = state_dict.get("real", 0)  # older ones are of single bases: not asked for
        self.stopwatch.seconds = state_dict["seconds"]


class ResumePoint(Callback):
    """Saves everything a resume needs, whole or not at all, every few seconds.

    Args:
        path: The checkpoint file.
        every_seconds: Time between two saves; 0 saves after every step.
        stopwatch: Stands still while a save is under way.
        ranks: The processes of this training, which put their parts together; one of them says when
            and writes.
    """

    def __init__(
        self, path: Path, every_seconds: float, stopwatch: Stopwatch, ranks: Ranks = ALONE
    ) -> None:
        self.ranks = ranks
        self.path = path
        self.every_seconds = every_seconds
        self.stopwatch = stopwatch
        self._last = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Save when it is time."""
        due = time.monotonic() - self._last >= self.every_seconds
        if self.ranks.of_first(due):
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Save now."""
        with self.stopwatch.paused():
            content = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
            if self.ranks.leads:
                write_tensors(self.path, content)
        self._last = time.monotonic()


def write_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write what ``torch.save`` can, whole or not at all.

    Raises:
        ResultsError: If the folder cannot be written to or the disk is full.
    """
    buffer = io.BytesIO()  # torch's own writer reports a full disk as a bare RuntimeError
    torch.save(content, buffer)
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


class Progress(Callback):
    """A bar on stderr with tokens per second and the time left.

    Args:
        total_steps: Steps of the whole training.
        tokens_per_step: Real tokens of each step.
        label: What is being trained.
    """

    def __init__(self, total_steps: int, tokens_per_step: int, label: str) -> None:
        self.total_steps = total_steps
        self.tokens_per_step = tokens_per_step
        self.label = label
        self._bar: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar where the training stands."""
        self._bar = tqdm(
            total=self.total_steps * self.tokens_per_step,
            initial=trainer.global_step * self.tokens_per_step,
            desc=self.label,
            unit="tok",
            unit_scale=True,
            file=sys.stderr,
            dynamic_ncols=True,
            mininterval=0.5,
        )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Move the bar."""
        self._bar.update(self.tokens_per_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Close the bar before a traceback."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

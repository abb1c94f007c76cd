"""What happens around the training steps: following, checkpoints that survive a kill, and progress."""

import io
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from tqdm import tqdm

from lightning_dna import atomic
from lightning_dna.data.batches import Batch
from lightning_dna.training.modules import LanguageModule

OnValidation = Callable[[int, Mapping[str, float]], None]


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
        on_validation: Called with the step and the validation metrics; may raise to stop the training.
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
    ) -> None:
        self.batches = batches
        self.total_steps = total_steps
        self.tokens_per_step = tokens_per_step
        self.validation_interval = max(1, round(validate_every * total_steps))
        self.point_interval = max(1, round(total_steps / points))
        self.path = path
        self.on_validation = on_validation
        self.rows: list[dict[str, float]] = []
        self.padded = 0.0
        self.seconds = 0.0
        self._clock = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of this process; earlier processes' seconds came with the checkpoint."""
        self._clock = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count padding, and write a point of the curve where one is due."""
        assert isinstance(pl_module, LanguageModule)
        step = trainer.global_step
        self.padded += batch.input_ids.numel() - batch.tokens
        validate = step % self.validation_interval == 0 or step == self.total_steps
        if validate or step % self.point_interval == 0:
            self._add_point(trainer, pl_module, batch, step, validate=validate)
        now = time.perf_counter()
        self.seconds += now - self._clock
        self._clock = now

    def _add_point(
        self, trainer: Trainer, module: LanguageModule, batch: Batch, step: int, *, validate: bool
    ) -> None:
        """Append one row; training metrics are means since the row before."""
        row = {
            "step": step,
            "tokens": step * self.tokens_per_step,
            "length": batch.length,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "train_loss": float(module.train_loss.compute()),
            "train_accuracy": float(module.train_accuracy.compute()),
            "valid_loss": math.nan,
            "valid_accuracy": math.nan,
        }
        module.train_loss.reset()
        module.train_accuracy.reset()
        if validate and self.batches:
            row |= self.validate(module)
        self.rows.append(row)
        if trainer.logger is not None:
            known = {key: value for key, value in row.items() if not math.isnan(value)}
            trainer.logger.log_metrics(known, step=step)
        if validate:
            self.write()
            if self.batches and self.on_validation is not None:
                self.on_validation(step, row)

    def validate(self, module: LanguageModule) -> dict[str, float]:
        """Return loss (nats per base) and accuracy on the validation batches."""
        module.valid_loss.reset()
        module.valid_accuracy.reset()
        module.eval()
        with torch.no_grad(), module.trainer.precision_plugin.forward_context():
            for index, batch in enumerate(self.batches):
                module.validation_step(batch.to(module.device), index)
        module.train()
        return {
            "valid_loss": float(module.valid_loss.compute()),
            "valid_accuracy": float(module.valid_accuracy.compute()),
        }

    def write(self) -> None:
        """Write the curve so far."""
        atomic.write_text(self.path, pd.DataFrame(self.rows).to_csv(index=False))

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {"rows": self.rows, "padded": self.padded, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.rows = list(state_dict["rows"])
        self.padded = state_dict["padded"]
        self.seconds = state_dict["seconds"]


class ResumePoint(Callback):
    """Saves everything a resume needs, whole or not at all, every few seconds.

    Args:
        path: The checkpoint file.
        every_seconds: Time between two saves; 0 saves after every step.
    """

    def __init__(self, path: Path, every_seconds: float) -> None:
        self.path = path
        self.every_seconds = every_seconds
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
        if time.monotonic() - self._last < self.every_seconds:
            return
        buffer = io.BytesIO()
        torch.save(trainer._checkpoint_connector.dump_checkpoint(weights_only=False), buffer)
        with atomic.replacing(self.path) as temporary:
            temporary.write_bytes(buffer.getvalue())
        self._last = time.monotonic()


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

"""The LightningDataModule: genome, split and windows behind Lightning's loaders."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from lightning_dna.data.batches import (
    Batch,
    Objective,
    TrainingBatches,
    evaluation_batches,
)
from lightning_dna.data.config import DataConfig
from lightning_dna.data.length_schedule import LengthScheduleConfig
from lightning_dna.data.sampler import LengthWarmupBatchSampler
from lightning_dna.data.source import open_genome, open_repeats, training_windows
from lightning_dna.data.stream import WindowStream
from lightning_dna.data.windows import Windows, tile
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import ChromosomeSplit


class GenomeDataModule(LightningDataModule):
    """Training batches of an exact number of tokens, and fixed validation batches.

    Args:
        config: Genome, split, windows, masks.
        schedule: How the row length grows.
        tokens_per_step: Real tokens of each training step.
        total_steps: Steps of the whole training.
        objective: ``"masked"`` or ``"next_token"``.
        seed: Seed of data order, strand and masks.
        num_workers: Loader processes; 0 prepares batches in the training process.
        genome: An opened genome; by default the one that ``config`` names.
    """

    def __init__(
        self,
        config: DataConfig,
        schedule: LengthScheduleConfig,
        *,
        tokens_per_step: int,
        total_steps: int,
        objective: Objective,
        seed: int,
        num_workers: int = 0,
        genome: Genome | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.objective = objective
        self.seed = seed
        self.num_workers = num_workers
        self.genome = genome or open_genome(config)
        self.split = ChromosomeSplit.resolve(config.split, self.genome.lengths)
        self.repeats = open_repeats(config, self.genome)
        self.windows = training_windows(config, self.genome, self.split.train, self.repeats)
        self.sampler = LengthWarmupBatchSampler(
            WindowStream(self.windows, seed=seed, reverse_complement=config.reverse_complement),
            schedule,
            tokens_per_step=tokens_per_step,
            total_steps=total_steps,
            final_length=config.length,
        )

    def validation_windows(self) -> Windows | None:
        """Return evenly spread windows of the validation chromosomes; ``None`` without any."""
        if not self.split.valid:
            return None
        windows = tile(
            self.genome,
            self.split.valid,
            length=self.config.length,
            max_n_fraction=self.config.max_n_fraction,
        )
        count = min(self.config.validation_windows, len(windows))
        return windows.select(np.linspace(0, len(windows) - 1, count).round().astype(np.int64))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return a loader of the steps that are left, or of this process's part of them."""
        if self.trainer is not None:
            self.sampler.share(self.trainer.global_rank, self.trainer.world_size)
        batches = TrainingBatches(
            self.genome,
            self.windows,
            self.config,
            objective=self.objective,
            seed=self.seed,
            repeats=self.repeats,
        )
        return DataLoader(
            batches,
            batch_sampler=self.sampler,  # items are steps, not indices
            collate_fn=_only,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def val_dataloader(self) -> list[Batch]:
        """Return the validation batches, made once."""
        windows = self.validation_windows()
        if windows is None:
            return []
        return evaluation_batches(
            self.genome,
            windows,
            self.config,
            objective=self.objective,
            tokens=max(self.sampler.tokens_per_step, self.config.length),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the step to go on from."""
        step = self.trainer.global_step if self.trainer is not None else 0
        return {"start_step": step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved step."""
        self.sampler.load_state_dict(state)


def _only(items: Sequence[Batch]) -> Batch:
    """Return the one batch that a step is."""
    return items[0]

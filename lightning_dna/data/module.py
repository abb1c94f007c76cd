"""The LightningDataModule: genome, split and windows behind Lightning's loaders."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from lightning_dna.data.batches import (
    Batch,
    Objective,
    TrainingBatches,
    evaluation_batches,
    without_targets,
)
from lightning_dna.data.config import DataConfig
from lightning_dna.data.length_schedule import LengthScheduleConfig
from lightning_dna.data.mixed_stream import MixedStream
from lightning_dna.data.sampler import LengthWarmupBatchSampler
from lightning_dna.data.source import members_of, open_genome, resolve_split
from lightning_dna.data.token_rows import TokenRows
from lightning_dna.data.tokenization import CHARACTER, open_tokenizer
from lightning_dna.data.training_set import training_set
from lightning_dna.data.windows import Windows, tile
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.joined import split_name


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
        self.split = resolve_split(config, self.genome)
        self.training = training_set(config, self.genome, self.split)
        self.windows = self.training.windows
        self.sampler = LengthWarmupBatchSampler(
            self.training.stream(seed=seed, reverse_complement=config.reverse_complement),
            schedule,
            tokens_per_step=tokens_per_step,
            total_steps=total_steps,
            final_length=config.length,
        )

    def share(self, rank: int, count: int) -> None:
        """Take one process's part of every step and of the validation windows.

        Raises:
            ConfigError: If a step has fewer tokens than one window for each process.
        """
        self.sampler.share(rank, count)

    @cached_property
    def tokens(self) -> TokenRows | None:
        """What turns rows of bases into longer tokens; ``None`` where bases are the tokens."""
        if self.config.tokenizer == CHARACTER:
            return None
        tokenizer = open_tokenizer(self.config.tokenizer, self.genome, self.split.train)
        return TokenRows(
            tokenizer,
            objective=self.objective,
            seed=self.seed,
            fraction=self.config.mask_fraction,
            single=self.config.mask_unit == "base",
        )

    def validation_windows(self) -> Windows | None:
        """Return evenly spread windows of the validation chromosomes; ``None`` without any.

        Of several genomes each has as many, whatever their sizes and weights.
        """
        if not self.split.valid:
            return None
        windows = tile(
            self.genome,
            self.split.valid,
            length=self.config.length,
            max_n_fraction=self.config.max_n_fraction,
        )
        groups = [np.arange(len(windows))]
        if self.config.genomes:
            names = np.array([split_name(chrom)[0] for chrom in windows.chroms])
            of_window = names[windows.chrom_index]
            groups = [np.flatnonzero(of_window == name) for name in np.unique(of_window)]
        most = max(1, self.config.validation_windows // len(groups))
        return windows.select(np.concatenate([_evenly(group, most) for group in groups]))

    def share_table(self) -> dict[str, dict[str, float]]:
        """Return, for each genome, its share of the bases and how many of them the run reads.

        Bases that truncation leaves out are among those read. Empty for one genome alone.
        """
        if not self.config.genomes:
            return {}
        tokens = self.sampler.total_steps * self.sampler.tokens_per_step
        stream = self.sampler.stream
        assert isinstance(stream, MixedStream)  # noqa: S101 - several genomes are always mixed
        read = stream.read_by_source(tokens + self.sampler.dropped_tokens)
        shares, bases = self.training.by_genome(self.training.shares), self.training.by_genome(read)
        return {
            name: {"share": shares.get(name, 0.0), "bases": bases.get(name, 0)}
            for name in members_of(self.config, self.genome)
        }

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return a loader of the steps that are left, or of this process's part of them."""
        if self.trainer is not None:
            self.share(self.trainer.global_rank, self.trainer.world_size)
        batches = TrainingBatches(
            self.training.genome,
            self.windows,
            self.config,
            objective=self.objective,
            seed=self.seed,
            tokens=self.tokens,
            treated=self.training.treated,
            planting=self.training.planting,
        )
        return DataLoader(
            batches,
            batch_sampler=self.sampler,  # items are steps, not indices
            collate_fn=_only,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def val_dataloader(self) -> list[Batch]:
        """Return the validation batches, made once: those of this process's part of the windows.

        Every window is in the part of one process, however many there are. A process that is left
        without any gets a batch without targets, to have something to do while others work.
        """
        windows = self.validation_windows()
        if windows is None:
            return []
        rank, count = self.sampler.rank, self.sampler.world_size
        own = np.arange(rank, len(windows), count)
        batches = evaluation_batches(
            self.genome,
            windows.select(own if len(own) else np.arange(1)),
            self.config,
            objective=self.objective,
            tokens=max(self.sampler.tokens_per_step // count, self.config.length),
            rows=self.tokens,
        )
        return batches if len(own) else [without_targets(batches[0])]

    def state_dict(self) -> dict[str, Any]:
        """Return the step to go on from."""
        step = self.trainer.global_step if self.trainer is not None else 0
        return {"start_step": step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved step."""
        self.sampler.load_state_dict(state)


def _evenly(places: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return at most so many of some places, evenly spread from the first to the last."""
    count = min(most, len(places))
    return places[np.linspace(0, len(places) - 1, count).round().astype(np.int64)]


def _only(items: Sequence[Batch]) -> Batch:
    """Return the one batch that a step is."""
    return items[0]

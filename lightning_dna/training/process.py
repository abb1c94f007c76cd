"""What one process does of a training: data, module, callbacks, Trainer. `fit` decides how many."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy

from lightning_dna import settings
from lightning_dna.data.module import GenomeDataModule
from lightning_dna.data.tokenization import save_tokenizer
from lightning_dna.errors import ResultsError
from lightning_dna.genome.fasta import Genome
from lightning_dna.models.mixers.attention import attention_backends
from lightning_dna.training.callbacks import (
    DivergedError,
    Follow,
    OnValidation,
    Progress,
    ResumePoint,
    write_tensors,
)
from lightning_dna.training.canary_losses import exposure_over_steps
from lightning_dna.training.config import RunConfig, TrainerConfig
from lightning_dna.training.devices import spread_of
from lightning_dna.training.interruption import Interruption
from lightning_dna.training.loggers import open_logger
from lightning_dna.training.memory import peak_mib, reset_peak
from lightning_dna.training.modules import MODULES
from lightning_dna.training.modules import LanguageModule as Module
from lightning_dna.training.profiler import NoProfiler
from lightning_dna.training.ranks import ALONE, Ranks
from lightning_dna.training.sharding import ShardedStrategy, whole

WEIGHTS, CURVES, RESUME = "model.pt", "curves.csv", "last.ckpt"

# Lightning's advice that does not fit such a run; by message, so that anything new still shows.
_EXPECTED_WARNINGS = (
    r".*does not have many workers.*",  # our data path is faster without worker processes
    r".*You defined a `validation_step` but have no `val_dataloader`.*",  # Follow validates by step
    r".*`max_epochs` was not set.*",  # the budget is in steps
    r".*GPU available but not used.*",  # accelerator: cpu was asked for
    r".*is not fully stateful.*",  # the sampler's step is the whole state
    r".*Experiment logs directory .* exists and is not empty.*",  # a resumed run logs on
    r".*You have overridden `on_before_batch_transfer`.*",  # the module weighs what data gives
    r".*FSDP2-wrapped module .* returned a view tensor.*",  # nothing is changed in place
    r".*isinstance\(treespec, LeafSpec\).*",  # 2026-11: Lightning 2.6 with torch 2.13
)


def train_here(
    run: RunConfig,
    genome: Genome,
    folder: Path,
    *,
    progress: bool,
    on_validation: OnValidation | None,
    microbatches: int,
    ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """Train in this process, alone or as one of several, and write the weights.

    Args:
        run: Everything that decides the weights.
        genome: Its genome.
        folder: Where the files go.
        progress: Whether to show a bar on stderr.
        on_validation: Called with step and metrics at every validation; may raise to stop.
        microbatches: Parts of a batch that are computed one after the other.
        ranks: The processes of this training; only the one that leads shows progress, calls back
            and writes, but for its loggers.

    Returns:
        What ``fit.json`` holds.

    Raises:
        ConfigError: If the training diverges (``DivergedError``).
        ResultsError: If the resume point is damaged, or the training ends before its last step.
    """
    with quiet(), _threads(run.trainer.threads), torch.random.fork_rng(devices=_gpus()):
        return _train(run, genome, folder, progress, on_validation, microbatches, ranks)


def _train(
    run: RunConfig,
    genome: Genome,
    folder: Path,
    progress: bool,
    on_validation: OnValidation | None,
    microbatches: int,
    ranks: Ranks,
) -> dict[str, Any]:
    """Train and write the weights; returns the record."""
    steps, tokens_per_step = run.budget.steps, run.budget.tokens_per_step
    data = GenomeDataModule(
        run.data,
        run.length_schedule,
        tokens_per_step=tokens_per_step,
        total_steps=steps,
        objective=run.model.objective,
        seed=run.seed,
        num_workers=run.trainer.num_workers,
        genome=genome,
    )
    data.share(ranks.rank, ranks.count)
    module = MODULES[run.model.objective](
        run.model, optimizer=run.optimizer, total_steps=steps, seed=run.seed
    )
    module.join(ranks)
    module.microbatches = microbatches
    module.model.backbone.checkpointing = run.trainer.activation_checkpointing
    follow = Follow(
        data.val_dataloader(),
        total_steps=steps,
        tokens_per_step=tokens_per_step,
        validate_every=run.trainer.validate_every,
        points=run.trainer.points,
        path=folder / CURVES,
        on_validation=on_validation,
        also=exposure_over_steps(data),
        ranks=ranks,
    )
    resume = ResumePoint(
        folder / RESUME, run.trainer.checkpoint_every_seconds, follow.stopwatch, ranks
    )
    interruption = Interruption(resume.save, ranks)
    callbacks: list[Callback] = [follow, resume, interruption]
    if progress and ranks.leads:
        label = f"{run.model.mixer}, seed {run.seed}"
        callbacks.insert(0, Progress(steps, tokens_per_step, label))
    trainer = build_trainer(run, callbacks=callbacks, folder=folder, ranks=ranks)
    reset_peak(trainer.strategy.root_device)
    start = _resume_point(folder / RESUME)
    with interruption.watching():
        trainer.fit(module, datamodule=data, ckpt_path=start)
    interruption.act()
    if trainer.global_step != steps:
        raise ResultsError(
            f"{folder}: the training ended at step {trainer.global_step} of {steps}."
        )
    parts = module.model.state_dict()
    weights = {name: whole(tensor.detach()).cpu() for name, tensor in parts.items()}
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        raise DivergedError("state of the weights", steps, module)
    if data.tokens is not None and ranks.leads:
        save_tokenizer(data.tokens.tokenizer, folder)
    if ranks.leads:
        write_tensors(folder / WEIGHTS, weights)
    return _record(run, trainer, module, data, follow, ranks)


def _resume_point(path: Path) -> str | None:
    """Return the checkpoint to go on from, if there is one.

    Raises:
        ResultsError: If it is damaged.
    """
    if not path.is_file():
        return None
    try:
        torch.load(path, map_location="meta", weights_only=True)
    except Exception as error:
        raise ResultsError(
            f"cannot read the resume point {path}; delete it to train from the start."
        ) from error
    return str(path)


def _record(
    run: RunConfig,
    trainer: Trainer,
    module: Module,
    data: GenomeDataModule,
    follow: Follow,
    ranks: Ranks,
) -> dict[str, Any]:
    """Return what ``fit.json`` holds, of all processes together."""
    steps, seconds = run.budget.steps, follow.stopwatch.seconds
    tokens = steps * run.budget.tokens_per_step
    padded, read = ranks.total([follow.padded, follow.real]).tolist()
    real = tokens if data.tokens is None else int(read)  # tokens of the model's own
    last = follow.rows[-1]
    return {
        "steps": steps,
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds if seconds else 0.0,
        "padding_fraction": padded / (padded + real),
        "tokens_per_base": real / tokens,
        "truncated_bases": data.sampler.dropped_tokens,
        **module.step_log.summary(),
        "peak_memory_mib": ranks.most(peak_mib(trainer.strategy.root_device)),
        "parameters": sum(p.numel() for p in module.model.parameters()),
        "device": str(trainer.strategy.root_device),
        "devices": ranks.count,
        "strategy": spread_of(run.trainer, ranks.count),
        "precision": str(trainer.precision),
        "attention_backends": list(attention_backends(module.model)),
        "microbatches": module.microbatches,
        "seed": run.seed,
        "train_windows": len(data.windows),
        "dropped_windows_n": data.windows.dropped_n,
        "dropped_bases": data.windows.dropped_bases,
        "removed_bases": data.windows.removed_bases,
        "artificial_junctions": data.windows.junctions,
        "genomes": data.share_table(),
        "variants": {name: settings.plain(one) for name, one in data.training.budgets.items()},
        **data.training.canary_record(),
        "valid_loss": last["valid_loss"] if follow.batches else None,
        "valid_accuracy": last["valid_accuracy"] if follow.batches else None,
    }


def build_trainer(
    run: RunConfig, *, callbacks: list[Callback], folder: Path, ranks: Ranks = ALONE
) -> Trainer:
    """Build a lean Trainer: budget in steps, our own checkpoints and validation, any logger."""
    return Trainer(
        accelerator=run.trainer.accelerator,
        devices=ranks.count,
        **_strategy(run.trainer, ranks),
        precision=_precision(run.trainer),  # type: ignore[arg-type]
        max_steps=run.budget.steps,
        max_epochs=-1,
        gradient_clip_val=run.optimizer.gradient_clip or None,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        profiler=NoProfiler(),
        enable_progress_bar=False,
        use_distributed_sampler=False,
        logger=(open_logger(run.trainer, folder) if ranks.leads else None) or False,
        callbacks=callbacks,
        default_root_dir=str(folder),
    )


def _strategy(config: TrainerConfig, ranks: Ranks) -> dict[str, Any]:
    """Return what a Trainer needs to know of the other processes; nothing where there are none."""
    if ranks.count == 1:
        return {}
    # The processes are there already, so the environment is that of any launcher but Lightning.
    kind = ShardedStrategy if spread_of(config, ranks.count) == "fsdp" else DDPStrategy
    return {"strategy": kind(cluster_environment=LightningEnvironment())}


def _precision(config: TrainerConfig) -> str:
    """Return Lightning's name of the precision that is asked for, or fits the device."""
    if config.precision == "auto":
        on_gpu = config.accelerator in ("auto", "cuda") and torch.cuda.is_available()
        return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if config.precision == "bf16" else "32-true"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's start-up lines and the warnings that do not fit a run of this kind."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in _EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Use a number of threads within an operation for a while."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _gpus() -> list[int]:
    """List the GPUs whose random generators a training may move."""
    return list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []

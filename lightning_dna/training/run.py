"""``fit``: one run from its settings to a checkpoint. The only place where a Trainer is built."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback

from lightning_dna import atomic, settings
from lightning_dna.data.module import GenomeDataModule
from lightning_dna.data.source import open_genome
from lightning_dna.data.tokenization import save_tokenizer
from lightning_dna.errors import ResultsError
from lightning_dna.genome.fasta import Genome
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import LanguageModel, build_model
from lightning_dna.models.mixers.attention import attention_backends
from lightning_dna.training.callbacks import (
    DivergedError,
    Follow,
    OnValidation,
    Progress,
    ResumePoint,
    write_tensors,
)
from lightning_dna.training.config import RunConfig, TrainerConfig, deciding_settings
from lightning_dna.training.interruption import Interruption
from lightning_dna.training.loggers import open_logger
from lightning_dna.training.memory import peak_mib, reset_peak
from lightning_dna.training.modules import MODULES
from lightning_dna.training.modules import LanguageModule as Module
from lightning_dna.training.profiler import NoProfiler

WEIGHTS, RECORD, RUN, CURVES, RESUME = "model.pt", "fit.json", "run.json", "curves.csv", "last.ckpt"
# Of files: part of what a run is, wherever they lie.
_DIGESTS = ("genome_digest", "repeat_file", "tokenizer_file", "vcf_file", "genome_files")

# Lightning's advice that does not fit such a run; by message, so that anything new still shows.
_EXPECTED_WARNINGS = (
    r".*does not have many workers.*",  # our data path is faster without worker processes
    r".*You defined a `validation_step` but have no `val_dataloader`.*",  # Follow validates by step
    r".*`max_epochs` was not set.*",  # the budget is in steps
    r".*GPU available but not used.*",  # accelerator: cpu was asked for
    r".*is not fully stateful.*",  # the sampler's step is the whole state
    r".*Experiment logs directory .* exists and is not empty.*",  # a resumed run logs on
    r".*isinstance\(treespec, LeafSpec\).*",  # 2026-11: Lightning 2.6 with torch 2.13
)


@dataclass(frozen=True)
class Checkpoint:
    """A finished run.

    Attributes:
        folder: Where its files are.
        config: The architecture.
        record: Steps, tokens (bases, whatever the model's tokens are), tokens per base, seconds,
            bases per second, padding fraction, peak memory, parameters, device, precision,
            attention backends used, and the last validation loss (nats per target) and accuracy,
            ``None`` without validation chromosomes. Seconds are of training alone: without
            validation and checkpoints.
    """

    folder: Path
    config: ModelConfig
    record: dict[str, Any]

    def model(self) -> LanguageModel:
        """Build the model with the trained weights, in evaluation mode.

        Raises:
            ResultsError: If the weights are not this model's; the message lists the keys.
        """
        model = build_model(self.config, seed=0)
        load_weights(model, self.folder / WEIGHTS)
        return model.eval()

    def untrained(self) -> LanguageModel:
        """Build the model with the weights this run started from, in evaluation mode."""
        return build_model(self.config, seed=int(self.record["seed"])).eval()


def fit(
    run: RunConfig,
    folder: Path,
    *,
    progress: bool = True,
    on_validation: OnValidation | None = None,
    microbatches: int = 1,
) -> Checkpoint:
    """Train one model, or go on with a training that was interrupted.

    A finished run returns at once. A killed one goes on from its last resume point and ends with
    the very same weights as an uninterrupted one on the same kind of device. SIGTERM and the first
    Ctrl-C wait for the step under way and leave a resume point.

    Args:
        run: Everything that decides the weights.
        folder: Where ``model.pt``, ``fit.json``, ``run.json`` and ``curves.csv`` go.
        progress: Whether to show a bar on stderr.
        on_validation: Called with step and metrics at every validation; may raise to stop.
        microbatches: Parts of a batch that are computed one after the other, their gradients added
            up: the same step in less memory, but for rounding and what dropout draws.

    Raises:
        ConfigError: If the settings do not fit together or the machine, or the training diverges
            (``DivergedError``).
        DataError: If the genome cannot be used.
        ResultsError: If the folder cannot be written to, is damaged, or belongs to another run.
    """
    genome = open_genome(run.data)
    description = {**deciding_settings(run), "genome_digest": genome.digest}
    if (folder / RUN).is_file():
        _refuse_other_run(folder, description)
    if (folder / WEIGHTS).is_file() and (folder / RECORD).is_file():
        return load_checkpoint(folder)
    digests = {key: value for key, value in description.items() if key in _DIGESTS}
    atomic.write_json(folder / RUN, settings.plain(run) | digests)
    with quiet(), _threads(run.trainer.threads), torch.random.fork_rng(devices=_gpus()):
        record = _train(
            run,
            genome,
            folder,
            progress=progress,
            on_validation=on_validation,
            microbatches=microbatches,
        )
    atomic.write_json(folder / RECORD, record)
    (folder / RESUME).unlink(missing_ok=True)
    # Without reading the settings again, which takes as long as some steps of a small model.
    return Checkpoint(folder=folder, config=run.model, record=atomic.read_json(folder / RECORD))


def _refuse_other_run(folder: Path, description: Mapping[str, Any]) -> None:
    """Compare what decides the weights with what the folder was made with.

    Raises:
        ResultsError: If anything differs; the message names the keys.
    """
    here = settings.flatten(description)
    there = settings.flatten(atomic.read_json(folder / RUN))
    if "genome_digest" not in there:  # written by hand, or before digests were recorded
        del here["genome_digest"]
    found = {key: there.get(key, "absent") for key in here}
    differing = [
        f"{key} is {found[key]} there and {value} here"
        for key, value in here.items()
        if found[key] != value
    ]
    if differing:
        more = f" and {len(differing) - 5} more" if len(differing) > 5 else ""
        raise ResultsError(
            f"{folder} belongs to another run: {'; '.join(differing[:5])}{more}. Choose another"
            f" folder, or repeat the settings that its {RUN} holds."
        )


def _train(
    run: RunConfig,
    genome: Genome,
    folder: Path,
    *,
    progress: bool,
    on_validation: OnValidation | None,
    microbatches: int,
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
    module = MODULES[run.model.objective](
        run.model, optimizer=run.optimizer, total_steps=steps, seed=run.seed
    )
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
    )
    resume = ResumePoint(folder / RESUME, run.trainer.checkpoint_every_seconds, follow.stopwatch)
    interruption = Interruption(resume.save)
    callbacks: list[Callback] = [follow, resume, interruption]
    if progress:
        label = f"{run.model.mixer}, seed {run.seed}"
        callbacks.insert(0, Progress(steps, tokens_per_step, label))
    trainer = build_trainer(run, callbacks=callbacks, folder=folder)
    reset_peak(trainer.strategy.root_device)
    start = _resume_point(folder / RESUME)
    with interruption.watching():
        trainer.fit(module, datamodule=data, ckpt_path=start)
    interruption.act()
    if trainer.global_step != steps:
        raise ResultsError(
            f"{folder}: the training ended at step {trainer.global_step} of {steps}."
        )
    weights = {name: tensor.detach().cpu() for name, tensor in module.model.state_dict().items()}
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        raise DivergedError("state of the weights", steps, module)
    if data.tokens is not None:
        save_tokenizer(data.tokens.tokenizer, folder)
    write_tensors(folder / WEIGHTS, weights)
    return _record(run, trainer, module, data, follow)


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
    run: RunConfig, trainer: Trainer, module: Module, data: GenomeDataModule, follow: Follow
) -> dict[str, Any]:
    """Return what ``fit.json`` holds."""
    steps, seconds = run.budget.steps, follow.stopwatch.seconds
    tokens = steps * run.budget.tokens_per_step
    real = tokens if data.tokens is None else follow.real  # tokens of the model's own
    last = follow.rows[-1]
    return {
        "steps": steps,
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds if seconds else 0.0,
        "padding_fraction": follow.padded / (follow.padded + real),
        "tokens_per_base": real / tokens,
        "truncated_bases": data.sampler.dropped_tokens,
        **module.step_log.summary(),
        "peak_memory_mib": peak_mib(trainer.strategy.root_device),
        "parameters": sum(p.numel() for p in module.model.parameters()),
        "device": str(trainer.strategy.root_device),
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
        "valid_loss": last["valid_loss"] if follow.batches else None,
        "valid_accuracy": last["valid_accuracy"] if follow.batches else None,
    }


def build_trainer(run: RunConfig, *, callbacks: list[Callback], folder: Path) -> Trainer:
    """Build a lean Trainer: budget in steps, our own checkpoints and validation, any logger."""
    return Trainer(
        accelerator=run.trainer.accelerator,
        devices=1,
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
        logger=open_logger(run.trainer, folder) or False,
        callbacks=callbacks,
        default_root_dir=str(folder),
    )


def _precision(config: TrainerConfig) -> str:
    """Return Lightning's name of the precision that is asked for, or fits the device."""
    if config.precision == "auto":
        on_gpu = config.accelerator in ("auto", "cuda") and torch.cuda.is_available()
        return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if config.precision == "bf16" else "32-true"


def load_weights(model: LanguageModel, path: Path) -> None:
    """Load a state dict strictly.

    Raises:
        ResultsError: If the file is damaged, or a key is missing, left over or of another shape.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ResultsError(f"cannot read the weights in {path}: {error}") from error
    expected = model.state_dict()
    missing = sorted(expected.keys() - weights.keys())
    unknown = sorted(weights.keys() - expected.keys())
    shapes = sorted(
        k for k in expected.keys() & weights.keys() if expected[k].shape != weights[k].shape
    )
    if missing or unknown or shapes:
        raise ResultsError(
            f"the weights in {path} are not this model's: missing {missing or 'none'}, unknown"
            f" {unknown or 'none'}, of another shape {shapes or 'none'}."
        )
    model.load_state_dict(weights)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Load a finished run.

    Raises:
        ResultsError: If the folder holds no finished run.
    """
    folder = Path(folder)
    for name in (RUN, RECORD, WEIGHTS):
        if not (folder / name).is_file():
            raise ResultsError(
                f"{folder} holds no finished run: {name} is missing; fit it first (a killed run"
                " goes on where it was)."
            )
    config = settings.build(
        ModelConfig, atomic.read_json(folder / RUN)["model"], where=str(folder / RUN)
    )
    return Checkpoint(folder=folder, config=config, record=atomic.read_json(folder / RECORD))


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

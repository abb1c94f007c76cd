"""``fit``: one run from its settings to a checkpoint, and what a finished one holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lightning_dna import atomic, settings
from lightning_dna.data.source import open_genome
from lightning_dna.errors import ResultsError
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import LanguageModel, build_model
from lightning_dna.training.callbacks import OnValidation
from lightning_dna.training.config import RunConfig, deciding_settings
from lightning_dna.training.devices import check_devices
from lightning_dna.training.launch import train_on_devices
from lightning_dna.training.process import CURVES, RESUME, WEIGHTS, train_here

__all__ = [
    "CURVES",
    "RECORD",
    "RESUME",
    "RUN",
    "WEIGHTS",
    "Checkpoint",
    "fit",
    "load_checkpoint",
    "load_weights",
]

RECORD, RUN = "fit.json", "run.json"
# Of files: part of what a run is, wherever they lie.
_DIGESTS = ("genome_digest", "repeat_file", "tokenizer_file", "vcf_file", "genome_files")


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

    On several devices (``trainer.devices``) each has a process of its own, which takes its part of
    every step's rows; this process only looks after them. The steps are those of one device, but
    for rounding and what dropout draws, and any number of devices goes on from a resume point.

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
    devices = check_devices(run)
    atomic.write_json(folder / RUN, settings.plain(run) | digests)
    options: dict[str, Any] = {
        "progress": progress,
        "on_validation": on_validation,
        "microbatches": microbatches,
    }
    if devices > 1:
        record = train_on_devices(run, folder, count=devices, **options)
    else:
        record = train_here(run, genome, folder, **options)
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

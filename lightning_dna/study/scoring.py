"""What is scored for each arm, and in which file each table of scores lies.

A score file is named by its task and a hash of everything that decides its rows beyond the trained
weights: card, data, fine-tuning settings. A task added to the suite therefore costs only itself.
"""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lightning_dna import atomic, settings
from lightning_dna.errors import ConfigError
from lightning_dna.study.recipe import Arm
from lightning_dna.study.study import Cell, Study
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.baselines.majority import score_majority
from lightning_dna.tasks.baselines.markov import score_markov
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.classification import score_baseline, score_classification
from lightning_dna.tasks.examples import LabelledTask, load_examples
from lightning_dna.tasks.heldout_mlm import HeldoutMLM
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.run import Checkpoint, fit

# Baselines that train with randomness get every seed of the study; the others are the same each time.
RANDOM_BASELINES = frozenset({"onehot_cnn"})


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """One table of scores of one arm.

    Attributes:
        card: The task.
        way: How the checkpoint is used; ``None`` for held-out sequence.
        file: Path of the table within the cell's folder.
    """

    card: TaskCard
    way: str | None
    file: str


class Scorer:
    """The suite of one study, with its data loaded on first use.

    Args:
        study: The study.
    """

    def __init__(self, study: Study) -> None:
        self.study = study

    @cached_property
    def held_out(self) -> dict[str, HeldoutMLM]:
        """The held-out tasks by name; windows are those of the baseline arm, whatever the arm."""
        study = self.study
        return {
            card.name: HeldoutMLM(
                card, study.genome, study.split, length=study.baseline.settings.data.length
            )
            for card in study.cards
            if card.kind == "heldout_mlm"
        }

    @cached_property
    def labelled(self) -> dict[str, LabelledTask]:
        """The labelled tasks by name."""
        return {
            card.name: load_examples(card, self.study.tasks_root)
            for card in self.study.cards
            if card.kind != "heldout_mlm"
        }

    def check(self) -> None:
        """Load every task and check that every arm can be scored on it, before anything is trained.

        Raises:
            ConfigError: If an arm's model is too short for a task.
            DataError: If a task's files are missing or wrong.
        """
        for name, task in self.labelled.items():
            longest = max(
                len(codes) for part in (task.train, task.valid, task.test) for codes in part.codes
            )
            for arm in self.study.arms.values():
                if longest > arm.settings.model.max_length:
                    raise ConfigError(
                        f"task '{name}' has sequences of {longest} bases, but arm '{arm.name}' has"
                        f" model.max_length {arm.settings.model.max_length}; raise model.max_length"
                        " under 'shared'."
                    )
        for name, held_out in self.held_out.items():
            for arm in self.study.arms.values():
                if held_out.length > arm.settings.model.max_length:
                    raise ConfigError(
                        f"task '{name}' has windows of {held_out.length} bases, but arm"
                        f" '{arm.name}' has model.max_length {arm.settings.model.max_length}; raise"
                        " model.max_length under 'shared', or set window_length on the card."
                    )

    def jobs(self, arm: Arm) -> list[ScoreJob]:
        """List the tables that an arm owes."""
        found = []
        for card in self.study.cards:
            if card.kind == "heldout_mlm":
                found.append(self._job(card, None, None))
            else:
                found += [self._job(card, way, arm.settings.finetune) for way in card.ways]
        return found

    def _job(self, card: TaskCard, way: str | None, config: FineTuneConfig | None) -> ScoreJob:
        """Name one table."""
        content = {
            "task": self._digest(card),
            "way": way,
            "finetune": None if config is None else settings.plain(config),
        }
        stem = card.name if way is None else f"{card.name}-{way}"
        return ScoreJob(
            card=card, way=way, file=f"scores/{stem}-{settings.fingerprint(content)}.parquet"
        )

    def _digest(self, card: TaskCard) -> str:
        """Hash a card and its data, but not the folder that it was read from."""
        plain = settings.plain(card)
        plain.pop("folder")
        for text in ("title", "description", "licence", "citation", "url", "metrics", "baselines"):
            plain.pop(text)
        if card.kind == "heldout_mlm":
            split = self.study.split
            plain["genome"] = self.study.genome.digest
            plain["split"] = [list(split.train), list(split.test)]
            plain["length"] = self.held_out[card.name].length
        else:
            plain["examples"] = _digest_examples(self.labelled[card.name])
        return settings.fingerprint(plain)

    def score(self, job: ScoreJob, cell: Cell, checkpoint: Checkpoint, *, progress: bool) -> Scores:
        """Score one checkpoint on one task."""
        device = _device(cell)
        if job.way is None:
            model = checkpoint.model().to(device)
            return self.held_out[job.card.name].score(
                model, variant=cell.arm.name, seed=cell.seed, device=device, progress=progress
            )
        scores, record = score_classification(
            job.card,
            self.labelled[job.card.name],
            way=job.way,
            model=checkpoint.model(),
            untrained=checkpoint.untrained(),
            variant=cell.arm.name,
            seed=cell.seed,
            config=cell.arm.settings.finetune,
            device=device,
        )
        path = checkpoint.folder / Path(job.file).with_suffix(".json")
        atomic.write_json(path, record)
        return scores

    def work(self, cell: Cell, folder: Path, *, progress: bool) -> None:
        """Do whatever a cell still lacks: training, then each table of scores."""
        checkpoint = fit(cell.run, folder, progress=progress)
        for job in self.jobs(cell.arm):
            path = folder / job.file
            if not path.is_file():
                self.score(job, cell, checkpoint, progress=progress).write(path)

    def baseline_folder(self, card: TaskCard) -> str:
        """Return the folder of a task's baselines, relative to the study's."""
        return f"baselines/{card.name}-{self._digest(card)}"

    def baseline_files(self, card: TaskCard) -> tuple[str, ...]:
        """List the tables that a task's baselines owe."""
        return tuple(f"{name}.parquet" for name in card.baselines)

    def score_baselines(self, card: TaskCard, folder: Path) -> None:
        """Score whatever baselines a task still lacks."""
        for name in card.baselines:
            path = folder / f"{name}.parquet"
            if path.is_file():
                continue
            started = time.perf_counter()
            self._score_baseline(card, name).write(path)
            atomic.write_json(folder / f"{name}.json", {"seconds": time.perf_counter() - started})

    def _score_baseline(self, card: TaskCard, name: str) -> Scores:
        """Score one baseline; one with randomness once for each seed of the study."""
        if card.kind == "heldout_mlm":
            task = self.held_out[card.name]
            if name == "majority":
                return score_majority(task)
            return score_markov(task, int(name.removeprefix("markov_")))
        seeds: Iterable[int] = self.study.recipe.seeds if name in RANDOM_BASELINES else (0,)
        tables = [score_baseline(card, self.labelled[card.name], name, seed=seed) for seed in seeds]
        frames = [table.frame for table in tables]
        return Scores(pd.concat(frames, ignore_index=True), "classification")


def _digest_examples(task: LabelledTask) -> str:
    """Hash ids, labels and bases of every part."""
    digest = hashlib.sha256()
    for part in (task.train, task.valid, task.test):
        digest.update("\0".join(part.ids).encode())
        digest.update(np.ascontiguousarray(part.labels, dtype=np.int64).tobytes())
        for codes in part.codes:
            digest.update(codes.tobytes() + b"\xff")
    return digest.hexdigest()[:24]


def _device(cell: Cell) -> str:
    """Return the device that a cell's training settings allow."""
    allowed = cell.run.trainer.accelerator in ("auto", "cuda")
    return "cuda" if allowed and torch.cuda.is_available() else "cpu"

"""What is scored for each arm, and in which file each table of scores lies.

A score file is named by its task and a hash of everything that decides its rows beyond the trained
weights: card, data, fine-tuning settings. A task added to the suite therefore costs only itself.
"""

import hashlib
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from lightning_dna import atomic, settings
from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.data.source import training_windows
from lightning_dna.data.windows import tile
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.study.environment import environment
from lightning_dna.study.model_source import PretrainedCheckpoint, encoding_of
from lightning_dna.study.recipe import Arm, ArmSettings
from lightning_dna.study.study import Cell, Study
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.baselines.majority import score_majority
from lightning_dna.tasks.baselines.markov import score_markov
from lightning_dna.tasks.card import TRAINED_BASELINES, TaskCard, Way
from lightning_dna.tasks.classification import score_baseline, score_classification
from lightning_dna.tasks.examples import LabelledTask, load_examples
from lightning_dna.tasks.heldout_mlm import HeldoutMLM
from lightning_dna.tasks.strata import GenomeStrata
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.run import RECORD, Checkpoint, fit

# Baselines that train with randomness get every seed of the study; the others are always the same.
RANDOM_BASELINES = frozenset(TRAINED_BASELINES)
PROVENANCE = "provenance.json"
_SAMPLE = 100_000  # bases from which the number of tokens per base is counted


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """One table of scores of one arm.

    Attributes:
        card: The task.
        way: How the checkpoint is used; ``None`` for held-out sequence.
        file: Path of the table within the cell's folder.
    """

    card: TaskCard
    way: Way | None
    file: str


@dataclass(frozen=True, kw_only=True)
class BaselineTable:
    """One table of scores of one baseline.

    Attributes:
        name: The baseline.
        seed: Its seed; ``None`` where it has no randomness.
        file: Name of the table within the folder of the task's baselines.
    """

    name: str
    seed: int | None
    file: str


class Scorer:
    """The suite of one study, with its data loaded on first use.

    Args:
        study: The study.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self._digests: dict[str, str] = {}
        self._encodings: dict[str, Encoding] = {}

    @cached_property
    def held_out(self) -> dict[str, HeldoutMLM]:
        """The held-out tasks by name; windows are those of the baseline arm, whatever the arm."""
        study, data = self.study, self.study.baseline.settings.data
        return {
            card.name: HeldoutMLM(card, study.genome, study.split, data.length, self.strata)
            for card in study.cards
            if card.kind == "heldout_mlm"
        }

    @cached_property
    def strata(self) -> GenomeStrata | None:
        """What is known of held-out bases besides the soft mask, where there is an annotation."""
        return GenomeStrata.read(self.study.baseline.settings.data, self.study.genome)

    @cached_property
    def labelled(self) -> dict[str, LabelledTask]:
        """The labelled tasks by name."""
        return {
            card.name: load_examples(card, self.study.tasks_root)
            for card in self.study.cards
            if card.kind != "heldout_mlm"
        }

    def check(self) -> None:
        """Load every task and check that every arm can be trained and scored, before any is.

        Raises:
            ConfigError: If an arm's model is too short for a task.
            DataError: If a task's files are missing or wrong, or no window fits the genome.
        """
        for arm in self.study.trained:
            try:
                self._check_windows(arm.settings)
            except DataError as error:
                raise DataError(f"arm '{arm.name}': {error}") from error
        for held_out in self.held_out.values():
            for part in held_out.parts:
                held_out.windows(part)
        for name, task in self.labelled.items():
            longest = max(
                len(codes) for part in (task.train, task.valid, task.test) for codes in part.codes
            )
            for arm in self.study.trained:
                if longest > arm.settings.model.max_length:
                    raise ConfigError(
                        f"task '{name}' has sequences of {longest} bases, but arm '{arm.name}' has"
                        f" model.max_length {arm.settings.model.max_length}; raise model.max_length"
                        " under 'shared'."
                    )
        for name, held_out in self.held_out.items():
            for arm in self.study.trained:
                if held_out.length > arm.settings.model.max_length:
                    raise ConfigError(
                        f"task '{name}' has windows of {held_out.length} bases, but arm"
                        f" '{arm.name}' has model.max_length {arm.settings.model.max_length}; raise"
                        " model.max_length under 'shared', or set window_length on the card."
                    )

        for arm in self.study.arms.values():
            if arm.source is not None:
                self._check_checkpoint(arm)

    def _check_checkpoint(self, arm: Arm) -> None:
        """Check that a checkpoint takes the windows and sequences that it is to be scored on."""
        encoding, config = self.encoding(arm), arm.settings.model
        for name, held_out in self.held_out.items():
            where = f"arm '{arm.name}' on task '{name}'"
            if not encoding.by_base and config.causal:
                raise ConfigError(
                    f"{where}: a next-token model over tokens of several bases is not scored on"
                    " hidden bases; leave the arm out, or use a suite without this task."
                )
            if encoding.by_base:
                window = np.zeros(held_out.length, dtype=np.uint8)
                encoding.check_lengths([window], config, where=where)
            elif encoding.longest(config) is not None:
                for part in held_out.parts:
                    for batch in held_out.batches(part):
                        encoding.check_lengths(encoding.rows([*batch.codes]), config, where=where)
        for name, task in self.labelled.items():
            where = f"arm '{arm.name}' on task '{name}'"
            for examples in (task.train, task.valid, task.test):
                encoding.check_lengths(encoding.rows(examples.codes), config, where=where)

    def encoding(self, arm: Arm) -> Encoding:
        """Return how an arm reads sequences: by single bases, unless its checkpoint does not."""
        if arm.source is None:
            return CHARACTERS
        if arm.name not in self._encodings:
            self._encodings[arm.name] = encoding_of(arm.source.folder, arm.settings.model)
        return self._encodings[arm.name]

    def _check_windows(self, arm: ArmSettings) -> None:
        """Check that there are windows to train on, and to validate on where there should be."""
        genome, split, data = self.study.genome, self.study.split, arm.data
        training_windows(data, genome, split.train)
        if split.valid:
            tile(genome, split.valid, length=data.length, max_n_fraction=data.max_n_fraction)

    def jobs(self, cell: Cell) -> list[ScoreJob]:
        """List the tables that a cell owes.

        What a checkpoint makes of held-out sequence is the same for every seed, and is scored with
        the first.
        """
        arm, found = cell.arm, []
        for card in self.study.cards:
            if card.kind == "heldout_mlm":
                if arm.source is None or cell.seed == self.study.recipe.seeds[0]:
                    found.append(self._job(card, None, None))
            else:
                found += [self._job(card, way, arm.settings.finetune) for way in card.ways]
        return found

    def _job(self, card: TaskCard, way: Way | None, config: FineTuneConfig | None) -> ScoreJob:
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
        if card.name not in self._digests:
            self._digests[card.name] = self._fresh_digest(card)
        return self._digests[card.name]

    def _fresh_digest(self, card: TaskCard) -> str:
        """Hash a card and its data."""
        plain = settings.plain(card)
        plain.pop("folder")
        for text in ("title", "description", "licence", "citation", "url", "metrics", "baselines"):
            plain.pop(text)
        if card.kind == "heldout_mlm":
            split = self.study.split
            plain["genome"] = self.study.genome.digest
            plain["split"] = [list(split.train), list(split.test)]
            plain["length"] = self.held_out[card.name].length
            if self.strata is not None:
                plain["strata"] = self.strata.digest
        else:
            plain["examples"] = _digest_examples(self.labelled[card.name])
        return settings.fingerprint(plain)

    def score(
        self,
        job: ScoreJob,
        cell: Cell,
        checkpoint: Checkpoint | PretrainedCheckpoint,
        *,
        progress: bool,
    ) -> Scores:
        """Score one checkpoint on one task."""
        device, encoding = _device(cell), self.encoding(cell.arm)
        if job.way is None:
            model = checkpoint.model().to(device)
            return self.held_out[job.card.name].score(
                model,
                variant=cell.arm.name,
                seed=cell.seed,
                device=device,
                progress=progress,
                encoding=encoding,
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
            encoding=encoding,
        )
        path = checkpoint.folder / Path(job.file).with_suffix(".json")
        atomic.write_json(path, record)
        return scores

    def work(self, cell: Cell, folder: Path, *, progress: bool) -> None:
        """Do whatever a cell still lacks: training, then each table of scores."""
        self._record(cell, folder)
        checkpoint = self._checkpoint(cell, folder, progress=progress)
        for job in self.jobs(cell):
            path = folder / job.file
            if not path.is_file():
                self.score(job, cell, checkpoint, progress=progress).write(path)

    def _checkpoint(
        self, cell: Cell, folder: Path, *, progress: bool
    ) -> Checkpoint | PretrainedCheckpoint:
        """Train the cell's model, or take the checkpoint that its arm is."""
        arm = cell.arm
        if arm.source is None:
            return fit(cell.run, folder, progress=progress)
        checkpoint = PretrainedCheckpoint(
            folder=folder, source=arm.source, config=arm.settings.model, seed=cell.seed
        )
        if not (folder / RECORD).is_file():
            atomic.write_json(folder / RECORD, checkpoint.record(self._tokens_per_base(arm)))
        return checkpoint

    def _tokens_per_base(self, arm: Arm) -> float:
        """Count an arm's tokens per base in the middle of the first test or training chromosome."""
        chrom = (*self.study.split.test, *self.study.split.train)[0]
        length = self.study.genome.lengths[chrom]
        first = max(0, (length - _SAMPLE) // 2)
        codes = self.study.genome.codes(chrom, first, min(length, first + _SAMPLE))
        return len(self.encoding(arm).tokenizer.encode_codes(codes)) / len(codes)

    def _record(self, cell: Cell, folder: Path) -> None:
        """Write beside a cell's weights what its numbers come from.

        A cell that another version or machine goes on with gets another entry in ``environments``.
        """
        path, genome, now = folder / PROVENANCE, self.study.genome, environment()
        before = atomic.read_json(path)["environments"] if path.is_file() else []
        content = {
            "arm": cell.arm.name,
            "seed": cell.seed,
            "run_id": cell.run_id,
            "settings": settings.plain(cell.arm.settings),
            "genome": {
                "digest": genome.digest,
                "chromosomes": {name: genome.digests[name] for name in genome.names},
            },
            "tasks": {job.file: self._digest(job.card) for job in self.jobs(cell)},
            "environments": before if now in before else [*before, now],
        }
        atomic.write_json(path, content)

    def baseline_folder(self, card: TaskCard) -> str:
        """Return the folder of a task's baselines, relative to the study's."""
        return f"baselines/{card.name}-{self._digest(card)}"

    def baseline_tables(self, card: TaskCard) -> list[BaselineTable]:
        """List the tables of a task's baselines, one for each seed where there is randomness."""
        tables = []
        for name in card.baselines:
            if name in RANDOM_BASELINES:
                tables += [
                    BaselineTable(name=name, seed=seed, file=f"{name}-{seed}.parquet")
                    for seed in self.study.recipe.seeds
                ]
            else:
                tables.append(BaselineTable(name=name, seed=None, file=f"{name}.parquet"))
        return tables

    def baseline_files(self, card: TaskCard) -> tuple[str, ...]:
        """List the files that a task's baselines owe."""
        return tuple(table.file for table in self.baseline_tables(card))

    def score_baselines(self, card: TaskCard, folder: Path) -> None:
        """Score whatever baselines a task still lacks."""
        for table in self.baseline_tables(card):
            path = folder / table.file
            if path.is_file():
                continue
            started = time.perf_counter()
            scores = self._score_baseline(card, table)
            seconds = time.perf_counter() - started
            atomic.write_json(path.with_suffix(".json"), {"seconds": seconds, **environment()})
            scores.write(path)

    def _score_baseline(self, card: TaskCard, table: BaselineTable) -> Scores:
        """Score one baseline."""
        if card.kind != "heldout_mlm":
            examples = self.labelled[card.name]
            return score_baseline(card, examples, table.name, seed=table.seed or 0)
        if table.name == "majority":
            return score_majority(self.held_out[card.name])
        order = int(table.name.removeprefix("markov_"))
        return score_markov(self.held_out[card.name], order)


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

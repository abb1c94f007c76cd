"""What is scored for each arm, and in which file each table of scores lies.

A score file is named by its task and a hash of everything that decides its rows beyond the trained
weights: card, data, fine-tuning settings. A task added to the suite therefore costs only itself.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from lightning_dna import atomic, settings
from lightning_dna.data.canaries import CanaryConfig
from lightning_dna.data.canary_hosts import CanaryHost, canary_hosts
from lightning_dna.data.encoding import CHARACTERS, Encoding
from lightning_dna.data.tokenization import CHARACTER, open_tokenizer, tokens_per_base
from lightning_dna.data.training_set import training_set
from lightning_dna.data.windows import tile
from lightning_dna.errors import DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.study.canary_views import canaries_of
from lightning_dna.study.environment import environment
from lightning_dna.study.machine import where_it_runs
from lightning_dna.study.model_source import PretrainedCheckpoint, encoding_of
from lightning_dna.study.recipe import Arm, ArmSettings
from lightning_dna.study.score_names import score_file, task_digest
from lightning_dna.study.sealed_scores import seal, write_once
from lightning_dna.study.study import Cell, Study
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.card_kinds import TRAINED_BASELINES
from lightning_dna.tasks.kinds import open_task
from lightning_dna.tasks.strata import GenomeStrata
from lightning_dna.tasks.suites import refuse_incomplete
from lightning_dna.tasks.task import Candidate, Task
from lightning_dna.training.config import FineTuneConfig
from lightning_dna.training.run import RECORD, Checkpoint, fit

# Baselines that train with randomness get every seed of the study; the others are always the same.
RANDOM_BASELINES = frozenset(TRAINED_BASELINES)
PROVENANCE = "provenance.json"
EMBEDDINGS = "embeddings"  # a cell's folder of what its probes share
# A baseline that was made stronger has other files than before.
_REVISIONS = {"kmer_logistic": 2}
_SAMPLE = 100_000  # bases from which the number of tokens per base is counted


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """One table of scores of one arm.

    Attributes:
        card: The task.
        way: The entry of ``card.tables``, mostly how the checkpoint is used; ``None`` where a task
            has one table.
        file: Path of the table within the cell's folder.
    """

    card: TaskCard
    way: str | None
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
        self._latest: tuple[Path, Checkpoint | PretrainedCheckpoint] | None = None

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The tasks of the suite by name."""
        return {card.name: open_task(card, self) for card in self.study.cards}

    @cached_property
    def parts(self) -> tuple["Scorer", ...]:
        """A scorer for each fold of a study over folds; this one of any other study."""
        folds = self.study.recipe.folds
        if folds is None:
            return (self,)
        return tuple(Scorer(self.study.at_fold(fold)) for fold in range(folds))

    def of(self, cell: Cell) -> "Scorer":
        """Return the scorer of a cell: that of its fold, if it has one."""
        return self if cell.fold is None else self.parts[cell.fold]

    @property
    def genome(self) -> Genome:
        """The study's genome."""
        return self.study.genome

    @property
    def split(self) -> ChromosomeSplit:
        """Its chromosomes for training, validation and test."""
        return self.study.split

    @property
    def tasks_root(self) -> Path | None:
        """The folder in which task files are looked up first."""
        return self.study.tasks_root

    @property
    def window_length(self) -> int:
        """Window length of the baseline arm, whatever the arm."""
        return self.study.baseline.settings.data.length

    @property
    def rates(self) -> int:
        """Learning rates that the baseline arm may try in fine-tuning."""
        return len(self.study.baseline.settings.finetune.rates)

    @property
    def vcf(self) -> str | None:
        """The baseline arm's file of variants."""
        return self.study.baseline.settings.data.vcf

    @cached_property
    def canaries(self) -> CanaryConfig | None:
        """The canaries that arms were trained with."""
        return canaries_of(self.study.arms)

    def canary_hosts(self, arm: str) -> Mapping[str, CanaryHost]:
        """Return the window of an arm's training that each canary is read in, by name.

        An arm without canaries, and a checkpoint, gets those that its settings would have made.
        """
        data = replace(self.study.arms[arm].settings.data, canaries=self.canaries)
        return canary_hosts(training_set(data, self.study.genome, self.study.split), data)

    @cached_property
    def strata(self) -> GenomeStrata | None:
        """What is known of held-out bases besides the soft mask, where there is an annotation."""
        return GenomeStrata.read(self.study.baseline.settings.data, self.study.genome)

    def check(self) -> None:
        """Load every task and check that every arm can be trained and scored, before any is.

        Raises:
            ConfigError: If an arm's model is too short for a task.
            DataError: If a task's files are missing or wrong, or no window fits the genome.
        """
        if self.study.recipe.folds is not None:
            for part in self.parts:
                part.check()
            return
        refuse_incomplete(self.study.cards, self.study.tasks_root)
        for arm in self.study.trained:
            try:
                self._check_windows(arm.settings)
            except DataError as error:
                raise DataError(f"arm '{arm.name}': {error}") from error
        for task in self.tasks.values():
            task.load()
        for arm in self.study.arms.values():
            for task in self.tasks.values():
                if arm.source is None and self.encoding(arm).by_base:
                    task.check_arm(arm.name, arm.settings.model)
                else:
                    task.check_checkpoint(arm.name, arm.settings.model, self.encoding(arm))
                task.check_use(
                    arm.name, arm.settings.model, self.encoding(arm), arm.settings.finetune
                )

    def encoding(self, arm: Arm) -> Encoding:
        """Return how an arm reads sequences: by single bases, unless its checkpoint does not."""
        if arm.name not in self._encodings:
            self._encodings[arm.name] = self._opened_encoding(arm)
        return self._encodings[arm.name]

    def _opened_encoding(self, arm: Arm) -> Encoding:
        """Open the tokenizer of a checkpoint, or the one that an arm is trained with."""
        if arm.source is not None:
            return encoding_of(arm.source.folder, arm.settings.model)
        name = arm.settings.data.tokenizer
        if name == CHARACTER:
            return CHARACTERS
        return Encoding(tokenizer=open_tokenizer(name, self.genome, self.split.train))

    def _check_windows(self, arm: ArmSettings) -> None:
        """Check that there are windows to train on, and to validate on where there should be."""
        genome, split, data = self.study.genome, self.study.split, arm.data
        training_set(data, genome, split)
        if split.valid:
            tile(genome, split.valid, length=data.length, max_n_fraction=data.max_n_fraction)

    def jobs(self, cell: Cell) -> list[ScoreJob]:
        """List the tables that a cell owes.

        What a checkpoint makes of a task without training is the same for every seed, and is scored
        with the first.
        """
        again = cell.arm.source is not None and cell.seed != self.study.recipe.seeds[0]
        return [
            self._job(card, table, cell.arm.settings.finetune)
            for card in self.study.cards
            if card.rules.tuned or not again
            for table in card.tables
        ]

    def _job(self, card: TaskCard, way: str | None, config: FineTuneConfig) -> ScoreJob:
        """Name one table."""
        return ScoreJob(card=card, way=way, file=score_file(card, self._digest(card), way, config))

    def _digest(self, card: TaskCard) -> str:
        """Hash a card and its data, but not the folder that it was read from."""
        if card.name not in self._digests:
            self._digests[card.name] = task_digest(card, self.tasks[card.name].content())
        return self._digests[card.name]

    def score(
        self,
        job: ScoreJob,
        cell: Cell,
        checkpoint: Checkpoint | PretrainedCheckpoint,
        *,
        progress: bool,
    ) -> Scores:
        """Score one checkpoint on one task."""
        candidate = Candidate(
            arm=cell.arm.name,
            seed=cell.seed,
            weights=checkpoint,
            finetune=cell.arm.settings.finetune,
            encoding=self.encoding(cell.arm),
            device=device_of(cell),
            cache=checkpoint.folder / EMBEDDINGS,
            progress=progress,
        )
        scores, record = self.tasks[job.card.name].score(candidate, job.way)
        if record is not None:
            path = checkpoint.folder / Path(job.file).with_suffix(".json")
            atomic.write_json(path, record)
        return scores

    def train(self, cell: Cell, folder: Path, *, progress: bool, microbatches: int = 1) -> None:
        """Do what is left of a cell's training, in parts where asked."""
        self._record(cell, folder)
        checkpoint = self._checkpoint(cell, folder, progress=progress, microbatches=microbatches)
        self._latest = (folder, checkpoint)

    def score_table(self, job: ScoreJob, cell: Cell, folder: Path, *, progress: bool) -> None:
        """Score a cell that is trained on one task."""
        path = folder / job.file
        if path.is_file():
            seal(path)
            return
        self._record(cell, folder)
        if self._latest is None or self._latest[0] != folder:
            checkpoint = self._checkpoint(cell, folder, progress=progress, microbatches=1)
            self._latest = (folder, checkpoint)
        write_once(self.score(job, cell, self._latest[1], progress=progress), path)

    def _checkpoint(
        self, cell: Cell, folder: Path, *, progress: bool, microbatches: int
    ) -> Checkpoint | PretrainedCheckpoint:
        """Train the cell's model, or take the checkpoint that its arm is."""
        arm = cell.arm
        if arm.source is None:
            return fit(cell.run, folder, progress=progress, microbatches=microbatches)
        checkpoint = PretrainedCheckpoint(
            folder=folder, source=arm.source, config=arm.settings.model, seed=cell.seed
        )
        if not (folder / RECORD).is_file():
            atomic.write_json(folder / RECORD, checkpoint.record(self._tokens_per_base(arm)))
        return checkpoint

    def _tokens_per_base(self, arm: Arm) -> float:
        """Count an arm's tokens per base in the middle of the first test or training chromosome."""
        chrom = (*self.study.split.test, *self.study.split.train)[0]
        return tokens_per_base(self.encoding(arm).tokenizer, self.study.genome, chrom)

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
        if not path.is_file() or atomic.read_json(path) != content:
            atomic.write_json(path, content)

    def baseline_folder(self, card: TaskCard) -> str:
        """Return the folder of a task's baselines, relative to the study's."""
        return f"baselines/{card.name}-{self._digest(card)}"

    def baseline_tables(self, card: TaskCard) -> list[BaselineTable]:
        """List the tables of a task's baselines, one for each seed where there is randomness."""
        seeds: dict[bool, tuple[int | None, ...]] = {True: self.study.recipe.seeds, False: (None,)}
        return [
            BaselineTable(name=name, seed=seed, file=f"{self._baseline_stem(name, seed)}.parquet")
            for name in card.baselines
            for seed in seeds[name in RANDOM_BASELINES]
        ]

    def _baseline_stem(self, name: str, seed: int | None) -> str:
        """Name a table of a baseline by what decides it besides the task."""
        parts = [name, *([str(seed)] if seed is not None else [])]
        if name in _REVISIONS:
            parts.append(f"v{_REVISIONS[name]}")
        if seed is not None and self.rates > 1:
            parts.append(f"rates{self.rates}")
        return "-".join(parts)

    def baseline_files(self, card: TaskCard) -> tuple[str, ...]:
        """List the files that a task's baselines owe."""
        return tuple(table.file for table in self.baseline_tables(card))

    def score_baselines(self, card: TaskCard, folder: Path) -> None:
        """Score whatever baselines a task still lacks."""
        for table in self.baseline_tables(card):
            path = folder / table.file
            if path.is_file():
                seal(path)
                continue
            started = time.perf_counter()
            scores, record = self.tasks[card.name].score_baseline(table.name, seed=table.seed or 0)
            seconds = time.perf_counter() - started
            record = {**record, "seconds": seconds, **environment()}
            atomic.write_json(path.with_suffix(".json"), record)
            write_once(scores, path)


def device_of(cell: Cell) -> str:
    """Return the device that a cell's training settings allow."""
    return where_it_runs(cell.run.trainer)[0]

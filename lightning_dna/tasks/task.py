"""What every kind of task offers to a study, and what a study hands to it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lightning_dna.data.canaries import CanaryConfig
from lightning_dna.data.canary_hosts import CanaryHost
from lightning_dna.data.encoding import Encoding
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.language_model import LanguageModel
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.strata import GenomeStrata
from lightning_dna.training.config import FineTuneConfig

Record = dict[str, Any]


class Surroundings(Protocol):
    """What a study knows beyond the cards. A task reads what it needs, when it needs it."""

    @property
    def genome(self) -> Genome:
        """The genome that the arms are trained and scored on."""

    @property
    def split(self) -> ChromosomeSplit:
        """Its chromosomes for training, validation and test."""

    @property
    def tasks_root(self) -> Path | None:
        """The folder in which task files are looked up first."""

    @property
    def window_length(self) -> int:
        """Bases of a window where a card does not say: the baseline arm's ``data.length``."""

    @property
    def rates(self) -> int:
        """Learning rates that every arm may try in fine-tuning, and so every network beside it."""

    @property
    def vcf(self) -> str | None:
        """The variants of the genome: the baseline arm's ``data.vcf``."""

    @property
    def canaries(self) -> CanaryConfig | None:
        """The canaries that arms were trained with: ``data.canaries``."""

    def canary_hosts(self, arm: str) -> Mapping[str, CanaryHost]:
        """Return the training window of an arm that each of these canaries is read in, by name."""

    @property
    def strata(self) -> GenomeStrata | None:
        """What is known of the genome's bases besides the soft mask."""


class Weights(Protocol):
    """A finished training, or a published checkpoint."""

    def model(self) -> LanguageModel:
        """Return the model with the trained weights, in evaluation mode."""

    def untrained(self) -> LanguageModel:
        """Return the same architecture with its initial weights, in evaluation mode."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One arm with one seed, ready to be scored.

    Attributes:
        arm: Name of the arm: the variant of its rows.
        seed: Its seed.
        weights: Gives the model.
        finetune: Settings of fine-tuning and probes.
        encoding: How sequences become the ids that the model reads.
        device: Where to compute, as torch names it.
        cache: Folder of what several tables of this arm and seed can share; ``None``: nothing is
            kept.
        progress: Whether a bar may be shown on stderr.
    """

    arm: str
    seed: int
    weights: Weights
    finetune: FineTuneConfig
    encoding: Encoding
    device: str = "cpu"
    cache: Path | None = None
    progress: bool = False


class Task(ABC):
    """One card with its data, read when they are first needed.

    Args:
        card: The card.
        around: What the study knows.
    """

    def __init__(self, card: TaskCard, around: Surroundings) -> None:
        self.card = card
        self.around = around

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the scores should know, in whole sentences."""
        return ()

    @abstractmethod
    def load(self) -> None:
        """Read the data whole, so that whatever is wrong with them is told before any training.

        Raises:
            DataError: If a file is missing or wrong.
            ConfigError: If the card does not go with the study.
        """

    @abstractmethod
    def check_arm(self, arm: str, config: ModelConfig) -> None:
        """Check that a model that is yet to be trained, over single bases, takes the task.

        Raises:
            ConfigError: If the model is too short; the message says which setting to raise.
        """

    @abstractmethod
    def check_checkpoint(self, arm: str, config: ModelConfig, encoding: Encoding) -> None:
        """Check that a checkpoint takes the task with its own tokenizer.

        Raises:
            ConfigError: If the kind of model cannot be scored on the task.
            DataError: If a sequence has more tokens than the checkpoint takes.
        """

    def check_use(
        self, arm: str, config: ModelConfig, encoding: Encoding, finetune: FineTuneConfig
    ) -> None:
        """Check that a model and the settings of fine-tuning go together, before any training.

        Raises:
            ConfigError: If they do not; the message says which setting to change.
        """
        return

    @abstractmethod
    def content(self) -> Mapping[str, Any]:
        """Return what decides the scores besides the card and the model: digests of the data."""

    def bases(self) -> Mapping[str, int]:
        """Return the bases of each part (``train``, ``valid``, ``test``) that a model would read.

        For the price of a study before it is run; a kind that does not say is left out of it.
        """
        return {}

    @abstractmethod
    def score(self, candidate: Candidate, table: str | None) -> tuple[Scores, Record | None]:
        """Score one arm with one seed.

        Args:
            candidate: The arm.
            table: The entry of ``card.tables``: a way, or ``None`` where there is only one table.

        Returns:
            The table, whose task is named ``CARD`` or ``CARD/TABLE``; and a record of what was
            chosen and what it cost, ``None`` where nothing was.
        """

    @abstractmethod
    def score_baseline(self, name: str, *, seed: int) -> tuple[Scores, Record]:
        """Score one of the card's baselines, as a task named ``CARD``, and say what it chose."""

"""The files of one task read whole without a study, to say what is wrong with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_dna.data.canaries import CanaryConfig
from lightning_dna.errors import ConfigError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.examples import load_examples
from lightning_dna.tasks.labelled_files import check_sum, find_files
from lightning_dna.tasks.strata import GenomeStrata

if TYPE_CHECKING:
    from lightning_dna.data.canary_hosts import CanaryHost  # loads torch

_WINDOW = 1024  # bases, where a card leaves it to the study


class _NoStudyError(ConfigError):
    """A task asked for what only a study has."""


@dataclass(frozen=True)
class _Alone:
    """Surroundings of a task that no study has: files, and nothing of a genome."""

    tasks_root: Path | None
    window_length: int = _WINDOW
    rates: int = 1
    strata: GenomeStrata | None = None
    canaries: CanaryConfig | None = None
    vcf: str | None = None

    @property
    def genome(self) -> Genome:
        """Refuse: there is none."""
        raise _NoStudyError("the genome is the study's")

    @property
    def split(self) -> ChromosomeSplit:
        """Refuse: there is none."""
        raise _NoStudyError("the split is the study's")

    def canary_hosts(self, arm: str) -> "Mapping[str, CanaryHost]":
        """Refuse: there is none."""
        raise _NoStudyError(f"the training windows of arm '{arm}' are the study's")


def read_task(card: TaskCard, tasks_root: Path | None) -> tuple[str, ...]:
    """Read all files of a task: checksums, columns, labels, parts.

    Args:
        card: A card with files.
        tasks_root: Folder in which they are looked up first.

    Returns:
        What was found, in lines: sizes and classes where the sequences are labelled, and notes.

    Raises:
        DataError: If a file is missing or wrong.
        ConfigError: If the card does not go with its files.
    """
    if card.kind == "classification":
        task = load_examples(card, tasks_root)
        sizes = " / ".join(f"{len(part):,}" for part in (task.train, task.valid, task.test))
        classes = ", ".join(task.classes)
        return (f"train / valid / test {sizes}, classes {classes}", *task.notes)
    for part, path in find_files(card, tasks_root).items():
        check_sum(path, (card.sha256 or {}).get(part))
    return _read_with_models(card, tasks_root)


def _read_with_models(card: TaskCard, tasks_root: Path | None) -> tuple[str, ...]:
    """Read a task of another kind as a study does, as far as its files go."""
    from lightning_dna.tasks.kinds import open_task  # loads torch

    task = open_task(card, _Alone(tasks_root))
    try:
        task.load()
    except _NoStudyError as error:
        return (f"{_sums(card)}; the rest is read by a study, because {error}",)
    return task.notes


def _sums(card: TaskCard) -> str:
    """Say which files of a card were compared with its checksums."""
    bare = [part for part in card.files or {} if part not in (card.sha256 or {})]
    if not bare:
        return "checksums are right"
    if not card.sha256:
        return "no checksums on the card"
    return f"checksums are right, but the card has none of {', '.join(bare)}"

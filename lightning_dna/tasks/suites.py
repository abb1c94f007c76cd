"""Suites: YAML files that list task cards, and which of their tasks can run with the files here.

No torch here: the command line lists and checks suites without it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from lightning_dna import catalog
from lightning_dna.errors import ConfigError, DataError, unknown_name
from lightning_dna.settings import load_yaml
from lightning_dna.tasks.card import TaskCard, Way, load_card
from lightning_dna.tasks.card_files import Carve, Split
from lightning_dna.tasks.card_kinds import CARD_KINDS
from lightning_dna.tasks.labelled_files import (
    find_reference,
    folders_of,
    lacking,
    split_files,
)
from lightning_dna.tasks.layouts.classes import class_entries, missing_classes

Missing = Literal["stop", "skip", "carve"]


def load_suite(name_or_path: str | Path) -> list[TaskCard]:
    """Read the cards of a suite, in its order.

    A suite is a YAML file with a ``description`` and a list ``tasks`` of card names or of paths
    relative to the suite's file.

    Args:
        name_or_path: A shipped name such as ``"core"``, or the path of a YAML file.

    Raises:
        ConfigError: If there is no such suite, it has other keys or no tasks, a task stands twice,
            or a card is not valid.

    Example:
        >>> [card.name for card in load_suite("core")]
        ['heldout_mlm']
    """
    path = catalog.resolve("suite", name_or_path)
    content = load_yaml(path)
    for key in content:
        if key not in ("description", "tasks"):
            raise unknown_name("key", str(key), ("description", "tasks"), where=str(path))
    description = content.get("description", "")
    if not isinstance(description, str):
        raise ConfigError(f"{path}: key 'description' holds {description!r}; expected text.")
    cards = [load_card(task, beside=path.parent) for task in _task_names(content, path)]
    home: dict[str, str | None] = {}
    for card in cards:
        if card.name in home:
            raise ConfigError(
                f"{path}: key 'tasks': the task '{card.name}' stands twice; scores are told apart "
                f"by task name, so each may stand once."
            )
        home[card.name] = card.folder
    return cards


def load_suites(names: Sequence[str | Path]) -> list[TaskCard]:
    """Read the cards of several suites, one after the other; a task that several share comes once.

    Raises:
        ConfigError: As `load_suite`; or if two suites have different tasks of one name.
    """
    found: dict[str, TaskCard] = {}
    for name in names:
        for card in load_suite(name):
            if found.setdefault(card.name, card) != card:
                raise ConfigError(
                    f"suite '{name}' has another task '{card.name}' than a suite before it; scores "
                    f"are told apart by task name, so rename one of the two."
                )
    return list(found.values())


@dataclass(frozen=True, kw_only=True)
class TaskChanges:
    """What a recipe changes on every card of its suite that has the field.

    Attributes:
        ways: Ways of using the weights.
        baselines: Baselines beside the arms; those that a kind of task does not have are left out.
        max_train: At most this many training examples of a task.
        folds: Number of folds of a cross-validation.
        splits: Splits that every task of labelled files is scored under, see
            :mod:`lightning_dna.tasks.split_views`; any but ``original`` is a task of its own,
            named ``TASK@SPLIT``.
        similarity_strata: Whether scores are shown by similarity to the training examples too.

    Raises:
        ConfigError: If ``splits`` is empty, repeats a split or names one that does not exist.
    """

    ways: tuple[Way, ...] | None = None
    baselines: tuple[str, ...] | None = None
    max_train: int | None = None
    folds: int | None = None
    splits: tuple[Split, ...] = ("original",)
    similarity_strata: bool = False

    def __post_init__(self) -> None:
        for split in self.splits:
            if split not in get_args(Split):
                raise unknown_name("split", split, get_args(Split), where="tasks.splits")
        if not self.splits or len(set(self.splits)) < len(self.splits):
            raise ConfigError(
                f"tasks.splits is {list(self.splits)}; expected one or more, each once."
            )

    def views(self, card: TaskCard) -> list[TaskCard]:
        """Return the cards of a task under every split; other kinds have one."""
        if "split" not in card.rules.fields:
            return [card]
        return [
            card
            if split == "original"
            else dataclasses.replace(card, name=f"{card.name}@{split}", split=split)
            for split in self.splits
        ]

    def of(self, card: TaskCard) -> TaskCard:
        """Return the card with the changes that mean something to its kind.

        Raises:
            ConfigError: If a value is not allowed, or a baseline is one of no kind of task.
        """
        own = card.rules.fields
        found: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("ways", "max_train", "folds")
            if name in own and getattr(self, name) is not None
        }
        if self.baselines is not None and "ways" in own:
            known = {name for kind in CARD_KINDS.values() for name in kind.baselines}
            for name in self.baselines:
                if name not in known:
                    raise unknown_name("baseline", name, known, where="tasks.baselines")
            found["baselines"] = tuple(
                name for name in self.baselines if name in card.rules.baselines
            )
        return dataclasses.replace(card, **found) if found else card


def _task_names(content: Mapping[str, Any], path: Path) -> list[str]:
    """Return the entries of a suite's task list, or refuse it."""
    tasks = content.get("tasks")
    if not isinstance(tasks, list) or not tasks or not all(isinstance(t, str) for t in tasks):
        raise ConfigError(
            f"{path}: key 'tasks' holds {tasks!r}; expected a list of one or more card names or "
            f"paths."
        )
    return tasks


@dataclass(frozen=True, kw_only=True)
class TaskFiles:
    """Which files of a task are there.

    Attributes:
        card: The task.
        found: Part to path.
        missing: Part, class of a part (``train/positive``) or reference of a class, to the name
            that was not found.
    """

    card: TaskCard
    found: Mapping[str, Path]
    missing: Mapping[str, str]

    @property
    def lacks_only_train(self) -> bool:
        """Whether validation and test are whole, and only the training file is missing."""
        return set(self.missing) == {"train"} and {"valid", "test"} <= set(self.found)


def files_of(card: TaskCard, tasks_root: Path | None) -> TaskFiles:
    """Look for the files of a task; of a Parquet table of several tasks their names are read.

    Raises:
        DataError: If several tables could be meant.
    """
    found, missing = split_files(card, tasks_root)
    if card.layout == "classes":
        for part, folder in found.items():
            missing |= {
                f"{part}/{name}": f"{(card.files or {})[part]}/{name}"
                for name in missing_classes(folder, card.labels)
            }
        missing |= _missing_references(card, found, folders_of(card, tasks_root))
        return TaskFiles(card=card, found=found, missing=missing)
    reasons = {part: lacking(card, part, path, tasks_root) for part, path in found.items()}
    missing |= {part: f"{(card.files or {})[part]} ({why})" for part, why in reasons.items() if why}
    whole = {part: path for part, path in found.items() if not reasons[part]}
    return TaskFiles(card=card, found=whole, missing=missing)


def without_train(card: TaskCard) -> TaskCard:
    """Return the card of a task whose training file is not at hand.

    Training and validation are both cut from the published validation file, a tenth of which
    validates. The test file is the published one. The name gets the ending ``-dev``.

    Args:
        card: A card with files for train, valid and test.
    """
    files, sums = card.files or {}, card.sha256 or {}
    parts = {"train": "valid", "test": "test"}
    return dataclasses.replace(
        card,
        name=f"{card.name}-dev",
        files={part: files[source] for part, source in parts.items()},
        sha256={part: sums[source] for part, source in parts.items() if source in sums} or None,
        carve=Carve(),
        deviation=(
            "The published training file was not at hand: training and validation are both cut "
            "from the published validation file. Not comparable with published numbers."
        ),
    )


def available(
    cards: Sequence[TaskCard], tasks_root: Path | None, missing: Missing
) -> tuple[list[TaskCard], tuple[str, ...]]:
    """Choose the tasks of a suite that can run.

    Args:
        cards: The cards of the suite.
        tasks_root: Folder in which files are looked up first.
        missing: ``stop`` keeps all cards; ``skip`` leaves out those whose files are not all there;
            ``carve`` too, but replaces those that lack only their training file by
            `without_train`.

    Returns:
        The cards, and a sentence on each task that is left out.

    Raises:
        DataError: If nothing is left.
    """
    if missing == "stop":
        return list(cards), ()
    chosen, notes = [], []
    for files in (files_of(card, tasks_root) for card in cards):
        if not files.missing:
            chosen.append(files.card)
        elif missing == "carve" and files.lacks_only_train:
            chosen.append(without_train(files.card))
        else:
            names = ", ".join(files.missing.values())
            notes.append(f"{files.card.name}: left out, because files are missing: {names}.")
    if not chosen:
        raise incomplete(cards, tasks_root)
    return chosen, tuple(notes)


def incomplete(cards: Sequence[TaskCard], tasks_root: Path | None) -> DataError:
    """Build the error for a suite whose files are not all there: what is missing, what can run."""
    states = [files_of(card, tasks_root) for card in cards]
    lacking = [files for files in states if files.missing]
    names = []
    for files in lacking:
        parts = ", ".join(f"{part}: {name}" for part, name in files.missing.items())
        names.append(f"{files.card.name} ({parts})")
    whole = [files.card.name for files in states if not files.missing]
    carved = [files.card.name for files in lacking if files.lacks_only_train]
    folders = dict.fromkeys(
        str(folder) for card in cards for folder in folders_of(card, tasks_root)
    )
    advice = [f"Looked in {', '.join(folders)}."]
    sources = dict.fromkeys(files.card.source for files in lacking if files.card.source)
    if sources:
        fetch = " and ".join(f"`lightning-dna data get {name}`" for name in sources)
        advice.append(f"{fetch} fetches them; tasks_root must name their folder.")
    if whole:
        advice.append(f"With --set suite_missing=skip these still run: {', '.join(whole)}.")
    if carved:
        advice.append(
            f"With --set suite_missing=carve also, trained on their validation file: "
            f"{', '.join(carved)}."
        )
    return DataError(
        f"files are missing for {len(lacking)} of {len(states)} tasks: {'; '.join(names)}. "
        f"{' '.join(advice)}"
    )


def refuse_incomplete(cards: Sequence[TaskCard], tasks_root: Path | None) -> None:
    """Stop before anything is trained if files of a suite are missing.

    Raises:
        DataError: If so; names every missing file, and the tasks that still run.
    """
    if any(files_of(card, tasks_root).missing for card in cards):
        raise incomplete(cards, tasks_root)


def _missing_references(
    card: TaskCard, found: Mapping[str, Path], folders: list[Path]
) -> dict[str, str]:
    """Return the references that are not there, of classes that are given as intervals."""
    missing: dict[str, str] = {}
    for folder in found.values():
        for name, path in class_entries(folder).items():
            named = card.reference.get(name) if isinstance(card.reference, dict) else card.reference
            if not path.is_dir() and (named is None or find_reference(named, folders) is None):
                missing[f"reference of {name}"] = named or "none on the card"
    return missing

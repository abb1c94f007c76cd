"""Task cards and suites: one YAML file says what a task is; nothing about a task is in code.

No torch here: the command line lists and checks cards without it.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from lightning_dna import catalog
from lightning_dna.errors import ConfigError, unknown_name
from lightning_dna.genome.simulated_tasks import SIMULATED_TASKS
from lightning_dna.settings import build, load_yaml
from lightning_dna.stats.metrics import METRICS

TaskKind = Literal["heldout_mlm", "classification", "simulated_classification"]
Way = Literal["frozen", "full", "scratch", "random"]

MAX_MARKOV_ORDER = 5
HELDOUT_METRICS = ("mlm_accuracy", "bits_per_base", "cross_entropy")
CLASSIFICATION_METRICS = tuple(name for name, row in METRICS.items() if row.kind == "cells")
HELDOUT_BASELINES = (
    "majority",
    *(f"markov_{order}" for order in range(1, MAX_MARKOV_ORDER + 1)),
)
# Networks: trained from random initial weights, so that every seed has its own.
TRAINED_BASELINES = ("onehot_cnn", "gb_cnn", "gb_cnn_fixed", "convnova_like", "enformer_like")
CLASSIFICATION_BASELINES = ("majority", "kmer_logistic", *TRAINED_BASELINES)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_OWN_FIELDS: Mapping[str, frozenset[str]] = {
    "heldout_mlm": frozenset(
        [
            "window_length",
            "mask_fraction",
            "mask_seed",
            "max_windows",
            "cluster_length",
            "train_windows",
        ]
    ),
    "classification": frozenset(
        ["ways", "files", "carve", "labels", "max_train", "sequence_length"]
    ),
    "simulated_classification": frozenset(
        ["ways", "simulated", "n_train", "n_valid", "n_test", "length", "seed"]
    ),
}
_AT_LEAST = {
    "version": 1,
    "window_length": 8,
    "mask_seed": 0,
    "max_windows": 1,
    "cluster_length": 1,
    "max_train": 1,
    "sequence_length": 1,
    "n_train": 1,
    "n_valid": 1,
    "n_test": 1,
    "length": 1,
    "seed": 0,
}


@dataclass(frozen=True, kw_only=True)
class Carve:
    """A part that the files do not hold and that is cut from another one; never from ``test``.

    Args:
        part: The part to make.
        source: The part it is cut from, which keeps the rest.
        fraction: Share of the source's examples that go to ``part``, in (0, 1).
        seed: Seed of the choice, 0 or more.

    Raises:
        ConfigError: If a value is not allowed.
    """

    part: Literal["train", "valid"] = "valid"
    source: Literal["train", "valid"] = "train"
    fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.part == self.source:
            raise ConfigError(
                f"carve.part and carve.source are both '{self.part}'; a part is cut from another."
            )
        if not 0.0 < self.fraction < 1.0:
            raise ConfigError(f"carve.fraction is {self.fraction}; allowed: (0, 1).")
        if self.seed < 0:
            raise ConfigError(f"carve.seed is {self.seed}; allowed: 0 or more.")


@dataclass(frozen=True, kw_only=True)
class TaskCard:
    """What a task is. A correction is a new ``version``, never a silent edit.

    Fields that belong to another kind must be left out.

    Attributes:
        name: Name in score tables: letters, digits, ``_``, ``-`` and ``.``; no ``/``, which
            separates a task from its way or view.
        kind: ``heldout_mlm`` (hidden bases of held-out chromosomes), ``classification`` (labelled
            sequences in files) or ``simulated_classification`` (labelled sequences drawn from a
            known model).
        version: Version of the card, from 1.
        title: One line for lists.
        description: What is measured, and what to know before reading its numbers.
        licence: Licence of the data.
        citation: Who made the task.
        url: Where the data come from.
        metrics: Metrics to report. Default: ``mlm_accuracy`` and ``bits_per_base`` for
            ``heldout_mlm``, ``mcc`` and ``accuracy`` otherwise.
        baselines: Baselines scored beside the arms: ``majority`` and ``markov_1`` to ``markov_5``
            for ``heldout_mlm``; otherwise ``majority``, ``kmer_logistic`` and the networks
            ``onehot_cnn``, ``gb_cnn`` (of GenomicBenchmarks, as published), ``gb_cnn_fixed``
            (without its second sigmoid), ``convnova_like`` and ``enformer_like``. Adding one scores
            that one alone.
        window_length: Bases of a window; ``None`` for the study's ``data.length``.
        mask_fraction: Share of the bases that are hidden, in (0, 1).
        mask_seed: Seed of the hidden positions: part of the task, not of a run.
        max_windows: At most this many windows of each part, evenly spread; ``None`` for all.
        cluster_length: Windows that start within one stretch of this many bases of a chromosome
            share a cluster.
        train_windows: Whether windows of the training chromosomes are scored too, as many as of
            the test chromosomes, for the gap between seen and held-out sequence.
        ways: How a classifier is made from a model: ``frozen`` (linear probe on the pretrained
            weights), ``full`` (all weights fine-tuned), and the controls ``random`` (probe on
            initial weights) and ``scratch`` (all weights, from the initial ones).
        files: Part (``train``, ``valid``, ``test``) to CSV file with the columns ``sequence`` and
            ``label``; or ``{"all": file}`` with a further column ``split``. Relative paths are
            looked up in the recipe's ``tasks_root``, then in ``folder``.
        carve: How to make the part that the files lack.
        labels: Labels in class order; ``None`` reads ``0, 1, ...``.
        max_train: At most this many training examples, a fixed choice; ``None`` for all.
        sequence_length: Longest sequence that the files may hold, in bases; ``None``: no limit.
        simulated: Name of the simulated task.
        n_train: Simulated training examples.
        n_valid: Simulated validation examples.
        n_test: Simulated test examples.
        length: Length of simulated sequences in bases.
        seed: Seed of the simulation: part of the task, not of a run.
        folder: Folder of the card's file; set by `load_card`.

    Raises:
        ConfigError: If a value is not allowed, or a field belongs to another kind.

    Example:
        >>> TaskCard(name="bases", kind="heldout_mlm", title="Hidden bases").metrics
        ('mlm_accuracy', 'bits_per_base')
    """

    name: str
    kind: TaskKind
    version: int = 1
    title: str
    description: str = ""
    licence: str = ""
    citation: str = ""
    url: str = ""
    metrics: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()

    window_length: int | None = None
    mask_fraction: float = 0.15
    mask_seed: int = 0
    max_windows: int | None = None
    cluster_length: int = 16384
    train_windows: bool = True

    ways: tuple[Way, ...] = ("frozen", "full")
    files: dict[str, str] | None = None
    carve: Carve | None = None
    labels: tuple[str, ...] | None = None
    max_train: int | None = None
    sequence_length: int | None = None

    simulated: str | None = None
    n_train: int = 2000
    n_valid: int = 500
    n_test: int = 2000
    length: int = 512
    seed: int = 0

    folder: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"name '{self.name}' is not allowed; use letters, digits, '_', '-' and '.', "
                f"beginning with a letter or digit."
            )
        if self.kind not in get_args(TaskKind):
            raise unknown_name("kind of task", self.kind, get_args(TaskKind))
        if not self.title.strip():
            raise ConfigError("title is empty; say in one line what the task asks.")
        self._check_fields()
        self._check_metrics_and_baselines()
        for field, lowest in _AT_LEAST.items():
            value = getattr(self, field)
            if value is not None and value < lowest:
                raise ConfigError(f"{field} is {value}; allowed: {lowest} or more.")
        if not 0.0 < self.mask_fraction < 1.0:
            raise ConfigError(f"mask_fraction is {self.mask_fraction}; allowed: (0, 1).")
        if self.kind != "heldout_mlm":
            _check_list("ways", self.ways, get_args(Way))
        if self.kind == "classification":
            self._check_files()
        if self.kind == "simulated_classification":
            self._check_simulated()

    def _check_fields(self) -> None:
        """Refuse a field that another kind owns, unless it has its default."""
        foreign = frozenset.union(*_OWN_FIELDS.values()) - _OWN_FIELDS[self.kind]
        for field in dataclasses.fields(self):
            if field.name in foreign and getattr(self, field.name) != field.default:
                raise ConfigError(
                    f"{field.name} has no meaning for a task of kind '{self.kind}'; its own keys "
                    f"are {', '.join(sorted(_OWN_FIELDS[self.kind]))}."
                )

    def _check_metrics_and_baselines(self) -> None:
        """Fill in the kind's default metrics; refuse unknown and repeated names."""
        heldout = self.kind == "heldout_mlm"
        if not self.metrics:
            default = ("mlm_accuracy", "bits_per_base") if heldout else ("mcc", "accuracy")
            object.__setattr__(self, "metrics", default)
        _check_list("metrics", self.metrics, HELDOUT_METRICS if heldout else CLASSIFICATION_METRICS)
        if self.baselines:
            _check_list(
                "baselines",
                self.baselines,
                HELDOUT_BASELINES if heldout else CLASSIFICATION_BASELINES,
            )

    def _check_files(self) -> None:
        """Check that the files and the carved part make up train, valid and test."""
        if not self.files:
            raise ConfigError(
                "files is missing; give a CSV file for each of train, valid and test, or one for "
                "'all' with a column 'split'."
            )
        for part in self.files:
            if part not in ("train", "valid", "test", "all"):
                raise unknown_name("part", part, ("train", "valid", "test", "all"), where="files")
        if "all" in self.files:
            if len(self.files) > 1:
                raise ConfigError("files has 'all' beside other parts; give one or the other.")
            return  # which parts that file holds is known when it is read
        present = set(self.files)
        if self.carve is not None:
            if self.carve.source not in present or self.carve.part in present:
                raise ConfigError(
                    f"carve makes '{self.carve.part}' from '{self.carve.source}', but files holds "
                    f"{', '.join(sorted(present))}; the source must be a file and the part not."
                )
            present.add(self.carve.part)
        missing = {"train", "valid", "test"} - present
        if missing:
            raise ConfigError(
                f"files lacks {', '.join(sorted(missing))}; add the file, or carve train or valid "
                f"from the other. The test part is never carved."
            )

    def _check_simulated(self) -> None:
        """Check the name of the simulated task and that its sequences can hold it."""
        if self.simulated is None:
            raise ConfigError(
                f"simulated is missing; choose one of {', '.join(sorted(SIMULATED_TASKS))}."
            )
        if self.simulated not in SIMULATED_TASKS:
            raise unknown_name("simulated task", self.simulated, SIMULATED_TASKS)
        shortest = SIMULATED_TASKS[self.simulated].minimum_length
        if self.length < shortest:
            raise ConfigError(
                f"length is {self.length}; the simulated task '{self.simulated}' needs {shortest} "
                f"bases or more."
            )


def load_card(name_or_path: str | Path, *, beside: Path | None = None) -> TaskCard:
    """Read and check a task card.

    Args:
        name_or_path: A shipped name such as ``"heldout_mlm"``, or the path of a YAML file.
        beside: A folder in which a relative path is tried first.

    Raises:
        ConfigError: If there is no such card, or something in it is not allowed; the message
            names file and key.
    """
    path = catalog.resolve("task", name_or_path, beside=beside)
    content = load_yaml(path)
    if "folder" in content:
        raise ConfigError(f"{path}: key 'folder' is set when the card is read; leave it out.")
    for key in ("name", "kind", "title"):
        if key not in content:
            raise ConfigError(f"{path}: key '{key}' is missing; every task card has one.")
    return build(TaskCard, {**content, "folder": str(path.parent)}, where=str(path))


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


def _task_names(content: Mapping[str, Any], path: Path) -> list[str]:
    """Return the entries of a suite's task list, or refuse it."""
    tasks = content.get("tasks")
    if not isinstance(tasks, list) or not tasks or not all(isinstance(t, str) for t in tasks):
        raise ConfigError(
            f"{path}: key 'tasks' holds {tasks!r}; expected a list of one or more card names or "
            f"paths."
        )
    return tasks


def _check_list(field: str, values: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    """Refuse an empty list, an unknown name and a repeated one."""
    if not values:
        raise ConfigError(f"{field} is empty; allowed: {', '.join(allowed)}.")
    for value in values:
        if value not in allowed:
            raise unknown_name(field.removesuffix("s"), value, allowed, where=field)
        if values.count(value) > 1:
            raise ConfigError(f"{field} holds '{value}' twice; name each once.")

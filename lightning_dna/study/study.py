"""A study: a recipe with its genome opened, its task cards read, and its cells listed.

A cell is one arm with one seed, or one baseline. Its folder is named by a hash of everything that
decides its result: the resolved settings and the digest of the sequence, never a path or a clock.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning_dna
from lightning_dna import atomic, catalog, settings
from lightning_dna.data.source import open_genome, resolve_split
from lightning_dna.errors import ConfigError, ResultsError, unknown_name
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.study.canary_views import group_names
from lightning_dna.study.changed import difference
from lightning_dna.study.data_files import with_data_files
from lightning_dna.study.kfold import check_folds
from lightning_dna.study.model_source import PretrainedSource, with_places
from lightning_dna.study.recipe import Arm, Recipe, load_recipe, parse_recipe, resolve_arms
from lightning_dna.study.recipe_sections import ComparisonConfig
from lightning_dna.study.tuned import check_tuned
from lightning_dna.study.views import compared_metrics, planned_pairs
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.suites import available, load_suites
from lightning_dna.training.config import RunConfig, deciding_settings

FORMAT = 1
# What may lie in a results folder before the study: a run's weights as a checkpoint, and a suite.
PREPARED = (CHECKPOINT, SUITES) = ("checkpoint", "suites")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One arm with one seed, and in a study over folds with one of them."""

    arm: Arm
    seed: int
    run: RunConfig
    run_id: str
    fold: int | None = None

    @property
    def name(self) -> str:
        """Arm and seed, and the fold if there are any, for people."""
        ending = "" if self.fold is None else f"/fold{self.fold}"
        return f"{self.arm.name}/{self.seed}{ending}"


@dataclass(frozen=True, kw_only=True)
class Study:
    """A recipe, resolved against its genome and its suite.

    Attributes:
        name: The recipe's file name without its ending.
        recipe: The declared question, arms and comparisons.
        content: The recipe as read, overrides included: what is recorded and what a worker starts
            from.
        arms: Arm name to resolved arm, in the recipe's order.
        cards: The suite's task cards.
        genome: The genome that every arm is trained and scored on.
        split: Its chromosomes for training, validation and test.
        skipped: A sentence on each task of the suite that is left out.
    """

    name: str
    recipe: Recipe
    content: Mapping[str, Any]
    arms: Mapping[str, Arm]
    cards: tuple[TaskCard, ...]
    genome: Genome
    split: ChromosomeSplit
    skipped: tuple[str, ...] = ()

    @property
    def baseline(self) -> Arm:
        """The arm that every other is compared with."""
        return self.arms[self.recipe.baseline]

    @property
    def trained(self) -> list[Arm]:
        """The arms that are trained here; the others are checkpoints."""
        return [arm for arm in self.arms.values() if arm.source is None]

    @property
    def tasks_root(self) -> Path | None:
        """The folder in which task files are looked up first."""
        return _folder(self.recipe.tasks_root)

    @property
    def trainings(self) -> int:
        """Number of trainings of each arm: seeds times folds."""
        return len(self.recipe.seeds) * (self.recipe.folds or 1)

    def cells(self) -> list[Cell]:
        """List all cells, seed by seed: an interrupted study has every arm of its first seeds."""
        folds = [None] if self.recipe.folds is None else [*range(self.recipe.folds)]
        return [
            self.cell(arm, seed, fold)
            for seed in self.recipe.seeds
            for fold in folds
            for arm in self.arms.values()
        ]

    def at_fold(self, fold: int) -> "Study":
        """Return one fold of a study over folds as a study of its own."""
        arms = {name: _at_fold(arm, fold) for name, arm in self.arms.items()}
        data = arms[self.recipe.baseline].settings.data
        split = resolve_split(data, self.genome)
        return replace(self, recipe=replace(self.recipe, folds=None), arms=arms, split=split)

    def cell(self, arm: Arm, seed: int, fold: int | None = None) -> Cell:
        """Return the cell of one arm and seed, and of one fold."""
        arm = arm if fold is None else _at_fold(arm, fold)
        run = arm.settings.run(seed)
        digest = self.genome.digest
        name = (
            run_id(run, digest) if arm.source is None else checkpoint_id(arm.source, seed, digest)
        )
        return Cell(arm=arm, seed=seed, run=run, run_id=name, fold=fold)


def _at_fold(arm: Arm, fold: int) -> Arm:
    """Return an arm whose split holds out another fold."""
    data = arm.settings.data
    data = replace(data, split=replace(data.split, fold=fold))
    return replace(arm, settings=replace(arm.settings, data=data))


def checkpoint_id(source: PretrainedSource, seed: int, genome_digest: str) -> str:
    """Hash what decides a checkpoint and what is made of it, wherever its files lie."""
    content = {"format": FORMAT, "genome": genome_digest, "seed": seed}
    return settings.fingerprint({**content, "pretrained": source.identity})


def run_id(run: RunConfig, genome_digest: str) -> str:
    """Hash what decides the trained weights: resolved settings, seed, digest of the sequence."""
    content = deciding_settings(run)
    return settings.fingerprint({"format": FORMAT, "genome": genome_digest, "run": content})


def load_study(recipe: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Resolve a recipe by name or path.

    Args:
        recipe: A shipped name or the path of a YAML file.
        overrides: ``"key.subkey=value"`` texts laid over the file.

    Raises:
        ConfigError: On anything wrong in the recipe, its suite or its task cards.
        DataError: If the genome cannot be used.
    """
    path = catalog.resolve("recipe", recipe)
    _, content = load_recipe(path, overrides)
    return resolve_study(path.stem, _with_absolute_paths(content, path.parent), where=path.name)


def open_study(folder: Path) -> Study:
    """Resolve the study that a results folder was made from.

    Raises:
        ResultsError: If the folder is not a results folder, or another version wrote it.
    """
    record = read_record(folder)
    return resolve_study(record["name"], record["content"], where=str(folder / "study.json"))


def read_record(folder: Path) -> dict[str, Any]:
    """Read what a results folder says it is.

    Raises:
        ResultsError: If the folder is not a results folder, or another version wrote it.
    """
    path = folder / "study.json"
    if not path.is_file():
        raise ResultsError(
            f"{folder} is not a results folder: it has no study.json; give the folder that"
            " `lightning-dna run --out` wrote."
        )
    record = atomic.read_json(path)
    if record.get("format") != FORMAT:
        raise ResultsError(
            f"{path} has format {record.get('format')!r} (lightning_dna"
            f" {record.get('version', 'unknown')}); this version reads format {FORMAT}. Use the"
            " version that wrote it, or run into a new --out folder."
        )
    for key, kind in (("name", str), ("content", dict), ("runs", dict)):
        if not isinstance(record.get(key), kind):
            raise ResultsError(
                f"{path} is damaged: key '{key}' is missing or of the wrong type; repeat the `run`"
                " command into a new --out folder."
            )
    return record


def record_study(study: Study, folder: Path) -> None:
    """Write what this results folder is, or check that it is the same study.

    A folder may grow: a study with the same arms and more of them, or more seeds, goes on in it.
    When it was begun, and how arms were to be compared then, stays on record.

    Raises:
        ResultsError: If the folder holds another recipe, or cannot be written to.
    """
    before: dict[str, Any] = {}
    if (folder / "study.json").is_file():
        before = read_record(folder)
        refuse_other_study(study, before, folder)
    elif folder.is_dir() and not all(
        atomic.is_partial(path) or path.name in PREPARED for path in folder.iterdir()
    ):
        raise ResultsError(
            f"{folder} is not empty and holds no study.json; choose a new or empty --out folder."
        )
    declared = settings.plain(study.recipe.comparison)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = {
        "format": FORMAT,
        "version": lightning_dna.__version__,
        "name": study.name,
        "content": dict(study.content),
        "runs": {cell.name: cell.run_id for cell in study.cells()},
        "created": before.get("created", now),
        "declared": before.get("declared", declared),
    }
    if record != before:
        atomic.write_json(folder / "study.json", record)


def refuse_other_study(study: Study, record: Mapping[str, Any], folder: Path) -> None:
    """Refuse a folder whose cells are not among this study's, and say which and what stays valid.

    Args:
        study: The study.
        record: What :func:`read_record` returned.
        folder: The results folder, for the message.

    Raises:
        ResultsError: If a cell of the folder is another one now, or gone.
    """
    runs = {cell.name: cell.run_id for cell in study.cells()}
    what = difference(record, runs, study.content)
    if record["name"] == study.name and not what:
        return
    name = record["name"]
    holds = "from another recipe" if name == study.name else f"not this '{study.name}'"
    raise ResultsError(
        f"{folder} holds the study '{name}', {holds}: {what or 'its name differs'}. Choose"
        " another --out folder, or repeat the command with the recipe and --set values it was made"
        " with (arms and seeds may be added, not changed: give a changed arm a name of its own)."
    )


def resolve_study(name: str, content: Mapping[str, Any], *, where: str) -> Study:
    """Resolve arms, genome, split and cards of a recipe's content.

    Args:
        name: Name of the study.
        content: The recipe, as it is read from a file; paths are absolute.
        where: What messages call it.

    Raises:
        ConfigError: On anything wrong in the recipe, its suites or its task cards.
        DataError: If the genome cannot be used.
    """
    recipe = parse_recipe(content, where=where)
    arms = resolve_arms(recipe, where=where)
    check_tuned(recipe.tuned, arms, where=where)
    data = arms[recipe.baseline].settings.data
    suite = [recipe.tasks.of(card) for card in load_suites(recipe.suites)]
    recipe = _without_default_plan(recipe, suite)
    chosen, skipped = available(suite, _folder(recipe.tasks_root), recipe.suite_missing)
    cards = [view for card in chosen for view in recipe.tasks.views(card)]
    if recipe.folds is not None:
        check_folds(cards, data)
    # A plan may name a task that is left out; the report says that its row could not be made.
    declared = {view.name: view for card in (*suite, *chosen) for view in recipe.tasks.views(card)}
    _check_against_cards(recipe, arms, tuple(declared.values()), where=where)
    genome = open_genome(data)
    split = resolve_split(data, genome)
    return Study(
        name=name,
        recipe=recipe,
        content=content,
        arms=arms,
        cards=tuple(cards),
        genome=genome,
        split=split,
        skipped=skipped,
    )


def _without_default_plan(recipe: Recipe, suite: Sequence[TaskCard]) -> Recipe:
    """Plan nothing where a recipe declares no plan and its suite has not the task of the default.

    A plan that a recipe declares itself is checked against the suite instead.
    """
    default = ComparisonConfig().planned
    named = {row.partition(":")[0].partition("/")[0] for row in default}
    if recipe.comparison.planned != default or named <= {card.name for card in suite}:
        return recipe
    return replace(recipe, comparison=replace(recipe.comparison, planned=()))


def _folder(name: str | None) -> Path | None:
    """Return a folder as a path; nothing, or an empty name, is none."""
    return Path(name) if name else None


def _check_against_cards(
    recipe: Recipe, arms: Mapping[str, Arm], cards: Sequence[TaskCard], *, where: str
) -> None:
    """Check what the recipe says about its suite, before anything runs.

    Raises:
        ConfigError: If a planned comparison or a margin names what the suite does not measure, or
            an arm has the name of a baseline of a task.
    """
    data = arms[recipe.baseline].settings.data
    annotated = any(one.annotation is not None for one in data.members.values())
    measured = compared_metrics(
        cards, annotated=annotated, genomes=data.genomes, canaries=group_names(arms)
    )
    place = f"{where}: comparison.planned"
    for row in recipe.comparison.planned:
        if "*" in row and not planned_pairs([row], measured):
            raise ConfigError(
                f"{place}: '{row}' fits nothing that the suite measures: "
                f"{', '.join(f'{task}:{metrics[0]}' for task, metrics in measured.items())}."
            )
    for task, metric in planned_pairs(recipe.comparison.planned, measured):
        if task not in measured:
            raise unknown_name("task", task, measured, where=place)
        if metric not in measured[task]:
            raise unknown_name("metric", metric, measured[task], where=f"{place}, task '{task}'")
    metrics = {metric for names in measured.values() for metric in names}
    for metric in recipe.comparison.margins:
        if metric not in metrics:
            raise unknown_name("metric", metric, metrics, where=f"{where}: comparison.margins")
    for card in cards:
        for name in card.baselines:
            if name in arms:
                raise ConfigError(
                    f"{where}: arm '{name}' has the name of a baseline of task '{card.name}', and "
                    "their scores could not be told apart; rename the arm."
                )


def _with_absolute_paths(content: Mapping[str, Any], beside: Path) -> dict[str, Any]:
    """Write the paths in a recipe as absolute: a worker started elsewhere finds the same files.

    A relative path is looked up in the current folder first, then beside the recipe.
    """

    def absolute(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        here = Path(value).expanduser()
        for candidate in (here, beside / here):
            if candidate.exists():
                return os.path.abspath(candidate)  # noqa: PTH100 - links stay as the user wrote them
        return value

    fixed = with_places(with_data_files(content, absolute), absolute)
    if "tasks_root" in fixed:
        fixed["tasks_root"] = absolute(fixed["tasks_root"])
    if isinstance(suites := fixed.get("suite"), list):
        fixed["suite"] = [_placed_suite(suite, absolute) for suite in suites]
    elif suites is not None:
        fixed["suite"] = _placed_suite(suites, absolute)
    return fixed


def _placed_suite(suite: Any, absolute: Callable[[Any], Any]) -> Any:
    """Write a suite's path as absolute; a shipped name stays a name."""
    is_path = "/" in str(suite) or str(suite).endswith((".yaml", ".yml"))
    return absolute(suite) if is_path else suite

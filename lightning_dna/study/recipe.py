"""A recipe: the YAML file in which a question, its arms and its planned comparisons are declared.

Everything that decides a result is declared here before anything runs. An arm states only what it
changes; the resolved settings of every arm are ``shared`` with the arm's changes laid over them.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lightning_dna import settings
from lightning_dna.data.config import DataConfig
from lightning_dna.data.tokenization import file_of, in_file
from lightning_dna.errors import ConfigError, unknown_name
from lightning_dna.models.config import ModelConfig
from lightning_dna.study.factors import expand_factors
from lightning_dna.study.kfold import with_folds
from lightning_dna.study.matching import MatchConfig, match_arms
from lightning_dna.study.model_source import PretrainedSource, resolve_model, with_vocabulary
from lightning_dna.study.recipe_sections import ComparisonConfig, TuneConfig, TunedConfig
from lightning_dna.tasks.suites import Missing, TaskChanges
from lightning_dna.training.config import (
    BudgetConfig,
    FineTuneConfig,
    LengthScheduleConfig,
    OptimizerConfig,
    RunConfig,
    TrainerConfig,
)


@dataclass(frozen=True, kw_only=True)
class ArmSettings:
    """Everything that an arm may change, resolved."""

    data: DataConfig
    model: ModelConfig
    budget: BudgetConfig
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    length_schedule: LengthScheduleConfig = field(default_factory=LengthScheduleConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    finetune: FineTuneConfig = field(default_factory=FineTuneConfig)

    def __post_init__(self) -> None:
        """Check what only the parts together can tell, which the run itself does."""
        self.run(0)

    def run(self, seed: int) -> RunConfig:
        """Return the pretraining run of this arm for one seed."""
        return RunConfig(
            data=self.data,
            model=self.model,
            budget=self.budget,
            optimizer=self.optimizer,
            length_schedule=self.length_schedule,
            trainer=self.trainer,
            seed=seed,
        )


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings(ArmSettings):
    """Settings of an arm that is a checkpoint.

    Nothing is trained, so windows, which are counted in bases, need not fit its tokens.
    """

    def run(self, seed: int) -> RunConfig:
        """Return what a training of this shape would be; it is never run."""
        data = dataclasses.replace(self.data, length=min(self.data.length, self.model.max_length))
        return RunConfig(
            data=data, model=self.model, budget=self.budget, trainer=self.trainer, seed=seed
        )


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm: its name, what it changes (by dotted key), and its resolved settings.

    ``matched`` says what was done to it to match its size, if anything. ``source`` is the
    checkpoint that it is, if it is one: then it is not trained.
    """

    name: str
    changes: dict[str, Any]
    settings: ArmSettings
    matched: str = ""
    source: PretrainedSource | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The top level of a recipe file, before arms are resolved.

    Attributes:
        question: The question in a sentence.
        baseline: The arm that every other is compared with.
        suite: Suite of tasks by name or path, or a list of suites: the tasks of all.
        tasks_root: Folder in which the suite's task files are looked up.
        suite_missing: What becomes of tasks whose files are missing: stop, skip, or carve.
        tasks: What is changed on every labelled card of the suite, for example ``max_train``.
        seeds: Training seeds; every arm gets all of them.
        folds: k-fold over chromosomes, 3 or more: each arm is trained without each group of
            chromosomes in turn, and every chromosome is held out once.
        shared: Settings that every arm gets.
        arms: Arm name to the settings it changes.
        factors: Instead of ``arms``: factor name to its levels, expanded to arms.
        expansion: Every combination of the factors, or one factor at a time around their first
            levels.
        unequal_budgets: Whether arms may differ in ``budget.tokens``, as when training time itself
            is what is compared; the report says so.
        match: What sizes of arms have in common: ``parameters``, ``flops``, or a mapping.
        comparison: How arms are compared.
        tune: The search of ``lightning-dna tune``.
        tuned: By arm, the settings that a search chose, which `tune` writes and the report tells.
    """

    question: str
    baseline: str
    suite: str | tuple[str, ...] = "core"
    tasks_root: str | None = None
    suite_missing: Missing = "stop"
    tasks: TaskChanges = field(default_factory=TaskChanges)
    seeds: tuple[int, ...] = (0, 1, 2)
    folds: int | None = None
    shared: dict[str, Any] = field(default_factory=dict)
    arms: dict[str, dict[str, Any]] | None = None
    factors: dict[str, Any] | None = None
    expansion: Literal["factorial", "one_factor_at_a_time"] = "factorial"
    unequal_budgets: bool = False
    match: MatchConfig = field(default_factory=MatchConfig)
    comparison: ComparisonConfig = field(default_factory=ComparisonConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)
    tuned: dict[str, TunedConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what can be checked without resolving arms."""
        if (self.arms is None) == (self.factors is None):
            raise ConfigError("a recipe declares either 'arms' or 'factors', and not both.")
        if not self.suites or len(set(self.suites)) < len(self.suites):
            raise ConfigError(f"suite is {self.suite!r}; expected one suite or more, each once.")
        if not self.seeds:
            raise ConfigError(
                "seeds is empty; give at least one, and two or more for scope procedure."
            )
        if len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"seeds {list(self.seeds)} repeats a seed; each trains one model.")
        if any(seed < 0 for seed in self.seeds):
            raise ConfigError(f"seeds {list(self.seeds)} holds a negative seed; use 0 or more.")
        if len(self.seeds) == 1 and self.comparison.scope == "procedure":
            raise ConfigError(
                "one seed cannot say anything about the training procedure: give two or more seeds,"
                " or set comparison.scope: checkpoint to compare these trained weights only."
            )

    @property
    def suites(self) -> tuple[str, ...]:
        """The suites, also where it is only one."""
        return (self.suite,) if isinstance(self.suite, str) else self.suite


_ARM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+.=,-]*")
_TOP_LEVEL = frozenset(field.name for field in dataclasses.fields(Recipe))
_SECTIONS = frozenset(field.name for field in dataclasses.fields(ArmSettings))


def override(content: Mapping[str, Any], overrides: Sequence[str], *, where: str) -> dict[str, Any]:
    """Lay dotted overrides over a recipe's content.

    A key that begins with a section (``data``, ``model``, ...) reaches ``shared``; one that begins
    with a top-level key of the recipe (``seeds``, ``arms``, ``comparison``, ...) reaches that.

    Example:
        >>> override({"shared": {}}, ["data.length=256", "seeds=[0]"], where="x.yaml")
        {'shared': {'data': {'length': 256}}, 'seeds': [0]}

    Raises:
        ConfigError: If a key begins with neither, or with an arm that the recipe does not have.
    """
    merged = dict(content)
    for text in overrides:
        keys, value = settings.parse_dotted(text)
        if keys[0] in _SECTIONS:
            keys = ["shared", *keys]
        elif keys[0] not in _TOP_LEVEL:
            raise unknown_name(
                "key", keys[0], _TOP_LEVEL | _SECTIONS, where=f"{where}: --set {text}"
            )
        known = merged.get("arms")
        if keys[0] == "arms" and len(keys) > 1 and isinstance(known, Mapping):
            names = {str(name): name for name in known}
            if keys[1] not in names:
                raise unknown_name("arm", keys[1], names, where=f"{where}: --set {text}")
        merged = settings.assign(merged, keys, value)
    return merged


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> tuple[Recipe, dict[str, Any]]:
    """Read and check a recipe file.

    Args:
        path: The YAML file.
        overrides: ``"key.subkey=value"`` texts laid over the file.

    Returns:
        The recipe, and the content it came from (file plus overrides) for the record.

    Raises:
        ConfigError: On anything wrong in the file or the overrides.
    """
    content = override(settings.load_yaml(path), overrides, where=path.name)
    return parse_recipe(content, where=path.name), content


def parse_recipe(content: Mapping[str, Any], *, where: str) -> Recipe:
    """Check the content of a recipe; ``where`` names it in messages."""
    for key in ("question", "baseline"):
        if key not in content:
            raise ConfigError(f"{where}: key '{key}' is missing; every recipe declares it.")
    # What is left empty is written `{}` or as nothing, which YAML reads as null.
    content = {**content, "shared": content.get("shared") or {}}
    if not isinstance(content.get("match", {}), Mapping):  # `match: flops`, or nothing
        content["match"] = {"by": content["match"] or "none"}
    arms = content.get("arms")
    if isinstance(arms, Mapping):
        content["arms"] = {name: _changes(name, arms[name], where=where) for name in arms}
    return settings.build(Recipe, content, where=where)


def _changes(name: Any, changes: Any, *, where: str) -> Any:
    """Check the name of one arm and return its changes as a mapping."""
    # Names stand in paths, file names and table columns; `on` and `1` are not text in YAML.
    if not isinstance(name, str) or not _ARM_NAME.fullmatch(name):
        raise ConfigError(
            f"{where}: {name!r} is not allowed as the name of an arm; write a text of letters, "
            "digits and any of _ - + . = , beginning with a letter or digit (in quotes where it "
            "looks like a number or like on, off, yes, no)."
        )
    if changes is not None and not isinstance(changes, Mapping):
        raise ConfigError(
            f"{where}: arm '{name}' holds {changes!r}; expected the settings that it changes, or "
            "{} for none."
        )
    return changes or {}


def resolve_arms(recipe: Recipe, *, where: str) -> dict[str, Arm]:
    """Resolve every arm's settings.

    Raises:
        ConfigError: If an arm is inconsistent, two arms are the same, the baseline is not an arm,
            or arms would not be scored on the same held-out sequence.
    """
    changes_by_arm = recipe.arms
    if changes_by_arm is None:
        changes_by_arm = expand_factors(recipe.factors or {}, recipe.expansion, where=where)
    if not changes_by_arm:
        raise ConfigError(f"{where}: no arms; declare at least the baseline and one other.")
    if recipe.baseline not in changes_by_arm:
        raise unknown_name("baseline arm", recipe.baseline, changes_by_arm, where=where)
    shared = recipe.shared if recipe.folds is None else with_folds(recipe.shared, recipe.folds)
    arms = {}
    for name, changes in changes_by_arm.items():
        place = f"{where}: arm '{name}'"
        merged, source = resolve_model(shared, changes, where=place)
        kind = ArmSettings if source is None else CheckpointSettings
        merged = merged if source is not None else with_vocabulary(merged, where=place)
        resolved = settings.build(kind, merged, where=place)
        shown = settings.flatten(changes)
        if source is not None:  # where it lies is this machine's affair
            shown["model.pretrained"] = f"{source.folder.name} ({source.digest[:12]})"
        vocabulary = file_of(str(shown.get("data.tokenizer")))
        if vocabulary:
            shown["data.tokenizer"] = in_file(Path(vocabulary).name)
        arms[name] = Arm(name=name, changes=shown, settings=resolved, source=source)
    arms = match_arms(arms, recipe.match, recipe.baseline, where=where)
    _check_arms_differ(arms, where=where)
    _check_same_ground(arms, recipe.baseline, where=where, unequal_budgets=recipe.unequal_budgets)
    return arms


def _check_arms_differ(arms: Mapping[str, Arm], *, where: str) -> None:
    """Refuse two arms with the same settings: their comparison would be a tautology."""
    seen: dict[str, str] = {}
    for name, arm in arms.items():
        plain = settings.plain(arm.settings)
        # `position: null` is the scheme that the mixer implies, and no other model than naming it.
        plain["model"]["position"] = arm.settings.model.position_scheme
        plain["source"] = None if arm.source is None else arm.source.identity
        mark = settings.fingerprint(plain)
        if mark in seen:
            raise ConfigError(
                f"{where}: arms '{seen[mark]}' and '{name}' resolve to the same settings; "
                "change one of them or leave it out."
            )
        seen[mark] = name


def _check_same_ground(
    arms: Mapping[str, Arm], baseline: str, *, where: str, unequal_budgets: bool
) -> None:
    """Refuse arms whose genome or split differs from the baseline's, or their token budget."""
    reference = arms[baseline].settings
    ground = _ground(reference)
    for name, arm in arms.items():
        other = arm.settings
        mine = _ground(other)
        different = [
            key for key in dict.fromkeys([*ground, *mine]) if ground.get(key) != mine.get(key)
        ]
        spent, theirs = (_tokens_spent(one.budget) for one in (other, reference))
        if unequal_budgets:
            different = [key for key in different if key != "budget.tokens"]
        elif spent != theirs and not different:
            raise ConfigError(
                f"{where}: arm '{name}' spends {spent} tokens in whole steps of "
                f"{other.budget.tokens_per_step}, the baseline {theirs}; choose a budget.tokens "
                "that both budget.tokens_per_step divide."
            )
        if different:
            raise ConfigError(
                f"{where}: arm '{name}' changes {', '.join(different)}; all arms are trained for"
                " the same tokens and scored on the same held-out chromosomes, so these belong"
                " under 'shared' (or declare `unequal_budgets: true` where training time is what is"
                " compared)."
            )


def _ground(one: ArmSettings) -> dict[str, Any]:
    """Return what all arms have in common, by dotted key; weights of genomes may differ."""
    found: dict[str, Any] = {}
    for name, member in one.data.members.items():
        place = f"data.genomes.{name}" if name else "data"
        for key in ("genome", "split", "repeat_bed", "annotation"):
            found[f"{place}.{key}"] = getattr(member, key)
    found["data.simulation"] = one.data.simulation
    return found | {"budget.tokens": one.budget.tokens}


def _tokens_spent(budget: BudgetConfig) -> int:
    """Return the tokens of the whole steps that a budget pays for."""
    return budget.steps * budget.tokens_per_step

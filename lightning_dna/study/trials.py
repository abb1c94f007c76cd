"""One trial of a search: a slot that is claimed, a setting that is drawn, a training, a verdict.

Every arm has as many slots as the recipe gives it trials, and a slot is a cell of the ledger: any
number of runners may work on one search, a slot is done once, and one whose runner died is taken
over with its setting and its resume point. So every arm gets exactly its budget.
"""

import itertools
import math
import shutil
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from lightning_dna import atomic, settings
from lightning_dna.errors import ConfigError, LightningDNAError
from lightning_dna.study.ranges import suggest
from lightning_dna.study.recipe import Arm, ArmSettings
from lightning_dna.study.recipe_sections import TuneConfig
from lightning_dna.training.config import BudgetConfig, RunConfig
from lightning_dna.training.run import fit

RESULT = "result.json"
_TRIAL, _TRAINING = "trial.json", "training"
_ENDINGS = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "fail"}


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One place in an arm's budget.

    Attributes:
        arm: The arm.
        index: Which of its trials, from 0.
        config: The search.
        seed: Seed of the training.
        folder: The slot's own folder.
    """

    arm: Arm
    index: int
    config: TuneConfig
    seed: int
    folder: Path


def run_slot(slot: Slot, search: optuna.Study, progress: bool = False) -> None:
    """Do the trial of a slot, or what is left of it, and write its result.

    A setting with which training fails (it diverges, it does not fit) is a result and counts.

    Raises:
        UnwritableError: If the folder cannot be written to.
    """
    trial, params = _open_trial(slot, search)
    frozen = search.get_trials(deepcopy=False)[trial.number]
    if frozen.state.is_finished():  # a kill came between the verdict and its writing
        _write(slot, frozen, params, "")
        return
    value, state, failure = math.nan, TrialState.FAIL, ""
    try:
        value, state = _objective(slot, trial, params, progress=progress)
        if math.isnan(value) and state is TrialState.COMPLETE:
            state, failure = TrialState.FAIL, "the validation loss is not a number"
    except atomic.UnwritableError:
        raise
    except LightningDNAError as error:
        failure = str(error)
    _tell(search, trial, value if state is TrialState.COMPLETE else None, state)
    _write(slot, search.get_trials(deepcopy=False)[trial.number], params, failure)
    shutil.rmtree(slot.folder / _TRAINING, ignore_errors=True)


def _open_trial(slot: Slot, search: optuna.Study) -> tuple[optuna.Trial, dict[str, Any]]:
    """Draw the slot's setting, or go on with the one that was drawn."""
    path = slot.folder / _TRIAL
    if path.is_file():
        record = atomic.read_json(path)
        number = record["number"]
        trials = search.get_trials(deepcopy=False)
        # Begun with another --storage, the number may be that of another trial in this one.
        if [trial.params for trial in trials[number : number + 1]] == [record["params"]]:
            return optuna.Trial(search, trials[number]._trial_id), record["params"]
    search.sampler = sampler(slot.config, slot.index)
    trial = search.ask()
    current = settings.flatten(settings.plain(slot.arm.settings))
    params = {
        key: suggest(trial, key, range_, current=current.get(key))
        for key, range_ in slot.config.space.items()
    }
    atomic.write_json(path, {"number": trial.number, "params": params, "begun": time.time()})
    return trial, params


def _objective(
    slot: Slot, trial: optuna.Trial, params: Mapping[str, Any], *, progress: bool
) -> tuple[float, TrialState]:
    """Train one trial on its share of the budget; returns validation bits per base and state."""
    tried = settings_with(slot.arm, params)
    budget = trial_budget(tried.budget, slot.config)
    run: RunConfig = replace(tried.run(slot.seed), budget=budget)

    def report(step: int, metrics: Mapping[str, float]) -> None:
        with warnings.catch_warnings():
            # A trial that goes on after a kill says again what it said before.
            warnings.filterwarnings("ignore", message="The reported value is ignored")
            trial.report(metrics["valid_loss"] / math.log(2), step)
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        checkpoint = fit(run, slot.folder / _TRAINING, progress=progress, on_validation=report)
    except optuna.TrialPruned:
        return math.nan, TrialState.PRUNED
    return float(checkpoint.record["valid_loss"]) / math.log(2), TrialState.COMPLETE


def trial_budget(budget: BudgetConfig, config: TuneConfig) -> BudgetConfig:
    """Return what one trial spends of the budget of its arm; a step at the least."""
    share = int(budget.tokens * config.budget_fraction)
    return replace(budget, tokens=max(share, budget.tokens_per_step))


def _tell(
    search: optuna.Study, trial: optuna.Trial, value: float | None, state: TrialState
) -> None:
    """Tell Optuna the verdict; it warns where a pruned trial never reported, which is no news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.tell(trial.number, values=value, state=state)


def _write(slot: Slot, frozen: FrozenTrial, params: Mapping[str, Any], failure: str) -> None:
    """Write the slot's result, by which the slot is done."""
    begun = atomic.read_json(slot.folder / _TRIAL).get("begun", time.time())
    complete = frozen.state is TrialState.COMPLETE
    content = {
        "arm": slot.arm.name,
        "trial": slot.index,
        "state": _ENDINGS[frozen.state],
        "valid_bits_per_base": frozen.value if complete else None,
        "last_step": frozen.last_step,
        "seconds": time.time() - begun,
        "failure": failure or None,
        "params": dict(params),
    }
    atomic.write_json(slot.folder / RESULT, content)


def settings_with(arm: Arm, chosen: Mapping[str, Any]) -> ArmSettings:
    """Lay chosen values over an arm's settings.

    Raises:
        ConfigError: If a key is unknown or the settings do not take a value.
    """
    plain = settings.plain(arm.settings)
    for key, value in chosen.items():
        plain = settings.assign(plain, key.split("."), value)
    return settings.build(ArmSettings, plain, where=f"tune.space for arm '{arm.name}'")


def sampler(config: TuneConfig, place: int) -> optuna.samplers.BaseSampler:
    """Return the declared sampler, seeded for the trial at one place of an arm's search.

    A fresh one for each trial: a resumed search draws what an uninterrupted one would have drawn,
    and the first trials of all arms are the same. With several runners at once, ``tpe`` and
    ``cma-es`` know what was finished when they draw, which depends on who was fast.
    """
    seed = int(np.random.SeedSequence([config.seed, place]).generate_state(1)[0])
    random = optuna.samplers.RandomSampler(seed=seed)
    random_first = min(10, max(3, config.trials // 2))
    if config.sampler == "grid":
        return _Point(grid(config)[place])
    if config.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=random_first)
    if config.sampler == "cma-es":
        try:
            return optuna.samplers.CmaEsSampler(
                seed=seed, n_startup_trials=random_first, warn_independent_sampling=False
            )
        except ImportError as error:
            raise ConfigError(
                "tune.sampler is 'cma-es', but the package cmaes is not installed; install "
                "lightning-dna[tune], or use tpe, random or grid."
            ) from error
    return random


class _Point(optuna.samplers.BaseSampler):
    """Draws one point of a grid, whose place the slot knows; Optuna's own would look for one."""

    def __init__(self, point: Mapping[str, Any]) -> None:
        self.point = point

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return no settings that are drawn together."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return no settings."""
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the point's value of a setting."""
        return self.point[param_name]


def grid(config: TuneConfig) -> list[dict[str, Any]]:
    """Return every combination of a space of choices, the last key changing fastest.

    Raises:
        ConfigError: If a range is not a list of choices, or the trials are not as many.
    """
    for key, range_ in config.space.items():
        if "choices" not in range_:
            raise ConfigError(
                f"tune.space.{key} is a range, and tune.sampler 'grid' tries every value; give "
                "choices, or another sampler."
            )
    values = [range_["choices"] for range_ in config.space.values()]
    points = [dict(zip(config.space, point, strict=True)) for point in itertools.product(*values)]
    if config.trials != len(points):
        raise ConfigError(
            f"tune.trials is {config.trials}, and the grid has {len(points)} points; "
            f"set tune.trials={len(points)}."
        )
    return points


def pruner(config: TuneConfig) -> optuna.pruners.BasePruner:
    """Return the declared pruner, which stops trials without hope; they count as spent."""
    if config.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=3)
    if config.pruner == "successive-halving":
        return optuna.pruners.SuccessiveHalvingPruner()
    return optuna.pruners.NopPruner()

"""Hyperparameter search with the same space, trials and token budget for every arm.

Validation chromosomes alone decide. The journal can be resumed after a kill, and the whole log of
trials is kept, so that "best of a hundred against one" cannot happen unseen.
"""

import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from lightning_dna import atomic, settings
from lightning_dna.errors import ConfigError
from lightning_dna.study.recipe import Arm, ArmSettings, TuneConfig
from lightning_dna.study.study import Study, record_study
from lightning_dna.training.run import fit

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def tune(study: Study, folder: Path) -> str:
    """Search every arm's settings and write the chosen ones as a recipe.

    Args:
        study: The study whose recipe declares ``tune``.
        folder: Where the journal, ``trials.csv`` and ``tuned.yaml`` go; an earlier search is resumed.

    Returns:
        A table of the best settings by arm, and where the new recipe is.

    Raises:
        ConfigError: If the space names an unknown key or an empty range.
    """
    config = study.recipe.tune
    for (
        arm
    ) in study.arms.values():  # an unknown key fails before the first trial, not after an hour
        _settings_with(arm, {key: _probe(key, range_) for key, range_ in config.space.items()})
    record_study(study, folder)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    best: dict[str, dict[str, Any]] = {}
    frames = []
    for arm in study.arms.values():
        search = optuna.create_study(
            study_name=arm.name,
            storage=storage,
            sampler=_sampler(config),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3)
            if config.pruner == "median"
            else optuna.pruners.NopPruner(),
            direction="minimize",
            load_if_exists=True,
        )
        _abandon_unfinished(search)
        left = config.trials - sum(trial.state in _ENDED for trial in search.trials)
        if left > 0:
            search.optimize(lambda trial, arm=arm: _objective(trial, arm, config, folder), left)  # type: ignore[misc]
        best[arm.name] = dict(search.best_params)
        frames.append(_log(arm, search))
    trials = pd.concat(frames, ignore_index=True)
    atomic.write_text(folder / "trials.csv", trials.to_csv(index=False))
    recipe = _tuned_recipe(study, best)
    atomic.write_text(folder / "tuned.yaml", yaml.safe_dump(recipe, sort_keys=False))
    return f"{_table(trials, best)}\n\ntuned recipe: {folder / 'tuned.yaml'}"


def _sampler(config: TuneConfig) -> optuna.samplers.BaseSampler:
    """Return the declared sampler, seeded."""
    if config.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=config.seed)
    return optuna.samplers.RandomSampler(seed=config.seed)


def _abandon_unfinished(search: optuna.Study) -> None:
    """Mark trials that a kill left running as failed; they do not count against the arm's budget."""
    for trial in search.get_trials(states=(TrialState.RUNNING,)):
        search.tell(trial.number, state=TrialState.FAIL)
        search.enqueue_trial(trial.params, user_attrs={"resumed": trial.number})


def _objective(trial: optuna.Trial, arm: Arm, config: TuneConfig, folder: Path) -> float:
    """Train one trial on its share of the budget; returns the validation loss in bits per base."""
    chosen = {key: _suggest(trial, key, range_) for key, range_ in config.space.items()}
    tried = _settings_with(arm, chosen)
    tokens = max(int(tried.budget.tokens * config.budget_fraction), tried.budget.tokens_per_step)
    run = replace(tried.run(config.seed), budget=replace(tried.budget, tokens=tokens))
    place = folder / "trials" / arm.name / f"{trial.number}"

    def report(step: int, metrics: Mapping[str, float]) -> None:
        trial.report(metrics["valid_loss"] / math.log(2), step)
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        checkpoint = fit(run, place, progress=False, on_validation=report)
    finally:
        shutil.rmtree(place, ignore_errors=True)  # a trial is its number; its weights are not kept
    return float(checkpoint.record["valid_loss"]) / math.log(2)


def _settings_with(arm: Arm, chosen: Mapping[str, Any]) -> ArmSettings:
    """Lay chosen values over an arm's settings."""
    plain = settings.plain(arm.settings)
    for key, value in chosen.items():
        plain = settings.assign(plain, key.split("."), value)
    return settings.build(ArmSettings, plain, where=f"tune.space for arm '{arm.name}'")


def _probe(key: str, range_: Mapping[str, Any]) -> Any:
    """Check one range and return a value from it.

    Raises:
        ConfigError: If the range is empty or of neither form.
    """
    where = f"tune.space.{key}"
    if set(range_) == {"choices"}:
        if not range_["choices"]:
            raise ConfigError(f"{where}: choices is empty; list at least one value.")
        return range_["choices"][0]
    if not {"low", "high"} <= set(range_) <= {"low", "high", "log"}:
        raise ConfigError(
            f"{where} has the keys {sorted(range_)}; give {{low, high}} with an optional log, or"
            " {choices: [...]}."
        )
    low, high = float(range_["low"]), float(range_["high"])
    if not low < high or (range_.get("log") and low <= 0):
        raise ConfigError(
            f"{where} runs from {low} to {high}; low must be below high (log: above 0)."
        )
    return range_["low"]


def _suggest(trial: optuna.Trial, key: str, range_: Mapping[str, Any]) -> Any:
    """Draw one setting from its range."""
    if "choices" in range_:
        return trial.suggest_categorical(key, list(range_["choices"]))
    low, high, log = range_["low"], range_["high"], bool(range_.get("log", False))
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(key, low, high, log=log)
    return trial.suggest_float(key, float(low), float(high), log=log)


def _log(arm: Arm, search: optuna.Study) -> pd.DataFrame:
    """Return every trial of one arm, whatever became of it."""
    rows = [
        {
            "arm": arm.name,
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "valid_bits_per_base": trial.value,
            **trial.params,
        }
        for trial in search.trials
    ]
    return pd.DataFrame(rows)


def _tuned_recipe(study: Study, best: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the recipe with each arm's chosen settings as declared changes of that arm."""
    recipe = {
        key: value for key, value in study.content.items() if key not in ("factors", "expansion")
    }
    recipe["arms"] = {}
    for arm in study.arms.values():
        changes: dict[str, Any] = {}
        for key, value in {**arm.changes, **best[arm.name]}.items():
            changes = settings.assign(changes, key.split("."), value)
        recipe["arms"][arm.name] = changes
    return recipe


def _table(trials: pd.DataFrame, best: Mapping[str, Mapping[str, Any]]) -> str:
    """Return best settings, trials spent and best value by arm."""
    rows = []
    for arm, chosen in best.items():
        mine = trials[trials["arm"] == arm]
        rows.append(
            {
                "arm": arm,
                "trials": len(mine),
                "pruned": int((mine["state"] == "pruned").sum()),
                "valid bits per base": f"{mine['valid_bits_per_base'].min():.4f}",
                **{
                    key: f"{value:.3g}" if isinstance(value, float) else value
                    for key, value in chosen.items()
                },
            }
        )
    return str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))

"""Hyperparameter search with the same space, trials and token budget for every arm.

Validation chromosomes alone decide, and trials are trained with a seed that the study does not use.
The journal can be resumed after a kill, and the whole log of trials is kept, so that "best of a
hundred against one" cannot happen unseen.
"""

import contextlib
import itertools
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import yaml
from filelock import FileLock, Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from lightning_dna import atomic, settings
from lightning_dna.errors import ConfigError, LightningDNAError, ResultsError
from lightning_dna.study.ranges import check_range, examples, suggest
from lightning_dna.study.recipe import Arm, ArmSettings, TuneConfig
from lightning_dna.study.study import Study, record_study
from lightning_dna.training.run import fit

_FAILURE = "failure"  # set on a trial that ran and failed; one that was stopped does not have it


def tune(study: Study, folder: Path) -> str:
    """Search every arm's settings and write the chosen ones as a recipe.

    Args:
        study: The study whose recipe declares ``tune``.
        folder: Where the journal, ``trials.csv`` and ``tuned.yaml`` go; an earlier search is
            resumed.

    Returns:
        A table of the best settings by arm, and where the new recipe is.

    Raises:
        ConfigError: If the space names an unknown key or an empty range, or the split has no
            validation chromosomes.
        ResultsError: If the folder holds another search, another process works on it, it cannot be
            written to, or no trial of an arm could be finished.
    """
    config = study.recipe.tune
    _check(study, config)
    record_study(study, folder)
    with _alone(folder):
        _record_search(config, folder)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
        searches = {}
        for arm in study.trained:
            searches[arm.name] = _search(arm, study, folder, storage)
            frames = [_log(name, search) for name, search in searches.items()]
            trials = pd.concat(frames, ignore_index=True)
            atomic.write_text(folder / "trials.csv", trials.to_csv(index=False))
        best = {name: _best(name, search) for name, search in searches.items()}
        recipe = yaml.safe_dump(_tuned_recipe(study, best), sort_keys=False)
        atomic.write_text(folder / "tuned.yaml", recipe)
        shutil.rmtree(folder / "trials", ignore_errors=True)
    return f"{_table(trials, best)}\n\ntuned recipe: {folder / 'tuned.yaml'}"


def _check(study: Study, config: TuneConfig) -> None:
    """Refuse a search that could not be run, before the first trial and not after an hour."""
    if not study.split.valid:
        raise ConfigError(
            "tuning is decided on validation chromosomes, and the split has none; name some in"
            " data.split.valid or give a valid_fraction."
        )
    for key, range_ in config.space.items():
        check_range(f"tune.space.{key}", range_)
    if not study.trained:
        raise ConfigError("every arm is a checkpoint, and none is trained: nothing can be tuned.")
    for arm in study.trained:
        for key, range_ in config.space.items():
            for value in examples(range_):
                _settings_with(arm, {key: value})


def _record_search(config: TuneConfig, folder: Path) -> None:
    """Write what is searched, or check that it is what was searched so far; trials may be added."""
    now = settings.plain(config)
    del now["trials"]
    path = folder / "tune.json"
    if path.is_file():
        before = atomic.read_json(path)
        changed = sorted(key for key in now if before.get(key) != now[key])
        if changed:
            raise ResultsError(
                f"{folder} holds a search with another tune.{', tune.'.join(changed)}; trials of"
                " both would not be alike. Choose another --out folder (tune.trials alone may be"
                " changed)."
            )
    else:
        atomic.write_json(path, now)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder for this process: two searches would take each other's trials for killed."""
    lock = FileLock(folder / "tune.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ResultsError(
            f"another process tunes in {folder}; wait for it, or choose another --out folder."
        ) from error
    try:
        # The journal's own lock outlives a kill; as we are alone, nobody else can hold it.
        (folder / "journal.log.lock").unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def _search(arm: Arm, study: Study, folder: Path, storage: JournalStorage) -> optuna.Study:
    """Run the trials that an arm still has."""
    config = study.recipe.tune
    median = optuna.pruners.MedianPruner(n_startup_trials=3)
    search = optuna.create_study(
        study_name=arm.name,
        storage=storage,
        pruner=median if config.pruner == "median" else optuna.pruners.NopPruner(),
        direction="minimize",
        load_if_exists=True,
    )
    _abandon_unfinished(search)
    seed = _training_seed(config, study.recipe.seeds)
    while (spent := sum(_is_spent(trial) for trial in search.trials)) < config.trials:
        # A fresh sampler for each trial, seeded by its place: a resumed search draws what an
        # uninterrupted one would have drawn, and the first trials of all arms are the same.
        search.sampler = _sampler(config, spent)
        search.optimize(
            lambda trial: _objective(trial, arm, config, seed, folder),
            n_trials=1,
            catch=(LightningDNAError,),
        )
    return search


def _training_seed(config: TuneConfig, seeds: Sequence[int]) -> int:
    """Return a seed that the study does not use: settings must not be chosen on a seed's luck."""
    return next(seed for seed in itertools.count(config.seed) if seed not in seeds)


def _sampler(config: TuneConfig, place: int) -> optuna.samplers.BaseSampler:
    """Return the declared sampler, seeded for the trial at one place of an arm's search."""
    seed = int(np.random.SeedSequence([config.seed, place]).generate_state(1)[0])
    if config.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    random_first = min(10, max(3, config.trials // 2))
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=random_first)


def _is_spent(trial: FrozenTrial) -> bool:
    """Tell whether a trial counts against the arm's budget; one that was stopped does not."""
    ended = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    return ended or (trial.state == TrialState.FAIL and _FAILURE in trial.user_attrs)


def _abandon_unfinished(search: optuna.Study) -> None:
    """End trials that a kill left running, and enqueue their settings to be tried in full."""
    for trial in search.get_trials(states=(TrialState.RUNNING,)):
        search.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            search.enqueue_trial(trial.params, user_attrs={"resumes": trial.number})


def _objective(trial: optuna.Trial, arm: Arm, config: TuneConfig, seed: int, folder: Path) -> float:
    """Train one trial on its share of the budget; returns the validation loss in bits per base."""
    current = settings.flatten(settings.plain(arm.settings))
    chosen = {
        key: suggest(trial, key, range_, current=current.get(key))
        for key, range_ in config.space.items()
    }
    try:
        tried = _settings_with(arm, chosen)
        tokens = max(
            int(tried.budget.tokens * config.budget_fraction), tried.budget.tokens_per_step
        )
        run = replace(tried.run(seed), budget=replace(tried.budget, tokens=tokens))
        # Named by its settings, so that a trial that was killed goes on where it was.
        place = folder / "trials" / f"{arm.name}-{settings.fingerprint(settings.plain(run))}"
        value = _train(trial, run, place)
    except atomic.UnwritableError:
        raise
    except LightningDNAError as error:
        trial.set_user_attr(_FAILURE, str(error))
        raise
    if math.isnan(value):
        trial.set_user_attr(_FAILURE, "the validation loss is not a number")
    return value


def _train(trial: optuna.Trial, run: Any, place: Path) -> float:
    """Train in a folder that goes when the trial has ended; weights of trials are not kept."""

    def report(step: int, metrics: Mapping[str, float]) -> None:
        trial.report(metrics["valid_loss"] / math.log(2), step)
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        checkpoint = fit(run, place, progress=False, on_validation=report)
    except (optuna.TrialPruned, LightningDNAError):
        shutil.rmtree(place, ignore_errors=True)
        raise
    shutil.rmtree(place, ignore_errors=True)
    return float(checkpoint.record["valid_loss"]) / math.log(2)


def _settings_with(arm: Arm, chosen: Mapping[str, Any]) -> ArmSettings:
    """Lay chosen values over an arm's settings."""
    plain = settings.plain(arm.settings)
    for key, value in chosen.items():
        plain = settings.assign(plain, key.split("."), value)
    return settings.build(ArmSettings, plain, where=f"tune.space for arm '{arm.name}'")


def _best(name: str, search: optuna.Study) -> dict[str, Any]:
    """Return the settings of the best finished trial.

    Raises:
        ResultsError: If there is none.
    """
    if not search.get_trials(states=(TrialState.COMPLETE,)):
        reasons = {str(trial.user_attrs.get(_FAILURE)) for trial in search.trials}
        raise ResultsError(
            f"no trial of arm '{name}' could be finished: {'; '.join(sorted(reasons))}. Narrow"
            " tune.space and tune into a new --out folder."
        )
    return dict(search.best_params)


def _log(arm: str, search: optuna.Study) -> pd.DataFrame:
    """Return every trial of one arm, whatever became of it."""
    rows = [
        {
            "arm": arm,
            "trial": trial.number,
            "state": trial.state.name.lower() if _is_spent(trial) else "stopped",
            "valid_bits_per_base": trial.value,
            "last_step": trial.last_step,
            "seconds": trial.duration.total_seconds() if trial.duration else None,
            _FAILURE: trial.user_attrs.get(_FAILURE),
            **trial.params,
        }
        for trial in search.trials
    ]
    return pd.DataFrame(rows)


def _tuned_recipe(study: Study, best: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the recipe with each arm's chosen settings as declared changes of that arm."""
    dropped = ("factors", "expansion")
    recipe = {key: value for key, value in study.content.items() if key not in dropped}
    recipe["arms"] = {}
    for arm in study.arms.values():
        changes: dict[str, Any] = {}
        declared = dict(arm.changes)
        if arm.source is not None:
            declared["model.pretrained"] = str(arm.source.folder)
        for key, value in {**declared, **best.get(arm.name, {})}.items():
            changes = settings.assign(changes, key.split("."), value)
        recipe["arms"][arm.name] = changes
    return recipe


def _table(trials: pd.DataFrame, best: Mapping[str, Mapping[str, Any]]) -> str:
    """Return best settings, trials spent and best value by arm."""
    rows = []
    for arm, chosen in best.items():
        mine = trials[(trials["arm"] == arm) & (trials["state"] != "stopped")]
        rows.append(
            {
                "arm": arm,
                "trials": len(mine),
                "pruned": int((mine["state"] == "pruned").sum()),
                "failed": int((mine["state"] == "fail").sum()),
                "valid bits per base": f"{mine['valid_bits_per_base'].min():.4f}",
                **{
                    key: f"{value:.3g}" if isinstance(value, float) else value
                    for key, value in chosen.items()
                },
            }
        )
    return str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))

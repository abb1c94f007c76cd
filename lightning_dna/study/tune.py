"""Hyperparameter search with the same space, trials and token budget for every arm.

Validation chromosomes alone decide, and trials are trained with a seed that the study does not use.
Any number of runners may be started on one folder, and a killed one takes nothing with it. The
whole log of trials is kept, and with it what the best of fewer would have been, so that "best of a
hundred against one" cannot happen unseen.
"""

import itertools
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import yaml
from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from lightning_dna import atomic, settings
from lightning_dna.errors import ConfigError, ResultsError
from lightning_dna.study.executors import work_through
from lightning_dna.study.jobs import Job
from lightning_dna.study.journal import Journal
from lightning_dna.study.ledger import CellFolder
from lightning_dna.study.ranges import check_range, examples
from lightning_dna.study.recipe import Arm
from lightning_dna.study.recipe_sections import TuneConfig
from lightning_dna.study.study import Study, record_study
from lightning_dna.study.trials import (
    RESULT,
    Slot,
    grid,
    pruner,
    run_slot,
    sampler,
    settings_with,
    trial_budget,
)
from lightning_dna.study.tuned import declared
from lightning_dna.training.config import validation_interval

_VALUE = "valid_bits_per_base"
_LOCK_SECONDS = 10  # after which the lock of a runner that was killed is broken
_DATABASE_TRIES = 5  # to open a database in which other runners are making the tables
_DATABASE_PAUSE = 0.5  # seconds between two of them


@dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """A finished search.

    Attributes:
        trials: One row for each trial of each arm, with its settings as columns.
        best: By arm, the settings of its best trial.
        space: The searched settings.
        sampler: How settings were drawn; the best of fewer trials has a meaning where each is
            drawn by itself (``random``, ``grid``).
        recipe: Where the tuned recipe is.
    """

    trials: pd.DataFrame
    best: Mapping[str, Mapping[str, Any]]
    space: tuple[str, ...]
    sampler: str
    recipe: Path


def tune(
    study: Study, folder: Path, *, storage: str | None = None, progress: bool = False
) -> Search:
    """Search every arm's settings and write the chosen ones as a recipe.

    Args:
        study: The study whose recipe declares ``tune``.
        folder: Where slots, ``trials.csv`` and ``tuned.yaml`` go; an earlier search is resumed, one
            under way is joined.
        storage: Database URL for Optuna's own record of the search; a journal in the folder by
            default. The folder has to be shared by all runners either way.
        progress: Whether to show each training's progress.

    Returns:
        The trials, the best settings by arm, and where the new recipe is.

    Raises:
        ConfigError: If the space names an unknown key or an empty range, the split has no
            validation chromosomes, or the database does not answer.
        ResultsError: If the folder holds another search or cannot be written to, or no trial of an
            arm could be finished.
    """
    config = study.recipe.tune
    _check(study, config)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with _database(storage) as database:
        record_study(study, folder)
        with FileLock(folder / "tune.lock"):
            name = _record_search(study, folder)
        searches = _searches(config, folder, database, name)
        jobs = _jobs(study, folder, searches, progress=progress)
        work_through(jobs, progress=progress, journal=Journal(folder / "journal"))
    _refuse_broken(jobs)
    results = [atomic.read_json(job.folder.folder / RESULT) for job in jobs]
    order = [arm.name for arm in study.trained]
    results.sort(key=lambda result: (order.index(result["arm"]), result["trial"]))
    rows = [{**result, **result["params"]} for result in results]
    trials = pd.DataFrame(rows).drop(columns="params")
    atomic.write_text(folder / "trials.csv", trials.to_csv(index=False))
    best = {name: _best(name, [r for r in results if r["arm"] == name]) for name in order}
    values = {name: min(trials.loc[trials["arm"] == name, _VALUE].dropna()) for name in order}
    tuned = _tuned_recipe(study, best) | {"tuned": declared(config, best, values)}
    recipe = yaml.safe_dump(tuned, sort_keys=False)
    atomic.write_text(folder / "tuned.yaml", recipe)
    return Search(
        trials=trials,
        best=best,
        space=tuple(config.space),
        sampler=config.sampler,
        recipe=folder / "tuned.yaml",
    )


def _check(study: Study, config: TuneConfig) -> None:
    """Refuse a search that could not be run, before the first trial and not after an hour."""
    if not study.split.valid:
        raise ConfigError(
            "tuning is decided on validation chromosomes, and the split has none; name some in"
            " data.split.valid or give a valid_fraction."
        )
    for key, range_ in config.space.items():
        check_range(f"tune.space.{key}", range_)
    if config.sampler == "grid":
        grid(config)
    sampler(config, 0)
    if not study.trained:
        raise ConfigError("every arm is a checkpoint, and none is trained: nothing can be tuned.")
    for arm in study.trained:
        _check_pruner(arm, config)
        for key, range_ in config.space.items():
            for value in examples(range_):
                settings_with(arm, {key: value})


def _check_pruner(arm: Arm, config: TuneConfig) -> None:
    """Refuse to stop trials by what they tell before their end, where they tell nothing."""
    steps = trial_budget(arm.settings.budget, config).steps
    every = arm.settings.trainer.validate_every
    if config.pruner != "none" and validation_interval(every, steps) >= steps:
        raise ConfigError(
            f"tune.pruner is '{config.pruner}', which stops a trial by the validation loss on its"
            f" way, but with trainer.validate_every {every:g} a trial of arm '{arm.name}' ({steps}"
            " steps) is validated at its end alone; lower trainer.validate_every, or set"
            " tune.pruner=none."
        )


def _record_search(study: Study, folder: Path) -> str:
    """Write what is searched, or check that it is what was searched so far; trials may be added.

    Returns:
        A name of this search alone: several may share one database.
    """
    now = settings.plain(study.recipe.tune)
    del now["trials"]
    path = folder / "tune.json"
    if not path.is_file():
        atomic.write_json(path, now | {"search": f"{study.name}-{secrets.token_hex(6)}"})
    before = atomic.read_json(path)
    changed = sorted(key for key in now if before.get(key) != now[key])
    if changed:
        raise ResultsError(
            f"{folder} holds a search with another tune.{', tune.'.join(changed)}; trials of"
            " both would not be alike. Choose another --out folder (tune.trials alone may be"
            " changed)."
        )
    return str(before.get("search", study.name))


def _searches(
    config: TuneConfig, folder: Path, database: BaseStorage | None, name: str
) -> Callable[[str], optuna.Study]:
    """Return a function from an arm to its search, opened once."""
    place = _journal(folder) if database is None else database

    @cache
    def search(arm: str) -> optuna.Study:
        return optuna.create_study(
            study_name=arm if database is None else f"{name}-{arm}",
            storage=place,
            pruner=pruner(config),
            direction="minimize",
            load_if_exists=True,
        )

    return search


def _journal(folder: Path) -> BaseStorage:
    """Open Optuna's record of the search in the folder."""
    path = str(folder / "journal.log")
    return JournalStorage(JournalFileBackend(path, JournalFileOpenLock(path, _LOCK_SECONDS)))


@contextmanager
def _database(url: str | None) -> Iterator[RDBStorage | None]:
    """Open a database for Optuna's record of the search, and close it; nothing without a URL.

    Raises:
        ConfigError: If it does not answer, or its driver is not installed; the password in the URL
            is not repeated.
    """
    if url is None:
        yield None
        return
    shown = _without_password(url)
    try:
        database = _with_tables(url)
    except ImportError as error:
        is_known = url.startswith("postgresql")
        install = f"install {'lightning-dna[postgresql]' if is_known else 'it'}"
        written = " and write postgresql+psycopg://..." if is_known else ""
        raise ConfigError(
            f"--storage {shown}: the Python driver of this database is not installed;"
            f" {install}{written}, or leave --storage out for a journal in the results folder."
        ) from error
    except Exception as error:  # whatever the database's own driver raises
        lines = _without_password(str(error)).strip().splitlines() or [type(error).__name__]
        raise ConfigError(
            f"--storage {shown}: {lines[0].rstrip('.')}. Check the URL"
            " (postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE), that the database runs, and"
            " that the user may make tables there."
        ) from error
    try:
        yield database
    finally:
        database.remove_session()
        database.engine.dispose()


def _with_tables(url: str) -> RDBStorage:
    """Open a database and make Optuna's tables there, which other runners may be doing as well."""
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    # Trials take hours: a connection that the server closed meanwhile is opened again.
    options = {"pool_pre_ping": True}
    for _ in range(_DATABASE_TRIES - 1):
        try:
            return RDBStorage(url, options)
        except (IntegrityError, ProgrammingError):  # another runner was a moment faster
            time.sleep(_DATABASE_PAUSE)
    return RDBStorage(url, options)


def _without_password(text: str) -> str:
    """Hide the password of a database URL.

    Example:
        >>> _without_password("postgresql+psycopg://me:p@ss@host/search")
        'postgresql+psycopg://me:***@host/search'
    """
    return re.sub(r"(://[^:/@\s]*:)\S*@", r"\1***@", text)


def _jobs(
    study: Study, folder: Path, search: Callable[[str], optuna.Study], *, progress: bool
) -> list[Job]:
    """List the slots of all arms, trial by trial: an interrupted search has been fair so far."""
    config = study.recipe.tune
    seed = _training_seed(config, study.recipe.seeds)
    jobs = []
    for index in range(config.trials):
        for arm in study.trained:
            place = folder / "slots" / arm.name / f"{index:04d}"
            slot = Slot(arm=arm, index=index, config=config, seed=seed, folder=place)
            jobs.append(
                Job(
                    name=f"{arm.name}, trial {index}",
                    folder=CellFolder(place, (RESULT,)),
                    work=partial(_work, slot, search, progress),
                )
            )
    return jobs


def _work(slot: Slot, search: Callable[[str], optuna.Study], show: bool, progress: bool) -> None:
    """Do the trial of one slot.

    Raises:
        ResultsError: If the record of the search was lost on the way, as with a stopped database.
    """
    try:
        run_slot(slot, search(slot.arm.name), progress=show and progress)
    except StorageInternalError as error:
        cause = _without_password(str(error.__cause__ or error)).strip().splitlines()[0]
        raise ResultsError(f"the record of the search cannot be written: {cause}.") from error


def _refuse_broken(jobs: Sequence[Job]) -> None:
    """Stop where a trial broke down for a reason that is not its setting.

    Raises:
        ResultsError: If any did, naming the first; the next call tries them again.
    """
    broken = [
        (job, failure)
        for job in jobs
        if (failure := job.folder.failure()) is not None and not job.folder.done()
    ]
    for job, _ in broken:
        job.folder.clear_failure()
    if broken:
        job, failure = broken[0]
        raise ResultsError(
            f"{job.name}: {failure['kind']}: {failure['message']} It did not count; run the "
            "same command to try it again."
        )


def _training_seed(config: TuneConfig, seeds: Sequence[int]) -> int:
    """Return a seed that the study does not use: settings must not be chosen on a seed's luck."""
    return next(seed for seed in itertools.count(config.seed) if seed not in seeds)


def _best(arm: str, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings of the best finished trial of an arm.

    Raises:
        ResultsError: If there is none.
    """
    finished = [result for result in results if result["state"] == "complete"]
    if not finished:
        reasons = {str(result["failure"]) for result in results if result["failure"]}
        raise ResultsError(
            f"no trial of arm '{arm}' could be finished: "
            f"{'; '.join(sorted(reasons)) or 'all were pruned'}. Narrow tune.space and tune into a"
            " new --out folder."
        )
    return dict(min(finished, key=lambda result: result["valid_bits_per_base"])["params"])


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

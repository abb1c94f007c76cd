"""Does what is asked fit the files? Models, tasks, seeds, units and options against each other.

The statistics ask the same of their arguments; here the answers name files and the options of the
command, because here they are known.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lightning_dna.errors import StatsError, unknown_name
from lightning_dna.stats.comparison import Margin
from lightning_dna.stats.files.checks import TASK, Entry
from lightning_dna.stats.files.columns import USUAL_NAMES
from lightning_dna.stats.intervals import STUDENT
from lightning_dna.stats.metrics import Metric
from lightning_dna.stats.plan import Unit
from lightning_dna.stats.question import Scope

if TYPE_CHECKING:
    from lightning_dna.stats.files.comparison import ComparisonChoices


def check_models(entries: Sequence[Entry], choices: "ComparisonChoices") -> None:
    """Refuse a baseline that is not named, not there, or alone."""
    models = list(dict.fromkeys(entry.predictions.variant for entry in entries))
    if len(models) == 1:
        raise StatsError(
            f"there is one model only, '{models[0]}', and nothing to compare it with; give the "
            "file of a second model, or name the column of models with --model-column."
        )
    if choices.baseline is None:
        raise StatsError(
            f"say which model the others are compared with: --baseline {' or '.join(models[:10])}"
            f"{' or ...' if len(models) > 10 else ''}."
        )
    if choices.baseline not in models:
        raise unknown_name("model", choices.baseline, models, where="--baseline")
    for task, here in _models_by_task(entries).items():
        if choices.baseline not in here:
            raise StatsError(
                f"task '{task}' has no predictions of the baseline '{choices.baseline}' (it has "
                f"{', '.join(here)}); give them, or leave that task out."
            )


def _models_by_task(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """Return the models that each task has predictions of."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        models = found.setdefault(entry.predictions.task, [])
        if entry.predictions.variant not in models:
            models.append(entry.predictions.variant)
    return found


def gaps(entries: Sequence[Entry]) -> list[str]:
    """Say which models are not compared on which tasks, because they have no predictions there."""
    by_task = _models_by_task(entries)
    models = dict.fromkeys(model for here in by_task.values() for model in here)
    gaps: dict[tuple[str, ...], list[str]] = {}
    for task, here in by_task.items():
        absent = tuple(model for model in models if model not in here)
        if absent:
            gaps.setdefault(absent, []).append(task)
    return [
        f"{place_of(tasks)}not compared there, for want of predictions: {', '.join(absent)}."
        for absent, tasks in gaps.items()
    ]


def check_suite(entries: Sequence[Entry], choices: "ComparisonChoices") -> None:
    """Refuse an aggregate that does not say what its tasks stand for, or has too few of them."""
    names = list(dict.fromkeys(entry.predictions.task for entry in entries))
    if choices.aggregate is None:
        if choices.tasks is not None:
            raise StatsError("--tasks goes with --aggregate; without it, every row is one task.")
        return
    if len(names) < 2:
        raise StatsError(
            f"--aggregate sums up two tasks or more; there is one, '{names[0]}' (a column 'task' "
            "or --task-column names them)."
        )
    if choices.tasks is None:
        raise StatsError(
            f"--aggregate {choices.aggregate} over {len(names)} tasks: say what they stand for. "
            "--tasks fixed: the claim is about exactly these tasks. --tasks random: about other "
            "tasks like these, of which these are a sample."
        )
    if gaps(entries):
        raise StatsError(
            "--aggregate needs every model on every task. "
            f"{' '.join(gap[:1].upper() + gap[1:] for gap in gaps(entries))} Score them, or leave "
            "those tasks or models out."
        )


def check_options(entries: Sequence[Entry], choices: "ComparisonChoices", scope: Scope) -> None:
    """Refuse options that do not fit each other or the columns.

    Args:
        entries: Predictions of all tasks.
        choices: What is asked.
        scope: The scope that was chosen.

    Raises:
        StatsError: If the statistics could not use them; the message names the options.
    """
    if not 0 < choices.level < 1:
        raise StatsError(f"--level must lie between 0 and 1, such as 0.95, not {choices.level:g}.")
    if choices.n_resamples < 2:
        raise StatsError(f"--resamples must be 2 or more, not {choices.n_resamples}.")
    if choices.method == "symmetric" and choices.alternative != "two-sided":
        raise StatsError("--method symmetric is two-sided; use --method se-t for a one-sided test.")
    if scope == "procedure" and choices.method != "se-t":
        raise StatsError(
            f"--method {choices.method} looks at examples only; --scope procedure needs --method "
            "se-t."
        )
    _check_simultaneous(choices)
    check_unit(entries, choices.unit)
    _check_paired(entries, choices, scope)
    _check_suite_seeds(entries, choices, scope)


def check_common_metric(
    metrics: Mapping[str, Sequence[Metric]], choices: "ComparisonChoices"
) -> None:
    """Refuse to sum up tasks that have no metric in common."""
    if choices.aggregate is None:
        return
    names = {task: [row.name for row in rows] for task, rows in metrics.items()}
    if not set.intersection(*(set(own) for own in names.values())):
        listed = "; ".join(f"{task}: {', '.join(own)}" for task, own in names.items())
        raise StatsError(
            f"--aggregate needs a metric that all tasks have, and there is none ({listed}). Name "
            "one with --metrics, or leave tasks out."
        )


def _check_simultaneous(choices: "ComparisonChoices") -> None:
    """Refuse simultaneous intervals that are not defined."""
    if not choices.simultaneous:
        return
    if choices.multiplicity != "max-t":
        raise StatsError(
            "--simultaneous takes its level from the joint resamples: it needs --multiplicity "
            f"max-t, not {choices.multiplicity}."
        )
    if choices.method not in STUDENT:
        raise StatsError(
            f"--simultaneous needs --method {' or '.join(STUDENT)}, not {choices.method}."
        )
    fewest = math.ceil(1 / (1 - choices.level) - 1 - 1e-6)
    if choices.n_resamples < fewest:
        raise StatsError(
            f"--simultaneous at --level {choices.level:g} needs --resamples {fewest} or more, not "
            f"{choices.n_resamples}."
        )


def check_unit(entries: Sequence[Entry], unit: Unit | None) -> None:
    """Refuse to resample clusters that no column gives."""
    for entry in entries:
        if unit == "cluster" and entry.predictions.cluster_id is None:
            file = entry.source.file
            raise StatsError(
                f"--unit cluster needs a cluster column, and {file.path} has none (columns: "
                f"{', '.join(file.names)}). Name it {' or '.join(USUAL_NAMES['cluster'])}, or "
                "point to it with --cluster-column; --unit example treats examples as independent."
            )


def _check_paired(entries: Sequence[Entry], choices: "ComparisonChoices", scope: Scope) -> None:
    """Refuse paired seeds where there are no seeds, or other ones."""
    if not choices.paired_seeds:
        return
    if scope == "checkpoint":
        raise StatsError(
            "--paired-seeds belongs to --scope procedure; --scope checkpoint has no noise of seeds "
            "to pair."
        )
    for task, here in _seeds(entries).items():
        for model, seeds in here.items():
            if seeds != here[str(choices.baseline)]:
                raise StatsError(
                    f"--paired-seeds needs the same seeds in all models; on task '{task}' "
                    f"'{model}' has {_listed(seeds)} and '{choices.baseline}' has "
                    f"{_listed(here[str(choices.baseline)])}."
                )


def _check_suite_seeds(
    entries: Sequence[Entry], choices: "ComparisonChoices", scope: Scope
) -> None:
    """Refuse what has no interval for other tasks and other trainings at once."""
    if choices.aggregate is None or choices.tasks != "random" or scope != "procedure":
        return
    if choices.aggregate != "mean":
        raise StatsError(
            f"--aggregate {choices.aggregate} with --tasks random has no interval for --scope "
            "procedure, as one training serves all tasks. Use --aggregate mean, --tasks fixed or "
            "--scope checkpoint."
        )
    by_task = _seeds(entries)
    for model in next(iter(by_task.values())):
        each = [here[model] for here in by_task.values()]
        everything = set.union(*each)
        alike = all(seeds == everything for seeds in each)
        apart = sum(map(len, each)) == len(everything)
        if not alike and not apart:
            raise StatsError(
                f"'{model}' has different seeds in different tasks: --tasks random with --scope "
                "procedure needs the same seeds in all tasks, or no seed in two tasks."
            )


def _seeds(entries: Sequence[Entry]) -> dict[str, dict[str, set[int]]]:
    """Return the seeds by task and model."""
    found: dict[str, dict[str, set[int]]] = {}
    for entry in entries:
        one = entry.predictions
        found.setdefault(one.task, {}).setdefault(one.variant, set()).add(int(one.seed))
    return found


def _listed(seeds: set[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))}"


def scope_of(entries: Sequence[Entry], choices: "ComparisonChoices") -> Scope:
    """Return the scope, which is a question about the claim and is not guessed from many seeds."""
    seeds: dict[tuple[str, str], int] = {}
    for entry in entries:
        key = (entry.predictions.task, entry.predictions.variant)
        seeds[key] = seeds.get(key, 0) + 1
    if choices.scope is None:
        if max(seeds.values()) > 1:
            (_, model), count = max(seeds.items(), key=lambda item: item[1])
            raise StatsError(
                f"model '{model}' has {count} training seeds: say what the claim is about. "
                "--scope procedure: training again with other seeds (the seeds are a sample of "
                "them). --scope checkpoint: exactly these trained weights, averaged over their "
                "seeds."
            )
        return "checkpoint"
    if choices.scope == "procedure" and min(seeds.values()) < 2:
        task, model = next(key for key, count in seeds.items() if count < 2)
        raise StatsError(
            f"--scope procedure speaks about training again, and model '{model}' has one seed on "
            f"task '{task}'. Give a file for each of two seeds or more (column 'seed' or "
            "--training-seeds), or use --scope checkpoint to speak about these weights."
        )
    return choices.scope


def place_of(tasks: Sequence[str]) -> str:
    """Name some tasks at the head of a sentence; nothing where files name none."""
    if list(tasks) == [TASK]:
        return ""
    return f"task{'s' if len(tasks) > 1 else ''} {', '.join(tasks)}: "


def margins_of(margin: Margin, option: str, metrics: Mapping[str, Sequence[Metric]]) -> Margin:
    """Return the margins, refusing one of a metric that is not compared."""
    if isinstance(margin, Mapping):
        names = {row.name for rows in metrics.values() for row in rows}
        for name in margin:
            if name not in names:
                raise unknown_name("metric", name, names, where=option)
    for value in margin.values() if isinstance(margin, Mapping) else [margin]:
        if value is not None and not (np.isfinite(value) and value > 0):
            raise StatsError(f"{option} must be a number above 0, not {value:g}.")
    return margin

"""Which tasks, metrics and variants can be summed up together, and errors that say why not."""

from collections.abc import Mapping, Sequence

from lightning_dna.errors import StatsError, unknown_name
from lightning_dna.stats.question import Question
from lightning_dna.stats.replicates import Replicates
from lightning_dna.stats.suites.suite import Statistic, Suite


def checked_suites(
    reps: Mapping[str, Replicates],
    *,
    baseline: str | None,
    statistic: Statistic,
    question: Question,
    metric_of: Mapping[str, str] | None,
) -> list[Suite]:
    """Return one suite per metric.

    Args:
        reps: Replicates by task.
        baseline: Name of the baseline, if any.
        statistic: What will sum them up.
        question: Scope and pairing of seeds.
        metric_of: Metric of each task; by default every metric that all tasks have.

    Returns:
        The suites, in the order of the metrics of the first task.

    Raises:
        ConfigError: If the baseline, a task of ``metric_of`` or its metric is unknown.
        StatsError: If tasks share examples or differ in variants, seeds or number of resamples, or
            no metric is common to them.
    """
    if not reps:
        raise StatsError("there is nothing to aggregate: no replicates were given")
    for task, one in reps.items():
        if task != one.task:
            raise StatsError(f"replicates of task '{one.task}' stand under the key '{task}'")
    tasks = tuple(reps.values())
    variants = _common_variants(tasks)
    if baseline is not None and baseline not in variants:
        raise unknown_name("baseline", baseline, variants)
    _check_resamples(tasks)
    _check_examples(tasks)
    _check_seeds(tasks, variants, baseline, question)
    suites = []
    for name, metrics in _metrics(tasks, metric_of).items():
        suite = Suite(tasks=tasks, metrics=metrics, metric=name, variants=variants)
        _check_orientation(suite, statistic)
        suites.append(suite)
    return suites


def _common_variants(tasks: Sequence[Replicates]) -> tuple[str, ...]:
    """Return the variants, which must be the same in all tasks."""
    names = dict.fromkeys(name for one in tasks for name in one.variants)
    lacking = {
        name: [one.task for one in tasks if name not in one.variants]
        for name in names
        if any(name not in one.variants for one in tasks)
    }
    if lacking:
        listed = "; ".join(f"'{name}' lacks {', '.join(gone)}" for name, gone in lacking.items())
        raise StatsError(
            f"aggregate: every variant must be scored on every task, but {listed}. Score the rest, "
            "or aggregate the tasks and variants that are complete"
        )
    return tuple(names)


def _check_resamples(tasks: Sequence[Replicates]) -> None:
    counts = {one.task: one.n_resamples for one in tasks}
    if len(set(counts.values())) > 1:
        raise StatsError(f"aggregate needs the same n_resamples in all tasks; found {counts}")


def _check_examples(tasks: Sequence[Replicates]) -> None:
    """Raise if a set of examples stands in two entries, such as a task and its gap to another."""
    seen: dict[str, str] = {}
    for one in tasks:
        for part in one.tasks:
            if part.task in seen:
                raise StatsError(
                    f"aggregate: '{seen[part.task]}' and '{one.task}' both hold the examples of "
                    f"'{part.task}', so their noise is not independent; give one of them"
                )
            seen[part.task] = one.task


def _check_seeds(
    tasks: Sequence[Replicates], variants: Sequence[str], baseline: str | None, question: Question
) -> None:
    if question.scope == "checkpoint":
        return
    for one in tasks:
        present = {name: one.present[one.variants.index(name)] for name in variants}
        for name, there in present.items():
            if there.sum() < 2:
                raise StatsError(
                    f"task '{one.task}': variant '{name}' has {there.sum()} seed; "
                    "scope='procedure' needs 2 or more. Train more seeds, or use scope='checkpoint'"
                )
            if question.paired_seeds and baseline and (there != present[baseline]).any():
                raise StatsError(
                    f"task '{one.task}': paired_seeds needs the same seeds in '{name}' and "
                    f"'{baseline}'"
                )


def _metrics(
    tasks: Sequence[Replicates], metric_of: Mapping[str, str] | None
) -> dict[str, tuple[int, ...]]:
    """Return the position of each metric in each task, by the metric's name in results."""
    names = [[metric.name for metric in one.metrics] for one in tasks]
    if metric_of is None:
        common = [name for name in names[0] if all(name in others for others in names)]
        if not common:
            listed = "; ".join(
                f"{one.task}: {', '.join(own)}" for one, own in zip(tasks, names, strict=True)
            )
            raise StatsError(
                f"aggregate: no metric is common to all tasks ({listed}); say which to use with "
                "metric_of={task: metric}"
            )
        return {name: tuple(others.index(name) for others in names) for name in common}
    keys = [one.task for one in tasks]
    for task in metric_of:
        if task not in keys:
            raise unknown_name("task", task, keys, where="metric_of")
    positions = []
    for task, own in zip(keys, names, strict=True):
        if task not in metric_of:
            raise StatsError(f"metric_of names no metric for task '{task}'; it has {own}")
        if metric_of[task] not in own:
            raise unknown_name("metric", metric_of[task], own, where=f"metric_of, task '{task}'")
        positions.append(own.index(metric_of[task]))
    return {"/".join(dict.fromkeys(metric_of[task] for task in keys)): tuple(positions)}


def _check_orientation(suite: Suite, statistic: Statistic) -> None:
    greater = suite.greater_is_better
    if statistic in ("mean", "median", "iqm") and greater.any() and not greater.all():
        raise StatsError(
            f"aggregate: metrics {suite.metric} point in different directions, so their "
            f"{statistic} says nothing; use 'mean_rank' or 'probability_of_improvement'"
        )

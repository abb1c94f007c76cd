"""Files of predictions in, rows of comparison out: what ``lightning-dna compare`` computes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lightning_dna.stats.adjust import Multiplicity
from lightning_dna.stats.alignment import align
from lightning_dna.stats.bootstrap import bootstrap_metrics
from lightning_dna.stats.comparison import Margin, compare, estimates
from lightning_dna.stats.families import Axis
from lightning_dna.stats.files import questions
from lightning_dna.stats.files.checks import Entry, counted
from lightning_dna.stats.files.columns import ColumnNames
from lightning_dna.stats.files.metrics import choose_metrics, possible_metrics
from lightning_dna.stats.files.reading import ReadingOptions, read_entries
from lightning_dna.stats.intervals import Alternative, Method
from lightning_dna.stats.metrics import Metric
from lightning_dna.stats.plan import ResamplingPlan, Unit
from lightning_dna.stats.question import Scope
from lightning_dna.stats.replicates import Replicates
from lightning_dna.stats.suites.aggregation import aggregate
from lightning_dna.stats.suites.rows import Tasks
from lightning_dna.stats.suites.suite import Statistic
from lightning_dna.stats.tables import ComparisonTable, EstimateTable


@dataclass(frozen=True, kw_only=True)
class ComparisonChoices:
    """What to ask of some predictions.

    Attributes:
        baseline: Model that the others are compared with; ``None`` is an error that names them.
        metrics: Names of metrics; ``None`` for those that the columns allow.
        scope: ``"checkpoint"`` or ``"procedure"``; ``None`` is ``"checkpoint"`` where every model
            has one seed, and an error where one has more.
        level: Coverage of intervals.
        method: Interval method.
        alternative: Direction of the tests.
        multiplicity: Adjustment of p-values.
        family: Axes that are judged together.
        margin: Largest difference that does not matter, for all metrics or by metric.
        non_inferiority_margin: Smallest loss that matters, likewise.
        paired_seeds: Equal seeds mean equal initial weights and data order in all models.
        simultaneous: Whether intervals hold all together.
        unit: What is resampled; ``None`` is clusters where a column gives them.
        n_resamples: Number of replicates.
        seed: Seed of the resampling streams.
        aggregate: Statistic over all tasks to add, or ``None``.
        tasks: With ``aggregate``: ``"fixed"`` (these tasks) or ``"random"`` (tasks like these).
    """

    baseline: str | None = None
    metrics: Sequence[str] | None = None
    scope: Scope | None = None
    level: float = 0.95
    method: Method = "se-t"
    alternative: Alternative = "two-sided"
    multiplicity: Multiplicity = "max-t"
    family: Sequence[Axis] = ("task", "variant", "metric")
    margin: Margin = None
    non_inferiority_margin: Margin = None
    paired_seeds: bool = False
    simultaneous: bool = False
    unit: Unit | None = None
    n_resamples: int = 9999
    seed: int = 0
    aggregate: Statistic | None = None
    tasks: Tasks | None = None


@dataclass(frozen=True, kw_only=True)
class FileComparison:
    """Answer to a comparison of files.

    Attributes:
        estimates: Value of each model on each task.
        comparisons: Difference of each model to the baseline on each task.
        suite_estimates: Values over all tasks, where they were asked for.
        suite_comparisons: Differences over all tasks, where they were asked for.
        baseline: Name of the baseline.
        choices: What was asked, with the scope that was chosen.
        replicates: Replicates by task.
        entries: The predictions, and where they come from.
        remarks: What was decided for the user, in sentences: units, metrics, dropped examples.
    """

    estimates: EstimateTable
    comparisons: ComparisonTable
    suite_estimates: EstimateTable
    suite_comparisons: ComparisonTable
    baseline: str
    choices: ComparisonChoices
    replicates: Mapping[str, Replicates]
    entries: tuple[Entry, ...]
    remarks: tuple[str, ...]


def compare_files(
    paths: Sequence[Path | str],
    choices: ComparisonChoices,
    *,
    columns: ColumnNames | None = None,
    options: ReadingOptions | None = None,
) -> FileComparison:
    """Compare the models of some files of predictions with one of them.

    Args:
        paths: Parquet, CSV, TSV or JSON-lines files; see ``read_predictions``.
        choices: What to ask.
        columns: Names of columns that differ from the usual ones.
        options: How files become predictions.

    Returns:
        Estimates, differences and remarks.

    Raises:
        LightningDNAError: If a file cannot be used, or a choice does not fit it.
    """
    entries = read_entries(paths, columns, options, choices.metrics)
    questions.check_models(entries, choices)
    questions.check_suite(entries, choices)
    scope = questions.scope_of(entries, choices)
    questions.check_options(entries, choices, scope)
    metrics = choose_metrics(entries, choices.metrics)
    questions.check_common_metric(metrics, choices)
    inner = options is not None and options.inner
    reps, remarks = _replicates(entries, metrics, choices, inner=inner)
    baseline = str(choices.baseline)
    suite_estimates, suite_comparisons = _suite(reps, baseline, scope, choices)
    return FileComparison(
        suite_estimates=suite_estimates,
        suite_comparisons=suite_comparisons,
        estimates=estimates(reps, scope=scope, level=choices.level, method=choices.method),
        comparisons=compare(
            reps,
            baseline=baseline,
            scope=scope,
            level=choices.level,
            method=choices.method,
            alternative=choices.alternative,
            multiplicity=choices.multiplicity,
            family=choices.family,
            equivalence_margin=questions.margins_of(choices.margin, "--margin", metrics),
            non_inferiority_margin=questions.margins_of(
                choices.non_inferiority_margin, "--non-inferiority-margin", metrics
            ),
            paired_seeds=choices.paired_seeds,
            simultaneous=choices.simultaneous,
        ),
        baseline=baseline,
        choices=choices,
        replicates=reps,
        entries=tuple(entries),
        remarks=tuple(remarks),
    )


def _suite(
    reps: Mapping[str, Replicates], baseline: str, scope: Scope, choices: ComparisonChoices
) -> tuple[EstimateTable, ComparisonTable]:
    """Return values and differences over all tasks; none where they were not asked for."""
    if choices.aggregate is None or choices.tasks is None:
        return EstimateTable(rows=()), ComparisonTable(rows=())
    values = EstimateTable(rows=())
    if choices.aggregate != "probability_of_improvement":  # which a model alone does not have
        values = aggregate(
            reps,
            scope=scope,
            statistic=choices.aggregate,
            tasks=choices.tasks,
            level=choices.level,
        )
    differences = aggregate(
        reps,
        baseline=baseline,
        scope=scope,
        statistic=choices.aggregate,
        tasks=choices.tasks,
        level=choices.level,
        alternative=choices.alternative,
        multiplicity="holm" if choices.multiplicity == "max-t" else choices.multiplicity,
        paired_seeds=choices.paired_seeds,
    )
    return values, differences


def _replicates(
    entries: Sequence[Entry],
    metrics: Mapping[str, Sequence[Metric]],
    choices: ComparisonChoices,
    *,
    inner: bool,
) -> tuple[dict[str, Replicates], list[str]]:
    """Bootstrap every task, and say what was decided on the way."""
    how: Literal["strict", "inner"] = "inner" if inner else "strict"
    remarks = questions.gaps(entries)
    clustered: dict[tuple[str, int, Unit], list[str]] = {}
    reps: dict[str, Replicates] = {}
    for task, rows in metrics.items():
        members = [entry for entry in entries if entry.predictions.task == task]
        aligned = align([entry.predictions for entry in members], how=how)
        if inner:
            everything = {str(i) for one in members for i in one.predictions.example_id.tolist()}
            dropped = len(everything) - aligned.n_examples
            were, compared = ("is", "was") if dropped == 1 else ("are", "were"), aligned.n_examples
            remarks.append(
                f"{questions.place_of([task])}{dropped:,} of {counted(len(everything), 'example')} "
                f"{were[0]} not in every file and {were[1]} dropped (--inner); {compared:,} "
                f"{'is' if compared == 1 else 'are'} compared."
            )
        unit: Unit = choices.unit or ("example" if aligned.cluster_id is None else "cluster")
        if aligned.cluster_id is not None:
            column = members[0].source.roles["cluster"][0]
            clustered.setdefault((column, len(aligned.cluster_id), unit), []).append(task)
        plan = ResamplingPlan(n_resamples=choices.n_resamples, unit=unit, seed=choices.seed)
        reps[task] = bootstrap_metrics(aligned, rows, plan)
    remarks += [_unit_remark(tasks, *found) for found, tasks in clustered.items()]
    if choices.metrics is None:
        told = list(dict.fromkeys(row.name for rows in metrics.values() for row in rows))
        others = [name for name in possible_metrics(entries) if name not in told]
        also = f"; --metrics also takes {', '.join(others)}" if others else ""
        remarks.append(f"metrics: those that the columns suggest, {', '.join(told)}{also}.")
    return reps, remarks


def _unit_remark(tasks: Sequence[str], column: str, clusters: int, unit: Unit) -> str:
    """Say whether the clusters of a column are resampled whole."""
    place = questions.place_of(tasks)
    if unit == "cluster":
        return (
            f"{place}whole clusters are resampled, {clusters:,} of them in column '{column}' "
            "(--unit example would treat examples as independent)."
        )
    return f"{place}column '{column}' is not used; examples count as independent."

"""From the scores on disk to estimates and comparisons: all that studies ask of the statistics.

There are four families, and the p-values of each are corrected within their own: the planned
comparisons of the arms; every other row of the arms and of the baselines that are no arms (counting
bases, k-mers); these baselines on the planned rows, where they must not weaken the plan; and every
arm against itself without its training. The rows are written to ``results/``, from which the report
is rendered.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lightning_dna import atomic
from lightning_dna.errors import ResultsError
from lightning_dna.stats.comparison import compare, estimates
from lightning_dna.stats.predictions import Predictions
from lightning_dna.stats.replicates import Replicates, subtract
from lightning_dna.study.canary_views import group_names
from lightning_dna.study.decision import COLUMNS, FILE, decisions
from lightning_dna.study.gather import Gathered, gather
from lightning_dna.study.homology_views import matched_views, window_views
from lightning_dna.study.label_groups import label_group_views, write_label_table
from lightning_dna.study.looks import record_look
from lightning_dna.study.matched_gap import gap_metrics
from lightning_dna.study.pretraining_gains import pretraining_gains
from lightning_dna.study.recipe_sections import ComparisonConfig
from lightning_dna.study.record import write_tables
from lightning_dna.study.resampling import bootstrap
from lightning_dna.study.similarity_views import similarity_views
from lightning_dna.study.split_drops import split_drops
from lightning_dna.study.study import Study
from lightning_dna.study.views import (
    COMPARED_MLM,
    MLM_METRICS,
    chromosome_views,
    compared_metrics,
    example_views,
    mlm_views,
    only,
    planned_pairs,
)


@dataclass(frozen=True, kw_only=True)
class Views:
    """All views of a study's scores, and the metrics that are compared on each."""

    predictions: Mapping[str, list[Predictions]]
    metrics: Mapping[str, tuple[str, ...]]
    estimated: Mapping[str, tuple[str, ...]]
    gaps: Mapping[str, tuple[str, str]]

    @classmethod
    def of(cls, gathered: Gathered, study: Study) -> "Views":
        """Make every view of the gathered scores."""
        held_out = mlm_views(gathered.mlm) | window_views(gathered.mlm, gathered.windows)
        matched = matched_views(gathered.matched)
        labelled = {
            task: views
            for kind, frame in gathered.examples.items()
            for task, views in example_views(frame, kind).items()
        }
        labelled |= label_group_views(labelled, study.cards)
        strata = similarity_views(labelled, gathered.similarity)
        measured = compared_metrics(study.cards, canaries=group_names(study.arms))
        # Strata of an annotation are compared as the whole is; which there are, the scores say.
        metrics = {task: measured.get(task, COMPARED_MLM) for task in held_out}
        metrics |= {task: measured[task] for task in labelled}
        metrics |= {task: measured[task.rpartition("/")[0]] for task in strata}
        estimated = {**metrics, **dict.fromkeys(held_out, MLM_METRICS)}
        gaps = {
            f"{task}/gap": (f"{task}/train", task)
            for task in held_out
            if f"{task}/train" in held_out
        }
        gaps |= {
            task.replace("/matched_train", "/matched_gap"): (
                task,
                task.replace("/matched_train", "/matched_test"),
            )
            for task in matched
            if task.endswith("/matched_train")
        }
        metrics |= dict.fromkeys(gaps, COMPARED_MLM)
        return cls(
            predictions={**held_out, **labelled, **strata, **matched},
            metrics=metrics,
            estimated=estimated,
            gaps=gaps,
        )


def write_results(study: Study, folder: Path, *, command: str = "report") -> None:
    """Compute every row of the study's results and write ``results/``.

    That test scores are seen is recorded first, see :mod:`lightning_dna.study.looks`.

    Args:
        study: The study.
        folder: Its results folder.
        command: The command that shows them.

    Raises:
        ResultsError: If no arm has been scored yet, or the baseline arm has not.
    """
    gathered = gather(study, folder)
    config = study.recipe.comparison
    arms = _comparable(gathered, study)
    views = Views.of(gathered, study)
    planned = planned_rows(study, views)
    comparisons, needed = _comparisons(views, study.recipe.baseline, arms, planned, config)
    states = {one.name: gathered.states[one.arm.name, one.seed] for one in study.cells()}
    record_look(folder, states, command=command)
    write_tables(
        study,
        folder,
        gathered=gathered,
        planned=planned,
        estimates=_estimates(views, config),
        comparisons=comparisons,
        chromosomes=_by_chromosome(gathered.mlm, config),
        drops=split_drops(
            views.predictions, views.metrics, study.cards, config, _enough(views, config)
        ),
        gains=pretraining_gains(views.predictions, views.metrics, study.cards, config, arms),
    )
    atomic.write_text(folder / "results" / FILE, needed.to_csv(index=False))
    write_label_table(views.predictions, folder / "results" / "labels.csv")


def planned_rows(study: Study, views: Views) -> list[tuple[str, str]]:
    """Return the planned (task, metric) pairs of which there are scores.

    A genome without repeats, for example, has no view ``heldout_mlm/repeat``. That tasks and
    metrics exist in the suite was checked when the study was resolved.
    """
    pairs = planned_pairs(study.recipe.comparison.planned, views.metrics)
    return [(task, metric) for task, metric in pairs if task in views.metrics]


def _comparable(gathered: Gathered, study: Study) -> list[str]:
    """Return the arms that have enough seeds for the declared scope.

    Raises:
        ResultsError: If the baseline arm is not among them.
    """
    need = 2 if study.recipe.comparison.scope == "procedure" else 1
    arms = [arm for arm in study.arms if len(gathered.seeds[arm]) >= need]
    if study.recipe.baseline not in arms:
        baseline = study.recipe.baseline
        raise ResultsError(
            f"the baseline arm '{baseline}' has {len(gathered.seeds[baseline])} finished seed(s) of"
            f" the {need} that comparison.scope: {study.recipe.comparison.scope} needs; finish or"
            " retry its cells first."
        )
    return arms


def _replicates(
    views: Views,
    tasks: Mapping[str, Sequence[str]],
    config: ComparisonConfig,
    variants: Iterable[str],
) -> dict[str, Replicates]:
    """Bootstrap some variants on some tasks, each with its own metrics; gaps are made from two."""
    kept = only(views.predictions, variants)
    reps = {}
    for task, metrics in tasks.items():
        if task in views.gaps:
            parts = [
                bootstrap(kept[part], gap_metrics(task, metrics), config)
                for part in views.gaps[task]
                if part in kept
            ]
            if len(parts) == 2:
                reps[task] = subtract(parts[0], parts[1], task=task)
        elif task in kept:
            reps[task] = bootstrap(kept[task], metrics, config)
    return reps


def _enough(views: Views, config: ComparisonConfig) -> list[str]:
    """Return the variants with enough seeds in every view they are in."""
    need = 2 if config.scope == "procedure" else 1
    seeds: dict[str, set[int]] = {}
    for view in views.predictions.values():
        for one in view:
            seeds.setdefault(one.variant, set()).add(one.seed)
    return [variant for variant, found in seeds.items() if len(found) >= need]


def _estimates(views: Views, config: ComparisonConfig) -> pd.DataFrame:
    """Return the value of every variant on every task and metric."""
    tasks = {task: views.estimated.get(task, metrics) for task, metrics in views.metrics.items()}
    reps = _replicates(views, tasks, config, _enough(views, config))
    return estimates(reps, scope=config.scope, level=config.level).to_frame()


def _comparisons(
    views: Views,
    baseline: str,
    arms: Sequence[str],
    planned: Sequence[tuple[str, str]],
    config: ComparisonConfig,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the planned family and the exploratory one, marked; and what decisions would take."""
    needed = pd.DataFrame(columns=[*COLUMNS])
    by_task: dict[str, tuple[str, ...]] = {}
    for task, metric in planned:
        by_task[task] = (*by_task.get(task, ()), metric)
    references = [name for name in _enough(views, config) if name not in arms]
    rest = {
        task: tuple(metric for metric in metrics if metric not in by_task.get(task, ()))
        for task, metrics in views.metrics.items()
        if not task.endswith("/train")
    }
    models = list(arms)
    families = (
        (True, by_task, models),
        (False, {task: metrics for task, metrics in rest.items() if metrics}, models + references),
        (False, by_task, [baseline, *references]),  # the counting baselines on the planned rows
    )
    frames = []
    for is_planned, tasks, variants in families:
        reps = _replicates(views, tasks, config, variants)
        reps = {task: one for task, one in reps.items() if _can_compare(one, baseline)}
        if reps:
            table = compare(
                reps,
                baseline=baseline,
                scope=config.scope,
                level=config.level,
                multiplicity=config.multiplicity,
                equivalence_margin=_margins_of(config, reps),
                paired_seeds=config.paired_seeds,
            )
            frames.append(table.to_frame().assign(planned=is_planned))
            if is_planned:
                needed = decisions(table, reps, config)
    if not frames:
        raise ResultsError("there is no second arm to compare with the baseline yet.")
    return pd.concat(frames, ignore_index=True), needed


def _can_compare(reps: Replicates, baseline: str) -> bool:
    """Tell whether a task has the baseline and something to compare with it."""
    return baseline in reps.variants and len(reps.variants) > 1


def _margins_of(
    config: ComparisonConfig, reps: Mapping[str, Replicates]
) -> Mapping[str, float] | None:
    """Return the declared margins of the metrics at hand."""
    present = {metric.name for one in reps.values() for metric in one.metrics}
    return {metric: value for metric, value in config.margins.items() if metric in present} or None


def _by_chromosome(scores: pd.DataFrame, config: ComparisonConfig) -> pd.DataFrame:
    """Return masked accuracy and bits per base of every variant on every scored chromosome."""
    frames = []
    for (_, part, chrom), view in chromosome_views(scores).items():
        need = 2 if config.scope == "procedure" else 1
        seeds: dict[str, int] = {}
        for one in view:
            seeds[one.variant] = seeds.get(one.variant, 0) + 1
        view = [one for one in view if seeds[one.variant] >= need]
        if not view:
            continue
        reps = bootstrap(view, COMPARED_MLM, config)
        table = estimates({reps.task: reps}, scope=config.scope, level=config.level).to_frame()
        frames.append(table.assign(chrom=chrom, part=part))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

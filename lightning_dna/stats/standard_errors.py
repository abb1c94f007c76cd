"""Standard errors of one estimate: from replicates, from influence values, from the jackknife.

Three estimates of one variance check each other. The bootstrap variance is the reference for
examples. For clusters of unequal size the jackknife (leave one cluster out, CR3 in regression)
stands beside it, and the larger of the two is used: the bootstrap variance is too small there,
because many resamples lack the largest cluster. The influence values give the analytic variance,
DeLong's for AUROC, as a cross-check, and the effective degrees of freedom, which for unequal
clusters are at most those of the jackknife values and Kish's effective number of clusters less one.

References:
    DeLong et al. 1988; Bell & McCaffrey 2002; Carter, Schnepel & Steigerwald 2017.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightning_dna.stats.alignment import AlignedTask
from lightning_dna.stats.power import design_effect
from lightning_dna.stats.predictions import Floats, Integers
from lightning_dna.stats.question import Question
from lightning_dna.stats.replicates import Replicates
from lightning_dna.stats.variance import (
    Arm,
    crossed_variance,
    effective_df,
    example_variance,
    magnitude,
    mean_influence,
)

SIGNS = (1, -1)
"""Of the variant and of the baseline."""
MOST_RANKED_STEPS = 10_000_000
"""Units times examples up to which a ranked metric, which is sorted anew, is left one out."""


@dataclass(frozen=True, kw_only=True)
class ErrorEstimate:
    """Error of one estimate and where it comes from.

    Attributes:
        se: Standard error.
        df: Its degrees of freedom.
        se_analytic: Standard error from influence values; examples only.
        example: Variance from the choice of examples, as it stands in ``se``.
        seeds: Variance from the choice of seeds of each arm (one value for paired seeds); empty in
            checkpoint scope.
        seed: Variance from the choice of seeds of all arms, as it stands in ``se``.
        bootstrap: Variance of the replicates, corrected for the number of units.
        design_effect: Variance with clusters over variance as if examples were independent.
    """

    se: float
    df: float
    se_analytic: float
    example: float
    seeds: tuple[float, ...]
    seed: float
    bootstrap: float
    design_effect: float

    @property
    def mismatch(self) -> bool:
        """Whether replicates and influence values disagree by more than a quarter."""
        if not (self.se_analytic > 0 and self.bootstrap > 0):
            return False
        return not 0.8 <= self.bootstrap**0.5 / self.se_analytic <= 1.25


def standard_error(
    reps: Replicates,
    metric: int,
    variants: Sequence[int],
    arms: Sequence[Arm],
    question: Question,
) -> ErrorEstimate:
    """Return the standard error of the signed sum of seed means.

    Args:
        reps: Replicates of one task.
        metric: Position of the metric.
        variants: Position of the variant alone, or of the variant and then the baseline.
        arms: Their replicates.
        question: Scope, method and pairing of seeds.

    Returns:
        The error and its parts.
    """
    influence = estimate_influence(reps, metric, variants)
    analytic = analytic_variance(influence, analytic_groups(reps, metric))
    if analytic <= (1e-13 * magnitude(arms)) ** 2:
        analytic = 0.0  # rounding: the arms differ by the same amount on every unit
    bootstrap = example_variance(arms, reps.variance_correction)
    inflation, df = 1.0, effective_df(_centred(reps, influence), reps.parts)
    if _has_unequal_clusters(reps):
        jackknife, df = _cluster_error(reps, metric, variants, influence)
        if jackknife > bootstrap > 0:
            inflation = jackknife / bootstrap
    variance = analytic if question.method == "analytic" else bootstrap * inflation
    seeds: tuple[float, ...] = ()
    total = example = variance
    if question.scope == "procedure":
        # Example noise within seeds has the same bias, so it is inflated alike.
        correction = reps.variance_correction * inflation
        components = crossed_variance(
            arms, correction=correction, example_df=df, paired_seeds=question.paired_seeds
        )
        seeds = (components.seed,)
        if not question.paired_seeds:
            alone = [crossed_variance([arm], correction=correction, example_df=df) for arm in arms]
            seeds = tuple(one.seed for one in alone)
        total, example, df = components.total, components.example, components.df
    effect = 1.0
    if reps.example_influence is not None:
        single = mean_influence(reps.example_influence, reps.present, variants, SIGNS, metric)
        effect = design_effect(influence, single)
    return ErrorEstimate(
        se=total**0.5,
        df=df,
        se_analytic=analytic**0.5,
        example=example,
        seeds=seeds,
        seed=total - example,
        bootstrap=bootstrap,
        design_effect=effect,
    )


def _has_unequal_clusters(reps: Replicates) -> bool:
    """Return whether clusters differ in size; if not, they behave like examples."""
    if reps.unit != "cluster":
        return False
    return any(len(np.unique(_sizes(task))) > 1 for task in reps.tasks)


def _sizes(task: AlignedTask) -> Floats:
    """Return the number of examples of each cluster."""
    return np.bincount(np.asarray(task.cluster)).astype(np.float64)


def _cluster_error(
    reps: Replicates, metric: int, variants: Sequence[int], influence: Floats
) -> tuple[float, float]:
    """Return the jackknife variance over clusters (NaN without one) and degrees of freedom.

    Parts combine by Satterthwaite's formula.
    """
    jackknife, values = float("nan"), [influence]
    deviations = jackknife_deviations(reps, metric, variants)
    if deviations is not None:
        jackknife = jackknife_variance(deviations, reps.parts)
        values.append(deviations)
    uncertainty, total = 0.0, 0.0
    for task, group in zip(reps.tasks, sampled_groups(reps), strict=True):
        sizes = _sizes(task)
        kish = float(sizes.sum()) ** 2 / float((sizes**2).sum())
        # A design with fewer than two effective clusters gets no interval, so 1 is never too many.
        df = min(max(kish - 1, 1.0), *(effective_df(value[group]) for value in values))
        variance = float((influence[group] ** 2).sum())
        uncertainty += variance**2 / df
        total += variance
    return jackknife, total**2 / uncertainty if uncertainty > 0 else float(min(reps.parts) - 1)


def estimate_influence(reps: Replicates, metric: int, variants: Sequence[int]) -> Floats:
    """Return the influence values (units,) of the variant, or of the variant minus the baseline."""
    return mean_influence(reps.influence, reps.present, variants, SIGNS, metric)


def analytic_variance(influence: Floats, groups: Sequence[Integers]) -> float:
    """Return the variance from influence values, each group with its own n / (n - 1).

    Args:
        influence: (units,) influence values u.
        groups: Positions of the units of each group, two or more in each.

    Returns:
        Sum over groups of n / (n - 1) * sum (u - mean u)^2.

    Example:
        >>> analytic_variance(np.array([-0.5, 0.5, 0.0, 0.0]), [np.arange(2), np.arange(2, 4)])
        1.0
    """
    total = 0.0
    for group in groups:
        values = influence[group]
        total += float(((values - values.mean()) ** 2).sum()) * len(group) / (len(group) - 1)
    return total


def analytic_groups(reps: Replicates, metric: int) -> list[Integers]:
    """Return the groups of units with a variance of their own: parts, or classes within parts.

    For AUROC these are the classes, which makes the analytic variance that of DeLong.
    """
    groups = sampled_groups(reps)
    if reps.metrics[metric].name != "auroc" or reps.unit != "example" or reps.plan.strata:
        return groups
    return _by_class(reps, groups)


def sampled_groups(reps: Replicates) -> list[Integers]:
    """Return the groups of units that were resampled apart: parts, or strata within parts."""
    parts = np.split(np.arange(reps.n_units), _cuts(reps.parts))
    groups = [np.asarray(part) for part in parts]
    return _by_class(reps, groups) if reps.plan.strata == "class" else groups


def _by_class(reps: Replicates, groups: list[Integers]) -> list[Integers]:
    """Split examples by true class, unless a class has one example and so no variance."""
    labels = np.concatenate([np.asarray(task.y_true) for task in reps.tasks])
    split = [group[labels[group] == label] for group in groups for label in np.unique(labels)]
    split = [group for group in split if len(group) > 0]
    return groups if min(len(group) for group in split) < 2 else split


def _centred(reps: Replicates, influence: Floats) -> Floats:
    """Return the influence values as the resampling sees them: strata do not vary in size."""
    if reps.plan.strata is None:
        return influence
    centred = influence.copy()
    for group in sampled_groups(reps):
        centred[group] -= influence[group].mean()
    return centred


def jackknife_deviations(reps: Replicates, metric: int, variants: Sequence[int]) -> Floats | None:
    """Return (n - 1) / n times mean minus value of the leave-one-out estimates, part by part.

    Args:
        reps: Replicates of one task.
        metric: Position of the metric.
        variants: As in ``standard_error``.

    Returns:
        (units,) deviations; like influence values their sum of squares estimates the variance, up
        to n / (n - 1). ``None`` where the estimate is undefined without some unit, or where there
        are so many units that influence values say the same at a fraction of the cost.
    """
    if reps.metrics[metric].kind == "labels" or not reps.metrics[metric].smooth:
        return None
    if reps.metrics[metric].kind == "ranked":
        steps = [n * task.n_examples for n, task in zip(reps.parts, reps.tasks, strict=True)]
        if max(steps) > MOST_RANKED_STEPS:
            return None
    values = np.zeros(reps.n_units)
    for variant, sign in zip(variants, SIGNS, strict=False):
        values = values + sign * reps.leave_one_out(variant, metric).mean(axis=1)
    if not np.isfinite(values).all():
        return None
    pieces = [
        (len(piece) - 1) / len(piece) * (piece.mean() - piece)
        for piece in np.split(values, _cuts(reps.parts))
    ]
    return np.concatenate(pieces)


def jackknife_variance(deviations: Floats, parts: Sequence[int]) -> float:
    """Return the jackknife variance (n - 1) / n * sum (value - mean)^2, summed over parts.

    Args:
        deviations: (units,) from ``jackknife_deviations``.
        parts: Numbers of units resampled together.

    Returns:
        The variance.
    """
    pieces = np.split(deviations, _cuts(parts))
    return sum(float((piece**2).sum()) * len(piece) / (len(piece) - 1) for piece in pieces)


def replicate_errors(reps: Replicates, influence: Floats) -> tuple[float, Floats]:
    """Return the standard error of the estimate and of each replicate, for studentized intervals.

    With weights w and n units the squared error of a replicate is
    n / (n - 1) * (sum w u^2 - (sum w u)^2 / n): exact for means, first order for other metrics.

    Args:
        reps: Replicates of one task.
        influence: (units,) influence values u of the estimate.

    Returns:
        The standard error with equal weights, and (resamples,) those of the replicates.
    """
    groups = sampled_groups(reps)
    columns = np.zeros((reps.n_units, 2 * len(groups)))
    for number, group in enumerate(groups):
        columns[group, 2 * number] = influence[group] ** 2
        columns[group, 2 * number + 1] = influence[group]
    sums = np.vstack([columns.sum(axis=0), reps.resample(columns)])
    total = np.zeros(len(sums))
    for number, group in enumerate(groups):
        squares, linear = sums[:, 2 * number], sums[:, 2 * number + 1]
        spread = squares - linear**2 / len(group)
        spread[spread <= 1e-12 * squares] = 0.0  # rounding: all units drawn are alike
        total += spread * len(group) / (len(group) - 1)
    errors = np.sqrt(total)
    return float(errors[0]), errors[1:]


def _cuts(parts: Sequence[int]) -> Integers:
    cuts: Integers = np.cumsum(parts)[:-1]
    return cuts

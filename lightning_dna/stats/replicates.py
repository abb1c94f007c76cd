"""The tensor from which every interval, test and verdict of a task is computed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lightning_dna.errors import StatsError, unknown_name
from lightning_dna.stats.alignment import AlignedTask
from lightning_dna.stats.columns import UnitStatistics
from lightning_dna.stats.jackknife import left_out_values
from lightning_dna.stats.metrics import Metric
from lightning_dna.stats.plan import ResamplingPlan, Unit
from lightning_dna.stats.predictions import Array, Floats, Integers
from lightning_dna.stats.sampling import Sampler


@dataclass(frozen=True, kw_only=True, eq=False)
class Replicates:
    """Observed metrics, their bootstrap replicates and their influence values.

    In replicate b all variants, seeds and metrics share the same resample weights.

    Attributes:
        task: Name of the task.
        unit: What was resampled.
        variants: Names on the variant axis.
        seeds: Training seeds on the seed axis.
        metrics: Rows on the metric axis.
        present: (variants, seeds) whether the pair exists; absent pairs are NaN everywhere.
        values: (resamples, variants, seeds, metrics) replicates; NaN where undefined.
        observed: (variants, seeds, metrics) metrics of the data.
        influence: (units, variants, seeds, metrics) with variance of the metric ~ sum of squares.
        example_influence: The same by example where ``unit`` is cluster, else ``None``.
        n_undefined: (variants, seeds, metrics) number of undefined replicates.
        parts: Numbers of units resampled together; two for the contrast of two example sets.
        n_examples: Number of examples.
        effective_units: Kish's (sum n_g)^2 / sum n_g^2 over examples per unit; smallest part.
        minority: Number of examples of the rarest true class; ``None`` without labels.
        statistics: Unit-level sufficient statistics, one entry per part.
        variance_correction: Factor, n / (n - 1) for multinomial weights, that makes bootstrap
            variances unbiased for means; 1 for a contrast, whose parts carry it already.
        plan: How it was resampled.
        tasks: Aligned predictions, one entry per part.
        samplers: Source of the weights, one entry per part.
        tie_fraction: (variants, seeds) share of examples with tied scores; NaN without a ranked
            metric.
    """

    task: str
    unit: Unit
    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    metrics: tuple[Metric, ...]
    present: Array
    values: Floats
    observed: Floats
    influence: Floats
    example_influence: Floats | None
    n_undefined: Integers
    parts: tuple[int, ...]
    n_examples: int
    effective_units: float
    minority: int | None
    statistics: tuple[UnitStatistics, ...]
    variance_correction: float
    plan: ResamplingPlan
    tasks: tuple[AlignedTask, ...]
    samplers: tuple[Sampler, ...]
    tie_fraction: Floats

    @property
    def rng_seed(self) -> int:
        """Seed of the resampling streams."""
        return self.plan.seed

    @property
    def n_resamples(self) -> int:
        """Number of replicates."""
        return len(self.values)

    @property
    def n_units(self) -> int:
        """Number of resampled units, over all parts."""
        return sum(self.parts)

    @property
    def is_contrast(self) -> bool:
        """Whether the values are differences of a metric between two example sets."""
        return len(self.parts) > 1

    def variant_index(self, variant: str) -> int:
        """Return the position of a variant; an unknown name is an error with the nearest name."""
        if variant not in self.variants:
            raise unknown_name("variant", variant, self.variants, where=f"task '{self.task}'")
        return self.variants.index(variant)

    def seed_indices(self, variant: int) -> Integers:
        """Return the positions of the seeds that a variant has."""
        return np.flatnonzero(self.present[variant])

    def leave_one_out(self, variant: int, metric: int) -> Floats:
        """Return the metric of the data without one unit, for every unit and every seed.

        Args:
            variant: Position of the variant.
            metric: Position of the metric.

        Returns:
            (units, seeds) exact jackknife values, for the seeds that the variant has; of a
            contrast, the difference without one unit of one part.
        """
        seeds = self.seed_indices(variant)
        values = [
            left_out_values(part, task, self.metrics[metric], metric, (variant, seeds), self.unit)
            for part, task in zip(self.statistics, self.tasks, strict=True)
        ]
        if len(values) == 1:
            return values[0][0]
        (first, whole), (second, other) = values
        return np.concatenate([first - other, whole - second])

    def resample(self, columns: Floats) -> Floats:
        """Return weighted sums of any unit-level columns under the weights of the replicates.

        Args:
            columns: (units, k) values; of a contrast, the units of all parts one after the other.

        Returns:
            (resamples, k) sums.

        Raises:
            StatsError: If the replicates were drawn by cell, so that units have no weights.
        """
        if self.plan.draws == "cell":
            raise StatsError(
                "draws='cell' has no weights by unit, which this method needs; use draws='unit'"
            )
        pieces = np.split(columns, np.cumsum(self.parts)[:-1])
        total = np.zeros((self.n_resamples, columns.shape[1]))
        for sampler, piece in zip(self.samplers, pieces, strict=True):
            total += sampler.sums(piece)
        return total

    def select(self, metrics: Sequence[str]) -> "Replicates":
        """Return the replicates of some metrics, for families that are declared by metric.

        Raises:
            ConfigError: If a metric was not computed.
        """
        names = [metric.name for metric in self.metrics]
        for metric in metrics:
            if metric not in names:
                raise unknown_name("metric", metric, names, where=f"task '{self.task}'")
        keep = [names.index(metric) for metric in metrics]
        example = self.example_influence
        return replace(
            self,
            metrics=tuple(self.metrics[position] for position in keep),
            values=self.values[..., keep],
            observed=self.observed[..., keep],
            influence=self.influence[..., keep],
            example_influence=None if example is None else example[..., keep],
            n_undefined=self.n_undefined[..., keep],
            statistics=tuple(
                replace(part, index=tuple(part.index[position] for position in keep))
                for part in self.statistics
            ),
        )


def subtract(
    first: Replicates,
    second: Replicates,
    *,
    task: str,
    orientation: Literal["opposite", "same"] = "opposite",
) -> Replicates:
    """Return first minus second for two disjoint example sets, such as train minus held-out.

    The sets are resampled by independent streams, so variances add: influence values are joined
    with the second negated. Replicates of each part are spread around their mean by
    sqrt(n / (n - 1)) before they are subtracted, because the parts need different corrections.

    Args:
        first: Replicates on one set.
        second: Replicates on the other set: same variants, seeds, metrics, unit and number.
        task: Name of the contrast.
        orientation: ``"opposite"``: a gap, the smaller the better where the metric is the greater
            the better (training minus held-out accuracy; training minus held-out loss is below 0
            and the greater the better). ``"same"`` keeps the orientation of the metric.

    Returns:
        Replicates of the difference.

    Raises:
        StatsError: If the two do not match or are of one task, whose streams are not independent.
    """
    _check_parts(first, second, orientation)
    flip = orientation == "opposite"
    example = None
    if first.example_influence is not None and second.example_influence is not None:
        example = np.concatenate([first.example_influence, -second.example_influence])
    minorities = [side.minority for side in (first, second) if side.minority is not None]
    return replace(
        first,
        task=task,
        metrics=tuple(
            replace(
                metric,
                greater_is_better=metric.greater_is_better != flip,
                low=metric.low - metric.high,
                high=metric.high - metric.low,
            )
            for metric in first.metrics
        ),
        values=_corrected(first) - _corrected(second),
        observed=first.observed - second.observed,
        influence=np.concatenate([first.influence, -second.influence]),
        example_influence=example,
        n_undefined=np.maximum(first.n_undefined, second.n_undefined),
        parts=first.parts + second.parts,
        n_examples=first.n_examples + second.n_examples,
        effective_units=min(first.effective_units, second.effective_units),
        minority=min(minorities) if minorities else None,
        statistics=first.statistics + tuple(replace(p, sign=-p.sign) for p in second.statistics),
        variance_correction=1.0,
        tasks=first.tasks + second.tasks,
        samplers=first.samplers + second.samplers,
        tie_fraction=np.fmax(first.tie_fraction, second.tie_fraction),
    )


def _check_parts(first: Replicates, second: Replicates, orientation: str) -> None:
    """Raise unless the two can be subtracted."""
    if orientation not in ("opposite", "same"):
        raise StatsError(f"subtract: orientation={orientation!r}; allowed: 'opposite', 'same'")
    if first.task == second.task:
        raise StatsError(
            f"subtract: both sides are task '{first.task}'; the two example sets need different "
            "task names, or their resamples are not independent"
        )
    for attribute in ("unit", "variants", "seeds", "metrics", "plan"):
        left, right = getattr(first, attribute), getattr(second, attribute)
        if left != right:
            raise StatsError(
                f"subtract: '{first.task}' and '{second.task}' differ in {attribute}: "
                f"{left} and {right}"
            )
    if not np.array_equal(first.present, second.present):
        raise StatsError(
            f"subtract: '{first.task}' and '{second.task}' lack different variant-seed pairs"
        )


def _corrected(part: Replicates) -> Floats:
    """Spread the replicates so that their variance needs no correction."""
    defined = np.isfinite(part.values)
    count = np.maximum(defined.sum(axis=0), 1)
    mean = np.where(defined, part.values, 0.0).sum(axis=0) / count
    spread: Floats = mean + np.sqrt(part.variance_correction) * (part.values - mean)
    return spread

"""How many examples and seeds a difference needs: from files of predictions, or from numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lightning_dna.errors import StatsError, unknown_name
from lightning_dna.stats.files.columns import ColumnNames
from lightning_dna.stats.files.comparison import ComparisonChoices, FileComparison, compare_files
from lightning_dna.stats.files.reading import ReadingOptions
from lightning_dna.stats.intervals import Alternative
from lightning_dna.stats.noise_model import NoiseModel
from lightning_dna.stats.planning import Split, detectable_effects, required_seeds
from lightning_dna.stats.power import minimum_detectable_effect, power_of, required_units
from lightning_dna.stats.replicates import Replicates
from lightning_dna.stats.tables import ComparisonRow
from lightning_dna.stats.variance import variance_components

_FACTORS = (0.25, 0.5, 1, 2, 4, 10)
_SEEDS = (2, 3, 5, 10, 20)
_MOST_UNITS = 10**9
NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class PlannedTest:
    """The test that a study is planned for.

    Attributes:
        effect: True difference to detect, or one for each metric; ``None`` asks about none.
        power: Probability of detection wanted.
        alpha: Level of the test.
        alternative: Direction of the test.
    """

    effect: float | Mapping[str, float] | None = None
    power: float = 0.8
    alpha: float = 0.05
    alternative: Alternative = "two-sided"

    def effect_on(self, metric: str) -> float:
        """Return the difference to detect on a metric; NaN if none."""
        if isinstance(self.effect, Mapping):
            return self.effect.get(metric, NAN)
        return NAN if self.effect is None else self.effect

    def detectable(self, se: float, df: float) -> float:
        """Return the difference that is found with the power wanted."""
        return minimum_detectable_effect(
            se, df, alpha=self.alpha, power=self.power, alternative=self.alternative, exact=True
        )

    def chance(self, effect: float, se: float, df: float) -> float:
        """Return the probability that a difference is found; NaN if none was asked about."""
        if math.isnan(effect):
            return NAN
        return power_of(effect, se, df, alpha=self.alpha, alternative=self.alternative)

    def studies(
        self, noise: NoiseModel, n_units: Sequence[int], n_seeds: Sequence[int]
    ) -> tuple[Split, ...]:
        """Return what studies of these sizes detect."""
        return detectable_effects(
            noise,
            n_units=n_units,
            n_seeds=n_seeds,
            alpha=self.alpha,
            power=self.power,
            alternative=self.alternative,
        )


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What a study can detect, and what a difference would take.

    Attributes:
        se: Standard error of the difference now; NaN where there is no study yet.
        detectable: Difference that is found with the power wanted now.
        effect: Difference asked about; NaN if none.
        power: Probability that it is found now.
        units_needed: Units that find it, seeds as they are; ``None`` if no number does.
        seeds_needed: Seeds of each arm that find it on these units; ``None`` if no number does, or
            in checkpoint scope.
        grid: Detectable differences of studies of other sizes.
    """

    se: float = NAN
    detectable: float = NAN
    effect: float = NAN
    power: float = NAN
    units_needed: int | None = None
    seeds_needed: int | None = None
    grid: tuple[Split, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PowerRow:
    """The plan for one comparison.

    Attributes:
        task: Name of the task; empty for a plan from numbers.
        variant: Name of the variant, likewise.
        baseline: Name of the baseline, likewise.
        metric: Name of the metric.
        scope: ``"checkpoint"`` or ``"procedure"``.
        unit: What is sampled.
        n_units: Number of units now; 0 where there is no study yet.
        n_seeds: Number of seeds of each arm now.
        discordance: Share of examples on which exactly one of the two is right; NaN without labels.
        reach: What can be detected.
    """

    task: str = ""
    variant: str = ""
    baseline: str = ""
    metric: str
    scope: str
    unit: str = "example"
    n_units: int
    n_seeds: int
    discordance: float
    reach: Reach


def power_from_files(
    paths: Sequence[Path | str],
    choices: ComparisonChoices,
    test: PlannedTest,
    *,
    columns: ColumnNames | None = None,
    options: ReadingOptions | None = None,
) -> tuple[FileComparison, tuple[PowerRow, ...]]:
    """Plan from the errors that some predictions show.

    Args:
        paths: Files of predictions.
        choices: As for ``compare_files``.
        test: The test that is planned.
        columns: Names of columns that differ from the usual ones.
        options: How files become predictions.

    Returns:
        The comparison that the plan starts from, and one row for each of its rows.

    Raises:
        LightningDNAError: If the files cannot be compared.
    """
    found = compare_files(paths, choices, columns=columns, options=options)
    rows = found.comparisons.rows
    metrics = dict.fromkeys(row.metric for row in rows)
    if isinstance(test.effect, Mapping):
        for name in test.effect:
            if name not in metrics:
                raise unknown_name("metric", name, metrics, where="--effect")
    planned = tuple(
        plan_from_row(row, found.replicates[row.task], test, paired_seeds=choices.paired_seeds)
        for row in rows
    )
    return found, planned


def power_from_numbers(
    se: float,
    n_units: int,
    test: PlannedTest,
    *,
    df: float = math.inf,
    metric: str = "difference",
    discordance: float = NAN,
    sigma2_seed: float | None = None,
    n_seeds: int = 2,
    is_planned: bool = False,
) -> PowerRow:
    """Plan from a standard error.

    Args:
        se: Standard error that the choice of ``n_units`` units gives.
        n_units: Number of units behind it, 2 or more.
        test: The test that is planned.
        df: Degrees of freedom.
        metric: What the difference is of.
        discordance: Carried into the row.
        sigma2_seed: Variance of the difference between trainings, over both arms; ``None`` plans
            for trained weights.
        n_seeds: Number of seeds of each arm, 2 or more; only with ``sigma2_seed``.
        is_planned: Whether there is no study yet, and ``n_units`` is only what ``se`` is quoted
            for.

    Returns:
        The row.

    Raises:
        StatsError: If a number is out of range.

    Example:
        >>> test = PlannedTest(effect=0.02)
        >>> power_from_numbers(0.01, 1000, test, metric="accuracy").reach.units_needed
        1963
    """
    if not (se > 0 and math.isfinite(se)) or n_units < 2:
        raise StatsError(
            f"a plan needs a standard error above 0 and 2 or more units; found {se:g} and {n_units}"
        )
    effect = test.effect_on(metric)
    if sigma2_seed is None:
        reach = _checkpoint(se, df, n_units, test, effect)
    else:
        noise = NoiseModel(sigma2_example=se**2 * n_units, sigma2_seed=sigma2_seed)
        reach = _procedure(noise, n_units, n_seeds, test, effect)
    if is_planned:
        reach = replace(reach, se=NAN, detectable=NAN, power=NAN)
    return PowerRow(
        metric=metric,
        scope="checkpoint" if sigma2_seed is None else "procedure",
        n_units=0 if is_planned else n_units,
        n_seeds=1 if sigma2_seed is None else n_seeds,
        discordance=discordance,
        reach=reach,
    )


def plan_from_row(
    row: ComparisonRow, reps: Replicates, test: PlannedTest, *, paired_seeds: bool
) -> PowerRow:
    """Plan from one row of a comparison.

    Args:
        row: The row.
        reps: What it was made from.
        test: The test that is planned.
        paired_seeds: Whether equal seeds of two arms are a pair.

    Raises:
        StatsError: If the variance between seeds cannot be told.
    """
    effect = test.effect_on(row.metric)
    reach = Reach(se=row.se, effect=effect)
    if math.isfinite(row.se) and row.se > 0:
        if row.scope == "procedure":
            components = variance_components(
                reps, row.variant, row.baseline, metric=row.metric, paired_seeds=paired_seeds
            )
            reach = replace(
                _procedure(components.noise, row.n_units, row.n_seeds, test, effect),
                se=row.se,
                detectable=test.detectable(row.se, row.df),
                power=test.chance(effect, row.se, row.df),
            )
        else:
            reach = _checkpoint(row.se, row.df, row.n_units, test, effect)
    return PowerRow(
        task=row.task,
        variant=row.variant,
        baseline=row.baseline,
        metric=row.metric,
        scope=row.scope,
        unit=row.unit,
        n_units=row.n_units,
        n_seeds=row.n_seeds,
        discordance=_discordance(reps, row),
        reach=reach,
    )


def _checkpoint(se: float, df: float, n_units: int, test: PlannedTest, effect: float) -> Reach:
    """Plan for trained weights: the error shrinks with the root of the number of units."""
    grid = []
    for size in _sizes(n_units):
        error, freedom = se * math.sqrt(n_units / size), max(1.0, df * size / n_units)
        reach = test.detectable(error, freedom)
        grid.append(Split(n_units=size, n_seeds=1, se=error, df=freedom, detectable=reach))
    needed = None
    if not math.isnan(effect):
        needed = required_units(
            effect,
            se=se,
            df=df,
            n_units=n_units,
            alpha=test.alpha,
            power=test.power,
            alternative=test.alternative,
        )
    return Reach(
        se=se,
        detectable=test.detectable(se, df),
        effect=effect,
        power=test.chance(effect, se, df),
        units_needed=needed,
        grid=tuple(grid),
    )


def _procedure(
    noise: NoiseModel, n_units: int, n_seeds: int, test: PlannedTest, effect: float
) -> Reach:
    """Plan for training again: the error has a part that only more seeds make smaller."""
    (now,) = test.studies(noise, [n_units], [n_seeds])
    asked = not math.isnan(effect)
    return Reach(
        se=now.se,
        detectable=now.detectable,
        effect=effect,
        power=test.chance(effect, now.se, now.df),
        units_needed=_units_for(effect, noise, n_seeds, test) if asked else None,
        seeds_needed=_seeds_for(effect, noise, n_units, test) if asked else None,
        grid=test.studies(noise, _sizes(n_units), _SEEDS),
    )


def _seeds_for(effect: float, noise: NoiseModel, n_units: int, test: PlannedTest) -> int | None:
    """Return the seeds that an effect needs; ``None`` if the test set is too small for any."""
    try:
        return required_seeds(
            effect,
            noise,
            n_units=n_units,
            alpha=test.alpha,
            power=test.power,
            alternative=test.alternative,
        )
    except StatsError:
        return None


def _units_for(effect: float, noise: NoiseModel, n_seeds: int, test: PlannedTest) -> int | None:
    """Return the units that an effect needs with these seeds; ``None`` if no number is enough."""

    def reached(units: int) -> bool:
        return test.studies(noise, [units], [n_seeds])[0].detectable <= abs(effect)

    low, high = 1, 2
    while not reached(high):
        if high > _MOST_UNITS:
            return None
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _sizes(n_units: int) -> list[int]:
    """Return numbers of units around the present one."""
    return sorted({max(2, round(n_units * factor)) for factor in _FACTORS})


def _discordance(reps: Replicates, row: ComparisonRow) -> float:
    """Return the share of examples on which exactly one of the two is right, over pairs of seeds.

    NaN where there are no predicted labels.
    """
    task = reps.tasks[0]
    if task.y_true is None or task.y_pred is None:
        return NAN
    pair = [reps.variant_index(name) for name in (row.variant, row.baseline)]
    right = task.y_pred == task.y_true[:, None, None]
    one, other = (right[:, at, task.present[at]].mean(axis=1) for at in pair)
    return float(np.average(one * (1 - other) + other * (1 - one), weights=task.weight))

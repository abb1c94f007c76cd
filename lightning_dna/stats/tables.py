"""Rows of results, and their way into tables and files."""

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """What every row says, whatever was estimated.

    Attributes:
        task: Name of the task.
        variant: Name of the variant.
        metric: Name of the metric.
        scope: What is random: ``checkpoint`` examples, ``procedure`` seeds too.
        unit: What was resampled.
        n_units: Number of resampled units.
        n_examples: Number of examples.
        n_seeds: Number of training seeds; of a comparison, in the arm that has fewer.
        estimate: Metric of the variant, mean over its seeds.
        se: Standard error of the estimate; of a comparison, of the difference. That of the interval
            method: from influence values for ``analytic``, else from resampling.
        df: Its degrees of freedom.
        low: Lower limit of the estimate; of a comparison, of the difference.
        high: Upper limit.
        percentile_low: Lower percentile limit (checkpoint scope), else NaN.
        percentile_high: Upper percentile limit (checkpoint scope), else NaN.
        se_analytic: Standard error from influence values (for AUROC that of DeLong), examples only;
            beside the bootstrap it is a check.
        design_effect: Variance with clusters over variance as if examples were independent.
        tie_fraction: Share of examples whose score is tied with another one; NaN without scores. Of
            a comparison, the larger of the two arms.
        n_undefined: Number of undefined replicates.
        n_dropped: Number of examples that alignment left out; 0 unless ``how="inner"`` was asked.
        mc_error: Error of the limits from resampling alone.
        flags: Reasons for care, or for a missing interval.
        signature: How to compute the number again.
        plan_hash: Short hash of all that had to be decided before the predictions were read: plan
            of resampling, scope, level, method, family, correction, margins.
    """

    task: str
    variant: str
    metric: str
    scope: str
    unit: str
    n_units: int
    n_examples: int
    n_seeds: int
    estimate: float
    se: float
    df: float
    low: float
    high: float
    percentile_low: float
    percentile_high: float
    se_analytic: float
    design_effect: float
    tie_fraction: float
    n_undefined: int
    n_dropped: int
    mc_error: float
    flags: tuple[str, ...]
    signature: str
    plan_hash: str


@dataclass(frozen=True, kw_only=True)
class EstimateRow(ResultRow):
    """A metric of one variant on one task; the fields are those of ``ResultRow``."""


@dataclass(frozen=True, kw_only=True)
class ComparisonRow(ResultRow):
    """A variant minus the baseline on one task and metric; more fields are in ``ResultRow``.

    Attributes:
        baseline: Name of the baseline.
        estimand: What the difference is about, in words.
        baseline_estimate: Metric of the baseline.
        delta: Difference, variant minus baseline.
        p: p-value of "no difference", never 0.
        p_adjusted: The same, adjusted within the declared family.
        verdict: ``better``, ``worse``, ``equivalent`` or ``inconclusive``; ``non-inferior`` where a
            margin for it was declared.
        mde80: Difference that would be found with 80% power (not adjusted).
    """

    baseline: str
    estimand: str
    baseline_estimate: float
    delta: float
    p: float
    p_adjusted: float
    verdict: str
    mde80: float


READING_ORDER = (
    *("task", "variant", "baseline", "metric"),
    *("estimand", "scope", "unit", "n_units", "n_examples", "n_seeds"),
    *("estimate", "baseline_estimate", "delta", "se", "df", "low", "high"),
    *("percentile_low", "percentile_high", "p", "p_adjusted", "verdict", "mde80"),
    *("se_analytic", "design_effect", "tie_fraction", "n_undefined", "n_dropped", "mc_error"),
    *("flags", "signature", "plan_hash"),
)
"""Columns of both tables from left to right: who, what, how many, how much, how sure, how made."""

Row = TypeVar("Row", EstimateRow, ComparisonRow)


@dataclass(frozen=True, kw_only=True)
class _Table(Generic[Row]):
    rows: tuple[Row, ...]

    def to_frame(self) -> "pd.DataFrame":
        """Return the rows as a table; flags are joined by semicolons."""
        import pandas as pd  # here: the statistics themselves need numpy and scipy only

        records = [{**asdict(row), "flags": ";".join(row.flags)} for row in self.rows]
        return pd.DataFrame.from_records(records, columns=columns_of(self._row_type()))

    def to_json(self) -> str:
        """Return the rows as a JSON list of objects; NaN and infinite limits are null."""
        names = columns_of(self._row_type())
        records = [{name: _plain(getattr(row, name)) for name in names} for row in self.rows]
        return json.dumps(records, indent=2, allow_nan=False)

    def _row_type(self) -> type[Row]:
        raise AssertionError("each table names its row")


@dataclass(frozen=True, kw_only=True)
class EstimateTable(_Table[EstimateRow]):
    """Metrics of all variants on all tasks."""

    def _row_type(self) -> type[EstimateRow]:
        return EstimateRow


@dataclass(frozen=True, kw_only=True)
class ComparisonTable(_Table[ComparisonRow]):
    """Differences of all variants to the baseline on all tasks."""

    def _row_type(self) -> type[ComparisonRow]:
        return ComparisonRow


def columns_of(row: type[ResultRow]) -> list[str]:
    """Return the names of a row's fields in reading order.

    Example:
        >>> columns_of(EstimateRow)[:4]
        ['task', 'variant', 'metric', 'scope']
    """
    present = {field.name for field in fields(row)}
    return [name for name in READING_ORDER if name in present]


def _plain(value: object) -> object:
    """Return a value as JSON can hold it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return list(value) if isinstance(value, tuple) else value

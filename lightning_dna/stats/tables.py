"""Rows of results, and their way into tables and files."""

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class EstimateRow:
    """A metric of one variant on one task.

    Attributes:
        task: Name of the task.
        variant: Name of the variant.
        metric: Name of the metric.
        estimate: Mean over the seeds.
        se: Standard error.
        df: Its degrees of freedom.
        low: Lower limit.
        high: Upper limit.
        percentile_low: Lower percentile limit (checkpoint scope), else NaN.
        percentile_high: Upper percentile limit (checkpoint scope), else NaN.
        n_units: Number of resampled units.
        n_examples: Number of examples.
        n_seeds: Number of training seeds.
        unit: What was resampled.
        scope: What is random: ``checkpoint`` examples, ``procedure`` seeds too.
        design_effect: Variance with clusters over variance as if examples were independent.
        n_undefined: Number of undefined replicates.
        mc_error: Error of the limits from resampling alone.
        flags: Reasons for care, or for a missing interval.
        signature: How to compute the number again.
    """

    task: str
    variant: str
    metric: str
    estimate: float
    se: float
    df: float
    low: float
    high: float
    percentile_low: float
    percentile_high: float
    n_units: int
    n_examples: int
    n_seeds: int
    unit: str
    scope: str
    design_effect: float
    n_undefined: int
    mc_error: float
    flags: tuple[str, ...]
    signature: str


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """A variant minus the baseline on one task and metric.

    Attributes:
        task: Name of the task.
        variant: Name of the variant.
        baseline: Name of the baseline.
        metric: Name of the metric.
        estimand: What the difference is about, in words.
        scope: What is random: ``checkpoint`` examples, ``procedure`` seeds too.
        unit: What was resampled.
        n_units: Number of resampled units.
        n_examples: Number of examples.
        n_seeds: Number of training seeds; of the arm that has fewer.
        estimate: Metric of the variant.
        baseline_estimate: Metric of the baseline.
        delta: Difference, variant minus baseline.
        se: Standard error of the difference.
        df: Its degrees of freedom.
        low: Lower limit of the difference.
        high: Upper limit of the difference.
        percentile_low: Lower percentile limit (checkpoint scope), else NaN.
        percentile_high: Upper percentile limit (checkpoint scope), else NaN.
        p: p-value of "no difference", never 0.
        p_adjusted: The same, adjusted within the declared family.
        verdict: ``better``, ``worse``, ``equivalent`` or ``inconclusive``.
        mde80: Difference that would be found with 80% power (not adjusted).
        design_effect: Variance with clusters over variance as if examples were independent.
        n_undefined: Number of undefined replicates.
        mc_error: Error of the limits from resampling alone.
        flags: Reasons for care, or for a missing interval.
        signature: How to compute the number again.
    """

    task: str
    variant: str
    baseline: str
    metric: str
    estimand: str
    scope: str
    unit: str
    n_units: int
    n_examples: int
    n_seeds: int
    estimate: float
    baseline_estimate: float
    delta: float
    se: float
    df: float
    low: float
    high: float
    percentile_low: float
    percentile_high: float
    p: float
    p_adjusted: float
    verdict: str
    mde80: float
    design_effect: float
    n_undefined: int
    mc_error: float
    flags: tuple[str, ...]
    signature: str


Row = TypeVar("Row", EstimateRow, ComparisonRow)


@dataclass(frozen=True, kw_only=True)
class _Table(Generic[Row]):
    rows: tuple[Row, ...]

    def to_frame(self) -> "pd.DataFrame":
        """Return the rows as a table; flags are joined by semicolons."""
        import pandas as pd  # here: the statistics themselves need numpy and scipy only

        records = [{**asdict(row), "flags": ";".join(row.flags)} for row in self.rows]
        return pd.DataFrame.from_records(records, columns=_names(self._row_type()))

    def to_json(self) -> str:
        """Return the rows as a JSON list of objects; NaN and infinite limits are null."""
        records = [
            {name: _plain(value) for name, value in asdict(row).items()} for row in self.rows
        ]
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


def _names(row: type[EstimateRow] | type[ComparisonRow]) -> list[str]:
    return [field.name for field in fields(row)]


def _plain(value: object) -> object:
    """Return a value as JSON can hold it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return list(value) if isinstance(value, tuple) else value

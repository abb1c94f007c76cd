"""The metrics: one function of weighted sums, its gradient, and one row each.

Every metric but the ranked ones is a smooth function of sums over units, so one resample costs one
weighted sum per column. ``cells`` metrics read, for K classes, the 3K sums hits_k (predicted k and
true), predicted_k and true_k; ``moments`` metrics the sums of a numerator and of a denominator;
``values`` metrics, of truth y and prediction p (both centred), the sums of the columns they name.
The sums stand on the first axis, in that order; all other axes (pairs, replicates) are free.
``ranked`` metrics depend on the order of the scores and are computed in ``ranked``; ``labels``
metrics are means or medians of those over the labels of a task, computed in ``label_lanes``.

Conventions for empty cells are those of scikit-learn: F1 of a class that is neither true nor
predicted is left out of the macro mean, precision or MCC of 0/0 is 0, recall of an absent class is
left out of the balanced accuracy.

Sums over classes run class by class: a class that only some other variant predicts then adds exact
zeros, and cannot change the last digit of this one.
"""

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lightning_dna.errors import StatsError, unknown_name
from lightning_dna.stats.predictions import Array, Floats

Function = Callable[[Floats], Floats]


def _by_rank(sums: Floats) -> Floats:
    """Stand where a function of sums would: a metric of ranks has none."""
    raise AssertionError("ranked metrics are computed from sorted scores, not from sums")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One row of the table of metrics.

    Attributes:
        name: Name in reports; for ``moments`` also the key of its numerator and denominator.
        kind: What it reads.
        value: Sums (columns, ...) -> metric (...); NaN where undefined. Unused if ``ranked``.
        gradient: Observed sums (columns,) -> partial derivatives (columns,). Unused if ``ranked``.
        greater_is_better: Orientation of the verdict.
        low: Smallest possible value; ``-inf`` if unbounded.
        high: Largest possible value; ``inf`` if unbounded.
        class_sensitive: Whether few examples of the rarest class make its interval doubtful.
        binary: Whether labels must be 0 and 1 (1 is the positive class).
        needs_denominator: Whether a missing denominator is an error; otherwise it is 1 per example.
        columns: Names of the columns of a ``values`` metric.
        smooth: Whether one example moves it by little; the jackknife fails for what hangs on a
            quantile, and is then left out.
    """

    name: str
    kind: Literal["cells", "moments", "values", "ranked", "labels"]
    greater_is_better: bool
    low: float
    high: float
    value: Function = _by_rank
    gradient: Function = _by_rank
    class_sensitive: bool = False
    binary: bool = False
    needs_denominator: bool = True
    columns: tuple[str, ...] = ()
    smooth: bool = True


def _total(terms: Floats) -> Floats:
    """Add along the first axis, one term after the other."""
    total: Floats = functools.reduce(operator.add, terms)
    return total


def _ratio_or(top: Floats, bottom: Floats, empty: float) -> Floats:
    """Divide, giving ``empty`` where the bottom is 0."""
    filled = np.full(np.shape(top), empty)
    np.divide(top, bottom, out=filled, where=bottom != 0)
    return filled


def _cells(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Split (3K, ...) into hits, predicted, true, each (K, ...)."""
    classes = len(sums) // 3
    return sums[:classes], sums[classes : 2 * classes], sums[2 * classes :]


def accuracy(sums: Floats) -> Floats:
    """Return the weighted share of examples whose label was predicted."""
    hits, _, true = _cells(sums)
    return _ratio_or(_total(hits), _total(true), np.nan)


def accuracy_gradient(sums: Floats) -> Floats:
    """Return the partial derivatives of ``accuracy``."""
    hits, _, true = _cells(sums)
    size, correct = _total(true), _total(hits)
    return np.concatenate(
        [np.full_like(hits, 1 / size), np.zeros_like(hits), np.full_like(hits, -correct / size**2)]
    )


def balanced_accuracy(sums: Floats) -> Floats:
    """Return the mean recall over the classes that occur."""
    hits, _, true = _cells(sums)
    recall = _ratio_or(hits, true, 0.0)
    return _ratio_or(_total(recall), _total((true > 0).astype(np.float64)), np.nan)


def balanced_accuracy_gradient(sums: Floats) -> Floats:
    """Return the partial derivatives of ``balanced_accuracy``."""
    hits, _, true = _cells(sums)
    occur = (true > 0).sum()
    return np.concatenate(
        [
            _ratio_or(np.ones_like(true), true, 0.0) / occur,
            np.zeros_like(hits),
            _ratio_or(-hits, true**2, 0.0) / occur,
        ]
    )


def f1(sums: Floats) -> Floats:
    """Return 2 hits / (predicted + true) of class 1; 0 where it neither occurs nor is predicted."""
    hits, predicted, true = _cells(sums)
    return _ratio_or(2 * hits[1], predicted[1] + true[1], 0.0)


def f1_gradient(sums: Floats) -> Floats:
    """Return the partial derivatives of ``f1``."""
    hits, predicted, true = _cells(sums)
    size = predicted[1] + true[1]
    gradient = np.zeros_like(sums)
    if size > 0:
        gradient[[1, 3, 5]] = 2 / size, -2 * hits[1] / size**2, -2 * hits[1] / size**2
    return gradient


def macro_f1(sums: Floats) -> Floats:
    """Return the mean F1 over the classes that occur or are predicted."""
    hits, predicted, true = _cells(sums)
    size = predicted + true
    return _ratio_or(
        _total(_ratio_or(2 * hits, size, 0.0)), _total((size > 0).astype(np.float64)), np.nan
    )


def macro_f1_gradient(sums: Floats) -> Floats:
    """Return the partial derivatives of ``macro_f1``."""
    hits, predicted, true = _cells(sums)
    size = predicted + true
    used = (size > 0).sum()
    slope = _ratio_or(-2 * hits, size**2, 0.0) / used
    return np.concatenate([_ratio_or(np.full_like(size, 2.0), size, 0.0) / used, slope, slope])


def _mcc_terms(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Return covariance of true and predicted and their variances, times the size squared."""
    hits, predicted, true = _cells(sums)
    size = _total(true)
    covariance = _total(hits) * size - _total(predicted * true)
    return covariance, size**2 - _total(predicted**2), size**2 - _total(true**2)


def mcc(sums: Floats) -> Floats:
    """Return the correlation of true and predicted classes (R_K); 0 if one is constant."""
    covariance, spread_predicted, spread_true = _mcc_terms(sums)
    product = np.sqrt(np.maximum(spread_predicted, 0)) * np.sqrt(np.maximum(spread_true, 0))
    value = _ratio_or(covariance, product, 0.0)
    return np.where(_total(_cells(sums)[2]) > 0, value, np.nan)


def mcc_gradient(sums: Floats) -> Floats:
    """Return the partial derivatives of ``mcc``; 0 where it is 0 by convention."""
    hits, predicted, true = _cells(sums)
    covariance, spread_predicted, spread_true = _mcc_terms(sums)
    if spread_predicted <= 0 or spread_true <= 0:
        return np.zeros_like(sums)
    size = _total(true)
    root = np.sqrt(spread_predicted * spread_true)
    half = covariance / root / 2
    by_hits = np.full_like(hits, size / root)
    by_predicted = -true / root + half * 2 * predicted / spread_predicted
    by_true = (_total(hits) - predicted) / root - half * (
        2 * size / spread_predicted + 2 * (size - true) / spread_true
    )
    return np.concatenate([by_hits, by_predicted, by_true])


def ratio(sums: Floats) -> Floats:
    """Return sum(numerator) / sum(denominator); NaN where the denominator is 0."""
    return _ratio_or(sums[0], sums[1], np.nan)


def ratio_gradient(sums: Floats) -> Floats:
    """Return the partial derivatives of ``ratio``."""
    if sums[1] == 0:
        return np.full(2, np.nan)
    return np.array([1 / sums[1], -sums[0] / sums[1] ** 2])


def pearson(sums: Floats) -> Floats:
    """Return the correlation from size, y, yy, p, pp, yp; NaN where y or p is constant."""
    size, y, yy, p, pp, yp = sums
    spread_y, spread_p = _spread(yy, y, size), _spread(pp, p, size)
    root = np.sqrt(spread_y) * np.sqrt(spread_p)
    return np.clip(_ratio_or(yp - _ratio_or(y * p, size, np.nan), root, np.nan), -1, 1)


def pearson_gradient(sums: Floats) -> Floats:
    """Return the partial derivatives of ``pearson``; NaN where it is undefined."""
    size, y, yy, p, pp, yp = sums
    spread_y, spread_p = _spread(yy, y, size), _spread(pp, p, size)
    if not (spread_y > 0 and spread_p > 0):
        return np.full(6, np.nan)
    root = np.sqrt(spread_y * spread_p)
    half = (yp - y * p / size) / root / 2
    by_y, by_p = half / spread_y, half / spread_p  # of minus the spreads
    return np.array(
        [
            y * p / size**2 / root - by_y * y**2 / size**2 - by_p * p**2 / size**2,
            -p / size / root + by_y * 2 * y / size,
            -by_y,
            -y / size / root + by_p * 2 * p / size,
            -by_p,
            1 / root,
        ]
    )


def r2(sums: Floats) -> Floats:
    """Return 1 - squared error / spread of y, from size, y, yy, error; NaN for constant y."""
    size, y, yy, error = sums
    return 1 - _ratio_or(error, _spread(yy, y, size), np.nan)


def r2_gradient(sums: Floats) -> Floats:
    """Return the partial derivatives of ``r2``; NaN where it is undefined."""
    size, y, yy, error = sums
    spread = _spread(yy, y, size)
    if not spread > 0:
        return np.full(4, np.nan)
    slope = error / spread**2
    return np.array([slope * y**2 / size**2, -slope * 2 * y / size, slope, -1 / spread])


def _spread(squares: Floats, total: Floats, size: Floats) -> Floats:
    """Return the sum of squares about the mean; 0 where only rounding is left of it."""
    spread = squares - _ratio_or(total**2, size, 0.0)
    return np.where(spread > 1e-12 * squares, spread, 0.0)


def _share(
    name: str,
    value: Function,
    gradient: Function,
    *,
    class_sensitive: bool = False,
    binary: bool = False,
) -> Metric:
    """Row of a classification metric between 0 and 1."""
    return Metric(
        name=name,
        kind="cells",
        value=value,
        gradient=gradient,
        greater_is_better=True,
        low=0,
        high=1,
        class_sensitive=class_sensitive,
        binary=binary,
    )


def _quotient(
    name: str, *, greater: bool, low: float, high: float, denominator: bool = True
) -> Metric:
    """Row of a ratio of two sums."""
    return Metric(
        name=name,
        kind="moments",
        value=ratio,
        gradient=ratio_gradient,
        greater_is_better=greater,
        low=low,
        high=high,
        needs_denominator=denominator,
    )


def _regression(
    name: str, value: Function, gradient: Function, low: float, high: float, *columns: str
) -> Metric:
    """Row of a metric of real-valued predictions; errors are the smaller the better."""
    return Metric(
        name=name,
        kind="values",
        value=value,
        gradient=gradient,
        greater_is_better=name not in ("mse", "mae"),
        low=low,
        high=high,
        columns=columns,
    )


def _ranked(name: str, low: float, *, binary: bool, smooth: bool = True) -> Metric:
    """Row of a metric of the order of the scores."""
    return Metric(
        name=name,
        kind="ranked",
        greater_is_better=True,
        low=low,
        high=1,
        class_sensitive=binary,
        binary=binary,
        smooth=smooth,
    )


_ROWS = (
    _share("accuracy", accuracy, accuracy_gradient),
    _share(
        "balanced_accuracy", balanced_accuracy, balanced_accuracy_gradient, class_sensitive=True
    ),
    _share("f1", f1, f1_gradient, class_sensitive=True, binary=True),
    _share("macro_f1", macro_f1, macro_f1_gradient, class_sensitive=True),
    Metric(
        name="mcc",
        kind="cells",
        value=mcc,
        gradient=mcc_gradient,
        greater_is_better=True,
        low=-1,
        high=1,
        class_sensitive=True,
    ),
    _ranked("auroc", 0, binary=True),
    _ranked("auprc", 0, binary=True),
    _ranked("tpr_at_fpr01", 0, binary=True, smooth=False),
    _ranked("spearman", -1, binary=False),
    _regression("pearson", pearson, pearson_gradient, -1, 1, "size", "y", "yy", "p", "pp", "yp"),
    _regression("r2", r2, r2_gradient, -np.inf, 1, "size", "y", "yy", "squared_error"),
    _regression("mse", ratio, ratio_gradient, 0, np.inf, "squared_error", "size"),
    _regression("mae", ratio, ratio_gradient, 0, np.inf, "absolute_error", "size"),
    _quotient("mlm_accuracy", greater=True, low=0, high=1),  # correct / masked
    _quotient("cross_entropy", greater=False, low=0, high=np.inf),  # nats / masked
    _quotient("bits_per_base", greater=False, low=0, high=np.inf),  # bits / bases
    _quotient("ratio", greater=True, low=-np.inf, high=np.inf),
    _quotient("exposure", greater=False, low=0, high=np.inf, denominator=False),  # bits of canaries
    _quotient("mean", greater=True, low=-np.inf, high=np.inf, denominator=False),
)
METRICS: Mapping[str, Metric] = {row.name: row for row in _ROWS}

LABEL_METRICS: Mapping[str, Metric] = {
    f"{statistic}_{name}": Metric(
        name=f"{statistic}_{name}", kind="labels", greater_is_better=True, low=0, high=1
    )
    for statistic in ("mean", "median")
    for name in ("auroc", "auprc")
}
"""Metrics of tasks with many labels for each example."""


def resolve_metrics(metrics: Sequence[str | Metric]) -> tuple[Metric, ...]:
    """Return the rows for names (a ``Metric`` passes through), refusing unknown and repeated ones.

    Raises:
        ConfigError: If a name is in no table of metrics; the nearest is suggested.
        StatsError: If none is given, or one twice.
    """
    if isinstance(metrics, str):
        raise StatsError(f"metrics must be a list of names, such as ['{metrics}']")
    rows = []
    for metric in metrics:
        known = {**METRICS, **LABEL_METRICS}
        if isinstance(metric, str) and metric not in known:
            raise unknown_name("metric", metric, known)
        rows.append(known[metric] if isinstance(metric, str) else metric)
    names = [row.name for row in rows]
    if not names or len(set(names)) < len(names):
        raise StatsError(f"metrics must be named once each, and at least one; found {names}")
    return tuple(rows)


def check_range(metric: Metric, numerator: Array, denominator: Array) -> Array:
    """Return a mask of examples whose numerator is outside what the metric's range allows."""
    low = -np.inf if np.isinf(metric.low) else metric.low * denominator
    high = np.inf if np.isinf(metric.high) else metric.high * denominator
    return (numerator < low) | (numerator > high)

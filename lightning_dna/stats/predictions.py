"""What one trained model said about one test set, checked on entry."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lightning_dna.errors import StatsError

Array = NDArray[Any]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

PLAIN = ""
"""Key under which a numerator or denominator given as a bare array is kept: it fits any metric."""

_PER_EXAMPLE = (
    *("example_id", "cluster_id", "weight", "y_true", "y_pred", "y_score"),
    *("numerator", "denominator", "labels", "label_scores", "counts"),
)

SHOWN = 10
"""Number of offending ids that a message lists."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Per-example predictions of one task, variant and seed: never a mean.

    Classification metrics need ``y_true`` and ``y_pred``, ranking metrics (such as ``auroc``)
    ``y_true`` and ``y_score``, regression metrics (``pearson``, ``spearman``, ``r2``, ``mse``,
    ``mae``) a numeric ``y_true`` and ``y_score`` or a numeric ``y_pred``. Ratio metrics
    (``mlm_accuracy``, ``cross_entropy``, ``bits_per_base``, ``ratio``, ``mean``) need ``numerator``
    and, except for ``mean``, ``denominator``: the metric is ``sum(numerator) / sum(denominator)``
    over examples, with no unit conversion, so the numerator of ``bits_per_base`` is in bits.
    Metrics over labels (``mean_auroc`` and so on) need ``labels`` and ``label_scores``.
    Classification metrics of examples that hold many decisions each (the positions of a sequence)
    need ``counts`` in place of ``y_true`` and ``y_pred``.

    Attributes:
        task: Name of the task; also the key of its random stream.
        variant: Name of the model or arm.
        seed: Training seed, 0 or more.
        example_id: (n,) integers or text, unique.
        y_true: (n,) class labels (integers, booleans or text) or real numbers, or ``None``.
        y_pred: (n,) predicted labels or numbers, of the kind of ``y_true``, or ``None``.
        y_score: (n,) scores, the greater the more positive; or (n, 2) logits or probabilities of
            the classes 0 and 1, kept as second minus first; or ``None``.
        weight: (n,) importance weights >= 0, equal in all variants, or ``None`` for 1.
        numerator: (n,) array for every ratio metric, or one array per metric name.
        denominator: Like ``numerator``; >= 0.
        cluster_id: (n,) integers or text: examples that are not independent share one.
        labels: (n, labels) whether an example has each label, or ``None``.
        label_scores: (n, labels) scores, the greater the more likely the label; or ``None``.
        counts: (n, 3, classes) decisions of an example that are hits, predicted and true of each
            class, or ``None``.

    Raises:
        StatsError: If lengths differ, an id repeats, or a value is missing, NaN or infinite.

    Example:
        >>> Predictions(task="promoter", variant="hyena", seed=0, example_id=[7, 3],
        ...             y_true=[1, 0], y_pred=[1, 1]).n_examples
        2
    """

    task: str
    variant: str
    seed: int
    example_id: Array
    y_true: Array | None = None
    y_pred: Array | None = None
    y_score: Array | None = None
    weight: Array | None = None
    numerator: Array | Mapping[str, Array] | None = None
    denominator: Array | Mapping[str, Array] | None = None
    cluster_id: Array | None = None
    labels: Array | None = None
    label_scores: Array | None = None
    counts: Array | None = None

    def __post_init__(self) -> None:
        """Convert every field to an array and check it."""
        if not self.task or not self.variant:
            raise StatsError("predictions need a task and a variant name; one of them is empty")
        if int(self.seed) != self.seed or self.seed < 0:
            raise StatsError(
                f"{self.name}: seed must be an integer of 0 or more, not {self.seed!r}"
            )
        ids = self._labels("example_id", self.example_id)
        if len(ids) == 0:
            raise StatsError(f"{self.name}: there is no example")
        values, counts = np.unique(ids, return_counts=True)
        if counts.max() > 1:
            raise StatsError(
                f"{self.name}: example_id must be unique; repeated: {listed(values[counts > 1])}"
            )
        self._set("example_id", ids)
        for field in ("y_true", "y_pred", "cluster_id"):
            if getattr(self, field) is not None:
                self._set(field, self._sized(field, self._labels(field, getattr(self, field))))
        for field in ("y_score", "weight"):
            if getattr(self, field) is not None:
                self._set(field, self._numbers(field, getattr(self, field)))
        if self.y_score is not None and self.y_score.ndim == 2:
            if self.y_score.shape[1] != 2:
                raise StatsError(
                    f"{self.name}: y_score has {self.y_score.shape[1]} columns; give one score per "
                    "example, or two for the classes 0 and 1"
                )
            # The order of the differences is that of the probabilities, for logits too.
            self._set("y_score", self.y_score[:, 1] - self.y_score[:, 0])
        if self.weight is not None and (self.weight.min() < 0 or self.weight.sum() == 0):
            raise StatsError(f"{self.name}: weight must be 0 or more, and not 0 everywhere")
        self._check_labels()
        self._check_counts()
        self._set("numerator", self._by_metric("numerator", self.numerator))
        self._set("denominator", self._by_metric("denominator", self.denominator))
        for metric, values in self.denominators.items():
            if values.min() < 0:
                offending = self.example_id[values < 0]
                raise StatsError(
                    f"{self.name}: denominator {metric or 'array'} is negative for example "
                    f"{listed(offending)}; it must be 0 or more"
                )

    @property
    def name(self) -> str:
        """Task, variant and seed, as messages show them."""
        return f"task '{self.task}', variant '{self.variant}', seed {self.seed}"

    @property
    def n_examples(self) -> int:
        """Number of examples."""
        return len(self.example_id)

    @property
    def numerators(self) -> Mapping[str, Floats]:
        """Numerators by metric name; a bare array stands under ``PLAIN``."""
        return cast(Mapping[str, Floats], self.numerator)

    @property
    def denominators(self) -> Mapping[str, Floats]:
        """Denominators by metric name; a bare array stands under ``PLAIN``."""
        return cast(Mapping[str, Floats], self.denominator)

    def select(
        self,
        rows: Array | None = None,
        *,
        columns: slice | None = None,
        task: str | None = None,
    ) -> "Predictions":
        """Return the predictions of some examples, or of some labels of each, as a task's own.

        Args:
            rows: Flags of shape ``(n,)`` or numbers of the examples; ``None`` for all.
            columns: Which of the labels; ``None`` for all.
            task: Name of the new task; ``None`` keeps it.

        Raises:
            StatsError: If no example is left, or an example would stand twice.

        Example:
            >>> found = Predictions(task="t", variant="a", seed=0, example_id=[7, 3, 5],
            ...                     y_true=[1, 0, 1], y_pred=[1, 1, 0])
            >>> found.select(np.array([True, False, True]), task="t/part").y_pred.tolist()
            [1, 0]
        """
        changed: dict[str, Any] = {} if task is None else {"task": task}
        for name in _PER_EXAMPLE:
            value = getattr(self, name)
            if value is None:
                continue
            if rows is not None and isinstance(value, Mapping):
                value = {metric: array[rows] for metric, array in value.items()}
            elif rows is not None:
                value = value[rows]
            cut = columns is not None and name in ("labels", "label_scores")
            changed[name] = value[:, columns] if cut else value
        return replace(self, **changed)

    def _set(self, field: str, value: object) -> None:
        object.__setattr__(self, field, value)

    def _check_labels(self) -> None:
        """Convert labels and their scores, and check that they belong together."""
        if self.labels is None and self.label_scores is None:
            return
        labels = np.asarray(self.labels)
        scores = np.asarray(self.label_scores)
        if labels.ndim != 2 or labels.shape != scores.shape or len(labels) != self.n_examples:
            raise StatsError(
                f"{self.name}: labels have shape {labels.shape} and label_scores {scores.shape}; "
                f"expected ({self.n_examples}, labels) for both"
            )
        if not np.isin(labels, (0, 1)).all():
            raise StatsError(f"{self.name}: labels must be 0 or 1")
        bad = ~np.isfinite(scores).all(axis=1)
        if bad.any():
            raise StatsError(
                f"{self.name}: label_scores is NaN or infinite for example "
                f"{listed(self.example_id[bad])}"
            )
        self._set("labels", labels.astype(np.bool_))
        self._set("label_scores", scores)

    def _check_counts(self) -> None:
        """Convert counts of decisions, and check that they can be counts."""
        if self.counts is None:
            return
        counts = np.asarray(self.counts)
        if counts.ndim != 3 or counts.shape[:2] != (self.n_examples, 3):
            raise StatsError(
                f"{self.name}: counts have shape {counts.shape}; expected ({self.n_examples}, 3, "
                "classes): hits, predicted, true"
            )
        hits, predicted, true = np.moveaxis(counts, 1, 0)
        wrong = (hits < 0) | (hits > np.minimum(predicted, true))
        bad = wrong.any(axis=1) | (predicted.sum(axis=1) != true.sum(axis=1))
        if bad.any():
            raise StatsError(
                f"{self.name}: counts of example {listed(self.example_id[bad])} cannot be hits, "
                "predicted and true of the same decisions"
            )
        self._set("counts", counts.astype(np.int64))

    def _sized(self, field: str, values: Array) -> Array:
        if len(values) != self.n_examples:
            raise StatsError(
                f"{self.name}: {field} has {len(values)} values for {self.n_examples} examples; "
                "give one value for each example_id"
            )
        return values

    def _labels(self, field: str, values: object) -> Array:
        """Return ids, or labels, as int64, text or (labels only) float64."""
        # A list keeps its own types: numpy would turn a mixture of numbers and text into text.
        array = np.asarray(values, dtype=object if isinstance(values, list | tuple) else None)
        if array.ndim != 1:
            raise StatsError(f"{self.name}: {field} must have one axis, not shape {array.shape}")
        if len(array) == 0:
            return array.astype(np.int64)
        if array.dtype.kind == "O":
            if all(isinstance(value, str) for value in array):
                return array.astype(str)
            if all(isinstance(value, int | np.integer) for value in array):
                return array.astype(np.int64)
            if all(isinstance(value, float | int | np.number) for value in array):
                array = array.astype(np.float64)
        if array.dtype.kind in "biu":
            return array.astype(np.int64)
        if array.dtype.kind == "f" and field != "example_id":
            # Label columns that passed through a table with gaps come back as 0.0 and 1.0.
            bad = ~np.isfinite(array)
            if bad.any():
                named = len(array) == self.n_examples
                where = self.example_id[bad] if named else bad.nonzero()[0]
                raise StatsError(
                    f"{self.name}: {field} is NaN or infinite for example {listed(where)}"
                )
            if field == "cluster_id" and (array != np.rint(array)).any():
                raise StatsError(f"{self.name}: cluster_id must hold integers or text, not reals")
            return array.astype(np.int64 if (array == np.rint(array)).all() else np.float64)
        if array.dtype.kind == "U":
            return array
        raise StatsError(
            f"{self.name}: {field} must hold integers or text without missing values; "
            f"found {array.dtype} such as {array[:3].tolist()}"
        )

    def _numbers(self, field: str, values: object) -> Floats:
        """Return finite float64 values, one (row) per example."""
        try:
            array = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise StatsError(f"{self.name}: {field} must hold numbers") from None
        if array.ndim == 0 or array.ndim > (2 if field == "y_score" else 1):
            raise StatsError(
                f"{self.name}: {field} has shape {array.shape}; expected one per example"
            )
        self._sized(field, array)
        bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        if bad.any():
            raise StatsError(
                f"{self.name}: {field} is NaN or infinite for example "
                f"{listed(self.example_id[bad])}; score these examples again, "
                "nothing is dropped silently"
            )
        return array

    def _by_metric(self, field: str, values: object) -> dict[str, Floats]:
        if values is None:
            return {}
        given = values if isinstance(values, Mapping) else {PLAIN: values}
        return {
            str(metric): self._numbers(f"{field}[{metric}]" if metric else field, array)
            for metric, array in given.items()
        }


def listed(values: Array) -> str:
    """Return the first ``SHOWN`` values and how many more there are.

    Example:
        >>> listed(np.arange(12))
        '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more'
    """
    shown = ", ".join(str(value) for value in values[:SHOWN])
    return shown if len(values) <= SHOWN else f"{shown} and {len(values) - SHOWN} more"

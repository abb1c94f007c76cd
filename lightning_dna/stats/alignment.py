"""The same examples in every arm, in the same order, or an error that lists who differs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from lightning_dna.errors import StatsError
from lightning_dna.stats.predictions import Array, Floats, Integers, Predictions, listed
from lightning_dna.stats.ranked import Order

Column = Literal["y_true", "weight", "cluster_id", "labels"]


@dataclass(frozen=True, kw_only=True, eq=False)
class AlignedTask:
    """Predictions of all variants and seeds of one task on one sorted list of examples.

    Attributes:
        task: Name of the task.
        variants: Names, in order of first appearance.
        seeds: Training seeds found in any variant, ascending.
        present: (variants, seeds) whether that pair was given; ragged sets are allowed.
        example_id: (n,) sorted ids, so that the order of the input never matters.
        classes: (k,) sorted labels, ``[0, 1]`` if all labels are 0 or 1; empty without labels.
        y_true: (n,) positions in ``classes``, or ``None`` (also where the truth is real numbers).
        y_pred: (n, variants, seeds) positions in ``classes``, -1 where absent, or ``None``.
        target: (n,) the truth as numbers, or ``None`` if it is text or not given.
        y_score: (n, variants, seeds) scores, else numeric predictions; NaN where absent; or
            ``None``.
        weight: (n,) importance weights, or ``None``.
        numerator: (n, variants, seeds) per metric name, NaN where absent.
        denominator: Like ``numerator``.
        cluster: (n,) positions in ``cluster_id``, or ``None``.
        cluster_id: (clusters,) sorted cluster names, or ``None``.
        n_dropped: Number of examples that an inner join left out.
        labels: (n, labels) whether an example has each label, or ``None``.
        label_scores: Scores (n, labels) by position of variant and seed.
        counts: (n, variants, seeds, 3, classes) hits, predicted and true, 0 where absent; or
            ``None``.
    """

    task: str
    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    present: Array
    example_id: Array
    classes: Array
    y_true: Integers | None
    y_pred: Integers | None
    target: Floats | None
    y_score: Floats | None
    weight: Floats | None
    numerator: Mapping[str, Floats]
    denominator: Mapping[str, Floats]
    cluster: Integers | None
    cluster_id: Array | None
    n_dropped: int = 0
    labels: Array | None = None
    label_scores: Mapping[tuple[int, int], Array] = field(default_factory=dict)
    counts: Integers | None = None

    @property
    def n_examples(self) -> int:
        """Number of examples."""
        return len(self.example_id)

    @cached_property
    def target_order(self) -> Order:
        """The examples sorted by the numeric truth; sorted once for all who ask."""
        return Order.of(np.asarray(self.target))


def align(
    preds: Sequence[Predictions], *, how: Literal["strict", "inner"] = "strict"
) -> AlignedTask:
    """Bring the predictions of one task into one order, refusing every disagreement.

    Args:
        preds: One entry per (variant, seed) of a single task.
        how: ``"strict"``: every entry has exactly the same examples. ``"inner"``: only the examples
            that all entries have are kept, and the number of the others is recorded.

    Returns:
        The aligned task; its content does not depend on the order of entries within a variant or
        of examples within an entry.

    Raises:
        StatsError: If tasks differ, a (variant, seed) repeats, ids are missing or surplus, or true
            labels, weights or clusters of one id disagree (up to 10 ids are listed).
    """
    if how not in ("strict", "inner"):
        raise StatsError(f"align: how={how!r} is not offered; allowed: 'strict', 'inner'")
    if not preds:
        raise StatsError("align: no predictions were given")
    first = preds[0]
    _check_keys(preds)
    orders, dropped = _orders(preds, how)
    variants = tuple(dict.fromkeys(entry.variant for entry in preds))
    seeds = tuple(sorted({int(entry.seed) for entry in preds}))
    slots = [(variants.index(entry.variant), seeds.index(int(entry.seed))) for entry in preds]
    present = np.zeros((len(variants), len(seeds)), dtype=bool)
    present[tuple(np.transpose(slots))] = True

    y_true = _agreed("y_true", preds, orders)
    clusters = _agreed("cluster_id", preds, orders)
    cluster_id, cluster = (
        (None, None) if clusters is None else np.unique(clusters, return_inverse=True)
    )
    classes, true_codes, pred_codes = _coded_labels(preds, orders, slots, present, y_true)
    counts = _counts(preds, orders, slots, present)
    if counts is not None:
        classes = np.arange(counts.shape[-1])
    numeric = y_true is not None and y_true.dtype.kind in "if"
    return AlignedTask(
        task=first.task,
        variants=variants,
        seeds=seeds,
        present=present,
        example_id=first.example_id[orders[0]],
        classes=classes,
        y_true=true_codes,
        y_pred=pred_codes,
        target=np.asarray(y_true, dtype=np.float64) if numeric else None,
        y_score=_scores(preds, orders, slots, present),
        weight=_agreed("weight", preds, orders),
        numerator=_stacked("numerators", preds, orders, slots, present),
        denominator=_stacked("denominators", preds, orders, slots, present),
        cluster=cluster,
        cluster_id=cluster_id,
        n_dropped=dropped,
        labels=_agreed("labels", preds, orders),
        label_scores={
            slot: np.asarray(entry.label_scores)[order]
            for entry, order, slot in zip(preds, orders, slots, strict=True)
            if entry.label_scores is not None
        },
        counts=counts,
    )


def _orders(preds: Sequence[Predictions], how: str) -> tuple[list[Integers], int]:
    """Return for every entry the positions of the common examples in sorted order of their ids.

    Also returns how many different examples were left out.
    """
    orders = [np.argsort(entry.example_id) for entry in preds]
    first = preds[0]
    ids = first.example_id[orders[0]]
    if how == "strict":
        for entry, order in zip(preds, orders, strict=True):
            _check_ids(first, ids, entry, entry.example_id[order])
        return orders, 0
    total = ids
    for entry in preds[1:]:
        _check_kinds(first, ids, entry, entry.example_id)
        ids = np.intersect1d(ids, entry.example_id, assume_unique=True)
        total = np.union1d(total, entry.example_id)
    if len(ids) == 0:
        raise StatsError("align: the entries have no example in common; check how ids are written")
    kept = [
        order[np.isin(entry.example_id[order], ids, assume_unique=True)]
        for entry, order in zip(preds, orders, strict=True)
    ]
    return kept, len(total) - len(ids)


def _check_keys(preds: Sequence[Predictions]) -> None:
    tasks = sorted({entry.task for entry in preds})
    if len(tasks) > 1:
        raise StatsError(f"align: one task at a time; found {', '.join(tasks)}")
    seen: set[tuple[str, int]] = set()
    for entry in preds:
        key = (entry.variant, int(entry.seed))
        if key in seen:
            raise StatsError(f"align: {entry.name} was given twice")
        seen.add(key)


def _check_ids(first: Predictions, ids: Array, entry: Predictions, found: Array) -> None:
    """Raise when ``entry`` does not hold exactly the sorted ``ids`` of ``first``."""
    _check_kinds(first, ids, entry, found)
    if len(ids) == len(found) and (ids == found).all():
        return
    missing, surplus = np.setdiff1d(ids, found), np.setdiff1d(found, ids)
    parts = [f"lacks {len(missing)} ids: {listed(missing)}"] if len(missing) else []
    parts += [f"has {len(surplus)} ids of its own: {listed(surplus)}"] if len(surplus) else []
    raise StatsError(
        f"align: {entry.name} {' and '.join(parts)} (compared with {first.name}); "
        "score all variants on the same examples"
    )


def _check_kinds(first: Predictions, ids: Array, entry: Predictions, found: Array) -> None:
    """Raise when the ids of one entry are numbers and those of the other text."""
    if ids.dtype.kind != found.dtype.kind:
        kinds = {"i": "integers", "U": "text"}
        raise StatsError(
            f"align: example_id of {first.name} are {kinds[ids.dtype.kind]}, those of {entry.name} "
            f"are {kinds[found.dtype.kind]}; write them the same way"
        )


def _agreed(field: Column, preds: Sequence[Predictions], orders: Sequence[Array]) -> Array | None:
    """Return one sorted copy of a per-example property on which all entries must agree."""
    given = [getattr(entry, field) is not None for entry in preds]
    if not any(given):
        return None
    if not all(given):
        without = preds[given.index(False)].name
        raise StatsError(f"align: {without} has no {field}, others have; give it for all or none")
    reference = np.asarray(getattr(preds[0], field))[orders[0]]
    for entry, order in zip(preds, orders, strict=True):
        values = np.asarray(getattr(entry, field))[order]
        kinds = {values.dtype.kind, reference.dtype.kind}
        if kinds not in ({"i"}, {"f"}, {"i", "f"}, {"U"}, {"b"}):
            raise StatsError(
                f"align: {field} of {entry.name} is {values.dtype}, of {preds[0].name} "
                f"{reference.dtype}; write it the same way"
            )
        if values.shape != reference.shape:
            raise StatsError(
                f"align: {field} of {entry.name} has shape {values.shape}, of {preds[0].name} "
                f"{reference.shape}; score all variants on the same labels"
            )
        differ = (values != reference).reshape(len(values), -1).any(axis=1)
        if differ.any():
            raise StatsError(
                f"align: {field} of {entry.name} disagrees with {preds[0].name} for example "
                f"{listed(entry.example_id[order][differ])}"
            )
    return reference


def _coded_labels(
    preds: Sequence[Predictions],
    orders: Sequence[Array],
    slots: Sequence[tuple[int, int]],
    present: Array,
    y_true: Array | None,
) -> tuple[Array, Integers | None, Integers | None]:
    """Return the classes, and true and predicted labels as positions in them.

    Real numbers have neither; predictions that are real in any entry are no labels at all.
    """
    given = [entry.y_pred is not None for entry in preds]
    if any(given) and not all(given):
        without = preds[given.index(False)].name
        raise StatsError(f"align: {without} has no y_pred, others have; give it for all or none")
    predicted = [
        entry.y_pred[order]
        for entry, order in zip(preds, orders, strict=True)
        if entry.y_pred is not None
    ]
    if any(values.dtype.kind == "f" for values in predicted):
        predicted = []
    labels = predicted + ([] if y_true is None else [y_true])
    if not labels or (y_true is not None and y_true.dtype.kind == "f"):
        return np.zeros(0, dtype=np.int64), None, None
    if len({values.dtype.kind for values in labels}) > 1:
        raise StatsError(
            f"align: task '{preds[0].task}': some labels are integers and some are text; "
            "write y_true and y_pred of all variants the same way"
        )
    classes = np.unique(np.concatenate([np.unique(values) for values in labels]))
    if classes.dtype.kind == "i" and classes[0] >= 0 and classes[-1] <= 1:
        classes = np.arange(2)
    true_codes = None if y_true is None else np.searchsorted(classes, y_true)
    if not predicted:
        return classes, true_codes, None
    codes = np.full((len(predicted[0]), *present.shape), -1, dtype=np.int64)
    for (variant, seed), values in zip(slots, predicted, strict=True):
        codes[:, variant, seed] = np.searchsorted(classes, values)
    return classes, true_codes, codes


def _counts(
    preds: Sequence[Predictions],
    orders: Sequence[Array],
    slots: Sequence[tuple[int, int]],
    present: Array,
) -> Integers | None:
    """Return the counts as (n, variants, seeds, 3, classes), the true ones alike in all entries."""
    given = [entry.counts is not None for entry in preds]
    if not any(given):
        return None
    if not all(given):
        without = preds[given.index(False)].name
        raise StatsError(f"align: {without} has no counts, others have; give it for all or none")
    found = [np.asarray(p.counts)[order] for p, order in zip(preds, orders, strict=True)]
    stacked = np.zeros((len(found[0]), *present.shape, *found[0].shape[1:]), dtype=np.int64)
    for entry, order, (variant, seed), counts in zip(preds, orders, slots, found, strict=True):
        alike = counts.shape == found[0].shape
        if not alike or (counts[:, 2] != found[0][:, 2]).any():
            differ = (counts[:, 2] != found[0][:, 2]).any(axis=1) if alike else slice(None)
            raise StatsError(
                f"align: true counts of {entry.name} disagree with {preds[0].name} for example "
                f"{listed(entry.example_id[order][differ])}"
            )
        stacked[:, variant, seed] = counts
    return stacked


def _scores(
    preds: Sequence[Predictions],
    orders: Sequence[Array],
    slots: Sequence[tuple[int, int]],
    present: Array,
) -> Floats | None:
    """Return the scores as (n, variants, seeds): ``y_score``, else numeric ``y_pred``."""
    scored = [entry.y_score is not None for entry in preds]
    if any(scored) and not all(scored):
        without = preds[scored.index(False)].name
        raise StatsError(f"align: {without} has no y_score, others have; give it for all or none")
    given = [entry.y_score if entry.y_score is not None else entry.y_pred for entry in preds]
    values = np.full((len(orders[0]), *present.shape), np.nan)
    for column, order, (variant, seed) in zip(given, orders, slots, strict=True):
        if column is None or column.dtype.kind == "U":
            return None
        values[:, variant, seed] = column[order]
    return values


def _stacked(
    field: Literal["numerators", "denominators"],
    preds: Sequence[Predictions],
    orders: Sequence[Array],
    slots: Sequence[tuple[int, int]],
    present: Array,
) -> dict[str, Floats]:
    """Return the ratio statistics as (n, variants, seeds) arrays by metric name."""
    names = {metric for entry in preds for metric in getattr(entry, field)}
    stacked = {}
    for metric in sorted(names):
        values = np.full((len(orders[0]), *present.shape), np.nan)
        for entry, order, (variant, seed) in zip(preds, orders, slots, strict=True):
            if metric not in getattr(entry, field):
                raise StatsError(
                    f"align: {entry.name} has no {field[:-1]} for metric '{metric}', others have"
                )
            values[:, variant, seed] = getattr(entry, field)[metric][order]
        stacked[metric] = values
    return stacked

"""Training minus held-out chromosomes at equal composition.

Chromosomes differ in repeats, GC content and genes, and a model is better on some of them whether
it has read them or not. Here the scores of the training windows are post-stratified to the held-out
ones: the accuracy of each stratum is weighted by its share of the *held-out* hidden bases. Strata
are what the scores tell apart (the soft mask; with an annotation region, GC bin and class of
repeat), crossed with the GC bin of the window where they do not hold it. A stratum that either side
has in fewer than `LEAST_CLUSTERS` clusters is left out on both, as nothing is known of its spread.

The interval is that of the two sides resampled by cluster and independently of each other. Each
window contributes its share of the linearised difference, in which the weights, the composition of
both sides and the accuracies by stratum are all estimates: sums over strata s of
``w_s / n_s (c - m a_s)`` in training, and of ``(c - m a_s') / N - m (a_s - a_s' - gap) / N`` held
out, for c of m bases correct, n_s bases of a stratum, N of all, accuracies a and a' in training and
held out (Cochran, Sampling Techniques, 3rd ed., 5A.9, with clusters for units).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_dna.genome.annotation import gc_names
from lightning_dna.stats.metrics import METRICS, Metric
from lightning_dna.stats.predictions import Predictions
from lightning_dna.tasks.strata import SEPARATOR

LEAST_CLUSTERS = 5
MATCHED = "matched_gap"
SIDES = {"train": "matched_train", "test": "matched_test"}

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class MatchedStrata:
    """The strata that both sides have.

    Attributes:
        weights: Stratum to its share of the held-out hidden bases of all of these.
        left_out: Strata that one side has hardly or not.
        held_out: Share of the held-out hidden bases that lie in the matched strata.
        training: Share of the hidden bases of the training windows that do.
    """

    weights: Mapping[str, float]
    left_out: int
    held_out: float
    training: float


def with_gc(scores: pd.DataFrame, windows: pd.DataFrame) -> pd.DataFrame:
    """Add the GC bin of the window to strata that do not name one.

    Args:
        scores: Rows of one task's held-out scores.
        windows: Its windows, with ``example_id, part, gc``.
    """
    bins = windows.set_index(["part", "example_id"])["gc"]
    labels = scores["stratum"]
    known = {label: not set(gc_names()).isdisjoint(label.split(SEPARATOR)) for label in set(labels)}
    keys = pd.MultiIndex.from_frame(scores[["part", "example_id"]])
    gc = bins.reindex(keys).to_numpy(dtype=object)
    named = labels.map(known).to_numpy(dtype=np.bool_)
    return scores.assign(stratum=np.where(named, labels, labels + SEPARATOR + gc))


def matched_strata(scores: pd.DataFrame) -> MatchedStrata:
    """Find the strata that both sides of one task have.

    Args:
        scores: Held-out scores of one task, from any one variant and seed or from all of them.
    """
    first = scores[["variant", "seed"]].iloc[0]
    one = scores[(scores["variant"] == first["variant"]) & (scores["seed"] == first["seed"])]
    found = one.groupby(["stratum", "part"], observed=True).agg(
        masked=("masked", "sum"), clusters=("cluster_id", "nunique")
    )
    bases = found["masked"].unstack(fill_value=0).reindex(columns=[*SIDES], fill_value=0)
    clusters = found["clusters"].unstack(fill_value=0).reindex(columns=[*SIDES], fill_value=0)
    both = (clusters >= LEAST_CLUSTERS).all(axis=1)
    kept = bases[both]
    total = bases.sum()
    shares = kept.sum() / total.where(total > 0, 1)
    weights = kept["test"] / max(kept["test"].sum(), 1)
    return MatchedStrata(
        weights={str(name): float(share) for name, share in weights.items()},
        left_out=int((~both).sum()),
        held_out=float(shares["test"]),
        training=float(shares["train"]),
    )


def matched_sides(
    scores: pd.DataFrame, strata: MatchedStrata, task: str
) -> dict[str, list[Predictions]]:
    """Return the two sides of the matched gap, ready to be resampled and subtracted.

    The ratio of each side is its accuracy, and its bits per base, at the held-out composition; the
    numerators are made so that their spread is that of the gap at equal composition (see above).

    Args:
        scores: Held-out scores of one task, strata with their GC bins.
        strata: The strata of both sides.
        task: Name of the task.

    Returns:
        ``TASK/matched_train`` and ``TASK/matched_test``; nothing where no stratum is matched.
    """
    if not strata.weights:
        return {}
    names = list(strata.weights)
    weights = np.array([strata.weights[name] for name in names])
    place = {name: at for at, name in enumerate(names)}
    kept = scores[scores["stratum"].isin(place)]
    kept = kept.assign(place=kept["stratum"].map(place), bits=kept["nats"] / math.log(2))
    found: dict[str, list[Predictions]] = {f"{task}/{side}": [] for side in SIDES.values()}
    for key, rows in kept.groupby(["variant", "seed"], sort=False):
        sides = {part: rows[rows["part"] == part] for part in SIDES}
        columns = _columns(sides["train"], sides["test"], weights)
        for part, side in SIDES.items():
            name = f"{task}/{side}"
            found[name].append(_predictions(name, key, sides[part], columns[part]))
    return found


def gap_metrics(task: str, metrics: Sequence[str]) -> list[str | Metric]:
    """Return the metrics of a gap: those of a matched one without a range, for single windows.

    What a window adds to a difference at equal composition may be below 0 or above its bases.

    Args:
        task: Name of the gap.
        metrics: Names of its metrics.
    """
    if not task.endswith(f"/{MATCHED}"):
        return [*metrics]
    return [replace(METRICS[name], low=-math.inf, high=math.inf) for name in metrics]


def _columns(
    train: pd.DataFrame, test: pd.DataFrame, weights: Floats
) -> dict[str, dict[str, Floats]]:
    """Return numerators and denominator of every row of both sides."""
    at, n = train["place"].to_numpy(np.int64), len(weights)
    bases = np.bincount(at, train["masked"], minlength=n)
    factor = weights * bases.sum() / bases
    columns: dict[str, dict[str, Floats]] = {
        "train": {"masked": (factor[at] * train["masked"]).to_numpy(np.float64)},
        "test": {"masked": test["masked"].to_numpy(np.float64)},
    }
    there = test["place"].to_numpy(np.int64)
    for metric, column in (("mlm_accuracy", "correct"), ("bits_per_base", "bits")):
        values = train[column].to_numpy(np.float64)
        by_stratum = np.bincount(at, values, minlength=n) / bases
        # Above or below the whole: what a stratum's mere presence would add.
        offset = by_stratum - float(weights @ by_stratum)
        masked = train["masked"].to_numpy(np.float64)
        columns["train"][metric] = factor[at] * (values - masked * offset[at])
        held_out = test[column].to_numpy(np.float64)
        columns["test"][metric] = held_out - columns["test"]["masked"] * offset[there]
    return columns


def _predictions(
    task: str, key: Any, rows: pd.DataFrame, columns: Mapping[str, Floats]
) -> Predictions:
    """Sum the strata of each window."""
    frame = rows[["example_id", "cluster_id"]].assign(**columns)
    units = frame.groupby(["example_id", "cluster_id"], sort=False, as_index=False).sum()
    variant, seed = key
    return Predictions(
        task=task,
        variant=str(variant),
        seed=int(seed),
        example_id=units["example_id"].to_numpy(dtype=str),
        cluster_id=units["cluster_id"].to_numpy(dtype=str),
        numerator={
            name: units[name].to_numpy(np.float64) for name in ("mlm_accuracy", "bits_per_base")
        },
        denominator=units["masked"].to_numpy(np.float64),
    )

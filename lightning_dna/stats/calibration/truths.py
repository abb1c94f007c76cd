"""True values of the metrics under the models of ``models``: closed forms and quadrature.

A metric's true value is what an endless test set gives, and, where training seeds are random, the
mean of that over seeds. Given the skill of one trained model everything is a function of normal
probabilities; the mean over seeds is a Gauss-Hermite sum. Continuous integrals (average precision,
correlations of levelled predictions) use fixed grids whose error is below 1e-6, thousand times less
than the standard error of any cell of the grid.
"""

import math

import numpy as np
from scipy import special

from lightning_dna.stats.calibration.models import (
    MASKED_SD,
    MASKED_SKILL,
    Design,
    class_shares,
    level_edges,
    level_values,
    positive_threshold,
)
from lightning_dna.stats.metrics import METRICS
from lightning_dna.stats.predictions import Floats

SEED_NODES = 21
"""Nodes of the Gauss-Hermite rule over training seeds."""
SCORE_GRID = np.linspace(-9, 9, 36001)
"""Thresholds of the precision-recall integral."""
TARGET_GRID = np.linspace(-9, 9, 3601)
"""Targets of the integrals over a standard normal target; the rule is exact to rounding."""


def true_differences(design: Design) -> dict[str, float]:
    """Return the true difference, second arm minus first, of every metric of a design.

    Args:
        design: How data are made.

    Returns:
        Difference by metric name; exactly 0 for equal arms.

    Example:
        >>> design = Design(family="binary", n=100, effect=0.15)
        >>> round(true_differences(design)["auroc"], 4)  # Phi(1.8 / sqrt 2) - Phi(1.5 / sqrt 2)
        0.0429
    """
    if design.effect == 0:
        return dict.fromkeys(design.metrics, 0.0)
    first, second = (true_values(design, skill) for skill in design.skills())
    return {name: second[name] - first[name] for name in design.metrics}


def true_values(design: Design, skill: float) -> dict[str, float]:
    """Return the true value of every metric for an arm of this skill, mean over training seeds."""
    nodes, weights = np.array([0.0]), np.array([1.0])
    if design.seed_sd > 0:
        nodes, weights = np.polynomial.hermite_e.hermegauss(SEED_NODES)
        weights = weights / weights.sum()
    values_of = _VALUES[design.family]
    found = [values_of(design, skill, design.seed_sd * float(node)) for node in nodes]
    return {
        name: float(sum(w * value[name] for w, value in zip(weights, found, strict=True)))
        for name in design.metrics
    }


def _from_cells(confusion: Floats, names: tuple[str, ...]) -> dict[str, float]:
    """Return label metrics of the (true, predicted) table of probabilities."""
    sums = np.concatenate([np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)])
    return {
        name: float(METRICS[name].value(sums[:, None])[0])
        for name in names
        if METRICS[name].kind == "cells"
    }


def _binary(design: Design, skill: float, shift: float) -> dict[str, float]:
    mean = skill + shift  # class means are -mean and mean; the threshold knows no shift
    pi = design.minority
    cut = positive_threshold(skill, pi)
    called = np.array([special.ndtr(-mean - cut), special.ndtr(mean - cut)])
    shares = np.array([1 - pi, pi])
    confusion = np.column_stack([shares * (1 - called), shares * called])
    values = _from_cells(confusion, design.metrics)
    if design.levels is None:
        values["auroc"] = float(special.ndtr(2 * mean / math.sqrt(2)))
        edges = SCORE_GRID
    else:
        edges = level_edges(design.levels)
    # Shares of each class at or above each edge, from all examples down to none.
    above = [np.concatenate([[1.0], special.ndtr(at - edges), [0.0]]) for at in (-mean, mean)]
    if design.levels is not None:
        values["auroc"] = _tied_auroc(above[0], above[1])
    values["auprc"] = _average_precision(above[0], above[1], pi, stepwise=design.levels is not None)
    return values


def _tied_auroc(negatives: Floats, positives: Floats) -> float:
    """Return P(positive > negative) + P(equal) / 2 from shares at or above each level."""
    level_share = -np.diff(negatives)
    return float((level_share * (positives[1:] + positives[:-1]) / 2).sum())


def _average_precision(negatives: Floats, positives: Floats, pi: float, *, stepwise: bool) -> float:
    """Return the sum of precision times steps of recall; midpoint rule for a continuous score."""
    called = pi * positives + (1 - pi) * negatives
    precision = np.divide(pi * positives, called, out=np.ones_like(called), where=called > 0)
    at_step = precision[:-1] if stepwise else (precision[:-1] + precision[1:]) / 2
    return float((at_step * -np.diff(positives)).sum())


def _multiclass(design: Design, skill: float, shift: float) -> dict[str, float]:
    shares = class_shares(design.minority)
    right = float(special.ndtr(skill + shift))
    elsewhere = np.outer(np.ones(3), shares) * (1 - np.eye(3))
    elsewhere = elsewhere / elsewhere.sum(axis=1, keepdims=True)
    confusion = shares[:, None] * (right * np.eye(3) + (1 - right) * elsewhere)
    return _from_cells(confusion, design.metrics)


def _regression(design: Design, skill: float, shift: float) -> dict[str, float]:
    slope, noise = skill + shift, math.sqrt(1 - skill**2)
    if design.levels is not None:
        return _levelled(slope, noise, design.levels)
    r = slope / math.hypot(slope, noise)
    mse = (1 - slope) ** 2 + noise**2
    return {
        "pearson": r,
        "spearman": 6 / math.pi * math.asin(r / 2),
        "r2": 1 - mse,
        "mse": mse,
        "mae": math.sqrt(2 / math.pi * mse),
    }


def _levelled(slope: float, noise: float, levels: int) -> dict[str, float]:
    """Return the metrics of a prediction that was rounded to levels, by a sum over targets."""
    targets = TARGET_GRID
    weight = np.exp(-(targets**2) / 2)
    weight = weight / weight.sum()
    below = special.ndtr((level_edges(levels)[:, None] - slope * targets) / noise)
    ends = np.zeros((1, len(targets)))
    share = np.diff(np.concatenate([ends, below, ends + 1]), axis=0)  # (levels, targets)
    values = level_values(levels)
    frequency = share @ weight
    ranks = np.cumsum(frequency) - frequency / 2  # mid-distribution of the levels
    error = values[:, None] - targets
    mse = float((share * error**2).sum(axis=0) @ weight)
    return {
        "pearson": _correlation(values, targets, share, weight),
        "spearman": _correlation(ranks, special.ndtr(targets), share, weight),
        "r2": 1 - mse,
        "mse": mse,
        "mae": float((share * np.abs(error)).sum(axis=0) @ weight),
    }


def _correlation(values: Floats, targets: Floats, share: Floats, weight: Floats) -> float:
    """Return the correlation of a levelled variable with a function of the target."""
    frequency = share @ weight
    centred = values - frequency @ values
    around = targets - weight @ targets
    covariance = float((centred @ share * around) @ weight)
    spread = float(frequency @ centred**2) * float(weight @ around**2)
    return covariance / math.sqrt(spread)


def _windows(design: Design, skill: float, shift: float) -> dict[str, float]:
    del design
    accuracy = special.ndtr((MASKED_SKILL + skill + shift) / math.hypot(1, MASKED_SD))
    return {"bits_per_base": math.exp(-skill - shift), "mlm_accuracy": float(accuracy)}


_VALUES = {
    "binary": _binary,
    "multiclass": _multiclass,
    "regression": _regression,
    "windows": _windows,
}

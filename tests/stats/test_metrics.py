"""Metrics on explicit weights against scikit-learn on repeated data; gradients by differences."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from lightning_dna.errors import ConfigError, StatsError
from lightning_dna.stats.columns import example_statistics
from lightning_dna.stats.kernels import ExactSums
from lightning_dna.stats.metrics import METRICS, resolve_metrics

REFERENCE = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "f1": lambda t, p, **k: sk.f1_score(t, p, zero_division=0.0, **k),
    "macro_f1": lambda t, p, **k: sk.f1_score(t, p, average="macro", zero_division=0.0, **k),
    "mcc": sk.matthews_corrcoef,
}


def kernel_values(task, name, weights):
    """Metric of variant 0, seed 0 for each row of weights, through the production path."""
    metric = METRICS[name]
    statistics = example_statistics(task, (metric,))
    sums = ExactSums(statistics.matrix, total_weight=weights.sum(axis=1).max())(weights.T)
    return metric.value(sums[statistics.index[0][0, 0]])


# A resample may lack a class that was predicted; scikit-learn warns, we count it the same way.
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true:UserWarning")
@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")
@pytest.mark.parametrize(
    ("name", "classes"),
    [(name, k) for name in REFERENCE for k in (2, 3, 7) if not (METRICS[name].binary and k > 2)],
)
def test_explicit_weights_equal_scikit_learn_on_repeated_data(labelled, name, classes):
    rng = np.random.default_rng(classes)
    y_true = rng.choice(
        classes, size=25, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum()
    )
    predicted = np.where(rng.random(25) < 0.6, y_true, rng.integers(0, classes, 25))
    weights = rng.multinomial(25, np.full(25, 1 / 25), size=40).astype(np.float32)
    found = kernel_values(labelled(y_true, {"a": [predicted]}), name, weights)
    expected = [
        REFERENCE[name](np.repeat(y_true, w), np.repeat(predicted, w)) for w in weights.astype(int)
    ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", REFERENCE)
def test_importance_weights_equal_scikit_learn_sample_weights(labelled, name):
    rng = np.random.default_rng(3)
    y_true, predicted, weight = rng.integers(0, 2, 30), rng.integers(0, 2, 30), rng.random(30)
    task = labelled(y_true, {"a": [predicted]}, weight=weight)
    found = kernel_values(task, name, np.ones((1, 30), dtype=np.float32))
    assert found[0] == pytest.approx(
        REFERENCE[name](y_true, predicted, sample_weight=weight), abs=1e-12
    )


@pytest.mark.parametrize(
    "name", ["ratio", "mlm_accuracy", "cross_entropy", "bits_per_base", "mean"]
)
def test_ratio_metrics_equal_direct_sums(summed, name):
    rng = np.random.default_rng(4)
    denominator = rng.integers(1, 50, 30)
    numerator = rng.random(30) * denominator
    weights = rng.multinomial(30, np.full(30, 1 / 30), size=20).astype(np.float32)
    found = kernel_values(summed({"a": [numerator]}, denominator), name, weights)
    below = np.ones(30) if name == "mean" else denominator
    expected = [
        np.repeat(numerator, w).sum() / np.repeat(below, w).sum() for w in weights.astype(int)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def regression_references():
    return {
        "pearson": lambda y, p: stats.pearsonr(y, p).statistic,
        "r2": sk.r2_score,
        "mse": sk.mean_squared_error,
        "mae": sk.mean_absolute_error,
    }


@pytest.mark.parametrize("name", regression_references())
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_regression_metrics_equal_scipy_and_scikit_learn_on_repeated_data(scored, name, offset):
    rng = np.random.default_rng(6)
    y_true = rng.standard_normal(30) + offset
    predicted = y_true + 0.5 * rng.standard_normal(30)
    weights = rng.multinomial(30, np.full(30, 1 / 30), size=20)
    found = kernel_values(scored(y_true, {"a": [predicted]}), name, weights)
    score = regression_references()[name]
    expected = [score(np.repeat(y_true, w), np.repeat(predicted, w)) for w in weights]
    # Differences of numbers near a million have ten digits left.
    np.testing.assert_allclose(found, expected, rtol=1e-12 if offset == 0 else 1e-9)


@pytest.mark.parametrize("name", ["pearson", "r2"])
def test_constant_truth_has_no_correlation_and_no_r2(scored, name):
    weights = np.ones((1, 7), dtype=int)
    one = scored(np.full(7, 0.1), {"a": [np.arange(7) / 3]})
    assert np.isnan(kernel_values(one, name, weights)).all()


def test_constant_predictions_have_no_pearson_and_an_r2_of_zero_at_the_mean(scored):
    y_true = np.array([0.1, 0.4, 0.4, 0.9])
    weights = np.ones((1, 4), dtype=int)
    constant = scored(y_true, {"a": [np.full(4, y_true.mean())]})
    assert np.isnan(kernel_values(constant, "pearson", weights)).all()
    assert kernel_values(constant, "r2", weights)[0] == pytest.approx(0, abs=1e-15)


SUMMED = [name for name, row in METRICS.items() if row.kind != "ranked"]


@pytest.mark.parametrize("name", SUMMED)
def test_gradient_is_the_derivative_of_the_value(name):
    metric = METRICS[name]
    if metric.kind == "cells":
        # hits, predicted, true of two classes: 30 + 20 examples of which 24 + 15 are right
        sums = np.array([24.0, 15.0, 29.0, 21.0, 30.0, 20.0])
    elif name == "pearson":
        sums = np.array([50.0, 3.0, 41.0, -2.0, 33.0, 17.0])
    elif name == "r2":
        sums = np.array([50.0, 3.0, 41.0, 17.0])
    else:
        sums = np.array([37.0, 91.0])
    step = 1e-5 * np.eye(len(sums))
    slopes = (metric.value((sums + step).T) - metric.value((sums - step).T)) / 2e-5
    gradient = metric.gradient(sums)
    # `true` and `predicted` have one total, so MCC may be written with either: only directions that
    # keep both totals equal are defined. Moving one unit between cells is such a direction.
    if metric.kind == "cells":
        moves = np.array(
            [[1, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1], [0, 0, 1, 0, 0, 1], [0, 0, 0, 1, 1, 0]],
            dtype=float,
        )
        np.testing.assert_allclose(moves @ gradient, moves @ slopes, atol=1e-8)
    else:
        np.testing.assert_allclose(gradient, slopes, atol=1e-8)
    assert sums @ gradient == pytest.approx(0, abs=1e-12)  # Euler: weights may be doubled


@pytest.mark.parametrize("name", REFERENCE)
def test_influence_is_the_derivative_by_an_example_weight(labelled, resample, name):
    rng = np.random.default_rng(5)
    y_true = rng.integers(0, 2, 40)
    predicted = np.where(rng.random(40) < 0.7, y_true, 1 - y_true)
    influence = resample(labelled(y_true, {"a": [predicted]}), [name], n_resamples=2).influence
    for example in (0, 7, 39):
        up, down = np.ones(40), np.ones(40)
        up[example] += 1e-5
        down[example] -= 1e-5
        score = REFERENCE[name]
        slope = (
            score(y_true, predicted, sample_weight=up)
            - score(y_true, predicted, sample_weight=down)
        ) / 2e-5
        assert influence[example, 0, 0, 0] == pytest.approx(slope, abs=1e-8)


def test_conventions_for_empty_cells():
    nothing_right = np.array([4.0, 0.0, 4.0, 0.0, 4.0, 0.0])  # one class, always predicted
    assert METRICS["mcc"].value(nothing_right) == 0
    assert METRICS["f1"].value(nothing_right) == 0
    assert METRICS["macro_f1"].value(nothing_right) == 1  # class 1 neither occurs nor is predicted
    assert METRICS["balanced_accuracy"].value(nothing_right) == 1
    assert (METRICS["mcc"].gradient(nothing_right) == 0).all()
    assert (METRICS["f1"].gradient(nothing_right) == 0).all()
    empty = np.zeros(6)
    assert np.isnan(METRICS["accuracy"].value(empty))
    assert np.isnan(METRICS["mcc"].value(empty))
    assert np.isnan(METRICS["ratio"].value(np.array([1.0, 0.0])))
    assert np.isnan(METRICS["ratio"].gradient(np.array([1.0, 0.0]))).all()


def test_orientation_and_range_of_every_row():
    worse_when_greater = {name for name, row in METRICS.items() if not row.greater_is_better}
    assert worse_when_greater == {"cross_entropy", "bits_per_base", "exposure", "mse", "mae"}
    assert all(name == row.name and row.low < row.high for name, row in METRICS.items())


def test_names_are_checked():
    with pytest.raises(ConfigError, match=r"unknown metric 'acuracy'.*Did you mean 'accuracy'"):
        resolve_metrics(["acuracy"])
    with pytest.raises(StatsError, match="once each"):
        resolve_metrics(["mcc", "mcc"])
    with pytest.raises(StatsError, match="at least one"):
        resolve_metrics([])
    assert resolve_metrics([METRICS["mcc"], "f1"]) == (METRICS["mcc"], METRICS["f1"])


def test_metric_that_does_not_fit_the_columns(labelled, summed, scored):
    real = scored([0.5, 1.5], {"a": [[0.1, 0.2]]})
    with pytest.raises(StatsError, match=r"'mcc' needs .*; y_true holds real numbers"):
        example_statistics(real, (METRICS["mcc"],))
    with pytest.raises(StatsError, match="'auroc' needs y_true with the labels 0 and 1"):
        example_statistics(real, (METRICS["auroc"],))
    only_labels = labelled(["x", "y"], {"a": [["x", "x"]]})
    with pytest.raises(StatsError, match="'auroc' needs y_score; there is none"):
        example_statistics(only_labels, (METRICS["auroc"],))
    with pytest.raises(StatsError, match="'mse' needs y_true with numbers"):
        example_statistics(only_labels, (METRICS["mse"],))
    three = scored([0, 1, 2], {"a": [[0.1, 0.2, 0.3]]})
    with pytest.raises(StatsError, match=r"'auprc' needs the labels 0 and 1.*found 0, 1, 2"):
        example_statistics(three, (METRICS["auprc"],))
    labels = labelled(["x", "y"], {"a": [["x", "x"]]})
    with pytest.raises(StatsError, match=r"'f1' needs the labels 0 and 1.*found x, y"):
        example_statistics(labels, (METRICS["f1"],))
    with pytest.raises(StatsError, match="'ratio' needs a numerator; given for: none"):
        example_statistics(labels, (METRICS["ratio"],))
    sums = summed({"a": [np.array([1.0, 3.0])]}, np.array([2.0, 2.0]))
    with pytest.raises(StatsError, match=r"'mcc' needs y_true and y_pred .*; there is no y_true"):
        example_statistics(sums, (METRICS["mcc"],))
    with pytest.raises(
        StatsError, match=r"'mlm_accuracy' must lie in \[0, 1\] per example.* for 1"
    ):
        example_statistics(sums, (METRICS["mlm_accuracy"],))

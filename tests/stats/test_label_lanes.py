"""Means over labels, against scikit-learn on data that is really repeated, and plain float64."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, matthews_corrcoef, roc_auc_score

from lightning_dna.errors import ConfigError, StatsError
from lightning_dna.stats import (
    Predictions,
    ResamplingPlan,
    align,
    bootstrap_metrics,
    compare,
    label_lanes,
)
from lightning_dna.stats import estimates as estimate_rows
from lightning_dna.stats.sampling import Sampler

SKLEARN = {"auroc": roc_auc_score, "auprc": average_precision_score}
N, LABELS = 60, 5


@pytest.fixture
def data() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Labels of which the last has one class only, and scores of two models, with ties."""
    rng = np.random.default_rng(7)
    labels = rng.random((N, LABELS)) < [0.5, 0.3, 0.1, 0.2, 0.0]
    scores = {
        name: (labels * gain + rng.normal(size=(N, LABELS))).round(1).astype(np.float32)
        for name, gain in (("a", 1.0), ("b", 2.0))
    }
    return labels, scores


def predictions(labels, scores, *, cluster=None) -> list[Predictions]:
    return [
        Predictions(
            task="marks",
            variant=name,
            seed=0,
            example_id=np.arange(N),
            cluster_id=cluster,
            labels=labels,
            label_scores=values,
        )
        for name, values in scores.items()
    ]


def by_label(name: str, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Each label's metric by scikit-learn; labels of one class are left out."""
    return np.array(
        [
            SKLEARN[name](labels[:, label], scores[:, label])
            for label in range(labels.shape[1])
            if 0 < labels[:, label].sum() < len(labels)
        ]
    )


@pytest.mark.parametrize("unit", ["example", "cluster"])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize("name", ["auroc", "auprc"])
def test_replicates_are_the_metric_of_repeated_data(data, name, statistic, backend, unit):
    if backend == "numba":
        pytest.importorskip("numba")
    labels, scores = data
    cluster = np.arange(N) // 3
    plan = ResamplingPlan(n_resamples=70, seed=3, backend=backend, unit=unit)
    task = align(predictions(labels, scores, cluster=cluster))
    reps = bootstrap_metrics(task, [f"{statistic}_{name}"], plan)
    n_units = N if unit == "example" else N // 3
    weights = np.concatenate(
        [
            block
            for sampler in [Sampler(plan=plan, task="marks", n_units=n_units)]
            for block in map(sampler.weights, sampler.blocks)
        ],
        axis=1,
    )
    summary = {"mean": np.mean, "median": np.median}[statistic]
    for variant, values in enumerate(scores.values()):
        observed = summary(by_label(name, labels, values))
        assert reps.observed[variant, 0, 0] == pytest.approx(observed, abs=1e-12)
        for replicate in range(0, 70, 9):  # of two blocks
            count = weights[:, replicate]
            rows = np.repeat(np.arange(N), count if unit == "example" else count[cluster])
            expected = summary(by_label(name, labels[rows], values[rows]))
            assert reps.values[replicate, variant, 0, 0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["auroc", "auprc"])
def test_influence_is_the_derivative_of_the_metric(data, name):
    labels, scores = data
    task = align(predictions(labels, scores))
    reps = bootstrap_metrics(task, [f"mean_{name}"], ResamplingPlan(n_resamples=10))
    step = 1e-6
    for example in (0, 17, 59):
        weight = np.ones(N)
        weight[example] += step
        moved = np.mean(
            [
                SKLEARN[name](labels[:, k], scores["a"][:, k], sample_weight=weight)
                for k in range(LABELS - 1)
            ]
        )
        slope = (moved - np.mean(by_label(name, labels, scores["a"]))) / step
        assert reps.influence[example, 0, 0, 0] == pytest.approx(slope, abs=1e-6)


def test_linear_replicates_agree_with_exact_ones_where_there_are_many_examples(monkeypatch):
    rng = np.random.default_rng(0)
    labels = rng.random((4000, 3)) < 0.3
    scores = (labels + rng.normal(size=labels.shape)).astype(np.float32)
    one = Predictions(
        task="t",
        variant="a",
        seed=0,
        example_id=np.arange(4000),
        labels=labels,
        label_scores=scores,
    )
    plan = ResamplingPlan(n_resamples=300)
    metrics = ["mean_auroc", "mean_auprc"]
    exact = bootstrap_metrics(align([one]), metrics, plan).values[:, 0, 0]
    monkeypatch.setattr(label_lanes, "LINEAR_FROM", 1.0)
    reps = bootstrap_metrics(align([one]), metrics, plan)
    linear = reps.values[:, 0, 0]
    for metric in range(2):
        error = np.abs(linear[:, metric] - exact[:, metric]).max()
        assert 0 < error < 0.3 * exact[:, metric].std()
        assert np.corrcoef(linear[:, metric], exact[:, metric])[0, 1] > 0.997
    table = estimate_rows({"t": reps}, scope="checkpoint")
    assert "resamples:300,labels-linear|" in table.rows[0].signature


def test_comparison_of_two_models_names_the_better_one(data):
    labels, scores = data
    reps = bootstrap_metrics(
        align(predictions(labels, scores)), ["mean_auroc"], ResamplingPlan(n_resamples=999)
    )
    row = compare({"marks": reps}, baseline="a", scope="checkpoint").rows[0]
    gap = (
        by_label("auroc", labels, scores["b"]).mean()
        - by_label("auroc", labels, scores["a"]).mean()
    )
    assert row.delta == pytest.approx(gap, abs=1e-12)
    assert row.verdict == "better"


def test_label_values_mark_labels_of_one_class(data):
    labels, scores = data
    values = label_lanes.label_values("auroc", labels, scores["a"])
    assert np.isnan(values).tolist() == [False, False, False, False, True]
    assert values[:4] == pytest.approx(by_label("auroc", labels, scores["a"]), abs=1e-12)
    found = label_lanes.over_labels("median_auprc", labels, scores["a"])
    assert found == pytest.approx(np.median(by_label("auprc", labels, scores["a"])), abs=1e-12)


@pytest.mark.parametrize("unit", ["example", "cluster"])
def test_counts_of_positions_give_the_metric_of_all_positions(unit):
    rng = np.random.default_rng(1)
    truth = [rng.integers(0, 4, size=length) for length in (30, 5, 80, 41)]
    guess = [
        np.where(rng.random(len(row)) < 0.6, row, rng.integers(0, 4, len(row))) for row in truth
    ]
    counts = np.array(
        [
            [[((p == k) & (t == k)).sum(), (p == k).sum(), (t == k).sum()] for k in range(4)]
            for t, p in zip(truth, guess, strict=True)
        ]
    ).transpose(0, 2, 1)
    one = Predictions(
        task="genes",
        variant="a",
        seed=0,
        example_id=np.arange(4),
        cluster_id=np.array([0, 0, 1, 2]),
        counts=counts,
    )
    plan = ResamplingPlan(n_resamples=50, unit=unit)
    reps = bootstrap_metrics(align([one]), ["mcc", "accuracy"], plan)
    expected = matthews_corrcoef(np.concatenate(truth), np.concatenate(guess))
    assert reps.observed[0, 0, 0] == pytest.approx(expected, abs=1e-12)
    sampler = Sampler(plan=plan, task="genes", n_units=4 if unit == "example" else 3)
    weights = sampler.weights(0)[:, :50]
    weights = weights if unit == "example" else weights[[0, 0, 1, 2]]
    for replicate in range(0, 50, 5):
        rows = np.repeat(np.arange(4), weights[:, replicate])
        expected = matthews_corrcoef(
            np.concatenate([truth[row] for row in rows]),
            np.concatenate([guess[row] for row in rows]),
        )
        assert reps.values[replicate, 0, 0, 0] == pytest.approx(expected, abs=1e-12)


def test_what_does_not_fit_is_refused(data):
    labels, scores = data
    with pytest.raises(StatsError, match=r"labels have shape \(60, 5\) and label_scores \(60, 4\)"):
        predictions(labels, {"a": scores["a"][:, :4]})
    broken = scores["a"].copy()
    broken[3, 1] = np.nan
    with pytest.raises(StatsError, match="label_scores is NaN or infinite for example 3"):
        predictions(labels, {"a": broken})
    other = labels.copy()
    other[5, 0] = ~other[5, 0]
    with pytest.raises(StatsError, match="labels of task 'marks', variant 'b', seed 0 disagrees"):
        align([*predictions(labels, {"a": scores["a"]}), *predictions(other, {"b": scores["b"]})])
    narrow = predictions(labels[:, :3], {"b": scores["b"][:, :3]})
    with pytest.raises(StatsError, match="score all variants on the same labels"):
        align([*predictions(labels, {"a": scores["a"]}), *narrow])
    plain = Predictions(
        task="t", variant="a", seed=0, example_id=[0, 1], y_true=[0, 1], y_pred=[0, 1]
    )
    with pytest.raises(StatsError, match="metric 'mean_auroc' needs labels and label_scores"):
        bootstrap_metrics(align([plain]), ["mean_auroc"], ResamplingPlan(n_resamples=9))
    with pytest.raises(ConfigError, match=r"unknown metric 'mean_aurok'.*mean_auroc"):
        bootstrap_metrics(align([plain]), ["mean_aurok"], ResamplingPlan(n_resamples=9))
    with pytest.raises(StatsError, match="cannot be hits, predicted and true"):
        Predictions(
            task="t", variant="a", seed=0, example_id=[0], counts=[[[2, 0], [1, 1], [1, 1]]]
        )

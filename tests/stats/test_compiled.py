"""The compiled kernels give the digits of the numpy ones: the backend is not part of a result."""

import numpy as np
import pytest

from lightning_dna.stats import backend
from lightning_dna.stats.alignment import align
from lightning_dna.stats.bootstrap import bootstrap_metrics
from lightning_dna.stats.kernels import ExactSums, merge_equal_units
from lightning_dna.stats.plan import ResamplingPlan
from lightning_dna.stats.predictions import Predictions
from lightning_dna.stats.ranked import Order, auprc_lanes, auroc_lanes, centred_ranks
from lightning_dna.stats.sampling import Sampler

numba = pytest.importorskip("numba", reason="the extra `fast` is not installed")


def sampler(n_units, name, **options):
    plan = ResamplingPlan(n_resamples=130, backend=name, **options)
    return Sampler(plan=plan, task="t", n_units=n_units)


@pytest.mark.parametrize("n_units", [2, 5, 63, 64, 65, 1000, 20_000])
@pytest.mark.parametrize("law", ["multinomial", "poisson"])
def test_weights(n_units, law):
    by_numpy, by_numba = (sampler(n_units, name, weights=law) for name in ("numpy", "numba"))
    for block in by_numpy.blocks:
        expected, found = by_numpy.weights(block), by_numba.weights(block)
        assert found.shape == expected.shape
        assert (found == expected).all()


@pytest.mark.parametrize("n_units", [5, 64, 700, 9000])
def test_counts_of_cells_are_sums_of_weights(n_units):
    matrix = np.random.default_rng(n_units).integers(0, 3, (n_units, 2)).astype(float)
    cells = merge_equal_units(matrix, most=9)
    by_numpy, by_numba = (sampler(n_units, name) for name in ("numpy", "numba"))
    for block in by_numpy.blocks:
        weights = by_numpy.weights(block).astype(int)
        expected = [weights[cells.cell_of == cell].sum(axis=0) for cell in range(len(cells.sizes))]
        assert (by_numba.cell_counts(block, cells) == expected).all()


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("lanes", [64, 2])
def test_ranked_passes(ties, lanes):
    kernels = backend.compiled_kernels("numba")
    rng = np.random.default_rng(lanes)
    weights = sampler(3000, "numpy").weights(0)[:, :lanes].copy()
    score = rng.standard_normal(3000)
    order = Order.of(np.round(score, 1) if ties else score)
    positive = rng.random(3000) < 0.2
    for run, lanes_of in ((kernels.auroc, auroc_lanes), (kernels.auprc, auprc_lanes)):
        found = np.empty(lanes)
        run(order.order, order.starts, positive, weights, found)
        assert (found == lanes_of(order, positive, weights)).all()
    ranks = np.empty((3000, lanes), dtype=np.int32)
    kernels.centred_ranks(order.order, order.starts, weights, ranks)
    assert (ranks == centred_ranks(order, weights.T).T).all()


def test_a_32_bit_sum_never_overflows():
    n = 140_000  # 70,000^2 pairs are more than 2^31
    positive = np.arange(n) >= n // 2
    weights = np.zeros((n, 4), dtype=np.uint8)
    weights[::255] = 255  # as few examples as can carry all the weight
    assert (weights.sum(axis=0, dtype=int) <= 2 * n).all()
    found = np.empty(4)
    order = Order.of(np.arange(n, dtype=float))
    backend.compiled_kernels("numba").auroc(order.order, order.starts, positive, weights, found)
    assert (found == 1).all()


def test_sums():
    rng = np.random.default_rng(1)
    matrix = np.column_stack(
        [np.exp(5 * rng.standard_normal(900)), rng.integers(0, 2, 900), np.zeros(900)]
    )
    weights = sampler(900, "numpy").weights(0)
    kernels = backend.compiled_kernels("numba")
    expected = ExactSums(matrix, 900)(weights)
    assert (ExactSums(matrix, 900, kernels)(weights) == expected).all()


@pytest.mark.parametrize("unit", ["example", "cluster"])
def test_every_metric_of_a_task(unit):
    rng = np.random.default_rng(2)
    y_true = rng.integers(0, 2, 500)
    entries = []
    for variant in "ab":
        score = np.round(y_true + rng.standard_normal(500), 2)
        entries.append(
            Predictions(
                task="t",
                variant=variant,
                seed=0,
                example_id=np.arange(500),
                y_true=y_true,
                y_pred=(score > 0.5).astype(int),
                y_score=score,
                numerator=rng.gamma(2, size=500),
                denominator=rng.integers(5, 9, 500),
                cluster_id=np.arange(500) // 4,
            )
        )
    task = align(entries)
    metrics = ["accuracy", "mcc", "auroc", "auprc", "spearman", "pearson", "r2", "mae", "ratio"]
    found = [
        bootstrap_metrics(
            task,
            metrics,
            ResamplingPlan(n_resamples=200, backend=name, unit=unit, n_threads=threads),
        )
        for name, threads in (("numpy", 1), ("numba", 1), ("numba", 3))
    ]
    assert (found[0].values == found[1].values).all()
    assert (found[0].values == found[2].values).all()
    only = bootstrap_metrics(
        task, ["mcc"], ResamplingPlan(n_resamples=200, backend="numba", unit=unit)
    )
    assert (only.values[..., 0] == found[0].values[..., 1]).all()  # by cells, or by units


def test_strata_and_missing_numba(monkeypatch):
    rng = np.random.default_rng(3)
    y_true = (np.arange(400) < 30).astype(int)
    task = align(
        [
            Predictions(
                task="t",
                variant="a",
                seed=0,
                example_id=np.arange(400),
                y_true=y_true,
                y_score=rng.random(400),
            )
        ]
    )
    values = [
        bootstrap_metrics(
            task, ["auprc"], ResamplingPlan(n_resamples=99, strata="class", backend=name)
        ).values
        for name in ("numpy", "numba")
    ]
    assert (values[0] == values[1]).all()
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    backend.compiled_kernels.cache_clear()
    try:
        assert backend.compiled_kernels("auto") is None
        with pytest.raises(ValueError, match=r"pip install 'lightning-dna\[fast\]'"):
            backend.compiled_kernels("numba")
    finally:
        backend.compiled_kernels.cache_clear()

"""Equal models must not differ too often: a short null grid over the three kinds of noise.

Limits are the nominal rate plus three binomial standard errors at 300 data sets. Where a shortcut
is guarded against, the test shows that it fails on the same data.
"""

import numpy as np
import pytest
from scipy.special import ndtr

from lightning_dna.stats.compare import compare

N_SETS = 300
LIMIT = 0.05 + 3 * (0.05 * 0.95 / N_SETS) ** 0.5


def rejections(tasks, resample, metrics, truth=0.0, n_resamples=199, **options):
    """Share of data sets whose 95% interval misses the truth, by metric."""
    unit = options.pop("unit", "example")
    missed = np.zeros(len(metrics))
    total = 0
    for number, task in enumerate(tasks):
        reps = {"task": resample(task, metrics, n_resamples=n_resamples, unit=unit, seed=number)}
        rows = compare(reps, baseline="a", **options).rows
        missed += [not row.low <= truth <= row.high for row in rows]
        total += 1
    assert total == N_SETS
    return dict(zip(metrics, missed / total, strict=True))


@pytest.mark.parametrize(("n", "prevalence"), [(100, 0.5), (300, 0.1)])
def test_checkpoint_scope_with_rare_positives(labelled, resample, n, prevalence):
    rng = np.random.default_rng(n)

    def tasks():
        for _ in range(N_SETS):
            y_true = (rng.random(n) < prevalence).astype(int)
            shared = 0.8 * rng.standard_normal(n)
            arms = {
                name: [
                    (1.5 * y_true - 0.75 + shared + 0.6 * rng.standard_normal(n) > 0).astype(int)
                ]
                for name in "ab"
            }
            yield labelled(y_true, arms)

    rates = rejections(tasks(), resample, ("accuracy", "f1", "mcc"), scope="checkpoint")
    assert max(rates.values()) <= LIMIT, rates


def test_coverage_of_a_true_difference(summed, resample):
    rng = np.random.default_rng(1)

    def tasks():
        for _ in range(N_SETS):
            bases = rng.integers(20, 120, 80).astype(float)
            difficulty = rng.gamma(4.0, 0.3, 80)
            arms = {
                name: [bases * (difficulty + shift + 0.2 * rng.standard_normal(80)) + 50]
                for name, shift in (("a", 0.0), ("b", 0.1))
            }
            yield summed(arms, bases)

    missed = rejections(tasks(), resample, ("ratio",), truth=0.1, scope="checkpoint")
    assert missed["ratio"] <= LIMIT
    assert missed["ratio"] >= 0.05 - 3 * (0.05 * 0.95 / N_SETS) ** 0.5


def test_clusters_of_unequal_size(labelled, resample):
    rng = np.random.default_rng(2)
    sizes = np.array([5, 10, 10, 15, 15, 20, 20, 25, 25, 30, 30, 35, 40, 40, 50])
    cluster = np.repeat(np.arange(len(sizes)), sizes)

    def tasks():
        for _ in range(N_SETS):
            y_true = rng.integers(0, 2, len(cluster))
            arms = {}
            for name in "ab":
                skill = ndtr(0.8 + 0.4 * rng.standard_normal(len(sizes)))[cluster]
                arms[name] = [np.where(rng.random(len(cluster)) < skill, y_true, 1 - y_true)]
            yield labelled(y_true, arms, cluster=cluster)

    data = list(tasks())
    metrics = ("accuracy", "mcc")
    rates = rejections(data, resample, metrics, scope="checkpoint", unit="cluster")
    assert max(rates.values()) <= LIMIT, rates
    as_examples = rejections(data, resample, metrics, scope="checkpoint")
    assert min(as_examples.values()) > 0.12


@pytest.mark.parametrize("seed_sd", [0.0, 0.15])
def test_procedure_scope_with_random_seeds(labelled, resample, seed_sd):
    rng = np.random.default_rng(3)
    n, n_seeds = 300, 3

    def tasks():
        for _ in range(N_SETS):
            y_true = rng.integers(0, 2, n)
            easy = 1.0 + rng.standard_normal(n)
            arms = {}
            for name in "ab":
                own = 0.25 * rng.standard_normal(n)
                arms[name] = [
                    np.where(
                        easy + own + seed_sd * rng.standard_normal() + 0.35 * rng.standard_normal(n)
                        > 0,
                        y_true,
                        1 - y_true,
                    )
                    for _ in range(n_seeds)
                ]
            yield labelled(y_true, arms)

    data = list(tasks())
    rates = rejections(data, resample, ("accuracy",), scope="procedure")
    assert rates["accuracy"] <= LIMIT, rates
    if seed_sd > 0:
        assert rejections(data, resample, ("accuracy",), scope="checkpoint")["accuracy"] > 0.2

"""Replicates follow the exact bootstrap law, and depend on nothing but seed, task and data."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from lightning_dna.errors import StatsError
from lightning_dna.stats import bootstrap
from lightning_dna.stats.bootstrap import ResamplingPlan
from lightning_dna.stats.replicates import subtract

Y_TRUE = np.array([0, 1, 1, 0, 1])
A, B = np.array([0, 1, 1, 1, 0]), np.array([0, 0, 1, 1, 1])
NUMERATOR, DENOMINATOR = np.array([0.5, 2.0, 3.5, 1.0, 4.0]), np.array([1.0, 2.0, 1.0, 4.0, 2.0])


def exact_law(statistic, n_units):
    """Probability of every value of a statistic over all n^n resamples."""
    law = Counter()
    for chosen in itertools.combinations_with_replacement(range(n_units), n_units):
        ways = math.factorial(n_units)
        for count in Counter(chosen).values():
            ways //= math.factorial(count)
        law[round(statistic(np.array(chosen)), 10)] += ways / n_units**n_units
    return law


# Some of the 3125 resamples have one class only.
@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true:UserWarning")
@pytest.mark.parametrize(
    "name", ["accuracy", "balanced_accuracy", "f1", "macro_f1", "mcc", "ratio"]
)
def test_exhaustive_bootstrap_of_five_examples(labelled, summed, resample, name):
    scores = {
        "accuracy": sk.accuracy_score,
        "balanced_accuracy": sk.balanced_accuracy_score,
        "f1": lambda t, p: sk.f1_score(t, p, zero_division=0.0),
        "macro_f1": lambda t, p: sk.f1_score(t, p, average="macro", zero_division=0.0),
        "mcc": sk.matthews_corrcoef,
    }
    if name == "ratio":
        task = summed({"a": [NUMERATOR], "b": [NUMERATOR[::-1]]}, DENOMINATOR)
        law = exact_law(
            lambda i: (NUMERATOR[i] - NUMERATOR[::-1][i]).sum() / DENOMINATOR[i].sum(), 5
        )
    else:
        task = labelled(Y_TRUE, {"a": [A], "b": [B]})
        score = scores[name]
        law = exact_law(lambda i: score(Y_TRUE[i], A[i]) - score(Y_TRUE[i], B[i]), 5)
    size = 20_000
    values = resample(task, [name], n_resamples=size).values[:, :, 0, 0]
    found = Counter(np.round(values[:, 0] - values[:, 1], 10).tolist())
    assert {round(v, 9) for v in found} <= {round(v, 9) for v in law}
    expected = np.array([size * share for share in law.values()])
    counts = np.array([sum(c for v, c in found.items() if abs(v - key) < 1e-9) for key in law])
    rare = expected < 5
    expected = np.append(expected[~rare], expected[rare].sum() + 1e-9)
    counts = np.append(counts[~rare], counts[rare].sum())
    p = stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), len(expected) - 1)
    assert p > 1e-3


def test_bootstrap_variance_of_a_mean(summed, resample):
    values = np.random.default_rng(0).gamma(2.0, size=40)
    reps = resample(summed({"a": [values]}), ["mean"], n_resamples=20_000)
    expected = values.var(ddof=1) * 39 / 40**2
    assert reps.values.var() == pytest.approx(expected, rel=4 * (2 / 20_000) ** 0.5)
    assert reps.variance_correction == pytest.approx(40 / 39)
    # Influence of a mean is (x - mean) / n, and its squares sum to the same variance.
    np.testing.assert_allclose(
        reps.influence[:, 0, 0, 0], (values - values.mean()) / 40, atol=1e-15
    )


def test_clusters_are_resampled_whole(summed, resample):
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(6), [1, 5, 2, 7, 3, 4])
    numerator, denominator = rng.random(22), rng.integers(1, 9, 22).astype(float)
    task = summed({"a": [numerator]}, denominator, cluster=cluster)
    reps = resample(task, ["ratio"], unit="cluster", n_resamples=500)
    top, bottom = np.bincount(cluster, numerator), np.bincount(cluster, denominator)
    by_cluster = resample(summed({"a": [top]}, bottom), ["ratio"], n_resamples=500)
    np.testing.assert_allclose(reps.values, by_cluster.values, rtol=1e-14)
    np.testing.assert_allclose(reps.influence, by_cluster.influence, atol=1e-15)
    np.testing.assert_allclose(
        reps.influence[:, 0, 0, 0],
        np.bincount(cluster, reps.example_influence[:, 0, 0, 0]),
        atol=1e-15,
    )
    assert reps.effective_units == pytest.approx(22**2 / (1 + 25 + 4 + 49 + 9 + 16))
    assert (reps.n_units, reps.n_examples) == (6, 22)


def random_arms(rng, y_true, names, n_seeds):
    return {
        name: [
            np.where(rng.random(len(y_true)) < 0.7, y_true, rng.integers(0, 3, len(y_true)))
            for _ in range(n_seeds)
        ]
        for name in names
    }


def test_adding_variants_seeds_or_metrics_never_changes_existing_values(labelled, resample):
    rng = np.random.default_rng(2)
    y_true = rng.integers(0, 2, 300)
    arms = random_arms(rng, y_true, ["a", "b"], 2)
    more = random_arms(rng, y_true, ["x", "c"], 3)  # predicts a class that nobody else predicts
    small = resample(labelled(y_true, arms), ["mcc"])
    large = resample(
        labelled(y_true, {"x": more["x"], **arms, "c": more["c"]}), ["accuracy", "macro_f1", "mcc"]
    )
    keep = [large.variants.index("a"), large.variants.index("b")]
    assert (small.values[..., 0] == large.values[:, keep][:, :, :2, 2]).all()
    assert (small.observed[..., 0] == large.observed[keep][:, :2, 2]).all()
    assert (small.influence[..., 0] == large.influence[:, keep][:, :, :2, 2]).all()


def test_merged_cells_give_the_same_values_as_units(labelled, resample, monkeypatch):
    rng = np.random.default_rng(3)
    y_true = rng.integers(0, 2, 400)
    task = labelled(y_true, {"a": [rng.integers(0, 2, 400)], "b": [rng.integers(0, 2, 400)]})
    merged = resample(task, ["mcc", "f1"])
    monkeypatch.setattr(bootstrap, "merge_equal_units", lambda matrix: None)
    assert (resample(task, ["mcc", "f1"]).values == merged.values).all()


def test_seed_and_task_key_the_stream_and_fewer_resamples_are_a_prefix(labelled, resample):
    arms = {"a": [np.random.default_rng(4).integers(0, 2, 100)]}
    y_true = np.arange(100) % 2
    reference = resample(labelled(y_true, arms), ["accuracy"], n_resamples=200).values
    again = resample(labelled(y_true, arms), ["accuracy"], n_resamples=90).values
    assert (reference[:90] == again).all()
    other_seed = resample(labelled(y_true, arms), ["accuracy"], n_resamples=200, seed=1).values
    other_task = resample(labelled(y_true, arms, task="u"), ["accuracy"], n_resamples=200).values
    assert (reference != other_seed).any()
    assert (reference != other_task).any()


def test_absent_pairs_are_nan_and_not_counted_as_undefined(labelled, resample):
    y_true = np.arange(20) % 2
    reps = resample(labelled(y_true, {"a": [y_true, y_true], "b": [1 - y_true]}), ["accuracy"])
    assert np.isnan(reps.values[:, 1, 1]).all()
    assert np.isnan(reps.observed[1, 1]).all()
    assert reps.n_undefined.sum() == 0


def test_undefined_replicates_are_counted(summed, resample):
    denominator = np.array([1.0, 0.0, 0.0, 0.0])  # missed by (3/4)^4 of the resamples
    reps = resample(summed({"a": [denominator]}, denominator), ["ratio"], n_resamples=4000)
    share = reps.n_undefined[0, 0, 0] / 4000
    assert share == pytest.approx(0.75**4, abs=0.03)
    assert np.isnan(reps.values).sum() == reps.n_undefined.sum()


def test_contrast_of_two_example_sets(summed, resample):
    rng = np.random.default_rng(5)
    first = resample(summed({"a": [rng.random(50)]}, task="train"), ["mean"], n_resamples=5000)
    second = resample(summed({"a": [rng.random(80)]}, task="test"), ["mean"], n_resamples=5000)
    gap = subtract(first, second, task="gap")
    assert gap.observed == first.observed - second.observed
    assert gap.parts == (50, 80)
    assert (gap.influence[:50] == first.influence).all()
    assert (gap.influence[50:] == -second.influence).all()
    # Unbiased variances add: s1^2/n1 + s2^2/n2, from influences u = (x - mean)/n.
    expected = (first.influence**2).sum() * 50 / 49 + (second.influence**2).sum() * 80 / 79
    assert gap.values.var() * gap.variance_correction == pytest.approx(expected, rel=0.08)
    assert abs(np.corrcoef(first.values.ravel(), second.values.ravel())[0, 1]) < 0.06
    assert not gap.metrics[0].greater_is_better
    assert subtract(first, second, task="gap", orientation="same").metrics[0].greater_is_better


def test_contrast_refuses_sets_that_do_not_match(summed, resample):
    one = resample(summed({"a": [np.arange(9.0)]}, task="one"), ["mean"])
    with pytest.raises(StatsError, match="both sides are task 'one'"):
        subtract(one, one, task="gap")
    other = resample(summed({"b": [np.arange(9.0)]}, task="two"), ["mean"])
    with pytest.raises(StatsError, match="differ in variants"):
        subtract(one, other, task="gap")
    other = resample(summed({"a": [np.arange(9.0)]}, task="two"), ["mean"], n_resamples=99)
    with pytest.raises(StatsError, match="differ in n_resamples: 199 and 99"):
        subtract(one, other, task="gap")
    with pytest.raises(StatsError, match="allowed: 'opposite', 'same'"):
        subtract(one, other, task="gap", orientation="up")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_resamples": 1}, "n_resamples must be 2 or more, not 1"),
        ({"unit": "gene"}, "'example' or 'cluster', not 'gene'"),
        ({"weights": "bayesian"}, "weights must be 'multinomial'"),
        ({"seed": -1}, "seed must be 0 or more"),
    ],
)
def test_plan_names_what_is_allowed(options, message):
    with pytest.raises(StatsError, match=message):
        ResamplingPlan(**options)


def test_clusters_must_be_given(labelled, resample):
    with pytest.raises(StatsError, match="unit='cluster' needs cluster_id"):
        resample(labelled([0, 1], {"a": [[0, 1]]}), ["accuracy"], unit="cluster")

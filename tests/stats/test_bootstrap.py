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
from lightning_dna.stats.metrics import METRICS
from lightning_dna.stats.plan import ResamplingPlan
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
        value = statistic(np.array(chosen))
        law[round(value, 10) if value == value else None] += ways / n_units**n_units
    return law


SCORES = np.array([0.1, 0.4, 0.35, 0.8, 0.4]), np.array([0.3, 0.3, 0.9, 0.2, 0.5])
TARGET = np.array([0.2, 1.0, 0.4, 0.7, 0.7])


def only_both_classes(score):
    """A metric that scikit-learn defines otherwise, or warns of, where one class is missing."""
    return lambda t, p: score(t, p) if 0 < t.sum() < len(t) else np.nan


def only_spread(score):
    return lambda t, p: score(t, p) if np.ptp(t) > 0 and np.ptp(p) > 0 else np.nan


def tpr_at_one_percent(y_true, score):
    false, true, _ = sk.roc_curve(y_true, score, drop_intermediate=False)
    return true[false <= 0.01].max()


LABELLED = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "f1": lambda t, p: sk.f1_score(t, p, zero_division=0.0),
    "macro_f1": lambda t, p: sk.f1_score(t, p, average="macro", zero_division=0.0),
    "mcc": sk.matthews_corrcoef,
}
SCORED = {
    "auroc": only_both_classes(sk.roc_auc_score),
    "auprc": only_both_classes(sk.average_precision_score),
    "tpr_at_fpr01": only_both_classes(tpr_at_one_percent),
}
REGRESSION = {
    "spearman": only_spread(lambda t, p: stats.spearmanr(t, p).statistic),
    "pearson": only_spread(lambda t, p: stats.pearsonr(t, p).statistic),
    "r2": lambda t, p: sk.r2_score(t, p) if np.ptp(t) > 0 else np.nan,
    "mse": sk.mean_squared_error,
    "mae": sk.mean_absolute_error,
}


def case(name, labelled, summed, scored):
    """Return a task of five examples and two variants, and the same difference by index."""
    if name == "ratio":
        task = summed({"a": [NUMERATOR], "b": [NUMERATOR[::-1]]}, DENOMINATOR)
        gap = NUMERATOR - NUMERATOR[::-1]
        return task, lambda i: gap[i].sum() / DENOMINATOR[i].sum()
    if name in LABELLED:
        truth, (a, b), score = Y_TRUE, (A, B), LABELLED[name]
        task = labelled(truth, {"a": [a], "b": [b]})
    else:
        truth = Y_TRUE if name in SCORED else TARGET
        (a, b), score = SCORES, {**SCORED, **REGRESSION}[name]
        task = scored(truth, {"a": [a], "b": [b]})
    return task, lambda i: score(truth[i], a[i]) - score(truth[i], b[i])


# Some of the 3125 resamples have one class only, or constant scores.
@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true:UserWarning")
@pytest.mark.parametrize(
    ("name", "draws"),
    [
        (name, draws)
        for name in ["ratio", *LABELLED, *SCORED, *REGRESSION]
        for draws in ("unit", "cell")
        if draws == "unit" or METRICS[name].kind != "ranked"  # ranks are no counts of cells
    ],
)
def test_exhaustive_bootstrap_of_five_examples(labelled, summed, scored, resample, name, draws):
    task, statistic = case(name, labelled, summed, scored)
    law = exact_law(statistic, 5)
    size = 40_000
    values = resample(task, [name], n_resamples=size, draws=draws).values[:, :, 0, 0]
    gaps = np.round(values[:, 0] - values[:, 1], 10)
    found = Counter(None if np.isnan(gap) else gap for gap in gaps.tolist())
    support = np.array([value for value in law if value is not None])
    for value in found:  # nothing outside the exact support
        assert (None in law) if value is None else np.abs(support - value).min() < 1e-9
    expected = np.array([size * share for share in law.values()])
    counts = np.array([_times(found, value) for value in law])
    assert counts.sum() == size
    rare = expected < 5
    expected = np.append(expected[~rare], expected[rare].sum() + 1e-9)
    counts = np.append(counts[~rare], counts[rare].sum())
    p = stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), len(expected) - 1)
    assert p > 1e-3


def _times(found, value):
    if value is None:
        return found[None]
    return sum(n for other, n in found.items() if other is not None and abs(other - value) < 1e-9)


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
    with pytest.raises(
        StatsError, match=r"differ in plan: .*n_resamples=199.* and .*n_resamples=99"
    ):
        subtract(one, other, task="gap")
    with pytest.raises(StatsError, match="allowed: 'opposite', 'same'"):
        subtract(one, other, task="gap", orientation="up")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_resamples": 1}, "n_resamples must be 2 or more, not 1"),
        ({"unit": "gene"}, "'example' or 'cluster', not 'gene'"),
        ({"weights": "gaussian"}, "weights must be 'multinomial' or 'poisson' or 'bayesian'"),
        ({"backend": "cuda"}, "backend must be 'auto' or 'numpy' or 'numba'"),
        ({"draws": "row"}, "draws must be 'unit' or 'cell', not 'row'"),
        ({"draws": "cell", "unit": "cluster"}, "use draws='unit' with clusters"),
        ({"draws": "cell", "weights": "poisson"}, "use draws='unit'"),
        ({"strata": "gene"}, "strata must be None or 'class'"),
        ({"strata": "class", "unit": "cluster"}, "a cluster may hold both classes"),
        ({"n_threads": 0}, "n_threads must be 1 or more"),
        ({"seed": -1}, "seed must be 0 or more"),
    ],
)
def test_plan_names_what_is_allowed(options, message):
    with pytest.raises(StatsError, match=message):
        ResamplingPlan(**options)


def test_clusters_must_be_given(labelled, resample):
    with pytest.raises(StatsError, match="unit='cluster' needs cluster_id"):
        resample(labelled([0, 1], {"a": [[0, 1]]}), ["accuracy"], unit="cluster")


@pytest.mark.parametrize("name", [*LABELLED, *SCORED, *REGRESSION, "ratio"])
def test_leaving_out_one_example_equals_the_metric_without_it(
    labelled, summed, scored, resample, name
):
    rng = np.random.default_rng(8)
    y_true = np.arange(24) % 2
    target, score = rng.standard_normal(24), np.round(rng.standard_normal(24), 1)
    if name == "ratio":
        task = summed({"a": [score], "b": [target]}, y_true + 1.0)
        without = [np.delete(score, i).sum() / np.delete(y_true + 1, i).sum() for i in range(24)]
    else:
        truth = target if name in REGRESSION else y_true
        predicted = (score > 0).astype(int) if name in LABELLED else score
        build = labelled if name in LABELLED else scored
        task = build(truth, {"b": [predicted[::-1]], "a": [predicted]})
        metric = {**LABELLED, **SCORED, **REGRESSION}[name]
        without = [metric(np.delete(truth, i), np.delete(predicted, i)) for i in range(24)]
    reps = resample(task, [name], n_resamples=2)
    found = reps.leave_one_out(reps.variant_index("a"), 0)
    np.testing.assert_allclose(found[:, 0], without, rtol=0, atol=1e-13)


def test_leaving_out_a_cluster_and_a_unit_of_a_contrast(scored, resample):
    rng = np.random.default_rng(9)
    y_true, score = np.arange(30) % 2, rng.standard_normal(30)
    cluster = np.arange(30) // 5
    reps = resample(scored(y_true, {"a": [score]}, cluster=cluster), ["auroc"], unit="cluster")
    expected = [sk.roc_auc_score(y_true[cluster != c], score[cluster != c]) for c in range(6)]
    np.testing.assert_allclose(reps.leave_one_out(0, 0)[:, 0], expected, atol=1e-15)
    parts = [
        resample(scored(y_true[rows], {"a": [score[rows]]}, task=name), ["auroc"])
        for name, rows in (("one", slice(0, 14)), ("two", slice(14, 30)))
    ]
    gap = subtract(*parts, task="gap")
    whole = [sk.roc_auc_score(y_true[rows], score[rows]) for rows in (slice(0, 14), slice(14, 30))]
    first = np.delete(np.arange(14), 3)
    expected = sk.roc_auc_score(y_true[first], score[first]) - whole[1]
    assert gap.leave_one_out(0, 0)[3, 0] == pytest.approx(expected, abs=1e-15)
    second = np.delete(np.arange(14, 30), 5)
    expected = whole[0] - sk.roc_auc_score(y_true[second], score[second])
    assert gap.leave_one_out(0, 0)[14 + 5, 0] == pytest.approx(expected, abs=1e-15)


def test_resampled_columns_are_those_of_the_replicates(summed, resample):
    rng = np.random.default_rng(10)
    parts = [
        resample(summed({"a": [rng.random(size)]}, task=name), ["mean"])
        for name, size in (("one", 20), ("two", 35))
    ]
    for part, size in zip(parts, (20, 35), strict=True):
        sums = part.resample(part.statistics[0].matrix[:, part.statistics[0].index[0][0, 0]])
        assert (sums[:, 1] == size).all()
        assert (sums[:, 0] / sums[:, 1] == part.values[:, 0, 0, 0]).all()
    gap = subtract(*parts, task="gap")
    both = gap.resample(np.arange(55.0)[:, None])
    apart = parts[0].resample(np.arange(20.0)[:, None]) + parts[1].resample(
        np.arange(20.0, 55.0)[:, None]
    )
    assert (both == apart).all()


def test_draws_by_cell_need_counts_and_have_no_units(scored, labelled, resample):
    y_true = np.arange(40) % 2
    with pytest.raises(StatsError, match="auroc needs draws='unit'"):
        resample(scored(y_true, {"a": [np.arange(40.0)]}), ["auroc"], draws="cell")
    reps = resample(labelled(y_true, {"a": [y_true[::-1]]}), ["mcc"], draws="cell")
    with pytest.raises(StatsError, match="no weights by unit"):
        reps.resample(np.ones((40, 1)))


def test_strata_fix_the_number_of_positives(labelled, resample):
    y_true = (np.arange(60) < 7).astype(int)
    task = labelled(y_true, {"a": [np.ones(60, dtype=int)]})
    free = resample(task, ["accuracy"], n_resamples=999).values
    fixed = resample(task, ["accuracy"], n_resamples=999, strata="class").values
    assert free.std() > 0  # calling all positive is as accurate as there are positives
    assert (fixed == 7 / 60).all()


@pytest.mark.parametrize("weights", ["multinomial", "poisson", "bayesian"])
def test_corrected_variance_of_a_mean_is_unbiased_under_every_law(summed, resample, weights):
    values = np.random.default_rng(11).gamma(2.0, size=60)
    reps = resample(summed({"a": [values]}), ["mean"], n_resamples=20_000, weights=weights)
    expected = values.var(ddof=1) / 60
    assert reps.values.var() * reps.variance_correction == pytest.approx(expected, rel=0.05)


def test_blocks_of_a_span_do_not_change_a_digit(labelled, resample, monkeypatch):
    rng = np.random.default_rng(12)
    y_true = rng.integers(0, 2, 200)
    task = labelled(y_true, {"a": [rng.integers(0, 2, 200)]})
    whole = resample(task, ["mcc", "f1"], n_resamples=500).values
    monkeypatch.setattr(bootstrap, "_SPAN_BYTES", 1)
    assert (resample(task, ["mcc", "f1"], n_resamples=500).values == whole).all()

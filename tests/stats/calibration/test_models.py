"""The generators against laws known in closed form, and against scikit-learn on large samples."""

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import ndtr
from sklearn import metrics as sklearn_metrics

from lightning_dna.errors import StatsError
from lightning_dna.stats.calibration.models import Design, cluster_sizes, latent_noise
from lightning_dna.stats.calibration.real_data import ExchangedArms, SplitSeeds, real_null_sources
from lightning_dna.stats.calibration.truths import true_differences, true_values


def generator(seed=0):
    return np.random.default_rng(seed)


def designed(**changes):
    return Design(**({"family": "binary", "n": 1000} | changes))


@pytest.mark.parametrize("rho", [0.0, 0.7, 0.95])
def test_noise_has_variance_one_and_the_correlation_that_is_asked_for(rho):
    noise, cluster = latent_noise(designed(n=200_000, correlation=rho, n_seeds=2), generator())
    assert cluster is None
    assert noise.var(axis=2) == pytest.approx(np.ones((2, 2)), abs=0.015)
    between = np.corrcoef(noise[0, 0], noise[1, 0])[0, 1]
    assert between == pytest.approx(rho, abs=0.01)
    # Two training seeds of one arm also share the arm's own view: a third of what is not common.
    assert np.corrcoef(noise[0, 0], noise[0, 1])[0, 1] == pytest.approx(
        rho + (1 - rho) / 3, abs=0.01
    )


@pytest.mark.parametrize("icc", [0.0, 0.1])
def test_clusters_share_the_icc_within_an_arm_and_nothing_between_arms(icc):
    n, clusters = 40_000, 4_000
    design = designed(n=n, clusters=clusters, icc=icc, correlation=0.0)
    noise, cluster = latent_noise(design, generator(1))
    assert np.bincount(cluster).tolist() == [10] * clusters
    by_cluster = noise[:, 0].reshape(2, clusters, 10)
    # One-way analysis of variance: (MSB - MSW) / (MSB + (m - 1) MSW) estimates the ICC.
    between = 10 * by_cluster.mean(axis=2).var(axis=1, ddof=1)
    within = by_cluster.var(axis=2, ddof=1).mean(axis=1)
    estimated = (between - within) / (between + 9 * within)
    assert estimated == pytest.approx([icc, icc], abs=0.015)
    means = by_cluster.mean(axis=2)
    assert abs(np.corrcoef(means)[0, 1]) < 0.05


def test_cluster_sizes_add_up_and_unequal_ones_are_worth_half_as_many():
    equal = cluster_sizes(designed(n=1000, clusters=22))
    assert equal.sum() == 1000
    assert np.ptp(equal) == 1
    unequal = cluster_sizes(designed(n=1000, clusters=22, unequal=True))
    assert unequal.sum() == 1000
    assert unequal.min() >= 1
    effective = unequal.sum() ** 2 / (unequal**2).sum()
    assert 9 < effective < 12  # Kish; a lognormal with sigma 1 has 22 / e in the limit


@pytest.mark.parametrize(("family", "minority"), [("binary", 0.03), ("multiclass", 0.1)])
def test_the_rarest_class_is_as_frequent_as_asked_for(family, minority):
    task = Design(family=family, n=100_000, minority=minority).draw(generator())
    share = np.bincount(task.y_true)[-1] / 100_000
    assert abs(share - minority) < 4 * (minority * (1 - minority) / 100_000) ** 0.5


def test_calls_are_as_frequent_as_positives():
    task = designed(n=100_000, minority=0.1).draw(generator())
    assert task.y_pred.mean() == pytest.approx(0.1, abs=0.005)


def test_tied_scores_have_ten_values():
    for family in ("binary", "regression"):
        task = Design(family=family, n=5000, levels=10).draw(generator())
        assert len(np.unique(task.y_score)) == 10


def test_true_differences_are_those_of_the_formulas():
    binary = true_differences(designed(effect=0.15))
    assert binary["auroc"] == pytest.approx(ndtr(1.8 / 2**0.5) - ndtr(1.5 / 2**0.5), abs=1e-12)
    assert binary["accuracy"] == pytest.approx(ndtr(0.9) - ndtr(0.75), abs=1e-9)
    assert binary["mcc"] == pytest.approx(2 * binary["accuracy"], abs=1e-9)  # balanced classes
    regression = true_differences(Design(family="regression", n=100, effect=0.05))
    assert regression["pearson"] == pytest.approx(0.05, abs=1e-12)
    spearman = [6 / np.pi * np.arcsin(r / 2) for r in (0.6, 0.65)]
    assert regression["spearman"] == pytest.approx(spearman[1] - spearman[0], abs=1e-12)
    assert regression["mse"] == pytest.approx(-0.1, abs=1e-12)
    windows = true_differences(Design(family="windows", n=100, effect=0.05))
    assert windows["bits_per_base"] == pytest.approx(np.exp(-0.05) - 1, abs=1e-12)
    assert set(true_differences(designed()).values()) == {0.0}


def test_average_precision_is_that_of_adaptive_quadrature():
    pi, mean = 0.03, 0.75

    def integrand(at):
        above = pi * ndtr(mean - at)
        return above / (above + (1 - pi) * ndtr(-mean - at)) * stats.norm.pdf(at - mean)

    expected = integrate.quad(integrand, -12, 12, epsabs=1e-12)[0]
    assert true_values(designed(minority=pi), mean)["auprc"] == pytest.approx(expected, abs=1e-6)


def test_truth_with_random_seeds_is_the_mean_over_their_skills():
    design = Design(family="regression", n=100, n_seeds=3, seed_sd=0.1, scope="procedure")

    def pearson(shift):
        slope = 0.6 + shift
        return slope / (slope**2 + 1 - 0.36) ** 0.5 * stats.norm.pdf(shift, scale=0.1)

    expected = integrate.quad(pearson, -1, 1)[0]
    assert true_values(design, 0.6)["pearson"] == pytest.approx(expected, abs=1e-8)


def label_scores(task, arm):
    y_true, y_pred = task.y_true, task.y_pred[:, arm, 0]
    return {
        "accuracy": sklearn_metrics.accuracy_score(y_true, y_pred),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(y_true, y_pred),
        "macro_f1": sklearn_metrics.f1_score(y_true, y_pred, average="macro"),
        "mcc": sklearn_metrics.matthews_corrcoef(y_true, y_pred),
    }


def binary_scores(task, arm):
    score = task.y_score[:, arm, 0]
    found = {
        "auroc": sklearn_metrics.roc_auc_score(task.y_true, score),
        "auprc": sklearn_metrics.average_precision_score(task.y_true, score),
        "f1": sklearn_metrics.f1_score(task.y_true, task.y_pred[:, arm, 0]),
    }
    return found | label_scores(task, arm)


def regression_scores(task, arm):
    target, score = task.target, task.y_score[:, arm, 0]
    return {
        "pearson": np.corrcoef(target, score)[0, 1],
        "spearman": stats.spearmanr(target, score)[0],
        "r2": sklearn_metrics.r2_score(target, score),
        "mse": sklearn_metrics.mean_squared_error(target, score),
        "mae": sklearn_metrics.mean_absolute_error(target, score),
    }


def window_scores(task, arm):
    return {
        name: task.numerator[name][:, arm, 0].sum() / task.denominator[name][:, arm, 0].sum()
        for name in ("bits_per_base", "mlm_accuracy")
    }


@pytest.mark.parametrize(
    ("design", "scores"),
    [
        (Design(family="binary", n=20_000, minority=0.1, effect=0.15), binary_scores),
        (Design(family="binary", n=20_000, minority=0.1, levels=10, effect=0.15), binary_scores),
        (Design(family="multiclass", n=20_000, minority=0.1, effect=0.15), label_scores),
        (Design(family="regression", n=20_000, effect=0.05), regression_scores),
        (Design(family="regression", n=20_000, levels=10, effect=0.05), regression_scores),
        (Design(family="windows", n=20_000, effect=0.05), window_scores),
        (
            Design(family="regression", n=20_000, clusters=2000, icc=0.1, effect=0.05),
            regression_scores,
        ),
    ],
    ids=lambda value: getattr(value, "key", ""),
)
def test_large_samples_agree_with_the_true_values(design, scores):
    draws = [design.draw(generator(seed)) for seed in range(20)]
    for arm, skill in enumerate(design.skills()):
        samples = [scores(task, arm) for task in draws]
        for name, truth in true_values(design, skill).items():
            found = np.array([sample[name] for sample in samples])
            error = found.std(ddof=1) / len(found) ** 0.5
            assert abs(found.mean() - truth) < 4.5 * error + 2e-4, (name, found.mean(), truth)


@pytest.mark.parametrize(
    "changes",
    [
        {"family": "survival"},
        {"n": 1},
        {"minority": 0.0},
        {"levels": 1},
        {"correlation": 1.0},
        {"icc": 0.1},
        {"unit": "cluster"},
        {"n_seeds": 0},
    ],
)
def test_a_design_out_of_range_is_refused(changes):
    with pytest.raises(StatsError, match=next(iter(changes))):
        designed(**changes)


@pytest.fixture
def real(labelled):
    rng = generator(5)
    y_true = rng.integers(0, 2, 300)
    cluster = np.repeat(np.arange(60), 5)
    arms = {
        "good": [np.where(rng.random(300) < 0.9, y_true, 1 - y_true) for _ in range(4)],
        "bad": [np.where(rng.random(300) < 0.6, y_true, 1 - y_true) for _ in range(4)],
    }
    return labelled(y_true, arms, cluster=cluster)


def test_exchange_keeps_every_pair_and_removes_the_effect(real):
    source = ExchangedArms(task=real, first="good", second="bad", metrics=("accuracy",))
    rng = generator(1)
    gaps = []
    for _ in range(200):
        task = source.draw(rng)
        assert (np.sort(task.y_pred, axis=1) == np.sort(real.y_pred, axis=1)).all()
        correct = (task.y_pred == task.y_true[:, None, None]).mean(axis=(0, 2))
        gaps.append(correct[0] - correct[1])
    assert abs(np.mean(gaps)) < 4 * np.std(gaps) / 200**0.5
    assert abs(np.mean(gaps)) < 0.02 < 0.25  # the real gap is 0.3


def test_exchange_moves_clusters_and_seeds_as_one(real):
    source = ExchangedArms(
        task=real, first="good", second="bad", metrics=("accuracy",), unit="cluster"
    )
    task = source.draw(generator(2))
    kept = (task.y_pred == real.y_pred).all(axis=(1, 2)).reshape(60, 5)
    moved = (task.y_pred == real.y_pred[:, ::-1]).all(axis=(1, 2)).reshape(60, 5)
    assert (kept.all(axis=1) | moved.all(axis=1)).all()
    assert 15 < moved.all(axis=1).sum() < 45


def test_split_deals_the_seeds_of_one_variant_on_half_of_the_clusters(real):
    source = SplitSeeds(task=real, variant="bad", metrics=("accuracy",), unit="cluster")
    task = source.draw(generator(3))
    assert task.y_pred.shape == (150, 2, 2)
    rows = np.searchsorted(real.example_id, task.example_id)
    assert set(np.bincount(real.cluster[rows], minlength=60).tolist()) == {0, 5}
    dealt = [
        next(s for s in range(4) if (task.y_pred[:, arm, seat] == real.y_pred[rows, 1, s]).all())
        for arm in range(2)
        for seat in range(2)
    ]
    assert sorted(dealt) == [0, 1, 2, 3]


def test_real_sources_are_all_pairs_and_all_variants_with_seeds(real):
    sources = real_null_sources({"task": real}, {"task": ("accuracy",)})
    assert [type(source).__name__ for source in sources] == [
        "ExchangedArms",
        "SplitSeeds",
        "SplitSeeds",
    ]
    assert {source.unit for source in sources} == {"cluster"}
    assert [source.scope for source in sources] == ["checkpoint", "procedure", "procedure"]


def test_one_variant_with_few_seeds_is_refused(labelled):
    task = labelled([0, 1, 0, 1], {"only": [[0, 1, 1, 1]]})
    with pytest.raises(StatsError, match="two variants"):
        real_null_sources({"task": task}, {"task": ("accuracy",)})

"""Aggregation over tasks against scipy, statsmodels and direct computation."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lightning_dna.errors import ConfigError, StatsError
from lightning_dna.stats.alignment import align
from lightning_dna.stats.comparison import compare
from lightning_dna.stats.predictions import Predictions
from lightning_dna.stats.replicates import subtract
from lightning_dna.stats.suites.aggregation import aggregate

SIZES = (60, 90, 120, 75, 100)
STATISTICS = ("mean", "median", "iqm", "mean_rank", "probability_of_improvement")


def scores_of(rng, size, gains, n_seeds=3, seed_noise=None):
    """One array per seed and variant: shared difficulty, own noise, gain of the variant."""
    hard = rng.standard_normal(size)
    noise = {} if seed_noise is None else seed_noise
    return {
        name: [
            hard + gain + 0.3 * rng.standard_normal(size) + noise.get(name, np.zeros(9))[seed]
            for seed in range(n_seeds)
        ]
        for name, gain in gains.items()
    }


@pytest.fixture(scope="module")
def tables():
    """(examples, seeds) scores by task and variant."""
    rng = np.random.default_rng(0)
    return {
        f"task{number}": scores_of(rng, size, {"base": 0.0, "good": 0.06, "twin": 0.01})
        for number, size in enumerate(SIZES)
    }


@pytest.fixture(scope="module")
def suite(tables, summed, resample):
    return {
        task: resample(summed(arms, task=task), ["mean"], n_resamples=1999)
        for task, arms in tables.items()
    }


@pytest.fixture(scope="module")
def means(tables):
    """(tasks, seeds) means by variant."""
    return {
        name: np.array([[np.mean(seed) for seed in arms[name]] for arms in tables.values()])
        for name in ("base", "good", "twin")
    }


def row(table, variant="good"):
    return next(one for one in table.rows if one.variant == variant)


def fixed(suite, statistic="mean", scope="checkpoint", **options):
    options = {"baseline": "base", "tasks": "fixed", **options}
    return aggregate(suite, scope=scope, statistic=statistic, **options)


def test_the_mean_over_fixed_tasks_adds_variances(suite, tables, means):
    found = row(fixed(suite))
    assert found.delta == pytest.approx((means["good"] - means["base"]).mean())
    assert found.estimate - found.baseline_estimate == pytest.approx(found.delta)
    variances = []
    for arms in tables.values():
        difference = np.mean(arms["good"], axis=0) - np.mean(arms["base"], axis=0)
        variances.append(difference.var(ddof=1) / len(difference))
    assert found.se == pytest.approx(sum(variances) ** 0.5 / 5, rel=0.03)
    assert found.se_analytic == pytest.approx(sum(variances) ** 0.5 / 5, rel=1e-9)
    rows = compare(suite, baseline="base", scope="checkpoint").rows
    rows = [one for one in rows if one.variant == "good"]
    total = sum(one.se**2 for one in rows)
    assert found.se == pytest.approx(total**0.5 / 5, rel=1e-12)
    satterthwaite = total**2 / sum(one.se**4 / one.df for one in rows)
    assert found.df == pytest.approx(satterthwaite, rel=1e-12)
    assert found.high - found.delta == pytest.approx(stats.t.ppf(0.975, found.df) * found.se)
    assert found.p == pytest.approx(2 * stats.t.sf(found.delta / found.se, found.df), rel=1e-6)
    assert found.percentile_low == pytest.approx(found.low, abs=0.3 * found.se)
    assert (found.task, found.metric, found.n_seeds) == ("mean of 5 tasks", "mean", 3)
    assert (found.n_units, found.n_examples, found.design_effect) == (445, 445, 1.0)
    assert found.verdict == "better"
    assert found.flags == ()


def test_values_of_the_statistics(suite, means):
    base, good, twin = (means[name] for name in ("base", "good", "twin"))
    by_task = (good - base).mean(axis=1)
    assert row(fixed(suite, "median")).delta == pytest.approx(np.median(by_task))
    # Trimming 25% of 15 scores cuts through one: four copies of each make it whole.
    whole = [stats.trim_mean(np.repeat(table.ravel(), 4), 0.25) for table in (good, base)]
    found = row(fixed(suite, "iqm"))
    assert (found.estimate, found.baseline_estimate) == pytest.approx(tuple(whole))
    assert found.delta == pytest.approx(whole[0] - whole[1])
    columns = np.stack([table.mean(axis=1) for table in (base, good, twin)], axis=1)
    ranks = stats.rankdata(-columns, axis=1).mean(axis=0)
    found = row(fixed(suite, "mean_rank"))
    assert (found.estimate, found.baseline_estimate) == pytest.approx((ranks[1], ranks[0]))
    assert found.verdict == "better"  # below 0
    wins = [stats.mannwhitneyu(a, b).statistic / 9 for a, b in zip(good, base, strict=True)]
    found = row(fixed(suite, "probability_of_improvement"))
    assert (found.estimate, found.baseline_estimate) == (pytest.approx(np.mean(wins)), 0.5)
    assert found.delta == pytest.approx(np.mean(wins) - 0.5)


def test_ties_and_losses_in_ranks_and_wins(summed, resample):
    """Of a loss the smaller is better; equal losses share a rank and are half a win."""
    losses = {"base": [3.0, 3.0], "good": [1.0, 3.0], "worst": [5.0, 4.0]}
    reps = {}
    for number in range(2):
        arms = {name: [np.full(9, values[number])] for name, values in losses.items()}
        task = summed(arms, np.ones(9), task=f"t{number}")
        reps[task.task] = resample(task, ["bits_per_base"], n_resamples=19)
    ranks = fixed(reps, "mean_rank")
    assert row(ranks).estimate == (1 + 1.5) / 2
    assert row(ranks).baseline_estimate == (2 + 1.5) / 2
    assert row(ranks, "worst").estimate == 3
    wins = fixed(reps, "probability_of_improvement")
    assert row(wins).estimate == (1 + 0.5) / 2
    assert row(wins, "worst").estimate == 0
    assert row(wins, "worst").flags == ("zero_variance",)
    assert row(wins, "worst").p == pytest.approx(2 / 20)  # 19 resamples cannot say more


@pytest.fixture(scope="module")
def trained(summed, resample):
    """Tasks that share their training seeds; noise of a seed is common to all tasks."""
    rng = np.random.default_rng(3)
    noise = {name: 0.2 * rng.standard_normal(9) for name in ("base", "good")}
    tables, reps = {}, {}
    for number, size in enumerate((150, 200, 100)):
        name = f"task{number}"
        tables[name] = scores_of(rng, size, {"base": 0, "good": 0.1}, 4, noise)
        reps[name] = resample(summed(tables[name], task=name), ["mean"], n_resamples=1999)
    return tables, reps


def crossed(tables):
    """Variance of the mean difference over tasks: two-way mean squares, task by task."""
    example = residual = 0.0
    for arms in tables.values():
        data = {name: np.array(seeds).T for name, seeds in arms.items()}
        difference = data["good"].mean(axis=1) - data["base"].mean(axis=1)
        example += difference.var(ddof=1) / len(difference) / len(tables) ** 2
        for table in data.values():
            n, s = table.shape
            inner = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
            residual += (inner**2).sum() / ((n - 1) * (s - 1)) / (n * s) / len(tables) ** 2
    seeds = {
        name: np.mean([[np.mean(x) for x in arms[name]] for arms in tables.values()], axis=0)
        for name in ("good", "base")
    }
    shares = [values.var(ddof=1) / len(values) for values in seeds.values()]
    return example, shares, residual


def test_seeds_shared_by_all_tasks_do_not_average_out(trained):
    tables, reps = trained
    example, shares, residual = crossed(tables)
    expected = example + sum(shares) - residual
    found = row(fixed(reps, scope="procedure"))
    assert found.se**2 == pytest.approx(expected, rel=0.03)
    spread = sum(share**2 / 3 for share in shares)
    assert found.df == pytest.approx(expected**2 / spread, rel=0.1)
    # Taken as independent, the tasks would promise a smaller error.
    rows = compare(reps, baseline="base", scope="procedure").rows
    assert found.se > 1.5 * sum(one.se**2 for one in rows) ** 0.5 / 3
    assert np.isnan(found.percentile_low)


def relabelled(reps, shift):
    """The same replicates, with seeds of other numbers in each task."""
    return {
        task: replace(one, seeds=tuple(seed + shift * number for seed in one.seeds))
        for number, (task, one) in enumerate(reps.items())
    }


def test_seeds_of_one_task_each_average_out(trained):
    _, reps = trained
    found = row(fixed(relabelled(reps, 10), scope="procedure"))
    rows = compare(reps, baseline="base", scope="procedure").rows
    assert found.se**2 == pytest.approx(sum(one.se**2 for one in rows) / 9, rel=0.01)


def test_partly_shared_seeds_are_bounded_by_perfect_correlation(trained):
    _, reps = trained
    bound = row(fixed(relabelled(reps, 1), scope="procedure")).se
    assert bound > row(fixed(relabelled(reps, 10), scope="procedure")).se
    errors = [
        row(compare({task: one}, baseline="base", scope="procedure")).se
        for task, one in reps.items()
    ]
    assert bound <= sum(errors) / 3


def test_paired_seeds_remove_common_noise(summed, resample):
    rng = np.random.default_rng(4)
    common = 0.5 * rng.standard_normal(9)
    reps = {}
    for number in range(3):
        arms = scores_of(rng, 80, {"base": 0, "good": 0.1}, 4, {"base": common, "good": common})
        reps[f"t{number}"] = resample(summed(arms, task=f"t{number}"), ["mean"])
    for statistic in STATISTICS:
        paired = row(fixed(reps, statistic, "procedure", paired_seeds=True))
        apart = row(fixed(reps, statistic, "procedure"))
        assert paired.se <= apart.se
    assert row(fixed(reps, "mean", "procedure", paired_seeds=True)).p < 0.05
    assert row(fixed(reps, "mean", "procedure")).p > 0.05


@pytest.mark.parametrize("statistic", STATISTICS)
def test_seed_noise_widens_every_statistic(trained, statistic):
    _, reps = trained
    narrow, wide = (row(fixed(reps, statistic, scope)) for scope in ("checkpoint", "procedure"))
    assert wide.delta == narrow.delta
    assert wide.se > 1.2 * narrow.se
    assert not wide.df > narrow.df


def test_of_one_task_the_median_is_the_mean(trained):
    _, reps = trained
    one = {"task0": reps["task0"]}
    mean, median = (row(fixed(one, name, "procedure")) for name in ("mean", "median"))
    assert median.se == pytest.approx(mean.se, rel=1e-3)
    assert median.df == pytest.approx(mean.df, rel=1e-3)


def random(suite, statistic="mean", **options):
    options = {"baseline": "base", "scope": "checkpoint", "tasks": "random", **options}
    return aggregate(suite, statistic=statistic, **options)


def test_the_mean_over_new_tasks_is_a_t_test(suite, means):
    difference = (means["good"] - means["base"]).mean(axis=1)
    expected = stats.ttest_1samp(difference, 0)
    interval = expected.confidence_interval()
    found = row(random(suite))
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.flags == ("few_tasks",)
    greater = row(random(suite, alternative="greater"))
    assert greater.p == pytest.approx(
        stats.ttest_1samp(difference, 0, alternative="greater").pvalue
    )
    assert greater.high == math.inf
    value = row(aggregate(suite, scope="checkpoint", tasks="random"))
    interval = stats.ttest_1samp(means["good"].mean(axis=1), 0).confidence_interval()
    assert (value.low, value.high) == pytest.approx((interval.low, interval.high))


def test_new_tasks_and_new_seeds_are_a_two_way_layout(trained):
    tables, reps = trained
    cells = {
        name: np.array([[np.mean(x) for x in arms[name]] for arms in tables.values()])
        for name in ("good", "base")
    }
    difference = (cells["good"] - cells["base"]).mean(axis=1)
    expected = difference.var(ddof=1) / 3
    for table in cells.values():
        inner = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
        expected += table.mean(axis=0).var(ddof=1) / 4 - (inner**2).sum() / 6 / 12
    found = row(random(reps, scope="procedure"))
    assert found.se**2 == pytest.approx(expected)
    # Seeds of one task each are part of what makes tasks differ.
    apart = row(random(relabelled(reps, 10), scope="procedure"))
    assert apart.se == pytest.approx(row(random(reps)).se, rel=1e-12)
    with pytest.raises(StatsError, match="different seeds in different tasks"):
        random(relabelled(reps, 1), scope="procedure")
    for statistic in STATISTICS[1:]:
        with pytest.raises(StatsError, match="has no interval for scope='procedure'"):
            random(reps, statistic, scope="procedure")


def test_five_tasks_cannot_exclude_anything_from_a_median(suite):
    found = row(random(suite, "median"))
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.p == pytest.approx(2 * 0.5**5)
    assert (found.verdict, found.flags) == ("inconclusive", ("few_tasks",))
    assert '"low": null' in random(suite, "median").to_json()


def test_interquartile_mean_over_new_tasks_is_a_jackknife(suite, means):
    def value(keep):
        scores = [np.repeat(means[name][keep].ravel(), 4) for name in ("good", "base")]
        return stats.trim_mean(scores[0], 0.25) - stats.trim_mean(scores[1], 0.25)

    everything = np.arange(5)
    left_out = np.array([value(np.delete(everything, task)) for task in everything])
    se = (4 / 5 * ((left_out - left_out.mean()) ** 2).sum()) ** 0.5
    found = row(random(suite, "iqm"))
    assert found.delta == pytest.approx(value(everything))
    assert found.se == pytest.approx(se)
    assert found.df == 2  # three of five tasks are whole in the middle


def coverage_suite(rng, summed, resample, number, n_tasks=4):
    reps = {}
    for task in range(n_tasks):
        arms = scores_of(rng, 40, {"base": 0.0, "good": 0.0, "third": 0.0}, 2)
        reps[f"t{task}"] = resample(
            summed(arms, task=f"t{task}"), ["mean"], n_resamples=99, seed=number
        )
    return reps


@pytest.mark.slow
def test_equal_variants_differ_on_fixed_tasks_in_one_study_of_twenty(summed, resample):
    rng = np.random.default_rng(6)
    size, rejected = 400, dict.fromkeys(STATISTICS, 0)
    for number in range(size):
        reps = coverage_suite(rng, summed, resample, number)
        for statistic in STATISTICS:
            rejected[statistic] += row(fixed(reps, statistic)).p < 0.05
    assert max(rejected.values()) / size <= 0.05 + 3 * (0.05 * 0.95 / size) ** 0.5
    assert rejected["mean"] / size >= 0.02


def test_identical_variants_are_identical(summed, resample):
    rng = np.random.default_rng(7)
    reps = {}
    for number in range(3):
        arms = scores_of(rng, 40, {"base": 0.0}, 2)
        task = summed({**arms, "good": arms["base"]}, task=f"t{number}")
        reps[task.task] = resample(task, ["mean"])
    for statistic, scope in itertools.product(STATISTICS, ("checkpoint", "procedure")):
        found = row(fixed(reps, statistic, scope))
        assert (found.delta, found.low, found.high, found.p) == (0, 0, 0, 1)
        assert found.flags[0] == "identical"
        assert found.verdict == "equivalent"
    for statistic in STATISTICS:
        found = row(random(reps, statistic))
        assert (found.delta, found.low, found.high, found.p) == (0, 0, 0, 1)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("tasks", ["fixed", "random"])
def test_swapping_the_arms_negates(suite, statistic, tasks):
    options = {"scope": "checkpoint", "statistic": statistic, "tasks": tasks}
    one = row(aggregate(suite, baseline="base", **options))
    other = row(aggregate(suite, baseline="good", **options), "base")
    assert other.delta == pytest.approx(-one.delta)
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low))
    assert other.p == pytest.approx(one.p)


@pytest.mark.parametrize("statistic", [name for name in STATISTICS if name != "mean_rank"])
@pytest.mark.parametrize("scope", ["checkpoint", "procedure"])
def test_another_variant_changes_no_digit(tables, suite, summed, resample, statistic, scope):
    fewer = {
        task: resample(
            summed({"good": arms["good"], "base": arms["base"]}, task=task),
            ["mean"],
            n_resamples=1999,
        )
        for task, arms in tables.items()
    }
    options = {"multiplicity": "none"}
    assert row(fixed(fewer, statistic, scope, **options)) == row(
        fixed(suite, statistic, scope, **options)
    )


def test_intervals_nest_and_margins_decide(suite):
    wide, narrow = (row(fixed(suite, level=level)) for level in (0.99, 0.8))
    assert wide.low < narrow.low < narrow.high < wide.high
    found = row(fixed(suite, equivalence_margin=1.0))
    assert found.verdict == "equivalent"
    assert found.flags == ("significant_within_margin",)
    assert found.plan_hash != row(fixed(suite)).plan_hash
    assert row(random(suite, equivalence_margin=1.0)).verdict == "equivalent"
    assert row(random(suite, "median", level=0.99, equivalence_margin=1e9)).verdict in (
        "inconclusive"
    )
    assert row(fixed(suite, "probability_of_improvement", equivalence_margin=0.51)).verdict in (
        "equivalent"
    )


def test_p_values_are_adjusted_over_the_table(suite):
    table = fixed(suite)
    plain = sorted(one.p for one in table.rows)
    assert sorted(one.p_adjusted for one in table.rows) == pytest.approx(
        [2 * plain[0], max(2 * plain[0], plain[1])]
    )


def test_values_without_a_baseline(suite, means):
    table = aggregate(suite, scope="checkpoint", tasks="fixed")
    assert [one.variant for one in table.rows] == ["base", "good", "twin"]
    assert row(table).estimate == pytest.approx(means["good"].mean())
    ranks = aggregate(suite, scope="checkpoint", statistic="mean_rank", tasks="fixed")
    assert sum(one.estimate for one in ranks.rows) == pytest.approx(1 + 2 + 3)
    assert all(1 <= one.low <= one.high <= 3 for one in ranks.rows)
    assert list(table.to_frame()["task"]) == ["mean of 5 tasks"] * 3


def labelled_suite(labelled, resample, metrics, accuracies, n=60):
    rng = np.random.default_rng(8)
    reps = {}
    for task, names in metrics.items():
        y_true = rng.integers(0, 2, n)
        arms = {
            name: [np.where(rng.random(n) < value, y_true, 1 - y_true)]
            for name, value in accuracies.items()
        }
        reps[task] = resample(labelled(y_true, arms, task=task), names)
    return reps


def test_a_metric_for_each_task(labelled, summed, resample):
    reps = labelled_suite(
        labelled,
        resample,
        {"one": ["accuracy", "mcc"], "two": ["f1", "accuracy"]},
        {"base": 0.6, "good": 0.9},
    )
    assert [one.metric for one in fixed(reps).rows] == ["accuracy"]
    found = row(fixed(reps, metric_of={"one": "mcc", "two": "f1"}))
    assert found.metric == "mcc/f1"
    expected = [
        reps[task].observed[1, 0, index] - reps[task].observed[0, 0, index]
        for task, index in (("one", 1), ("two", 0))
    ]
    assert found.delta == pytest.approx(np.mean(expected))
    value = row(aggregate(reps, scope="checkpoint", tasks="fixed", statistic="median"))
    assert value.high <= 1.0  # cut at the end of the scale
    with pytest.raises(StatsError, match="names no metric for task 'two'"):
        fixed(reps, metric_of={"one": "mcc"})
    with pytest.raises(ConfigError, match="unknown task 'three'"):
        fixed(reps, metric_of={"one": "mcc", "two": "f1", "three": "f1"})
    with pytest.raises(ConfigError, match="unknown metric 'mcc'"):
        fixed(reps, metric_of={"one": "mcc", "two": "mcc"})
    arms = {"base": [np.ones(30)], "good": [np.linspace(0, 1, 30)]}
    loss = resample(summed(arms, np.ones(30), task="loss"), ["cross_entropy"])
    mixed = {"one": reps["one"], "loss": loss}
    with pytest.raises(StatsError, match="no metric is common"):
        fixed(mixed)
    metric_of = {"one": "mcc", "loss": "cross_entropy"}
    with pytest.raises(StatsError, match="point in different directions"):
        fixed(mixed, metric_of=metric_of)
    assert row(fixed(mixed, "probability_of_improvement", metric_of=metric_of)).estimate == 1


def test_an_undefined_task_leaves_a_row_that_says_so(resample):
    """MCC is 0 by convention, so an undefined value needs a denominator of 0."""
    rng = np.random.default_rng(9)
    reps = {}
    for number, denominator in enumerate((np.ones(30), np.zeros(30))):
        preds = [
            Predictions(
                task=f"t{number}",
                variant=name,
                seed=0,
                example_id=np.arange(30),
                numerator=rng.random(30) * denominator,
                denominator=denominator,
            )
            for name in ("base", "good")
        ]
        reps[f"t{number}"] = resample(align(preds), ["ratio"])
    for tasks in ("fixed", "random"):
        found = row(fixed(reps, tasks=tasks))
        assert np.isnan([found.delta, found.low, found.p, found.mde80]).all()
        assert found.verdict == "inconclusive"
        assert "undefined" in found.flags


def test_clusters_and_few_of_them_are_flagged(summed, resample):
    rng = np.random.default_rng(10)
    reps = {}
    for number, groups in enumerate((8, 40)):
        arms = scores_of(rng, 80, {"base": 0.0, "good": 0.0}, 1)
        cluster = np.arange(80) % groups
        task = summed(arms, task=f"t{number}", cluster=cluster)
        reps[task.task] = resample(task, ["mean"], unit="cluster")
    found = row(fixed(reps))
    assert (found.unit, found.n_units, found.n_examples) == ("cluster", 48, 160)
    assert "few_clusters" in found.flags
    rows = compare(reps, baseline="base", scope="checkpoint").rows
    assert found.se == pytest.approx(sum(one.se**2 for one in rows) ** 0.5 / 2)


def test_what_cannot_be_aggregated_is_an_error(suite, tables, summed, resample):
    with pytest.raises(StatsError, match="no replicates were given"):
        fixed({})
    with pytest.raises(StatsError, match="stand under the key 'other'"):
        fixed({"other": suite["task0"]})
    with pytest.raises(ConfigError, match="unknown baseline 'bse'"):
        fixed(suite, baseline="bse")
    with pytest.raises(ConfigError, match="unknown statistic 'meen'"):
        fixed(suite, "meen")
    with pytest.raises(StatsError, match="say 'fixed'"):
        fixed(suite, tasks="some")
    with pytest.raises(StatsError, match="allowed: 'task'"):
        fixed(suite, over="seed")
    with pytest.raises(StatsError, match="allowed: 'holm', 'bh', 'none'"):
        fixed(suite, multiplicity="max-t")
    with pytest.raises(StatsError, match="equivalence_margin must be a number above 0"):
        fixed(suite, equivalence_margin=-1.0)
    with pytest.raises(StatsError, match="compares with a baseline"):
        fixed(suite, "probability_of_improvement", baseline=None)
    with pytest.raises(StatsError, match="needs 2 or more tasks; found 1"):
        random({"task0": suite["task0"]})
    arms = {name: seeds for name, seeds in tables["task1"].items() if name != "twin"}
    lacking = resample(summed(arms, task="task1"), ["mean"], n_resamples=1999)
    with pytest.raises(StatsError, match="'twin' lacks task1"):
        fixed({"task0": suite["task0"], "task1": lacking})
    fewer = resample(summed(tables["task1"], task="task1"), ["mean"], n_resamples=9)
    with pytest.raises(StatsError, match="same n_resamples"):
        fixed({"task0": suite["task0"], "task1": fewer})
    gap = subtract(suite["task0"], suite["task1"], task="gap")
    with pytest.raises(StatsError, match="both hold the examples of 'task0'"):
        fixed({"task0": suite["task0"], "gap": gap})


def test_seeds_that_do_not_fit_the_scope_are_an_error(summed, resample):
    rng = np.random.default_rng(11)
    arms = scores_of(rng, 20, {"base": 0.0, "good": 0.0}, 2)
    one = {**arms, "good": arms["good"][:1]}
    reps = {"task": resample(summed(one), ["mean"])}
    with pytest.raises(StatsError, match="variant 'good' has 1 seed"):
        fixed(reps, scope="procedure")
    three = {**arms, "good": [*arms["good"], arms["good"][0] + 0.1]}
    reps = {"task": resample(summed(three), ["mean"])}
    assert "few_seeds" in row(fixed(reps, scope="procedure")).flags
    with pytest.raises(StatsError, match="paired_seeds needs the same seeds"):
        fixed(reps, scope="procedure", paired_seeds=True)

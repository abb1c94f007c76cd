"""Rows of estimates and comparisons: their numbers, families, verdicts and errors."""

import itertools
import json
from dataclasses import fields, replace
from typing import get_args

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from lightning_dna.errors import ConfigError, StatsError
from lightning_dna.stats.comparison import compare, estimates
from lightning_dna.stats.intervals import Method
from lightning_dna.stats.metrics import METRICS
from lightning_dna.stats.replicates import subtract
from lightning_dna.stats.tables import READING_ORDER, ComparisonRow, EstimateRow

METHODS = get_args(Method)


@pytest.fixture(scope="module")
def suite(labelled, summed, resample):
    """Two tasks, three variants and seeds; ``good`` beats ``base``, ``twin`` does not."""
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 2, 600)
    skill = {"base": 0.75, "good": 0.9, "twin": 0.75}
    noise = [rng.random(600) for _ in range(3)]
    arms = {n: [np.where(u < s, y_true, 1 - y_true) for u in noise] for n, s in skill.items()}
    losses = {n: [rng.gamma(4.0, 2 - s, 600) * 10 for _ in noise] for n, s in skill.items()}
    return {
        "classify": resample(
            labelled(y_true, arms, task="classify"), ["accuracy", "mcc"], n_resamples=999
        ),
        "language": resample(
            summed(losses, np.full(600, 80.0), task="language"), ["cross_entropy"], n_resamples=999
        ),
    }


def row(table, task, variant, metric):
    found = [r for r in table.rows if (r.task, r.variant, r.metric) == (task, variant, metric)]
    assert len(found) == 1
    return found[0]


def test_there_is_one_row_per_task_variant_and_metric(suite):
    table = compare(suite, baseline="base", scope="checkpoint")
    assert [(r.task, r.variant, r.metric) for r in table.rows] == [
        ("classify", "good", "accuracy"),
        ("classify", "good", "mcc"),
        ("classify", "twin", "accuracy"),
        ("classify", "twin", "mcc"),
        ("language", "good", "cross_entropy"),
        ("language", "twin", "cross_entropy"),
    ]
    assert len(estimates(suite, scope="checkpoint").rows) == 9


def test_numbers_of_a_checkpoint_row(suite):
    found = row(compare(suite, baseline="base", scope="checkpoint"), "classify", "good", "accuracy")
    reps = suite["classify"]
    one, two = reps.observed[1, :, 0].mean(), reps.observed[0, :, 0].mean()
    assert (found.estimate, found.baseline_estimate, found.delta) == (one, two, one - two)
    # Accuracy is a mean, so the paired t interval of per-example differences is the reference.
    influence = (reps.influence[:, 1, :, 0] - reps.influence[:, 0, :, 0]).mean(axis=1)
    se = (influence**2).sum() ** 0.5 * (600 / 599) ** 0.5
    assert found.se == pytest.approx(se, rel=0.07)
    assert found.high - found.delta == pytest.approx(stats.t.ppf(0.975, found.df) * found.se)
    assert found.p == pytest.approx(2 * stats.t.sf(found.delta / found.se, found.df), rel=1e-6)
    assert found.percentile_low == pytest.approx(found.low, abs=0.2 * found.se)
    quantiles = stats.t.ppf(0.975, found.df) + stats.norm.ppf(0.8)
    assert found.mde80 / found.se == pytest.approx(quantiles, rel=1e-12)
    assert (found.n_units, found.n_examples, found.n_seeds) == (600, 600, 3)
    assert (found.design_effect, found.n_undefined, found.flags) == (1.0, 0, ())


def test_verdicts_follow_the_orientation_of_the_metric(suite):
    table = compare(suite, baseline="base", scope="checkpoint")
    better_loss = row(table, "language", "good", "cross_entropy")
    assert better_loss.delta < 0
    assert better_loss.verdict == "better"
    assert row(table, "classify", "good", "mcc").verdict == "better"
    assert row(table, "classify", "twin", "mcc").verdict == "equivalent"  # identical
    assert row(table, "language", "twin", "cross_entropy").verdict == "inconclusive"
    turned = compare(suite, baseline="good", scope="checkpoint")
    assert row(turned, "language", "base", "cross_entropy").verdict == "worse"


@pytest.mark.parametrize("method", METHODS)
def test_levels_nest_for_every_method(suite, method):
    options = {"baseline": "base", "scope": "checkpoint", "method": method}
    tables = [compare(suite, level=level, **options).rows for level in (0.5, 0.8, 0.95, 0.99)]
    for inner, outer in itertools.pairwise(tables):
        for one, two in zip(inner, outer, strict=True):
            assert two.low <= one.low <= one.high <= two.high


@pytest.mark.parametrize("method", METHODS)
def test_swapping_variant_and_baseline_negates_for_every_method(suite, method):
    options = {"scope": "checkpoint", "method": method, "multiplicity": "none"}
    forward = compare(suite, baseline="base", **options)
    backward = compare(suite, baseline="good", **options)
    for task, metric in (("classify", "mcc"), ("language", "cross_entropy")):
        one, two = row(forward, task, "good", metric), row(backward, task, "base", metric)
        assert (one.delta, one.se) == (-two.delta, two.se)
        assert (one.low, one.high, one.p) == pytest.approx((-two.high, -two.low, two.p), rel=1e-9)


def test_equivalence_needs_a_declared_margin(suite):
    margin = {"cross_entropy": 0.5, "accuracy": 0.001}
    table = compare(suite, baseline="base", scope="checkpoint", equivalence_margin=margin)
    within = row(table, "language", "good", "cross_entropy")
    assert within.verdict == "equivalent"
    assert "significant_within_margin" in within.flags
    assert row(table, "classify", "good", "accuracy").verdict == "better"
    with pytest.raises(ConfigError, match=r"unknown metric 'acuracy'.*Did you mean 'accuracy'"):
        compare(suite, baseline="base", scope="checkpoint", equivalence_margin={"acuracy": 0.1})
    with pytest.raises(StatsError, match="must be above 0"):
        compare(suite, baseline="base", scope="checkpoint", equivalence_margin=0.0)


def test_procedure_scope_is_wider_and_needs_seeds(suite, labelled, resample):
    checkpoint = row(
        compare(suite, baseline="base", scope="checkpoint"), "language", "good", "cross_entropy"
    )
    procedure = row(
        compare(suite, baseline="base", scope="procedure"), "language", "good", "cross_entropy"
    )
    assert procedure.se >= checkpoint.se
    assert np.isnan(procedure.percentile_low)
    assert "expected" in procedure.estimand
    single = resample(labelled([0, 1, 1], {"a": [[0, 1, 0]], "b": [[1, 1, 0]]}), ["accuracy"])
    for call in (
        lambda: compare({"task": single}, baseline="a", scope="procedure"),
        lambda: estimates({"task": single}, scope="procedure"),
    ):
        with pytest.raises(StatsError, match="has 1 seed; scope='procedure' needs 2 or more"):
            call()


def test_a_deterministic_baseline_adds_no_seed_variance(labelled, resample):
    rng = np.random.default_rng(1)
    y_true = rng.integers(0, 2, 400)
    fixed = rng.integers(0, 2, 400)
    noisy = [np.where(rng.random(400) < 0.8, y_true, 1 - y_true) for _ in range(3)]
    reps = resample(
        labelled(y_true, {"rule": [fixed] * 3, "model": noisy}), ["accuracy"], n_resamples=999
    )
    table = estimates({"task": reps}, scope="procedure")
    rule = row(table, "task", "rule", "accuracy")
    assert rule.se == pytest.approx((rule.estimate * (1 - rule.estimate) / 399) ** 0.5, rel=0.07)
    assert (
        row(
            compare({"task": reps}, baseline="rule", scope="procedure"), "task", "model", "accuracy"
        ).verdict
        == "better"
    )


def test_paired_seeds_remove_what_seeds_share(summed, resample):
    rng = np.random.default_rng(2)
    shared = rng.standard_normal(4)
    arms = {n: [rng.random(200) + s for s in shared] for n in ("a", "b")}
    reps = {"task": resample(summed(arms), ["mean"], n_resamples=499)}
    apart = compare(reps, baseline="a", scope="procedure").rows[0]
    paired = compare(reps, baseline="a", scope="procedure", paired_seeds=True).rows[0]
    assert paired.se < apart.se / 5
    assert "paired-seeds" in paired.signature
    uneven = {"task": resample(summed({"a": arms["a"], "b": arms["b"][:3]}), ["mean"])}
    with pytest.raises(StatsError, match="paired_seeds needs the same seeds"):
        compare(uneven, baseline="a", scope="procedure", paired_seeds=True)


@pytest.mark.parametrize(("ours", "theirs"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_one_family_by_default(suite, ours, theirs):
    rows = compare(suite, baseline="base", scope="checkpoint", multiplicity=ours).rows
    expected = multipletests([r.p for r in rows], method=theirs)[1]
    np.testing.assert_allclose([r.p_adjusted for r in rows], expected, rtol=1e-12)


def test_axes_outside_the_family_split_it(suite):
    options = {"baseline": "base", "scope": "checkpoint", "multiplicity": "holm"}
    rows = compare(suite, family=("variant",), **options).rows
    for start in (0, 1):  # accuracy and mcc of task "classify", each with two variants
        pair = [rows[start], rows[start + 2]]
        expected = multipletests([r.p for r in pair], method="holm")[1]
        np.testing.assert_allclose([r.p_adjusted for r in pair], expected)
    for change in (
        {"family": ()},
        {"family": (), "multiplicity": "max-t"},
        {"multiplicity": "none"},
    ):
        alone = compare(suite, **{**options, **change}).rows
        assert [r.p_adjusted for r in alone] == [r.p for r in alone]


def test_one_sided_alternatives(suite):
    options = {"baseline": "base", "scope": "checkpoint", "multiplicity": "none"}
    two = compare(suite, **options).rows[0]
    greater = compare(suite, alternative="greater", **options).rows[0]
    less = compare(suite, alternative="less", **options).rows[0]
    assert greater.p == pytest.approx(two.p / 2)
    assert less.p == pytest.approx(1 - two.p / 2)
    assert greater.high == np.inf
    assert greater.low > two.low
    assert less.low == -np.inf
    assert "greater" in greater.signature


def test_logit_limits_of_estimates_stay_inside(labelled, resample):
    y_true = np.arange(80) % 2
    almost = y_true.copy()
    almost[0] = 1 - almost[0]
    reps = {
        "task": resample(labelled(y_true, {"a": [almost]}), ["accuracy", "mcc"], n_resamples=999)
    }
    for found in estimates(reps, scope="checkpoint").rows:
        assert found.low < found.estimate < found.high < 1
    basic = estimates(reps, scope="checkpoint", method="basic").rows[0]
    assert basic.high > 1  # why the logit scale is the default


def test_gap_between_two_example_sets(summed, resample):
    rng = np.random.default_rng(3)
    parts = {
        name: resample(
            summed(
                {"small": [rng.binomial(50, p, n)], "large": [rng.binomial(50, q, n)]},
                np.full(n, 50.0),
                task=name,
            ),
            ["mlm_accuracy"],
            n_resamples=1999,
        )
        for name, p, q, n in (("train", 0.40, 0.60, 300), ("test", 0.38, 0.40, 120))
    }
    gap = subtract(parts["train"], parts["test"], task="gap")
    table = estimates({"gap": gap}, scope="checkpoint")
    large = row(table, "gap", "large", "mlm_accuracy")
    se = (0.6 * 0.4 / 50 / 300 + 0.4 * 0.6 / 50 / 120) ** 0.5
    assert large.estimate == pytest.approx(0.2, abs=4 * se)
    assert large.se == pytest.approx(se, rel=0.2)
    assert (large.n_units, large.n_examples) == (420, 420)
    worse = compare({"gap": gap}, baseline="small", scope="checkpoint").rows[0]
    assert worse.verdict == "worse"  # it memorises more
    assert "gap" in worse.estimand


def test_selected_metrics_are_a_family_of_their_own(suite):
    only = {"classify": suite["classify"].select(["mcc"])}
    alone = compare(only, baseline="base", scope="checkpoint").rows
    together = compare(suite, baseline="base", scope="checkpoint").rows
    assert [r.metric for r in alone] == ["mcc", "mcc"]
    assert (alone[0].delta, alone[0].low, alone[0].p) == (
        together[1].delta,
        together[1].low,
        together[1].p,
    )
    with pytest.raises(ConfigError, match="unknown metric 'f1'; allowed: accuracy, mcc"):
        suite["classify"].select(["f1"])


def test_a_metric_of_ones_own(summed, resample):
    seconds = replace(METRICS["mean"], name="seconds", greater_is_better=False)
    reps = resample(summed({"a": [np.arange(30.0)], "b": [np.arange(30.0) / 2]}), [seconds])
    assert compare({"task": reps}, baseline="a", scope="checkpoint").rows[0].verdict == "better"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"baseline": "bsae"}, ConfigError, "unknown variant 'bsae'.*Did you mean 'base'"),
        ({"scope": "seeds"}, StatsError, "say 'checkpoint' .* or 'procedure'"),
        (
            {"method": "bcaa"},
            StatsError,
            "allowed: se-t, percentile, .*, bca, studentized, analytic",
        ),
        ({"scope": "procedure", "method": "basic"}, StatsError, "scope='procedure' needs 'se-t'"),
        ({"scope": "procedure", "method": "bca"}, StatsError, "'bca' looks at examples only"),
        ({"paired_seeds": True}, StatsError, "paired_seeds belongs to scope='procedure'"),
        ({"multiplicity": "bonferroni"}, StatsError, "allowed: holm, bh, max-t, none"),
        ({"family": ("tasks",)}, StatsError, "family axis 'tasks'; allowed: task, variant, metric"),
        ({"level": 95}, StatsError, "level must lie between 0 and 1"),
    ],
)
def test_options_name_what_is_allowed(suite, options, error, message):
    with pytest.raises(error, match=message):
        compare(suite, **{"baseline": "base", "scope": "checkpoint", **options})


def test_scope_has_no_default(suite):
    with pytest.raises(TypeError, match="scope"):
        compare(suite, baseline="base")
    with pytest.raises(TypeError, match="scope"):
        estimates(suite)


def test_keys_are_task_names(suite):
    with pytest.raises(StatsError, match="task 'classify' stand under the key 'other'"):
        compare({"other": suite["classify"]}, baseline="base", scope="checkpoint")
    with pytest.raises(StatsError, match="nothing to compare"):
        compare({}, baseline="base", scope="checkpoint")


def test_max_t_needs_one_number_of_resamples(suite, labelled, resample):
    y_true = np.arange(30) % 2
    other = resample(
        labelled(y_true, {"base": [y_true], "b": [1 - y_true]}, task="u"), ["accuracy"]
    )
    with pytest.raises(StatsError, match=r"found \[199, 999\]. Resample alike, or .*'holm'"):
        compare({**suite, "u": other}, baseline="base", scope="checkpoint", multiplicity="max-t")


def test_tables_as_frame_and_json(suite):
    table = compare(suite, baseline="base", scope="checkpoint", alternative="greater")
    frame = table.to_frame()
    assert len(frame) == 6
    assert list(frame.columns[:4]) == ["task", "variant", "baseline", "metric"]
    assert frame["flags"].tolist()[2] == "identical"
    records = json.loads(table.to_json())
    assert records[0]["high"] is None  # infinite
    assert records[0]["delta"] == table.rows[0].delta
    assert records[2]["flags"] == ["identical"]
    empty = replace(table, rows=())
    assert list(empty.to_frame().columns) == list(frame.columns)
    values = estimates(suite, scope="checkpoint")
    assert len(values.to_frame()) == len(json.loads(values.to_json())) == 9


def test_columns_stand_in_reading_order(suite):
    names = {kind: [field.name for field in fields(kind)] for kind in (EstimateRow, ComparisonRow)}
    assert {*names[ComparisonRow]} == {*READING_ORDER}  # none is forgotten
    assert len(READING_ORDER) == len({*READING_ORDER})
    frame = estimates(suite, scope="checkpoint").to_frame()
    assert list(frame.columns) == [name for name in READING_ORDER if name in names[EstimateRow]]
    record = json.loads(compare(suite, baseline="base", scope="checkpoint").to_json())[0]
    assert list(record) == list(READING_ORDER)


def test_every_row_is_signed(suite):
    found = compare(suite, baseline="base", scope="procedure").rows[0].signature
    assert found == (
        "task:classify|unit:example|n:600|seeds:3|resamples:999"
        "|interval:se-t,procedure,0.95|rng:splitmix64,0|version:0.1.0"
    )


def test_one_variable_arm_with_three_seeds_is_flagged(summed, resample):
    rng = np.random.default_rng(31)
    easy = rng.standard_normal(200)

    def arm(sd, seeds):
        shifts = sd * np.linspace(-1, 1, seeds)
        return [easy + shift + 0.05 * rng.standard_normal(200) for shift in shifts]

    for sd, seeds, expected in ((0.5, 3, True), (0.5, 4, False), (0.02, 3, False)):
        task = summed({"a": arm(0.02, 3), "b": arm(sd, seeds)})
        reps = resample(task, ["mean"])
        row = compare({"task": reps}, baseline="a", scope="procedure").rows[0]
        assert ("uneven_seeds" in row.flags) == expected


def test_ties_are_reported_for_ranked_metrics_only(scored, resample):
    y_true = np.arange(40) % 2
    task = scored(y_true, {"a": [y_true], "b": [np.arange(40) % 3]}, labels=True)
    rows = {
        row.metric: row
        for row in compare(
            {"task": resample(task, ["accuracy", "auroc"])}, baseline="a", scope="checkpoint"
        ).rows
    }
    assert rows["auroc"].tie_fraction == 1
    assert np.isnan(rows["accuracy"].tie_fraction)

"""Families: max-T from joint replicates in both scopes, simultaneous intervals, non-inferiority."""

from dataclasses import fields

import numpy as np
import pytest
from scipy import stats

from lightning_dna.errors import ConfigError, StatsError
from lightning_dna.stats.comparison import compare
from lightning_dna.stats.families import Hypothesis, joint_replicates
from lightning_dna.stats.inference import infer
from lightning_dna.stats.question import Question
from lightning_dna.stats.variance import arm_of, crossed_variance

N = 200
MAY_CHANGE = {"p_adjusted", "verdict"}


def data_of(name, seed_sd):
    """Predictions of one variant, which do not depend on which others there are."""
    rng = np.random.default_rng([3, ord(name)])
    y = np.random.default_rng(3).integers(0, 2, N)
    easy = 0.8 + np.random.default_rng(4).standard_normal(N)
    skill = {"c": 0.35, "d": -0.3}.get(name, 0.0)
    return y, [
        np.where(
            easy + skill + seed_sd * rng.standard_normal() + rng.standard_normal(N) > 0, y, 1 - y
        )
        for _ in range(4)
    ]


@pytest.fixture(scope="module")
def suite(labelled, resample):
    """Return a builder of replicates for some variants, on two tasks of one accuracy and MCC."""

    def build(names, seed_sd=0.2, n_resamples=999):
        arms = {name: data_of(name, seed_sd) for name in names}
        y = next(iter(arms.values()))[0]
        predictions = {name: seeds for name, (_, seeds) in arms.items()}
        return {
            task: resample(
                labelled(y, predictions, task=task), ["accuracy", "mcc"], n_resamples=n_resamples
            )
            for task in ("t", "u")
        }

    return build


def rows_of(reps, **options):
    rows = compare(reps, baseline="a", **options).rows
    return {(row.task, row.variant, row.metric): row for row in rows}


def same(left, right):
    return left == right or (left != left and right != right)


CASES = [
    {"scope": "checkpoint"},
    {"scope": "procedure"},
    {"scope": "procedure", "paired_seeds": True},
    {"scope": "procedure", "alternative": "greater"},
    {"scope": "checkpoint", "alternative": "less"},
    {"scope": "checkpoint", "method": "bca"},
]


@pytest.mark.parametrize("options", CASES, ids=lambda options: "-".join(map(str, options.values())))
def test_adding_a_variant_changes_nothing_but_what_is_adjusted(suite, options):
    few, many = rows_of(suite("abc"), **options), rows_of(suite("dbcae"), **options)
    assert len(many) == 2 * len(few)
    for key, row in few.items():
        other = many[key]
        for field in fields(row):
            if field.name not in MAY_CHANGE:
                assert same(getattr(row, field.name), getattr(other, field.name)), field.name
        # More hypotheses: never a smaller adjusted p, by more than the noise of 999 draws.
        assert other.p_adjusted >= row.p_adjusted - 0.02


@pytest.mark.parametrize("options", CASES, ids=lambda options: "-".join(map(str, options.values())))
def test_order_of_variants_and_tasks_does_not_change_a_digit(suite, options):
    reps = suite("abcd")
    one, two = rows_of(reps, **options), rows_of(suite("dcba"), **options)
    three = rows_of({"u": reps["u"], "t": reps["t"]}, **options)
    for key, row in one.items():
        for other in (two[key], three[key]):
            assert all(same(getattr(row, f.name), getattr(other, f.name)) for f in fields(row))


@pytest.mark.parametrize("options", CASES, ids=lambda options: "-".join(map(str, options.values())))
def test_max_t_lies_between_the_raw_p_and_bonferroni(suite, options):
    rows = rows_of(suite("abcd"), **options)
    for row in rows.values():
        assert row.p <= row.p_adjusted <= min(1.0, len(rows) * row.p + 0.02)
    (alone,) = compare({"t": suite("ab")["t"].select(["mcc"])}, baseline="a", **options).rows
    assert alone.p_adjusted == alone.p  # one hypothesis


def hypotheses(reps, question):
    return [
        Hypothesis(
            reps=reps,
            variant=variant,
            baseline=0,
            metric=0,
            result=infer(reps, 0, (variant, 0), question),
        )
        for variant in range(1, len(reps.variants))
    ]


def test_joint_replicates_have_the_variance_and_the_covariance_of_the_crossed_analysis(suite):
    reps = suite("abcd", seed_sd=0.4, n_resamples=4999)["t"]
    question = Question(scope="procedure")
    rows = hypotheses(reps, question)
    joint = np.array([joint_replicates(row, question) for row in rows])
    np.testing.assert_allclose(joint.var(axis=1), 1, atol=0.05)
    # Two differences share the baseline: its seeds, and what examples do to both.
    means = reps.values[:, :, :, 0].mean(axis=2)
    gaps = means[:, 1:] - means[:, :1]
    baseline = crossed_variance(
        [arm_of(reps, 0, 0, 1)], correction=reps.variance_correction, example_df=N - 1
    ).seed
    for i, j in ((0, 1), (0, 2), (1, 2)):
        shared = np.cov(gaps[:, i], gaps[:, j])[0, 1] + baseline
        expected = shared / (rows[i].result.se * rows[j].result.se)
        assert np.corrcoef(joint[i], joint[j])[0, 1] == pytest.approx(expected, abs=0.06)
    assert baseline > 0.3 * rows[0].result.se ** 2  # or the test would not see the noise
    paired = Question(scope="procedure", paired_seeds=True)
    joint = np.array([joint_replicates(row, paired) for row in hypotheses(reps, paired)])
    np.testing.assert_allclose(joint.var(axis=1), 1, atol=0.05)


def test_checkpoint_replicates_are_the_differences_themselves(suite):
    reps = suite("ab")["t"]
    question = Question(scope="checkpoint")
    (row,) = hypotheses(reps, question)
    means = reps.values[:, :, :, 0].mean(axis=2)
    expected = (means[:, 1] - means[:, 0] - row.result.estimate) / row.result.se
    found = joint_replicates(row, question)
    np.testing.assert_allclose(found, expected * reps.variance_correction**0.5, rtol=1e-9)


def test_family_wise_error_in_procedure_scope(summed, resample):
    """Five variants like the baseline: the smallest adjusted p is below .05 in about 5% of suites.

    The unadjusted rate on the same data shows that there is something to adjust.
    """
    rng = np.random.default_rng(0)
    n_sets, false, unadjusted = 200, 0, 0
    for number in range(n_sets):
        difficulty = rng.standard_normal(60)
        arms = {
            name: [
                difficulty + 0.5 * rng.standard_normal() + rng.standard_normal(60) for _ in range(5)
            ]
            for name in "abcdef"
        }
        reps = {"task": resample(summed(arms), ["mean"], n_resamples=199, seed=number)}
        rows = compare(reps, baseline="a", scope="procedure").rows
        false += min(row.p_adjusted for row in rows) <= 0.05
        unadjusted += min(row.p for row in rows) <= 0.05
    assert false / n_sets <= 0.05 + 3 * (0.05 * 0.95 / n_sets) ** 0.5
    assert unadjusted / n_sets > 0.10


@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
@pytest.mark.parametrize("scope", ["checkpoint", "procedure"])
def test_simultaneous_intervals_exclude_zero_with_the_adjusted_p(suite, scope, alternative):
    reps = suite("abcd")
    options = {"scope": scope, "alternative": alternative}
    plain, wide = rows_of(reps, **options), rows_of(reps, simultaneous=True, **options)
    ratios = []
    for key, row in wide.items():
        assert row.low < plain[key].low
        assert row.p == plain[key].p
        assert row.p_adjusted >= plain[key].p_adjusted  # single step
        assert (row.p_adjusted <= 0.05) == (not row.low <= 0 <= row.high)
        assert (row.percentile_low, row.se) == pytest.approx(
            (plain[key].percentile_low, row.se), nan_ok=True
        )
        assert "simultaneous" in row.signature
        assert "simultaneous" not in plain[key].signature
        # The limits of all rows have one normal score: that of the critical value.
        tail = stats.t.sf((row.delta - row.low) / row.se, row.df)
        ratios.append(stats.norm.isf(tail))
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-9)
    sides = 2 if alternative == "two-sided" else 1
    bonferroni = stats.norm.isf(0.05 / sides / len(wide))
    assert stats.norm.isf(0.05 / sides) < ratios[0] < bonferroni + 0.15


def test_simultaneous_coverage(summed, resample):
    rng = np.random.default_rng(5)
    n_sets, missed, pointwise = 200, 0, 0
    for number in range(n_sets):
        arms = {name: [rng.standard_normal(50)] for name in "abcdef"}
        reps = {"task": resample(summed(arms), ["mean"], n_resamples=199, seed=number)}
        rows = compare(reps, baseline="a", scope="checkpoint", simultaneous=True).rows
        missed += any(not row.low <= 0 <= row.high for row in rows)
        pointwise += any(row.p <= 0.05 for row in rows)
    assert missed / n_sets <= 0.05 + 3 * (0.05 * 0.95 / n_sets) ** 0.5
    assert pointwise / n_sets > 0.10


def test_one_row_needs_no_wider_interval(suite):
    reps = {"t": suite("ab")["t"].select(["mcc"])}
    plain = rows_of(reps, scope="checkpoint")
    wide = rows_of(reps, scope="checkpoint", simultaneous=True)
    assert [(r.low, r.high) for r in plain.values()] == [(r.low, r.high) for r in wide.values()]


def test_a_row_without_variance_is_a_hypothesis_of_its_family(summed, resample):
    rng = np.random.default_rng(6)
    base = rng.random(12)
    arms = {"a": [base], "b": [base + 0.5], "c": [base + 0.1 * rng.standard_normal(12)]}
    reps = {"task": resample(summed(arms), ["mean"], n_resamples=1999)}
    shift, noisy = compare(reps, baseline="a", scope="checkpoint").rows
    assert shift.flags == ("zero_variance",)
    assert shift.p == pytest.approx(2 / 2**12)
    assert shift.p <= shift.p_adjusted <= 2 * shift.p + 0.002
    # Step-down: the other row stands alone once the first is settled.
    assert noisy.p_adjusted == pytest.approx(noisy.p, abs=0.03)


def test_identical_arms_do_not_count(summed, resample):
    rng = np.random.default_rng(7)
    base = rng.random(80)
    arms = {"a": [base], "b": [base], "c": [base + 0.05 + 0.2 * rng.standard_normal(80)]}
    reps = {"task": resample(summed(arms), ["mean"], n_resamples=1999)}
    twin, other = compare(reps, baseline="a", scope="checkpoint").rows
    assert (twin.p_adjusted, twin.verdict) == (1, "equivalent")
    assert other.p_adjusted == pytest.approx(other.p, abs=0.02)


def test_non_inferiority_is_a_verdict_of_its_own(summed, resample):
    rng = np.random.default_rng(8)
    base = 2 + rng.random(400)
    shift = {"same": 0.0, "slightly_worse": 0.02, "worse": 0.2, "better": -0.2}
    arms = {"a": [base]} | {
        name: [base + by + 0.05 * rng.standard_normal(400)] for name, by in shift.items()
    }
    reps = {"task": resample(summed(arms), ["cross_entropy"], n_resamples=999)}  # less is better
    options = {"scope": "checkpoint", "baseline": "a"}
    plain = compare(reps, **options).rows
    assert {row.variant: row.verdict for row in plain} == {
        "same": "inconclusive",
        "slightly_worse": "worse",
        "worse": "worse",
        "better": "better",
    }
    rows = compare(reps, non_inferiority_margin={"cross_entropy": 0.05}, **options).rows
    found = {row.variant: row for row in rows}
    assert {name: row.verdict for name, row in found.items()} == {
        "same": "non-inferior",
        "slightly_worse": "non-inferior",
        "worse": "worse",
        "better": "better",
    }
    assert found["slightly_worse"].flags == ("significant_within_margin",)
    assert found["same"].flags == ()
    for row in rows:  # the one-sided half of two one-sided tests
        limit = row.delta + stats.t.ppf(0.95, row.df) * row.se
        assert (row.verdict in ("non-inferior", "better")) == (limit < 0.05)
    both = compare(reps, non_inferiority_margin=0.05, equivalence_margin=0.05, **options).rows
    assert {row.variant: row.verdict for row in both}["same"] == "equivalent"
    with pytest.raises(ConfigError, match=r"non_inferiority_margin.*Did you mean 'cross_entropy'"):
        compare(reps, non_inferiority_margin={"cross_entrpy": 0.1}, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"multiplicity": "holm"}, "simultaneous=True needs multiplicity='max-t', not 'holm'"),
        ({"method": "bca"}, "needs method 'se-t' or 'analytic', not 'bca'"),
        ({"level": 0.9999}, "at level 0.9999 need 9999 or more resamples; found 999"),
    ],
)
def test_simultaneous_says_what_it_needs(suite, options, message):
    with pytest.raises(StatsError, match=message):
        rows_of(suite("abc"), scope="checkpoint", simultaneous=True, **options)


def test_the_plan_hash_covers_what_is_declared_and_nothing_else(suite):
    def hash_of(names="ab", **options):
        (value,) = {
            row.plan_hash
            for row in rows_of(suite(names), **{"scope": "checkpoint", **options}).values()
        }
        return value

    reference = hash_of()
    assert len(reference) == 12
    assert hash_of("abcd") == reference
    assert hash_of(family=("metric", "variant", "task")) == reference
    changes = (
        {"scope": "procedure"},
        {"level": 0.9},
        {"method": "bca"},
        {"alternative": "greater"},
        {"multiplicity": "holm"},
        {"family": ("task",)},
        {"equivalence_margin": 0.01},
        {"equivalence_margin": {"mcc": 0.01}},
        {"non_inferiority_margin": 0.01},
        {"simultaneous": True},
    )
    assert len({reference, *(hash_of(**change) for change in changes)}) == 1 + len(changes)

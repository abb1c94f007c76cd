"""Invariances that hold for every metric and every data set."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_dna.stats.comparison import compare

CELLS = ("accuracy", "balanced_accuracy", "macro_f1", "mcc")
MOMENTS = ("ratio", "mean", "bits_per_base")
SETTINGS = settings(max_examples=12, deadline=None)
CASES = st.tuples(st.integers(0, 10_000), st.sampled_from([12, 37, 80]), st.sampled_from([1, 2]))


@pytest.fixture(scope="session")
def build(labelled, summed):
    """Return a builder of one classification and one ratio task from a seed."""

    def both(seed, n, n_seeds, names=("a", "b"), *, order=None, cluster=None, repeat=1):
        tasks = []
        for kind in ("cells", "moments"):
            rng = np.random.default_rng(seed)
            y_true, denominator = rng.integers(0, 3, n), rng.integers(1, 9, n).astype(float)
            arms = {}
            for name in sorted({*names, "a", "b"}):  # data of a name do not depend on other names
                own = np.random.default_rng([seed, ord(name)])
                arms[name] = [
                    np.where(own.random(n) < 0.6, y_true, own.integers(0, 3, n))
                    if kind == "cells"
                    else own.gamma(1.0, size=n)
                    for _ in range(n_seeds)
                ]
            rows = np.repeat(np.arange(n) if order is None else order, repeat)
            ids = rows if repeat == 1 else np.arange(n * repeat)
            picked = {name: [values[rows] for values in arms[name]] for name in names}
            options = {"ids": ids, "cluster": rows if cluster else None, "task": kind}
            if kind == "cells":
                tasks.append(labelled(y_true[rows], picked, **options))
            else:
                tasks.append(summed(picked, denominator[rows], **options))
        return tasks

    return both


def rows_of(tasks, resample, scope, baseline="a", unit="example", **options):
    reps = {
        task.task: resample(
            task, CELLS if task.task == "cells" else MOMENTS, n_resamples=130, unit=unit
        )
        for task in tasks
    }
    table = compare(reps, baseline=baseline, scope=scope, multiplicity="none", **options)
    return {(row.task, row.variant, row.metric): row for row in table.rows}


def assert_same(one, two):
    for field in fields(one):
        left, right = getattr(one, field.name), getattr(two, field.name)
        assert left == right or (left != left and right != right), field.name


@SETTINGS
@given(CASES)
def test_swapping_variant_and_baseline_negates(build, resample, case):
    seed, n, n_seeds = case
    scope = "checkpoint" if n_seeds == 1 else "procedure"
    tasks = build(seed, n, n_seeds)
    forward, backward = (rows_of(tasks, resample, scope, baseline=name) for name in ("a", "b"))
    for (task, _, metric), row in forward.items():
        other = backward[task, "a", metric]
        assert (row.delta, row.low, row.high) == (-other.delta, -other.high, -other.low)
        assert (row.se, row.df, row.p) == (other.se, other.df, other.p)


@SETTINGS
@given(CASES)
def test_order_of_examples_and_variants_does_not_change_a_digit(build, resample, case):
    seed, n, n_seeds = case
    order = np.random.default_rng(seed + 1).permutation(n)
    one = rows_of(build(seed, n, n_seeds), resample, "checkpoint")
    two = rows_of(build(seed, n, n_seeds, ("b", "a"), order=order), resample, "checkpoint")
    assert one.keys() == two.keys()
    for key, row in one.items():
        assert_same(row, two[key])


@SETTINGS
@given(CASES)
def test_adding_variants_leaves_rows_bit_identical(build, resample, case):
    seed, n, n_seeds = case
    scope = "checkpoint" if n_seeds == 1 else "procedure"
    few = rows_of(build(seed, n, n_seeds), resample, scope)
    many = rows_of(build(seed, n, n_seeds, ("d", "a", "c", "b", "e")), resample, scope)
    for key, row in few.items():
        assert_same(row, many[key])


@SETTINGS
@given(CASES, st.sampled_from([2, 3, 5]))
def test_copies_of_an_example_in_one_cluster_count_once(build, resample, case, copies):
    seed, n, n_seeds = case
    plain = rows_of(build(seed, n, n_seeds), resample, "checkpoint")
    copied = rows_of(
        build(seed, n, n_seeds, cluster=True, repeat=copies), resample, "checkpoint", unit="cluster"
    )
    for key, row in plain.items():
        other = copied[key]
        found = [other.delta, other.se, other.low, other.high, other.p]
        np.testing.assert_allclose(found, [row.delta, row.se, row.low, row.high, row.p], atol=1e-10)
        # Copies carry no information: variance is that of n / copies independent examples.
        if row.se > 0:
            assert other.design_effect == pytest.approx(copies, rel=0.5 / n * 2.5)


@SETTINGS
@given(CASES, st.sampled_from(["se-t", "percentile", "basic", "symmetric"]))
def test_intervals_of_higher_level_contain_those_of_lower(build, resample, case, method):
    seed, n, n_seeds = case
    tasks = build(seed, n, n_seeds)
    levels = [rows_of(tasks, resample, "checkpoint", level=x, method=method) for x in (0.8, 0.95)]
    for key, inner in levels[0].items():
        outer = levels[1][key]
        assert outer.low <= inner.low <= inner.high <= outer.high

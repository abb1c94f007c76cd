"""Holm and Benjamini-Hochberg against statsmodels; max-T against a direct re-derivation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from lightning_dna.errors import StatsError
from lightning_dna.stats.adjust import adjust_pvalues, max_t, max_t_critical, normal_scores

P_VALUES = st.lists(st.floats(1e-12, 1.0), min_size=1, max_size=30)


@settings(max_examples=25, deadline=None)
@given(P_VALUES)
def test_holm_and_bh_equal_statsmodels(values):
    p = np.array(values)
    for ours, theirs in (("holm", "holm"), ("bh", "fdr_bh")):
        expected = multipletests(p, method=theirs)[1]
        np.testing.assert_allclose(adjust_pvalues(p, ours), expected, rtol=1e-12)


def test_untested_hypotheses_do_not_count():
    p = np.array([0.01, np.nan, 0.03])
    for method in ("holm", "bh"):
        found = adjust_pvalues(p, method)
        assert np.isnan(found[1])
        assert (found[[0, 2]] == adjust_pvalues(p[[0, 2]], method)).all()
    assert adjust_pvalues(p, "none")[0] == 0.01
    assert np.isnan(adjust_pvalues(np.array([np.nan]), "holm")).all()
    with pytest.raises(StatsError, match="allowed: holm, bh, max-t, none"):
        adjust_pvalues(p, "bonferroni")


def direct_max_t(observed, replicates):
    """Step-down max-T written as the textbook loop over sets of hypotheses still in play."""
    order = np.argsort(-observed)
    adjusted = np.empty(len(observed))
    largest = 0.0
    for step, hypothesis in enumerate(order):
        in_play = replicates[:, order[step:]].max(axis=1)
        p = (1 + (in_play >= observed[hypothesis]).sum()) / (len(replicates) + 1)
        largest = max(largest, p)
        adjusted[hypothesis] = largest
    return adjusted


def test_max_t_equals_the_textbook_loop():
    rng = np.random.default_rng(0)
    for size in (1, 2, 9):
        observed, replicates = (
            np.abs(rng.standard_normal(size)) * 2,
            np.abs(rng.standard_normal((500, size))),
        )
        assert (max_t(observed, replicates) == direct_max_t(observed, replicates)).all()


def test_max_t_of_one_hypothesis_is_its_p_value():
    replicates = np.abs(np.random.default_rng(1).standard_normal((9999, 1)))
    expected = (1 + (replicates >= 1.7).sum()) / 10_000
    assert max_t(np.array([1.7]), replicates)[0] == expected
    assert expected == pytest.approx(2 * stats.norm.sf(1.7), abs=0.01)


def test_max_t_of_independent_hypotheses_is_close_to_sidak():
    replicates = np.abs(np.random.default_rng(2).standard_normal((50_000, 8)))
    observed = np.full(8, 2.5)
    expected = 1 - (1 - 2 * stats.norm.sf(2.5)) ** 8
    np.testing.assert_allclose(max_t(observed, replicates), expected, atol=0.004)


def test_max_t_of_one_repeated_hypothesis_needs_no_adjustment():
    replicates = np.repeat(np.abs(np.random.default_rng(3).standard_normal((9999, 1))), 6, axis=1)
    found = max_t(np.full(6, 2.0), replicates)
    np.testing.assert_allclose(found, (1 + (replicates[:, 0] >= 2).sum()) / 10_000)


def test_max_t_is_monotone_and_step_down_is_never_larger():
    rng = np.random.default_rng(4)
    observed, replicates = (
        np.abs(rng.standard_normal(12)) * 2,
        np.abs(rng.standard_normal((999, 12))),
    )
    down, single = max_t(observed, replicates), max_t(observed, replicates, step_down=False)
    order = np.argsort(-observed)
    assert (np.diff(down[order]) >= 0).all()
    assert (down <= single).all()
    assert down[order[0]] == single[order[0]]


def test_max_t_leaves_untested_hypotheses_out():
    replicates = np.abs(np.random.default_rng(5).standard_normal((99, 3)))
    replicates[:10, 0] = np.nan  # undefined replicates never exceed anything
    found = max_t(np.array([1.0, np.nan, 2.0]), replicates)
    assert np.isnan(found[1])
    assert np.isfinite(found[[0, 2]]).all()
    assert np.isnan(max_t(np.array([np.nan]), replicates[:, :1])).all()


def test_normal_scores_invert_two_sided_p_values():
    p = np.array([1.0, 0.05, 1e-10])
    np.testing.assert_allclose(2 * stats.norm.sf(normal_scores(p)), p, rtol=1e-9)
    assert np.isfinite(normal_scores(np.array([1e-320]))).all()
    one_sided = np.array([0.999, 0.5, 1e-10])
    found = normal_scores(one_sided, two_sided=False)
    np.testing.assert_allclose(stats.norm.sf(found), one_sided, rtol=1e-9)


def test_signed_statistics_of_one_sided_tests():
    rng = np.random.default_rng(6)
    observed, replicates = rng.standard_normal(7) + 1, rng.standard_normal((500, 7))
    assert (max_t(observed, replicates) == direct_max_t(observed, replicates)).all()
    assert (observed < 0).any()


def test_critical_value_agrees_with_single_step_p_values():
    rng = np.random.default_rng(7)
    replicates = np.abs(rng.standard_normal((999, 5)))
    for level in (0.5, 0.9, 0.95, 0.999):
        critical = max_t_critical(replicates, level)
        for observed in np.append(np.linspace(0.5, 5, 40), [critical + 1e-12, critical - 1e-12]):
            p = max_t(np.full(5, observed), replicates, step_down=False)[0]
            assert (p <= 1 - level + 1e-12) == (observed > critical)
    with pytest.raises(StatsError, match="need 99999 or more resamples; found 999"):
        max_t_critical(replicates, 0.99999)


def test_critical_value_of_independent_normals_is_sidaks():
    replicates = np.abs(np.random.default_rng(8).standard_normal((50_000, 6)))
    expected = stats.norm.isf((1 - 0.95 ** (1 / 6)) / 2)
    assert max_t_critical(replicates, 0.95) == pytest.approx(expected, abs=0.02)


def test_p_values_outside_of_their_range_and_plain_lists():
    with pytest.raises(StatsError, match=r"found 1\.4 at position 1"):
        adjust_pvalues([0.01, 1.4], "holm")
    assert max_t([2.0], [[1.0], [3.0], [0.0]]).tolist() == [0.5]

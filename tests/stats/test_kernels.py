"""Resample weights follow the multinomial law; weighted sums are exact in every order."""

from fractions import Fraction

import numpy as np
import pytest

from lightning_dna.stats.kernels import ExactSums, block_generator, draw_counts, merge_equal_units


def test_counts_have_the_moments_of_the_multinomial():
    n_units, size = 12, 40_000
    counts = draw_counts(block_generator(0, "t", 0), n_units, size).astype(np.float64)
    assert (counts.sum(axis=1) == n_units).all()
    error = 4 / size**0.5
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=error)
    covariance = np.cov(counts.T)
    np.testing.assert_allclose(np.diag(covariance), 1 - 1 / n_units, atol=2 * error)
    off = covariance[~np.eye(n_units, dtype=bool)]
    np.testing.assert_allclose(off, -1 / n_units, atol=2 * error)
    skewness = ((counts - 1) ** 3).mean()
    share = 1 / n_units
    assert skewness == pytest.approx((1 - share) * (1 - 2 * share), abs=0.03)


def test_fewer_replicates_are_a_prefix_and_streams_differ():
    many = draw_counts(block_generator(3, "t", 1), 50, 64)
    few = draw_counts(block_generator(3, "t", 1), 50, 20)
    assert (many[:20] == few).all()
    for other in [(4, "t", 1), (3, "u", 1), (3, "t", 2)]:
        assert (draw_counts(block_generator(*other), 50, 64) != many).any()


def test_counts_by_cell_are_sums_of_counts_by_unit():
    cells = np.array([0, 2, 2, 1, 0, 2])
    units = draw_counts(block_generator(0, "t", 0), 6, 64)
    merged = draw_counts(block_generator(0, "t", 0), 6, 64, cells, 3)
    expected = np.stack([units[:, cells == cell].sum(axis=1) for cell in range(3)], axis=1)
    assert (merged == expected).all()


def test_equal_units_are_merged_only_if_it_saves_work():
    matrix = np.tile([[0.0, 1.5], [1.0, 0.0], [0.0, 0.0]], (10, 1))
    cells, n_cells = merge_equal_units(matrix)
    assert n_cells == 3
    for cell in range(3):
        assert len(np.unique(matrix[cells == cell], axis=0)) == 1
    assert merge_equal_units(np.arange(30.0)[:, None]) is None


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30, 1e12])
def test_sums_equal_rational_arithmetic_rounded_once(scale):
    rng = np.random.default_rng(7)
    matrix = rng.standard_normal((60, 3)) * scale
    matrix[:, 1] = np.rint(rng.random(60) * 20)
    matrix[:5, 2] *= 1e-9
    weights = rng.multinomial(60, np.full(60, 1 / 60), size=5).astype(np.float32)
    found = ExactSums(matrix, total_weight=60)(weights)
    for column in range(3):
        for row in range(5):
            terms = zip(weights[row].tolist(), matrix[:, column].tolist(), strict=True)
            exact = sum(Fraction(w) * Fraction(x) for w, x in terms)
            assert found[column, row] == pytest.approx(float(exact), rel=1e-15)


def test_sums_do_not_depend_on_order_or_on_other_columns():
    rng = np.random.default_rng(8)
    matrix = np.exp(rng.standard_normal((500, 40)) * 5)
    weights = rng.multinomial(500, np.full(500, 1 / 500), size=64).astype(np.float32)
    together = ExactSums(matrix, total_weight=500)(weights)
    alone = np.concatenate(
        [ExactSums(matrix[:, [c]], total_weight=500)(weights) for c in range(40)]
    )
    order = rng.permutation(500)
    shuffled = ExactSums(matrix[order], total_weight=500)(weights[:, order])
    single = np.concatenate([ExactSums(matrix, total_weight=500)(w[None]) for w in weights], axis=1)
    assert (together == alone).all()
    assert (together == shuffled).all()
    assert (together == single).all()

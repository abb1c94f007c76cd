"""Weighted sums are exact in every order; equal units are merged."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from lightning_dna.stats.kernels import ExactSums, merge_equal_units


def test_units_with_equal_rows_are_one_cell():
    matrix = np.tile([[0.0, 1.5], [1.0, 0.0], [-0.0, 1.5], [0.0, 0.0]], (10, 1))
    cells = merge_equal_units(matrix, most=3)
    assert sorted(map(tuple, cells.rows)) == [(0, 0), (0, 1.5), (1, 0)]
    assert (cells.rows[cells.cell_of] == matrix).all()
    assert sorted(cells.sizes) == [10, 10, 20]
    for cell, (start, stop) in enumerate(pairwise(cells.starts)):
        assert (cells.cell_of[cells.order[start:stop].astype(int)] == cell).all()
    assert merge_equal_units(matrix, most=2) is None
    assert merge_equal_units(np.arange(30.0)[:, None], most=7) is None


def test_one_hot_rows_are_not_confused():
    matrix = np.eye(90)[np.random.default_rng(0).integers(0, 90, 5000)]
    assert len(merge_equal_units(matrix, most=5000).sizes) == 90


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30, 1e12])
def test_sums_equal_rational_arithmetic_rounded_once(scale):
    rng = np.random.default_rng(7)
    matrix = rng.standard_normal((60, 3)) * scale
    matrix[:, 1] = np.rint(rng.random(60) * 20)
    matrix[:5, 2] *= 1e-9
    weights = rng.multinomial(60, np.full(60, 1 / 60), size=5).astype(np.float32)
    found = ExactSums(matrix, total_weight=60)(weights.T)
    for column in range(3):
        for row in range(5):
            terms = zip(weights[row].tolist(), matrix[:, column].tolist(), strict=True)
            exact = sum(Fraction(w) * Fraction(x) for w, x in terms)
            assert found[column, row] == pytest.approx(float(exact), rel=1e-15)


def test_sums_do_not_depend_on_order_or_on_other_columns():
    rng = np.random.default_rng(8)
    matrix = np.exp(rng.standard_normal((500, 40)) * 5)
    weights = rng.multinomial(500, np.full(500, 1 / 500), size=64).astype(np.float32).T
    together = ExactSums(matrix, total_weight=500)(weights)
    alone = np.concatenate(
        [ExactSums(matrix[:, [c]], total_weight=500)(weights) for c in range(40)]
    )
    order = rng.permutation(500)
    shuffled = ExactSums(matrix[order], total_weight=500)(weights[order])
    single = np.concatenate(
        [ExactSums(matrix, total_weight=500)(w[:, None]) for w in weights.T], axis=1
    )
    assert (together == alone).all()
    assert (together == shuffled).all()
    assert (together == single).all()

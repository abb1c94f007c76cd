"""Exact weighted sums, and cells of equal units: the inner loops of metrics that are sums.

**Sums are exact.** Columns are written as one or two parts on a grid of powers of two so coarse
that no partial sum of a resample can round. Integers need one part. Then the result of a matrix
product does not depend on the order of summation: threads, BLAS, block size, merged cells and the
number of other columns cannot change a digit.
"""

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from lightning_dna.stats.predictions import Array, Floats, Integers
from lightning_dna.stats.weights import hashed

Singles = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """Units grouped by equal statistics.

    Attributes:
        cell_of: (units,) cell of each unit.
        sizes: (cells,) number of units in each cell.
        rows: (cells, columns) the statistics of each cell.
    """

    cell_of: Integers
    sizes: Integers
    rows: Floats

    @cached_property
    def order(self) -> NDArray[np.uint64]:
        """(units,) units, cell after cell."""
        return np.argsort(self.cell_of, kind="stable").astype(np.uint64)

    @cached_property
    def starts(self) -> Integers:
        """(cells + 1,) first place of each cell in ``order``."""
        return np.cumsum([0, *self.sizes])


def merge_equal_units(matrix: Floats, most: int) -> Cells | None:
    """Group units whose rows are equal, or return ``None`` if there are too many groups.

    Args:
        matrix: (units, columns) statistics.
        most: Largest number of cells that is worth it.

    Returns:
        The cells, in an order that depends on the rows only.

    Example:
        >>> cells = merge_equal_units(np.tile([[0.0, 1.0], [1.0, 0.0]], (8, 1)), most=4)
        >>> len(cells.sizes), bool(cells.cell_of[0] == cells.cell_of[2])
        (2, True)
    """
    if 8 * most < len(matrix) and len(np.unique(_row_keys(matrix[: 8 * most]))) > most:
        return None
    found, first, cell_of, sizes = np.unique(
        _row_keys(matrix), return_index=True, return_inverse=True, return_counts=True
    )
    rows = matrix[first]
    if len(found) > most or not np.array_equal(rows[cell_of], matrix):
        return None  # too many, or two different rows with one key, which nobody will ever see
    return Cells(cell_of=cell_of, sizes=sizes, rows=rows)


def _row_keys(matrix: Floats) -> NDArray[np.uint64]:
    """Return one word per row: equal rows have equal words, different rows as good as never."""
    keys = np.zeros(len(matrix), dtype=np.uint64)
    for column in (matrix + 0.0).T:  # -0.0 and 0.0 are one value
        keys = hashed(np.uint64(0), keys ^ np.ascontiguousarray(column).view(np.uint64))
    return keys


class ExactSums:
    """Weighted column sums that are the same to the last digit in every order of summation.

    Attributes:
        n_columns: Number of columns.
    """

    def __init__(
        self, matrix: Floats, total_weight: float, kernels: ModuleType | None = None
    ) -> None:
        """Split the columns.

        Args:
            matrix: (rows, columns) finite values.
            total_weight: Largest sum of the integer weights that will be applied.
            kernels: The compiled kernels, for weights of one octet; ``None`` for matrix products.
        """
        self.n_columns = matrix.shape[1]
        bound = np.abs(matrix).max(axis=0, initial=0.0) * total_weight
        short = (_on_grid(matrix, bound, 24) == matrix).all(axis=0)
        short &= (bound == 0) | ((bound > 1e-20) & (bound < 1e20))  # far inside float32
        self._short, self._long = np.flatnonzero(short), np.flatnonzero(~short)
        rest = matrix[:, self._long]
        high = _on_grid(rest, bound[self._long], 52)
        low = rest - high
        self._split = np.flatnonzero(np.any(low != 0, axis=0))
        low = low[:, self._split]
        low = _on_grid(low, np.abs(low).max(axis=0, initial=0.0) * total_weight, 52)
        self._single = np.ascontiguousarray(matrix[:, self._short].T, dtype=np.float32)
        self._high, self._low = np.ascontiguousarray(high.T), np.ascontiguousarray(low.T)
        self._kernels = kernels
        if kernels is not None:
            every = np.concatenate([matrix[:, self._short], high, low], axis=1)
            unit, column = np.nonzero(every)
            self._starts = np.searchsorted(unit, np.arange(len(matrix) + 1))
            self._columns, self._values = column, every[unit, column]

    def __call__(self, weights: Array) -> Floats:
        """Return the sums of all columns.

        Args:
            weights: (rows, replicates) whole numbers.

        Returns:
            (columns, replicates) sums.
        """
        sums = np.empty((self.n_columns, weights.shape[1]))
        if self._kernels is not None and weights.dtype == np.uint8:
            parts = len(self._short) + len(self._long) + len(self._split)
            every = np.zeros((parts, weights.shape[1]))
            self._kernels.sparse_sums(self._starts, self._columns, self._values, weights, every)
            single, total, low = np.split(every, np.cumsum([len(self._short), len(self._long)]))
        else:
            wide = weights.astype(np.float64) if len(self._long) else np.zeros(weights.shape)
            single = (self._single @ weights.astype(np.float32)).astype(np.float64)
            total, low = self._high @ wide, self._low @ wide
        total[self._split] += low
        sums[self._short], sums[self._long] = single, total
        return sums


def _on_grid(matrix: Floats, bound: Floats, bits: int) -> Floats:
    """Round to multiples of the power of two under which sums up to ``bound`` fit in ``bits``."""
    _, exponent = np.frexp(np.where(bound > 0, bound, 1.0))
    step = np.ldexp(1.0, np.maximum(exponent - bits, -1000))
    rounded: Floats = np.rint(matrix / step) * step
    return rounded

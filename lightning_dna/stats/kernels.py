"""Resample weights and exact weighted sums: the two inner loops of the bootstrap.

**Weights live at the unit.** A replicate is a multinomial count for every example (or cluster),
drawn from a stream that is keyed by (seed, task, block of 64 replicates) and by nothing else. All
variants, seeds and metrics of a task share it, so differences are paired, and a variant that is
added later finds the same draws. Drawing the counts of the joint cells (true label, prediction of
variant 1, of variant 2, ...) directly would cost less than a draw per unit, but the cells, and with
them every draw, change when a variant is added. Cells are used here for what they can do under that
rule: units with equal statistics in all columns are merged after the draw (``merge_equal_units``),
so the sums run over cells instead of units.

**Sums are exact.** Columns are written as one or two parts on a grid of powers of two so coarse
that no partial sum of a resample can round. Integers need one part. Then the result of a matrix
product does not depend on the order of summation: threads, BLAS, block size, merged cells and the
number of other columns cannot change a digit.
"""

from zlib import crc32

import numpy as np
from numpy.random import SFC64, Generator, SeedSequence
from numpy.typing import NDArray

from lightning_dna.stats.predictions import Floats, Integers

Singles = NDArray[np.float32]

BLOCK = 64
"""Replicates per random stream; part of the result, so it is not a setting."""


def block_generator(seed: int, task: str, block: int) -> Generator:
    """Return the generator of one block of replicates of one task."""
    return Generator(SFC64(SeedSequence(seed, spawn_key=(crc32(task.encode()), block))))


def draw_counts(
    generator: Generator,
    n_units: int,
    n_replicates: int,
    cells: Integers | None = None,
    n_cells: int = 0,
) -> Singles:
    """Draw how often each unit, or each cell of units, occurs in each resample of ``n_units``.

    Args:
        generator: Stream of the block.
        n_units: Number of units, and size of a resample.
        n_replicates: Number of resamples; fewer are a prefix of more.
        cells: (n_units,) cell of each unit, or ``None`` for counts by unit.
        n_cells: Number of cells.

    Returns:
        (n_replicates, n_units or n_cells) counts; every row sums to ``n_units``.
    """
    width = n_units if cells is None else n_cells
    counts = np.empty((n_replicates, width), dtype=np.float32)
    for row in counts:
        drawn = generator.integers(0, n_units, size=n_units)
        row[:] = np.bincount(drawn if cells is None else cells[drawn], minlength=width)
    return counts


def merge_equal_units(matrix: Floats) -> tuple[Integers, int] | None:
    """Group units whose rows are equal, or return ``None`` if that saves less than three quarters.

    Args:
        matrix: (units, columns) statistics.

    Returns:
        (units,) cell of each unit, and the number of cells.

    Example:
        >>> cells, n_cells = merge_equal_units(np.tile([[0.0, 1.0], [1.0, 0.0]], (8, 1)))
        >>> n_cells, cells[:4].tolist()
        (2, [0, 1, 0, 1])
    """
    cells = np.zeros(len(matrix), dtype=np.int64)
    n_cells = 1
    for column in matrix.T:
        values, codes = np.unique(column, return_inverse=True)
        if len(values) > 1:
            found, cells = np.unique(cells * len(values) + codes, return_inverse=True)
            n_cells = len(found)
        if n_cells > len(matrix) // 4:
            return None
    return cells, n_cells


class ExactSums:
    """Weighted column sums that are the same to the last digit in every order of summation.

    Attributes:
        n_columns: Number of columns.
    """

    def __init__(self, matrix: Floats, total_weight: float) -> None:
        """Split the columns.

        Args:
            matrix: (rows, columns) finite values.
            total_weight: Largest sum of the integer weights that will be applied.
        """
        self.n_columns = matrix.shape[1]
        bound = np.abs(matrix).max(axis=0, initial=0.0) * total_weight
        short = (_on_grid(matrix, bound, 24) == matrix).all(axis=0)
        short &= (bound == 0) | ((bound > 1e-20) & (bound < 1e20))  # far inside float32
        self._short, self._long = np.flatnonzero(short), np.flatnonzero(~short)
        self._single = matrix[:, self._short].astype(np.float32)
        rest = matrix[:, self._long]
        self._high = _on_grid(rest, bound[self._long], 52)
        low = rest - self._high
        self._split = np.flatnonzero(np.any(low != 0, axis=0))
        low = low[:, self._split]
        self._low = _on_grid(low, np.abs(low).max(axis=0, initial=0.0) * total_weight, 52)

    def __call__(self, weights: Singles) -> Floats:
        """Return the sums of all columns.

        Args:
            weights: (replicates, rows) whole numbers.

        Returns:
            (columns, replicates) sums.
        """
        sums = np.empty((self.n_columns, len(weights)))
        sums[self._short] = (weights @ self._single).T
        if len(self._long):
            wide = weights.astype(np.float64)
            total = wide @ self._high
            total[:, self._split] += wide @ self._low
            sums[self._long] = total.T
        return sums


def _on_grid(matrix: Floats, bound: Floats, bits: int) -> Floats:
    """Round to multiples of the power of two under which sums up to ``bound`` fit in ``bits``."""
    _, exponent = np.frexp(np.where(bound > 0, bound, 1.0))
    step = np.ldexp(1.0, np.maximum(exponent - bits, -1000))
    rounded: Floats = np.rint(matrix / step) * step
    return rounded

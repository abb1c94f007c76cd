"""HDF5 files, through the optional package h5py."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError, DataError


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    Raises:
        ConfigError: If h5py is not installed.
        DataError: If the file is no HDF5 file, or is damaged.
    """
    try:
        import h5py
    except ModuleNotFoundError:
        raise ConfigError(
            f"{path} is an HDF5 file, and the package h5py is not installed; install "
            f"lightning-dna[hdf5]."
        ) from None
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise DataError(f"{path} is not a whole HDF5 file ({error}); download it again.") from error


def dataset_rows(path: Path, name: str) -> list[npt.NDArray[np.generic]]:
    """Return the rows of a dataset of one or two axes, or of rows of different lengths.

    Args:
        path: The file.
        name: The dataset.

    Raises:
        DataError: If there is no such dataset, or it does not hold numbers.
    """
    with opened(path) as file:
        if name not in file:
            raise DataError(
                f"{path} has no dataset '{name}'; found: {', '.join(sorted(file)) or 'nothing'}."
            )
        values = file[name][()]
    rows = [np.atleast_1d(np.asarray(row)) for row in values]
    if any(row.dtype.kind not in "biuf" or row.ndim > 2 for row in rows):
        raise DataError(f"{path}: dataset '{name}' does not hold numbers.")
    return [row.reshape(len(row)) if row.ndim == 2 and row.shape[1] == 1 else row for row in rows]

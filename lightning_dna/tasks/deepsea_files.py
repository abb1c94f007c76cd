"""DeepSEA's own files: one-hot sequences of 1,000 bases and 919 labels in MATLAB's format.

``train.mat`` is HDF5 (MATLAB 7.3), so its axes are reversed: ``trainxdata`` is (1000, 4, n) and
``traindata`` (919, n) there. ``valid.mat`` and ``test.mat`` are of the older format, with
``validxdata`` (n, 4, 1000) and ``validdata`` (n, 919). The four channels are A, G, C and T. In the
published files the second half of a part holds the reverse complements of the first half: where
that is so, a sequence and its reverse complement share a cluster.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.io import loadmat

from lightning_dna.data.examples import Indices
from lightning_dna.data.regions import LabelledRegions
from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import A, C, Codes, G, N, T, reverse_complement
from lightning_dna.tasks import hdf5
from lightning_dna.tasks.region_files import evenly

_CHANNELS = np.array([A, G, C, T], dtype=np.uint8)
_BLOCK = 10_000  # sequences read at a time
_ROWS_PER_BASE = 1 / 200  # a row of the files stands for a bin of 200 bases
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_MATLAB_HEADER = 512  # bytes before the HDF5 part of a MATLAB 7.3 file


def read_deepsea(
    path: Path, part: str, *, label_count: int, keep: int | None, cluster_length: int
) -> LabelledRegions:
    """Read one part.

    Args:
        path: The file.
        part: ``train``, ``valid`` or ``test``: names of its arrays begin with it.
        label_count: Number of labels of the card.
        keep: Most sequences to keep, evenly spread over the file; ``None`` for all.
        cluster_length: Bases of the genome that share a cluster; rows follow the genome in bins of
            200 bases.

    Raises:
        DataError: If the file is damaged, lacks an array or has arrays of other shapes.
    """
    with path.open("rb") as file:
        head = file.read(_MATLAB_HEADER + len(_HDF5_MAGIC))
    if head.startswith(_HDF5_MAGIC) or head.endswith(_HDF5_MAGIC):
        codes, labels, kept, total = _from_hdf5(path, part, keep)
    else:
        codes, labels, kept, total = _from_matlab(path, part, keep)
    if labels.shape[1] != label_count:
        raise DataError(
            f"{path}: {labels.shape[1]} labels for each sequence; the card says label_count "
            f"{label_count}."
        )
    rows = kept
    if _halves_are_strands(codes, kept, total):
        rows = kept % (total // 2)
    stretch = max(1, round(cluster_length * _ROWS_PER_BASE))
    return LabelledRegions(
        codes=list(codes),
        labels=labels,
        ids=tuple(f"{part}:{row}" for row in kept),
        clusters=tuple(f"{part}:{row // stretch}" for row in rows),
    )


def _from_hdf5(
    path: Path, part: str, keep: int | None
) -> tuple[Codes, npt.NDArray[np.int8], Indices, int]:
    """Read sequences and labels of MATLAB 7.3, block by block; return also which rows of how many.

    An evenly spread choice is read in full: the file is packed in blocks.
    """
    with hdf5.opened(path) as file:
        sequences, targets = (_array(path, file, f"{part}{name}") for name in ("xdata", "data"))
        total = sequences.shape[-1]
        _check_shapes(path, (total, *sequences.shape[1:2]), targets.shape[::-1])
        kept = evenly(total, keep)
        codes = np.empty((len(kept), sequences.shape[0]), dtype=np.uint8)
        labels = np.empty((len(kept), targets.shape[0]), dtype=np.int8)
        for first in range(0, total, _BLOCK):
            here = slice(*np.searchsorted(kept, [first, first + _BLOCK]))
            if here.start == here.stop:
                continue
            chosen = kept[here] - first
            block = np.asarray(sequences[..., first : first + _BLOCK])[..., chosen]
            codes[here] = _codes(block.transpose(2, 1, 0))
            labels[here] = np.asarray(targets[:, first : first + _BLOCK])[:, chosen].T
    return codes, labels, kept, total


def _from_matlab(
    path: Path, part: str, keep: int | None
) -> tuple[Codes, npt.NDArray[np.int8], Indices, int]:
    """Read sequences and labels of MATLAB's older format."""
    try:
        file = loadmat(path, variable_names=[f"{part}xdata", f"{part}data"])
    except Exception as error:  # scipy raises whatever the damaged bytes lead to
        raise DataError(
            f"{path} is not a whole MATLAB file ({error}); download it again."
        ) from None
    sequences, targets = (_array(path, file, f"{part}{name}") for name in ("xdata", "data"))
    _check_shapes(path, sequences.shape[:2], targets.shape)
    kept = evenly(len(sequences), keep)
    labels = targets[kept].astype(np.int8)
    return _codes(sequences[kept]), labels, kept, len(sequences)


def _array(path: Path, file: Any, name: str) -> Any:
    """Return one array of a file."""
    if name not in file:
        found = ", ".join(sorted(key for key in file if not key.startswith("__"))) or "nothing"
        raise DataError(f"{path} has no array '{name}'; found: {found}. Is it the right part?")
    return file[name]


def _check_shapes(path: Path, sequences: tuple[int, ...], labels: tuple[int, ...]) -> None:
    """Refuse arrays that are not (n, 4, bases) and (n, labels)."""
    if len(sequences) != 2 or sequences[1] != len(_CHANNELS) or len(labels) != 2:
        raise DataError(f"{path}: the arrays are not one-hot sequences and labels of DeepSEA.")
    if sequences[0] != labels[0]:
        raise DataError(
            f"{path}: {sequences[0]} sequences and {labels[0]} rows of labels; the file is damaged."
        )


def _codes(one_hot: npt.NDArray[np.generic]) -> Codes:
    """Turn (n, 4, bases) into base codes (n, bases); a base without any channel is N."""
    known = one_hot.any(axis=1)
    codes: Codes = np.where(known, _CHANNELS[one_hot.argmax(axis=1)], np.uint8(N))
    return codes


def _halves_are_strands(codes: Codes, kept: Indices, total: int) -> bool:
    """Tell whether row i + total / 2 is the reverse complement of row i, for all pairs kept."""
    if total % 2:
        return False
    half = total // 2
    place = {int(row): number for number, row in enumerate(kept)}
    pairs = [(place[row], place[row + half]) for row in place if row + half in place]
    return bool(pairs) and all(
        np.array_equal(codes[other], reverse_complement(codes[one])) for one, other in pairs
    )

"""Regions and labels of published files: BEND's BED and HDF5, and HyenaDNA's tables of coordinates.

Layouts: frederikkemarin/BEND (``bend/io/sequtils.py``: columns ``chromosome, start, end, split``,
optional ``strand`` and ``label``, and the HDF5 dataset ``labels`` with -100 as padding);
HazyResearch/hyena-dna (``chromatin_profile_dataset.py``: ``Chr_No`` from 0, ``Start``, ``End`` and
columns ``y_...``).
"""

import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_dna.data.examples import Indices
from lightning_dna.data.regions import IGNORED, Labels
from lightning_dna.errors import DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.intervals import match_names
from lightning_dna.genome.plaintext import text_lines
from lightning_dna.tasks.hdf5 import dataset_rows
from lightning_dna.tasks.regions import ASSEMBLIES, Regions

_CHROM_NAMES = ("chromosome", "chrom", "#chrom", "#chromosome", "chr")
_BLOCK = 20_000  # lines of a table that are held as text at a time
_SHOWN = 5
_COORDINATES = ("Chr_No", "Start", "End")
_PADDING = -100  # in BEND's HDF5 files


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionTable:
    """The lines of one table of regions.

    Attributes:
        path: The file.
        chroms: (n,) chromosome names as the file has them.
        starts: (n,) first base, 0-based.
        ends: (n,) end, excluded.
        strands: (n,) ``+`` or ``-``.
        splits: (n,) value of the column ``split``, or ``None``.
        labels: (n, labels) 0 or 1, or ``None`` where another file holds them.
    """

    path: Path
    chroms: npt.NDArray[np.str_]
    starts: Indices
    ends: Indices
    strands: npt.NDArray[np.str_]
    splits: npt.NDArray[np.str_] | None
    labels: Labels | None

    def refuse(self, rows: npt.NDArray[np.intp], reason: str) -> DataError:
        """Build the error for some regions: file, first lines, reason."""
        lines = ", ".join(str(row + 2) for row in rows[:_SHOWN])  # after the header, from 1
        more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
        return DataError(f"{self.path}, line {lines}{more}: {reason}")


def read_bend(path: Path, regions: Regions, *, with_labels: bool) -> RegionTable:
    """Read a BED file with a header, as BEND publishes them.

    Args:
        path: The file; plain or gzip.
        regions: What the card says of it.
        with_labels: Whether the column ``label`` is to be read, as numbers with commas between.

    Raises:
        DataError: If the header lacks a column, a value is not a number, a strand is no strand, or
            a label is beyond ``label_count``.
    """
    text = (line for line in text_lines(path) if line.strip())
    header = next(text, "").rstrip("\r\n").split("\t")
    place = {name.strip().lower(): number for number, name in enumerate(header)}
    chrom = next((name for name in _CHROM_NAMES if name in place), None)
    wanted = ["start", "end"]
    wanted += [
        name for name, needed in (("label", with_labels), ("strand", regions.strand)) if needed
    ]
    missing = [name for name in wanted if name not in place]
    if chrom is None or missing:
        lacking = [*([] if chrom else ["chromosome"]), *missing]
        raise DataError(
            f"{path}: the header line lacks {', '.join(lacking)}; found {', '.join(header) or '-'}."
            " Expected tab-separated columns chromosome, start, end, split, also strand if the card"
            " says so, and label where no HDF5 file holds the labels."
        )
    names = {"chrom": place[chrom], "split": place.get("split", len(header) - 1)}
    names |= {name: place[name] for name in wanted}
    blocks: list[dict[str, npt.NDArray[Any]]] = []
    line = 2  # after the header, from 1
    while some := [*itertools.islice(text, _BLOCK)]:
        fields = _Fields(path, line, _columns(path, line, some, len(header), names))
        blocks.append(fields.parsed(regions.label_count))
        line += len(some)
    if not blocks:
        raise DataError(f"{path} holds no region under its header line.")
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    found = RegionTable(
        path=path,
        chroms=columns["chrom"],
        starts=columns["start"],
        ends=columns["end"],
        strands=columns.get("strand", np.full(line - 2, "+")),
        splits=columns["split"],
        labels=columns.get("label"),
    )
    wrong = np.flatnonzero(~np.isin(found.strands, ["+", "-"]))
    if len(wrong):
        raise found.refuse(wrong, f"strand '{found.strands[wrong[0]]}'; allowed: + and -.")
    return found


def _columns(
    path: Path, first: int, lines: Sequence[str], width: int, names: Mapping[str, int]
) -> dict[str, list[str]]:
    """Split lines at tabs and return the columns that are wanted."""
    rows = [line.rstrip("\r\n").split("\t") for line in lines]
    uneven = [number for number, row in enumerate(rows) if len(row) != width]
    if uneven:
        raise DataError(
            f"{path}, line {uneven[0] + first}: {len(rows[uneven[0]])} columns, the header has "
            f"{width}; the file is damaged or not tab-separated."
        )
    return {name: [row[number].strip() for row in rows] for name, number in names.items()}


@dataclass(frozen=True)
class _Fields:
    """The text of some lines by column.

    Attributes:
        path: The file.
        first: Number of the first of these lines.
        columns: Column to one field for each line.
    """

    path: Path
    first: int
    columns: Mapping[str, list[str]]

    def parsed(self, label_count: int) -> dict[str, npt.NDArray[Any]]:
        """Return the columns in their types."""
        found: dict[str, npt.NDArray[Any]] = {}
        for name, fields in self.columns.items():
            if name in ("start", "end"):
                found[name] = self._whole(name)
            elif name == "label":
                found[name] = self._multi_hot(label_count)
            else:
                found[name] = np.array(fields, dtype=np.str_)
        return found

    def _whole(self, name: str) -> Indices:
        """Turn a column into whole numbers."""
        fields = self.columns[name]
        wrong = [
            row for row, field in enumerate(fields) if not (field.isascii() and field.isdigit())
        ]
        if wrong:
            raise DataError(
                f"{self.path}, column '{name}', line {wrong[0] + self.first}: '{fields[wrong[0]]}' "
                f"is not a whole number of 0 or more; BED is 0-based and half-open."
            )
        return np.array(fields, dtype=np.int64)

    def _multi_hot(self, label_count: int) -> Labels:
        """Turn lists of label numbers into 0 and 1; an empty field has no label."""
        fields = self.columns["label"]
        sizes = [0 if field in ("", "nan") else field.count(",") + 1 for field in fields]
        rows = np.repeat(np.arange(len(fields)), sizes)
        joined = ",".join(field for field, size in zip(fields, sizes, strict=True) if size)
        try:
            numbers = np.array(joined.split(",") if joined else [], dtype=np.int64)
        except ValueError as error:
            raise DataError(
                f"{self.path}, column 'label': {error}; expected label numbers with commas between."
            ) from None
        wrong = np.flatnonzero((numbers < 0) | (numbers >= label_count))
        if len(wrong):
            raise DataError(
                f"{self.path}, column 'label', line {rows[wrong[0]] + self.first}: label "
                f"{numbers[wrong[0]]}; label_count {label_count} of the card allows 0 to "
                f"{label_count - 1}."
            )
        labels = np.zeros((len(fields), label_count), dtype=np.int8)
        labels[rows, numbers] = 1
        return labels


def read_coordinates(path: Path, regions: Regions, *, keep: int | None) -> RegionTable:
    """Read HyenaDNA's table of coordinates and labels.

    Args:
        path: The file; plain or gzip.
        regions: What the card says of it.
        keep: Most regions to keep, evenly spread over the file; ``None`` for all.

    Raises:
        DataError: If a column is missing, the number of labels is another, or a value is not what
            its column holds.
    """
    header = next(iter(text_lines(path)), "").rstrip("\r\n").split(",")
    targets = [name for name in header if name.startswith("y_")]
    missing = [name for name in _COORDINATES if name not in header]
    if missing or len(targets) != regions.label_count:
        raise DataError(
            f"{path}: the header lacks {', '.join(missing) or 'no coordinate'} and has "
            f"{len(targets)} columns y_...; expected Chr_No, Start, End and {regions.label_count} "
            f"columns (label_count of the card)."
        )
    types = {**dict.fromkeys(_COORDINATES, "int64"), **dict.fromkeys(targets, "int8")}
    kept = None
    if keep is not None:
        kept = evenly(sum(len(block) for block in _blocks(path, {"Start": "int64"})), keep)
    blocks = [
        block if kept is None else block[np.isin(block.index, kept)]
        for block in _blocks(path, types)
    ]
    table = pd.concat(blocks)
    labels = table[targets].to_numpy(dtype=np.int8)
    wrong = np.flatnonzero(((labels < 0) | (labels > 1)).any(axis=1))
    found = RegionTable(
        path=path,
        chroms=np.array([f"chr{number + 1}" for number in table["Chr_No"]]),
        starts=table["Start"].to_numpy(),
        ends=table["End"].to_numpy(),
        strands=np.full(len(table), "+"),
        splits=None,
        labels=labels,
    )
    if len(wrong):
        raise found.refuse(wrong, "a column y_... holds another value than 0 and 1.")
    return found


def _blocks(path: Path, types: dict[str, str]) -> Iterator[pd.DataFrame]:
    """Yield blocks of lines with some columns; the index counts lines after the header from 0."""
    try:
        with pd.read_csv(path, usecols=list(types), dtype=types, chunksize=_BLOCK) as blocks:
            yield from blocks
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read as a table of coordinates and labels: {error}; expected whole "
            f"numbers in every column."
        ) from error


def evenly(total: int, keep: int | None) -> Indices:
    """Return the numbers 0 to total - 1, or some of them, evenly spread.

    Example:
        >>> evenly(10, 4).tolist()
        [0, 2, 5, 7]
    """
    if keep is None or keep >= total:
        return np.arange(total)
    return np.arange(keep) * total // keep


def check_assembly(genome: Genome, regions: Regions, *, where: str) -> None:
    """Refuse a genome of another assembly than the card names.

    Raises:
        DataError: If a chromosome that tells assemblies apart has another length.
    """
    if regions.assembly is None:
        return
    bare = {name.removeprefix("chr"): length for name, length in genome.lengths.items()}
    for name, length in ASSEMBLIES[regions.assembly].items():
        if name in bare and bare[name] != length:
            raise DataError(
                f"{where}: chromosome {name} of the genome has {bare[name]} bases, that of "
                f"{regions.assembly} has {length}; the regions are those of {regions.assembly}: "
                f"give the FASTA file of that assembly."
            )


def place_regions(table: RegionTable, genome: Genome) -> npt.NDArray[np.str_]:
    """Return the chromosome of each region as the genome names it.

    Raises:
        DataError: If a chromosome is not there, or a region is empty or reaches beyond it.
    """
    names, which = np.unique(table.chroms, return_inverse=True)
    known = match_names([str(name) for name in names], genome.names, where=str(table.path))
    chroms = np.array([known[str(name)] for name in names])[which]
    lengths = np.array([genome.lengths[known[str(name)]] for name in names])[which]
    empty = np.flatnonzero(table.ends <= table.starts)
    if len(empty):
        raise table.refuse(empty, "the region is empty; expected start < end, half-open.")
    beyond = np.flatnonzero((table.ends > lengths) | (table.starts < 0))
    if len(beyond):
        row = int(beyond[0])
        raise table.refuse(
            beyond,
            f"region {table.chroms[row]}:{table.starts[row]}-{table.ends[row]} reaches beyond "
            f"chromosome '{chroms[row]}' of {lengths[row]} bases; the genome is one of another "
            f"assembly, or the file is damaged.",
        )
    return chroms


def read_hdf5_labels(path: Path, table: RegionTable, regions: Regions, *, bins: bool) -> Labels:
    """Read the dataset ``labels`` of an HDF5 file whose rows are those of a table.

    Args:
        path: The HDF5 file.
        table: The regions.
        regions: What the card says of them.
        bins: Whether a row holds a class for each bin of its region, with padding at its end;
            otherwise 0 or 1 for each label.

    Returns:
        (n, labels) or (n, most bins), ``IGNORED`` for padding.

    Raises:
        DataError: If there is no such dataset, it has other rows or another width, or a value is
            not allowed.
    """
    found = dataset_rows(path, "labels")
    if len(found) != len(table.starts):
        raise DataError(
            f"{path}: dataset 'labels' has {len(found)} rows, {table.path} has {len(table.starts)} "
            f"regions; row i belongs to line i, so the two files are not of one version."
        )
    if not bins:
        return _label_rows(path, found, regions)
    sizes = (table.ends - table.starts) // regions.bin
    short = np.flatnonzero([len(row) < size for row, size in zip(found, sizes, strict=True)])
    if len(short):
        row = int(short[0])
        raise table.refuse(
            short,
            f"{sizes[row]} bins of {regions.bin} bases, but the row of {path} has "
            f"{len(found[row])} labels.",
        )
    labels = np.full((len(found), int(sizes.max())), IGNORED, dtype=np.int8)
    for row, (values, size) in enumerate(zip(found, sizes, strict=True)):
        kept = np.asarray(values[:size]).reshape(size)
        padding = (kept == _PADDING) | (kept == IGNORED)
        _check_classes(path, kept[~padding], regions.label_count)
        labels[row, :size] = np.where(padding, IGNORED, kept)
    return labels


def _label_rows(path: Path, found: Sequence[npt.NDArray[np.generic]], regions: Regions) -> Labels:
    """Return 0 or 1 for each label of every row."""
    widths = {len(row) for row in found}
    if widths != {regions.label_count}:
        raise DataError(
            f"{path}: dataset 'labels' has {', '.join(map(str, sorted(widths)))} columns; the card "
            f"says label_count {regions.label_count}."
        )
    labels = np.stack(found)
    _check_classes(path, labels, 2)
    return labels.astype(np.int8)


def _check_classes(path: Path, labels: npt.NDArray[np.generic], count: int) -> None:
    """Refuse values that are no class."""
    wrong = labels[~np.isin(labels, np.arange(count))]
    if len(wrong):
        raise DataError(
            f"{path}: dataset 'labels' holds {wrong[0]}; allowed: 0 to {count - 1}, and {_PADDING} "
            f"for padding of bins."
        )

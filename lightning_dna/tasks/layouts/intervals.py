"""Intervals of one class, ``id,region,start,end,strand``, and their sequences from a reference."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import Codes, reverse_complement
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.intervals import Interval
from lightning_dna.tasks.layouts.table import LabelledTable, read_csv

_COLUMNS = ("id", "region", "start", "end", "strand")
_MITOCHONDRION = ("chrM", "chrMT", "M", "MT", "mitochondrion_genome")
_VERSION = re.compile(r"\.\d+$")


def read_intervals(path: Path, label: str, reference: Path | None) -> LabelledTable:
    """Read the intervals of one class and cut their sequences.

    Regions are matched to records by name, with or without ``chr``, and transcripts without their
    version, as the publishers of GenomicBenchmarks do. An interval without a strand is read along
    the plus strand.

    Args:
        path: CSV file, plain or gzip, with the columns ``id, region, start, end, strand``; 0-based
            and half-open.
        label: The class.
        reference: FASTA file.

    Returns:
        Columns ``id`` and ``label``, with codes and coordinates.

    Raises:
        DataError: If there is no reference, a region is not in it, or an interval does not lie
            within its region.
    """
    table = read_csv(path, required=_COLUMNS)
    if reference is None:
        raise DataError(
            f"{path} holds intervals, but their reference is not here; put the FASTA file that the "
            f"card names as 'reference' into tasks_root, or use the folders of sequences."
        )
    genome = Genome.open(reference)
    region = table.columns["region"]
    known = record_names(genome.names)
    lost = [row for row, name in enumerate(region) if name not in known]
    if lost:
        raise table.refuse(
            lost,
            "region",
            f"'{region[lost[0]]}' is no record of {reference}, which has "
            f"{', '.join(genome.names[:5])}{' and more' if len(genome.names) > 5 else ''}.",
        )
    places = [
        interval_of(table, row, known[name], genome.lengths[known[name]])
        for row, name in enumerate(region)
    ]
    lines = [f"{path.name}:{line}" for line in table.lines]
    columns = {
        "id": [f"{label}/{name}" for name in table.columns["id"]],
        "label": [label] * len(table),
    }
    return LabelledTable(
        path=path,
        columns=columns,
        lines=lines,
        codes=[sequence_at(genome, place) for place in places],
        coordinates=tuple(places),
    )


def sequence_at(genome: Genome, place: Interval) -> Codes:
    """Return the bases of an interval in its own reading direction, without the soft mask."""
    codes = genome.codes(place.chrom, place.start, place.end)
    return reverse_complement(codes) if place.strand == "-" else codes


def record_names(names: Iterable[str]) -> dict[str, str]:
    """Return every name under which a record may be asked for, to its name in the file.

    Example:
        >>> record_names(["1", "MT"])["chr1"], record_names(["ENST0001.4"])["ENST0001"]
        ('1', 'ENST0001.4')
    """
    exact = {name: name for name in names}
    others: dict[str, str] = {}
    for name in exact:
        if name in _MITOCHONDRION:
            others |= dict.fromkeys(_MITOCHONDRION, name)
        bare = name.removeprefix("chr")
        others.setdefault(bare if bare != name else f"chr{name}", name)
        others.setdefault(_VERSION.sub("", name), name)
    return {**others, **exact}


def interval_of(table: LabelledTable, row: int, chrom: str, length: int) -> Interval:
    """Check one row and return where it lies on its record.

    Raises:
        DataError: If start or end is not a whole number, or it does not lie within the record.
    """
    first, last = table.columns["start"][row], table.columns["end"][row]
    if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()):
        raise table.refuse(
            [row], "start", f"{first!r} to {last!r}; expected two whole numbers, 0 or more."
        )
    start, end = int(first), int(last)
    if not start < end <= length:
        raise table.refuse(
            [row],
            "end",
            f"{start} to {end} does not lie within '{chrom}' of {length} bases; is this the "
            f"reference that the intervals were made on?",
        )
    return Interval(chrom, start, end, strand_of(table, row))


def strand_of(table: LabelledTable, row: int) -> Literal["+", "-", "."]:
    """Return the strand of a row; an empty field means none.

    Raises:
        DataError: If it is neither ``+`` nor ``-`` nor ``.``.
    """
    strand = table.columns["strand"][row] if "strand" in table.columns else "."
    if strand in ("", "."):
        return "."
    if strand == "+":
        return "+"
    if strand == "-":
        return "-"
    raise table.refuse([row], "strand", f"{strand!r}; allowed: '+', '-', '.' or nothing.")

"""Gene annotation files, GTF, GFF3 and BED, as columns of features on the chromosomes of a genome.

What a file is shows in its lines, not in its name. Coordinates become 0-based and half-open here.
"""

import re
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import DataError
from lightning_dna.genome.intervals import match_names
from lightning_dna.genome.plaintext import text_lines

GENE, TRANSCRIPT, EXON, CDS, UTR5, UTR3, PROMOTER = range(7)
NO_PHASE, NO_GROUP = -1, -1

_KINDS = {
    "gene": GENE,
    "transcript": TRANSCRIPT,
    "exon": EXON,
    "cds": CDS,
    "stop_codon": CDS,  # GTF leaves it out of the CDS, GFF3 does not; here it always belongs
    "five_prime_utr": UTR5,
    "5utr": UTR5,
    "three_prime_utr": UTR3,
    "3utr": UTR3,
    "promoter": PROMOTER,
}
_ENDINGS = (
    ("gene", GENE),  # pseudogene, ncRNA_gene
    ("rna", TRANSCRIPT),  # mRNA, tRNA, lnc_RNA
    ("_transcript", TRANSCRIPT),
    ("gene_segment", TRANSCRIPT),
    ("_exon", EXON),
)
_STRANDS = {"+": 1, "-": -1, ".": 0, "?": 0}
_PHASES = {"0": 0, "1": 1, "2": 2, ".": NO_PHASE}
_GTF_TRANSCRIPT = re.compile(r'transcript_id\s+"([^"]*)"')
_GFF_PARENT = re.compile(r"(?:^|;)\s*Parent=([^;]+)")
_GFF_ID = re.compile(r"(?:^|;)\s*ID=([^;]+)")

_Row = tuple[str, int, int, int, int, int, str]  # chrom, kind, start, end, strand, phase, group
_Parser = Callable[[list[str]], list[_Row]]


class _LineError(Exception):
    """What is wrong with a line; the caller knows its file and number."""


@dataclass(frozen=True, eq=False)
class Features:
    """The features of one chromosome as columns of shape ``(n,)``, in the order of the file.

    Attributes:
        kind: ``GENE``, ``TRANSCRIPT``, ``EXON``, ``CDS``, ``UTR5``, ``UTR3`` or ``PROMOTER``.
        start: First base, 0-based.
        end: End, excluded.
        strand: 1, -1, or 0 where there is none.
        phase: Bases from the 5' end of a CDS to the next codon, 0 to 2; -1 where not given.
        group: Number of the transcript that a feature belongs to; -1 for none.
    """

    kind: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    strand: npt.NDArray[np.int64]
    phase: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, eq=False)
class AnnotationFile:
    """What an annotation file holds.

    Attributes:
        features: Chromosome of the genome to its features; chromosomes without any are left out.
        skipped: Name of each sequence that the genome does not have, to its number of features.
    """

    features: dict[str, Features]
    skipped: dict[str, int]


@dataclass(eq=False)
class _Columns:
    """Features of one sequence while a file is read; eight bytes a number, not an object each."""

    rows: "array[int]" = field(default_factory=lambda: array("q"))
    lines: "array[int]" = field(default_factory=lambda: array("q"))

    def table(self) -> npt.NDArray[np.int64]:
        """Return kind, start, end, strand, phase and group, shape ``(n, 6)``."""
        return np.frombuffer(self.rows, dtype=np.int64).reshape(-1, 6)


def read_features(path: str | Path, lengths: Mapping[str, int]) -> AnnotationFile:
    """Read a GTF, GFF3 or BED file, plain, gzip or bgzip.

    Of GTF and GFF3 the kinds that make up genes are read: genes, transcripts, exons, CDS and stop
    codons, untranslated regions. A BED file with 12 columns holds transcripts with blocks; in one
    with fewer, the fourth column may name the kind (``exon``, ``CDS``, ``five_prime_UTR``,
    ``promoter``, ...), and every other interval is a gene, its strand in column 6. Names are
    matched with `match_names`; a CDS without a phase gets it from the CDS before it in its
    transcript.

    Args:
        path: The file.
        lengths: Length of each chromosome of the genome, in bases.

    Returns:
        The features.

    Raises:
        DataError: If the file is missing, cut off or in another format, a line is wrong (the
            message has its number), no name matches a chromosome, or a feature ends beyond one.

    Note:
        Gzip shows every cut. In plain text a cut between two lines, after an attribute or within
        the last value such that what is left is one too (``ID=c1`` of ``ID=c12``), cannot be seen.
    """
    path = Path(path).expanduser()
    columns: dict[str, _Columns] = {}
    groups: dict[tuple[str, str], int] = {}
    lines = _data_lines(path)
    parse: _Parser | None = None
    before = ""
    for number, line, whole in lines:
        try:
            fields = line.split("\t") if "\t" in line else line.split()
            parse = parse or _parser_for(fields)
            if not whole:
                _check_last(line, parse, before)
            rows = parse(fields)
            before = line
        except _LineError as error:
            cut = "" if whole else " It is the last line and has no end: the file seems cut off."
            raise DataError(f"{path}, line {number}: {line.strip()[:80]!r} {error}.{cut}") from None
        for chrom, kind, start, end, strand, phase, group in rows:
            column = columns.setdefault(chrom, _Columns())
            index = groups.setdefault((chrom, group), len(groups)) if group else NO_GROUP
            column.rows.extend((kind, start, end, strand, phase, index))
            column.lines.append(number)
    if not columns:
        raise DataError(
            f"{path} holds no gene, transcript, exon or CDS; expected GTF, GFF3 or BED lines, with "
            f"columns separated by tabs."
        )
    matches = match_names(columns, lengths, where=str(path), partly=True)
    features = {}
    for name, chrom in matches.items():
        table = columns[name].table()
        _check_ends(table, columns[name].lines, lengths[chrom], name, chrom, path)
        features[chrom] = Features(*table.T)
    skipped = {name: len(found.lines) for name, found in columns.items() if name not in matches}
    return AnnotationFile(
        {chrom: features[chrom] for chrom in lengths if chrom in features}, skipped
    )


def _data_lines(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Yield number, text and whether it ends in a line end, of every line that is no comment."""
    for number, line in enumerate(text_lines(path), start=1):
        if line.startswith("##FASTA"):
            return
        if line.strip() and not line.startswith(("#", "track ", "browser ")):
            yield number, line.rstrip("\r\n"), line.endswith("\n")


def _parser_for(fields: list[str]) -> _Parser:
    """Tell the format from the first line."""
    if len(fields) >= 8 and fields[3].isdigit() and fields[4].isdigit():
        attributes = fields[8] if len(fields) > 8 else ""
        return _gff3_rows if re.match(r"\s*[\w.:-]+=", attributes) else _gtf_rows
    if len(fields) >= 3 and fields[1].isdigit() and fields[2].isdigit():
        return _bed_parser(len(fields))
    raise _LineError(
        "is neither GTF or GFF3 (nine columns separated by tabs, start and end in the fourth and "
        "fifth) nor BED (chrom, start, end)"
    )


def _check_last(line: str, parse: _Parser, before: str) -> None:
    """Refuse a last line without end that shows that it was cut off.

    Args:
        line: The line.
        parse: Reader of the file's format.
        before: The line before it, if there is one.
    """
    fields = line.split("\t")
    if not fields[-1]:
        raise _LineError("ends with an empty column")
    if parse not in (_gtf_rows, _gff3_rows):
        return
    if len(fields) < 9:
        raise _LineError(f"has {len(fields)} columns; expected nine separated by tabs")
    attributes = fields[8].rstrip()
    last = attributes.rstrip("; ").rsplit(";", 1)[-1]
    if parse is _gtf_rows:
        ends = ";" if before.rstrip().endswith(";") else (";", '"')
        whole = attributes.endswith(ends) and attributes.count('"') % 2 == 0
        owner = _GTF_TRANSCRIPT
    else:
        whole = last == "." or re.match(r"[^=]+=.", last) is not None
        owner = _GFF_PARENT
    if not whole:
        raise _LineError("ends in the middle of an attribute")
    if _kind(fields[2]) in (EXON, CDS, UTR5, UTR3) and not owner.search(attributes):
        raise _LineError("names no transcript that it belongs to")


def _kind(name: str) -> int | None:
    """Return the kind that a feature's type means; ``None`` for what makes up no gene."""
    lower = name.lower()
    if lower in _KINDS:
        return _KINDS[lower]
    return next((kind for ending, kind in _ENDINGS if lower.endswith(ending)), None)


def _place(start: str, end: str, *, first: int) -> tuple[int, int]:
    """Return start and end as half-open and 0-based."""
    try:
        low, high = int(start) - first, int(end)
    except ValueError:
        raise _LineError("has a start or end that is no whole number") from None
    if not 0 <= low < high:
        raise _LineError(f"does not satisfy {first} <= start {'<=' if first else '<'} end")
    return low, high


def _gff_columns(fields: list[str]) -> tuple[str, int, int, int, int, int, str] | None:
    """Read the eight columns that GTF and GFF3 share, and the attributes."""
    if len(fields) < 8:
        raise _LineError(f"has {len(fields)} columns; expected nine separated by tabs")
    kind = _kind(fields[2])
    if kind is None:
        return None
    start, end = _place(fields[3], fields[4], first=1)
    if fields[6] not in _STRANDS:
        raise _LineError(f"has the strand {fields[6]!r}; allowed: '+', '-', '.', '?'")
    if fields[7] not in _PHASES:
        raise _LineError(f"has the phase {fields[7]!r}; allowed: 0, 1, 2, '.'")
    attributes = fields[8] if len(fields) > 8 else ""
    return fields[0], kind, start, end, _STRANDS[fields[6]], _PHASES[fields[7]], attributes


def _gtf_rows(fields: list[str]) -> list[_Row]:
    """Read one line of GTF."""
    columns = _gff_columns(fields)
    if columns is None:
        return []
    found = None if columns[1] == GENE else _GTF_TRANSCRIPT.search(columns[6])
    return [(*columns[:6], found.group(1) if found else "")]


def _gff3_rows(fields: list[str]) -> list[_Row]:
    """Read one line of GFF3: one row for each transcript that it belongs to."""
    columns = _gff_columns(fields)
    if columns is None:
        return []
    _, kind, start, end, strand, phase, attributes = columns
    if kind == GENE:
        owners = [""]
    else:
        found = (_GFF_ID if kind == TRANSCRIPT else _GFF_PARENT).search(attributes)
        owners = found.group(1).strip().split(",") if found else [""]
    chrom = unquote(fields[0])
    return [(chrom, kind, start, end, strand, phase, owner) for owner in owners]


def _bed_parser(columns: int) -> _Parser:
    """Return the reader of a BED file with a number of columns."""
    number = 0

    def rows(fields: list[str]) -> list[_Row]:
        nonlocal number
        number += 1
        if len(fields) < columns:
            raise _LineError(f"has {len(fields)} columns; the lines before it have {columns}")
        start, end = _place(fields[1], fields[2], first=0)
        strand = _STRANDS.get(fields[5], 0) if len(fields) > 5 else 0
        if len(fields) >= 12:
            return _bed_blocks(fields, start, end, strand, str(number))
        kind = _KINDS.get(fields[3].lower(), GENE) if len(fields) > 3 else GENE
        return [(fields[0], kind, start, end, strand, NO_PHASE, "")]

    return rows


def _bed_blocks(fields: list[str], start: int, end: int, strand: int, group: str) -> list[_Row]:
    """Read a transcript with its exons, and its CDS between the thick ends."""
    try:
        thick = (int(fields[6]), int(fields[7]))
        sizes = [int(size) for size in fields[10].rstrip(",").split(",")]
        offsets = [int(offset) for offset in fields[11].rstrip(",").split(",")]
    except ValueError:
        raise _LineError("has thick ends or blocks that are no whole numbers") from None
    if len(sizes) != len(offsets) or str(len(sizes)) != fields[9].strip():
        raise _LineError("does not have as many block sizes and starts as blocks")
    rows = [(fields[0], TRANSCRIPT, start, end, strand, NO_PHASE, group)]
    for size, offset in zip(sizes, offsets, strict=True):
        low, high = start + offset, start + offset + size
        if not start <= low < high <= end:
            raise _LineError("has a block outside of its start and end")
        rows.append((fields[0], EXON, low, high, strand, NO_PHASE, group))
        if max(low, thick[0]) < min(high, thick[1]):
            coding = (max(low, thick[0]), min(high, thick[1]))
            rows.append((fields[0], CDS, *coding, strand, NO_PHASE, group))
    return rows


def _check_ends(
    table: npt.NDArray[np.int64],
    lines: "array[int]",
    length: int,
    name: str,
    chrom: str,
    path: Path,
) -> None:
    """Refuse features that end beyond their chromosome."""
    outside = np.flatnonzero(table[:, 2] > length)
    if len(outside):
        first = int(outside[0])
        start, end = table[first, 1:3].tolist()
        raise DataError(
            f"{path}, line {lines[first]}: {name}:{start + 1}-{end} ends beyond chromosome "
            f"'{chrom}' of {length} bases; the file belongs to another assembly, or to a longer "
            f"piece of this one."
        )

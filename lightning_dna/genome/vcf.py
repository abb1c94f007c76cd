"""VCF files, plain or gzip, one record at a time: `read_vcf` and `read_vcf_header`.

A reader in plain Python: the text is split and checked line by line, so that the memory needed does
not grow with the file. Positions are 0-based here, as everywhere behind a reader.

References:
    The Variant Call Format specification, versions 4.1 to 4.5 (samtools/hts-specs).
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lightning_dna.errors import DataError, unknown_name
from lightning_dna.genome.intervals import match_names
from lightning_dna.genome.plaintext import text_lines

FIXED = ("CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
_FORMAT = len(FIXED)  # place of FORMAT; samples follow
MISSING = -1

Region = tuple[str, int, int]


class Genotype(NamedTuple):
    """What one sample has at a site.

    Attributes:
        alleles: One number for each copy: 0 for REF, 1 and up for the ALTs, -1 for unknown.
        phased: Whether the copies are in the order of the haplotypes.
    """

    alleles: tuple[int, ...]
    phased: bool


class VcfRecord(NamedTuple):
    """One line of a VCF file.

    Attributes:
        chrom: Chromosome name as the file has it.
        position: First base of REF, 0-based.
        name: The ID column; ``.`` for none.
        ref: REF, upper case.
        alts: ALT alleles as they stand: sequences in upper case, ``<DEL>``, ``*``, breakends; empty
            where the column is ``.``.
        filters: The FILTER column.
        info: The INFO column; read with `info_value`.
        genotypes: Of the samples asked for, in that order; empty where there is no GT.
        line: Line of the file, from 1.
    """

    chrom: str
    position: int
    name: str
    ref: str
    alts: tuple[str, ...]
    filters: str
    info: str
    genotypes: tuple[Genotype, ...]
    line: int

    def info_value(self, key: str) -> str | None:
        """Return the text behind an INFO key: ``""`` for a flag, ``None`` where it is not there.

        Example:
            >>> record = VcfRecord("1", 9, ".", "A", ("G",), "PASS", "AC=2;DB;AF=0.5", (), 5)
            >>> record.info_value("AF"), record.info_value("DB"), record.info_value("AN")
            ('0.5', '', None)
        """
        for entry in self.info.split(";"):
            name, _, value = entry.partition("=")
            if name == key:
                return value
        return None


class VcfHeader(NamedTuple):
    """What the head of a VCF file says.

    Attributes:
        samples: Names of the samples, in the order of their columns.
        contigs: Chromosome names of the ``##contig`` lines to their length; ``None`` if not given.
    """

    samples: tuple[str, ...]
    contigs: dict[str, int | None]


def read_vcf_header(path: str | Path) -> VcfHeader:
    """Read the head of a VCF file.

    Raises:
        DataError: If the file cannot be read, is cut off, or has no line of column names.
    """
    return _Lines(Path(path).expanduser()).header


def read_vcf(
    path: str | Path,
    *,
    chroms: Collection[str] | None = None,
    region: Region | None = None,
    samples: Sequence[str] = (),
) -> Iterator[VcfRecord]:
    """Yield the records of a VCF file, in its order.

    Args:
        path: The file: plain text, gzip or bgzip, VCF 4.x.
        chroms: Only records of these chromosomes, named as in the file; ``None`` for all.
        region: Only records whose REF overlaps this stretch: chromosome, start and end, 0-based and
            half-open.
        samples: Whose genotypes to read; none by default, which spares most of the work on a file
            with thousands of samples.

    Yields:
        The records.

    Raises:
        ConfigError: If a sample is not in the file.
        DataError: If the file cannot be read, is cut off or not VCF, or its records are not sorted
            by position with each chromosome in one piece; the message names the lines.

    Note:
        Gzip shows every cut. In plain text a cut between two lines, or within the last value such
        that what is left is one too (``AF=0.12`` of ``AF=0.125``), cannot be seen.
    """
    path = Path(path).expanduser()
    lines = _Lines(path)
    names = {name: _FORMAT + 1 + column for column, name in enumerate(lines.header.samples)}
    for sample in samples:
        if sample not in names:
            raise unknown_name("sample", sample, names, where=str(path))
    columns = [names[sample] for sample in samples]
    wanted = None if chroms is None else set(chroms)
    order = _Order(path)
    for number, line in lines:
        record = _record(line, number, columns, path)
        order.check(record)
        if wanted is not None and record.chrom not in wanted:
            continue
        if region is None or _overlaps(record, region):
            yield record


def check_contigs(header: VcfHeader, lengths: Mapping[str, int], path: Path) -> None:
    """Compare the lengths of the ``##contig`` lines with those of a genome.

    Args:
        header: The head of the file.
        lengths: Length of each chromosome of the genome, in bases.
        path: The file, for messages.

    Raises:
        DataError: If a chromosome has another length: the file was made on another assembly.
    """
    for name, length in header.contigs.items():
        try:
            target = match_names([name], lengths, where="")[name]
        except DataError:
            continue  # the head may name sequences that the genome file does not hold
        if length is not None and length != lengths[target]:
            raise DataError(
                f"{path}: its head says that '{name}' has {length} bases, and the genome's "
                f"'{target}' has {lengths[target]}: the file belongs to another assembly; use the "
                f"variants called on this one, or the genome that they were called on."
            )


class _Lines:
    """The data lines of a VCF file with their numbers; the head is read first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = enumerate(text_lines(path), start=1)
        contigs: dict[str, int | None] = {}
        number = 0
        for number, line in self._lines:
            if line.startswith("##"):
                contigs |= _contig(line)
                continue
            self.header = VcfHeader(self._samples(line, number), contigs)
            self._columns = line.count("\t") + 1
            return
        raise DataError(
            f"{path} ends after line {number} without the line of column names '#CHROM POS ...'; "
            f"is it VCF, and was it cut off?"
        )

    def _samples(self, line: str, number: int) -> tuple[str, ...]:
        """Read the line of column names."""
        names = line.rstrip("\r\n").lstrip("#").split("\t")
        if not line.startswith("#") or tuple(names[:_FORMAT]) != FIXED:
            raise DataError(
                f"{self._path}, line {number}: {line.strip()[:60]!r} stands where VCF has its line "
                f"of column names, '#CHROM', 'POS', 'ID', 'REF', 'ALT', ... separated by tabs."
            )
        samples = names[_FORMAT + 1 :]
        twice = next((name for name in samples if samples.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{self._path}, line {number}: sample '{twice}' stands twice.")
        return tuple(samples)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        before = ""
        for number, line in self._lines:
            if not line.strip() or line.startswith("#"):
                continue
            columns = line.count("\t") + 1
            if columns < self._columns:
                raise DataError(
                    f"{self._path}, line {number}: {columns} columns where the head names "
                    f"{self._columns}; was the file cut off here?"
                )
            reason = "" if line.endswith("\n") else _cut(line, before)
            if reason:
                raise DataError(
                    f"{self._path}, line {number}: the last line has no end, and {reason}: was the "
                    f"file cut off here? If not, end it."
                )
            yield number, line
            before = line


def _cut(line: str, before: str) -> str:
    """Say what shows that a last line without end was cut off; nothing if nothing does.

    Args:
        line: The line.
        before: The data line before it, if there is one.
    """
    fields = line.split("\t")
    if len(fields) > _FORMAT:
        expected, last = fields[_FORMAT].count(":"), fields[-1]
        alike = fields[-2] if len(fields) > _FORMAT + 2 else before.rstrip("\r\n").split("\t")[-1]
        ploidy = [_alleles(one) for one in (last, alike or last)]
        if last.count(":") != expected or last.endswith((":", "|", "/")) or len(set(ploidy)) > 1:
            return "its last sample not what FORMAT names"
        return ""
    info = _entries(line)
    shapes = [
        [(key, bool(value)) for key, value in one] for one in (info, _entries(before or line))
    ]
    if shapes[0] != shapes[1]:
        return "its INFO column not the keys of the line before"
    key, value = info[-1]
    if value.endswith((",", "=")) or re.search(r"\d\.$", value):
        return f"the value of {key} stops short"
    if key in ("AC", "AF") and value.count(",") != fields[4].count(","):
        return f"{key} not a value for each ALT allele"
    return ""


def _alleles(sample: str) -> int:
    """Count the alleles that the first entry of a sample's column names."""
    return len(re.split(r"[|/]", sample.split(":", 1)[0]))


def _entries(line: str) -> list[tuple[str, str]]:
    """Return the keys of a line's INFO column, each with ``=`` and its value, or nothing."""
    texts = line.split("\t", _FORMAT)[7].strip().split(";")
    entries = [text.partition("=") for text in texts]
    return [(key, f"{equals}{value}") for key, equals, value in entries]


def _contig(line: str) -> dict[str, int | None]:
    """Read name and length of a ``##contig`` line; other lines give nothing."""
    if not line.startswith("##contig=<"):
        return {}
    content = line[len("##contig=<") :].rstrip().rstrip(">")
    fields = dict(entry.partition("=")[::2] for entry in content.split(","))
    length = fields.get("length", "")
    if "ID" not in fields:
        return {}
    return {fields["ID"]: int(length) if length.isdigit() else None}


def _record(line: str, number: int, columns: Sequence[int], path: Path) -> VcfRecord:
    """Parse one data line."""
    line = line.rstrip("\r\n")
    # Splitting thousands of samples costs more than all else.
    fields = line.split("\t", -1 if columns else _FORMAT)
    chrom, position, name, ref, alt, _, filters, info = fields[:_FORMAT]
    if not chrom or not position.isascii() or not position.isdigit():
        raise DataError(
            f"{path}, line {number}: chromosome {chrom!r}, position {position!r}; expected a name "
            f"and a whole number of 1 or more, separated by tabs."
        )
    if not ref.isalpha():
        raise DataError(f"{path}, line {number}: REF is {ref[:40]!r}; expected nucleotide letters.")
    if not alt:
        raise DataError(f"{path}, line {number}: ALT is empty; expected alleles, or '.' for none.")
    alts = () if alt == "." else tuple(map(_upper, alt.split(",")))
    genotypes: tuple[Genotype, ...] = ()
    if columns and fields[_FORMAT].split(":", 1)[0] == "GT":
        genotypes = tuple(_genotype(fields[c], len(alts), number, path) for c in columns)
    return VcfRecord(
        chrom, int(position) - 1, name, ref.upper(), alts, filters, info, genotypes, number
    )


def _upper(allele: str) -> str:
    """Return sequence letters in upper case, everything else as it is."""
    return allele.upper() if allele.isalpha() else allele


def _genotype(text: str, alts: int, number: int, path: Path) -> Genotype:
    """Parse the GT part of a sample's column."""
    call = text.split(":", 1)[0]
    parts = call.replace("|", "/").split("/")
    if not all(part == "." or (part.isdigit() and int(part) <= alts) for part in parts):
        raise DataError(
            f"{path}, line {number}: genotype {call!r}; expected numbers from 0 to {alts} or '.', "
            f"separated by '|' or '/'."
        )
    alleles = tuple(MISSING if part == "." else int(part) for part in parts)
    return Genotype(alleles, phased="/" not in call)


def _overlaps(record: VcfRecord, region: Region) -> bool:
    """Tell whether REF has a base in a stretch."""
    chrom, start, end = region
    reach = record.position + len(record.ref)
    return record.chrom == chrom and record.position < end and reach > start


class _Order:
    """Checks that records are sorted, each chromosome in one piece."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: VcfRecord | None = None
        self._ended: dict[str, VcfRecord] = {}

    def check(self, record: VcfRecord) -> None:
        """Compare a record with those before it."""
        last, self._last = self._last, record
        if last is None:
            return
        if record.chrom != last.chrom:
            self._ended[last.chrom] = last
            last = self._ended.get(record.chrom)
        if last is not None and (record.chrom in self._ended or record.position < last.position):
            raise DataError(
                f"{self._path} is not sorted: {record.chrom}:{record.position + 1} (line "
                f"{record.line}) comes after {last.chrom}:{last.position + 1} (line {last.line})"
                f"{' and another chromosome' if record.chrom in self._ended else ''}; sort it, for "
                f"example with `bcftools sort`."
            )


def frequencies(record: VcfRecord) -> tuple[float, ...] | None:
    """Return the frequency of each ALT allele: AF of INFO, or AC divided by AN.

    Returns:
        One number in [0, 1] per ALT allele; ``None`` where the record does not tell.

    Raises:
        DataError: If the numbers are not as many as ALT alleles, or not frequencies.

    Example:
        >>> frequencies(VcfRecord("1", 9, ".", "A", ("G", "T"), "PASS", "AC=2,1;AN=8", (), 5))
        (0.25, 0.125)
    """
    stated, counts = record.info_value("AF"), record.info_value("AC")
    total = record.info_value("AN")
    if stated:
        texts, scale = stated, 1.0
    elif counts and total and total.isdigit() and int(total):
        texts, scale = counts, float(total)
    else:
        return None
    if "." in texts.split(","):
        return None
    try:
        values = tuple(float(text) / scale for text in texts.split(","))
    except ValueError:
        values = ()
    # Rounded frequencies of several alleles may add up to a little more than 1.
    known = all(value >= 0.0 for value in values) and sum(values) <= 1.001  # False for NaN
    if len(values) != len(record.alts) or not known:
        raise DataError(
            f"line {record.line}, {record.chrom}:{record.position + 1}: allele frequencies "
            f"{texts!r} for {len(record.alts)} ALT allele(s); expected one for each, 0 or more, 1 "
            f"in all at most."
        )
    return values

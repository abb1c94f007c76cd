"""The rows of a file of variants, as texts: VCF, CSV, TSV, Parquet or an Excel sheet."""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.plaintext import text_lines
from lightning_dna.genome.vcf import VcfRecord, read_vcf
from lightning_dna.tasks.variant_source import REQUIRED_ROLES, VALUE_ROLES, VariantSource

_EXCEL = (".xlsx", ".xlsm")


@dataclass(frozen=True)
class Row:
    """One variant as it stands in a file.

    Attributes:
        chrom: Name of its sequence.
        position: First base of REF, 0-based.
        ref: REF, upper case.
        alt: ALT, upper case.
        roles: What else the file says: texts by role (`ROLES`), and by name of the column.
        line: Line or row, from 1.
    """

    chrom: str
    position: int
    ref: str
    alt: str
    roles: Mapping[str, str]
    line: int


def is_vcf(path: Path) -> bool:
    """Tell whether a file is VCF, by its name or its first line."""
    if any(ending in path.suffixes for ending in (*_EXCEL, ".parquet", ".csv", ".tsv", ".txt")):
        return False
    if ".vcf" in path.suffixes:
        return True
    return next(iter(text_lines(path)), "").startswith("##fileformat=VCF")


def vcf_rows(path: Path, source: VariantSource) -> Iterator[Row]:
    """Yield a row for each ALT allele of a VCF file; errors as in `read_vcf`."""
    for record in read_vcf(path):
        info = dict(entry.partition("=")[::2] for entry in record.info.split(";"))
        roles = info | {
            role: info[source.column(role)]
            for role in ("label", "cluster", *VALUE_ROLES)
            if source.column(role) in info
        }
        if source.column("cluster") == "GENEINFO" and "cluster" in roles:
            roles["cluster"] = roles["cluster"].split("|")[0].split(":")[0]  # "BRCA1:672|..."
        if record.name != ".":
            roles["id"] = _name_of(record, len(record.alts))
        for number, alt in enumerate(record.alts):
            name = {"id": f"{roles['id']}:{alt}"} if len(record.alts) > 1 and "id" in roles else {}
            values = {
                role: roles[role].split(",")[min(number, roles[role].count(","))]
                for role in VALUE_ROLES
                if role in roles
            }
            yield Row(
                record.chrom, record.position, record.ref, alt, roles | values | name, record.line
            )


def _name_of(record: VcfRecord, alleles: int) -> str:
    """Return the id of a record; several of them are separated by semicolons."""
    return record.name.split(";")[0] if alleles else record.name


def table_rows(
    path: Path,
    source: VariantSource,
    *,
    labelled: bool,
    wanted: Callable[[Mapping[str, str]], bool] = lambda texts: True,
) -> Iterator[Row]:
    """Yield the rows of a table.

    Args:
        path: The file.
        source: How to read it.
        labelled: Whether it must have a column of labels.
        wanted: Tells from its texts whether a row is; others need not even have a position.

    Raises:
        ConfigError: If a package or a sheet is missing.
        DataError: If the file cannot be read or lacks a column, or a position is no number.
    """
    header, rows = _table(path, source)
    lacking = [
        f"'{source.column(role)}' ({role})"
        for role in (*REQUIRED_ROLES, *(("label",) if labelled else ()))
        if source.column(role) not in header
    ]
    if source.chrom is None and source.column("chrom") not in header:
        lacking.append(f"'{source.column('chrom')}' (chrom)")
    named = [*(source.columns or {}).values(), *(source.keep or {})]
    lacking += [f"'{name}'" for name in named if name not in header and name not in str(lacking)]
    if lacking:
        raise DataError(
            f"{path}: no column {', '.join(lacking)}; it has {', '.join(header[:40])}. Say in "
            f"variants.columns which column is which, and in variants.header_row where the names "
            f"stand."
        )
    roles = {role: source.column(role) for role in ("id", "label", "cluster", *VALUE_ROLES)}
    for line, row in rows:
        texts = dict(zip(header, row, strict=False))
        where = f"{path}, row {line}"
        known = {role: texts[name] for role, name in roles.items() if name in texts}
        if not wanted(texts | known):
            continue
        chrom = source.chrom or texts[source.column("chrom")]
        yield Row(
            chrom,
            _position(texts[source.column("position")], where) - (0 if source.zero_based else 1),
            texts[source.column("ref")].upper(),
            texts[source.column("alt")].upper(),
            texts | known,
            line,
        )


def _position(text: str, where: str) -> int:
    """Parse a position; spreadsheets write whole numbers as 123.0."""
    plain = text.removesuffix(".0")
    if not (plain.isascii() and plain.isdigit()):
        raise DataError(f"{where}: position {text!r}; expected a whole number.")
    return int(plain)


def _table(path: Path, source: VariantSource) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Open a table: its column names, and its rows as texts with their numbers."""
    if path.suffix.lower() in _EXCEL:
        rows = _excel_rows(path, source.sheet)
    elif ".parquet" in path.suffixes:
        return _parquet_rows(path)
    else:
        rows = _text_rows(path)
    for number, row in rows:
        if number == source.header_row:
            return row, ((line, one) for line, one in rows if any(one))
    raise DataError(
        f"{path} has fewer than {source.header_row} lines (variants.header_row); is it complete?"
    )


def _text_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines of a CSV or TSV file as fields."""
    tabs = any(ending in path.suffixes for ending in (".tsv", ".txt", ".bed"))
    width = 0
    try:
        for number, row in enumerate(
            csv.reader(text_lines(path), "excel-tab" if tabs else "excel")
        ):
            if row and len(row) < width:
                raise DataError(
                    f"{path}, line {number + 1}: {len(row)} columns where the lines before have "
                    f"{width}; was the file cut off here?"
                )
            width = len(row) if row else width
            yield number + 1, [field.strip() for field in row]
    except csv.Error as error:
        raise DataError(f"{path} is not a table: {error}.") from error


def _parquet_rows(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Read a Parquet table as texts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_table(path).to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot read {path}: {error}; check the path and the file.") from error
    rows = zip(*columns.values(), strict=True)
    return [*columns], ((number, [*map(_text, row)]) for number, row in enumerate(rows, start=1))


def _excel_rows(path: Path, sheet: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a sheet as texts."""
    try:
        import openpyxl
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{path} is an Excel file, and openpyxl is not installed: install "
            f"lightning-dna[excel], or save the sheet as CSV."
        ) from error
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # whatever zip and XML readers make of a damaged file
        raise DataError(f"cannot read {path}: {error}; check the path and the file.") from error
    if sheet > len(book.worksheets):
        raise ConfigError(
            f"variants.sheet is {sheet}, and {path} has {len(book.worksheets)} sheet(s)."
        )
    for number, row in enumerate(book.worksheets[sheet - 1].iter_rows(values_only=True), start=1):
        yield number, [*map(_text, row)]
    book.close()


def _text(value: object) -> str:
    """Return a cell as text."""
    return "" if value is None else str(value).strip()

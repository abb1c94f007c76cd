"""Variants read from a VCF file or a table: checked, labelled, with the sequence around them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import CODE_BITS, Codes, N, encode
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.intervals import match_names
from lightning_dna.genome.vcf import check_contigs, read_vcf_header
from lightning_dna.tasks.variant_source import VALUE_ROLES, VariantSource
from lightning_dna.tasks.variant_tables import Row, is_vcf, table_rows, vcf_rows

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

UNLABELLED = -1
_MISSING = frozenset({"", ".", "NA", "NaN", "nan", "None"})
_STARS = (
    ("practice_guideline", 4),
    ("reviewed_by_expert_panel", 3),
    ("criteria_provided,_multiple_submitters,_no_conflicts", 2),
    ("criteria_provided", 1),
)
_LETTERS = frozenset("ACGTU")
_NEITHER = "neither allele is that of the genome"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One variant.

    Attributes:
        chrom: Chromosome of the genome.
        start: First base of REF, 0-based, in the genome's sequence.
        ref: REF, upper case.
        alt: ALT, upper case.
        name: Its id; ``chrom:position:ref:alt`` where the file has none, position from 1 and as in
            the file.
        label: 1, 0, or -1 where the file has no labels.
        cluster: What it shares with others, ``""`` where the file does not say.
        values: ``conservation`` and ``cadd``; NaN where the file does not say.
        line: Line or row of the file, from 1.
    """

    chrom: str
    start: int
    ref: str
    alt: str
    name: str
    label: int
    cluster: str
    values: tuple[float, float]
    line: int


@dataclass(frozen=True, kw_only=True, eq=False)
class VariantSet:
    """The variants of a file, in the order of the genome, REF checked.

    Attributes:
        variants: The variants.
        genome: The genome.
        origin: Position, from 1, of the first base of its sequence on its chromosome.
        called: Chromosome that the genome's one sequence is part of, if its name is another.
        notes: What a reader of the scores should know: what was left out.
    """

    variants: tuple[Variant, ...]
    genome: Genome
    origin: int
    notes: tuple[str, ...]
    called: str | None = None

    def __len__(self) -> int:
        return len(self.variants)

    @property
    def labelled(self) -> bool:
        """Whether every variant has a label."""
        return all(variant.label != UNLABELLED for variant in self.variants)


def read_variants(
    path: Path, genome: Genome, source: VariantSource, *, labelled: bool = True
) -> VariantSet:
    """Read the variants of a file.

    Args:
        path: VCF file, or CSV, TSV, Parquet or Excel table; plain or gzip.
        genome: The sequence that they lie on.
        source: How to read the file.
        labelled: Whether labels are needed. Otherwise they are read where the file has them, and
            rows with other labels are kept, as variants without one.

    Returns:
        The variants, sorted by place. Left out and counted in the notes: variants on sequences that
        the genome does not have, or, with an ``origin``, outside of the sequence; alleles that are
        not sequences; rows that `keep`, `stars` or the labels leave out.

    Raises:
        ConfigError: If the source's settings do not fit the file.
        DataError: If the file cannot be read or lacks a column, a variant does not lie on its
            chromosome, REF is not what the genome has, a variant stands twice, or none is left.
    """
    names = _names(genome, source)
    vcf = is_vcf(path)
    if vcf and source.alleles != "ref_alt":
        raise ConfigError(
            f"variants.alleles is '{source.alleles}', and {path} is a VCF file, which says which "
            f"allele is REF; leave it out."
        )
    if vcf:
        check_contigs(read_vcf_header(path), {} if source.origin > 1 else names, path)
    left: Counter[str] = Counter()
    wanted = partial(_is_kept, source=source, left=left)
    if vcf:
        found = [row for row in vcf_rows(path, source) if wanted(row.roles)]
    else:
        found = [*table_rows(path, source, labelled=labelled, wanted=wanted)]
    known = _matched({row.chrom for row in found}, names, path)
    variants = []
    for row in found:
        variant = _variant(row, known, genome, source, left, path)
        if variant is not None:
            variants.append(variant)
    _check_alleles(left, len(found), path)
    if not variants:
        reasons = "; ".join(f"{count} {why}" for why, count in left.items()) or "the file is empty"
        raise DataError(f"{path}: no variant is left to score: {reasons}.")
    variants = _with_labels(variants, found, source, left, labelled=labelled, path=path)
    order = {name: number for number, name in enumerate(genome.names)}
    variants.sort(key=lambda one: (order[one.chrom], one.start, one.ref, one.alt))
    _check_reference(variants, genome, path)
    _check_twice(variants, path)
    notes = [f"{count} variant(s) of {path.name} left out: {why}." for why, count in left.items()]
    return VariantSet(
        variants=tuple(variants),
        genome=genome,
        origin=source.origin,
        notes=tuple(notes),
        called=source.chrom if len(genome.names) == 1 else None,
    )


def _names(genome: Genome, source: VariantSource) -> dict[str, int]:
    """Return the names that variants may have for the genome's sequences, with their lengths."""
    if source.origin > 1 and len(genome.names) > 1:
        raise ConfigError(
            f"variants.origin is {source.origin}, and the genome has {len(genome.names)} sequences;"
            f" an origin is that of a FASTA file with one."
        )
    if source.chrom is not None and len(genome.names) == 1:
        return {source.chrom: genome.lengths[genome.names[0]]}
    return dict(genome.lengths)


def _matched(found: set[str], names: Mapping[str, int], path: Path) -> dict[str, str]:
    """Map names in the file to names of sequences; at least one must have one."""
    return match_names(sorted(found), names, where=str(path), partly=True) if found else {}


def _is_kept(texts: Mapping[str, str], source: VariantSource, left: Counter[str]) -> bool:
    """Tell whether the source's settings want a row; count it where they do not."""
    for column, values in (source.keep or {}).items():
        if texts.get(column, "") not in values:
            left[f"{column} is none of {', '.join(values)}"] += 1
            return False
    if source.stars and _stars(texts.get("CLNREVSTAT", "")) < source.stars:
        left[f"fewer than {source.stars} review star(s)"] += 1
        return False
    return True


def _stars(status: str) -> int:
    """Return the review stars of a ClinVar record."""
    return next((stars for name, stars in _STARS if status.startswith(name)), 0)


def _variant(
    row: Row,
    known: Mapping[str, str],
    genome: Genome,
    source: VariantSource,
    left: Counter[str],
    path: Path,
) -> Variant | None:
    """Place a row on the genome; count it where it cannot be placed."""
    if row.chrom not in known:
        left["on a sequence that the genome does not have"] += 1
        return None
    chrom = genome.names[0] if source.chrom and len(genome.names) == 1 else known[row.chrom]
    start = row.position + source.shift - (source.origin - 1)
    length = genome.lengths[chrom]
    if start < 0 or start + len(row.ref) > length:
        if source.origin > 1:
            left["outside of the sequence"] += 1
            return None
        raise DataError(
            f"{path}, line {row.line}: {row.chrom}:{row.position + 1} does not lie on chromosome "
            f"'{chrom}' of {length} bases; the file belongs to another assembly."
        )
    if not (row.ref and row.alt and _LETTERS.issuperset(row.ref + row.alt)):
        left["an allele is not a sequence"] += 1
        return None
    if row.ref == row.alt:
        left["ALT equals REF"] += 1
        return None
    ref, alt = row.ref, row.alt
    if source.alleles == "either":
        there = [allele for allele in (ref, alt) if _stands(genome, chrom, start, allele)]
        if not there:
            left[_NEITHER] += 1
            return None
        if max(there, key=len) == alt:
            ref, alt = alt, ref
    name = row.roles.get("id") or f"{row.chrom}:{row.position + 1}:{ref}:{alt}"
    values = [_number(row.roles.get(role, ""), f"{path}, line {row.line}") for role in VALUE_ROLES]
    return Variant(
        chrom=chrom,
        start=start,
        ref=ref,
        alt=alt,
        name=name,
        label=UNLABELLED,
        cluster=row.roles.get("cluster", ""),
        values=(values[0], values[1]),
        line=row.line,
    )


def _number(text: str, where: str) -> float:
    """Parse a value; NaN where there is none."""
    if text in _MISSING:
        return float("nan")
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{where}: {text!r} is not a number.") from None


def _with_labels(
    variants: Sequence[Variant],
    rows: Sequence[Row],
    source: VariantSource,
    left: Counter[str],
    *,
    labelled: bool,
    path: Path,
) -> list[Variant]:
    """Give the variants their labels; leave out those without where labels are needed."""
    texts = {(row.line, frozenset((row.ref, row.alt))): row.roles.get("label", "") for row in rows}
    classes = dict.fromkeys(source.negative, 0) | dict.fromkeys(source.positive, 1)
    found: list[Variant] = []
    for variant in variants:
        text = texts[variant.line, frozenset((variant.ref, variant.alt))].removesuffix(".0")
        label = classes.get(text, classes.get(text.lower(), UNLABELLED))
        if label == UNLABELLED and labelled:
            left["label is neither positive nor negative"] += 1
            continue
        found.append(replace(variant, label=label))
    if labelled:
        counts = np.bincount([int(variant.label) for variant in found], minlength=2)
        if not counts.all():
            seen = sorted({text for text in texts.values() if text})[:8]
            raise DataError(
                f"{path}: of the variants {counts[1]} are positive and {counts[0]} negative; both "
                f"are needed. Labels of the file are {', '.join(map(repr, seen))}; say in "
                f"variants.positive and variants.negative which mean what."
            )
    return found


def codes_of(letters: str) -> Codes:
    """Return the base codes of an allele."""
    codes: Codes = np.bitwise_and(encode(letters), np.uint8(CODE_BITS))
    return codes


def _stands(genome: Genome, chrom: str, start: int, allele: str) -> bool:
    """Tell whether the genome has an allele at a place."""
    end = start + len(allele)
    if end > genome.lengths[chrom]:
        return False
    return np.array_equal(genome.codes(chrom, start, end), codes_of(allele))


def _check_alleles(left: Counter[str], rows: int, path: Path) -> None:
    """Refuse a file of which the genome has neither allele too often.

    Raises:
        DataError: If more than a tenth of the rows are so; of another assembly a half would be.
    """
    if 10 * left[_NEITHER] > rows:
        raise DataError(
            f"{path}: of {left[_NEITHER]} of {rows} variants the genome has neither allele. Is the "
            f"file of another assembly, or variants.shift, variants.zero_based or variants.origin "
            f"wrong?"
        )


def _check_reference(variants: Sequence[Variant], genome: Genome, path: Path) -> None:
    """Compare every REF with the genome.

    Raises:
        DataError: One differs; the message shows the first, and counts them.
    """
    wrong: list[tuple[Variant, Codes]] = []
    for one in variants:
        here = genome.codes(one.chrom, one.start, one.start + len(one.ref))
        if not np.array_equal(here, codes_of(one.ref)):
            wrong.append((one, here))
    if wrong:
        one, here = wrong[0]
        letters = "".join("ACGTN"[code] for code in here[:20])
        unknown = " N is a base that the genome does not know." if (here == N).any() else ""
        raise DataError(
            f"{path}, line {one.line}: {one.name} has REF {one.ref[:20]}, and the genome has "
            f"{letters} at {one.chrom}:{one.start + 1}; {len(wrong)} of {len(variants)} variants do"
            f" not fit.{unknown} Is the file of another assembly, or variants.shift or "
            f"variants.origin wrong?"
        )


def _check_twice(variants: Sequence[Variant], path: Path) -> None:
    """Refuse two variants of one name, by which scores are told apart."""
    seen: dict[str, Variant] = {}
    for one in variants:
        if one.name in seen:
            raise DataError(
                f"{path}, lines {seen[one.name].line} and {one.line}: variant '{one.name}' stands "
                f"twice; keep one, or give each an id of its own."
            )
        seen[one.name] = one

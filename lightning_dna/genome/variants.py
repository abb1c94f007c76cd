"""What an ALT allele does to a sequence: `Edit`, from sequence and symbolic alleles of a VCF file.

An edit replaces the reference bases ``[start, end)``. Bases that REF and ALT share are trimmed, at
the end first and then at the beginning, so that ``CTT > CT`` is the deletion of one T wherever the
caller anchored it, and a variant touches no base that it does not change.
"""

from typing import Literal, NamedTuple

from lightning_dna.genome.vcf import VcfRecord

Kind = Literal["snv", "mnv", "insertion", "deletion", "replacement", "duplication", "inversion"]
STRUCTURAL = 50
"""Bases from which on a variant is a structural one, as in the 1000 Genomes papers."""

_LETTERS = frozenset("ACGTUN")
_TRUE_BASES = frozenset("ACGTU")
_COPIES = "<CN"  # <CN0>, <CN2>: so many copies of the segment, in the 1000 Genomes files


class Edit(NamedTuple):
    """One change of a sequence, in reference coordinates.

    Attributes:
        start: First base replaced, 0-based.
        end: End of the bases replaced; ``start`` for an insertion.
        kind: What the change is. ``replacement`` is of bases by fewer or more others. A
            ``duplication`` inserts, after the segment's end, a copy of the segment.
        alt: The letters put in; empty for deletions, duplications and inversions.
        segment: First base of the segment that is copied, for a duplication.
        copies: Additional copies of it.
    """

    start: int
    end: int
    kind: Kind
    alt: str = ""
    segment: int = 0
    copies: int = 0

    @property
    def size(self) -> int:
        """Bases changed: replaced or put in, whichever is more."""
        if self.kind == "duplication":
            return self.copies * (self.end - self.segment)
        return max(self.end - self.start, len(self.alt))

    @property
    def group(self) -> str:
        """The class of the variant: its kind, after ``sv_`` where it is structural."""
        return f"sv_{self.kind}" if self.size >= STRUCTURAL else self.kind


def trimmed(position: int, ref: str, alt: str) -> tuple[int, str, str]:
    """Take off the bases that REF and ALT share, at the end first.

    Args:
        position: First base of REF, 0-based.
        ref: REF.
        alt: ALT.

    Returns:
        Position and alleles of what differs; either allele may be empty.

    Example:
        >>> trimmed(10, "CTT", "CT"), trimmed(10, "A", "ACG"), trimmed(10, "ACC", "ATC")
        ((11, 'T', ''), (11, '', 'CG'), (11, 'C', 'T'))
    """
    shared = 0
    while shared < min(len(ref), len(alt)) and ref[-1 - shared] == alt[-1 - shared]:
        shared += 1
    ref, alt = ref[: len(ref) - shared], alt[: len(alt) - shared]
    shared = 0
    while shared < min(len(ref), len(alt)) and ref[shared] == alt[shared]:
        shared += 1
    return position + shared, ref[shared:], alt[shared:]


def edit_of(record: VcfRecord, alt: str, length: int) -> Edit | str:
    """Return the change that one ALT allele of a record makes.

    Symbolic alleles begin behind the base at POS, as the format says, and end at END, or
    ``|SVLEN|`` bases on where END is missing or beyond the chromosome. ``<DEL>`` and ``<CN0>``
    delete; ``<DUP>`` and ``<CNk>`` insert the additional copies behind the segment; ``<INV>``
    inverts; ``<INS>`` needs its sequence in SEQ or SVINSSEQ. Subtypes (``<DEL:ME:ALU>``) count as
    their type.

    Args:
        record: The record.
        alt: One of its ALT alleles.
        length: Bases of the chromosome.

    Returns:
        The edit; or, in words, why the allele cannot be put into a sequence.

    Example:
        >>> edit_of(VcfRecord("1", 9, ".", "A", ("<DEL>",), ".", "END=15", (), 5), "<DEL>", 100)
        Edit(start=10, end=15, kind='deletion', alt='', segment=0, copies=0)
    """
    if alt == "*":
        return "spanning deletion (*)"
    if "[" in alt or "]" in alt or alt.startswith(".") or alt.endswith("."):
        return "breakend"
    if alt.startswith("<"):
        return _symbolic(record, alt, length)
    if not _LETTERS.issuperset(alt):
        return "allele is not a sequence"
    start, ref, alt = trimmed(record.position, record.ref, alt)
    if not _TRUE_BASES.issuperset(alt):
        return "unknown base in ALT"
    if ref == alt == "":
        return "ALT equals REF"
    return Edit(start, start + len(ref), _sequence_kind(ref, alt), alt)


def _sequence_kind(ref: str, alt: str) -> Kind:
    """Name what trimmed alleles do."""
    if not ref:
        return "insertion"
    if not alt:
        return "deletion"
    if len(ref) != len(alt):
        return "replacement"
    return "snv" if len(ref) == 1 else "mnv"


def _symbolic(record: VcfRecord, alt: str, length: int) -> Edit | str:
    """Return the change of an allele in angle brackets."""
    kind = alt[1:-1].split(":")[0]
    start = record.position + 1
    if kind == "INS":
        inserted = (record.info_value("SVINSSEQ") or record.info_value("SEQ") or "").upper()
        known = inserted and _TRUE_BASES.issuperset(inserted)
        return Edit(start, start, "insertion", inserted) if known else "insertion without sequence"
    copies = int(kind[2:]) if alt.startswith(_COPIES) and kind[2:].isdigit() else None
    if kind not in ("DEL", "DUP", "INV") and copies is None:
        return "symbolic allele of another kind"
    if copies == 1:
        return "ALT equals REF"
    end = _end(record, start, length)
    if end is None:
        return "symbolic allele without END or SVLEN on the chromosome"
    if kind == "DEL" or copies == 0:
        return Edit(start, end, "deletion")
    if kind == "INV":
        return Edit(start, end, "inversion")
    more = 1 if copies is None else copies - 1
    return Edit(end, end, "duplication", segment=start, copies=more)


def _end(record: VcfRecord, start: int, length: int) -> int | None:
    """Return where a symbolic allele ends."""
    stated = record.info_value("END") or ""
    if stated.isdigit() and start < int(stated) <= length:
        return int(stated)
    size = (record.info_value("SVLEN") or "").split(",")[0].lstrip("-")
    if size.isdigit() and 0 < int(size) <= length - start:
        return start + int(size)
    return None

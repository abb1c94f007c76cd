"""Which variants of a VCF file a haplotype carries: by genotype, or drawn by allele frequency."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError, DataError, unknown_name
from lightning_dna.genome.alphabet import CODE_BITS, N, encode
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.intervals import match_names
from lightning_dna.genome.variants import Edit, edit_of
from lightning_dna.genome.vcf import (
    MISSING,
    Genotype,
    VcfHeader,
    VcfRecord,
    check_contigs,
    frequencies,
    read_vcf,
    read_vcf_header,
)

Include = Literal["snv", "snv+indel", "+sv"]
Uniforms = npt.NDArray[np.float64]

OVERLAPS = "overlaps an earlier variant of its haplotype"
_NO_FREQUENCY = "no allele frequency"
_NO_GENOTYPE = "genotype missing"
_UNKNOWN = "genome has N at REF"
_BLOCK = 8192  # records looked at together: bounds the memory
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True, kw_only=True, eq=False)
class Carried:
    """What `draw_variants` returns.

    Attributes:
        edits: Chromosome of the genome to the edits of each haplotype, sorted, none overlapping.
        skipped: Why alleles are in no haplotype, or in one fewer, to how many.
        alleles: ALT alleles on chromosomes of the genome.
        notes: What a reader of the numbers should know.
    """

    edits: dict[str, tuple[list[Edit], ...]]
    skipped: Counter[str]
    alleles: int
    notes: tuple[str, ...]


def draw_variants(
    genome: Genome, vcf: Path, *, include: Include, count: int, seed: int, sample: str | None
) -> Carried:
    """Decide which variants each haplotype carries.

    Haplotypes 2i and 2i + 1 are the two copies of sample i of the file, or of the one sample that
    is named. Phased genotypes are taken as they are, unphased ones in a random order; a haploid
    genotype stands on both. Without samples, each haplotype carries an ALT allele with the
    probability of its frequency (AF, or AC / AN), independently of the other sites: real
    haplotypes have linkage that these lack. The draw at a site depends on the seed, the haplotype,
    the chromosome and the position alone, so that the SNVs of ``snv`` are those of ``+sv`` too.

    On one haplotype the variant that starts first is kept, the first in the file among equals, and
    one that overlaps it is left out and counted. A variant overlaps another if both change a base,
    or insert at one place; bases that REF and ALT share do not count.

    Args:
        genome: The genome.
        vcf: The file.
        include: Single bases (and equally long stretches), also insertions and deletions, or also
            structural variants of 50 bases and more.
        count: Number of haplotypes.
        seed: Seed of the draws.
        sample: Sample whose haplotypes to make; ``None`` for those of the file, in order.

    Raises:
        ConfigError: If a setting is not allowed, or the sample is not in the file.
        DataError: If the file cannot be used, belongs to another assembly, or REF is not what the
            genome has.
    """
    if include not in get_args(Include):
        raise unknown_name("kind of variants", include, get_args(Include), where="variants")
    if count < 1 or seed < 0:
        raise ConfigError(f"{count} haplotypes with seed {seed}; allowed: 1 or more, 0 or more.")
    header = read_vcf_header(vcf)
    check_contigs(header, genome.lengths, vcf)
    samples = _samples(header, vcf, count, sample)
    draw = _Draw(genome, vcf, include, count, seed, len(samples))
    grouped = itertools.groupby(read_vcf(vcf, samples=samples), key=lambda record: record.chrom)
    _each_chromosome(draw, grouped)
    draw.reference.refuse()
    if not draw.alleles:
        raise DataError(f"{vcf} has no variant on a chromosome of the genome; is it the right one?")
    if draw.skipped[_NO_FREQUENCY] == draw.alleles:
        raise DataError(
            f"{vcf} has neither genotypes nor allele frequencies (AF, or AC and AN, in INFO), so "
            f"that nothing says which variants a haplotype carries; add them to the file."
        )
    return Carried(
        edits=draw.edits, skipped=draw.skipped, alleles=draw.alleles, notes=tuple(draw.notes)
    )


def _samples(header: VcfHeader, vcf: Path, count: int, sample: str | None) -> tuple[str, ...]:
    """Return the samples whose copies the haplotypes are; none where the file has none."""
    if sample is None:
        chosen = header.samples[: (count + 1) // 2]
    elif sample in header.samples:
        chosen = (sample,)
    else:
        raise unknown_name("sample", sample, header.samples, where=str(vcf))
    if chosen and count > 2 * len(chosen):
        have = f"sample '{sample}' has two" if sample else f"its samples have {2 * len(chosen)}"
        raise ConfigError(f"{vcf}: {count} haplotypes are asked for, and {have}; ask for fewer.")
    return chosen


def _each_chromosome(draw: "_Draw", grouped: Iterator[tuple[str, Iterator[VcfRecord]]]) -> None:
    """Hand over the records by chromosome of the genome; those of other sequences are counted."""
    lengths, where = draw.genome.lengths, str(draw.vcf)
    others: dict[str, int] = {}
    names: list[str] = []
    for name, records in grouped:
        names.append(name)
        try:
            chrom = match_names([name], lengths, where=where)[name]
        except DataError:
            others[name] = sum(1 for _ in records)
            continue
        if chrom in draw.edits:
            match_names(names, lengths, where=where, partly=True)  # says which two names
        draw.chromosome(chrom, records)
    if others:
        match_names(names, lengths, where=where, partly=True)  # says so where none is known
        draw.notes.append(
            f"{sum(others.values())} records on {len(others)} sequence(s) that the genome does not "
            f"have are left out, the first on '{next(iter(others))}'."
        )


@dataclass
class _Reference:
    """REF alleles that are not what the genome has."""

    vcf: Path
    wrong: int = 0
    first: str = ""

    def check(self, genome: Genome, chrom: str, records: Sequence[VcfRecord]) -> list[bool]:
        """Compare some records with the genome; returns where it has no known base."""
        length = genome.lengths[chrom]
        for record in records:
            if record.position < 0 or record.position + len(record.ref) > length:
                raise DataError(
                    f"{self.vcf}, line {record.line}: {record.chrom}:{record.position + 1} with "
                    f"REF of {len(record.ref)} base(s) does not lie on chromosome '{chrom}' of "
                    f"{length} bases; the file belongs to another assembly."
                )
        sizes = np.fromiter((len(record.ref) for record in records), np.int64, len(records))
        starts = np.fromiter((record.position for record in records), np.int64, len(records))
        row = np.repeat(np.arange(len(records)), sizes)
        into = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        try:
            stated = encode("".join(record.ref for record in records)) & np.uint8(CODE_BITS)
        except DataError as error:
            where = f"{self.vcf}, lines {records[0].line} to {records[-1].line}"
            raise DataError(f"{where}: REF: {error}") from error
        found = genome.stored(chrom)[starts[row] + into] & np.uint8(CODE_BITS)
        unlike = (stated != found) & (stated < N) & (found < N)
        wrong = np.unique(row[unlike])
        if len(wrong) and not self.wrong:
            self.first = self._describe(genome, chrom, records[int(wrong[0])])
        self.wrong += len(wrong)
        unknown = np.bincount(row[(found == N) & (stated < N)], minlength=len(records)) > 0
        return [bool(flag) for flag in unknown]

    def _describe(self, genome: Genome, chrom: str, record: VcfRecord) -> str:
        """Say what is wrong about one record."""
        here = genome.codes(chrom, record.position, record.position + min(len(record.ref), 20))
        letters = "".join("ACGTN"[code] for code in here)
        return (
            f"{record.chrom}:{record.position + 1} (line {record.line}) has REF "
            f"{record.ref[:20]}, and the genome has {letters} there"
        )

    def refuse(self) -> None:
        """Raise if a record did not fit."""
        if self.wrong:
            raise DataError(
                f"{self.vcf}: {self.first}; {self.wrong} record(s) do not fit in all. Is the file "
                f"of another assembly, or are its positions shifted?"
            )


@dataclass
class _Draw:
    """The state of `draw_variants`."""

    genome: Genome
    vcf: Path
    include: Include
    count: int
    seed: int
    samples: int
    edits: dict[str, tuple[list[Edit], ...]] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    alleles: int = 0
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reference = _Reference(self.vcf)

    def chromosome(self, chrom: str, records: Iterator[VcfRecord]) -> None:
        """Take in the records of one chromosome."""
        found: tuple[list[Edit], ...] = tuple([] for _ in range(self.count))
        keys = [_key(self.seed, chrom, haplotype) for haplotype in range(self.count)]
        before: tuple[int, int] = (-1, 0)  # position, and records seen there
        while block := list(itertools.islice(records, _BLOCK)):
            unknown = self.reference.check(self.genome, chrom, block)
            places, before = _places(block, before)
            draws = [_uniforms(key, places) for key in keys]
            for number, record in enumerate(block):
                edits = self._edits(record, chrom, unknown=unknown[number])
                if edits:
                    uniforms = [float(draw[number]) for draw in draws]
                    self._carry(record, edits, uniforms, found)
        self.edits[chrom] = tuple(self._apart(edits, chrom) for edits in found)

    def _edits(self, record: VcfRecord, chrom: str, *, unknown: bool) -> dict[int, Edit]:
        """Return the edits of a record by ALT number; those that cannot be made are counted."""
        edits: dict[int, Edit] = {}
        self.alleles += len(record.alts)
        for number, alt in enumerate(record.alts, start=1):
            edit = _UNKNOWN if unknown else edit_of(record, alt, self.genome.lengths[chrom])
            if isinstance(edit, str):
                self.skipped[edit] += 1
            elif not self._included(edit):
                self.skipped[f"{edit.group} where variants are {self.include}"] += 1
            else:
                edits[number] = edit
        return edits

    def _included(self, edit: Edit) -> bool:
        """Tell whether this kind of variant is asked for."""
        if edit.group.startswith("sv_"):
            return self.include == "+sv"
        return edit.kind in ("snv", "mnv") or self.include != "snv"

    def _carry(
        self,
        record: VcfRecord,
        edits: dict[int, Edit],
        uniforms: list[float],
        found: tuple[list[Edit], ...],
    ) -> None:
        """Add the edits of a record to the haplotypes that carry them."""
        if self.samples:
            numbers = self._by_genotype(record, uniforms)
        else:
            try:
                known = frequencies(record)
            except DataError as error:
                raise DataError(f"{self.vcf}, {error}") from error
            if known is None:
                self.skipped[_NO_FREQUENCY] += len(edits)
                return
            reach = list(itertools.accumulate(known))
            numbers = [sum(top <= uniform for top in reach) + 1 for uniform in uniforms]
        for haplotype, number in enumerate(numbers):
            if number in edits:
                found[haplotype].append(edits[number])

    def _by_genotype(self, record: VcfRecord, uniforms: list[float]) -> list[int]:
        """Return the allele number of each haplotype."""
        numbers = []
        for haplotype in range(self.count):
            sample, copy = divmod(haplotype, 2)
            genotype = record.genotypes[sample] if record.genotypes else Genotype((MISSING,), True)
            if not genotype.phased and uniforms[2 * sample] < 0.5:
                copy = 1 - copy
            alleles = genotype.alleles
            numbers.append(alleles[min(copy, len(alleles) - 1)])
            self.skipped[_NO_GENOTYPE] += numbers[-1] == MISSING
        return numbers

    def _apart(self, edits: list[Edit], chrom: str) -> list[Edit]:
        """Leave out what overlaps an earlier edit of the same haplotype."""
        kept: list[Edit] = []
        reach, inserted = 0, -1
        for edit in sorted(edits, key=lambda edit: (edit.start, edit.end > edit.start)):
            insertion = edit.start == edit.end
            if edit.start < reach or (insertion and edit.start == inserted):
                if not self.skipped[OVERLAPS]:
                    self.notes.append(
                        f"Of variants that overlap on one haplotype the first is kept; the first "
                        f"left out is at {chrom}:{edit.start + 1}."
                    )
                self.skipped[OVERLAPS] += 1
                continue
            kept.append(edit)
            reach, inserted = max(reach, edit.end), edit.start if insertion else inserted
        return kept


def _places(
    block: Sequence[VcfRecord], before: tuple[int, int]
) -> tuple[npt.NDArray[np.uint64], tuple[int, int]]:
    """Give each record its position, and a number among the records of that position."""
    places = np.empty((len(block), 2), dtype=np.uint64)
    position, number = before
    for row, record in enumerate(block):
        number = number + 1 if record.position == position else 0
        position = record.position
        places[row] = position, number
    return places, (position, number)


def _key(seed: int, chrom: str, haplotype: int) -> np.uint64:
    """Hash what a haplotype's draws depend on besides the position."""
    text = f"{seed}\0{chrom}\0{haplotype}".encode()
    return np.uint64(int.from_bytes(hashlib.sha256(text).digest()[:8], "little"))


def _uniforms(key: np.uint64, places: npt.NDArray[np.uint64]) -> Uniforms:
    """Return one number in [0, 1) for each place: splitmix64 over position and number."""
    state = np.full(len(places), key, dtype=np.uint64)
    for column in places.T:
        state = state + (column + np.uint64(1)) * _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * _MIX_1
        state = (state ^ (state >> np.uint64(27))) * _MIX_2
        state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53

"""Single-base polymorphisms of a VCF file, checked against the genome."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import CODE_BITS, Codes, N, encode
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.intervals import match_names
from lightning_dna.genome.variants import edit_of
from lightning_dna.genome.vcf import (
    VcfRecord,
    check_contigs,
    frequencies,
    read_vcf,
    read_vcf_header,
)
from lightning_dna.tasks.strata import FREQUENCY_PREFIX

FREQUENCY_EDGES = (0.01, 0.05, 0.5)
"""Frequencies of the ALT allele at which a stratum begins."""
FREQUENCY_STRATA = tuple(FREQUENCY_PREFIX + bounds for bounds in ("0_1", "1_5", "5_50", "50_100"))
"""Names of the strata by frequency in per cent: below 1, below 5, below 50, and where ALT is the
common allele."""
UNKNOWN_FREQUENCY = len(FREQUENCY_STRATA)

_UNFIT = "REF is not what the genome has"


@dataclass(frozen=True, kw_only=True, eq=False)
class AlleleSites:
    """Sites with two alleles of one base each, in the order of the genome.

    Attributes:
        chroms: Names of the genome's chromosomes, which ``chrom_index`` points into.
        chrom_index: Chromosome of each site, shape ``(sites,)``.
        positions: 0-based position, shape ``(sites,)``.
        ref: Code of REF, 0 to 3, which is the genome's base, shape ``(sites,)``.
        alt: Code of ALT, 0 to 3, shape ``(sites,)``.
        stratum: Place of the frequency in `FREQUENCY_STRATA`, `UNKNOWN_FREQUENCY` where the file
            does not tell, shape ``(sites,)``.
        notes: What was left out, in sentences.
    """

    chroms: tuple[str, ...]
    chrom_index: npt.NDArray[np.int32]
    positions: npt.NDArray[np.int64]
    ref: Codes
    alt: Codes
    stratum: npt.NDArray[np.int64]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def digest(self) -> str:
        """What the sites are, wherever the file lies."""
        arrays = (self.chrom_index, self.positions, self.ref, self.alt, self.stratum)
        hasher = hashlib.sha256("\n".join(self.chroms).encode())
        for array in arrays:
            hasher.update(array.tobytes())
        return hasher.hexdigest()[:24]


class _Site(NamedTuple):
    """One site as it stands in the file."""

    chrom: int
    position: int
    ref: int
    alt: int
    stratum: int
    line: int


def read_allele_sites(path: Path, genome: Genome) -> AlleleSites:
    """Read the sites of a VCF file at which one base stands for another.

    Kept are records with one ALT allele that differs from REF in one base. A position that several
    records speak about has more than two alleles and is left out, and so is one that the genome
    does not know. Left-out records are counted in the notes.

    Args:
        path: The file, plain or gzip.
        genome: The genome.

    Raises:
        DataError: If the file cannot be used, or no chromosome of it is in the genome; if REF is
            not what the genome has, or a position not on its chromosome: the file is of another
            assembly.
    """
    check_contigs(read_vcf_header(path), genome.lengths, path)
    left: Counter[str] = Counter()
    reader, found = _Reader(path, genome), []
    for record in read_vcf(path):
        site = reader.site(record)
        if isinstance(site, str):
            left[site] += 1
        else:
            found.append(site)
    reader.refuse()
    found.sort()
    columns = np.array(found, dtype=np.int64).reshape(-1, len(_Site._fields)).T
    place = columns[:2]
    alike = (place[:, 1:] == place[:, :-1]).all(axis=0)
    several = np.concatenate([[False], alike]) | np.concatenate([alike, [False]])
    several = several[: columns.shape[1]]
    left["another record speaks about the same base"] += int(several.sum())
    chrom, position, ref, alt, stratum, _ = columns[:, ~several]
    return AlleleSites(
        chroms=genome.names,
        chrom_index=chrom.astype(np.int32),
        positions=position,
        ref=ref.astype(np.uint8),
        alt=alt.astype(np.uint8),
        stratum=stratum,
        notes=tuple(
            f"{count:,} record(s) of {path.name} left out: {why}."
            for why, count in left.items()
            if count
        ),
    )


class _Reader:
    """Places records on the genome, and remembers those that do not fit."""

    def __init__(self, path: Path, genome: Genome) -> None:
        self._path = path
        self._genome = genome
        self._numbers = {name: number for number, name in enumerate(genome.names)}
        self._known: dict[str, str | None] = {}
        self._wrong: list[str] = []
        self._records = 0

    def site(self, record: VcfRecord) -> _Site | str:
        """Return the site of a record; or, in words, why it is left out."""
        chrom = self._chrom(record.chrom)
        if chrom is None:
            return "on a sequence that the genome does not have"
        if not record.alts:
            return "no ALT allele"
        if len(record.alts) > 1:
            return "several ALT alleles"
        length = self._genome.lengths[chrom]
        if record.position < 0 or record.position + len(record.ref) > length:
            raise DataError(
                f"{self._path}, line {record.line}: {record.chrom}:{record.position + 1} does not "
                f"lie on chromosome '{chrom}' of {length} bases; the file belongs to another "
                f"assembly."
            )
        edit = edit_of(record, record.alts[0], length)
        if isinstance(edit, str) or edit.kind != "snv":
            return "not one base for another"
        self._records += 1
        ref = _code(record.ref[edit.start - record.position])
        here = int(self._genome.stored(chrom)[edit.start]) & CODE_BITS
        if here == N or ref == N:
            return "the base is not known"
        if here != ref:
            self._wrong.append(
                f"{record.chrom}:{edit.start + 1} (line {record.line}) has REF "
                f"{'ACGT'[ref]}, and the genome has {'ACGT'[here]} there"
            )
            return _UNFIT
        return _Site(
            self._numbers[chrom],
            edit.start,
            ref,
            _code(edit.alt),
            _frequency_stratum(record, self._path),
            record.line,
        )

    def refuse(self) -> None:
        """Raise if a record did not fit, or no chromosome did."""
        if self._wrong:
            raise DataError(
                f"{self._path}: {self._wrong[0]}; {len(self._wrong):,} of {self._records:,} sites "
                f"do not fit in all. Is the file of another assembly, or are its positions shifted?"
            )
        if self._known:
            match_names(self._known, self._genome.names, where=str(self._path), partly=True)

    def _chrom(self, name: str) -> str | None:
        """Return the genome's name of a chromosome, ``None`` if it has none."""
        if name not in self._known:
            try:
                found: Mapping[str, str] = match_names([name], self._genome.names, where="")
            except DataError:
                found = {}
            self._known[name] = found.get(name)
        return self._known[name]


def _code(letter: str) -> int:
    """Return the code of one letter."""
    return int(encode(letter)[0]) & CODE_BITS


def _frequency_stratum(record: VcfRecord, path: Path) -> int:
    """Return the stratum of the ALT allele's frequency."""
    try:
        found = frequencies(record)
    except DataError as error:
        raise DataError(f"{path}, {error}") from error
    if found is None:
        return UNKNOWN_FREQUENCY
    return int(np.searchsorted(FREQUENCY_EDGES, found[0], side="right"))

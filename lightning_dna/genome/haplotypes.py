"""Haplotypes: a genome with the variants of a VCF file put in, and coordinates back and forth."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightning_dna.atomic import replacing
from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import (
    CODE_BITS,
    SOFT_MASK,
    Codes,
    decode,
    encode,
    reverse_complement,
)
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.haplotype_map import CoordinateMap, Flags, Positions, Segment
from lightning_dna.genome.store import Record, RecordHasher, open_store, write_footer
from lightning_dna.genome.variant_draw import Include, draw_variants
from lightning_dna.genome.variants import Edit

_IN_MEMORY = 1 << 27  # bases of a genome from which on its haplotypes are kept in files
_CHUNK = 1 << 24  # divisible by 8, as the digest of the soft mask needs


class HaplotypeGenome(Genome):
    """One haplotype as a genome in its own coordinates, with those of the reference at hand.

    Everything a `Genome` offers, and `to_reference` and `from_reference`. Chromosome names and
    their order are those of the reference.
    """

    def __init__(
        self,
        records: tuple[Record, ...],
        stored: dict[str, Codes],
        *,
        store_path: Path | None,
        maps: dict[str, CoordinateMap],
    ) -> None:
        super().__init__(records, stored, store_path=store_path)
        self._maps = maps

    def to_reference(self, chrom: str, positions: Positions) -> tuple[Positions, Flags]:
        """Return where bases of the haplotype lie on the reference.

        Args:
            chrom: Chromosome name.
            positions: Haplotype positions, 0-based, any shape.

        Returns:
            Reference positions, ``int64``, and which bases are inserted: these, and additional
            copies of a duplication, have the position of the base before them.

        Raises:
            ConfigError: If there is no such chromosome.
            IndexError: If a position lies outside of it.
        """
        self.stored(chrom)
        return self._maps[chrom].to_reference(positions)

    def from_reference(self, chrom: str, positions: Positions) -> Positions:
        """Return where reference bases lie on the haplotype; -1 where it does not have them.

        Args:
            chrom: Chromosome name.
            positions: Reference positions, 0-based, any shape.

        Raises:
            ConfigError: If there is no such chromosome.
        """
        self.stored(chrom)
        return self._maps[chrom].from_reference(positions)

    def coordinates(self, chrom: str) -> CoordinateMap:
        """Return the map of a chromosome's coordinates.

        Raises:
            ConfigError: If there is no such chromosome.
        """
        self.stored(chrom)
        return self._maps[chrom]

    def __getstate__(self) -> dict[str, Any]:
        return {"genome": super().__getstate__(), "maps": self._maps}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state["genome"])
        self._maps = state["maps"]


@dataclass(frozen=True, kw_only=True)
class VariantBudget:
    """What was changed, and what was left out.

    Attributes:
        applied: For each haplotype, class of variant (`Edit.group`) to variants and bases changed.
        skipped: Reason to how many alleles were left out: of all haplotypes for what the allele is,
            of one haplotype for what it overlaps there.
        alleles: ALT alleles of the file on chromosomes of the genome.
        notes: What a reader should know, in sentences.
    """

    applied: tuple[dict[str, tuple[int, int]], ...]
    skipped: dict[str, int]
    alleles: int
    notes: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """Return the budget as rows: ``haplotype`` (from 1), ``class``, ``variants``, ``bases``."""
        return [
            {"haplotype": number, "class": name, "variants": variants, "bases": bases}
            for number, classes in enumerate(self.applied, start=1)
            for name, (variants, bases) in classes.items()
        ]

    def text(self) -> str:
        """Return the budget in lines for a reader."""
        lines = [f"{self.alleles} ALT alleles on chromosomes of the genome"]
        for number, classes in enumerate(self.applied, start=1):
            parts = [f"{name} {n} ({bases} bases)" for name, (n, bases) in classes.items()]
            lines.append(f"haplotype {number}: {', '.join(parts) or 'no variant'}")
        lines += [f"left out: {count} ({reason})" for reason, count in self.skipped.items()]
        return "\n".join((*lines, *self.notes))


@dataclass(frozen=True, kw_only=True, eq=False)
class Haplotypes:
    """What `build_haplotypes` returns.

    Attributes:
        genomes: The haplotypes.
        budget: What was changed, and what was left out.
        digest: Digest of all sequences.
    """

    genomes: tuple[HaplotypeGenome, ...]
    budget: VariantBudget
    digest: str


def build_haplotypes(
    genome: Genome,
    vcf: str | Path,
    *,
    include: Include,
    count: int,
    seed: int,
    sample: str | None = None,
    cache_folder: str | Path | None = None,
) -> Haplotypes:
    r"""Put the variants of a VCF file into a genome.

    Which haplotype carries what: see `draw_variants`. Replaced bases keep the soft mask, inserted
    ones have that of the base before them, copies that of their segment. A duplication copies the
    segment as the reference has it.

    Args:
        genome: The reference.
        vcf: The file, plain or gzip.
        include: ``"snv"``, ``"snv+indel"`` or ``"+sv"`` (those and structural variants).
        count: Number of haplotypes.
        seed: Seed of what is drawn.
        sample: Sample whose haplotypes to make; ``None`` for those of the file, in order.
        cache_folder: Where haplotypes are kept as files. Default: in memory; for genomes of more
            than 134 million bases ``$XDG_CACHE_HOME`` or ``~/.cache``, then
            ``lightning_dna/haplotypes``.

    Raises:
        ConfigError: If a setting is not allowed, or the sample is not in the file.
        DataError: If the file cannot be used, belongs to another assembly, REF is not what the
            genome has, or nothing of a chromosome is left.

    Example:
        >>> import tempfile
        >>> head = "##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        >>> line = "chr1\t3\t.\tG\tGTT\t.\tPASS\tAF=1\n"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "one.vcf")
        ...     _ = path.write_text(head + line)
        ...     reference = Genome.from_sequences({"chr1": "ACGCA"})
        ...     found = build_haplotypes(reference, path, include="+sv", count=1, seed=0)
        >>> decode(found.genomes[0].codes("chr1"))
        'ACGTTCA'
        >>> found.genomes[0].to_reference("chr1", np.arange(7))[0].tolist()
        [0, 1, 2, 2, 2, 3, 4]
    """
    vcf = Path(vcf).expanduser()
    carried = draw_variants(genome, vcf, include=include, count=count, seed=seed, sample=sample)
    folder = _folder(genome, cache_folder)
    genomes, applied = [], []
    for haplotype in range(count):
        edits = {chrom: lists[haplotype] for chrom, lists in carried.edits.items()}
        genomes.append(_haplotype(genome, edits, folder, vcf))
        applied.append(_applied(genome, edits))
    budget = VariantBudget(
        applied=tuple(applied),
        skipped={reason: n for reason, n in sorted(carried.skipped.items()) if n},
        alleles=carried.alleles,
        notes=carried.notes,
    )
    digest = hashlib.sha256(json.dumps([one.digest for one in genomes]).encode()).hexdigest()[:32]
    return Haplotypes(genomes=tuple(genomes), budget=budget, digest=digest)


def _folder(genome: Genome, given: str | Path | None) -> Path | None:
    """Return where haplotypes are kept as files, ``None`` for in memory."""
    if given is not None:
        return Path(given).expanduser().absolute()
    if sum(genome.lengths.values()) <= _IN_MEMORY:
        return None
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return base / "lightning_dna" / "haplotypes"


def _haplotype(
    genome: Genome, edits: dict[str, list[Edit]], folder: Path | None, vcf: Path
) -> HaplotypeGenome:
    """Make one haplotype, in memory or in a store."""
    if folder is None:
        records, stored, maps = [], {}, {}
        for name in genome.names:
            codes, maps[name] = apply_edits(genome.stored(name), edits.get(name, []))
            records.append(_record(name, codes, vcf))
            codes.setflags(write=False)
            stored[name] = codes
        return HaplotypeGenome(tuple(records), stored, store_path=None, maps=maps)
    identity = hashlib.sha256(repr((genome.digest, sorted(edits.items()))).encode()).hexdigest()
    path = folder / f"{identity[:24]}.store"
    maps, records = {}, []
    with replacing(path) as temporary, temporary.open("wb") as file:
        for name in genome.names:
            codes, maps[name] = apply_edits(genome.stored(name), edits.get(name, []))
            records.append(_record(name, codes, vcf))
            file.write(codes.tobytes())
        write_footer(file, records, {"haplotype": identity})
    store = open_store(path)
    if store is None:
        raise RuntimeError(f"a haplotype was written to {path} and cannot be read back")
    opened = Genome._from_store(store)
    stored = {name: opened.stored(name) for name in opened.names}
    return HaplotypeGenome(store.records, stored, store_path=path, maps=maps)


def _record(name: str, codes: Codes, vcf: Path) -> Record:
    """Describe one changed chromosome."""
    if len(codes) == 0:
        raise DataError(f"{vcf}: its deletions leave nothing of chromosome '{name}'; check END.")
    hasher = RecordHasher(name)
    for start in range(0, len(codes), _CHUNK):
        piece = codes[start : start + _CHUNK]
        hasher.update(decode(piece).encode("ascii"), piece)
    return hasher.finish()


def _applied(genome: Genome, edits: dict[str, list[Edit]]) -> dict[str, tuple[int, int]]:
    """Count variants and changed bases by class."""
    variants: Counter[str] = Counter()
    bases: Counter[str] = Counter()
    for chrom, made in edits.items():
        for edit in made:
            variants[edit.group] += 1
            bases[edit.group] += _changed(genome, chrom, edit)
    return {name: (variants[name], bases[name]) for name in sorted(variants)}


def _changed(genome: Genome, chrom: str, edit: Edit) -> int:
    """Count the bases that an edit changes, puts in or takes out."""
    if edit.kind != "mnv":
        return edit.size
    return int((genome.codes(chrom, edit.start, edit.end) != _codes(edit.alt)).sum())


def apply_edits(stored: Codes, edits: Sequence[Edit]) -> tuple[Codes, CoordinateMap]:
    """Change a chromosome.

    Args:
        stored: Its bytes, code plus soft-mask bit, shape ``(length,)``.
        edits: Sorted by start, none overlapping another.

    Returns:
        The new bytes, writable, and the map of coordinates.

    Example:
        >>> edits = [Edit(1, 2, "snv", "T"), Edit(3, 5, "deletion")]
        >>> decode(apply_edits(encode("ACGTac"), edits)[0])
        'ATGc'
    """
    base = _substituted(stored, edits)
    pieces: list[Codes] = []
    segments: list[Segment] = []
    at = 0

    def keep(end: int) -> None:
        pieces.append(base[at:end])
        segments.append(Segment(end - at, at, 1))

    for edit in edits:
        replaced = min(edit.end - edit.start, len(edit.alt))
        if edit.kind == "inversion":
            keep(edit.start)
            pieces.append(reverse_complement(base[edit.start : edit.end]))
            segments.append(Segment(edit.end - edit.start, edit.end - 1, -1))
        elif edit.kind in ("snv", "mnv"):
            continue
        else:
            keep(edit.start + replaced)
            pieces.append(_inserted(stored, edit, replaced))
            segments.append(Segment(len(pieces[-1]), max(0, edit.start + replaced - 1), 0))
        at = edit.end
    keep(len(stored))
    return np.concatenate(pieces), CoordinateMap(segments)


def _substituted(stored: Codes, edits: Sequence[Edit]) -> Codes:
    """Return a copy in which bases are replaced one for one."""
    base = stored.copy()
    starts, letters = [], []
    for edit in edits:
        replaced = min(edit.end - edit.start, len(edit.alt))
        if replaced:
            starts.append(np.arange(edit.start, edit.start + replaced, dtype=np.int64))
            letters.append(edit.alt[:replaced])
    if starts:
        at = np.concatenate(starts)
        base[at] = (base[at] & np.uint8(SOFT_MASK)) | _codes("".join(letters))
    return base


def _inserted(stored: Codes, edit: Edit, replaced: int) -> Codes:
    """Return the bases that an edit puts in beyond those it replaces one for one."""
    if edit.kind == "duplication":
        return np.tile(stored[edit.segment : edit.end], edit.copies)
    before = max(0, edit.start + replaced - 1)
    codes: Codes = _codes(edit.alt[replaced:]) | (stored[before] & np.uint8(SOFT_MASK))
    return codes


def _codes(letters: str) -> Codes:
    """Return base codes without a soft mask."""
    codes: Codes = np.bitwise_and(encode(letters), np.uint8(CODE_BITS))
    return codes

"""FASTA files as memory-mapped genomes: `Genome`.

``pyfaidx`` indexes and reads the file once; the codes go into a store in the cache folder
(`lightning_dna.genome.store`), and every later opening maps that store. Nothing is written beside
the user's file, which may lie in a read-only folder.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyfaidx
from filelock import FileLock

from lightning_dna.errors import DataError, unknown_name
from lightning_dna.genome.alphabet import CODE_BITS, SOFT_MASK, Codes, encode
from lightning_dna.genome.digest import genome_digest
from lightning_dna.genome.intervals import Intervals, covered, merge, read_bed
from lightning_dna.genome.plaintext import join_lines, plain_text
from lightning_dna.genome.repeat_annotation import RepeatAnnotation, is_repeatmasker
from lightning_dna.genome.store import Record, RecordHasher, Store, open_store, write_footer

_CHUNK = 1 << 24  # bases read and encoded at a time: bounds the memory, and is divisible by 8
_EXPECTED = "expected FASTA text (a line '>name', then sequence), plain or gzip"


class _UnevenLinesError(Exception):
    """The lines of a record differ in length, so that byte offsets cannot be computed."""


class Genome:
    """Chromosomes as byte arrays that cost no memory until they are read.

    Made by `Genome.open` or `Genome.from_sequences`. Coordinates are 0-based and half-open. A
    genome can be pickled: a process that receives it maps the same store again.

    Attributes:
        names: Chromosome names, in the order of the file.
        lengths: Bases of each chromosome.
        digests: GA4GH refget digest of each chromosome (upper-case letters of the file).
        soft_masked: Number of soft-masked bases of each chromosome.
        digest: Digest of the whole: names, order, sequences and soft mask.
    """

    def __init__(
        self, records: tuple[Record, ...], stored: dict[str, Codes], *, store_path: Path | None
    ) -> None:
        self.names = tuple(record.name for record in records)
        self.lengths = {record.name: record.length for record in records}
        self.digests = {record.name: record.digest for record in records}
        self.soft_masked = {record.name: record.soft_masked for record in records}
        self.digest = genome_digest((r.name, r.digest, r.mask_digest) for r in records)
        self._records = records
        self._stored = stored
        self._store_path = store_path

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        mask_bed: str | Path | None = None,
        cache_folder: str | Path | None = None,
    ) -> "Genome":
        """Open a FASTA file, encoding it on first use.

        The store is rebuilt when the file (or the BED file) changes in size, modification time or
        inode. Several processes may open the same file at once: one encodes, the others wait.

        Args:
            path: FASTA file; plain text, gzip or bgzip.
            mask_bed: BED file or RepeatMasker output (``.out``) whose intervals replace the soft
                mask given by lower case.
            cache_folder: Where stores are kept. Default: ``$XDG_CACHE_HOME`` or ``~/.cache``, then
                ``lightning_dna/genomes``.

        Returns:
            The genome.

        Raises:
            DataError: If a file is missing, empty, damaged or not what it should be; if names
                repeat; if a record has no sequence; if the cache folder cannot be written.
        """
        fasta = _existing(path, "genome")
        bed = None if mask_bed is None else _existing(mask_bed, "repeat BED file")
        folder = _store_folder(fasta, bed, cache_folder)
        stamp = _stamp(fasta, bed)
        try:
            store = open_store(folder / "genome.store", stamp)
            if store is None:
                folder.mkdir(parents=True, exist_ok=True)
                with FileLock(folder / "lock"):
                    # Another process may have finished it while this one waited.
                    store = open_store(folder / "genome.store", stamp)
                    store = store or _build(fasta, bed, folder, stamp)
        except OSError as error:
            raise DataError(
                f"cannot use the genome cache {folder}: {error}; free some space, or choose "
                f"another folder with the environment variable XDG_CACHE_HOME."
            ) from error
        return cls._from_store(store)

    @classmethod
    def from_sequences(cls, sequences: Mapping[str, str]) -> "Genome":
        """Make a genome in memory from letters; lower case is the soft mask.

        Args:
            sequences: Chromosome name to its letters, in order.

        Raises:
            DataError: If there is no sequence, one is empty, or one holds other letters.

        Example:
            >>> genome = Genome.from_sequences({"chr1": "ACGTnnacgt"})
            >>> genome.codes("chr1", 2, 6).tolist(), genome.soft_masked
            ([2, 3, 4, 4], {'chr1': 6})
        """
        if not sequences:
            raise DataError("a genome needs at least one sequence; got none.")
        records, stored = [], {}
        for name, letters in sequences.items():
            if not letters:
                raise DataError(f"sequence '{name}' has no bases; leave it out.")
            codes = _encode_record(letters, name, "the sequences given")
            hasher = RecordHasher(name)
            hasher.update(letters.encode("ascii"), codes)
            records.append(hasher.finish())
            stored[name] = codes
        return cls(tuple(records), _read_only(stored), store_path=None)

    @classmethod
    def _from_store(cls, store: Store) -> "Genome":
        """Cut the store's codes into chromosomes."""
        stored, offset = {}, 0
        for record in store.records:
            stored[record.name] = store.codes[offset : offset + record.length]
            offset += record.length
        return cls(store.records, stored, store_path=store.path)

    def stored(self, chrom: str) -> Codes:
        """Return a chromosome's bytes, code plus soft-mask bit: read-only, shape ``(length,)``.

        Raises:
            ConfigError: If there is no such chromosome.
        """
        try:
            return self._stored[chrom]
        except KeyError:
            raise unknown_name("chromosome", chrom, self.names) from None

    def codes(self, chrom: str, start: int = 0, end: int | None = None) -> Codes:
        """Return base codes 0 to 4 (A, C, G, T, N) of a stretch, without the soft mask.

        Args:
            chrom: Chromosome name.
            start: First base, 0-based.
            end: End, excluded; ``None`` for the end of the chromosome.

        Returns:
            A new array of shape ``(end - start,)``.

        Raises:
            ConfigError: If there is no such chromosome.
            DataError: If the stretch does not lie within it.
        """
        return np.bitwise_and(self._slice(chrom, start, end), CODE_BITS)

    def select(self, chroms: Sequence[str]) -> "Genome":
        """Return a genome of some of the chromosomes, in the order of this one, without a copy.

        Raises:
            ConfigError: If there is no such chromosome.
        """
        stored = {chrom: self.stored(chrom) for chrom in chroms}
        records = tuple(record for record in self._records if record.name in stored)
        return Genome(records, stored, store_path=None)

    def soft_mask(
        self, chrom: str, start: int = 0, end: int | None = None
    ) -> npt.NDArray[np.bool_]:
        """Flag the soft-masked bases of a stretch; arguments, shape and errors as `codes`."""
        flags: npt.NDArray[np.bool_] = (self._slice(chrom, start, end) & SOFT_MASK) != 0
        return flags

    def _slice(self, chrom: str, start: int, end: int | None) -> Codes:
        """Return the stored bytes of a stretch, or refuse it."""
        stored = self.stored(chrom)
        end = len(stored) if end is None else end
        if not 0 <= start <= end <= len(stored):
            raise DataError(
                f"{chrom}:{start}-{end} does not lie within chromosome '{chrom}' of {len(stored)} "
                f"bases; expected 0 <= start <= end <= {len(stored)}."
            )
        return stored[start:end]

    def __repr__(self) -> str:
        bases = sum(self.lengths.values())
        return f"Genome({len(self.names)} chromosomes, {bases} bases, digest {self.digest})"

    def __getstate__(self) -> dict[str, Any]:
        if self._store_path is None:
            return {"records": self._records, "stored": self._stored}
        return {"store_path": self._store_path, "digest": self.digest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "stored" in state:
            self.__dict__ = Genome(
                state["records"], _read_only(state["stored"]), store_path=None
            ).__dict__
            return
        store = open_store(state["store_path"])
        genome = None if store is None else Genome._from_store(store)
        if genome is None or genome.digest != state["digest"]:
            raise DataError(
                f"the genome store {state['store_path']} was removed or rebuilt from other data "
                f"since this genome was opened; open the FASTA file again."
            )
        self.__dict__ = genome.__dict__


def _read_only(stored: dict[str, Codes]) -> dict[str, Codes]:
    """Protect arrays held in memory as a map of a file is protected."""
    for codes in stored.values():
        codes.setflags(write=False)
    return stored


def _existing(path: str | Path, what: str) -> Path:
    """Resolve a path to a regular file that can be read and is not empty."""
    resolved = Path(path).expanduser().resolve()
    if not resolved.exists():
        raise DataError(f"{what} {path} does not exist; check the path.")
    if not resolved.is_file():
        raise DataError(f"{what} {path} is not a file; give the path of one.")
    if resolved.stat().st_size == 0:
        raise DataError(f"{what} {path} is empty; was its download cut off?")
    if not os.access(resolved, os.R_OK):
        raise DataError(f"{what} {path} cannot be read; check its permissions.")
    return resolved


def _store_folder(fasta: Path, bed: Path | None, cache_folder: str | Path | None) -> Path:
    """Name the cache folder of one FASTA file under one soft mask."""
    if cache_folder is None:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        cache_folder = Path(base) / "lightning_dna" / "genomes"
    key = hashlib.sha256(f"{fasta}\0{bed or ''}".encode()).hexdigest()[:16]
    return Path(cache_folder).expanduser().absolute() / f"{fasta.name.split('.')[0]}-{key}"


def _stamp(fasta: Path, bed: Path | None) -> dict[str, Any]:
    """Describe the files' present state: equal stamps, equal contents."""
    stats = {"fasta": fasta.stat()} | ({} if bed is None else {"mask_bed": bed.stat()})
    return {name: [stat.st_size, stat.st_mtime_ns, stat.st_ino] for name, stat in stats.items()}


def _build(fasta: Path, bed: Path | None, folder: Path, stamp: dict[str, Any]) -> Store:
    """Encode a FASTA file into its store; the caller holds the folder's lock."""
    for leftover in folder.glob("build-*"):
        shutil.rmtree(leftover)  # of a process that was killed: whoever holds the lock is alone
    with tempfile.TemporaryDirectory(prefix="build-", dir=folder) as name:
        work = Path(name)
        source = plain_text(fasta, work / "plain.fa")
        try:
            _encode_file(source, bed, work, stamp, shown=fasta)
        except _UnevenLinesError:
            source = join_lines(source, work / "joined.fa")
            try:
                _encode_file(source, bed, work, stamp, shown=fasta)
            except _UnevenLinesError as error:
                raise DataError(f"{fasta} is not FASTA: {_EXPECTED}.") from error
        if _stamp(fasta, bed) != stamp:
            raise DataError(f"{fasta} changed while it was read; try again when it is complete.")
        (work / "genome.store").replace(folder / "genome.store")
    store = open_store(folder / "genome.store", stamp)
    if store is None:
        raise RuntimeError(f"a genome store was written to {folder} and cannot be read back")
    return store


def _encode_file(
    source: Path, bed: Path | None, work: Path, stamp: dict[str, Any], *, shown: Path
) -> None:
    """Write ``work/genome.store`` from plain FASTA text; ``shown`` is the name for messages."""
    index = work / f"{source.name}.fai"
    with _indexed(source, index, shown) as fasta, (work / "genome.store").open("wb") as file:
        lengths = {name: len(fasta[name]) for name in fasta.keys()}  # noqa: SIM118
        for name, length in lengths.items():
            if length == 0:
                raise DataError(
                    f"{shown}: record '{name}' has no sequence; remove its header line."
                )
        repeats = None if bed is None else _repeats(bed, lengths)
        records = []
        for name, length in lengths.items():
            mask = None if repeats is None else merge(repeats[name])
            hasher = RecordHasher(name)
            for start in range(0, length, _CHUNK):
                end = min(start + _CHUNK, length)
                letters = _fetch(fasta, name, start, end)
                codes = _encode_record(letters, name, str(shown), offset=start)
                if mask is not None:
                    codes = _replace_mask(codes, mask, start)
                hasher.update(letters.encode("ascii"), codes)
                file.write(codes.tobytes())
            records.append(hasher.finish())
        write_footer(file, records, stamp)


def _repeats(path: Path, lengths: dict[str, int]) -> dict[str, Intervals]:
    """Read the repeats of each chromosome from a BED file or from RepeatMasker output."""
    if not is_repeatmasker(path):
        return read_bed(path, lengths)
    found = RepeatAnnotation.read(path, lengths)
    return {name: found.intervals(name) for name in lengths}


def _indexed(source: Path, index: Path, shown: Path) -> pyfaidx.Fasta:
    """Open a plain-text file with pyfaidx, its index at a place of ours."""
    try:
        return pyfaidx.Fasta(
            str(source), indexname=str(index), as_raw=True, duplicate_action="stop"
        )
    except pyfaidx.FastaIndexingError as error:
        if "not consistent" in str(error):
            raise _UnevenLinesError from error
        raise DataError(f"{shown} is not FASTA: {_EXPECTED}.") from error
    except RuntimeError as error:
        raise _UnevenLinesError from error  # what its index does not foresee about blank lines
    except UnicodeDecodeError as error:
        raise DataError(f"{shown} is not text: {_EXPECTED}.") from error
    except ValueError as error:
        if "Duplicate key" not in str(error):
            raise
        name = str(error).partition('"')[2].rstrip('"')
        raise DataError(
            f"{shown}: record name '{name}' stands twice; a name is the first word of a header "
            f"line, and each must be different."
        ) from error


def _fetch(fasta: pyfaidx.Fasta, name: str, start: int, end: int) -> str:
    """Read one stretch as letters."""
    try:
        letters = str(fasta.faidx.fetch(name, start + 1, end))  # 1-based and inclusive there
    except UnicodeDecodeError as error:
        raise _UnevenLinesError from error  # a character of several bytes, cut in two
    if len(letters) != end - start:
        raise _UnevenLinesError  # a last line longer than the others passes the index
    return letters


def _encode_record(letters: str, name: str, where: str, *, offset: int = 0) -> Codes:
    """Encode part of a record; a wrong letter is reported with its place in the record."""
    try:
        return encode(letters, offset=offset)
    except DataError as error:
        raise DataError(f"{where}, record '{name}': {error}") from error


def _replace_mask(codes: Codes, mask: Intervals, start: int) -> Codes:
    """Return codes whose soft mask is that of a set of intervals, not that of the letters' case."""
    soft = covered(mask, start, start + len(codes)).astype(np.uint8) * np.uint8(SOFT_MASK)
    masked: Codes = np.bitwise_or(np.bitwise_and(codes, np.uint8(CODE_BITS)), soft)
    return masked

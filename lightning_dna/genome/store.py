"""The file a genome is encoded into once and memory-mapped from afterwards.

Layout: the codes of all records, one byte per base, back to back from offset 0; then a JSON footer;
then the footer's length and a magic word. A file cut short anywhere has no magic word at its end,
so a write that was killed can never be taken for a genome.
"""

import hashlib
import json
import os
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lightning_dna.genome.alphabet import SOFT_MASK, Codes
from lightning_dna.genome.digest import truncated_digest

FORMAT = 1  # raise it whenever the codes or the footer change meaning: older stores are rebuilt
_MAGIC = b"LDNA\x00GEN"
_TAIL = struct.Struct("<Q8s")


@dataclass(frozen=True)
class Record:
    """What is known of one chromosome besides its codes.

    Args:
        name: First word of the FASTA header.
        length: Bases.
        digest: GA4GH refget digest of the letters.
        soft_masked: Number of soft-masked bases.
        mask_digest: Digest of the soft-mask bits.
    """

    name: str
    length: int
    digest: str
    soft_masked: int
    mask_digest: str


class RecordHasher:
    """Builds a `Record` from the pieces of its sequence, in order.

    Every piece but the last must have a length divisible by 8: mask bits are packed into bytes.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._length = 0
        self._soft_masked = 0
        self._sequence = hashlib.sha512()
        self._mask = hashlib.sha512()

    def update(self, letters: bytes, codes: Codes) -> None:
        """Take in the next piece, as letters and as stored codes."""
        if self._length % 8:
            raise RuntimeError("only the last piece may have a length not divisible by 8")
        soft = (codes & SOFT_MASK) != 0
        self._length += len(codes)
        self._soft_masked += int(np.count_nonzero(soft))
        self._sequence.update(letters.upper())
        self._mask.update(np.packbits(soft).tobytes())

    def finish(self) -> Record:
        """Return the record of everything taken in."""
        return Record(
            name=self._name,
            length=self._length,
            digest="SQ." + truncated_digest(self._sequence.digest()),
            soft_masked=self._soft_masked,
            mask_digest=truncated_digest(self._mask.digest()),
        )


@dataclass(frozen=True)
class Store:
    """An opened store.

    Args:
        path: Its file.
        records: One per chromosome, in the order of the FASTA file.
        codes: Read-only memory map of all codes, back to back.
    """

    path: Path
    records: tuple[Record, ...]
    codes: Codes


def write_footer(file: BinaryIO, records: Sequence[Record], stamp: dict[str, Any]) -> None:
    """Close off a file into which the codes of ``records`` were written, and force it to disk."""
    content = {"format": FORMAT, "stamp": stamp, "records": [asdict(record) for record in records]}
    footer = json.dumps(content).encode("utf-8")
    file.write(footer)
    file.write(_TAIL.pack(len(footer), _MAGIC))
    file.flush()
    os.fsync(file.fileno())


def open_store(path: Path, stamp: dict[str, Any] | None = None) -> Store | None:
    """Map a store, or return ``None`` when there is none that can be used.

    Args:
        path: The store's file.
        stamp: What the store must have been made from; ``None`` takes any.

    Returns:
        The store, or ``None`` if the file is missing, cut short, of another format, or made from
        something else.
    """
    try:
        with path.open("rb") as file:
            content, codes_length = _read_footer(file)
            if content is None or (stamp is not None and content["stamp"] != stamp):
                return None
            # Mapped from the open file: a replacement between the two reads cannot mix them.
            mapped = np.memmap(file, dtype=np.uint8, mode="r", shape=(codes_length,))
    except (FileNotFoundError, NotADirectoryError):
        return None
    records = tuple(Record(**record) for record in content["records"])
    if sum(record.length for record in records) != codes_length:
        return None
    # A plain view: slicing np.memmap itself costs several microseconds a time.
    return Store(path=path, records=records, codes=np.asarray(mapped))


def _read_footer(file: BinaryIO) -> tuple[dict[str, Any] | None, int]:
    """Return the footer and the number of bytes before it; no footer when the file is not whole."""
    size = file.seek(0, os.SEEK_END)
    if size <= _TAIL.size:
        return None, 0
    file.seek(size - _TAIL.size)
    footer_length, magic = _TAIL.unpack(file.read(_TAIL.size))
    codes_length = size - _TAIL.size - footer_length
    if magic != _MAGIC or codes_length <= 0:
        return None, 0
    file.seek(codes_length)
    try:
        content = json.loads(file.read(footer_length))
    except ValueError:
        return None, 0
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return None, 0
    return content, codes_length

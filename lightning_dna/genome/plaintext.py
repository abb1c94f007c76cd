"""Files in whatever packing they come: FASTA as indexable plain text, annotations line by line."""

import gzip
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

from lightning_dna.errors import DataError

_GZIP = b"\x1f\x8b"
_OTHER_PACKINGS = {
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
# pyfaidx decides by the name alone, so text under one of these names needs a copy too.
_PACKED_SUFFIXES = (".gz", ".bgz", ".bz2", ".zip")
# bgzip marks its blocks with an extra field "BC" and ends every file with this empty block.
_BGZF_FIELD = b"BC\x02\x00"
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def plain_text(path: Path, copy: Path) -> Path:
    """Return a plain-text form of a file: itself, or ``copy`` after decompressing into it.

    Args:
        path: The file; what it is shows in its first bytes, not in its name.
        copy: Where to put the text if a copy is needed.

    Raises:
        DataError: If the file is packed in another way than gzip, damaged, cut short or empty.
    """
    with path.open("rb") as file:
        head = file.read(18)
    for magic, packing in _OTHER_PACKINGS.items():
        if head.startswith(magic):
            raise DataError(f"{path} is packed with {packing}; unpack it, or pack it with gzip.")
    if head.startswith(_GZIP):
        _decompress(path, copy, blocked=head[12:16] == _BGZF_FIELD)
        return copy
    if path.name.lower().endswith(_PACKED_SUFFIXES):
        shutil.copyfile(path, copy)
        return copy
    return path


def _decompress(path: Path, copy: Path, *, blocked: bool) -> None:
    """Stream a gzip file into ``copy``, never holding more than a block of it."""
    with copy.open("wb") as target, gzip.open(path, "rb") as packed:
        while True:
            try:
                block = packed.read(1 << 20)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise DataError(
                    f"{path} is damaged or cut short ({error}); download it again."
                ) from error
            if not block:
                break
            target.write(block)
    # A bgzip file cut between two blocks is valid gzip; only its end marker is missing.
    if blocked and _tail(path, len(_BGZF_END)) != _BGZF_END:
        raise DataError(f"{path} is cut short (no bgzip end marker); download it again.")
    if copy.stat().st_size == 0:
        raise DataError(f"{path} unpacks to nothing; was it made from an empty file?")


def text_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file with their line ends, decompressing gzip and bgzip.

    A byte-order mark, which some programs write first, is no part of the text.

    Args:
        path: The file; what it is shows in its first bytes, not in its name.

    Raises:
        DataError: If the file cannot be read, is not text, or is cut off; the message says after
            which line.
    """
    number = 0
    try:
        with path.open("rb") as raw:
            head = raw.read(18)
        packed = head.startswith(_GZIP)
        opened = gzip.open if packed else open
        with opened(path, "rt", encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):  # noqa: B007 - the message counts too
                yield line
        if head[12:16] == _BGZF_FIELD and _tail(path, len(_BGZF_END)) != _BGZF_END:
            raise EOFError("no bgzip end marker, so it is cut short")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        after = f" after line {number}" if number else ""
        raise DataError(
            f"cannot read {path}{after}: {error}; check the path and the file."
        ) from error


def _tail(path: Path, length: int) -> bytes:
    """Return the last bytes of a file that holds at least that many."""
    with path.open("rb") as file:
        file.seek(-length, 2)
        return file.read(length)


def join_lines(path: Path, copy: Path) -> Path:
    """Write each record's sequence on one line, without blank lines, and return ``copy``.

    For files whose lines differ in length within a record: valid FASTA, but a base's byte offset
    cannot be computed from its position.
    """
    with path.open("rb") as source, copy.open("wb") as target:
        for line in source:
            text = line.strip()
            if text.startswith(b">"):
                target.write(b"\n" + text + b"\n" if target.tell() else text + b"\n")
            else:
                target.write(text)
        target.write(b"\n")
    return copy

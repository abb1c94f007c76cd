"""Archives unpacked so that nothing can be written outside of the folder that was named."""

import bz2
import gzip
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from lightning_dna import atomic
from lightning_dna.data.download import check_space
from lightning_dna.errors import DataError

_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_LITTER = ("__MACOSX", ".DS_Store")  # what some systems add to the archives they write
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)
_DAMAGE = (*_BROKEN, OSError, RuntimeError)
_BLOCK = 1 << 20


class _Readable(Protocol):
    """What packed files and members of archives have in common."""

    def read(self, size: int, /) -> bytes: ...


_PACKED: dict[str, Callable[[Path], AbstractContextManager[_Readable]]] = {
    ".gz": gzip.GzipFile,
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}


@dataclass(frozen=True, kw_only=True)
class _Member:
    """One file of an archive."""

    name: str
    size: int


def is_archive(name: str) -> bool:
    """Tell from a file's name whether it can be unpacked.

    Example:
        >>> is_archive("GUE.zip"), is_archive("train.csv.gz")
        (True, False)
    """
    return name.endswith(_ENDINGS)


def check_whole(path: Path, name: str) -> None:
    """Refuse a file that is empty, or is packed or an archive and breaks off or is damaged.

    Args:
        path: The file.
        name: Its name, whose ending tells how it is packed; other files need only hold something.

    Raises:
        DataError: If it has no bytes, or cannot be read to its end.
    """
    if not path.stat().st_size:
        raise DataError(f"{name} has 0 bytes.")
    if is_archive(name):
        try:
            _read_archive(path)
        except _DAMAGE as error:
            raise _damaged(name, error) from error
        return
    packed = _PACKED.get(PurePosixPath(name).suffix)
    if packed is None:
        return
    try:
        with packed(path) as file:
            _read_on(file)
    except _DAMAGE as error:
        ending = PurePosixPath(name).suffix
        raise DataError(f"{name} is not a whole {ending} file ({_reason(error)}).") from error


def _read_archive(path: Path) -> None:
    """Read every member; an archive has at least one."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            found = any(not row.is_dir() for row in packed.infolist())
            for row in packed.infolist():
                if not row.flag_bits & 1:  # one under a password cannot be read, whole or not
                    with packed.open(row) as file:
                        _read_on(file)
    else:
        with tarfile.open(path) as packed_tar:
            found = any(not entry.isdir() for entry in packed_tar.getmembers())
            _check_end(packed_tar)
    if not found:
        raise EOFError("it holds no files")


def _check_end(packed: tarfile.TarFile) -> None:
    """Refuse a tar archive that was cut between two members: it then lacks the empty last block."""
    file = packed.fileobj
    if file is not None:
        file.seek(packed.offset)
        block = file.read(tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE or any(block):
            raise EOFError("it breaks off after a member")
        _read_on(file)


def _read_on(file: _Readable) -> None:
    """Read a file to its end, where the checksum of what is packed lies."""
    while file.read(_BLOCK):
        pass


def unpack(archive: Path, folder: Path, *, rename: Mapping[str, str] | None = None) -> list[Path]:
    """Unpack a zip or tar archive, file by file, each written whole or not at all.

    Args:
        archive: The archive.
        folder: Where to; files that are there are replaced.
        rename: Name of a folder at the top of the archive to the one that it gets here.

    Returns:
        The files written, in the archive's order.

    Raises:
        DataError: If the archive is damaged, a member would lie outside of ``folder`` or is a link
            or a device, or the disk cannot hold it.
    """
    try:
        members = _members(archive)
    except _DAMAGE as error:
        raise _damaged(str(archive), error) from error
    targets = {member.name: _target(archive, member.name, rename or {}) for member in members}
    folder.mkdir(parents=True, exist_ok=True)
    check_space(folder, sum(member.size for member in members), what=archive.name)
    written = []
    for name, source in _contents(archive, set(targets)):
        path = folder / targets[name]
        with atomic.replacing(path) as temporary, temporary.open("wb") as file:
            _copy(archive, source, file)
        written.append(path)
    return written


def _members(archive: Path) -> list[_Member]:
    """List the files of an archive; refuse links and devices."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            rows = [row for row in packed.infolist() if not row.is_dir()]
            for row in rows:
                kind = (row.external_attr >> 16) & 0o170000
                if kind not in (0, 0o100000):
                    raise _unsafe(archive, row.filename, "is a link or a device")
            found = [_Member(name=row.filename, size=row.file_size) for row in rows]
    else:
        with tarfile.open(archive) as packed_tar:
            found = []
            for entry in packed_tar:
                if entry.isdir():
                    continue
                if not entry.isfile():
                    raise _unsafe(archive, entry.name, "is a link or a device")
                found.append(_Member(name=entry.name, size=entry.size))
            _check_end(packed_tar)
    return [
        row for row in found if not any(part in _LITTER for part in PurePosixPath(row.name).parts)
    ]


def _target(archive: Path, name: str, rename: Mapping[str, str]) -> PurePosixPath:
    """Return the place of a member within the folder, or refuse it."""
    path = PurePosixPath(name.replace("\\", "/"))
    parts = [part for part in path.parts if part != "."]
    if path.is_absolute() or ".." in parts or not parts or ":" in parts[0]:
        raise _unsafe(archive, name, "would lie outside of the folder")
    return PurePosixPath(rename.get(parts[0], parts[0]), *parts[1:])


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile | tarfile.TarFile]:
    """Open an archive of either kind."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            yield packed
    else:
        with tarfile.open(archive) as packed_tar:
            yield packed_tar


def _contents(archive: Path, names: set[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and content of the members, in order."""
    with _opened(archive) as packed:
        if isinstance(packed, zipfile.ZipFile):
            for row in packed.infolist():
                if row.filename in names:
                    with packed.open(row) as source:
                        yield row.filename, source
        else:
            for entry in packed:
                source_tar = packed.extractfile(entry) if entry.name in names else None
                if source_tar is not None:
                    with source_tar:
                        yield entry.name, source_tar


def _copy(archive: Path, source: IO[bytes], file: IO[bytes]) -> None:
    """Copy a member; what it cannot be read for is damage of the archive."""
    try:
        shutil.copyfileobj(source, file, _BLOCK)
    except _BROKEN as error:
        raise _damaged(str(archive), error) from error


def _damaged(archive: str, error: Exception) -> DataError:
    """Build the error for an archive that cannot be read."""
    return DataError(f"{archive} is not a whole zip or tar archive ({_reason(error)}).")


def _reason(error: Exception) -> str:
    """Return what an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _unsafe(archive: Path, name: str, why: str) -> DataError:
    """Build the error for a member that must not be unpacked."""
    return DataError(f"{archive}: its member '{name}' {why}; nothing of it was unpacked.")

"""Archives unpacked so that nothing can be written outside of the folder that was named."""

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from lightning_dna import atomic
from lightning_dna.data.download import check_space
from lightning_dna.errors import DataError

_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_LITTER = ("__MACOSX", ".DS_Store")  # what some systems add to the archives they write
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, RuntimeError)


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
        raise _damaged(archive, error) from error
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
        shutil.copyfileobj(source, file, 1 << 20)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: Exception) -> DataError:
    """Build the error for an archive that cannot be read."""
    reason = " ".join(str(error).split())
    return DataError(f"{archive} is not a whole zip or tar archive ({reason}).")


def _unsafe(archive: Path, name: str, why: str) -> DataError:
    """Build the error for a member that must not be unpacked."""
    return DataError(f"{archive}: its member '{name}' {why}; nothing of it was unpacked.")

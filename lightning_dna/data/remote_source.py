"""Data sources: YAML files that say where published data lie, and the cache that they come through.

Every file goes through a cache, so that a second folder, or a machine without a network, gets it
from there; what is in the cache counts for the address that it came from. Where a source names no
checksum, the file must be readable to its end; then the checksum of the first download is recorded
beside the data and compared from then on.
"""

import os
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from lightning_dna import atomic, catalog
from lightning_dna.data.archives import check_whole, is_archive, unpack
from lightning_dna.data.download import (
    Patience,
    Progress,
    fault_of_address,
    fetch,
    set_aside,
    sha256_of,
)
from lightning_dna.data.download_lock import OWN_NAMES, DownloadLock, digest_of
from lightning_dna.errors import ConfigError, DataError, unknown_name
from lightning_dna.settings import build, load_yaml

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TEXTS = ("name", "title", "description", "licence", "citation", "url")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Bar = Callable[[str], AbstractContextManager[Progress | None]]


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file of a source.

    Attributes:
        url: Its address, ``http`` or ``https``.
        path: Its place below the folder of the data, with ``/``; of an archive that is unpacked,
            its name in the cache.
        sha256: Its checksum; ``None`` where the publishers give none.
        bytes: Its size, for lists; ``None`` if not known.
        unpack: Whether it is an archive whose files are wanted.
        into: Folder below that of the data into which it is unpacked.
        rename: Folder at the top of the archive to the name that it gets.

    Raises:
        ConfigError: If a value is not allowed.
    """

    url: str
    path: str
    sha256: str | None = None
    bytes: int | None = None
    unpack: bool = False
    into: str = ""
    rename: dict[str, str] | None = None

    def __post_init__(self) -> None:
        wrong = fault_of_address(self.url)
        if wrong is not None:
            raise ConfigError(f"url is '{self.url}'; {wrong}")
        for field in ("path", "into"):
            place = PurePosixPath(getattr(self, field))
            if place.is_absolute() or ".." in place.parts:
                raise ConfigError(f"{field} is '{place}'; give one below the folder of the data.")
        if not PurePosixPath(self.path).name:
            raise ConfigError("path is empty; give the file a name.")
        if str(PurePosixPath(self.path)) in OWN_NAMES:
            raise ConfigError(f"path is '{self.path}', which the cache needs; choose another name.")
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ConfigError(f"sha256 is '{self.sha256}'; expected 64 hexadecimal digits.")
        if self.unpack and not is_archive(self.path):
            raise ConfigError(
                f"path '{self.path}' is no zip or tar archive; it cannot be unpacked."
            )


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Where published data lie.

    Attributes:
        name: Name on the command line.
        title: One line for lists.
        description: What the files are, and what to know about their addresses.
        licence: Licence of the data.
        citation: Who made them.
        url: Page of the publishers.
        files: The files.
    """

    name: str
    title: str
    description: str = ""
    licence: str = ""
    citation: str = ""
    url: str = ""
    files: tuple[RemoteFile, ...]


def load_source(name_or_path: str | Path) -> DataSource:
    """Read and check a data source.

    Args:
        name_or_path: A shipped name such as ``"gue"``, or the path of a YAML file.

    Raises:
        ConfigError: If there is no such source, or something in it is not allowed.
    """
    path = catalog.resolve("source", name_or_path)
    content = load_yaml(path)
    for key in ("name", "title", "files"):
        if key not in content:
            raise ConfigError(f"{path}: key '{key}' is missing; every data source has one.")
    rows = content.pop("files")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{path}: key 'files' must list one or more files, each with its url.")
    files = []
    for number, row in enumerate(rows, start=1):
        where = f"{path}: file {number}"
        for key in ("url", "path"):
            if key not in row:
                raise ConfigError(f"{where}: key '{key}' is missing.")
        files.append(build(RemoteFile, row, where=where))
    if not _NAME.fullmatch(str(content["name"])):
        raise ConfigError(f"{path}: name '{content['name']}' is not allowed; use letters and '-'.")
    paths = [file.path for file in files]
    twice = [name for name in paths if paths.count(name) > 1]
    if twice:
        raise ConfigError(f"{path}: path '{twice[0]}' stands twice; each file needs its own.")
    texts: dict[str, str] = {}
    for key, value in content.items():
        if key not in _TEXTS:
            raise unknown_name("key", str(key), (*_TEXTS, "files"), where=str(path))
        if not isinstance(value, str):
            raise ConfigError(f"{path}: key '{key}' holds {value!r}; expected text.")
        texts[key] = " ".join(value.split())
    return DataSource(files=tuple(files), **texts)


def cache_folder() -> Path:
    """Return where downloads are kept: below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "lightning_dna" / "downloads"


def get_source(
    source: DataSource,
    folder: Path,
    *,
    cache: Path | None = None,
    again: bool = False,
    patience: Patience | None = None,
    bar: Bar | None = None,
) -> tuple[list[str], list[Path]]:
    """Bring the files of a source into a folder, from the cache where they are there.

    Args:
        source: The source.
        folder: Folder of the data.
        cache: Folder of the cache; default: `cache_folder`.
        again: Fetch every file, whatever the cache holds, and record its checksum anew where the
            source names none.
        patience: How often to try again.
        bar: Makes a progress bar for one file.

    Returns:
        A line on each file, and the files written.

    Raises:
        DataError: If a file cannot be had or is not what it should be; what is whole is kept, and
            the same command goes on.
    """
    place = (cache or cache_folder()) / source.name
    place.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    written: list[Path] = []
    try:
        with FileLock(place / "lock", timeout=0):
            lock = DownloadLock(source.name, place, folder)
            getting = _Getting(place, folder, lock, again, patience, bar)
            for file in source.files:
                line, new = _bring(file, getting)
                lines.append(line)
                written += new
    except Timeout as error:
        raise DataError(
            f"another process is fetching '{source.name}' into {place}; wait until it has ended."
        ) from error
    return [*lines, lock.remark()], written


@dataclass(frozen=True)
class _Getting:
    """What one call of `get_source` brings its files with."""

    place: Path
    folder: Path
    lock: DownloadLock
    again: bool
    patience: Patience | None
    bar: Bar | None


def _bring(file: RemoteFile, getting: _Getting) -> tuple[str, list[Path]]:
    """Bring one file: from the net or the cache into the cache, and from there into its place."""
    cached = getting.place / file.path
    found, how = _in_cache(file, cached, getting)
    if found is None:
        found = _fetched(file, cached, getting)
    size = cached.stat().st_size
    if file.unpack:
        return _unpacked(file, cached, getting, found, how)
    target = getting.folder / file.path
    written = []
    if not (target.is_file() and sha256_of(target) == found):
        with atomic.replacing(target) as temporary:
            shutil.copyfile(cached, temporary)
        written.append(target)
    getting.lock.record(file, found, size, None)
    return f"{file.path}  {size:,} bytes, {how}, sha256 {found}", written


def _in_cache(file: RemoteFile, cached: Path, getting: _Getting) -> tuple[str | None, str]:
    """Return the checksum of the file in the cache, if it is the one wanted, and what to say."""
    if not cached.is_file():
        return None, "fetched"
    if getting.again:
        return None, "fetched again"
    found, expected = sha256_of(cached), getting.lock.expected(file)
    if expected is not None and found != expected:
        aside = set_aside(cached, cached)
        return None, f"fetched again; the cache held another file, kept as {aside}"
    if file.sha256 is None and getting.lock.is_of_another_address(file, found):
        return None, "fetched; the cache held the file of another address"
    if file.sha256 is None and not getting.lock.known(file, found):
        try:  # put there by hand, or by a run that was killed before it could record it
            check_whole(cached, cached.name)
        except DataError as error:
            aside = set_aside(cached, cached)
            raise DataError(
                f"{cached}: {error} Nothing is recorded, and the file is kept aside as {aside}; "
                f"run the same command to fetch it from {file.url}."
            ) from error
    return found, "from the cache"


def _fetched(file: RemoteFile, cached: Path, getting: _Getting) -> str:
    """Fetch one file into the cache; say where an expected checksum comes from if it is not met."""
    expected = file.sha256 if getting.again else getting.lock.expected(file)

    def check(path: Path) -> None:
        check_whole(path, cached.name)

    def go(progress: Progress | None) -> str:
        return fetch(
            file.url,
            cached,
            sha256=expected,
            check=check if file.sha256 is None else None,
            patience=getting.patience,
            progress=progress,
        )

    try:
        if getting.bar is None:
            return go(None)
        with getting.bar(file.path) as progress:
            return go(progress)
    except DataError as error:
        if expected is None or file.sha256 is not None or "sha256 found" not in str(error):
            raise
        raise DataError(
            f"{error} The expected one was recorded on the first download, in {getting.lock.path} "
            f"or in {cached.parent}; run the same command with --again to take the new file and "
            f"record its checksum."
        ) from error


def _unpacked(
    file: RemoteFile, cached: Path, getting: _Getting, sha256: str, how: str
) -> tuple[str, list[Path]]:
    """Unpack an archive, unless all of its files are here as they were unpacked."""
    folder, size = getting.folder, cached.stat().st_size
    names, digest = getting.lock.unpacked(file, sha256) or ([], None)
    what = f"{len(names)} files"
    written: list[Path] = []
    if digest is None or digest_of(folder, names) != digest:
        try:
            written = unpack(cached, folder / file.into, rename=file.rename)
        except DataError as error:
            if "is not a whole" not in str(error):
                raise
            aside = set_aside(cached, cached)
            raise DataError(
                f"{error} It is kept aside as {aside}; run the same command to fetch it again."
            ) from error
        what = f"{len(written)} files"
        if digest is not None:
            what += " unpacked again, because some were missing or changed"
        names = [path.relative_to(folder).as_posix() for path in written]
        digest = digest_of(folder, names) or ""
    getting.lock.record(file, sha256, size, (names, digest))
    return f"{file.path}  {size:,} bytes, {how}, {what}, sha256 {sha256}", written


def listing() -> str:
    """List the shipped data sources, one on a line."""
    names = catalog.names("source")
    titles = [str(load_yaml(catalog.resolve("source", name)).get("title", "")) for name in names]
    width = max((len(name) for name in names), default=0)
    return "".join(f"{name:<{width}}  {title}\n" for name, title in zip(names, titles, strict=True))

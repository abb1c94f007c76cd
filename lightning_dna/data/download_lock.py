"""What was downloaded from where, with which checksums: a record beside the data, one in the cache.

A checksum counts only for the address that it was seen at.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_dna import atomic
from lightning_dna.data.download import sha256_of
from lightning_dna.errors import DataError

if TYPE_CHECKING:
    from lightning_dna.data.remote_source import RemoteFile

Row = dict[str, Any]

OWN_NAMES = ("lock", "lock.json")  # of the cache's folder for a source


class DownloadLock:
    """The records of one source: of the folder of the data, and of the cache.

    Args:
        source: Name of the source.
        place: The source's folder in the cache.
        folder: Folder of the data.

    Attributes:
        path: The record in the folder of the data.

    Raises:
        DataError: If a record is damaged.
    """

    def __init__(self, source: str, place: Path, folder: Path) -> None:
        self.path = folder / f"{source}.lock.json"
        self._own = place / "lock.json"
        self._here = _read(self.path)
        self._cached = _read(self._own)
        self._first: list[str] = []
        self._changed: list[str] = []

    def expected(self, file: "RemoteFile") -> str | None:
        """Return the checksum that a file must have: its source's, else the one seen first."""
        if file.sha256 is not None:
            return file.sha256
        for row in self._rows(file):
            if row.get("url") == file.url and "sha256" in row:
                return str(row["sha256"])
        return None

    def known(self, file: "RemoteFile", sha256: str) -> bool:
        """Tell whether this very content is on record."""
        return bool(self._addresses(file, sha256))

    def is_of_another_address(self, file: "RemoteFile", sha256: str) -> bool:
        """Tell whether this very content is on record, but only as that of other addresses."""
        addresses = self._addresses(file, sha256)
        return bool(addresses) and file.url not in addresses

    def unpacked(self, file: "RemoteFile", sha256: str) -> tuple[list[str], str | None] | None:
        """Return the files unpacked here from this very archive, and their `digest_of`, if any."""
        row = self._here.get(file.path, {})
        if row.get("sha256") != sha256 or "unpacked" not in row:
            return None
        return list(row["unpacked"]), row.get("unpacked_sha256")

    def record(
        self, file: "RemoteFile", sha256: str, size: int, unpacked: tuple[list[str], str] | None
    ) -> None:
        """Record a file that is in its place, with what was unpacked from it."""
        row: Row = {"url": file.url, "sha256": sha256, "bytes": size}
        if file.sha256 is None and self.expected(file) is None:
            self._first.append(file.path)
        elif self.expected(file) != sha256:
            self._changed.append(file.path)
        self._cached[file.path] = row
        if unpacked is not None:
            row = {**row, "unpacked": unpacked[0], "unpacked_sha256": unpacked[1]}
        self._here[file.path] = row
        atomic.write_json(self._own, {"files": self._cached})
        atomic.write_json(self.path, {"files": self._here})

    def remark(self) -> str:
        """Say what was compared with what."""
        parts = []
        if self._first:
            parts.append(
                f"The source names no checksum of {len(self._first)} files: theirs are recorded in "
                f"{self.path} and compared from now on."
            )
        if self._changed:
            parts.append(
                f"The checksums of {len(self._changed)} files are others than were recorded; the "
                f"new ones are in {self.path}: {', '.join(self._changed)}."
            )
        if not parts:
            parts.append(f"All checksums are as recorded in {self.path} or named by the source.")
        return "\n".join(parts)

    def _rows(self, file: "RemoteFile") -> list[Row]:
        """Return what is recorded of a file, beside the data first."""
        return [rows[file.path] for rows in (self._here, self._cached) if file.path in rows]

    def _addresses(self, file: "RemoteFile", sha256: str) -> list[str]:
        """Return the addresses that this very content is recorded with."""
        return [str(row.get("url")) for row in self._rows(file) if row.get("sha256") == sha256]


def digest_of(folder: Path, names: Iterable[str]) -> str | None:
    """Return one checksum of many files; ``None`` if one is missing.

    It is the SHA-256 of what ``sha256sum`` prints of them, sorted by name.

    Args:
        folder: Folder that they lie below.
        names: Their names below it, with ``/``.
    """
    total = hashlib.sha256()
    for name in sorted({*names}):
        path = folder / name
        if not path.is_file():
            return None
        total.update(f"{sha256_of(path)}  {name}\n".encode())
    return total.hexdigest()


def _read(path: Path) -> dict[str, Row]:
    """Read the record of a folder; a new folder has none."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): dict(row) for name, row in content["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is damaged ({error}); remove it, and the files are recorded anew."
        ) from error

"""Files from a web server, resumed where they broke off: the only code that opens the network.

Nothing calls this but ``lightning-dna data get``. A download lies beside its place as ``NAME.part``
until it is whole and its checksum is right, with what the server said of it in ``NAME.part.json``.
"""

import contextlib
import hashlib
import http.client
import json
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

from lightning_dna import __version__, atomic
from lightning_dna.errors import DataError

Progress = Callable[[int, int | None], None]

_BLOCK = 1 << 16
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})  # what a server may answer otherwise later
_LONGEST_WAIT = 60.0
_SPARE = 1 << 24  # bytes of the disk that a download leaves free
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class _DroppedError(Exception):
    """A connection that broke off, or a server that is busy: worth another try."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a download goes on trying.

    Attributes:
        attempts: Failures in a row, without a new byte in between, before it gives up.
        wait: Seconds before the second attempt; each later wait is twice as long, up to a minute.
        timeout: Seconds without an answer after which a connection counts as broken.
    """

    attempts: int = 6
    wait: float = 1.0
    timeout: float = 60.0


def fetch(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> str:
    """Download a file, going on where an earlier attempt broke off.

    A partial file is continued only if the server still has the same file: by its ETag or its date
    of change (``If-Range``). Where it says neither, the download begins again.

    Args:
        url: Address, ``http`` or ``https``.
        path: Where the file is to lie; its folder is made when missing.
        sha256: Checksum that it must have; ``None``: any.
        patience: How often to try again.
        progress: Called with the bytes that are there and those of the whole, if known.

    Returns:
        Its SHA-256.

    Raises:
        DataError: If the server refuses or stays away, the disk is full, or the checksum is
            another one: then the file is kept aside as ``NAME.wrong``.
    """
    patience = patience or Patience()
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise DataError(f"{url}: only http and https addresses are fetched.")
    partial = path.with_name(f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    failures, before = 0, _size(partial)
    while True:
        try:
            _transfer(url, partial, patience.timeout, progress)
            break
        except _DroppedError as error:
            now = _size(partial)
            failures = 1 if now > before else failures + 1
            before = now
            if failures >= patience.attempts:
                kept = f"{now:,} bytes are kept in {partial}; run" if now else "Run"
                raise DataError(
                    f"{url}: {error}, {failures} times in a row without a new byte. {kept} the "
                    f"same command again to go on."
                ) from error
            waited = patience.wait * 2 ** (failures - 1) if error.wait is None else error.wait
            time.sleep(min(waited, _LONGEST_WAIT))
    found = sha256_of(partial)
    if sha256 is not None and found != sha256:
        aside = set_aside(partial, path)
        raise DataError(
            f"{url}: sha256 found: {found}; expected {sha256}. The file is kept aside as {aside}: "
            f"it is damaged, or the publishers changed it."
        )
    partial.replace(path)
    _state_path(partial).unlink(missing_ok=True)
    return found


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def set_aside(path: Path, place: Path) -> Path:
    """Move a file that is not what it should be out of the way of ``place``; return where to."""
    aside = place.with_name(f"{place.name}.wrong")
    path.replace(aside)
    _state_path(place.with_name(f"{place.name}.part")).unlink(missing_ok=True)
    return aside


def _transfer(url: str, partial: Path, timeout: float, progress: Progress | None) -> None:
    """Make one attempt; it ends with the whole file or an error."""
    have, headers = _resume(url, partial)
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - scheme checked in fetch
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            _check_page(url, answer.headers, partial)
            total = _length(answer.headers, answer.status)
            if answer.status == 206 and not _continues(answer.headers, have):
                partial.unlink(missing_ok=True)
                raise _DroppedError("the server sent another part than was asked for")
            if answer.status != 206:
                have = 0  # it sends the whole, because it cannot do otherwise or the file changed
                _write_state(url, partial, answer.headers)
            _check_disk(partial, (total or 0) - have)
            with partial.open("ab" if have else "wb") as file:
                while block := answer.read(_BLOCK):
                    file.write(block)
                    have += len(block)
                    if progress is not None:
                        progress(have, total)
    except urllib.error.HTTPError as error:
        _refused(url, error, partial, have)
        return
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno is not None and _is_local(error):
            raise atomic.unwritable(partial, error) from error
        reason = getattr(error, "reason", None) or error or type(error).__name__
        raise _DroppedError(f"the connection failed ({reason})") from error
    if total is not None and have != total:
        if have > total:
            partial.unlink(missing_ok=True)
        raise _DroppedError(f"the connection closed after {have:,} of {total:,} bytes")


def _resume(url: str, partial: Path) -> tuple[int, dict[str, str]]:
    """Return how many bytes can be kept, and the headers that ask for the rest."""
    headers = {"User-Agent": f"lightning-dna/{__version__}", "Accept-Encoding": "identity"}
    have, state = _size(partial), _read_state(partial)
    validator = state.get("validator")
    if have and (not validator or state.get("url") != url):
        partial.unlink()
        have = 0
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": str(validator)}
    return have, headers


def _refused(url: str, error: urllib.error.HTTPError, partial: Path, have: int) -> None:
    """Decide what an error status means; returns if the partial file is the whole."""
    with error:
        if error.code == 416:  # nothing lies beyond what we have
            found = _RANGE.fullmatch(error.headers.get("Content-Range", ""))
            if found is not None and found[2] == str(have):
                return
            partial.unlink(missing_ok=True)
            raise _DroppedError("the file on the server is shorter than the part that is here")
        if error.code in _AGAIN:
            after = error.headers.get("Retry-After", "")
            wait = float(after) if after.isdigit() else None
            raise _DroppedError(f"the server answers {error.code} {error.reason}", wait)
    raise DataError(
        f"{url}: the server answers {error.code} {error.reason}. If the file has moved, fetch it "
        f"by hand and put it at {partial.with_name(partial.name.removesuffix('.part'))}."
    )


def _check_page(url: str, headers: Message, partial: Path) -> None:
    """Refuse a web page in place of a file: a login, or a question that a person must answer."""
    name = partial.name.removesuffix(".part")
    if headers.get_content_type() == "text/html" and not name.endswith((".html", ".htm")):
        raise DataError(
            f"{url}: the server answers with a web page, not with {name}; open the address in a "
            f"browser, and put the file at {partial.with_name(name)}."
        )


def _continues(headers: Message, have: int) -> bool:
    """Tell whether a partial answer begins where our bytes end."""
    found = _RANGE.fullmatch(headers.get("Content-Range", ""))
    return found is not None and found[1] == str(have)


def _length(headers: Message, status: int) -> int | None:
    """Return the bytes of the whole file, if the server says it."""
    if status == 206:
        found = _RANGE.fullmatch(headers.get("Content-Range", ""))
        return int(found[2]) if found is not None and found[2] != "*" else None
    length = headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _check_disk(partial: Path, needed: int) -> None:
    """Refuse before the first byte what the disk cannot hold."""
    check_space(partial.parent, needed, what=partial.name.removesuffix(".part"))


def check_space(folder: Path, needed: int, *, what: str) -> None:
    """Refuse what a disk cannot hold.

    Raises:
        DataError: If fewer than ``needed`` bytes, and a little to spare, are free.
    """
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise DataError(
            f"{what} needs {needed:,} bytes more, but {folder} has {free:,} free; free some space, "
            f"or choose another folder."
        )


def _is_local(error: OSError) -> bool:
    """Tell a failure of our own disk from one of the network."""
    return isinstance(error, PermissionError | IsADirectoryError) or error.errno in (28, 30, 122)


def _size(path: Path) -> int:
    """Return the bytes of a file; 0 if there is none."""
    return path.stat().st_size if path.is_file() else 0


def _state_path(partial: Path) -> Path:
    """Return the file that says what a partial file is a part of."""
    return partial.with_name(f"{partial.name}.json")


def _read_state(partial: Path) -> dict[str, Any]:
    """Read what the server said of a partial file; nothing if it is lost or damaged."""
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(_state_path(partial).read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    return {}


def _write_state(url: str, partial: Path, headers: Message) -> None:
    """Keep what tells this version of the file from others; weak ETags do not."""
    etag = headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    atomic.write_json(_state_path(partial), {"url": url, "validator": validator})

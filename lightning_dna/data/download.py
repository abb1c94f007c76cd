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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

from lightning_dna import __version__, atomic
from lightning_dna.errors import DataError

Progress = Callable[[int, int | None], None]
Check = Callable[[Path], None]

_BLOCK = 1 << 16
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})  # what a server may answer otherwise later
_LONGEST_WAIT = 60.0
_SPARE = 1 << 24  # bytes of the disk that a download leaves free
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
_UNSENDABLE = re.compile(r"[^!-~]")  # what an address may hold only as %XX
_PACKED = (".gz", ".tgz", ".bz2", ".xz", ".zip")  # some servers call what these are an encoding


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
    check: Check | None = None,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> str:
    """Download a file, going on where an earlier attempt broke off.

    A partial file is continued only if the server still has the same file: by its ETag or its date
    of change (``If-Range``), which are compared again with those of the rest, as is the size of
    the whole. Where the server says neither, or one differs, the download begins again.

    Args:
        url: Address, ``http`` or ``https``.
        path: Where the file is to lie; its folder is made when missing.
        sha256: Checksum that it must have; ``None``: any.
        check: Called with the whole download before it is in its place; refuses by a `DataError`.
        patience: How often to try again.
        progress: Called with the bytes that are there and those of the whole, if known.

    Returns:
        Its SHA-256.

    Raises:
        DataError: If the address is none, the server refuses or stays away, the disk is full, or
            the checksum is another one or ``check`` refuses: then the file is kept aside as
            ``NAME.wrong``.
    """
    wrong = fault_of_address(url)
    if wrong is not None:
        raise DataError(f"{url}: {wrong}")
    partial = path.with_name(f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    _persist(url, partial, patience or Patience(), progress)
    found = sha256_of(partial)
    if sha256 is not None and found != sha256:
        aside = set_aside(partial, path)
        raise DataError(
            f"{url}: sha256 found: {found}; expected {sha256}. The file is kept aside as {aside}: "
            f"it is damaged, or the publishers changed it."
        )
    if check is not None:
        try:
            check(partial)
        except DataError as error:
            aside = set_aside(partial, path)
            raise DataError(
                f"{url}: {error} Nothing is recorded, and the file is kept aside as {aside}. Run "
                f"the same command to fetch it again; if it ends alike, the file at this address "
                f"is damaged: tell the publishers."
            ) from error
    partial.replace(path)
    _state_path(partial).unlink(missing_ok=True)
    return found


def fault_of_address(url: str) -> str | None:
    """Say why an address cannot be asked for; ``None`` if it can.

    Example:
        >>> fault_of_address("http://host:8o/file")
        'its port is not a number from 0 to 65535; correct the address.'
    """
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        return f"it is no address ({error}); correct it."
    if parts.scheme not in ("http", "https"):
        return "only http and https are fetched."
    found = _UNSENDABLE.search(url)
    if found is not None:
        sent = urllib.parse.quote(found[0])
        return f"it holds {found[0]!r}; write {sent} in its place, or correct the address."
    if not parts.hostname:
        return "it names no server; correct the address."
    if parts.username is not None:
        return "it names a user, which is not sent; fetch the file by hand."
    try:
        _ = parts.port
    except ValueError:
        return "its port is not a number from 0 to 65535; correct the address."
    return None


def _persist(url: str, partial: Path, patience: Patience, progress: Progress | None) -> None:
    """Try until the file is whole, or nothing comes any more."""
    failures, most = 0, _size(partial)
    while True:
        try:
            _transfer(url, partial, patience.timeout, progress)
            return
        except _DroppedError as error:
            now = _size(partial)
            failures = 1 if now > most else failures + 1
            most = max(most, now)  # a file begun again and again must come to an end too
            if failures >= patience.attempts:
                kept = f"{now:,} bytes are kept in {partial}; run" if now else "Run"
                raise DataError(
                    f"{url}: {error}, {failures} times in a row without a new byte. {kept} the "
                    f"same command again to go on."
                ) from error
            waited = patience.wait * 2 ** (failures - 1) if error.wait is None else error.wait
            time.sleep(min(waited, _LONGEST_WAIT))


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
    state = _read_state(partial) if have else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - scheme checked in fetch
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            _check_page(url, answer.headers, partial)
            total = _length(answer.headers, answer.status)
            if answer.status == 206:
                _check_part(answer.headers, have, total, state, partial)
            else:
                have = 0  # it sends the whole, because it cannot do otherwise or the file changed
            if not have:
                partial.unlink(missing_ok=True)  # first: what it held is not of this version
                _write_state(url, partial, answer.headers, total)
            _check_disk(partial, (total or 0) - have)
            with partial.open("ab" if have else "wb") as file:
                while block := answer.read(_BLOCK):
                    file.write(block)
                    have += len(block)
                    if progress is not None:
                        progress(have, total)
    except urllib.error.HTTPError as error:
        _refused(url, error, partial, have, state)
        return
    except (http.client.InvalidURL, UnicodeError) as error:
        raise DataError(
            f"{url}: the server sends us to an address that is none: {error}."
        ) from error
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


def _refused(
    url: str, error: urllib.error.HTTPError, partial: Path, have: int, state: Mapping[str, Any]
) -> None:
    """Decide what an error status means; returns if the partial file is the whole."""
    with error:
        if error.code == 416:  # nothing lies beyond what we have
            found = _RANGE.fullmatch(error.headers.get("Content-Range", ""))
            if found is not None and found[2] == str(have) and _is_same(error.headers, state):
                return
            partial.unlink(missing_ok=True)
            raise _DroppedError("the file on the server is not the one that a part is here of")
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
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity" and not name.endswith(_PACKED):
        raise DataError(
            f"{url}: the server sends {name} packed with {encoding}, although it was asked not to; "
            f"fetch it by hand and put it, unpacked, at {partial.with_name(name)}."
        )


def _check_part(
    headers: Message, have: int, total: int | None, state: Mapping[str, Any], partial: Path
) -> None:
    """Begin anew where a part does not go on with our bytes, or is one of another file."""
    found = _RANGE.fullmatch(headers.get("Content-Range", ""))
    if found is None or found[1] != str(have):
        partial.unlink(missing_ok=True)
        raise _DroppedError("the server sent another part than was asked for")
    sizes = {total, state.get("total")} - {None}
    if not _is_same(headers, state) or len(sizes) > 1:  # the server did not heed If-Range
        partial.unlink(missing_ok=True)
        raise _DroppedError("the file on the server changed since the part that was here")


def _is_same(headers: Message, state: Mapping[str, Any]) -> bool:
    """Tell whether an answer is, as far as it says, of the version that our bytes are of."""
    validator = str(state.get("validator", ""))
    now = headers.get("ETag" if validator.startswith('"') else "Last-Modified")
    return not validator or now is None or now == validator


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


def _write_state(url: str, partial: Path, headers: Message, total: int | None) -> None:
    """Keep what tells this version of the file from others; weak ETags do not."""
    etag = headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    atomic.write_json(_state_path(partial), {"url": url, "validator": validator, "total": total})

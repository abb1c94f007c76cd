"""Files written whole or not at all: a reader, or a run after a kill, never sees half of one."""

import contextlib
import glob
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_dna.errors import ResultsError

_ENDING = ".partial"


class UnwritableError(ResultsError):
    """A place that cannot be written to: nothing can be recorded there, so work has to stop."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block ends well.

    Args:
        path: The file to write; its folder is made when missing.

    Yields:
        The path to write to.

    Raises:
        UnwritableError: If the folder cannot be written to or the disk is full; the temporary file
            is removed.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{_ENDING}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        # In a folder that cannot be written to there is nothing of ours to remove.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def creating(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes ``path`` when the block ends well, unless there is one.

    Of several processes that create the same file one succeeds, and what is there is never changed.

    Args:
        path: The file to create; its folder is made when missing.

    Yields:
        The path to write to.

    Raises:
        FileExistsError: If the file is there already, or was made meanwhile.
        UnwritableError: If the folder cannot be written to or the disk is full.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{_ENDING}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield temporary
        _link(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _link(temporary: Path, path: Path) -> None:
    """Give a whole file its name, which must be free."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: look, then rename
        if path.exists():
            raise FileExistsError(path) from None
        temporary.replace(path)


def unwritable(path: Path, error: OSError) -> UnwritableError:
    """Return the error for a file or folder that the system refuses to write."""
    return UnwritableError(
        f"cannot write {path}: {error.strerror or error}; free space or choose a writable folder,"
        " then run the same command again: finished work is kept."
    )


def is_partial(path: Path) -> bool:
    """Tell whether a file is the temporary file of a write that has not ended, or was killed."""
    return path.name.startswith(".") and path.name.endswith(_ENDING)


def remove_partial(folder: Path, *, start: str = "") -> None:
    """Remove what killed writes left below a folder; only for the one process that writes there.

    Args:
        folder: The folder.
        start: How the names of the files begin that were to be written; any, by default.
    """
    for path in folder.rglob(f".{glob.escape(start)}*{_ENDING}"):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all.

    Raises:
        UnwritableError: If the folder cannot be written to.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON, whole or not at all.

    Raises:
        UnwritableError: If the folder cannot be written to.
    """
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON mapping.

    Raises:
        ResultsError: If the file is missing, damaged or not a mapping.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise ResultsError(f"{path} holds {type(content).__name__}, not a mapping.")
    return content

"""Files written whole or not at all: a reader, or a run after a kill, never sees half of one."""

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_dna.errors import ResultsError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; when the block ends well, it takes the place of
    ``path``.

    Args:
        path: The file to write; its folder is made when missing.

    Yields:
        The path to write to.

    Raises:
        ResultsError: If the folder cannot be written to or the disk is full; the temporary file is removed.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.partial"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise ResultsError(
            f"cannot write {path}: {error.strerror or error}; free space or choose a writable"
            " folder, then run the same command again: finished work is kept."
        ) from error
    finally:
        try:
            temporary.unlink(missing_ok=True)
        except OSError:  # a read-only folder: there is nothing of ours to remove
            pass


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all.

    Raises:
        ResultsError: If the folder cannot be written to.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON, whole or not at all.

    Raises:
        ResultsError: If the folder cannot be written to.
    """
    write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


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

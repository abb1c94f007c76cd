"""Files of labelled sequences: found, checked against their checksums, and read by their layout."""

import gzip
import hashlib
import itertools
import zlib
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from lightning_dna.errors import DataError
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.layouts.classes import read_classes
from lightning_dna.tasks.layouts.fasta import read_fasta
from lightning_dna.tasks.layouts.parquet import read_parquet
from lightning_dna.tasks.layouts.pieces import missing_pieces, own_table, pieces_of
from lightning_dna.tasks.layouts.shared_table import other_tasks, shared_table
from lightning_dna.tasks.layouts.table import REQUIRED, LabelledTable, read_csv

# The same table in another form is taken where the named one is not there: publishers change it.
_ENDINGS: Mapping[str, tuple[str, ...]] = {
    "csv": (".csv", ".csv.gz"),
    "parquet": (".parquet",),
    "fasta": (".fna", ".fna.gz", ".fa", ".fa.gz", ".fasta", ".fasta.gz"),
}
_BLOCK = 1 << 20


def folders_of(card: TaskCard, tasks_root: Path | None) -> list[Path]:
    """List the folders in which a card's relative paths are looked up, in order."""
    named = [Path(folder) for folder in (tasks_root, card.folder) if folder is not None]
    return named or [Path()]


def find_files(card: TaskCard, tasks_root: Path | None) -> dict[str, Path]:
    """Find every file of a card, in ``tasks_root`` or else in the card's folder.

    A name is tried as it stands, with ``.gz`` added, and with the ending of another table
    (``.csv``, ``.parquet``, ``.fna``, ``.fa``); then under the names that Hugging Face gives to
    tables, see :mod:`lightning_dna.tasks.layouts.pieces`; then as rows of one table of all tasks,
    see :mod:`lightning_dna.tasks.layouts.shared_table`.

    Returns:
        Part (``train``, ``valid``, ``test`` or ``all``) to path: a file, or a folder if the layout
        is ``classes``.

    Raises:
        DataError: If files are missing; all of them are named, and where they were looked for. Or
            if several tables could be meant.
    """
    found, missing = split_files(card, tasks_root)
    if missing:
        names = "; ".join(f"{part}: {name}" for part, name in missing.items())
        fetch = (
            "" if card.source is None else f" `lightning-dna data get {card.source}` fetches them."
        )
        raise DataError(
            f"task '{card.name}': missing files: {names} (with or without .gz). "
            f"Looked in {', '.join(map(str, folders_of(card, tasks_root)))}. Put them there, or "
            f"name their folder as tasks_root in the recipe.{fetch}"
        )
    return found


def split_files(card: TaskCard, tasks_root: Path | None) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the files of a card that are there, and the names of those that are not, by part."""
    found: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for part, name in (card.files or {}).items():
        path = find_place(name, folders_of(card, tasks_root), folder=card.layout == "classes")
        if path is None:
            missing[part] = name
        else:
            found[part] = path
    return found, missing


def find_place(name: str, folders: list[Path], *, folder: bool = False) -> Path | None:
    """Find one file or folder; ``None`` if it is nowhere.

    Raises:
        DataError: If several tables could be meant.
    """
    # An absolute name replaces the folder that it is joined to.
    plain = [place / Path(name).expanduser() for place in folders]
    if folder:
        return next((path for path in plain if path.is_dir()), None)
    places = [place for path in plain for place in (path, path.with_name(f"{path.name}.gz"))]
    for path in plain:
        stem = _stem(path)
        if stem is not None:
            rest = [ending for endings in _ENDINGS.values() for ending in endings]
            places += [path.with_name(f"{stem}{ending}") for ending in rest]
    found = next((place for place in places if place.is_file()), None)
    if found is not None:
        return found
    tables = [path for path in plain if _stem(path) is not None]
    own = (own_table(path) for path in tables)
    # Without a folder in the name there is no task whose rows could be read.
    shared = (shared_table(path) for path in tables if Path(name).parent.name)
    return next((table for table in itertools.chain(own, shared) if table is not None), None)


def _stem(path: Path) -> str | None:
    """Return a table's name without its ending; ``None`` if it has none that is known."""
    for endings in _ENDINGS.values():
        for ending in endings:
            if path.name.endswith(ending):
                return path.name.removesuffix(ending)
    return None


def form_of(path: Path, layout: str) -> str:
    """Say what a file is: by its ending where that is known, else what the card says."""
    for form, endings in _ENDINGS.items():
        if path.name.endswith(endings):
            return form
    return layout


def read_part(card: TaskCard, part: str, path: Path, tasks_root: Path | None) -> LabelledTable:
    """Check one file of a card and read it as its layout says.

    Args:
        card: The card.
        part: ``train``, ``valid``, ``test`` or ``all``.
        path: The file, from `find_files`.
        tasks_root: Where the references of intervals are looked up first.

    Raises:
        DataError: If the checksum is not the card's, or the file is not what it should be.
    """
    shown = Path((card.files or {}).get(part, ""))
    own = path.parent.name == shown.parent.name or not shown.parent.name
    if own and path.name in (
        shown.name,
        f"{shown.name}.gz",
    ):  # the same rows in another form have another checksum
        check_sum(path, (card.sha256 or {}).get(part))
    if card.layout == "classes":
        named = card.reference if isinstance(card.reference, dict) else {"": card.reference}
        folders = folders_of(card, tasks_root)
        references = {
            name: None if file is None else find_reference(file, folders)
            for name, file in named.items()
        }
        return read_classes(path, labels=card.labels, references=references)
    required = (*REQUIRED, "split") if part == "all" else REQUIRED
    form = form_of(path, card.layout)
    if form == "parquet":
        shared = _is_shared(card, part, path, tasks_root)
        return read_parquet(path, required=required, task=shown.parent.name, shared=shared)
    if form == "fasta":
        if part == "all":
            raise DataError(
                f"{path}: FASTA headers name no split; give files train and test, not 'all'."
            )
        return read_fasta(path)
    return read_csv(path, required=required)


def lacking(card: TaskCard, part: str, path: Path, tasks_root: Path | None) -> str:
    """Say what of a part is not in the Parquet table that was found for it; nothing if all is.

    Only the names of files and the column ``task`` are read. A damaged table lacks nothing:
    reading it says what is wrong.

    Args:
        card: The card.
        part: ``train``, ``valid``, ``test`` or ``all``.
        path: The file, from `split_files`.
        tasks_root: Where files are looked up first.
    """
    missing = missing_pieces(path)
    if missing:
        return f"{path.parent} lacks {', '.join(missing)}"
    if form_of(path, card.layout) != "parquet" or not _is_shared(card, part, path, tasks_root):
        return ""
    try:
        others = other_tasks(pieces_of(path), Path((card.files or {})[part]).parent.name)
    except (pa.ArrowException, OSError):
        return ""
    return f"{path} {others}" if others else ""


def _is_shared(card: TaskCard, part: str, path: Path, tasks_root: Path | None) -> bool:
    """Tell whether a table lies outside the folder that the card names for its own task."""
    name = Path((card.files or {})[part]).expanduser()
    return not any(
        path.is_relative_to((place / name).parent) for place in folders_of(card, tasks_root)
    )


def find_reference(name: str, folders: list[Path]) -> Path | None:
    """Find a FASTA file, plain or packed."""
    plain = [place / Path(name).expanduser() for place in folders]
    places = [
        place
        for path in plain
        for place in (path, path.with_name(f"{path.name}.gz"), path.with_suffix(""))
    ]
    return next((place for place in places if place.is_file()), None)


def check_sum(path: Path, expected: str | None) -> None:
    """Compare a file with the checksum of its card.

    Args:
        path: A file, or a folder.
        expected: SHA-256 of the file as it lies, or of what it unpacks to; of a folder, see
            `folder_sum`. ``None`` checks nothing.

    Raises:
        DataError: If they differ.
    """
    if expected is None:
        return
    if path.is_dir():
        found = folder_sum(path)
    else:
        found = file_sum(path)
        if found != expected and path.suffix == ".gz":
            found = unpacked_sum(path)
    if found != expected:
        raise DataError(
            f"{path}: sha256 found: {found}; the task card expects {expected}. The file is damaged "
            f"or of another version: fetch it again, or give a card of your own its checksum."
        )


def file_sum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpacked_sum(path: Path) -> str:
    """Return the SHA-256 of what a gzip file holds.

    Raises:
        DataError: If it is cut short or no gzip file.
    """
    digest = hashlib.sha256()
    try:
        with gzip.open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path} is not a whole gzip file ({error}); fetch or compress it again."
        ) from error
    return digest.hexdigest()


def folder_sum(folder: Path) -> str:
    """Return the SHA-256 of the list ``sha256sum`` writes of a folder's files, sorted by path."""
    digest = hashlib.sha256()
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    for name in names:
        if (folder / name).is_file():
            digest.update(f"{file_sum(folder / name)}  {name}\n".encode())
    return digest.hexdigest()

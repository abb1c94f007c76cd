"""A folder with an entry for each class, the layout of GenomicBenchmarks in both of its forms.

Its sequences are folders ``CLASS/*.txt`` with one sequence to a file. Its coordinates are files
``CLASS.csv`` with ``id,region,start,end,strand``, 0-based and half-open; the sequences are cut from
a reference, and those of the minus strand are reverse complements.
"""

from collections.abc import Mapping
from pathlib import Path

from lightning_dna.errors import DataError
from lightning_dna.tasks.layouts.intervals import read_intervals
from lightning_dna.tasks.layouts.table import LabelledTable

_TABLES = (".csv", ".csv.gz")


def read_classes(
    folder: Path, *, labels: tuple[str, ...] | None, references: Mapping[str, Path | None]
) -> LabelledTable:
    """Read all classes of one part, class by class.

    Args:
        folder: The folder of the part.
        labels: The classes; ``None`` takes the entries in alphabetical order.
        references: Class to the FASTA file of its intervals; the key ``""`` stands for every
            class. ``None`` where the card names one that is not there.

    Returns:
        Columns ``id`` and ``label``, base codes, and coordinates where intervals were read.

    Raises:
        DataError: If the classes are not those expected, a file is empty or not a sequence, or an
            interval does not lie on its reference.
    """
    found = class_entries(folder)
    classes = labels or tuple(sorted(found))
    _check_names(folder, tuple(found), classes)
    parts = []
    for name in classes:
        entry = found[name]
        if entry.is_dir():
            parts.append(_read_texts(entry, name))
        else:
            parts.append(read_intervals(entry, name, references.get(name, references.get(""))))
    return _joined(folder, parts)


def class_entries(folder: Path) -> dict[str, Path]:
    """Return class name to its folder or table; a folder of sequences comes before intervals."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            found[path.name] = path
    for path in sorted(folder.iterdir()):
        ending = next((ending for ending in _TABLES if path.name.endswith(ending)), None)
        if ending is not None and path.is_file() and not path.name.startswith("."):
            found.setdefault(path.name.removesuffix(ending), path)
    return dict(sorted(found.items()))


def missing_classes(folder: Path, labels: tuple[str, ...] | None) -> list[str]:
    """Return the classes of one part that have no entry, or an empty folder as their entry.

    Args:
        folder: The folder of the part.
        labels: The classes; ``None`` takes the entries.
    """
    found = class_entries(folder)
    return [
        name
        for name in labels or found
        if name not in found
        or (found[name].is_dir() and next(found[name].glob("*.txt"), None) is None)
    ]


def _check_names(folder: Path, found: tuple[str, ...], classes: tuple[str, ...]) -> None:
    """Refuse a folder whose classes are not those of the card."""
    if set(found) == set(classes) and classes:
        return
    raise DataError(
        f"{folder}: classes found: {', '.join(found) or 'none'}; expected: "
        f"{', '.join(classes) or 'at least two'}. Each class is a folder of .txt files or a file "
        f"CLASS.csv; rename them, or correct 'labels' in the task card."
    )


def _read_texts(folder: Path, name: str) -> LabelledTable:
    """Read the sequences of one class, one to a file."""
    paths = sorted(folder.glob("*.txt"))
    if not paths:
        raise DataError(f"{folder} holds no .txt file; expected one sequence to a file.")
    try:
        sequences = ["".join(path.read_text(encoding="ascii").split()) for path in paths]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the sequences in {folder}: {error}") from error
    columns = {
        "sequence": sequences,
        "label": [name] * len(paths),
        "id": [f"{name}/{path.stem}" for path in paths],
    }
    lines = [f"{name}/{path.name}" for path in paths]
    return LabelledTable(path=folder, columns=columns, lines=lines, place="file")


def _joined(folder: Path, parts: list[LabelledTable]) -> LabelledTable:
    """Put the classes of one part into one table."""
    both = {part.codes is None for part in parts}
    if len(both) > 1:
        raise DataError(
            f"{folder}: some classes are folders of sequences and others are files of intervals; "
            f"give all in one form."
        )
    names = [name for name in parts[0].columns if all(name in part.columns for part in parts)]
    columns = {name: [value for part in parts for value in part.columns[name]] for name in names}
    lines = [line for part in parts for line in part.lines]
    if parts[0].codes is None:
        return LabelledTable(path=folder, columns=columns, lines=lines, place=parts[0].place)
    return LabelledTable(
        path=folder,
        columns=columns,
        lines=lines,
        place=parts[0].place,
        codes=[row for part in parts for row in part.codes or []],
        coordinates=tuple(place for part in parts for place in part.coordinates or ()),
    )

"""The parts of a task as a leakage audit reads them: sequences, places, or both; labels if any.

An audit takes what training would refuse: files without labels, intervals without their genome, a
task whose training file is not at hand. No torch here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import CODE_BITS, Codes, encode
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.locate import locate
from lightning_dna.genome.nearest import Places
from lightning_dna.genome.plaintext import text_lines
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.examples import load_examples
from lightning_dna.tasks.labelled_files import (
    find_reference,
    folders_of,
    form_of,
    read_part,
    split_files,
)
from lightning_dna.tasks.layouts.classes import class_entries, read_classes
from lightning_dna.tasks.layouts.parquet import read_parquet
from lightning_dna.tasks.layouts.places import places_of
from lightning_dna.tasks.layouts.shared_table import refuse_other_task
from lightning_dna.tasks.layouts.table import LabelledTable, read_csv

PARTS = ("train", "valid", "test")
LABELLED_KINDS = ("classification", "simulated_classification")
_INTERVALS = ("region", "start", "end")


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditPart:
    """One part of a task.

    Attributes:
        name: ``train``, ``valid`` or ``test``.
        ids: Name of each example.
        labels: Label of each example as text, ``""`` without one, shape ``(n,)``.
        codes: Base codes of each sequence; ``None`` where only places are known.
        places: Place of each example; ``None`` where no place is known.
    """

    name: str
    ids: tuple[str, ...]
    labels: npt.NDArray[np.str_]
    codes: list[Codes] | None = None
    places: Places | None = None

    def __len__(self) -> int:
        return len(self.ids)


def parts_of_card(card: TaskCard, tasks_root: Path | None) -> tuple[dict[str, AuditPart], str]:
    """Read the parts of a card as its files hold them, before anything is carved.

    Args:
        card: A card of labelled sequences.
        tasks_root: Folder in which its files are looked up first.

    Returns:
        Part to examples, of the parts that are at hand, and what is missing in words.

    Raises:
        DataError: If a file is there and cannot be used.
    """
    if card.kind == "simulated_classification":
        task = load_examples(card, tasks_root)
        drawn = {"train": task.train, "valid": task.valid, "test": task.test}
        return {
            name: AuditPart(
                name=name,
                ids=part.ids,
                labels=np.array([task.classes[label] for label in part.labels]),
                codes=part.codes,
            )
            for name, part in drawn.items()
        }, ""
    found, missing = split_files(card, tasks_root)
    parts: dict[str, AuditPart] = {}
    for name, path in found.items():
        if (
            card.layout == "classes"
            and _holds_intervals(path)
            and not _has_genome(card, tasks_root)
        ):
            parts[name] = read_audit_part(path, name)
            continue
        table = read_part(card, name, path, tasks_root)
        for part, rows in _by_split(table, name).items():
            parts[part] = _from_table(table, part, rows)
    return parts, ", ".join(f"{name} ({file})" for name, file in missing.items())


def read_audit_part(
    path: Path, name: str, *, genome: Path | None = None, task: str | None = None
) -> AuditPart:
    """Read a file or folder of examples.

    Args:
        path: CSV or Parquet with ``sequence`` (and ``label``); FASTA, whose label is what follows
            the last ``|``; CSV of intervals with ``region, start, end``; or a folder with an entry
            for each class, as GenomicBenchmarks publishes them.
        name: Name of the part.
        genome: FASTA file from which sequences of intervals are cut and against which their places
            are checked.
        task: Of a Parquet table of several tasks, the one whose rows are read.

    Raises:
        DataError: If it does not exist, is none of these, or an interval is not of this genome.
        ConfigError: If it is a table of other tasks.
    """
    if task is not None and path.exists():
        refuse_other_task(path, task)
    if path.is_dir():
        if _holds_intervals(path) and genome is None:
            pieces = [
                _intervals(entry, name, label) for label, entry in class_entries(path).items()
            ]
            return _joined(pieces, name)
        return _from_table(read_classes(path, labels=None, references={"": genome}), name, None)
    if not path.is_file():
        raise DataError(f"{path} does not exist; give a file or folder of examples.")
    form = form_of(path, "csv")
    if form == "fasta":
        return _from_fasta(path, name)
    if form == "parquet":
        read = partial(read_parquet, task=task or "")
        return _from_table(_with_label(path, read, ("sequence",)), name, None)
    if _is_interval_file(path):
        return _intervals(path, name, "")
    return _from_table(_with_label(path, read_csv, ("sequence",)), name, None)


def with_located(part: AuditPart, genome: Genome) -> tuple[AuditPart, int]:
    """Fill in the places of sequences that a genome holds exactly once or more: the first place.

    Returns:
        The part, and how many of its sequences were found. Places that the files give are kept.
    """
    if part.codes is None or part.places is not None:
        known = 0 if part.places is None else int(part.places.known.sum())
        return part, known
    found = locate(part.codes, genome)
    first = found.first
    hit = first >= 0
    chroms = np.array(found.chroms, dtype=np.str_)
    places = Places(
        chrom=np.where(hit, chroms[found.chrom_index[first]] if len(found.query) else "", ""),
        start=np.where(hit, found.start[first] if len(found.query) else 0, 0),
        end=np.where(hit, found.end[first] if len(found.query) else 0, 0),
    )
    return replace(part, places=places), int(hit.sum())


def _has_genome(card: TaskCard, tasks_root: Path | None) -> bool:
    """Tell whether every genome that a card's intervals lie on is at hand."""
    named = card.reference if isinstance(card.reference, dict) else {"": card.reference}
    folders = folders_of(card, tasks_root)
    return all(name and find_reference(name, folders) for name in named.values())


def _with_label(
    path: Path, read: Callable[..., LabelledTable], required: tuple[str, ...]
) -> LabelledTable:
    """Read a table with its labels where it has them."""
    try:
        return read(path, required=(*required, "label"))
    except DataError:
        return read(path, required=required)


def _holds_intervals(folder: Path) -> bool:
    """Tell whether a folder has a table of intervals for each class."""
    entries = class_entries(folder)
    return bool(entries) and all(path.is_file() for path in entries.values())


def _is_interval_file(path: Path) -> bool:
    """Tell whether the first line of a CSV file names the columns of intervals."""
    first = next(iter(text_lines(path)), "")
    names = {name.strip() for name in first.lstrip("\ufeff").split(",")}
    return names >= set(_INTERVALS) and not names & {"sequence", "seq"}


def _intervals(path: Path, name: str, label: str) -> AuditPart:
    """Read intervals whose genome is not at hand."""
    table = read_csv(path, required=_INTERVALS)
    start, end = (_whole(table, column) for column in ("start", "end"))
    wrong = np.flatnonzero(start >= end)
    if len(wrong):
        row = int(wrong[0])
        raise table.refuse(
            wrong.tolist(), "end", f"{start[row]} to {end[row]}; expected start < end, 0-based."
        )
    ids = table.columns.get("id", [str(row) for row in range(len(table))])
    return AuditPart(
        name=name,
        ids=tuple(f"{label}/{one}" if label else one for one in ids),
        labels=np.array([label] * len(table) if label else table.columns.get("label", ids[:0])),
        places=Places(chrom=np.array(table.columns["region"], dtype=np.str_), start=start, end=end),
    )


def _whole(table: LabelledTable, column: str) -> npt.NDArray[np.int64]:
    """Return a column of whole numbers."""
    values = table.columns[column]
    wrong = [row for row, text in enumerate(values) if not (text.isascii() and text.isdigit())]
    if wrong:
        raise table.refuse(
            wrong, column, f"{values[wrong[0]]!r}; expected a whole number, 0 or more."
        )
    return np.array(values, dtype=np.int64)


def _from_fasta(path: Path, name: str) -> AuditPart:
    """Read a FASTA file; what follows the last bar of a header is the label."""
    headers: list[str] = []
    rows: list[list[str]] = []
    for line in text_lines(path):
        text = line.strip()
        if text.startswith(">"):
            headers.append(text[1:].strip())
            rows.append([])
        elif text and not rows:
            raise DataError(f"{path} is not FASTA: its first line is no header with '>'.")
        elif text:
            rows[-1].append(text)
    if not rows:
        raise DataError(f"{path} holds no sequence.")
    labels = [header.rpartition("|")[2] if "|" in header else "" for header in headers]
    columns = {"sequence": ["".join(row) for row in rows], "label": labels, "name": headers}
    table = LabelledTable(path=path, columns=columns, lines=range(1, len(rows) + 1), place="record")
    return _from_table(table, name, None)


def _from_table(table: LabelledTable, name: str, rows: npt.NDArray[np.intp] | None) -> AuditPart:
    """Turn rows of a table into a part; ids as the tasks number them."""
    rows = np.arange(len(table)) if rows is None else rows
    codes = _encoded(table) if table.codes is None else table.codes
    places = places_of(table, [len(one) for one in codes])
    ids = table.columns.get("id", table.columns.get("name"))
    if ids is None or len(set(ids)) < len(ids):
        ids = [f"{name}:{row}" for row in range(len(table))]
    labels = np.array(table.columns.get("label", [""] * len(table)), dtype=np.str_)
    at = [
        None if place is None else (place.chrom, place.start, place.end) for place in places or ()
    ]
    return AuditPart(
        name=name,
        ids=tuple(ids[row] for row in rows),
        labels=labels[rows],
        codes=[codes[row] for row in rows],
        places=Places.of(at).select(rows) if at else None,
    )


def _encoded(table: LabelledTable) -> list[Codes]:
    """Encode the sequences of a table."""
    codes: list[Codes] = []
    for row, text in enumerate(table.columns["sequence"]):
        try:
            codes.append(np.bitwise_and(encode(text), np.uint8(CODE_BITS)))
        except DataError as error:
            raise table.refuse([row], "sequence", str(error)) from error
    return codes


_SPLITS = {"validation": "valid", "val": "valid", "dev": "valid"}


def _by_split(table: LabelledTable, name: str) -> Mapping[str, npt.NDArray[np.intp]]:
    """Return the rows of each part of one file."""
    if name != "all":
        return {name: np.arange(len(table))}
    split = np.array([_SPLITS.get(text.lower(), text.lower()) for text in table.columns["split"]])
    return {part: np.flatnonzero(split == part) for part in PARTS if (split == part).any()}


def _joined(pieces: list[AuditPart], name: str) -> AuditPart:
    """Put the classes of a folder of intervals together."""
    places = [piece.places for piece in pieces if piece.places is not None]
    return AuditPart(
        name=name,
        ids=tuple(one for piece in pieces for one in piece.ids),
        labels=np.concatenate([piece.labels for piece in pieces]),
        places=Places(
            chrom=np.concatenate([one.chrom for one in places]),
            start=np.concatenate([one.start for one in places]),
            end=np.concatenate([one.end for one in places]),
        ),
    )

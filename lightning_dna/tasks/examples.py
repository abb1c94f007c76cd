"""The labelled examples of a task: read from files or simulated, checked, and split.

Whatever the layout of the files, a row has a ``sequence`` and a ``label``, and optionally
``split``, ``id``, ``cluster`` and coordinates. Everything is refused that would give a score
without meaning.
"""

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lightning_dna.data.examples import Examples, Indices
from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import CODE_BITS, Codes, encode
from lightning_dna.genome.simulated_tasks import simulated_task
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.card_files import PARTS, Carve
from lightning_dna.tasks.labelled_files import find_files, read_part
from lightning_dna.tasks.layouts.places import places_of
from lightning_dna.tasks.layouts.table import LabelledTable, check_ids
from lightning_dna.tasks.units import with_units

_SPLIT_NAMES = {
    "train": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
}
_MAX_TRAIN_SEED = 0  # the choice of training examples is part of the task, not of a run


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledTask:
    """The three parts of a classification task.

    Attributes:
        train: Examples to learn from.
        valid: Examples that choose hyperparameters and epochs.
        test: Examples that are scored, once.
        classes: Name of each class, in the order of the label numbers.
        notes: What a reader of the scores should know, in sentences that begin with the task's
            name: carved parts, examples left out, sequences that stand in two parts.
    """

    train: Examples
    valid: Examples
    test: Examples
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def load_examples(card: TaskCard, tasks_root: Path | None = None) -> LabelledTask:
    """Return the examples of a classification task.

    Args:
        card: A card of kind ``classification`` or ``simulated_classification``.
        tasks_root: Folder in which relative paths are looked up first; the card's own folder comes
            second. A file may also be there with ``.gz`` added.

    Returns:
        Train, validation and test examples, labels numbered from 0.

    Raises:
        DataError: If a file is missing, truncated or not a CSV file with the columns; a sequence is
            empty, too long or not DNA; a label is not allowed; an id stands twice; or a part is
            empty or holds one class only. The message names file, column and lines.
    """
    if card.kind == "simulated_classification":
        return _simulated(card)
    parts, classes = _parts_from_files(card, tasks_root)
    notes = [card.deviation] if card.deviation else []
    if card.carve is not None and card.carve.part not in parts:
        parts |= _carve(parts, card.carve)
        notes += _carving(card, card.carve, parts)
    missing = [part for part in PARTS if part not in parts]
    if missing:
        raise DataError(
            f"task '{card.name}': no row belongs to {', '.join(missing)}; the column 'split' must "
            f"name {', '.join(PARTS)}, or the card must carve the part."
        )
    if card.max_train is not None and len(parts["train"]) > card.max_train:
        notes.append(
            f"{card.max_train} of {len(parts['train'])} training examples are used (max_train)."
        )
        parts["train"] = parts["train"].select(_sample(parts["train"], card.max_train))
    _check_classes(card, parts, classes)
    notes += _pooling(card, parts)
    return LabelledTask(**parts, classes=classes, notes=_of_task(card, notes))


def _simulated(card: TaskCard) -> LabelledTask:
    """Draw the examples of a simulated task."""
    drawn = simulated_task(
        str(card.simulated),
        n_train=card.n_train,
        n_valid=card.n_valid,
        n_test=card.n_test,
        length=card.length,
        seed=card.seed,
    )
    parts = {
        name: Examples(
            codes=[_plain_codes(sequence) for sequence in part.sequences],
            labels=part.labels,
            ids=tuple(part.ids),
        )
        for name, part in zip(PARTS, (drawn.train, drawn.valid, drawn.test), strict=True)
    }
    classes = ("0", "1")
    _check_classes(card, parts, classes)
    notes = _of_task(card, _pooling(card, parts))
    return LabelledTask(**parts, classes=classes, notes=notes)


def _parts_from_files(
    card: TaskCard, tasks_root: Path | None
) -> tuple[dict[str, Examples], tuple[str, ...]]:
    """Read all files of a card; return the parts they hold and the names of the classes."""
    paths = find_files(card, tasks_root)
    tables = {part: read_part(card, part, path, tasks_root) for part, path in paths.items()}
    classes = card.labels or _class_names(card, list(tables.values()))
    limit = card.sequence_length
    parts: dict[str, Examples] = {}
    ids: dict[str, tuple[str, ...]] = {}
    for part, table in tables.items():
        examples = _examples(table, part, classes, limit)
        ids[part] = examples.ids
        if part != "all":
            parts[part] = examples
            continue
        for name, indices in _rows_by_split(table).items():
            parts[name] = examples.select(indices)
    check_ids(tables, ids)
    return with_units(parts, card.unit, task=card.name), classes


def _examples(
    table: LabelledTable, part: str, classes: tuple[str, ...], sequence_length: int | None
) -> Examples:
    """Check and convert the rows of one file."""
    codes = _codes(table, sequence_length)
    ids = table.columns.get("id", [f"{part}:{row}" for row in range(len(codes))])
    if table.place == "file" or table.codes is not None:
        ids = [f"{part}:{name}" for name in ids]  # named within their part only
    clusters = table.columns.get("cluster")
    for name in ("id", "cluster"):
        empty = [row for row, value in enumerate(table.columns.get(name, [])) if not value]
        if empty:
            raise table.refuse(empty, name, "the field is empty; fill it or drop the column.")
    return Examples(
        codes=codes,
        labels=_labels(table, classes),
        ids=tuple(ids),
        clusters=None if clusters is None else tuple(clusters),
        coordinates=places_of(table, [len(row) for row in codes]),
    )


def _plain_codes(sequence: str) -> Codes:
    """Encode letters of either case without the soft mask."""
    return np.bitwise_and(encode(sequence), np.uint8(CODE_BITS))


def _codes(table: LabelledTable, sequence_length: int | None) -> list[Codes]:
    """Encode the sequences of a file, and check their lengths."""
    codes = _encoded(table) if table.codes is None else table.codes
    column = "sequence" if table.codes is None else "end"
    empty = [row for row, sequence in enumerate(codes) if not len(sequence)]
    if empty:
        raise table.refuse(empty, column, "the sequence is empty; remove the row.")
    long = [row for row, sequence in enumerate(codes) if len(sequence) > (sequence_length or 2**62)]
    if long:
        raise table.refuse(
            long,
            column,
            f"{len(codes[long[0]])} bases, above the card's sequence_length {sequence_length}; "
            f"shorten the sequence or correct the card.",
        )
    return codes


def _encoded(table: LabelledTable) -> list[Codes]:
    """Encode the sequences of a file that holds them as text."""
    codes: list[Codes] = []
    wrong: list[int] = []
    first = ""
    for row, sequence in enumerate(table.columns["sequence"]):
        try:
            codes.append(_plain_codes(sequence))
        except DataError as error:
            first = first or str(error)
            wrong.append(row)
    if wrong:
        raise table.refuse(wrong, "sequence", first)
    return codes


def _class_names(card: TaskCard, tables: list[LabelledTable]) -> tuple[str, ...]:
    """Return the names of the classes of a card that does not list them."""
    if card.layout != "classes":
        return _classes_found(tables)
    return tuple(sorted({label for table in tables for label in table.columns["label"]}))


def _classes_found(tables: list[LabelledTable]) -> tuple[str, ...]:
    """Return the names of the classes 0, 1, ... up to the largest integer label in any file."""
    largest, seen = 0, set[int]()
    for table in tables:
        labels = table.columns["label"]
        wrong = [
            row for row, label in enumerate(labels) if not (label.isascii() and label.isdigit())
        ]
        if wrong:
            raise table.refuse(
                wrong,
                "label",
                f"{labels[wrong[0]]!r} is not an integer of 0 or more; name the labels in class "
                f"order as 'labels' in the task card.",
            )
        seen.update(int(label) for label in labels)
        largest = max(seen)
        if largest >= len(labels):
            raise table.refuse(
                [row for row, label in enumerate(labels) if int(label) == largest],
                "label",
                f"label {largest} would mean {largest + 1} classes for {len(labels)} rows; number "
                f"the classes 0, 1, ..., or name them as 'labels' in the task card.",
            )
    absent = sorted({*range(largest + 1)} - seen)
    if absent:
        raise DataError(
            f"{tables[0].path}: no row of any part has the label {absent[0]}, and labels go up to "
            f"{largest}. Number the classes 0, 1, ... without a gap, or name them in class order as"
            f" 'labels' in the task card."
        )
    return tuple(str(label) for label in range(largest + 1))


def _labels(table: LabelledTable, classes: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Number the labels of a file."""
    number = {name: index for index, name in enumerate(classes)}
    found = table.columns["label"]
    if all(name.isdigit() for name in classes):
        found = [label.lstrip("0") or "0" if label.isdigit() else label for label in found]
    wrong = [row for row, label in enumerate(found) if label not in number]
    if wrong:
        raise table.refuse(
            wrong,
            "label",
            f"{found[wrong[0]]!r} is not a label of this task; allowed: {', '.join(classes)}.",
        )
    return np.array([number[label] for label in found], dtype=np.int64)


def _rows_by_split(table: LabelledTable) -> dict[str, Indices]:
    """Return the rows of each part that the column ``split`` names."""
    found = table.columns["split"]
    wrong = [row for row, name in enumerate(found) if name.lower() not in _SPLIT_NAMES]
    if wrong:
        raise table.refuse(
            wrong,
            "split",
            f"{found[wrong[0]]!r} is not a part; allowed: {', '.join(_SPLIT_NAMES)}.",
        )
    parts = np.array([_SPLIT_NAMES[name.lower()] for name in found])
    return {part: np.flatnonzero(parts == part) for part in PARTS if (parts == part).any()}


def whole_keys(examples: Examples) -> list[bytes]:
    """Return what must stay together when a part is cut: the cluster, else the sequence itself."""
    if examples.clusters is not None:
        return [cluster.encode() for cluster in examples.clusters]
    return [codes.tobytes() for codes in examples.codes]


def ranked_by_class(examples: Examples, keys: list[bytes], seed: int) -> list[Indices]:
    """Return the examples of each class in an order that only the seed and their keys decide."""
    salt = seed.to_bytes(16, "big")
    ranks = [hashlib.blake2b(key, digest_size=8, key=salt).digest() for key in keys]
    order = np.array(sorted(range(len(keys)), key=lambda index: (ranks[index], index)))
    labels = examples.labels[order]
    return [order[labels == label] for label in np.unique(labels)]


def _carve(parts: dict[str, Examples], rule: Carve) -> dict[str, Examples]:
    """Cut a part from another, the same share of every class; copies and clusters stay together."""
    if rule.source not in parts:
        raise DataError(f"carve: there is no {rule.source} part to cut {rule.part} from.")
    source = parts[rule.source]
    keys = whole_keys(source)
    chosen: set[bytes] = set()
    for members in ranked_by_class(source, keys, rule.seed):
        chosen |= {keys[index] for index in members[: round(rule.fraction * len(members))]}
    cut = np.array([key in chosen for key in keys])
    return {
        rule.part: source.select(np.flatnonzero(cut)),
        rule.source: source.select(np.flatnonzero(~cut)),
    }


def _sample(examples: Examples, size: int) -> Indices:
    """Choose some examples, the same share of every class, in their original order."""
    by_class = ranked_by_class(examples, [name.encode() for name in examples.ids], _MAX_TRAIN_SEED)
    # An example's place within its class, as a share: the smallest ones fill all classes evenly.
    places = np.concatenate([(np.arange(len(rows)) + 0.5) / len(rows) for rows in by_class])
    rows = np.concatenate(by_class)
    return np.sort(rows[np.argsort(places, kind="stable")[:size]])


def _check_classes(card: TaskCard, parts: dict[str, Examples], classes: tuple[str, ...]) -> None:
    """Refuse an empty part, a part of one class, and a class that training never shows."""
    counts = {part: np.bincount(parts[part].labels, minlength=len(classes)) for part in PARTS}
    for part, count in counts.items():
        if (count > 0).sum() < 2:
            held = [f"{name}: {n}" for name, n in zip(classes, count, strict=True) if n]
            raise DataError(
                f"task '{card.name}': the {part} part holds {', '.join(held) or 'no example'}; it "
                f"needs examples of at least two classes."
            )
    unseen = [
        classes[index]
        for index in range(len(classes))
        if counts["train"][index] == 0 and any(counts[part][index] for part in PARTS)
    ]
    if unseen:
        raise DataError(
            f"task '{card.name}': label {', '.join(unseen)} stands in the valid or test part, but "
            f"not in the training part; nothing can learn it."
        )


def _of_task(card: TaskCard, notes: list[str]) -> tuple[str, ...]:
    """Put the name of the task before each note: on a page they stand beside those of others."""
    return tuple(f"{card.name}: {note}" for note in notes)


def _carving(card: TaskCard, rule: Carve, parts: dict[str, Examples]) -> list[str]:
    """Say what was carved, where the part is used as it was carved."""
    if card.folds is not None or card.split not in ("original", "deoverlapped"):
        return []  # the part goes back into the pool that folds, chromosomes or clusters are of
    carved = (
        f"The {rule.part} part is carved from the file of the {rule.source} part: "
        f"{len(parts[rule.part])} examples, {len(parts[rule.source])} remain."
    )
    return [carved] if not card.carve_deviation else [card.carve_deviation, carved]


def _pooling(card: TaskCard, parts: dict[str, Examples]) -> list[str]:
    """Say what parts share, and that folds pool them; another split says itself what it did."""
    codes = {part: parts[part].codes for part in PARTS}
    notes = []
    if card.folds is not None:
        notes = [
            f"Cross-validation: training and validation examples are one pool of {card.folds} "
            f"folds; each chooses once, the others train, and every model predicts the test part."
        ]
        # Copies of a sequence are in one fold, so training and validation share none.
        codes = {"pooled": [*codes["train"], *codes["valid"]], "test": codes["test"]}
    return notes + (_shared_sequences(codes) if card.split == "original" else [])


def _shared_sequences(parts: Mapping[str, list[Codes]]) -> list[str]:
    """Say how many sequences of a part also stand in one before it."""
    sequences = {part: {codes.tobytes() for codes in held} for part, held in parts.items()}
    notes = []
    for other, part in itertools.combinations(parts, 2):
        shared = sum(codes.tobytes() in sequences[other] for codes in parts[part])
        if shared:
            notes.append(
                f"{shared} of {len(parts[part])} {part} sequences also stand in the {other} part."
            )
    return notes

"""The regions of a card with their sequences, labels and parts, from whatever layout they came."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from lightning_dna.data.examples import Indices
from lightning_dna.data.regions import IGNORED, LabelledRegions, RegionSequences
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import Codes
from lightning_dna.genome.fasta import Genome
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.deepsea_files import read_deepsea
from lightning_dna.tasks.labelled_files import check_sum, find_files
from lightning_dna.tasks.region_files import (
    RegionTable,
    check_assembly,
    evenly,
    place_regions,
    read_bend,
    read_coordinates,
    read_hdf5_labels,
)
from lightning_dna.tasks.regions import PARTS, Regions

_SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test",),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionSplit:
    """Rows that train, that choose and that are scored.

    Attributes:
        train: Rows to learn from.
        valid: Rows that choose the epoch or the regularisation.
        test: Rows that are scored, once.
    """

    train: Indices
    valid: Indices
    test: Indices


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionTask:
    """All regions of a task.

    Attributes:
        regions: Sequences and labels of all parts.
        splits: One split, or one for each fold.
        notes: What a reader of the scores should know, in whole sentences.
    """

    regions: LabelledRegions
    splits: tuple[RegionSplit, ...]
    notes: tuple[str, ...]

    def parts(self) -> Iterator[tuple[LabelledRegions, LabelledRegions, LabelledRegions]]:
        """Yield training, validation and test regions of every split."""
        for split in self.splits:
            train, valid, test = map(self.regions.select, (split.train, split.valid, split.test))
            yield train, valid, test


def load_regions(
    card: TaskCard, tasks_root: Path | None, study_genome: Callable[[], Genome]
) -> RegionTask:
    """Read the regions of a card.

    Args:
        card: A card of kind ``multilabel`` or ``per_position``.
        tasks_root: Folder in which relative paths are looked up first; the card's own comes second.
        study_genome: Returns the genome of the study, for a card that names none.

    Raises:
        DataError: If a file is missing or damaged, files do not belong together, a region does not
            lie within the genome, or a part is empty or has no label with both classes.
        ConfigError: If the layout needs a package that is not installed.
    """
    regions = said(card)
    paths = find_files(card, tasks_root)
    for name, path in paths.items():
        check_sum(path, (card.sha256 or {}).get(name))
    if regions.layout == "deepsea":
        task = _by_part(partial(_deepsea_part, card, paths))
    else:
        genome = _genome(card, regions, paths.get("genome"), study_genome)
        if regions.layout == "bend":
            task = _bend(card, regions, paths, genome)
        else:
            task = _by_part(partial(_coordinates_part, card, paths, genome))
    return replace(task, notes=(*task.notes, *_both_classes(card, task)))


def said(card: TaskCard) -> Regions:
    """Return what a card says of its regions."""
    if card.regions is None:
        raise ConfigError(f"task '{card.name}' of kind '{card.kind}' has no 'regions'.")
    return card.regions


def _genome(
    card: TaskCard,
    regions: Regions,
    path: Path | None,
    study_genome: Callable[[], Genome],
) -> Genome:
    """Open the genome that the regions are of."""
    where = f"task '{card.name}'"
    if path is None:
        genome = study_genome()
    else:
        genome, where = Genome.open(path), f"{where}, {path}"
    check_assembly(genome, regions, where=where)
    return genome


def _bend(
    card: TaskCard, regions: Regions, paths: Mapping[str, Path], genome: Genome
) -> RegionTask:
    """Read a BED file, and the labels of its column or of the HDF5 file."""
    bins = card.kind == "per_position"
    table = read_bend(paths["all"], regions, with_labels="labels" not in paths)
    if "labels" in paths:
        labels = read_hdf5_labels(paths["labels"], table, regions, bins=bins)
        table = replace(table, labels=labels)
    elif bins:
        raise DataError(f"task '{card.name}': labels by position need files.labels, an HDF5 file.")
    splits = _folds(table) if regions.folds else (_named_split(table, regions),)
    limited = tuple(_limited(split, card.max_train, regions.max_test) for split in splits)
    everything = _placed(table, regions, genome)
    return RegionTask(
        regions=everything,
        splits=limited,
        notes=(*_said_of_limits(splits, limited), *_overlaps(table, limited)),
    )


def _placed(table: RegionTable, regions: Regions, genome: Genome) -> LabelledRegions:
    """Cut the regions of a table from the genome."""
    chroms = place_regions(table, genome)
    starts, ends = table.starts, table.ends
    if regions.length is not None:
        starts = (starts + ends) // 2 - regions.length // 2
        ends = starts + regions.length
    shown = zip(table.chroms, table.starts, table.ends, table.strands, strict=True)
    names = [f"{chrom}:{start}-{end}({strand})" for chrom, start, end, strand in shown]
    seen: dict[str, int] = {}
    ids = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        ids.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    stretches = table.starts // regions.cluster_length
    assert table.labels is not None  # noqa: S101 - read from one file or the other by now
    return LabelledRegions(
        codes=RegionSequences(
            genome=genome, chroms=chroms, starts=starts, ends=ends, reverse=table.strands == "-"
        ),
        labels=table.labels,
        ids=tuple(ids),
        clusters=tuple(f"{c}:{s}" for c, s in zip(chroms, stretches, strict=True)),
    )


def _named_split(table: RegionTable, regions: Regions) -> RegionSplit:
    """Return the rows of train, valid and test by the names in the column ``split``."""
    names = {**_SPLIT_NAMES, **(regions.splits or {})}
    found = np.asarray(table.splits)
    allowed = [name for part in PARTS for name in names[part]]
    wrong = np.flatnonzero(~np.isin(found, allowed))
    if len(wrong):
        raise table.refuse(
            wrong,
            f"split '{found[wrong[0]]}' is no part; allowed: {', '.join(allowed)}. Name it under "
            f"regions.splits, or set regions.folds if the column holds folds.",
        )
    rows = {part: np.flatnonzero(np.isin(found, names[part])) for part in PARTS}
    empty = [part for part in PARTS if not len(rows[part])]
    if empty:
        raise DataError(
            f"{table.path}: no region belongs to {', '.join(empty)}; the column 'split' holds "
            f"{', '.join(sorted(set(found.tolist())))}."
        )
    return RegionSplit(train=rows["train"], valid=rows["valid"], test=rows["test"])


def _folds(table: RegionTable) -> tuple[RegionSplit, ...]:
    """Make every fold the test part once; the next one in sorted order validates."""
    found = np.asarray(table.splits)
    names = sorted(set(found.tolist()))
    if len(names) < 3:
        raise DataError(
            f"{table.path}: the column 'split' holds {', '.join(names)}; folds need three names at "
            f"least: one to score, one to choose, the others to train."
        )
    splits = []
    for number, name in enumerate(names):
        following = names[(number + 1) % len(names)]
        test, valid = found == name, found == following
        splits.append(
            RegionSplit(
                train=np.flatnonzero(~test & ~valid),
                valid=np.flatnonzero(valid),
                test=np.flatnonzero(test),
            )
        )
    return tuple(splits)


def _limited(split: RegionSplit, max_train: int | None, max_test: int | None) -> RegionSplit:
    """Keep evenly spread rows of the training and of the test part."""
    return RegionSplit(
        train=split.train[evenly(len(split.train), max_train)],
        valid=split.valid,
        test=split.test[evenly(len(split.test), max_test)],
    )


def _said_of_limits(
    splits: tuple[RegionSplit, ...], limited: tuple[RegionSplit, ...]
) -> Iterator[str]:
    """Say how many regions were left out."""
    for name in ("train", "test"):
        before = sum(len(getattr(split, name)) for split in splits)
        after = sum(len(getattr(split, name)) for split in limited)
        if after < before:
            yield f"{after} of {before} {name} regions are used."


def _overlaps(table: RegionTable, splits: tuple[RegionSplit, ...]) -> Iterator[str]:
    """Say how many test regions share a base with a training region."""
    shared = total = 0
    for split in splits:
        total += len(split.test)
        for chrom in np.unique(table.chroms[split.test]):
            train = split.train[table.chroms[split.train] == chrom]
            test = split.test[table.chroms[split.test] == chrom]
            starts, ends = np.sort(table.starts[train]), np.sort(table.ends[train])
            # Training regions that begin before the end, less those that end before the start.
            begun = np.searchsorted(starts, table.ends[test], side="left")
            over = np.searchsorted(ends, table.starts[test], side="right")
            shared += int((begun > over).sum())
    if shared:
        yield f"{shared} of {total} test regions overlap a training region."


def _by_part(read: Callable[[str], LabelledRegions]) -> RegionTask:
    """Put the parts of separate files one after the other."""
    found = [read(part) for part in PARTS]
    edges = np.cumsum([0, *(len(part) for part in found)])
    rows = [np.arange(first, after) for first, after in itertools.pairwise(edges)]
    return RegionTask(
        regions=LabelledRegions(
            codes=_joined([part.codes for part in found]),
            labels=np.concatenate([part.labels for part in found]),
            ids=tuple(name for part in found for name in part.ids),
            clusters=tuple(name for part in found for name in part.clusters),
        ),
        splits=(RegionSplit(train=rows[0], valid=rows[1], test=rows[2]),),
        notes=(),
    )


def _joined(parts: list[Sequence[Codes]]) -> Sequence[Codes]:
    """Put sequences one after the other, without cutting them from their genome."""
    regions = [part for part in parts if isinstance(part, RegionSequences)]
    if len(regions) < len(parts):
        return [codes for part in parts for codes in part]
    return RegionSequences(
        genome=regions[0].genome,
        chroms=np.concatenate([part.chroms for part in regions]),
        starts=np.concatenate([part.starts for part in regions]),
        ends=np.concatenate([part.ends for part in regions]),
        reverse=np.concatenate([part.reverse for part in regions]),
    )


def _deepsea_part(card: TaskCard, paths: Mapping[str, Path], part: str) -> LabelledRegions:
    """Read one of DeepSEA's files."""
    regions = said(card)
    return read_deepsea(
        paths[part],
        part,
        label_count=regions.label_count,
        keep=_most(card, part),
        cluster_length=regions.cluster_length,
    )


def _coordinates_part(
    card: TaskCard, paths: Mapping[str, Path], genome: Genome, part: str
) -> LabelledRegions:
    """Read one table of coordinates."""
    table = read_coordinates(paths[part], said(card), keep=_most(card, part))
    placed = _placed(table, said(card), genome)
    return replace(placed, ids=tuple(f"{part}:{name}" for name in placed.ids))


def _most(card: TaskCard, part: str) -> int | None:
    """Return how many regions of a part to keep at most."""
    return {"train": card.max_train, "test": said(card).max_test}.get(part)


def _both_classes(card: TaskCard, task: RegionTask) -> Iterator[str]:
    """Say how many labels have one class only in the test part; refuse a part without any other."""
    if card.kind == "per_position":
        for part in ("train", "test"):
            rows = np.concatenate([getattr(split, part) for split in task.splits])
            values = task.regions.labels[rows]
            if len(np.unique(values[values != IGNORED])) < 2:
                raise DataError(f"task '{card.name}': the {part} part holds one class only.")
        return
    for part in PARTS:
        for split in task.splits:
            share = task.regions.labels[getattr(split, part)].mean(axis=0)
            single = int(((share == 0) | (share == 1)).sum())
            if single == len(share):
                raise DataError(
                    f"task '{card.name}': no label has both classes in the {part} part; nothing "
                    f"can be {'learned' if part == 'train' else 'ranked'} there."
                )
            if single and part == "test":
                yield (
                    f"{single} of {len(share)} labels have one class only in the test part and are "
                    f"left out of every mean."
                )

"""Files of sequences and where these stand in a genome, as a table."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightning_dna.atomic import replacing
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.locate import Locations, locate
from lightning_dna.tasks.audit_parts import (
    LABELLED_KINDS,
    AuditPart,
    parts_of_card,
    read_audit_part,
)
from lightning_dna.tasks.card import TaskCard

COLUMNS = ("file", "example_id", "chrom", "start", "end", "strand", "n_hits")


@dataclass(frozen=True, kw_only=True, eq=False)
class LocatedFile:
    """The sequences of one file and their places.

    Attributes:
        path: The file, or the part of a card.
        ids: Name of each sequence.
        places: Where they stand.
    """

    path: Path | str
    ids: tuple[str, ...]
    places: Locations

    def summary(self) -> list[str]:
        """Return file, sequences, located, share, first places by strand, repeated, too short."""
        hits, first = self.places.n_hits, self.places.first
        reverse = self.places.reverse[first[first >= 0]]
        located = int((hits > 0).sum())
        return [
            str(self.path),
            f"{len(self.ids):,}",
            f"{located:,}",
            f"{located / len(self.ids):.1%}",
            f"{int((~reverse).sum()):,}",
            f"{int(reverse.sum()):,}",
            f"{int((hits > 1).sum()):,}",
            f"{int((~self.places.searched).sum()):,}",
        ]

    def rows(self) -> Iterator[tuple[str, str, str, str, str, str, int]]:
        """Yield a row of ``COLUMNS`` for each place, and an empty one where there is none."""
        found, hits = self.places, self.places.n_hits.tolist()
        edges = np.searchsorted(found.query, np.arange(len(self.ids) + 1)).tolist()
        for index, name in enumerate(self.ids):
            if not hits[index]:
                yield (str(self.path), name, "", "", "", "", 0)
            for place in range(edges[index], edges[index + 1]):
                yield (
                    str(self.path),
                    name,
                    found.chroms[int(found.chrom_index[place])],
                    str(int(found.start[place])),
                    str(int(found.end[place])),
                    "-" if found.reverse[place] else "+",
                    hits[index],
                )


def located_file(path: Path, genome: Genome, *, k: int, task: str | None = None) -> LocatedFile:
    """Read a file and locate its sequences.

    Args:
        path: The file.
        genome: Where they are looked for.
        k: Bases of a seed.
        task: Of a Parquet table of several tasks, the one whose rows are read.

    Raises:
        DataError: If the file cannot be used, or holds no sequences.
        ConfigError: If ``k`` is out of range, or the table is of other tasks.
    """
    part = read_audit_part(path, path.name.split(".")[0], task=task)
    return _located(path, part, genome, k)


def located_card(
    card: TaskCard, tasks_root: Path | None, genome: Genome, *, k: int
) -> list[LocatedFile]:
    """Read the files of a card and locate their sequences, part by part, as ``CARD/PART``.

    Raises:
        DataError: If none of its files is at hand, one cannot be used or holds no sequences.
        ConfigError: If ``k`` is out of range, or the card is not of labelled sequences.
    """
    if card.kind not in LABELLED_KINDS:
        raise ConfigError(
            f"task '{card.name}' is of kind '{card.kind}'; sequences are located of the kinds "
            f"{', '.join(LABELLED_KINDS)}."
        )
    parts, missing = parts_of_card(card, tasks_root)
    if not parts:
        raise DataError(
            f"task '{card.name}': missing files: {missing}; name their folder with --tasks-root."
        )
    return [_located(f"{card.name}/{name}", part, genome, k) for name, part in parts.items()]


def _located(path: Path | str, part: AuditPart, genome: Genome, k: int) -> LocatedFile:
    """Locate the sequences of a part."""
    if part.codes is None:
        raise DataError(f"{path} holds intervals, not sequences; there is nothing to locate.")
    return LocatedFile(path=path, ids=part.ids, places=locate(part.codes, genome, k=k))


def write_locations(files: Iterable[LocatedFile], path: Path) -> None:
    """Write the places of all files as one CSV file.

    Raises:
        UnwritableError: If the folder cannot be written to.
    """
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for one in files:
            writer.writerows(one.rows())

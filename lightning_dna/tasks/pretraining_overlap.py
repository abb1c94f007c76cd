"""What of a task's examples a model has seen in pretraining: by place, and by k-mers.

A sequence that stands letter by letter on a training chromosome was in pretraining, whatever its
label. One that stands nowhere may still have relatives there, which the k-mers show.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.locate import locate
from lightning_dna.genome.similarity import containment
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.tasks.audit_parts import AuditPart
from lightning_dna.tasks.leakage import LeakageAudit, LeakageRow, counted_rows
from lightning_dna.tasks.relations import LeakageSettings

PREFIX = "pretraining "
PRETRAINING_K = 21
"""Shortest k-mer here: whole chromosomes hold every shorter one by chance."""
_SPLIT_PARTS: tuple[Literal["train", "valid", "test"], ...] = ("train", "valid", "test")


def with_pretraining(
    audit: LeakageAudit,
    task: str,
    parts: Mapping[str, AuditPart],
    genome: Genome,
    split: ChromosomeSplit,
) -> LeakageAudit:
    """Add to the audit of one task how its examples lie to the chromosomes of a pretraining.

    ``copies`` are sequences that stand on chromosomes of that part of the split, exactly, on either
    strand; ``similar`` those of which these chromosomes together hold ``threshold`` or more of the
    k-mers, of 21 bases at least. The table of
    examples gets ``pretraining_part`` (the first part that holds the sequence, ``""`` for none) and
    ``pretraining_similarity`` (to the training chromosomes).

    Args:
        audit: The audit of the task alone.
        task: Name of the task.
        parts: Its parts; they must hold sequences.
        genome: The genome of the pretraining.
        split: Its chromosomes.

    Raises:
        DataError: If a part holds places only.
    """
    rows: list[LeakageRow] = []
    columns: dict[str, tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]] = {}
    for name, part in parts.items():
        found, holder, similarity = _seen(task, part, genome, split, audit.settings)
        rows += found
        columns[name] = (holder, similarity)
    examples = audit.examples
    for place, column in enumerate(("pretraining_part", "pretraining_similarity")):
        pieces = [columns[name][place] for name in dict.fromkeys(examples["part"])]
        examples = examples.assign(**{column: np.concatenate(pieces)})
    note = (
        f"{task}: pretraining is compared by {max(audit.settings.k, PRETRAINING_K)}-mers, with all "
        f"its chromosomes together, because they hold shorter ones by chance."
    )
    return replace(audit, rows=(*audit.rows, *rows), examples=examples, notes=(*audit.notes, note))


def _seen(
    task: str,
    part: AuditPart,
    genome: Genome,
    split: ChromosomeSplit,
    settings: LeakageSettings,
) -> tuple[list[LeakageRow], npt.NDArray[np.generic], npt.NDArray[np.generic]]:
    """Return the rows of one part, and for each example where it stands and how similar it is."""
    if part.codes is None:
        raise DataError(
            f"task '{task}': the {part.name} part holds places only; --pretraining needs sequences:"
            f" give the genome of the intervals with --genome."
        )
    found = locate(part.codes, genome)
    chrom = np.array(found.chroms, dtype=np.str_)[found.chrom_index]
    holder = np.full(len(part), "", dtype=object)
    similarity = np.full(len(part), np.nan)
    rows = []
    for name in _SPLIT_PARTS:
        chroms = split.part(name)
        if not chroms:
            continue
        held = np.zeros(len(part), dtype=np.bool_)
        held[found.query[np.isin(chrom, chroms)]] = True
        targets = [genome.stored(one) for one in chroms]
        shares = containment(part.codes, targets, k=max(settings.k, PRETRAINING_K))
        if name == "train":
            similarity = shares
        holder[held & (holder == "")] = name
        flags = {"copies": held, "similar": held | (shares >= settings.threshold)}
        rows += counted_rows(task, part, f"{PREFIX}{name}", flags)
    return rows, holder, similarity

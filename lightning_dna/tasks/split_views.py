"""The same examples under another split: how much of a score is what training had seen before.

``deoverlapped`` keeps the test set and drops from training and validation whatever is related to
it, so that scores are paired with those of the original split, example by example. ``chromosome``
and ``homology`` share all examples out anew, whole chromosomes or whole clusters at a time, in
about the original sizes; their test sets are other examples, and only unpaired comparison is
possible.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from lightning_dna.data.examples import Examples, Indices
from lightning_dna.errors import DataError
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.intervals import Interval
from lightning_dna.genome.kmers import sketch
from lightning_dna.genome.locate import locate
from lightning_dna.genome.nearest import Places, nearness
from lightning_dna.genome.similarity import (
    best_matches,
    have_relatives,
    homology_clusters,
    identical_groups,
)
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.tasks.card_files import Split
from lightning_dna.tasks.examples import LabelledTask
from lightning_dna.tasks.relations import SIMILARITY_K, SIMILARITY_THRESHOLD

PAIRED: tuple[Split, ...] = ("deoverlapped",)
"""Splits that keep the test examples of the original one."""
SIMILARITY_EDGES = (0.0, 0.1, 0.5, 0.9)
_SEED = 0  # which examples test is part of the task, not of a run
_PARTS: tuple[Literal["train", "valid", "test"], ...] = ("train", "valid", "test")


def resplit(
    task: LabelledTask, split: Split, *, name: str, genome: Genome | None = None
) -> LabelledTask:
    """Return a task under another split.

    Args:
        task: The task as published.
        split: ``original``, ``deoverlapped``, ``chromosome`` or ``homology``.
        name: Name of the task, for notes and messages.
        genome: Where examples without coordinates are looked for; ``chromosome`` alone needs it.

    Returns:
        The task, with notes on what was done.

    Raises:
        DataError: If places are needed and unknown, one cluster or chromosome holds so much that
            nothing else can be shared out, or a part is left with fewer than two classes.
    """
    if split == "original":
        return task
    if split == "deoverlapped":
        found = _deoverlapped(task, name)
    elif split == "homology":
        found = _by_homology(task, name)
    else:
        found = _by_chromosome(task, name, genome)
    for part in _PARTS:
        held = set(getattr(found, part).labels.tolist())
        if len(held) < 2:
            raise DataError(
                f"task '{name}': under split '{split}' the {part} part holds "
                f"{len(getattr(found, part))} examples of {len(held)} class(es); this task cannot "
                f"be split that way. Leave '{split}' out of tasks.splits."
            )
    return found


def similarity_to_training(task: LabelledTask) -> npt.NDArray[np.float64]:
    """Return how much of each test example's k-mers its most similar training example holds.

    Returns:
        Values from 0 to 1, 1 for copies, shape ``(test examples,)``; NaN without a k-mer.
    """
    queries, targets = (sketch(part.codes, k=SIMILARITY_K) for part in (task.test, task.train))
    copies = identical_groups([*task.test.codes, *task.train.codes])
    known = np.isin(copies[: len(task.test)], copies[len(task.test) :])
    return np.where(known, 1.0, best_matches(queries, targets).containment)


def similarity_stratum(similarity: npt.NDArray[np.float64]) -> npt.NDArray[np.str_]:
    """Name the stratum of each value, in per cent; ``""`` for NaN.

    Example:
        >>> similarity_stratum(np.array([0.05, 0.1, 1.0])).tolist()
        ['similarity_0_10', 'similarity_10_50', 'similarity_90_100']
    """
    names = np.array(["", *similarity_strata()])
    place = np.searchsorted(SIMILARITY_EDGES, similarity, side="right")
    return names[np.where(np.isnan(similarity), 0, place)]


def similarity_strata() -> tuple[str, ...]:
    """Return the names of the strata, from the least similar to the most.

    Example:
        >>> similarity_strata()[0]
        'similarity_0_10'
    """
    edges = [round(100 * edge) for edge in (*SIMILARITY_EDGES, 1.0)]
    return tuple(f"similarity_{low}_{high}" for low, high in itertools.pairwise(edges))


def _deoverlapped(task: LabelledTask, name: str) -> LabelledTask:
    """Drop from train and valid what is a copy or a relative of a test example, or overlaps it."""
    test = sketch(task.test.codes, k=SIMILARITY_K)
    kept, dropped = {}, {}
    for part in ("train", "valid"):
        examples = getattr(task, part)
        known = identical_groups([*task.test.codes, *examples.codes])
        seen = np.isin(known[len(task.test) :], known[: len(task.test)])
        seen |= have_relatives(
            sketch(examples.codes, k=SIMILARITY_K), test, threshold=SIMILARITY_THRESHOLD
        )
        if examples.coordinates is not None and task.test.coordinates is not None:
            mine, theirs = _places(examples.coordinates), _places(task.test.coordinates)
            seen |= nearness(mine, theirs).overlap > 0
        kept[part] = examples.select(np.flatnonzero(~seen))
        dropped[part] = int(seen.sum())
    note = (
        f"{name}: split deoverlapped: {dropped['train']:,} of {len(task.train):,} training and "
        f"{dropped['valid']:,} of {len(task.valid):,} validation examples are related to a test "
        f"example ({_rule()}) and are left out; the test examples are the original ones."
    )
    return replace(task, **kept, notes=(*task.notes, note))


def _rule() -> str:
    """Say what makes relatives."""
    return f"{SIMILARITY_THRESHOLD:.0%} or more of the {SIMILARITY_K}-mers, on either strand"


def _places(coordinates: Sequence[Interval | None]) -> Places:
    """Put coordinates into columns."""
    rows = [None if one is None else (one.chrom, one.start, one.end) for one in coordinates]
    return Places.of(rows)


def _by_homology(task: LabelledTask, name: str) -> LabelledTask:
    """Share out clusters of similar sequences."""
    everything = _all_examples(task)
    clusters = homology_clusters(everything.codes, k=SIMILARITY_K, threshold=SIMILARITY_THRESHOLD)
    sizes = np.bincount(clusters)
    wanted = {"test": len(task.test), "valid": len(task.valid)}
    free = len(everything) - int(sizes.max())
    if free < sum(wanted.values()):
        raise DataError(
            f"task '{name}': one cluster holds {sizes.max():,} of {len(everything):,} sequences; "
            f"the other {free:,} do not fill a test and a validation part of "
            f"{wanted['test']:,} and {wanted['valid']:,}. Leave 'homology' out of tasks.splits."
        )
    part_of = _shared_out(sizes, wanted)
    note = (
        f"{name}: split homology: {len(sizes):,} clusters of sequences ({_rule()}) are shared out "
        f"whole; the largest holds {sizes.max():,}. The test examples are not the original ones."
    )
    labels = tuple(f"h{cluster}" for cluster in clusters.tolist())
    return _parted(
        task, replace(everything, clusters=labels), part_of[clusters], (*task.notes, note)
    )


def _shared_out(sizes: Indices, wanted: dict[str, int]) -> npt.NDArray[np.str_]:
    """Choose a part for each cluster: in a seeded order test is filled, then valid, then train.

    A cluster of more than a quarter of a part does not go there: it would decide the part alone.
    """
    rng = np.random.default_rng(_SEED)
    part_of = np.full(len(sizes), "train", dtype="<U5")
    left = dict(wanted)
    for cluster in rng.permutation(len(sizes)).tolist():
        for part in ("test", "valid"):
            if sizes[cluster] <= min(left[part], max(wanted[part] // 4, 1)):
                part_of[cluster] = part
                left[part] -= int(sizes[cluster])
                break
    return part_of


def _by_chromosome(task: LabelledTask, name: str, genome: Genome | None) -> LabelledTask:
    """Share out chromosomes; examples of unknown place are left out."""
    everything = _all_examples(task)
    places = everything.coordinates
    if places is None:
        if genome is None:
            raise DataError(
                f"task '{name}': split 'chromosome' needs coordinates, or a genome to find the "
                f"sequences in."
            )
        places = located(everything, genome)
    chroms = np.array(["" if place is None else place.chrom for place in places])
    known = np.flatnonzero(chroms != "")
    if len(known) < len(everything) / 2:
        raise DataError(
            f"task '{name}': split 'chromosome': {len(known):,} of {len(everything):,} examples "
            f"have a known place; is this the genome that they were made from?"
        )
    everything = replace(everything, coordinates=places).select(known)
    names, counts = np.unique(chroms[known], return_counts=True)
    if len(names) < 3:
        raise DataError(
            f"task '{name}': split 'chromosome': all examples lie on {', '.join(names)}; three "
            f"chromosomes or more are needed."
        )
    total = len(task.train) + len(task.valid) + len(task.test)
    split = ChromosomeSplit.by_fraction(
        dict(zip(names.tolist(), counts.tolist(), strict=True)),
        valid_fraction=len(task.valid) / total,
        test_fraction=len(task.test) / total,
        seed=_SEED,
    )
    home = {chrom: part for part in _PARTS for chrom in split.part(part)}
    part_of = np.array([home[chrom] for chrom in chroms[known].tolist()])
    note = (
        f"{name}: split chromosome: test {', '.join(split.test)}; valid {', '.join(split.valid)}; "
        f"{total - len(known):,} of {total:,} examples of unknown place are left out. The test "
        f"examples are not the original ones."
    )
    return _parted(task, everything, part_of, (*task.notes, note))


def located(examples: Examples, genome: Genome) -> tuple[Interval | None, ...]:
    """Return the first place in a genome of each sequence, ``None`` where it has none."""
    found = locate(examples.codes, genome)
    places: list[Interval | None] = []
    for place in found.first.tolist():
        if place < 0:
            places.append(None)
            continue
        chrom = found.chroms[int(found.chrom_index[place])]
        strand: Literal["+", "-"] = "-" if found.reverse[place] else "+"
        places.append(Interval(chrom, int(found.start[place]), int(found.end[place]), strand))
    return tuple(places)


def _all_examples(task: LabelledTask) -> Examples:
    """Put the three parts after each other."""
    parts = (task.train, task.valid, task.test)
    places = [part.coordinates for part in parts]
    clusters = [part.clusters for part in parts]
    return Examples(
        codes=[one for part in parts for one in part.codes],
        labels=np.concatenate([part.labels for part in parts]),
        ids=tuple(one for part in parts for one in part.ids),
        clusters=None
        if any(one is None for one in clusters)
        else tuple(name for one in clusters for name in one or ()),
        coordinates=None
        if any(one is None for one in places)
        else tuple(place for one in places for place in one or ()),
    )


def _parted(
    task: LabelledTask,
    everything: Examples,
    part_of: npt.NDArray[np.str_],
    notes: tuple[str, ...],
) -> LabelledTask:
    """Cut examples into parts."""
    train, valid, test = (everything.select(np.flatnonzero(part_of == part)) for part in _PARTS)
    return replace(task, train=train, valid=valid, test=test, notes=notes)

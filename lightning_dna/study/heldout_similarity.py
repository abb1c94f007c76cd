"""What is known of every scored window beyond its scores: GC, likeness to training, relatives.

The table is made from the genome alone, once for each genome, split and choice of windows, and kept
in the study's folder ``similarity/`` as Parquet. No score depends on it, so a card may ask for it
after everything was scored.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from lightning_dna import settings
from lightning_dna.atomic import replacing
from lightning_dna.data.windows import Windows
from lightning_dna.genome.alphabet import CODE_BITS, Codes
from lightning_dna.genome.annotation import gc_names, gc_strata
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.kmers import sketch
from lightning_dna.genome.similarity import components
from lightning_dna.genome.similarity_windows import (
    LONG_K,
    SIMILARITY_K,
    identity_estimate,
    window_similarity,
)
from lightning_dna.study.kfold import fold_rows
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.heldout import HeldOutTask
from lightning_dna.tasks.heldout_mlm import HeldoutMLM
from lightning_dna.tasks.task import Task

FORMAT = 1
RELATED = 0.1
"""Share of the 21-mers of the smaller of two windows that makes them relatives."""

Parts = Literal["train", "test"]


def window_tables(folds: Sequence[Mapping[str, Task]], folder: Path) -> dict[str, pd.DataFrame]:
    """Return, for each held-out task whose card asks for it, the table of its windows.

    Args:
        folds: Tasks by name, of each fold of a study over folds; of any other study, once.
        folder: The study's folder, where the tables are kept.

    Returns:
        Task name to one row per scored window: ``example_id``, ``part`` (train | test), ``chrom``,
        ``start``, ``end``, ``gc`` (GC bin of the whole window, as in strata); with ``similarity:
        true``, of test windows, ``kmers`` (distinct 21-mers), ``containment`` (share of them on
        training chromosomes, either strand), ``containment_31`` (the same of 31-mers),
        ``identity`` (estimated from the two, of what is shared), ``longest_match`` (bases); with
        ``unit: homology`` ``cluster_id``.

    Raises:
        DataError: If the genome cannot be read.
    """
    found: dict[str, list[HeldoutMLM]] = {}
    for tasks in folds:
        for name, task in tasks.items():
            if isinstance(task, HeldOutTask) and asks(task.card):
                found.setdefault(name, []).append(task.windows)
    return {name: _kept(tasks, folder) for name, tasks in found.items()}


def asks(card: TaskCard) -> bool:
    """Tell whether a card wants more of its windows than their scores."""
    return card.similarity or card.matched_gap or card.unit == "homology"


def _kept(tasks: Sequence[HeldoutMLM], folder: Path) -> pd.DataFrame:
    """Read the table of one task in all of its folds, or make and keep it."""
    card = tasks[0].card
    digest = settings.fingerprint(
        {
            "format": FORMAT,
            "genome": tasks[0].genome.digest,
            "train": [list(task.split.train) for task in tasks],
            "windows": [
                task.windows(part).example_ids().tolist() for task in tasks for part in task.parts
            ],
            "similarity": card.similarity,
            "homology": card.unit == "homology",
            "cluster_length": card.cluster_length,
        }
    )
    path = folder / "similarity" / f"{card.name}-{digest}.parquet"
    if not path.is_file():
        made = pd.concat([_part(tasks, part) for part in tasks[0].parts], ignore_index=True)
        with replacing(path) as temporary:
            made.to_parquet(temporary, index=False)
    return pd.read_parquet(path)


def _part(tasks: Sequence[HeldoutMLM], part: Parts) -> pd.DataFrame:
    """Return the rows of one part in all folds; relatives are found across folds."""
    card, codes, frames = tasks[0].card, [], []
    for fold, task in enumerate(tasks):
        windows = task.windows(part)
        read = _codes(task.genome, windows)
        frame = _table(card, task, part, windows, read)
        frames.append(fold_rows(frame, fold if len(tasks) > 1 else None))
        codes += read
    rows = pd.concat(frames, ignore_index=True)
    if card.unit == "homology":
        block = rows["start"] // card.cluster_length
        rows["cluster_id"] = homology_blocks(codes, [*(rows["chrom"] + ":" + block.astype(str))])
    return rows


def _table(
    card: TaskCard, task: HeldoutMLM, part: Parts, windows: Windows, codes: Sequence[Codes]
) -> pd.DataFrame:
    """Return the rows of one part in one fold."""
    names = np.array(gc_names(), dtype=object)
    chrom = np.array(windows.chroms, dtype=object)[windows.chrom_index]
    frame = pd.DataFrame(
        {
            "example_id": windows.example_ids().astype(object),
            "part": part,
            "chrom": chrom,
            "start": windows.starts,
            "end": windows.ends,
            "gc": names[gc_strata(np.bitwise_and(np.stack(codes), np.uint8(CODE_BITS)))],
        }
    )
    if card.similarity:
        # Of training windows nothing is asked: they stand in training whole.
        known = _similarity(task, codes if part == "test" else [])
        frame = pd.concat([frame, known.reindex(frame.index)], axis=1)
    return frame


def _codes(genome: Genome, windows: Windows) -> list[Codes]:
    """Read some windows."""
    rows = zip(
        windows.chrom_index.tolist(), windows.starts.tolist(), windows.ends.tolist(), strict=True
    )
    return [
        np.asarray(genome.stored(windows.chroms[chrom])[start:end]) for chrom, start, end in rows
    ]


def _similarity(task: HeldoutMLM, codes: Sequence[Codes]) -> pd.DataFrame:
    """Measure held-out windows against the training chromosomes."""
    training = [np.asarray(task.genome.stored(chrom)) for chrom in task.split.train]
    found = window_similarity(codes, training, k=SIMILARITY_K)
    longer = window_similarity(codes, training, k=LONG_K, matches=False).containment
    return pd.DataFrame(
        {
            "kmers": found.kmers,
            "containment": found.containment,
            "containment_31": longer,
            "identity": identity_estimate(found.containment, longer, k=SIMILARITY_K, long_k=LONG_K),
            "longest_match": found.longest_match,
        }
    )


def homology_blocks(
    codes: Sequence[Codes], blocks: Sequence[str], *, k: int = SIMILARITY_K
) -> list[str]:
    """Unite stretches of chromosome whose windows are relatives: what is resampled as one.

    Two windows are relatives if the smaller set of k-mers has a tenth or more of its members in the
    other, on either strand. Blocks with relatives, and relatives of relatives, are one cluster.
    That two windows resemble the same training sequence does not make them relatives by itself: if
    it is the same part of it, they resemble each other. Training and held-out windows are grouped
    apart, and the sides of a gap are resampled independently: relatives across the sides move both
    alike, so that the interval of a gap is rather too wide for them than too short.

    Args:
        codes: Base codes of each window.
        blocks: Stretch of chromosome of each window.
        k: Bases of a k-mer.

    Returns:
        Cluster of each window, named like its first block.

    Example:
        >>> from lightning_dna.genome.alphabet import encode
        >>> windows = [encode(text) for text in ("ACCATTGAC", "GTCAATGGT", "GGGGGCGGG")]
        >>> homology_blocks(windows, ["a:0", "b:7", "b:8"], k=5)
        ['a:0', 'a:0', 'b:8']
    """
    relatives = components(sketch(codes, k=k), threshold=RELATED)
    names, block = np.unique(np.array(blocks, dtype=str), return_inverse=True)
    # A window joins its block to its relatives: blocks first, families behind them.
    size = len(names) + (int(relatives.max()) + 1 if len(relatives) else 0)
    ones = np.ones(len(block), dtype=np.int8)
    graph = csr_matrix((ones, (block, len(names) + relatives)), shape=(size, size))
    joined = connected_components(graph, directed=False)[1][: len(names)]
    first: dict[int, str] = {}
    for cluster, name in zip(joined[block].tolist(), blocks, strict=True):
        first.setdefault(cluster, name)
    return [first[cluster] for cluster in joined[block].tolist()]


def cluster_sizes(clusters: npt.ArrayLike) -> tuple[int, float, float]:
    """Return the number of clusters, their effective number, and the largest one's share.

    The effective number is Kish's, (sum n)^2 / sum n^2: that of equal clusters which would say as
    much.

    Example:
        >>> cluster_sizes(["a", "a", "b", "c"])
        (3, 2.6666666666666665, 0.5)
    """
    counts = np.unique(np.asarray(clusters, dtype=str), return_counts=True)[1].astype(np.float64)
    total = counts.sum()
    return len(counts), float(total**2 / (counts**2).sum()), float(counts.max() / total)

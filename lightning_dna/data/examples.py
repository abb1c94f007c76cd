"""Labelled sequences as arrays, and batches of sequences of similar length. No torch here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import DataError
from lightning_dna.genome.alphabet import Codes
from lightning_dna.genome.intervals import Interval

Indices = npt.NDArray[np.int64]

_BATCHES_PER_BUCKET = 16  # sorted by length together: little padding, and still mixed examples


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Labelled sequences of one part of a task.

    Attributes:
        codes: Base codes 0 to 4 (A, C, G, T, N) of each sequence; lengths may differ.
        labels: Class of each sequence, from 0, shape ``(n,)``.
        ids: Name of each sequence, unique.
        clusters: Cluster of each sequence, for statistics that must not treat relatives as
            independent; ``None`` means that each stands for itself.
        coordinates: Where each sequence lies on a genome, 0-based and half-open, with its strand;
            ``None`` for one of unknown place, and ``None`` as a whole where no place is known.

    Example:
        >>> examples = Examples(
        ...     codes=[np.zeros(3, np.uint8)], labels=np.array([1]), ids=("first",)
        ... )
        >>> len(examples), examples.cluster_ids
        (1, ('first',))
    """

    codes: list[Codes]
    labels: npt.NDArray[np.int64]
    ids: tuple[str, ...]
    clusters: tuple[str, ...] | None = None
    coordinates: tuple[Interval | None, ...] | None = None

    def __post_init__(self) -> None:
        """Check that all columns have one entry for each sequence."""
        sizes = {len(self.codes), len(self.labels), len(self.ids), len(self.cluster_ids)}
        if len(sizes) != 1:
            raise DataError(
                f"labelled examples have {len(self.codes)} sequences, {len(self.labels)} labels, "
                f"{len(self.ids)} ids and {len(self.cluster_ids)} clusters; one of each is needed."
            )
        if self.coordinates is not None and len(self.coordinates) != len(self.codes):
            raise DataError(
                f"labelled examples have {len(self.codes)} sequences and {len(self.coordinates)} "
                f"coordinates; give one for each, None where the place is unknown."
            )

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def cluster_ids(self) -> tuple[str, ...]:
        """Cluster of each example: its own id where no clusters are given."""
        return self.ids if self.clusters is None else self.clusters

    @property
    def lengths(self) -> Indices:
        """Length of each sequence in bases, shape ``(n,)``."""
        return sequence_lengths(self.codes)

    def select(self, indices: Indices) -> "Examples":
        """Return the examples at ``indices``, in that order."""
        return Examples(
            codes=[self.codes[index] for index in indices],
            labels=self.labels[indices],
            ids=tuple(self.ids[index] for index in indices),
            clusters=self.clusters and tuple(self.clusters[index] for index in indices),
            coordinates=self.coordinates and tuple(self.coordinates[index] for index in indices),
        )


def sequence_lengths(rows: Sequence[npt.NDArray[np.integer[Any]]]) -> Indices:
    """Return the length of each sequence, in bases or tokens, shape ``(n,)``."""
    return np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))


def shuffled_batches(
    lengths: Indices, *, batch_size: int, seed: int, epoch: int
) -> Iterator[Indices]:
    """Yield the batches of one epoch: every example once, neighbours in length together.

    The permuted examples are sorted by length within buckets of 16 batches, cut into batches, and
    the batches of all buckets permuted. The order is a pure function of the arguments.

    Args:
        lengths: Length of each sequence in bases.
        batch_size: Examples in a batch; the last one of the epoch's cut may be smaller.
        seed: Seed, 0 or more.
        epoch: Number of the epoch; each has its own order.

    Yields:
        Indices of the examples of one batch.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,)))
    order = rng.permutation(len(lengths))
    batches: list[Indices] = []
    bucket_size = batch_size * _BATCHES_PER_BUCKET
    for first in range(0, len(order), bucket_size):
        bucket = order[first : first + bucket_size]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        batches += [bucket[at : at + batch_size] for at in range(0, len(bucket), batch_size)]
    for index in rng.permutation(len(batches)):
        yield batches[index]


def batches_by_length(lengths: Indices, *, max_tokens: int) -> Iterator[Indices]:
    """Yield batches for a pass without training: sorted by length, a bounded number of tokens each.

    Args:
        lengths: Length of each sequence in bases.
        max_tokens: Most tokens of a padded batch; a longer sequence stands alone.

    Yields:
        Indices of the examples of one batch; all batches together hold every index once.

    Example:
        >>> [batch.tolist() for batch in batches_by_length(np.array([5, 2, 9, 2]), max_tokens=10)]
        [[1, 3], [0], [2]]
    """
    order = np.argsort(lengths, kind="stable")
    first = 0
    for last in range(1, len(order) + 1):
        full = last == len(order) or lengths[order[last]] * (last - first + 1) > max_tokens
        if full:
            yield order[first:last]
            first = last

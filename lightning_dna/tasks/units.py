"""What is resampled: clusters of examples that are not independent of each other."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lightning_dna.data.examples import Examples
from lightning_dna.errors import DataError
from lightning_dna.genome.similarity import homology_clusters
from lightning_dna.tasks.card import Unit

HOMOLOGY_K = 21
HOMOLOGY_THRESHOLD = 0.1


def with_units(parts: Mapping[str, Examples], unit: Unit, *, task: str) -> dict[str, Examples]:
    """Give the examples of every part the clusters that a card's ``unit`` names.

    ``homology`` joins sequences, across all parts, of which the smaller has a tenth or more of its
    21-mers in the other, on either strand.

    Args:
        parts: Part to examples.
        unit: The unit; ``example`` changes nothing.
        task: Name of the task, for messages.

    Raises:
        DataError: If the unit is ``chromosome`` and places are unknown, or names the column
            ``cluster`` and a file has none.
    """
    if unit == "example":
        return dict(parts)
    if unit == "chromosome":
        return {name: _by_chromosome(name, part, task) for name, part in parts.items()}
    if unit == "homology":
        return _by_homology(parts)
    for name, part in parts.items():
        if part.clusters is None:
            raise DataError(
                f"task '{task}': the card's unit is '{unit}', but the {name} file has no column "
                f"'cluster' that names it for every row; add the column, or set unit: example."
            )
    return dict(parts)


def _by_chromosome(name: str, part: Examples, task: str) -> Examples:
    """Make chromosomes the clusters."""
    places = part.coordinates or (None,) * len(part)
    unknown = sum(place is None for place in places)
    if unknown:
        raise DataError(
            f"task '{task}': the card's unit is 'chromosome', but {unknown} of {len(part)} {name} "
            f"examples have no coordinates; give columns chrom, start, end, strand "
            f"(`lightning-dna data locate` finds them), or set unit: example."
        )
    return replace(part, clusters=tuple(place.chrom for place in places if place is not None))


def _by_homology(parts: Mapping[str, Examples]) -> dict[str, Examples]:
    """Make groups of similar sequences the clusters, the same groups in every part."""
    codes = [row for part in parts.values() for row in part.codes]
    labels = homology_clusters(codes, k=HOMOLOGY_K, threshold=HOMOLOGY_THRESHOLD)
    ends = np.cumsum([len(part) for part in parts.values()])[:-1]
    return {
        name: replace(part, clusters=tuple(f"h{label}" for label in own.tolist()))
        for (name, part), own in zip(parts.items(), np.split(labels, ends), strict=True)
    }

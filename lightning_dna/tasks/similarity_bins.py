"""Names of the views of held-out windows by their similarity to the training chromosomes.

Similarity is the share of a window's distinct 21-mers, either strand, that the training
chromosomes hold; and the longest stretch of it that stands there letter by letter. A base changed
in 20 leaves a copy a third of its 21-mers, so that relatives stand in the middle bins, and copies
in the last. No torch here.
"""

import itertools

import numpy as np
import numpy.typing as npt

CONTAINMENT_EDGES = (0.0, 0.01, 0.1, 0.5, 0.9)
MATCH_EDGES = (0, 21, 32, 64, 128)
NEAR_DUPLICATE = 0.1
"""Containment from which a window has a near-duplicate in the training sequence."""
SPARED, DUPLICATED = "no_near_duplicate", "near_duplicate"
CONTAINMENT_PREFIX, MATCH_PREFIX = "sim_", "match_"


def containment_bins() -> tuple[str, ...]:
    """Return the names of the bins of containment, in per cent, least similar first.

    Example:
        >>> containment_bins()
        ('sim_0_1', 'sim_1_10', 'sim_10_50', 'sim_50_90', 'sim_90_100')
    """
    edges = [round(100 * edge) for edge in (*CONTAINMENT_EDGES, 1.0)]
    return tuple(f"{CONTAINMENT_PREFIX}{low}_{high}" for low, high in itertools.pairwise(edges))


def match_bins() -> tuple[str, ...]:
    """Return the names of the bins of the longest exact match, in bases.

    Example:
        >>> match_bins()
        ('match_0_21', 'match_21_32', 'match_32_64', 'match_64_128', 'match_128_up')
    """
    ends = (*map(str, MATCH_EDGES[1:]), "up")
    return tuple(f"{MATCH_PREFIX}{low}_{high}" for low, high in zip(MATCH_EDGES, ends, strict=True))


def similarity_names() -> tuple[str, ...]:
    """Return the names of all views by similarity."""
    return (*containment_bins(), SPARED, DUPLICATED, *match_bins())


def similarity_members(
    containment: npt.NDArray[np.float64], longest_match: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[np.bool_]]:
    """Return which windows belong to each view.

    Args:
        containment: Of each window, 0 to 1; a window without a k-mer (NaN) is in no view by it.
        longest_match: Of each window, in bases.

    Returns:
        Name of the view to flags of shape ``(windows,)``.

    Example:
        >>> found = similarity_members(np.array([0.0, 0.2, 1.0]), np.array([0, 40, 900]))
        >>> [name for name, flags in found.items() if flags[1]]
        ['sim_10_50', 'near_duplicate', 'match_32_64']
    """
    known = ~np.isnan(containment)
    place = np.searchsorted(CONTAINMENT_EDGES, containment, side="right") - 1
    found = {name: known & (place == at) for at, name in enumerate(containment_bins())}
    near = known & (containment >= NEAR_DUPLICATE)
    found |= {SPARED: known & ~near, DUPLICATED: near}
    place = np.searchsorted(MATCH_EDGES, longest_match, side="right") - 1
    return found | {name: place == at for at, name in enumerate(match_bins())}


def similarity_title(name: str) -> str:
    """Return a view's name in words.

    Example:
        >>> similarity_title("sim_0_1"), similarity_title("match_128_up")
        ('0 to 1 % of 21-mers in training', '128 bases or more exactly in training')
    """
    if name in (SPARED, DUPLICATED):
        sign = "under" if name == SPARED else "from"
        return f"{name.replace('_', ' ').replace('near ', 'near-')} in training ({sign} 10 %)"
    low, high = name.split("_")[1:]
    if name.startswith(CONTAINMENT_PREFIX):
        return f"{low} to {high} % of 21-mers in training"
    if high == "up":
        return f"{low} bases or more exactly in training"
    return f"longest exact match of {low} to {int(high) - 1} bases"

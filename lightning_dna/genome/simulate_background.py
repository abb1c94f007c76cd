"""The background of simulated DNA: second-order Markov chains of chosen GC content.

The chains are the same read on either strand, as real genomes nearly are (Chargaff's second rule),
so no model can tell the strands of background apart.
"""

import numpy as np
import numpy.typing as npt

from lightning_dna.genome.alphabet import Codes

Table = npt.NDArray[np.float64]

ORDER = 2
_CONTEXTS = 4**ORDER


def context_frequencies(table: Table) -> Table:
    """Return the long-run frequency of every two-base context of a chain.

    Args:
        table: Shape ``(16, 4)``; row ``4 * x + y`` holds P(next base | x, y).

    Returns:
        Shape ``(16,)``, sums to 1: the stationary distribution of the chain of contexts.
    """
    step = np.zeros((_CONTEXTS, _CONTEXTS))
    for context in range(_CONTEXTS):
        following = 4 * (context % 4) + np.arange(4)
        step[context, following] = table[context]
    # Solves f (step - 1) = 0 together with sum(f) = 1, in the least-squares sense.
    equations = np.vstack([step.T - np.eye(_CONTEXTS), np.ones(_CONTEXTS)])
    target = np.append(np.zeros(_CONTEXTS), 1.0)
    return np.asarray(np.linalg.lstsq(equations, target, rcond=None)[0])


def gc_content(table: Table) -> float:
    """Return the long-run fraction of G and C of a chain."""
    by_last_base = context_frequencies(table).reshape(4, 4).sum(axis=0)
    return float(by_last_base[1] + by_last_base[2])


def transition_table(gc: float, *, seed: int, strength: float = 0.35) -> Table:
    """Make a strand-symmetric second-order chain of given GC content.

    Random log-preferences (the same for every ``gc`` under one seed, so that isochores differ in GC
    content only) are tilted towards or away from G and C until the long-run GC content fits, then
    the three-base frequencies are averaged with those of the reverse complement.

    Args:
        gc: Wanted long-run fraction of G and C, strictly between 0 and 1.
        seed: Seed of the preferences.
        strength: Standard deviation of the log-preferences; 0 makes independent bases.

    Returns:
        Shape ``(16, 4)``; row ``4 * x + y`` holds P(next base | x, y), every entry positive.
    """
    preferences = np.random.default_rng(seed).normal(scale=strength, size=(_CONTEXTS, 4))
    low, high = -10.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        if gc_content(_tilted(preferences, middle)) < gc:
            low = middle
        else:
            high = middle
    table = _tilted(preferences, (low + high) / 2)
    triples = (context_frequencies(table)[:, None] * table).reshape(4, 4, 4)
    # The complement of code b is 3 - b; reversing the triple reverses the axes.
    triples = (triples + triples[::-1, ::-1, ::-1].transpose(2, 1, 0)) / 2
    return np.asarray((triples / triples.sum(axis=2, keepdims=True)).reshape(_CONTEXTS, 4))


def _tilted(preferences: Table, tilt: float) -> Table:
    """Turn log-preferences into probabilities with ``tilt`` added to those of G and C."""
    weights = np.exp(preferences + np.array([0.0, tilt, tilt, 0.0]))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def sample_chain(
    tables: list[Table], levels: npt.NDArray[np.int64], rng: np.random.Generator
) -> Codes:
    """Draw one long sequence whose chain may change from base to base.

    Args:
        tables: Chains of shape ``(16, 4)``.
        levels: Shape ``(length,)``: which chain draws each base.
        rng: Source of randomness.

    Returns:
        Base codes 0 to 3, shape ``(length,)``.
    """
    thresholds = [np.cumsum(table, axis=1)[:, :3].tolist() for table in tables]
    context = int(rng.choice(_CONTEXTS, p=_probabilities(context_frequencies(tables[levels[0]]))))
    uniforms = rng.random(len(levels)).tolist()
    drawn = bytearray(len(levels))
    # A plain loop: each base depends on the one before, and 0.2 microseconds a base is enough.
    for position, (level, uniform) in enumerate(zip(levels.tolist(), uniforms, strict=True)):
        first, second, third = thresholds[level][context]
        base = (uniform >= first) + (uniform >= second) + (uniform >= third)
        drawn[position] = base
        context = 4 * (context % 4) + base
    return np.frombuffer(bytes(drawn), dtype=np.uint8).copy()


def _probabilities(frequencies: Table) -> Table:
    """Remove the rounding of a linear solve: nothing negative, sum exactly 1."""
    kept = np.clip(frequencies, 0.0, None)
    return np.asarray(kept / kept.sum())


def sample_guided(
    table: Table, emissions: Table, guide: npt.NDArray[np.int64], rng: np.random.Generator
) -> Codes:
    """Draw sequences from one chain, with some positions drawn from motif columns instead.

    Every background base is conditioned on the two bases actually before it, motif or not. So the
    likelihood of a sequence under a placement of motifs, divided by its likelihood under background
    alone, is exactly the product over the motif positions of P(base | column) / P(base | context).

    Args:
        table: The chain, shape ``(16, 4)``.
        emissions: Base probabilities of all motif columns, shape ``(columns, 4)``.
        guide: Shape ``(n, length)``: the motif column that draws each position, or -1 for the
            chain. The first two positions must be -1.
        rng: Source of randomness.

    Returns:
        Base codes 0 to 3, shape ``(n, length)``.
    """
    n, length = guide.shape
    thresholds = np.cumsum(np.vstack([table, emissions]), axis=1)[:, :3]
    codes = np.empty((n, length), dtype=np.uint8)
    context = rng.choice(_CONTEXTS, size=n, p=_probabilities(context_frequencies(table)))
    codes[:, 0], codes[:, 1] = context // 4, context % 4
    uniforms = rng.random((n, length))
    for position in range(ORDER, length):
        column = guide[:, position]
        row = np.where(column < 0, context, _CONTEXTS + column)
        base = (uniforms[:, position, None] >= thresholds[row]).sum(axis=1)
        codes[:, position] = base
        context = 4 * (context % 4) + base
    return codes


def background_log_probabilities(codes: Codes, table: Table) -> Table:
    """Return log P(base | two bases before) at every position; 0 at the first two.

    Args:
        codes: Base codes 0 to 3, shape ``(n, length)``.
        table: The chain, shape ``(16, 4)``.

    Returns:
        Shape ``(n, length)``, natural logarithms.
    """
    wide = codes.astype(np.int64)
    logs = np.zeros(codes.shape)
    logs[:, ORDER:] = np.log(table)[4 * wide[:, :-2] + wide[:, 1:-1], wide[:, 2:]]
    return logs

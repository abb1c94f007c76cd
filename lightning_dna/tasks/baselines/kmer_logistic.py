"""Logistic regression on k-mer counts: what the composition of a sequence alone can tell."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from lightning_dna.data.examples import Examples, sequence_lengths
from lightning_dna.genome.alphabet import Codes, N
from lightning_dna.tasks.logistic import choose_logistic

LENGTHS = (3, 4, 5, 6)
STRENGTHS = (0.1, 1.0, 10.0, 100.0)


def kmer_logistic(
    train: Examples,
    valid: Examples,
    test_codes: Sequence[Codes],
    *,
    n_classes: int,
    metric: str = "mcc",
) -> tuple[npt.NDArray[np.float64], dict[str, Any]]:
    """Fit on k-mer profiles; the validation examples choose k (3 to 6) and the regularisation.

    Strands are not merged. Of equally good ones the shortest k is kept.

    Args:
        train: Examples to learn from.
        valid: Examples that choose.
        test_codes: Base codes of the sequences to predict; their labels are not needed.
        n_classes: Number of classes.
        metric: Metric that chooses.

    Returns:
        Class probabilities of the test sequences, shape ``(n, n_classes)``, and a record of what
        was chosen.
    """
    candidates = {
        length: choose_logistic(
            kmer_profiles(train.codes, length),
            train.labels,
            kmer_profiles(valid.codes, length),
            valid.labels,
            strengths=STRENGTHS,
            metric=metric,
            n_classes=n_classes,
        )
        for length in LENGTHS
    }
    # The first of equally good ones, so the shortest.
    length = max(candidates, key=lambda length: candidates[length].valid_metric)
    chosen = candidates[length]
    record = {
        "kmer_length": length,
        "chosen_c": chosen.strength,
        "valid_metric": chosen.valid_metric,
        "converged": chosen.converged,
        "parameters_updated": chosen.parameters,
    }
    return chosen.predict(kmer_profiles(test_codes, length)), record


def kmer_counts(codes: Sequence[Codes], length: int) -> sparse.csr_array:
    """Count the overlapping k-mers of each sequence.

    Args:
        codes: Base codes 0 to 4 of each sequence. K-mers with N are not counted.
        length: Length k of the k-mers, 1 to 12.

    Returns:
        Counts, shape ``(n, 4**length)``; column ``sum(code_i 4**(k - 1 - i))``, so that columns are
        in alphabetical order. A sequence shorter than k has a row of zeros.

    Example:
        >>> from lightning_dna.genome.alphabet import encode
        >>> kmer_counts([encode("AACAA")], 2).toarray()[0, :5].tolist()
        [2.0, 1.0, 0.0, 0.0, 1.0]
    """
    # One N after each sequence: no k-mer reaches from one into the next.
    separator = np.array([N], dtype=np.uint8)
    stream = np.concatenate([part for row in codes for part in (row, separator)])
    rows = np.repeat(np.arange(len(codes)), sequence_lengths(codes) + 1)
    positions = max(0, len(stream) - length + 1)
    columns = np.zeros(positions, dtype=np.int64)
    whole = np.ones(positions, dtype=bool)
    for offset in range(length):
        base = stream[offset : offset + positions]
        columns = columns * 4 + base
        whole &= base != N
    entries = (rows[:positions][whole], columns[whole])
    counts = sparse.coo_array(
        (np.ones(whole.sum()), entries), shape=(len(codes), 4**length), dtype=np.float64
    )
    return counts.tocsr()


def kmer_profiles(codes: Sequence[Codes], length: int) -> sparse.csr_array:
    """Return k-mer counts with every row scaled to Euclidean norm 1, whatever its length."""
    counts = kmer_counts(codes, length)
    norms = np.sqrt(counts.multiply(counts).sum(axis=1))
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    return sparse.csr_array(sparse.diags_array(scale) @ counts)

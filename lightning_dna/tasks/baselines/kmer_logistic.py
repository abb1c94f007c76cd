"""Logistic regression on k-mer counts: what the composition of a sequence alone can tell."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from lightning_dna.data.examples import Examples, sequence_lengths
from lightning_dna.genome.alphabet import Codes, N
from lightning_dna.tasks.logistic import choose_logistic

LENGTHS = (3, 4, 5, 6, 7, 8)
STRENGTHS = (0.1, 1.0, 10.0, 100.0)
GC_STRENGTHS = (1.0, 100.0, 10_000.0)


def kmer_logistic(
    train: Examples,
    valid: Examples,
    test_codes: Sequence[Codes],
    *,
    n_classes: int,
    metric: str = "mcc",
) -> tuple[npt.NDArray[np.float64], dict[str, Any]]:
    """Fit on k-mer profiles; the validation examples choose k, the strands and the regularisation.

    k goes from 3 to 8. A k-mer and its reverse complement are counted apart, which tells promoters
    from their other strand, or together, which suits binding sites. Of equally good ones the
    shortest k is kept, and then strands apart.

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
        (length, both): choose_logistic(
            kmer_profiles(train.codes, length, both_strands=both),
            train.labels,
            kmer_profiles(valid.codes, length, both_strands=both),
            valid.labels,
            strengths=STRENGTHS,
            metric=metric,
            n_classes=n_classes,
        )
        for length in LENGTHS
        for both in (False, True)
    }
    # The first of equally good ones, so the shortest.
    length, both = max(candidates, key=lambda key: candidates[key].valid_metric)
    chosen = candidates[length, both]
    record = {
        "kmer_length": length,
        "both_strands": both,
        "chosen_c": chosen.strength,
        "valid_metric": chosen.valid_metric,
        "converged": chosen.converged,
        "parameters_updated": chosen.parameters,
    }
    return chosen.predict(kmer_profiles(test_codes, length, both_strands=both)), record


def gc_logistic(
    train: Examples,
    valid: Examples,
    test_codes: Sequence[Codes],
    *,
    n_classes: int,
    metric: str = "mcc",
) -> tuple[npt.NDArray[np.float64], dict[str, Any]]:
    """Fit on the share of G and C alone; the validation examples choose the regularisation.

    Arguments and return value are those of :func:`kmer_logistic`.
    """
    mean = float(gc_content(train.codes).mean())
    scale = float(gc_content(train.codes).std()) or 1.0

    def features(codes: Sequence[Codes]) -> npt.NDArray[np.float64]:
        return ((gc_content(codes) - mean) / scale)[:, None]

    chosen = choose_logistic(
        features(train.codes),
        train.labels,
        features(valid.codes),
        valid.labels,
        strengths=GC_STRENGTHS,
        metric=metric,
        n_classes=n_classes,
    )
    record = {
        "chosen_c": chosen.strength,
        "valid_metric": chosen.valid_metric,
        "converged": chosen.converged,
        "parameters_updated": chosen.parameters,
    }
    return chosen.predict(features(test_codes)), record


def gc_content(codes: Sequence[Codes]) -> npt.NDArray[np.float64]:
    """Return the share of G and C among the known bases of each sequence; one half without any.

    Example:
        >>> from lightning_dna.genome.alphabet import encode
        >>> gc_content([encode("GCAN"), encode("NN")]).tolist()
        [0.6666666666666666, 0.5]
    """
    known = np.array([(row < N).sum() for row in codes], dtype=np.float64)
    strong = np.array([((row == 1) | (row == 2)).sum() for row in codes], dtype=np.float64)
    return np.divide(strong, known, out=np.full_like(known, 0.5), where=known > 0)


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


def kmer_profiles(
    codes: Sequence[Codes], length: int, *, both_strands: bool = False
) -> sparse.csr_array:
    """Return k-mer counts with every row scaled to Euclidean norm 1, whatever its length.

    Args:
        codes: Base codes of each sequence.
        length: Length k of the k-mers.
        both_strands: Count a k-mer and its reverse complement together: a sequence and its other
            strand then have the same profile. There are fewer columns, in the order of the
            alphabetically first of each pair.
    """
    counts = kmer_counts(codes, length)
    if both_strands:
        counts = sparse.csr_array(counts @ _strand_pairs(length))
    norms = np.sqrt(counts.multiply(counts).sum(axis=1))
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    return sparse.csr_array(sparse.diags_array(scale) @ counts)


def _strand_pairs(length: int) -> sparse.csr_array:
    """Return the matrix that adds the column of every k-mer to that of its pair of strands."""
    kmers = np.arange(4**length)
    other, rest = np.zeros_like(kmers), kmers.copy()
    for _ in range(length):  # the last base of one strand is the first of the other
        other = other * 4 + (3 - rest % 4)
        rest = rest // 4
    first, column = np.unique(np.minimum(kmers, other), return_inverse=True)
    entries = (np.ones(len(kmers)), (kmers, column))
    return sparse.coo_array(entries, shape=(len(kmers), len(first))).tocsr()

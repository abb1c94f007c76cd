"""Two labelled tasks whose best possible accuracy is known: ``promoter`` and ``long_range``.

Both come from a generative model with an exact posterior, so a score on them can be held against
the Bayes accuracy, and a difference between two arms has a cause that is known beforehand:
``promoter`` needs some 50 bases of context, ``long_range`` needs both ends of the sequence.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lightning_dna.errors import ConfigError, DataError, unknown_name
from lightning_dna.genome.alphabet import CODE_BITS, Codes, N, decode, encode
from lightning_dna.genome.simulate_long_range import LongRangeTask
from lightning_dna.genome.simulate_promoter import PromoterTask

SIMULATED_TASKS: dict[str, PromoterTask | LongRangeTask] = {
    "promoter": PromoterTask(),
    "long_range": LongRangeTask(),
}
_PARTS = ("train", "valid", "test")
_BAYES_STREAM = len(_PARTS)  # the accuracy estimate draws its own examples, apart from every part
_CHUNK = 2_000  # sequences scored at once; bounds memory at some 20 MB


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledPart:
    """Labelled sequences of one part.

    Attributes:
        sequences: Upper-case A, C, G, T, all of one length.
        labels: Observed labels 0 or 1 (noise included), shape ``(n,)``.
        ids: Unique names that carry task, seed and part.
    """

    sequences: list[str]
    labels: npt.NDArray[np.int64]
    ids: list[str]

    def __len__(self) -> int:
        return len(self.sequences)


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledSequences:
    """The three parts of a simulated task, drawn independently of one another."""

    train: LabelledPart
    valid: LabelledPart
    test: LabelledPart


class BayesAccuracy(NamedTuple):
    """The best accuracy any classifier can have, estimated by averaging the exact posterior."""

    accuracy: float
    standard_error: float


def simulated_task(
    name: str, *, n_train: int, n_valid: int, n_test: int, length: int, seed: int
) -> LabelledSequences:
    """Draw a labelled task.

    Each part has its own random stream, so the size of one part never changes another.

    Args:
        name: ``"promoter"`` or ``"long_range"``.
        n_train: Number of training sequences, at least 1.
        n_valid: Number of validation sequences, at least 1.
        n_test: Number of test sequences, at least 1.
        length: Length of every sequence in bases.
        seed: Seed, 0 or more.

    Returns:
        The three parts.

    Raises:
        ConfigError: If the name is unknown, a number is below 1, the seed is negative, or the
            length is too short for the task.

    Example:
        >>> task = simulated_task(
        ...     "promoter", n_train=4, n_valid=2, n_test=2, length=60, seed=0
        ... )
        >>> len(task.train), len(task.train.sequences[0]), task.test.ids
        (4, 60, ['promoter-0-test-0', 'promoter-0-test-1'])
    """
    _check(name, length=length, seed=seed, n_train=n_train, n_valid=n_valid, n_test=n_test)
    parts = {}
    for stream, (part, n) in enumerate(zip(_PARTS, (n_train, n_valid, n_test), strict=True)):
        codes, labels = _draw(name, n, length, seed, stream)
        parts[part] = LabelledPart(
            sequences=[decode(row) for row in codes],
            labels=labels,
            ids=[f"{name}-{seed}-{part}-{index}" for index in range(n)],
        )
    return LabelledSequences(**parts)


def posterior(name: str, sequences: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the exact P(label = 1 | sequence) under the model that draws the task.

    Args:
        name: ``"promoter"`` or ``"long_range"``.
        sequences: A, C, G, T of either case; lengths may differ.

    Returns:
        Probabilities, shape ``(len(sequences),)``, between the label noise and one minus it.

    Raises:
        ConfigError: If the name is unknown.
        DataError: If a sequence is too short for the task or holds other letters.
    """
    if name not in SIMULATED_TASKS:
        raise unknown_name("simulated task", name, SIMULATED_TASKS)
    task = SIMULATED_TASKS[name]
    by_length: dict[int, list[int]] = {}
    encoded: list[Codes] = []
    for index, sequence in enumerate(sequences):
        codes = encode(sequence) & np.uint8(CODE_BITS)
        if len(codes) < task.minimum_length or (codes == N).any():
            raise DataError(
                f"sequence {index} has {len(codes)} bases, {int((codes == N).sum())} of them N; "
                f"task '{name}' is defined for A, C, G, T and {task.minimum_length} bases or more."
            )
        encoded.append(codes)
        by_length.setdefault(len(codes), []).append(index)
    probabilities = np.empty(len(encoded))
    for indices in by_length.values():
        for first in range(0, len(indices), _CHUNK):
            chunk = indices[first : first + _CHUNK]
            probabilities[chunk] = _posterior_of_codes(name, np.stack([encoded[i] for i in chunk]))
    return probabilities


def bayes_accuracy(name: str, *, length: int, n: int = 10_000, seed: int = 0) -> BayesAccuracy:
    """Estimate the Bayes accuracy: the mean of max(p, 1 - p) over fresh sequences.

    Averaging the posterior instead of counting hits has no label-sampling noise, so its standard
    error is several times below the binomial one.

    Args:
        name: ``"promoter"`` or ``"long_range"``.
        length: Length of the sequences in bases.
        n: Number of fresh sequences, at least 2; they share no random stream with any part.
        seed: Seed, 0 or more.

    Returns:
        The estimate and its standard error.

    Raises:
        ConfigError: As in ``simulated_task``.
    """
    _check(name, length=length, seed=seed, n=n - 1)
    codes, _ = _draw(name, n, length, seed, _BAYES_STREAM)
    chunks = [codes[first : first + _CHUNK] for first in range(0, n, _CHUNK)]
    probability = np.concatenate([_posterior_of_codes(name, chunk) for chunk in chunks])
    best = np.maximum(probability, 1 - probability)
    return BayesAccuracy(float(best.mean()), float(best.std(ddof=1) / np.sqrt(n)))


def _check(name: str, *, length: int, seed: int, **numbers: int) -> None:
    """Refuse settings from which no task can be drawn."""
    if name not in SIMULATED_TASKS:
        raise unknown_name("simulated task", name, SIMULATED_TASKS)
    for argument, found in numbers.items():
        if found < 1:
            raise ConfigError(
                f"simulated task '{name}': {argument} is {found}; at least 1 is needed."
            )
    if seed < 0:
        raise ConfigError(f"simulated task '{name}': seed is {seed}; allowed are 0 and above.")
    shortest = SIMULATED_TASKS[name].minimum_length
    if length < shortest:
        raise ConfigError(
            f"simulated task '{name}': length is {length} bases; the elements need at least "
            f"{shortest}."
        )


def _draw(
    name: str, n: int, length: int, seed: int, stream: int
) -> tuple[Codes, npt.NDArray[np.int64]]:
    """Draw base codes and noisy labels from a stream of their own."""
    key = (zlib.crc32(name.encode()), stream)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
    task = SIMULATED_TASKS[name]
    codes, truth = task.sample(n, length, rng)
    flipped = rng.random(n) < task.label_noise
    return codes, np.where(flipped, 1 - truth, truth)


def _posterior_of_codes(name: str, codes: Codes) -> npt.NDArray[np.float64]:
    """Return P(label = 1) for base codes of shape ``(n, length)``, label noise included."""
    task = SIMULATED_TASKS[name]
    clean = 1 / (1 + np.exp(-np.clip(task.log_odds(codes), -500.0, 500.0)))
    return np.asarray(task.label_noise + (1 - 2 * task.label_noise) * clean)

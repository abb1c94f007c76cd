"""A copy oracle: what stood at the hidden base wherever the training sequence has the window again.

It says how far quoting goes. Votes of the places found (`copy_search`) name one base, the copied
one. How much to believe it is counted, not assumed: the same search runs on windows of the training
chromosomes with other bases hidden, each window without its own place, and votes are sorted into
classes by their weight and by the share of it that agrees. In each class the copied base was right
r times and wrong w times, where the fallback gave it the probability f on average. The odds of the
fallback are then multiplied by

    ((r + a f) / (w + a (1 - f))) / (f / (1 - f)),    a = ``PRIOR``,

and the three other bases share the rest as the fallback has them. Where nothing is found, and in a
class that was never seen, the fallback stands: the `ContextMixture` of at most 10 bases, which is
composition without copies.

Windows of a training chromosome are looked up, and the fallback counted, as if their own bases were
N in the training sequence: the oracle never quotes the window itself, but says what the *rest* has.
Gaps are not followed: past an inserted base, another diagonal has to be found.
"""

from dataclasses import dataclass

import numpy as np

from lightning_dna.genome.kmers import Integers
from lightning_dna.genome.splits import ChromosomeSplit
from lightning_dna.tasks.base import Scores
from lightning_dna.tasks.baselines.context_mixture import ContextMixture
from lightning_dna.tasks.baselines.copy_search import LEAST_SCORE, REACH, find_votes
from lightning_dna.tasks.card import TaskCard
from lightning_dna.tasks.heldout_mlm import Floats, HeldoutMLM, WindowBases

FALLBACK_ORDER = 10
PRIOR = 2.0

_SHARES = (0.6, 0.9)
_STEP = 4  # doublings of the weight in one class
_STEPS = (2 * REACH - LEAST_SCORE) // _STEP + 1
_CALIBRATION_BASES = 1 << 21
_BASES_PER_BATCH = 1 << 22  # each batch reads the training sequence twice


@dataclass(frozen=True, kw_only=True, eq=False)
class Copies:
    """The copied base at hidden bases that have one; arrays of shape ``(found,)``.

    Attributes:
        rows: Which of the hidden bases.
        base: The copied base, 0 to 3; the first of A, C, G, T among equals.
        classes: Class of the evidence for it.
    """

    rows: Integers
    base: Integers
    classes: Integers

    @classmethod
    def of(cls, votes: Floats) -> "Copies":
        """Take the base with most weight from votes of shape ``(hidden, 4)``."""
        rows = np.flatnonzero(votes.any(axis=1))
        base = votes[rows].argmax(axis=1)
        weight = votes[rows, base]
        step = ((np.log2(weight) - LEAST_SCORE) // _STEP).astype(np.int64)
        agreed = np.searchsorted(_SHARES, weight / votes[rows].sum(axis=1))
        classes = np.clip(step, 0, _STEPS - 1) * (len(_SHARES) + 1) + agreed
        return cls(rows=rows, base=base, classes=classes)


class CopyOracle:
    """The oracle of one task; calling it predicts the hidden bases of windows.

    Args:
        task: The task; only its training chromosomes are looked at, whatever repeats the arms
            leave out.

    Attributes:
        factors: What the odds of the fallback are multiplied by, for each class.

    Raises:
        DataError: If the training chromosomes hold no known base, or no window fits on them.
    """

    def __init__(self, task: HeldoutMLM) -> None:
        self._genome = task.genome
        self._chroms = task.split.train
        self._fallback = ContextMixture(task.genome, self._chroms, FALLBACK_ORDER)
        n = _STEPS * (len(_SHARES) + 1)
        right, wrong, expected = np.zeros(n), np.zeros(n), np.zeros(n)
        for batch in _calibration(task).batches("test", bases=_BASES_PER_BATCH):
            fallback, copies = self._look_up(batch)
            truth = batch.codes[batch.hidden][copies.rows] == copies.base
            before = np.exp(fallback[copies.rows, copies.base])
            right += np.bincount(copies.classes, truth, minlength=n)
            wrong += np.bincount(copies.classes, ~truth, minlength=n)
            expected += np.bincount(copies.classes, before, minlength=n)
        self.factors = odds_factors(right, wrong, expected)

    def __call__(self, batch: WindowBases) -> Floats:
        """Return ln P of A, C, G, T at the hidden bases of some windows, shape ``(hidden, 4)``."""
        fallback, copies = self._look_up(batch)
        return believe(fallback, copies, self.factors)

    def _look_up(self, batch: WindowBases) -> tuple[Floats, Copies]:
        """Return the fallback and the copies of some windows."""
        votes = find_votes(self._genome, self._chroms, batch)
        return self._fallback(batch), Copies.of(votes)


def odds_factors(right: Floats, wrong: Floats, expected: Floats) -> Floats:
    """Return what the odds of a copied base are multiplied by, for each class of evidence.

    Args:
        right: How often the copied base was right, shape ``(classes,)``.
        wrong: How often it was wrong.
        expected: Sum of the fallback's probabilities of the copied bases.

    Returns:
        Shape ``(classes,)``; 1 for a class that was never seen.

    Example:
        >>> odds_factors(np.array([59.0, 0.0]), np.array([19.0, 0.0]), np.array([39.0, 0.0]))
        array([3., 1.])
    """
    n = right + wrong
    before = np.divide(expected, n, out=np.full(len(n), 0.25), where=n > 0)
    odds = (right + PRIOR * before) / (wrong + PRIOR * (1 - before))
    return np.asarray(odds / (before / (1 - before)), dtype=np.float64)


def believe(fallback: Floats, copies: Copies, factors: Floats) -> Floats:
    """Multiply the odds of the copied bases; the other three keep their proportions.

    Args:
        fallback: ln P of A, C, G, T, shape ``(hidden, 4)``.
        copies: The copied bases.
        factors: For each class of evidence, of `odds_factors`.

    Returns:
        ln P, shape ``(hidden, 4)``.
    """
    result = fallback.copy()
    result[copies.rows, copies.base] += np.log(factors[copies.classes])
    changed = result[copies.rows]
    result[copies.rows] = changed - np.logaddexp.reduce(changed, axis=1, keepdims=True)
    return result


def _calibration(task: HeldoutMLM) -> HeldoutMLM:
    """Return the task with other bases hidden, its training chromosomes in the place of the test's.

    The test chromosomes are never read: they only have to stand somewhere in a split.
    """
    card = TaskCard(
        name=task.card.name,
        kind="heldout_mlm",
        title=task.card.title,
        mask_fraction=task.card.mask_fraction,
        mask_seed=task.card.mask_seed + 1,
        max_windows=max(1, _CALIBRATION_BASES // task.length),
        train_windows=False,
    )
    split = ChromosomeSplit(train=task.split.test, valid=(), test=task.split.train)
    return HeldoutMLM(card, task.genome, split, task.length)


def score_copy_oracle(
    task: HeldoutMLM, *, variant: str = "copy_oracle", seed: int = 0, progress: bool = False
) -> Scores:
    """Score the oracle on the hidden bases of a task.

    Args:
        task: The task.
        variant: Name in the score table.
        seed: Seed in the score table; nothing here is random.
        progress: Show a bar on stderr.

    Raises:
        DataError: If the training chromosomes hold no known base, no window fits on them, or
            nothing is hidden.
    """
    return task.score_with(
        CopyOracle(task),
        variant=variant,
        seed=seed,
        bases_per_batch=_BASES_PER_BATCH,
        progress=progress,
    )

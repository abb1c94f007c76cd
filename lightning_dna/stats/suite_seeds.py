"""Variance from the choice of seeds over a suite of fixed tasks, and replicates that contain it.

It depends on whether one training serves all tasks, as a pretrained model does. A seed with the
same number is taken to be the same training. For a weighted sum of the task means

- same seeds in all tasks: seed noise is correlated over tasks and does not average out. The
  variance between seeds of the *weighted sum* of the metric holds all of it; what example noise it
  contains, the sum over tasks of w_t^2 rho_t, is taken off as in ``variance``. It is right, too,
  where tasks were trained apart in spite of equal numbers; it then has fewer degrees of freedom
  than it could;
- no seed in two tasks: seed noise is independent, and variances add;
- some seeds shared: the tasks are taken to be perfectly correlated, which is an upper bound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.random import SFC64, Generator, SeedSequence

from lightning_dna.stats.predictions import Floats
from lightning_dna.stats.suites.suite import Sample, Suite
from lightning_dna.stats.variance import Arm, seed_noise

_STREAM = 0x5355495445
"""Key of the seed noise, apart from the streams that resample examples."""


@dataclass(frozen=True, kw_only=True)
class ArmSeeds:
    """Seed part of the variance of a weighted sum over tasks, of one arm or of paired differences.

    Attributes:
        share: Variance between seeds over their number.
        residual: Example noise that it contains.
        df: Degrees of freedom of the share.
    """

    share: float
    residual: float
    df: float

    @property
    def noise(self) -> float:
        """Share that is seed noise, between 0 and 1."""
        return max(self.share - self.residual, 0.0) / self.share if self.share > 0 else 0.0


def arm_seeds(suite: Suite, weights: Mapping[str, Floats]) -> ArmSeeds:
    """Return the seed part of one arm, or of two arms with paired seeds.

    Args:
        suite: One metric of the tasks.
        weights: (tasks,) weights of the task means in the statistic, by name of the arm; those of a
            baseline carry its sign.

    Returns:
        The seed part.
    """
    names = list(weights)
    data, sample = suite.observed(names), suite.draws(names, "mean")
    observed = np.sum([weights[n][:, None] * data.values[n][0] for n in names], axis=0)
    values = np.sum([weights[n][:, None] * sample.values[n] for n in names], axis=0)
    there = data.present[names[0]]
    tasks = [
        Arm(values=values[:, task, row], observed=observed[task, row])
        for task, row in enumerate(there)
    ]
    noise = [seed_noise(task, 1.0) for task in tasks]
    freedom = [float(task.n_seeds - 1) for task in tasks]
    if there.all():
        share = float(observed.sum(axis=0).var(ddof=1)) / there.shape[1]
        return ArmSeeds(share=share, residual=sum(noise), df=freedom[0])
    shares = [float(task.observed.var(ddof=1)) / task.n_seeds for task in tasks]
    if (there.sum(axis=0) == 1).all():
        uncertainty = sum(one**2 / df for one, df in zip(shares, freedom, strict=True))
        df = sum(shares) ** 2 / uncertainty if uncertainty > 0 else min(freedom)
        return ArmSeeds(share=sum(shares), residual=sum(noise), df=df)
    share = sum(one**0.5 for one in shares) ** 2
    seed = sum(max(a - b, 0.0) ** 0.5 for a, b in zip(shares, noise, strict=True)) ** 2
    return ArmSeeds(share=share, residual=max(share - seed, 0.0), df=min(freedom))


def with_seed_noise(suite: Suite, sample: Sample, groups: Sequence[Sequence[str]]) -> Sample:
    """Add seed noise to replicates: what training with other seeds would do to the task means.

    The deviations of the seeds from their mean, the same random weight for a seed in all tasks,
    shrunk by the share that is example noise. Weights follow Student's t, one scale for all seeds
    of an arm, since the variance between seeds is an estimate. They depend on the number of the
    seed, on the arm (or pair of arms) and on the seed of the resampling, and on nothing else.

    Args:
        suite: One metric of the tasks.
        sample: Replicates of the examples.
        groups: All variants; two that have paired seeds stand together.

    Returns:
        The replicates with noise.
    """
    shifts = {}
    size, tasks = len(sample.values[groups[0][0]]), len(suite.tasks)
    for names in groups:
        mean = np.full(tasks, 1 / tasks)
        part = arm_seeds(suite, dict(zip(names, (mean, -mean), strict=False)))
        data = suite.observed(names)
        labels = sorted({label for row in suite.seeds(names[0]) for label in row})
        key = suite.tasks[0].rng_seed, names
        normal = [_stream(*key, str(label)).standard_normal(size) for label in labels]
        scale = np.sqrt(part.df / _stream(*key, "scale").chisquare(part.df, size))
        weights = np.column_stack(normal) * scale[:, None]
        for name in names:
            there, scores = data.present[name], data.values[name][0]
            count = there.sum(axis=1, keepdims=True)
            centre = np.where(there, scores, 0.0).sum(axis=1, keepdims=True) / count
            shrunk = np.sqrt(part.noise / (count * (count - 1)))
            deviations = np.where(there, scores - centre, 0.0) * shrunk
            shifts[name] = weights @ deviations.T
    return sample.shifted(shifts)


def _stream(rng_seed: int, names: Sequence[str], what: str) -> Generator:
    key = (_STREAM, *(crc32(word.encode()) for word in (what, *names)))
    return Generator(SFC64(SeedSequence(rng_seed, spawn_key=key)))

"""One source of data sets, drawn many times: every answer of the engine, counted.

Each data set goes through the very functions that users call, ``bootstrap_metrics`` and
``compare``; nothing is computed by a short cut here that a report would compute otherwise.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol
from zlib import crc32

from numpy.random import SFC64, Generator, SeedSequence

from lightning_dna import __version__
from lightning_dna.stats.alignment import AlignedTask
from lightning_dna.stats.backend import compiled_kernels
from lightning_dna.stats.bootstrap import bootstrap_metrics
from lightning_dna.stats.calibration.gate import GATED_METHOD, Tally
from lightning_dna.stats.calibration.models import ARMS, Design
from lightning_dna.stats.calibration.truths import true_differences
from lightning_dna.stats.comparison import compare
from lightning_dna.stats.intervals import Method
from lightning_dna.stats.plan import ResamplingPlan, Unit
from lightning_dna.stats.replicates import Replicates
from lightning_dna.stats.tables import ComparisonRow

PRINTED: Method = "percentile"
"""Its limits stand in every row beside those of the default, so it costs nothing here."""

Tallies = dict[str, dict[str, Tally]]
"""Tally by method and metric."""


class Source(Protocol):
    """What data sets are drawn from; ``Design``, ``ExchangedArms`` and ``SplitSeeds`` are."""

    @property
    def key(self) -> str:
        """Name; the key of the random streams."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics to judge."""

    @property
    def unit(self) -> Unit:
        """What is resampled."""

    @property
    def scope(self) -> Literal["checkpoint", "procedure"]:
        """What is random."""

    @property
    def is_control(self) -> bool:
        """Whether the analysis is wrong on purpose."""

    def draw(self, generator: Generator) -> AlignedTask:
        """Return one data set with the variants ``ARMS``."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A source to be drawn a number of times.

    Attributes:
        source: What data sets are drawn from.
        plan: How each data set is resampled; its seed is that of the whole grid.
        methods: Interval methods.
        reported_sets: Data sets, the first ones, on which methods are tried that cost extra: all
            but ``se-t`` and the percentile limits, which stand in the same row.
        level: Nominal coverage.
        n_sets: Number of data sets.
        attempt: 0, or 1 for a second run, which has streams of its own.
    """

    source: Source
    plan: ResamplingPlan
    methods: tuple[Method, ...]
    reported_sets: int
    level: float
    n_sets: int
    attempt: int = 0

    @property
    def fingerprint(self) -> str:
        """Digest of everything on which the counts depend, but for the code of this version."""
        what = (
            self.source.key,
            self.source.metrics,
            replace(self.plan, unit=self.source.unit, backend="auto", n_threads=None),
            self.methods,
            self.reported_sets,
            self.level,
            self.n_sets,
            self.attempt,
            __version__,
        )
        return hashlib.sha256(repr(what).encode()).hexdigest()[:16]


def truths(source: Source) -> Mapping[str, float]:
    """Return the true difference of every metric: 0 where real predictions were exchanged."""
    if isinstance(source, Design):
        return true_differences(source)
    return dict.fromkeys(source.metrics, 0.0)


def tally(job: Job) -> Tallies:
    """Draw the data sets of a source and count the engine's answers.

    Args:
        job: What to draw and how to judge it.

    Returns:
        Counts by method and metric. They depend on the job alone, not on other jobs or processes.

    Raises:
        StatsError: If a metric does not fit the source.
    """
    source = job.source
    truth = truths(source)
    methods: tuple[Method, ...] = job.methods if source.scope == "checkpoint" else (GATED_METHOD,)
    found: Tallies = {method: {metric: Tally() for metric in source.metrics} for method in methods}
    extra = [method for method in methods if method not in (GATED_METHOD, PRINTED)]
    stream = (crc32(source.key.encode()), job.attempt)
    backend = job.plan.backend
    if backend == "auto" and compiled_kernels("auto") is not None:
        backend = "numba"  # loading it does not pay for one small data set, but for hundreds
    for number in range(job.n_sets):
        generator = Generator(SFC64(SeedSequence(job.plan.seed, spawn_key=(*stream, number))))
        task = source.draw(generator)
        seed = int(generator.integers(2**31))
        plan = replace(job.plan, unit=source.unit, seed=seed, backend=backend)
        reps = {task.task: bootstrap_metrics(task, source.metrics, plan)}
        for row in _compared(reps, source, job.level, GATED_METHOD):
            count(found[GATED_METHOD][row.metric], row, truth[row.metric], 1 - job.level)
            if PRINTED in found:
                printed = replace(row, low=row.percentile_low, high=row.percentile_high)
                count(found[PRINTED][row.metric], printed, truth[row.metric], None)
        for method in extra if number < job.reported_sets else ():
            for row in _compared(reps, source, job.level, method):
                count(found[method][row.metric], row, truth[row.metric], 1 - job.level)
    return found


def _compared(
    reps: Mapping[str, Replicates], source: Source, level: float, method: Method
) -> Sequence[ComparisonRow]:
    return compare(
        reps,
        baseline=ARMS[0],
        scope=source.scope,
        level=level,
        method=method,
        multiplicity="none",
    ).rows


def count(total: Tally, row: ComparisonRow, truth: float, alpha: float | None) -> None:
    """Add one answer of the engine to the counts.

    Equal arms are answered wrongly if p is at most alpha, which is what the verdict goes by; a
    known difference, if the interval misses it. Where ``alpha`` is ``None`` the row's p is not that
    of its interval, and equal arms are answered wrongly if the interval misses 0.
    """
    total.n_sets += 1
    for flag in row.flags:
        total.flags[flag] = total.flags.get(flag, 0) + 1
    if not (math.isfinite(row.low) and math.isfinite(row.p)):
        return
    missed = not row.low <= truth <= row.high
    if truth == 0 and alpha is not None:
        missed = row.p <= alpha
    total.n_intervals += 1
    total.missed += missed
    if not row.flags:
        total.n_unflagged += 1
        total.missed_unflagged += missed
        total.width += row.high - row.low
        total.error += row.delta - truth
        total.error_squares += (row.delta - truth) ** 2

"""The null grid: do intervals and tests keep their promise, cell by cell?

Each source of data sets (a simulated design, or real predictions made exchangeable) is drawn many
times; every data set goes through the very functions that users call, ``bootstrap_metrics`` and
``compare``, and the answers are counted. All metrics and methods of a source see the same data
sets, so the cells of a source fail together: where a cell lies outside its limits, or errs
more often than nominal by two standard errors, the source is run again with fresh data sets and
more of them, and the second answer counts.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from zlib import crc32

from lightning_dna import __version__
from lightning_dna.atomic import read_json, write_json
from lightning_dna.errors import ResultsError, StatsError
from lightning_dna.stats.calibration.cells import Job, Source, Tallies, tally, truths
from lightning_dna.stats.calibration.gate import (
    GATED_METHOD,
    Status,
    Tally,
    binomial_interval,
    is_doubtful,
    judge,
)
from lightning_dna.stats.calibration.models import Design
from lightning_dna.stats.intervals import Method
from lightning_dna.stats.plan import ResamplingPlan

Progress = Callable[[int, int], None]
"""Called with the finished and the total number of sources."""

LARGE = 5000
"""Examples times seeds from which ``GridSpec.large_share`` applies."""


@dataclass(frozen=True, kw_only=True)
class GridSpec:
    """What to run.

    Attributes:
        name: Name in reports.
        sources: What data sets are drawn from.
        methods: Interval methods; the gate is about ``se-t``, the others are reported.
        reported_sets: Data sets, the first ones, on which methods are tried that cost extra: all
            but ``se-t`` and ``percentile``.
        large_share: Share of the data sets that is made where examples times seeds reach 5,000.
        rerun_sets: Fewest data sets of a second run.
        level: Nominal coverage.
    """

    name: str
    sources: tuple[Source, ...]
    methods: tuple[Method, ...] = ("se-t", "percentile")
    reported_sets: int = 200
    large_share: float = 1.0
    rerun_sets: int = 2000
    level: float = 0.95

    def __post_init__(self) -> None:
        """Check that streams are apart and that something is judged."""
        keys = [source.key for source in self.sources]
        if not keys or len(set(keys)) < len(keys):
            raise StatsError(f"grid '{self.name}' needs one or more sources with different keys")
        if GATED_METHOD not in self.methods:
            raise StatsError(f"grid '{self.name}' must include the method '{GATED_METHOD}'")

    def job(self, source: Source, plan: ResamplingPlan, n_sets: int) -> Job:
        """Return the first run of a source."""
        if isinstance(source, Design) and source.n * source.n_seeds >= LARGE:
            n_sets = max(math.ceil(self.large_share * n_sets), 2)
        return Job(
            source=source,
            plan=plan,
            methods=self.methods,
            reported_sets=self.reported_sets,
            level=self.level,
            n_sets=n_sets,
        )


@dataclass(frozen=True, kw_only=True)
class CellRow:
    """One metric and interval method on one source; rates are about unflagged data sets.

    Attributes:
        source: Key of the source.
        family: Family of a design, or ``"real predictions"``, which leave the next ones empty.
        n: Examples.
        minority: Frequency of the rarest class.
        levels: Different scores; ``None`` for no ties.
        correlation: Correlation of the arms.
        clusters: Clusters.
        unequal: Whether their sizes differ.
        icc: Intra-cluster correlation.
        n_seeds: Training seeds per arm.
        seed_sd: Standard deviation of skill between seeds.
        effect: Difference in skill.
        unit: What was resampled.
        scope: What is random.
        metric: Name of the metric.
        method: Interval method.
        truth: True difference; 0 for equal arms.
        n_sets: Data sets.
        n_intervals: Those with an interval.
        n_unflagged: Those with an interval and no flag.
        rate: False positives (equal arms), or 1 - coverage.
        rate_low: Lower limit of its 95 % binomial interval.
        rate_high: Upper limit of it.
        rate_all: The same share over all data sets with an interval.
        mean_width: Mean width of the interval.
        width_ratio: The same over the width that the true standard deviation would give.
        flags: Data sets by flag, such as ``few_minority:31``.
        first_rate: Rate of the first run where this is the second one, else NaN.
        status: What the gate says.
    """

    source: str
    family: str
    n: int | None = None
    minority: float | None = None
    levels: int | None = None
    correlation: float | None = None
    clusters: int | None = None
    unequal: bool | None = None
    icc: float | None = None
    n_seeds: int | None = None
    seed_sd: float | None = None
    effect: float | None = None
    unit: str
    scope: str
    metric: str
    method: str
    truth: float
    n_sets: int
    n_intervals: int
    n_unflagged: int
    rate: float
    rate_low: float
    rate_high: float
    rate_all: float
    mean_width: float
    width_ratio: float
    flags: str
    first_rate: float = math.nan
    status: Status

    @property
    def equal_arms(self) -> bool:
        """Whether the cell is about false positives."""
        return self.truth == 0

    @property
    def missed(self) -> bool:
        """Whether the cell lies outside its limits."""
        return self.status in ("liberal", "conservative")


@dataclass(frozen=True, kw_only=True)
class CalibrationReport:
    """Result of a grid.

    Attributes:
        grid: Name of the grid.
        rows: One row per source, metric and method, in the order of the grid.
        n_sets: Data sets per source that were asked for.
        plan: How each data set was resampled.
        level: Nominal coverage.
        version: Version of the package.
    """

    grid: str
    rows: tuple[CellRow, ...]
    n_sets: int
    plan: ResamplingPlan
    level: float
    version: str = __version__

    @property
    def gated(self) -> tuple[CellRow, ...]:
        """Rows on which the verdict depends."""
        return tuple(row for row in self.rows if row.missed or row.status == "held")

    @property
    def misses(self) -> tuple[CellRow, ...]:
        """Gated rows outside their limits, worst first."""
        return tuple(sorted((r for r in self.rows if r.missed), key=lambda row: -row.rate))

    @property
    def passed(self) -> bool:
        """Whether some cell was judged and every judged cell kept its limits."""
        return bool(self.gated) and not self.misses


def null_grid(
    spec: GridSpec,
    *,
    n_sets: int,
    plan: ResamplingPlan,
    n_jobs: int = 1,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> CalibrationReport:
    """Measure false-positive rates and coverage over a grid.

    Args:
        spec: What to run.
        n_sets: Data sets per source.
        plan: How to resample each data set; ``plan.seed`` is the seed of the whole grid, and
            ``plan.unit`` is set by each source.
        n_jobs: Processes. They change no digit. With more than one, a script must call this below
            ``if __name__ == "__main__":``.
        folder: Where the counts of every finished source are kept, so that the same call goes on
            after an interruption; nothing is kept if ``None``.
        progress: Called with the finished and the total number of sources.

    Returns:
        One row per source, metric and method.

    Raises:
        StatsError: If a number is not positive, or a metric does not fit a source.
        UnwritableError: If the folder cannot be written to.
    """
    if n_sets < 2 or n_jobs < 1:
        raise StatsError(
            f"null_grid: n_sets must be 2 or more and n_jobs 1 or more, not {n_sets} and {n_jobs}"
        )
    first = [spec.job(source, plan, n_sets) for source in spec.sources]
    rows = {
        job.source.key: _rows(job, tallies)
        for job, tallies in _run(first, n_jobs, folder, progress)
    }
    second = [
        replace(job, n_sets=max(job.n_sets, spec.rerun_sets), attempt=1)
        for job in first
        if any(_doubtful(row, spec) for row in rows[job.source.key])
    ]
    for job, tallies in _run(second, n_jobs, folder, progress):
        before = rows[job.source.key]
        rows[job.source.key] = [
            replace(new, first_rate=old.rate) if _doubtful(old, spec) else old
            for old, new in zip(before, _rows(job, tallies), strict=True)
        ]
    return CalibrationReport(
        grid=spec.name,
        rows=tuple(row for job in first for row in rows[job.source.key]),
        n_sets=n_sets,
        plan=plan,
        level=spec.level,
    )


def _run(
    jobs: Sequence[Job], n_jobs: int, folder: Path | None, progress: Progress | None
) -> list[tuple[Job, Tallies]]:
    """Return the counts of every job in order, from disk where they are kept."""
    found: dict[int, Tallies] = {}
    for number, job in enumerate(jobs):
        kept = None if folder is None else _kept(job, folder)
        if kept is not None:
            found[number] = kept
    if progress and jobs:
        progress(len(found), len(jobs))
    waiting = [number for number in range(len(jobs)) if number not in found]
    for number, tallies in _counted(jobs, waiting, n_jobs):
        found[number] = tallies
        if folder is not None:
            _keep(jobs[number], tallies, folder)
        if progress:
            progress(len(found), len(jobs))
    return [(job, found[number]) for number, job in enumerate(jobs)]


def _counted(
    jobs: Sequence[Job], waiting: Sequence[int], n_jobs: int
) -> Iterator[tuple[int, Tallies]]:
    """Yield counts as they are finished."""
    if n_jobs == 1 or len(waiting) < 2:
        for number in waiting:
            yield number, tally(jobs[number])
        return
    # A fresh interpreter per worker: a fork would inherit the threads of compiled kernels.
    with ProcessPoolExecutor(n_jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(tally, jobs[number]): number for number in waiting}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _file(job: Job, folder: Path) -> Path:
    """Return where the counts of a job are kept."""
    return folder / f"{crc32(job.source.key.encode()):08x}-{job.attempt}.json"


def _keep(job: Job, tallies: Tallies, folder: Path) -> None:
    content: dict[str, Any] = {
        "source": job.source.key,
        "fingerprint": job.fingerprint,
        "counts": {
            method: {metric: asdict(total) for metric, total in by_metric.items()}
            for method, by_metric in tallies.items()
        },
    }
    write_json(_file(job, folder), content)


def _kept(job: Job, folder: Path) -> Tallies | None:
    """Return the counts that an earlier call left, or ``None`` if it was another run."""
    try:
        content = read_json(_file(job, folder))
    except ResultsError:
        return None
    if content.get("fingerprint") != job.fingerprint:
        return None
    counts: Mapping[str, Mapping[str, Any]] = content["counts"]
    return {
        method: {metric: Tally(**total) for metric, total in by_metric.items()}
        for method, by_metric in counts.items()
    }


def _rows(job: Job, tallies: Tallies) -> list[CellRow]:
    """Return the rows of a source, in the order of its metrics and methods."""
    source, truth = job.source, truths(job.source)
    rows = []
    for metric in source.metrics:
        for method, by_metric in tallies.items():
            total = by_metric[metric]
            low, high = binomial_interval(total.missed_unflagged, total.n_unflagged)
            rows.append(
                CellRow(
                    source=source.key,
                    **_features(source),
                    unit=source.unit,
                    scope=source.scope,
                    metric=metric,
                    method=method,
                    truth=truth[metric],
                    n_sets=total.n_sets,
                    n_intervals=total.n_intervals,
                    n_unflagged=total.n_unflagged,
                    rate=total.rate,
                    rate_low=low,
                    rate_high=high,
                    rate_all=total.rate_all,
                    mean_width=total.mean_width,
                    width_ratio=_quotient(total.mean_width, total.oracle_width(job.level)),
                    flags=" ".join(f"{flag}:{n}" for flag, n in sorted(total.flags.items())),
                    status=judge(
                        total,
                        method=method,
                        level=job.level,
                        equal_arms=truth[metric] == 0,
                        is_control=source.is_control,
                    ),
                )
            )
    return rows


def _doubtful(row: CellRow, spec: GridSpec) -> bool:
    return is_doubtful(row.status, row.rate, row.n_unflagged, spec.level)


def _features(source: Source) -> dict[str, Any]:
    """Return the columns that say what a source is."""
    if not isinstance(source, Design):
        return {"family": "real predictions"}
    names = ("family", "n", "minority", "levels", "correlation", "clusters", "unequal", "icc")
    values = asdict(source)
    return {name: values[name] for name in (*names, "n_seeds", "seed_sd", "effect")}


def _quotient(top: float, bottom: float) -> float:
    return top / bottom if bottom > 0 else math.nan

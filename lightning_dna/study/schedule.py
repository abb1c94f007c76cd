"""What fits into some hours: the cells in the order in which they are run."""

import heapq
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lightning_dna.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What some hours are enough for.

    Attributes:
        done: Cells that would be done in time, in the order in which they begin.
        left: The others.
        hours: Hours until all would be done.
    """

    done: tuple[str, ...]
    left: tuple[str, ...]
    hours: float


def fitting(hours: Mapping[str, float], *, workers: int, limit: float) -> Fit:
    """Return which cells would be done within a limit.

    Cells begin in their order, each with the worker that is free first, as they do when they are
    run: every arm of the first seed, then every arm of the second. A worker goes on with a cell
    that it cannot finish in time, and begins no other.

    Args:
        hours: Hours of every cell that is left to do, in the order in which they are run.
        workers: Processes.
        limit: Hours that there are.

    Raises:
        ConfigError: If the limit or the number of workers is not above 0.

    Example:
        >>> found = fitting({"a/0": 2.0, "b/0": 1.0, "a/1": 2.0}, workers=2, limit=2.5)
        >>> found.done, found.left, found.hours
        (('a/0', 'b/0'), ('a/1',), 3.0)
    """
    if not limit > 0:
        raise ConfigError(f"--limit-hours is {limit:g}; allowed: above 0.")
    check_workers(workers)
    free = [0.0] * workers
    done: list[str] = []
    left: list[str] = []
    latest = 0.0
    for name, needed in hours.items():
        end = heapq.heappop(free) + needed
        heapq.heappush(free, end)
        latest = max(latest, end)
        (done if end <= limit else left).append(name)
    return Fit(done=tuple(done), left=tuple(left), hours=latest)


def check_workers(workers: int) -> None:
    """Refuse a number of processes that is none.

    Raises:
        ConfigError: If it is below 1.
    """
    if workers < 1:
        raise ConfigError(f"--workers is {workers}; allowed: 1 or more.")


def whole_seeds(done: Collection[str], seeds: Mapping[str, int]) -> list[int]:
    """Return the seeds of which every cell is done.

    Args:
        done: Cells that are.
        seeds: The seed of every cell.

    Example:
        >>> whole_seeds(["a/0", "b/0", "a/1"], {"a/0": 0, "b/0": 0, "a/1": 1, "b/1": 1})
        [0]
    """
    lacking = {seed for name, seed in seeds.items() if name not in done}
    return [seed for seed in dict.fromkeys(seeds.values()) if seed not in lacking]

"""Cells as an executor sees them: what is to be done first, and what can be done then.

A cell has stages. Its training is the first; when that is done, every table of scores is a stage of
its own, with its own claim, attempts and failure. So several workers can score one checkpoint at
the same time, a fine-tuning that fails takes neither its pretraining nor other tables with it, and
`lightning-dna retry --only` can name it alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_dna.study.ledger import CellFolder, State


def _no_smaller(times: int) -> bool:
    """Say that nothing can be done about memory."""
    return False


@dataclass(frozen=True, kw_only=True)
class Job:
    """One cell, or one stage of it.

    Attributes:
        name: A name to show, of this cell or stage alone.
        folder: Its folder.
        work: Does what is left to do; told whether it may show progress.
        device: Where it works, as torch names it.
        smaller: Told how often the cell ran out of memory, says whether another attempt would need
            less.
        stages: What can be done, in any order, when this is done; they have no further ones.
    """

    name: str
    folder: CellFolder
    work: Callable[[bool], None]
    device: str = ""
    smaller: Callable[[int], bool] = _no_smaller
    stages: tuple["Job", ...] = ()

    def done(self) -> bool:
        """Tell whether nothing is owed, by no stage either."""
        return self.folder.done() and all(stage.folder.done() for stage in self.stages)

    def finished(self) -> bool:
        """Tell whether nothing is left that could be done: everything is done, or failed."""
        if not self.folder.done():
            return self.folder.failed()
        return all(stage.folder.finished() for stage in self.stages)

    def state(self) -> State:
        """Return where the cell stands, all stages taken together."""
        if not self.folder.done():
            return self.folder.state()
        states = [stage.folder.state() for stage in self.stages]
        if State.RUNNING in states or State.PLANNED in states:
            return State.RUNNING if State.RUNNING in states else State.PLANNED
        return next((state for state in states if state is not State.DONE), State.DONE)

    def failure(self) -> dict[str, Any] | None:
        """Return the first failure that is recorded, of the cell or a stage that is not done."""
        for step in steps([self]):
            if not step.job.folder.done() and (failure := step.job.folder.failure()):
                return failure if step.job is self else {**failure, "stage": step.job.name}
        return None


@dataclass(frozen=True, kw_only=True)
class Step:
    """A job or a stage, and what has to be done before it."""

    job: Job
    before: Job | None = None

    def ready(self) -> bool:
        """Tell whether it can be begun."""
        return self.before is None or self.before.folder.done()

    def finished(self) -> bool:
        """Tell whether nothing is left to do here: it is done, failed, or can never be begun."""
        if self.job.folder.finished():
            return True
        before = None if self.before is None else self.before.folder
        return before is not None and before.failed() and not before.done()


def steps(jobs: Sequence[Job]) -> Iterator[Step]:
    """List every job, each followed by its stages."""
    for job in jobs:
        yield Step(job=job)
        for stage in job.stages:
            yield Step(job=stage, before=job)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How many cells ended how."""

    done: int
    failed: int


def summary(jobs: Sequence[Job]) -> Outcome:
    """Count the finished jobs; one of which a stage failed, and nothing is left to do, failed."""
    done = failed = 0
    for job in jobs:
        if job.done():
            done += 1
        elif job.finished():
            failed += 1
    return Outcome(done=done, failed=failed)

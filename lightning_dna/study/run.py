"""Running a study in a folder: its cells as jobs, their states, and what a worker process does."""

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from lightning_dna.errors import ConfigError, unknown_name
from lightning_dna.study.cluster import RayOptions, run_on_cluster
from lightning_dna.study.executors import (
    Job,
    Outcome,
    die_with_parent,
    run_with_workers,
    summary,
    work_through,
)
from lightning_dna.study.journal import Journal
from lightning_dna.study.ledger import CellFolder
from lightning_dna.study.scoring import Scorer, device_of
from lightning_dna.study.study import Cell, Study, open_study, record_study
from lightning_dna.tasks.card import TaskCard
from lightning_dna.training.run import RECORD, WEIGHTS


def study_jobs(study: Study, scorer: Scorer, folder: Path) -> list[Job]:
    """List the jobs of a study: the tasks' baselines first, then every cell, seed by seed."""
    jobs = []
    for card in study.cards:
        if card.baselines:
            place = CellFolder(folder / scorer.baseline_folder(card), scorer.baseline_files(card))
            work = partial(_work_baselines, scorer, card, place.folder)
            jobs.append(Job(name=f"baselines of {card.name}", folder=place, work=work))
    for cell in study.cells():
        place = cell_folder(scorer, folder, cell)
        jobs.append(
            Job(
                name=cell.name,
                folder=place,
                work=partial(_work_cell, scorer, cell, place),
                device=device_of(cell),
                smaller=partial(_can_shrink, cell, place.folder),
            )
        )
    return jobs


def _work_baselines(scorer: Scorer, card: TaskCard, folder: Path, progress: bool) -> None:
    """Score the baselines of one task."""
    scorer.score_baselines(card, folder)


def _work_cell(scorer: Scorer, cell: Cell, place: CellFolder, progress: bool) -> None:
    """Train and score one cell; each time it ran out of memory, in parts half as large."""
    parts = 2 ** place.times_out_of_memory()
    scorer.work(cell, place.folder, progress=progress, microbatches=parts)


def _can_shrink(cell: Cell, folder: Path, times: int) -> bool:
    """Tell whether a training that ran out of memory so often can be cut into smaller parts."""
    if cell.arm.source is not None or (folder / WEIGHTS).is_file():
        return False  # it is not the training that lacks memory
    rows = cell.run.budget.tokens_per_step // cell.run.data.length
    return bool(2**times <= rows)


def cell_folder(scorer: Scorer, folder: Path, cell: Cell) -> CellFolder:
    """Return the folder of one cell, with the files it owes; a checkpoint's weights stay away."""
    tables = tuple(job.file for job in scorer.jobs(cell))
    trained = (WEIGHTS,) if cell.arm.source is None else ()
    return CellFolder(folder / "runs" / cell.run_id, (*trained, RECORD, *tables))


def execute(
    study: Study,
    folder: Path,
    *,
    workers: int,
    only: Sequence[str] = (),
    limit_hours: float | None = None,
    cluster: RayOptions | None = None,
) -> Outcome:
    """Run what is missing of a study.

    Args:
        study: The study.
        folder: Results folder; made when missing, continued when it holds this study.
        workers: Processes; with 1 and without a limit the work is done in this one.
        only: Names of the cells to run; all of them by default.
        limit_hours: Longest time for one attempt at a cell, in worker processes.
        cluster: A Ray cluster that does the work in place of this machine.

    Returns:
        How many jobs are done and failed.

    Raises:
        ConfigError: If the study cannot run as it is.
        ResultsError: If the folder holds something else or cannot be written to.
    """
    if workers < 1:
        raise ConfigError(f"--workers is {workers}; allowed: 1 or more.")
    if limit_hours is not None and not limit_hours > 0:
        raise ConfigError(f"--cell-hours is {limit_hours}; allowed: above 0.")
    if cluster is not None and (workers > 1 or limit_hours is not None):
        raise ConfigError(
            "--ray takes no --workers and no --cell-hours; the cluster has as many as it has cores."
        )
    scorer = Scorer(study)
    scorer.check()
    record_study(study, folder)
    jobs = _chosen(study_jobs(study, scorer, folder), only)
    if summary(jobs).done == len(jobs):
        return summary(jobs)
    if cluster is not None:
        return run_on_cluster(study, jobs, folder, cluster)
    if workers == 1 and limit_hours is None:
        progress = sys.stderr.isatty() or len(jobs) < 3
        return work_through(jobs, progress=progress, journal=journal_of(folder))
    threads = max(1, torch.get_num_threads() // workers)
    command = [sys.executable, "-m", "lightning_dna", "worker", str(folder)]
    return run_with_workers(
        jobs,
        command=[
            *command,
            *("--threads", str(threads), "--parent", str(os.getpid())),
            *(word for name in only for word in ("--only", name)),
        ],
        workers=min(workers, len(jobs)),
        log_folder=folder / "logs",
        journal=journal_of(folder),
        limit_seconds=None if limit_hours is None else 3600 * limit_hours,
    )


def journal_of(folder: Path) -> Journal:
    """Return the journal of a results folder."""
    return Journal(folder / "journal")


def _chosen(jobs: list[Job], only: Sequence[str]) -> list[Job]:
    """Return the jobs with these names, or all.

    Raises:
        ConfigError: If there is no such job.
    """
    names = [job.name for job in jobs]
    for name in only:
        if name not in names:
            raise unknown_name("cell", name, names, where="--only")
    return [job for job in jobs if not only or job.name in only]


def work(folder: Path, *, threads: int, parent: int, only: Sequence[str] = ()) -> None:
    """Work through a study's jobs as one of several processes, until nothing is left.

    Args:
        folder: Results folder.
        threads: Threads of torch; 0 leaves its choice.
        parent: The runner's process id; when it is gone, so is this process.
        only: Names of the cells to run; all of them by default.
    """
    die_with_parent(parent)
    if threads:
        torch.set_num_threads(threads)
    study = open_study(folder)
    scorer = Scorer(study)
    jobs = _chosen(study_jobs(study, scorer, folder), only)
    work_through(jobs, progress=False, journal=journal_of(folder))


def clear_failures(study: Study, folder: Path) -> int:
    """Make failed cells runnable again; returns how many."""
    jobs = study_jobs(study, Scorer(study), folder)
    return sum(job.folder.clear_failure() for job in jobs)

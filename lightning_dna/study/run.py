"""Running a study in a folder: its cells as jobs, their states, and what a worker process does."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from lightning_dna.errors import ConfigError, unknown_name
from lightning_dna.study import looks
from lightning_dna.study.cluster import RayOptions, run_on_cluster
from lightning_dna.study.executors import run_with_workers, work_through
from lightning_dna.study.jobs import Job, Outcome, steps, summary
from lightning_dna.study.journal import Journal
from lightning_dna.study.ledger import CellFolder
from lightning_dna.study.machine import devices_of, worker_devices
from lightning_dna.study.scoring import ScoreJob, Scorer, device_of
from lightning_dna.study.sealed_scores import lift
from lightning_dna.study.study import Cell, Study, open_study, record_study
from lightning_dna.study.views import table_name
from lightning_dna.tasks.card import TaskCard
from lightning_dna.training.devices import check_devices
from lightning_dna.training.lifeline import die_with_parent
from lightning_dna.training.run import RECORD, WEIGHTS


def study_jobs(scorer: Scorer, folder: Path) -> list[Job]:
    """List the jobs of a study: the tasks' baselines first, then every cell, seed by seed."""
    jobs = []
    for fold, part in enumerate(scorer.parts):
        ending = f", fold {fold}" if len(scorer.parts) > 1 else ""
        for card in part.study.cards:
            if card.baselines:
                home, files = folder / part.baseline_folder(card), part.baseline_files(card)
                place = CellFolder(home, files, root=_root(folder))
                work = partial(_work_baselines, part, card, place.folder)
                jobs.append(Job(name=f"baselines of {card.name}{ending}", folder=place, work=work))
    for cell in scorer.study.cells():
        jobs.append(_cell_job(scorer.of(cell), folder, cell))
    return jobs


def _cell_job(scorer: Scorer, folder: Path, cell: Cell) -> Job:
    """Return the job of one cell: its training first, then each of its tables."""
    place = CellFolder(_home(folder, cell), _trained(cell), root=_root(folder))
    return Job(
        name=cell.name,
        folder=place,
        work=partial(_train_cell, scorer, cell, place),
        device=device_of(cell),
        smaller=partial(_can_shrink, cell, place.folder),
        stages=tuple(_stage(scorer, folder, cell, job) for job in scorer.jobs(cell)),
    )


def _stage(scorer: Scorer, folder: Path, cell: Cell, job: ScoreJob) -> Job:
    """Return the stage of one table, which has a folder of its own for its attempts."""
    home = _home(folder, cell)
    own = home / "stages" / Path(job.file).stem
    return Job(
        name=f"{cell.name}: {table_name(job.card.name, job.way)}",
        folder=CellFolder(own, (job.file,), base=home, root=_root(folder)),
        work=partial(_score_table, scorer, job, cell, home),
        device=device_of(cell),
    )


def _work_baselines(scorer: Scorer, card: TaskCard, folder: Path, progress: bool) -> None:
    """Score the baselines of one task."""
    scorer.score_baselines(card, folder)


def _train_cell(scorer: Scorer, cell: Cell, place: CellFolder, progress: bool) -> None:
    """Train one cell; each time it ran out of memory, in parts half as large."""
    parts = 2 ** place.times_out_of_memory()
    scorer.train(cell, place.folder, progress=progress, microbatches=parts)


def _score_table(scorer: Scorer, job: ScoreJob, cell: Cell, folder: Path, progress: bool) -> None:
    """Score one cell on one task."""
    scorer.score_table(job, cell, folder, progress=progress)


def _can_shrink(cell: Cell, folder: Path, times: int) -> bool:
    """Tell whether a training that ran out of memory so often can be cut into smaller parts."""
    if cell.arm.source is not None or (folder / WEIGHTS).is_file():
        return False  # it is not the training that lacks memory
    rows = cell.run.budget.tokens_per_step // cell.run.data.length
    return bool(2**times <= rows // devices_of(cell.run.trainer))


def cell_folder(scorer: Scorer, folder: Path, cell: Cell) -> CellFolder:
    """Return the folder of one cell, with all files that it owes."""
    tables = tuple(job.file for job in scorer.of(cell).jobs(cell))
    return CellFolder(_home(folder, cell), (*_trained(cell), *tables), root=_root(folder))


def _root(folder: Path) -> Path | None:
    """Return the results folder, which may not vanish from now on, if it is one."""
    return folder if (folder / "study.json").is_file() else None


def _home(folder: Path, cell: Cell) -> Path:
    """Return where the files of a cell lie."""
    return folder / "runs" / cell.run_id


def _trained(cell: Cell) -> tuple[str, ...]:
    """List what a training owes; a checkpoint's weights stay away."""
    return (WEIGHTS, RECORD) if cell.arm.source is None else (RECORD,)


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
    jobs = _chosen(study_jobs(scorer, folder), only)
    if summary(jobs).done == len(jobs):
        return summary(jobs)
    if cluster is not None:
        if set(only) - {job.name for job in jobs}:
            raise ConfigError("--ray hands out whole cells; name a cell with --only, and no table.")
        return run_on_cluster(study, jobs, folder, cluster)
    places = _places(study, folder, workers)
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
        workers=min(workers, len([*steps(jobs)])),
        log_folder=folder / "logs",
        journal=journal_of(folder),
        limit_seconds=None if limit_hours is None else 3600 * limit_hours,
        environments=places,
    )


def _places(study: Study, folder: Path, workers: int) -> list[dict[str, str]]:
    """Return the devices of each worker, after a look whether there are enough for what is left.

    Raises:
        ConfigError: If there are not.
    """
    left = [
        cell.run
        for cell in study.cells()
        if cell.arm.source is None and not (_home(folder, cell) / WEIGHTS).is_file()
    ]
    for run in left:
        check_devices(run)
    return worker_devices([run.trainer for run in left], workers)


def journal_of(folder: Path) -> Journal:
    """Return the journal of a results folder."""
    return Journal(folder / "journal")


def _chosen(jobs: list[Job], only: Sequence[str]) -> list[Job]:
    """Return the jobs with these names, or all.

    Raises:
        ConfigError: If there is no such job.
    """
    names = [step.job.name for step in steps(jobs)]
    for name in only:
        if name not in names:
            raise unknown_name("cell", name, names, where="--only")
    if not only:
        return jobs
    chosen = []
    for job in jobs:
        stages = tuple(stage for stage in job.stages if stage.name in only)
        if job.name in only or stages:
            # A cell that is named is meant whole; of one whose stages are named, they alone.
            chosen.append(job if job.name in only else replace(job, stages=stages))
    return chosen


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
    jobs = _chosen(study_jobs(scorer, folder), only)
    work_through(jobs, progress=False, journal=journal_of(folder))


def clear_failures(study: Study, folder: Path, only: Sequence[str] = ()) -> int:
    """Make failed cells runnable again; returns how many.

    Of cells that are named, tables of scores that are gone may be made afresh, which is recorded.

    Args:
        study: The study.
        folder: Its results folder.
        only: Names of the cells; all of them by default.

    Raises:
        ConfigError: If there is no such cell.
    """
    jobs = _chosen(study_jobs(Scorer(study), folder), only)
    todo = [step.job for step in steps(jobs)]
    tables = [job.folder.base / name for job in todo for name in job.folder.owed if only]
    given_up = lift(table for table in tables if table.suffix == ".parquet")
    if given_up:
        names = tuple(table.relative_to(folder).as_posix() for table in given_up)
        looks.add(folder, looks.Entry(kind="scored again", command="retry", tables=names))
    return sum(job.folder.clear_failure() for job in todo)

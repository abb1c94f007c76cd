"""Running a study in a folder: its cells as jobs, their states, and what a worker process does."""

import os
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from lightning_dna.errors import ConfigError
from lightning_dna.study.executors import (
    Job,
    Outcome,
    die_with_parent,
    run_with_workers,
    summary,
    work_through,
)
from lightning_dna.study.ledger import CellFolder
from lightning_dna.study.scoring import Scorer
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
        work = partial(_work_cell, scorer, cell, place.folder)
        jobs.append(Job(name=cell.name, folder=place, work=work))
    return jobs


def _work_baselines(scorer: Scorer, card: TaskCard, folder: Path, progress: bool) -> None:
    """Score the baselines of one task."""
    scorer.score_baselines(card, folder)


def _work_cell(scorer: Scorer, cell: Cell, folder: Path, progress: bool) -> None:
    """Train and score one cell."""
    scorer.work(cell, folder, progress=progress)


def cell_folder(scorer: Scorer, folder: Path, cell: Cell) -> CellFolder:
    """Return the folder of one cell, with the files it owes; a checkpoint's weights stay away."""
    tables = tuple(job.file for job in scorer.jobs(cell))
    trained = (WEIGHTS,) if cell.arm.source is None else ()
    return CellFolder(folder / "runs" / cell.run_id, (*trained, RECORD, *tables))


def execute(study: Study, folder: Path, *, workers: int) -> Outcome:
    """Run what is missing of a study.

    Args:
        study: The study.
        folder: Results folder; made when missing, continued when it holds this study.
        workers: Processes; with 1 the work is done in this one.

    Returns:
        How many jobs are done and failed.

    Raises:
        ConfigError: If the study cannot run as it is.
        ResultsError: If the folder holds something else or cannot be written to.
    """
    if workers < 1:
        raise ConfigError(f"--workers is {workers}; allowed: 1 or more.")
    scorer = Scorer(study)
    scorer.check()
    record_study(study, folder)
    jobs = study_jobs(study, scorer, folder)
    if summary(jobs).done == len(jobs):
        return summary(jobs)
    if workers == 1:
        return work_through(jobs, progress=sys.stderr.isatty() or len(jobs) < 3)
    threads = max(1, torch.get_num_threads() // workers)
    command = [sys.executable, "-m", "lightning_dna", "worker", str(folder)]
    return run_with_workers(
        jobs,
        command=[*command, "--threads", str(threads), "--parent", str(os.getpid())],
        workers=min(workers, len(jobs)),
        log_folder=folder / "logs",
    )


def work(folder: Path, *, threads: int, parent: int) -> None:
    """Work through a study's jobs as one of several processes, until nothing is left.

    Args:
        folder: Results folder.
        threads: Threads of torch; 0 leaves its choice.
        parent: The runner's process id; when it is gone, so is this process.
    """
    die_with_parent(parent)
    if threads:
        torch.set_num_threads(threads)
    study = open_study(folder)
    scorer = Scorer(study)
    work_through(study_jobs(study, scorer, folder), progress=False)


def clear_failures(study: Study, folder: Path) -> int:
    """Make failed cells runnable again; returns how many."""
    jobs = study_jobs(study, Scorer(study), folder)
    return sum(job.folder.clear_failure() for job in jobs)


def status_table(study: Study, folder: Path) -> str:
    """Return one line for each cell: state, starts, and the failure if there is one."""
    rows = []
    for job in study_jobs(study, Scorer(study), folder):
        failure = job.folder.failure() or {}
        message = str(failure.get("message", "")).splitlines()
        rows.append(
            {
                "cell": job.name,
                "state": str(job.folder.state()),
                "starts": len(job.folder.attempts()),
                "folder": str(job.folder.folder.relative_to(folder)),
                "failure": f"{failure['kind']}: {message[0] if message else ''}" if failure else "",
            }
        )
    return str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))

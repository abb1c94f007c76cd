"""Executors with fake jobs: failures kept, no cell twice at once, the dead replaced."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import pytest

from lightning_dna.atomic import UnwritableError
from lightning_dna.errors import ResultsError
from lightning_dna.study import executors, ledger
from lightning_dna.study.executors import Job, run_with_workers, summary, work_through
from lightning_dna.study.journal import Journal
from lightning_dna.study.ledger import CellFolder, State

# A worker without torch: works through the folders 0, 1, ... below argv[1], logging start and end.
WORKER = """
import os, signal, sys, time
from functools import partial
from pathlib import Path
from lightning_dna.study.executors import work_through
from lightning_dna.study.jobs import Job
from lightning_dna.study.journal import Journal
from lightning_dna.study.ledger import CellFolder
from lightning_dna.training.lifeline import die_with_parent

root, count, behaviour = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if behaviour == "orphan":
    die_with_parent(os.getppid())
if behaviour == "crash":
    sys.exit("no such genome")
if behaviour == "never":
    os.kill(os.getpid(), signal.SIGKILL)

def work(folder, progress):
    if behaviour == "orphan":
        (root / "started").touch()
        time.sleep(60)
    if behaviour == "slow" and folder.name == "1":
        time.sleep(60)
    if behaviour == "die once" and not (root / "died").exists():
        (root / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "cell 1 kills" and folder.name == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    with (root / "log").open("a") as log:
        log.write(f"start {folder.name}\\n")
        log.flush()
        time.sleep(0.02)
        log.write(f"end {folder.name}\\n")
    (folder / "done").touch()

jobs = [CellFolder(root / str(i), ("done",)) for i in range(count)]
work_through([Job(name=c.folder.name, folder=c, work=partial(work, c.folder)) for c in jobs],
             progress=False, journal=Journal(root / "journal"))
"""


def fake(root, count, work=None):
    def touch(folder, progress):
        (folder / "done").touch()

    cells = [CellFolder(root / str(index), ("done",)) for index in range(count)]
    return [
        Job(name=cell.folder.name, folder=cell, work=partial(work or touch, cell.folder))
        for cell in cells
    ]


def run_workers(root, jobs, behaviour, workers=2, **more):
    root.mkdir(exist_ok=True)
    return run_with_workers(
        jobs,
        command=[sys.executable, "-c", WORKER, str(root), str(len(jobs)), behaviour],
        workers=workers,
        log_folder=root / "logs",
        journal=Journal(root / "journal"),
        **more,
    )


def test_a_failure_is_recorded_with_its_traceback_and_the_rest_goes_on(tmp_path):
    def work(folder, progress):
        if folder.name == "1":
            raise KeyError("the missing thing")
        (folder / "done").touch()

    jobs = fake(tmp_path, 3, work)
    outcome = work_through(jobs, progress=False)
    assert (outcome.done, outcome.failed) == (2, 1)
    failure = jobs[1].folder.failure()
    assert (failure["kind"], failure["message"]) == ("KeyError", "'the missing thing'")
    assert "in work" in failure["traceback"]
    assert work_through(jobs, progress=False) == outcome  # a failed job is not tried again
    assert len(jobs[1].folder.attempts()) == 1


def test_a_damaged_result_of_one_cell_does_not_stop_the_others(tmp_path):
    def work(folder, progress):
        if folder.name == "0":
            raise ResultsError("these weights are of another model")
        (folder / "done").touch()

    assert work_through(fake(tmp_path, 2, work), progress=False).done == 1


def test_a_folder_that_cannot_be_written_to_stops_everything(tmp_path):
    def work(folder, progress):
        raise UnwritableError("the disk is full")

    jobs = fake(tmp_path, 2, work)
    with pytest.raises(ResultsError, match="the disk is full"):
        work_through(jobs, progress=False)
    assert [job.folder.state() for job in jobs] == [State.PLANNED, State.PLANNED]


def test_work_that_leaves_nothing_behind_is_a_failure_and_not_an_endless_loop(tmp_path):
    jobs = fake(tmp_path, 1, lambda folder, progress: None)
    assert work_through(jobs, progress=False).failed == 1
    assert "without writing done" in jobs[0].folder.failure()["message"]


def test_a_job_that_another_process_holds_is_left_alone(tmp_path):
    jobs = fake(tmp_path, 2)
    with jobs[0].folder.claim():
        assert work_through(jobs, progress=False, wait=False).done == 1
    assert work_through(jobs, progress=False).done == 2


def test_an_interrupt_ends_the_work_and_releases_the_cell(tmp_path):
    def work(folder, progress):
        raise KeyboardInterrupt

    jobs = fake(tmp_path, 1, work)
    with pytest.raises(KeyboardInterrupt):
        work_through(jobs, progress=False)
    assert jobs[0].folder.state() is State.PLANNED


def test_workers_share_the_jobs_and_never_one_job(tmp_path):
    jobs = fake(tmp_path, 12)
    assert run_workers(tmp_path, jobs, "good", workers=3).done == 12
    log = (tmp_path / "log").read_text().split("\n")[:-1]
    assert sorted(log) == sorted(f"{word} {i}" for i in range(12) for word in ("start", "end"))
    for job in jobs:
        assert len(job.folder.attempts()) == 1


def test_a_killed_worker_is_replaced_and_its_cell_done(tmp_path):
    jobs = fake(tmp_path, 3)
    assert run_workers(tmp_path, jobs, "die once", workers=1).done == 3
    assert max(len(job.folder.attempts()) for job in jobs) == 2


def test_a_cell_that_kills_every_worker_is_failed_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "MAX_DEATHS_PER_CELL", 2)
    jobs = fake(tmp_path, 3)
    outcome = run_workers(tmp_path, jobs, "cell 1 kills", workers=1)
    assert (outcome.done, outcome.failed) == (2, 1)
    failure = jobs[1].folder.failure()
    assert failure["kind"] == "WorkerKilled"
    assert "killed 2 times (SIGKILL)" in failure["message"]


def test_a_cell_over_its_time_is_stopped_and_the_rest_goes_on(tmp_path):
    jobs = fake(tmp_path, 4)
    outcome = run_workers(tmp_path, jobs, "slow", workers=2, limit_seconds=0.6)
    assert (outcome.done, outcome.failed) == (3, 1)
    assert jobs[1].folder.state() is State.TIMEOUT
    assert "limit of" in jobs[1].folder.failure()["message"]
    assert jobs[1].folder.clear_failure()
    assert jobs[1].folder.state() is State.PLANNED


def test_a_cell_without_memory_is_tried_again_as_long_as_that_can_help(tmp_path):
    asked = []

    def work(folder, progress):
        asked.append(folder.name)
        if folder.name == "1" or asked.count("0") < 3:
            raise MemoryError("no room")
        (folder / "done").touch()

    jobs = [replace(job, smaller=lambda times: times < 4) for job in fake(tmp_path, 2, work)]
    outcome = work_through(jobs, progress=False)
    assert (outcome.done, outcome.failed) == (1, 1)
    assert [a.outcome for a in jobs[0].folder.attempts()] == [
        "out of memory",
        "out of memory",
        "done",
    ]
    assert jobs[1].folder.state() is State.OUT_OF_MEMORY
    assert len(jobs[1].folder.attempts()) == 4


def test_memory_that_cannot_be_saved_is_a_failure_at_once(tmp_path):
    def work(folder, progress):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 1 byte")

    jobs = fake(tmp_path, 1, work)
    assert work_through(jobs, progress=False).failed == 1
    assert jobs[0].folder.state() is State.OUT_OF_MEMORY


def test_a_cell_that_was_taken_over_is_neither_failed_nor_done_by_the_loser(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "STALE_SECONDS", 0.1)  # for the other one, who says no more

    def work(folder, progress):
        if not (folder / "attempts" / "0002.json").exists():
            (folder / "attempts" / "0002.json").write_text("{}")
            raise OSError("the other one removed my file")
        (folder / "done").touch()

    jobs = fake(tmp_path, 1, work)
    work_through(jobs, progress=False)
    assert jobs[0].folder.failure() is None


def test_workers_that_die_before_any_cell_end_the_study(tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "MAX_DEATHS_AT_START", 2)
    with pytest.raises(ResultsError, match=r"killed 2 times \(SIGKILL\) before they began"):
        run_workers(tmp_path, fake(tmp_path, 2), "never", workers=1)


def test_a_worker_with_an_error_of_its_own_ends_the_study_with_its_last_words(tmp_path):
    with pytest.raises(ResultsError, match="a worker stopped: no such genome"):
        run_workers(tmp_path, fake(tmp_path, 2), "crash", workers=1)


def test_a_log_folder_that_cannot_be_made_is_a_results_error(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(ResultsError, match=r"cannot write .*logs"):
        run_workers(tmp_path, fake(tmp_path, 1), "good")


def test_a_worker_ends_with_its_parent(tmp_path):
    parent = (
        "import subprocess, sys; "
        "subprocess.run([sys.executable, '-c', sys.argv[1], sys.argv[2], '1', 'orphan'])"
    )
    process = subprocess.Popen([sys.executable, "-c", parent, WORKER, str(tmp_path)])
    cell = CellFolder(tmp_path / "0", ("done",))
    wait_until(lambda: (tmp_path / "started").exists())
    assert cell.state() is State.RUNNING
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: cell.state() is State.PLANNED)


def wait_until(condition, seconds=30.0):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.05)


def test_summary_counts_each_job_once(tmp_path):
    jobs = fake(tmp_path, 3)
    work_through(jobs[:1], progress=False)
    jobs[0].folder.record_failure(kind="x", message="x", traceback="")  # an old one: it is done now
    jobs[1].folder.record_failure(kind="x", message="x", traceback="")
    found = summary(jobs)
    assert (found.done, found.failed) == (1, 1)
    assert json.loads((tmp_path / "1" / "failure.json").read_text())["kind"] == "x"


# A process that works through five cells twenty times, each time when it gets a line.
RACER = (
    WORKER.partition("jobs = [")[0]
    + """
top = root
for round_ in range(20):
    root = top / str(round_)
    print(round_, flush=True)
    sys.stdin.readline()
    cells = [CellFolder(root / str(i), ("done",)) for i in range(5)]
    work_through(
        [Job(name=c.folder.name, folder=c, work=partial(work, c.folder)) for c in cells],
        progress=False, journal=Journal(root / "journal"),
    )
"""
)


def test_two_runners_started_at_once_twenty_times_run_no_cell_twice(tmp_path):
    """Both wait at the same line of the same program; then the same cells are free for both."""
    for round_ in range(20):
        (tmp_path / str(round_)).mkdir()
    crew = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path), "5", "good"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for round_ in range(20):
        for process in crew:
            assert process.stdout.readline() == f"{round_}\n".encode()
        for process in crew:
            process.stdin.write(b"\n")
            process.stdin.flush()
    for process in crew:
        process.communicate(timeout=60)
    for round_ in range(20):
        root = tmp_path / str(round_)
        log = (root / "log").read_text().split("\n")[:-1]
        assert sorted(log) == sorted(f"{word} {i}" for i in range(5) for word in ("start", "end"))
        assert all(len(job.folder.attempts()) == 1 for job in fake(root, 5))


def test_a_study_without_cells_is_done_at_once(tmp_path):
    outcome = run_workers(tmp_path, [], "good", workers=1)
    assert (outcome.done, outcome.failed) == (0, 0)

"""``kill -9`` of any process at any moment: the scores end up those of an uninterrupted study."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lightning_dna.cli import main
from lightning_dna.study.run import execute
from lightning_dna.tasks.base import Scores


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


def start(recipe: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "lightning_dna", "run", str(recipe), "--out", str(out)]
    with (out.parent / "runner.log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--workers", "2"],
            stdout=log,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def some_cell_started(out: Path, after: float) -> bool:
    """Tell whether a worker began with a cell after a moment."""
    return any(path.stat().st_mtime > after for path in out.glob("runs/*/attempts/*.json"))


def kill_at_random(recipe: Path, out: Path, *, kills: int, rng: np.random.Generator) -> list[str]:
    """Kill the runner or a worker, again and again; return who was killed."""
    killed: list[str] = []
    runner = start(recipe, out)
    while len(killed) < kills:
        began, limit = time.time(), time.time() + 120
        # One kill in four comes while a process still starts, the others while cells are worked on.
        while rng.random() > 0.25 and not some_cell_started(out, began) and time.time() < limit:
            time.sleep(0.05)
            if runner.poll() is not None:
                break
        time.sleep(rng.uniform(0.0, 2.0))
        if runner.poll() is not None:
            break
        victim = int(rng.choice([runner.pid, *children_of(runner.pid)]))
        killed.append("runner" if victim == runner.pid else "worker")
        os.kill(victim, signal.SIGKILL)
        if victim == runner.pid:
            runner.wait()
            runner = start(recipe, out)
    try:
        assert runner.wait(timeout=400 + 60 * kills) in (0, -signal.SIGKILL)
    finally:
        runner.kill()  # of one that took too long nothing stays behind
        runner.wait()
    return killed


def check_same_scores(one: Path, other: Path) -> int:
    tables = sorted(path.relative_to(one) for path in one.rglob("*.parquet"))
    assert tables == sorted(path.relative_to(other) for path in other.rglob("*.parquet"))
    for name in tables:
        frames = (Scores.read(folder / name).frame for folder in (one, other))
        pd.testing.assert_frame_equal(*frames)
    return len(tables)


def long_study(make_study, *, seeds: list[int], steps: int):
    trainer = {"checkpoint_every_seconds": 0.3}
    return make_study(seeds=seeds, shared={"budget": {"tokens": steps * 256}, "trainer": trainer})


def check_study(study, folder: Path, *, whole: Path) -> None:
    """Finish the study that was killed, and compare it with one that was not."""
    cells = len(study.cells())
    assert execute(study, folder, workers=1).done == 1 + cells
    execute(study, whole, workers=1)
    assert check_same_scores(whole, folder) == 2 + cells
    assert [path.name for path in folder.rglob("*.partial")] == []


@pytest.mark.slow
def test_ten_kills_of_runner_and_workers_change_no_score(make_study, tmp_path):
    study = long_study(make_study, seeds=[0, 1, 2, 3], steps=1500)
    out = tmp_path / "killed"
    killed = kill_at_random(tmp_path / "toy.yaml", out, kills=10, rng=np.random.default_rng(0))
    assert len(killed) == 10, f"the study ended after {killed}; make its cells longer"
    check_study(study, out, whole=tmp_path / "whole")


@pytest.mark.slow
def test_kills_over_forty_cells_change_no_score_and_double_none(make_study, tmp_path):
    """``LIGHTNING_DNA_KILLS`` says how many; the trainings are as long as that takes."""
    kills = int(os.environ.get("LIGHTNING_DNA_KILLS", "10"))
    study = long_study(make_study, seeds=list(range(20)), steps=40 * kills)
    out = tmp_path / "killed"
    killed = kill_at_random(tmp_path / "toy.yaml", out, kills=kills, rng=np.random.default_rng(1))
    assert len(killed) == kills, f"the study ended after {len(killed)} kills; make cells longer"
    for attempts in out.glob("runs/**/attempts"):
        outcomes = [json.loads(path.read_text())["outcome"] for path in attempts.glob("*.json")]
        assert outcomes.count("done") <= 1, attempts
    check_study(study, out, whole=tmp_path / "whole")


def test_three_kills_of_runners_that_share_a_folder_change_no_score(make_study, tmp_path):
    study = long_study(make_study, seeds=[0, 1], steps=250)
    out, rng = tmp_path / "killed", np.random.default_rng(0)
    # The server imports torch once, so that a process is there at once; the kills are as real.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lightning_dna.study.run", "lightning_dna.study.compare"])

    def start_runner():
        words = ["run", str(tmp_path / "toy.yaml"), "--out", str(out)]
        process = context.Process(target=main, args=(words,))
        process.start()
        return process

    runners, kills = [start_runner(), start_runner()], 0
    while kills < 3 and all(runner.is_alive() for runner in runners):
        began, limit = time.time(), time.time() + 60
        while not some_cell_started(out, began) and time.time() < limit:
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, 0.5))
        victim = int(rng.integers(2))
        runners[victim].kill()
        runners[victim].join()
        kills += runners[victim].exitcode == -signal.SIGKILL
        runners[victim] = start_runner()
    assert kills >= 1  # fewer than three where a machine is so fast that the study has ended
    for runner in runners:
        runner.kill()
        runner.join()
    check_study(study, out, whole=tmp_path / "whole")

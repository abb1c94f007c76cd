"""Kills and signals: what a run leaves, and that going on ends with the very same weights."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_dna.training.run import fit


def same_weights(first: Path, second: Path) -> bool:
    one, other = (torch.load(f / "model.pt", weights_only=True) for f in (first, second))
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def steps_of(folder: Path) -> int:
    return torch.load(folder / "last.ckpt", weights_only=True)["global_step"]


@pytest.fixture(scope="module")
def start():
    """Start ``fit`` in a process of its own; one import serves all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lightning_dna.training.run"])
    started = []

    def start(run, folder):
        process = context.Process(target=fit, args=(run, folder), kwargs={"progress": False})
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def wait_for(path: Path, process, newer_than: int = 0) -> None:
    """Wait until a running process has written a file."""
    deadline = time.monotonic() + 120
    while process.is_alive() and time.monotonic() < deadline:
        if path.exists() and path.stat().st_mtime_ns > newer_than:
            return
        time.sleep(0.01)


def test_kill_minus_nine_at_random_moments_changes_nothing(toy_run, tmp_path, start):
    changes = {
        "budget": {"tokens": 150 * 512},
        "model": {"dropout": 0.1},
        "length_schedule": {"kind": "linear", "start": 16, "fraction": 0.5},
    }
    run = toy_run(trainer={"checkpoint_every_seconds": 0.0, "threads": 1}, **changes)
    # Sums are added up in another order on another number of threads, so both use one.
    fit(toy_run(trainer={"threads": 1}, **changes), tmp_path / "whole", progress=False)
    resume = tmp_path / "killed" / "last.ckpt"
    rng = np.random.default_rng(2)
    kills, reached = 0, [0]
    for _ in range(3):
        process = start(run, tmp_path / "killed")
        wait_for(resume, process, resume.stat().st_mtime_ns if resume.exists() else 0)
        time.sleep(float(rng.uniform(0, 0.2)))  # it trains; let it go on for a random moment
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        if resume.exists():
            reached.append(steps_of(tmp_path / "killed"))
    assert kills >= 1
    assert reached == sorted(reached)
    fit(run, tmp_path / "killed", progress=False)
    assert same_weights(tmp_path / "killed", tmp_path / "whole")
    assert (tmp_path / "killed" / "curves.csv").read_bytes() == (
        tmp_path / "whole" / "curves.csv"
    ).read_bytes()


def test_sigterm_ends_the_process_by_the_signal_and_leaves_a_resume_point(toy_run, tmp_path, start):
    run = toy_run(
        budget={"tokens": 3000 * 512},
        trainer={"checkpoint_every_seconds": 3600.0, "validate_every": 0.001, "threads": 1},
    )
    process = start(run, tmp_path)
    wait_for(tmp_path / "curves.csv", process)
    process.terminate()
    process.join(60)
    assert process.exitcode == -signal.SIGTERM  # a shell shows 143
    assert 3 <= steps_of(tmp_path) < 3000
    assert not (tmp_path / "model.pt").exists()


class TestInThisProcess:
    @pytest.fixture(autouse=True)
    def _same_handlers_afterwards(self):
        # A background job of a shell starts with SIGINT ignored, which would be kept.
        inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        yield
        after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        signal.signal(signal.SIGINT, inherited)
        assert after == before

    @pytest.fixture
    def run(self, toy_run):
        return toy_run(trainer={"checkpoint_every_seconds": 3600.0}, model={"dropout": 0.1})

    def test_control_c_is_a_keyboard_interrupt_after_the_step(self, run, tmp_path):
        def press(step, metrics):
            os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(KeyboardInterrupt) as error:
            fit(run, tmp_path / "cut", progress=False, on_validation=press)
        assert error.value.__context__ is None
        assert steps_of(tmp_path / "cut") == 6
        fit(run, tmp_path / "cut", progress=False)
        fit(run, tmp_path / "whole", progress=False)
        assert same_weights(tmp_path / "cut", tmp_path / "whole")

    def test_a_second_control_c_does_not_wait(self, run, tmp_path):
        reached = []

        def press_twice(step, metrics):
            signal.raise_signal(signal.SIGINT)
            reached.append("after the first")
            signal.raise_signal(signal.SIGINT)
            reached.append("after the second")

        with pytest.raises(KeyboardInterrupt):
            fit(run, tmp_path, progress=False, on_validation=press_twice)
        assert reached == ["after the first"]
        assert not (tmp_path / "last.ckpt").exists()

    def test_a_handler_of_the_callers_own_is_called(self, run, tmp_path):
        seen = []
        default = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
        try:
            with pytest.raises(SystemExit) as error:
                fit(
                    run,
                    tmp_path,
                    progress=False,
                    on_validation=lambda step, metrics: signal.raise_signal(signal.SIGTERM),
                )
        finally:
            signal.signal(signal.SIGTERM, default)
        assert (seen, error.value.code) == ([signal.SIGTERM], 143)
        assert steps_of(tmp_path) == 6

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_that_the_caller_ignores_stays_ignored(self, run, tmp_path, number):
        default = signal.signal(number, signal.SIG_IGN)
        try:
            fit(
                run,
                tmp_path,
                progress=False,
                on_validation=lambda step, metrics: signal.raise_signal(number),
            )
        finally:
            signal.signal(number, default)
        assert (tmp_path / "model.pt").is_file()

    def test_an_error_without_a_signal_is_itself(self, run, tmp_path):
        def fail(step, metrics):
            raise RuntimeError("of the caller's own")

        with pytest.raises(RuntimeError, match="of the caller's own"):
            fit(run, tmp_path, progress=False, on_validation=fail)

    def test_a_thread_of_the_callers_can_train(self, run, tmp_path):
        thread = threading.Thread(target=fit, args=(run, tmp_path), kwargs={"progress": False})
        thread.start()
        thread.join(60)
        assert (tmp_path / "model.pt").is_file()

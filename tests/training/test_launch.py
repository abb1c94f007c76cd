"""`fit` on two devices as a user calls it: processes are started, followed, stopped and ended."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from lightning_dna.errors import ConfigError, ResultsError
from lightning_dna.models.config import ModelConfig
from lightning_dna.training import launch
from lightning_dna.training.callbacks import DivergedError
from lightning_dna.training.launch import Failed, RankError
from lightning_dna.training.modules import MaskedLanguageModule
from lightning_dna.training.rank_process import _sendable
from lightning_dna.training.run import fit

STEADY = {"optimizer": {"epsilon": 1e-4}}  # see test_devices.py
TWO = {"devices": 2, "checkpoint_every_seconds": 3600.0}


def children(of: int) -> list[int]:
    """Ids of the processes that a process has started, in the order of their ids."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if fields[0] != "Z" and int(fields[1]) == of:
            found.append(int(path.parent.name))
    return sorted(found)


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def ranks() -> list[int]:
    """The processes that train, of those that this one has started."""
    return [
        pid
        for pid in children(os.getpid())
        if b"rank_start" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def weights_of(folder):
    return torch.load(folder / "model.pt", weights_only=True)


def test_fit_on_two_devices(toy_run, tmp_path):
    expected = fit(toy_run(**STEADY), tmp_path / "one", progress=False)
    seen = []

    def report(step, metrics):
        seen.append((step, metrics["valid_loss"], len(ranks())))

    run = toy_run(trainer={"devices": 2}, **STEADY)
    made = fit(run, tmp_path / "two", progress=False, on_validation=report)
    assert ranks() == []
    assert [step for step, _, _ in seen] == [6, 12, 18, 24]  # called here, with both at work
    assert {count for _, _, count in seen} == {2}
    assert seen[-1][1] == made.record["valid_loss"]
    assert made.record["devices"] == 2
    one, two = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-4)
    names = {path.name for path in (tmp_path / "two").iterdir()}
    assert names == {"model.pt", "fit.json", "run.json", "curves.csv"}
    # It is the run that it would be on one device, and finished.
    again = fit(toy_run(**STEADY), tmp_path / "two", progress=False)
    assert again.record == made.record
    assert expected.record["steps"] == again.record["steps"] == 24


@pytest.mark.slow
def test_an_error_in_a_process_ends_all_and_is_raised_here(toy_run, tmp_path):
    run = toy_run(trainer=TWO, optimizer={"lr": 1e30, "gradient_clip": 0})
    with pytest.raises(DivergedError, match=r"training diverged: .* lower optimizer\.lr") as error:
        fit(run, tmp_path, progress=False)
    assert isinstance(error.value.__cause__, RankError)
    assert "raise DivergedError" in str(error.value.__cause__)
    assert "callbacks.py" in str(error.value.__cause__)
    assert ranks() == []
    assert not (tmp_path / "fit.json").exists()


@pytest.mark.slow
def test_what_the_caller_raises_at_a_validation_ends_all(toy_run, tmp_path):
    class PrunedError(Exception):
        pass

    def prune(step, metrics):
        raise PrunedError

    with pytest.raises(PrunedError):
        fit(toy_run(trainer=TWO), tmp_path, progress=False, on_validation=prune)
    assert ranks() == []


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_others_and_is_named(toy_run, tmp_path, rank):
    def kill(step, metrics):
        os.kill(ranks()[rank], signal.SIGKILL)

    with pytest.raises(ResultsError, match=f"process {rank} of the 2 .* was killed by SIGKILL"):
        fit(toy_run(trainer=TWO), tmp_path, progress=False, on_validation=kill)
    assert ranks() == []


@pytest.mark.slow
@pytest.mark.parametrize("to", ["this process", "a process that trains"])
def test_a_signal_stops_all_after_the_same_step(toy_run, tmp_path, to):
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)

    def press(step, metrics):
        if step == 12 and to == "this process":
            os.kill(os.getpid(), signal.SIGINT)
        elif step == 12:
            os.kill(ranks()[1], signal.SIGTERM)

    expected = KeyboardInterrupt if to == "this process" else ResultsError
    try:
        with pytest.raises(expected):
            fit(toy_run(trainer=TWO, **STEADY), tmp_path, progress=False, on_validation=press)
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert ranks() == []
    resume = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert 12 <= resume["global_step"] < 24
    fit(toy_run(**STEADY), tmp_path, progress=False)  # on one device
    fit(toy_run(**STEADY), tmp_path / "whole", progress=False)
    for name, tensor in weights_of(tmp_path / "whole").items():
        torch.testing.assert_close(weights_of(tmp_path)[name], tensor, rtol=0, atol=1e-4)
    curves = [pd.read_csv(folder / "curves.csv") for folder in (tmp_path, tmp_path / "whole")]
    pd.testing.assert_frame_equal(*curves, check_exact=False, rtol=2e-3, atol=1e-6)


@pytest.mark.slow
def test_no_process_outlives_a_killed_parent(toy_run, tmp_path):
    trainer = {**TWO, "checkpoint_every_seconds": 0.0}
    run = toy_run(trainer=trainer, budget={"tokens": 20_000 * 512})
    program = (
        "import pickle, sys; from pathlib import Path; from lightning_dna.training.run import fit;"
        "fit(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]), progress=False)"
    )
    (tmp_path / "run").write_bytes(pickle.dumps(run))
    words = [sys.executable, "-c", program, str(tmp_path / "run"), str(tmp_path / "folder")]
    parent = subprocess.Popen(words)
    try:
        deadline = time.monotonic() + 300
        resume = tmp_path / "folder" / "last.ckpt"
        while not resume.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        orphans = children(parent.pid)
        assert resume.exists()  # both are at work
        assert len(orphans) == 2
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 30
    while any(alive(pid) for pid in orphans) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(alive(pid) for pid in orphans)


class FakeProcess:
    """What `_first_error` looks at."""

    def __init__(self, rank, code, failed=None):
        self.rank = rank
        self.failed = failed
        self.popen = type("Popen", (), {"returncode": code, "poll": lambda self: code})()
        self.pipe = type("Pipe", (), {"closed": True})()


class TestWhichErrorIsToldOf:
    def test_the_first_one_and_not_those_that_follow_from_it(self):
        first = Failed(1.0, ConfigError("first"), "its traceback")
        later = Failed(2.0, RuntimeError("Connection closed by peer"), "another")
        error = launch._first_error([FakeProcess(0, 1, later), FakeProcess(1, 1, first)])
        assert str(error) == "first"
        assert str(error.__cause__) == "\nits traceback"

    def test_a_killed_one_rather_than_those_that_miss_it(self):
        later = Failed(2.0, RuntimeError("Connection closed by peer"), "another")
        error = launch._first_error([FakeProcess(0, 1, later), FakeProcess(1, -9)])
        assert isinstance(error, ResultsError)
        assert "process 1 of the 2 that train this model was killed by SIGKILL" in str(error)
        assert "goes on from its last resume point" in str(error)

    def test_one_that_ended_without_a_word(self):
        error = launch._first_error([FakeProcess(0, 3), FakeProcess(1, 0)])
        assert "process 0 of the 2 that train this model ended with status 3" in str(error)


class TestErrorsThatTravel:
    def test_as_they_are(self):
        error = pickle.loads(pickle.dumps(_sendable(ConfigError("no"))))  # noqa: S301
        assert type(error) is ConfigError
        assert str(error) == "no"

    def test_a_divergence_keeps_its_kind_and_message(self):
        module = MaskedLanguageModule(ModelConfig(width=8, layers=1, heads=2))
        made = DivergedError("train_loss", 3, module)
        error = pickle.loads(pickle.dumps(_sendable(made)))  # noqa: S301
        assert type(error) is DivergedError
        assert str(error) == str(made)

    def test_one_that_cannot_becomes_its_message(self):
        class LocalError(Exception):
            pass

        error = _sendable(LocalError("of a function"))
        assert type(error) is ResultsError
        assert str(error) == "LocalError: of a function"
        assert json.dumps(str(error))

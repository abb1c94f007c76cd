"""How trainings and worker processes share the devices of a machine, with faked numbers of GPUs."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lightning_dna.atomic import read_json
from lightning_dna.errors import ConfigError
from lightning_dna.models.memory import training_memory
from lightning_dna.study import run as running
from lightning_dna.study.executors import run_with_workers
from lightning_dna.study.jobs import Job
from lightning_dna.study.journal import Journal
from lightning_dna.study.ledger import CellFolder
from lightning_dna.study.machine import devices_of, step_memory, worker_devices
from lightning_dna.training.config import TrainerConfig


@pytest.fixture
def gpus(monkeypatch):
    """Return a function that fakes a number of GPUs, and how they are named to this process."""

    def fake(count, named=None):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if named is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)

    return fake


def shares(workers, *trainers):
    found = worker_devices([TrainerConfig(**trainer) for trainer in trainers], workers)
    return [one.get("CUDA_VISIBLE_DEVICES") for one in found]


class TestDevicesOfWorkers:
    def test_each_has_one_of_its_own(self, gpus):
        gpus(4)
        assert shares(4, {}) == ["0", "1", "2", "3"]
        assert shares(2, {}, {"accelerator": "cpu"}) == ["0", "1"]

    def test_more_workers_than_gpus_share_them(self, gpus):
        gpus(2)
        assert shares(5, {}) == ["0", "1", "0", "1", "0"]

    def test_names_are_those_that_this_process_was_given(self, gpus):
        gpus(3, named="GPU-5a,2,7")
        assert shares(3, {}) == ["GPU-5a", "2", "7"]

    def test_a_training_on_several_has_them_in_one_worker(self, gpus):
        gpus(4)
        assert shares(2, {"devices": 2}, {}) == ["0,1", "2,3"]

    def test_auto_is_an_equal_share_of_all(self, gpus):
        gpus(5)
        assert shares(2, {"devices": "auto"}) == ["0,1", "2,3"]
        assert shares(7, {"devices": "auto"}) == ["0", "1", "2", "3", "4", "0", "1"]

    def test_too_few_for_so_many_workers(self, gpus):
        gpus(4)
        with pytest.raises(ConfigError, match="takes 2 devices, but there are 4 GPUs") as error:
            shares(3, {"devices": 2})
        assert "allowed: up to 2 workers" in str(error.value)

    def test_nothing_is_said_where_there_is_nothing_to_share(self, gpus):
        gpus(4)
        assert shares(1, {}) == [None]
        assert shares(2, {"accelerator": "cpu"}) == [None, None]
        assert shares(2) == [None, None]
        gpus(0)
        assert shares(2, {}) == [None, None]


@pytest.mark.parametrize(
    ("trainer", "count"),
    [
        ({}, 1),
        ({"devices": 8}, 8),
        ({"devices": "auto"}, 3),
        ({"devices": "auto", "accelerator": "cpu"}, 1),
    ],
)
def test_devices_that_a_training_is_meant_to_take(gpus, trainer, count):
    gpus(3)
    assert devices_of(TrainerConfig(**trainer)) == count


def test_a_worker_sees_its_device_and_no_other(tmp_path):
    program = (
        "import os, sys, pathlib;"
        "print(os.environ['CUDA_VISIBLE_DEVICES'], file=sys.stderr);"
        f"[(pathlib.Path({str(tmp_path)!r}) / n / 'done').touch() for n in '01']"
    )
    cells = [CellFolder(tmp_path / name, ("done",)) for name in "01"]
    for cell in cells:
        cell.folder.mkdir()
    run_with_workers(
        [Job(name=c.folder.name, folder=c, work=lambda progress: None) for c in cells],
        command=[sys.executable, "-c", program],
        workers=2,
        log_folder=tmp_path / "logs",
        journal=Journal(tmp_path / "journal"),
        environments=[{"CUDA_VISIBLE_DEVICES": "6"}, {"CUDA_VISIBLE_DEVICES": "7"}],
    )
    logs = [tmp_path / "logs" / f"worker-{index}.log" for index in (0, 1)]
    # One of them may have been stopped before its first word: all was done by then.
    words = [log.read_text().split() for log in logs]
    assert words[0] in (["6"], [])
    assert words[1] in (["7"], [])
    assert words != [[], []]


class TestStudy:
    def test_too_many_devices_are_refused_before_anything_runs(self, make_study, tmp_path):
        study = make_study(shared={"trainer": {"devices": 4096}})
        with pytest.raises(ConfigError, match=r"trainer\.devices is 4096, but this process sees"):
            running.execute(study, tmp_path / "out", workers=1)
        assert not (tmp_path / "out" / "runs").exists()

    def test_a_finished_training_needs_no_devices(self, make_study, tmp_path):
        study = make_study(shared={"trainer": {"devices": 4096}})
        for cell in study.cells():
            weights = tmp_path / "runs" / cell.run_id / "model.pt"
            weights.parent.mkdir(parents=True)
            weights.touch()
        assert running._places(study, tmp_path, 2) == [{}, {}]

    def test_devices_change_no_run_id(self, make_study):
        plain, spread = (
            [cell.run_id for cell in make_study(shared={"trainer": trainer}).cells()]
            for trainer in ({}, {"devices": 2, "strategy": "fsdp"})
        )
        assert plain == spread

    def test_memory_of_a_device_is_that_of_its_rows(self, make_study):
        settings = make_study().baseline.settings
        settings = replace(settings, budget=replace(settings.budget, tokens_per_step=64 * 5))
        found = step_memory(settings, precision="32", devices=2)
        expected = training_memory(settings.model, rows=3, length=64, precision="32")
        assert found.peak == expected.peak < step_memory(settings, precision="32").peak

    @pytest.mark.slow
    def test_a_study_on_two_devices_has_the_scores_of_one(self, make_study, tmp_path):
        for name, devices in (("one", 1), ("two", 2)):
            shared = {"trainer": {"devices": devices}, "optimizer": {"epsilon": 1e-4}}
            study = make_study(shared=shared)
            outcome = running.execute(study, tmp_path / name, workers=1, only=["attention/0"])
            assert outcome.failed == 0
        cells = [cell.run_id for cell in study.cells() if cell.name == "attention/0"]
        records = [
            [read_json(tmp_path / name / "runs" / cell / "fit.json") for cell in cells]
            for name in ("one", "two")
        ]
        assert [record["devices"] for record in records[1]] == [2]
        for one, two in zip(*records, strict=True):
            assert abs(one["valid_loss"] - two["valid_loss"]) < 1e-3
        files = [
            sorted(
                str(p.relative_to(tmp_path / name)) for p in (tmp_path / name).rglob("*.parquet")
            )
            for name in ("one", "two")
        ]
        assert files[0] == files[1]
        assert files[0]
        assert not list(Path(tmp_path / "two").rglob("last.ckpt"))


def test_following_a_parent_takes_no_torch():
    words = "import lightning_dna.training.lifeline, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

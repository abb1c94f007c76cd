"""One training in two processes against the same training in one: batches, loss, weights, resume.

The processes talk over gloo on the CPU. One interpreter is started for all trainings of this file
and forked, which spares most of the time; `test_launch.py` starts them as a user's run does.
"""

import json
import math
import pickle
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import torch

from lightning_dna import settings
from lightning_dna.data.batches import IGNORE
from lightning_dna.data.module import GenomeDataModule
from lightning_dna.errors import ConfigError
from lightning_dna.training import devices
from lightning_dna.training.config import RunConfig, TrainerConfig, deciding_settings
from lightning_dna.training.devices import check_devices, device_count, spread_of
from lightning_dna.training.launch import Order
from lightning_dna.training.run import fit

# Trains every order of a file in two processes. At the second validation, a quarter of the way on
# from the first, the resume point of the step before is put aside.
TRAINS_IN_TWO = """
import json, multiprocessing, pickle, shutil, sys
from dataclasses import replace
from pathlib import Path
from lightning_dna.data.source import open_genome
from lightning_dna.training.process import train_here
from lightning_dna.training.rank_process import together

def keep(folder):
    def report(step, metrics):
        resume = folder / "last.ckpt"
        if step == 12 and resume.exists():
            shutil.copy(resume, folder / "half.ckpt")
    return report

def train(orders, rank):
    with together(replace(orders[0], rank=rank)) as ranks:
        for order in orders:
            record = train_here(
                order.run, open_genome(order.run.data), order.folder, progress=False, ranks=ranks,
                on_validation=keep(order.folder), microbatches=order.microbatches,
            )
            if ranks.leads:
                (order.folder / "fit.json").write_text(json.dumps(record))

orders = pickle.loads(Path(sys.argv[1]).read_bytes())
fork = multiprocessing.get_context("fork")
others = [fork.Process(target=train, args=(orders, rank)) for rank in (0, 1)]
for process in others:
    process.start()
for process in others:
    process.join()
sys.exit(max(abs(process.exitcode) for process in others))
"""

# Changes of the toy run, and the parts in which each of two processes computes its rows.
CASES = {
    "fixed": ({}, 1),
    # Some 20 rows of a step, of unequal lengths, and so unequal numbers of targets.
    "warm-up, light repeats, in parts": (
        {
            "length_schedule": {"kind": "linear", "start": 16, "fraction": 0.5},
            "data": {"repeats": "downweight"},
        },
        3,
    ),
    "3-mers, shuffled, next token": (
        {
            "data": {"tokenizer": "kmer-3", "mask_fraction": 0.15},
            "model": {"vocab_size": 200, "objective": "next_token", "strand": "single"},
            "length_schedule": {
                "kind": "linear",
                "start": 16,
                "fraction": 0.5,
                "order": "shuffled",
            },
        },
        1,
    ),
}
EVERY_STEP = {
    "trainer": {"checkpoint_every_seconds": 0.0, "threads": 1},
    # The bias of attention's keys has no gradient but rounding, which Adam would scale up to one.
    "optimizer": {"epsilon": 1e-4},
}
SHARDED = ("fixed", "warm-up, light repeats, in parts")


class StopError(Exception):
    """Stops a training from a validation."""


def stop_at_half(step, metrics):
    if step >= 12:
        raise StopError


@pytest.fixture(scope="module")
def trained(tmp_path_factory, toy_run):
    """Train every case in one process and in two; return the folders by name."""
    root = tmp_path_factory.mktemp("devices")
    orders = []

    def order(name, run, parts=1):
        folder = root / name
        folder.mkdir(exist_ok=True)
        keys = {"rank": 0, "count": 2, "meeting": root / "meeting", "progress": False}
        orders.append(Order(run=run, folder=folder, reports=True, microbatches=parts, **keys))

    def two(run, strategy):
        return settings.build(
            RunConfig,
            settings.merge(settings.plain(run), {"trainer": {"devices": 2, "strategy": strategy}}),
            where="test",
        )

    for name, (changes, parts) in CASES.items():
        run = toy_run(
            **settings.merge(changes, EVERY_STEP),
        )
        fit(run, root / f"one {name}", progress=False)
        order(f"ddp {name}", two(run, "auto"), parts)
        if name in SHARDED:
            order(f"fsdp {name}", two(run, "fsdp"), parts)
    run = toy_run(**EVERY_STEP)
    with pytest.raises(StopError):
        fit(run, root / "half", progress=False, on_validation=stop_at_half)
    for strategy in ("ddp", "fsdp"):
        order(f"{strategy} goes on", two(run, strategy))
        shutil.copy(root / "half" / "last.ckpt", root / f"{strategy} goes on" / "last.ckpt")
    (root / "orders").write_bytes(pickle.dumps(orders))
    words = [sys.executable, "-W", "error::UserWarning", "-c", TRAINS_IN_TWO, str(root / "orders")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return root


def weights_of(folder):
    return torch.load(folder / "model.pt", weights_only=True)


def assert_same_training(one, two):
    """Weights and curves agree but for the order in which sums are rounded."""
    expected, found = weights_of(one), weights_of(two)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert type(found[name]) is torch.Tensor
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-4)
    curve, other = (pd.read_csv(folder / "curves.csv") for folder in (one, two))
    exact = ["step", "tokens", "length", "learning_rate"]
    pd.testing.assert_frame_equal(other[exact], curve[exact])
    pd.testing.assert_frame_equal(other, curve, check_exact=False, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_end_with_the_weights_and_the_curve_of_one(trained, name):
    assert_same_training(trained / f"one {name}", trained / f"ddp {name}")


@pytest.mark.parametrize("name", SHARDED)
def test_spread_weights_end_as_whole_ones_do(trained, name):
    assert_same_training(trained / f"one {name}", trained / f"fsdp {name}")


def record_of(folder):
    return json.loads((folder / "fit.json").read_text())


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_the_record_is_that_of_the_whole_training(trained, kind):
    one, two = (record_of(trained / f"{name} fixed") for name in ("one", kind))
    assert (one["devices"], one["strategy"]) == (1, "one")
    assert (two["devices"], two["strategy"]) == (2, kind)
    for name in ("steps", "tokens", "parameters", "padding_fraction", "microbatches"):
        assert two[name] == one[name]
    for name in ("valid_loss", "valid_accuracy", "gradient_norm_max", "adam_variance_max"):
        assert math.isclose(two[name], one[name], rel_tol=1e-4)


def test_tokens_are_counted_over_all_processes(trained):
    name = "3-mers, shuffled, next token"
    one, two = (record_of(trained / f"{kind} {name}") for kind in ("one", "ddp"))
    assert two["tokens_per_base"] == one["tokens_per_base"]
    assert 1 / 3 < one["tokens_per_base"] < 0.5


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_go_on_from_where_one_was(trained, strategy):
    assert_same_training(trained / "one fixed", trained / f"{strategy} goes on")


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_one_process_goes_on_from_where_two_were(trained, tmp_path, toy_run, strategy):
    half = trained / f"{strategy} fixed" / "half.ckpt"
    content = torch.load(half, weights_only=True)  # whole tensors, of no special class
    assert content["global_step"] == 11
    shutil.copy(half, tmp_path / "last.ckpt")
    fit(toy_run(**EVERY_STEP), tmp_path, progress=False)
    assert_same_training(trained / "one fixed", tmp_path)


@pytest.mark.parametrize("count", [2, 3, 22])
def test_every_validation_window_is_counted_once_by_one_of_the_processes(toy_run, count):
    def batches(rank, count):
        run = toy_run(data={"validation_windows": 21})
        data = GenomeDataModule(
            run.data, run.length_schedule, tokens_per_step=22 * 64, total_steps=1,
            objective="masked", seed=0,
        )  # fmt: skip
        data.share(rank, count)
        return data.val_dataloader()

    def windows(found):
        rows = [row for batch in found for row in zip(batch.input_ids, batch.targets, strict=True)]
        return [
            (*ids.tolist(), *targets.tolist()) for ids, targets in rows if (targets != IGNORE).any()
        ]

    parts = [batches(rank, count) for rank in range(count)]
    shares = [windows(part) for part in parts]
    assert sorted(row for share in shares for row in share) == sorted(windows(batches(0, 1)))
    sizes = sorted(len(share) for share in shares)
    assert sum(sizes) == 21
    assert sizes[-1] - sizes[0] <= 1
    # Each has something to compute, so that none waits for ever where all must work.
    assert all(len(part) > 0 for part in parts)


def test_devices_are_no_part_of_what_a_run_is(toy_run):
    plain = deciding_settings(toy_run())
    for trainer in ({"devices": 2}, {"devices": "auto"}, {"devices": 4, "strategy": "fsdp"}):
        assert deciding_settings(toy_run(trainer=trainer)) == plain
    assert not {"devices", "strategy"} & plain["trainer"].keys()


class TestHowMany:
    @pytest.fixture(autouse=True)
    def _four_gpus(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
        monkeypatch.setattr(devices, "_cores", lambda: 3)

    @pytest.mark.parametrize(
        ("trainer", "count"),
        [
            ({}, 1),
            ({"devices": "auto"}, 4),
            ({"devices": 3}, 3),
            ({"devices": "auto", "accelerator": "cpu"}, 1),
            ({"devices": 3, "accelerator": "cpu"}, 3),
            ({"devices": "auto", "accelerator": "mps"}, 1),
        ],
    )
    def test_of_what_is_there(self, trainer, count):
        assert device_count(TrainerConfig(**trainer)) == count

    @pytest.mark.parametrize(
        ("trainer", "message"),
        [
            ({"devices": 5}, r"trainer.devices is 5, but this process sees 4 CUDA device"),
            ({"devices": 4, "accelerator": "cpu"}, r"sees 3 core\(s\) of the CPU; allowed: 1 to 3"),
            ({"devices": 2, "accelerator": "mps"}, r"sees 1 MPS device"),
            ({"strategy": "fsdp"}, r"spreads the weights over several devices.*devices is 1\)"),
            (
                {"strategy": "fsdp", "devices": "auto", "accelerator": "cpu"},
                r"the training has one here \(trainer.devices is auto\); use strategy auto",
            ),
        ],
    )
    def test_too_many_or_too_few(self, trainer, message):
        with pytest.raises(ConfigError, match=message):
            device_count(TrainerConfig(**trainer))

    def test_a_window_for_each(self, toy_run):
        trainer = {"accelerator": "auto", "devices": 4}
        run = toy_run(trainer=trainer, budget={"tokens_per_step": 255})
        with pytest.raises(ConfigError, match="use fewer devices, or 256 tokens per step"):
            check_devices(run)
        assert check_devices(toy_run(trainer=trainer, budget={"tokens_per_step": 256})) == 4

    def test_how_they_share_the_work(self):
        assert spread_of(TrainerConfig(strategy="ddp"), 1) == "one"
        assert spread_of(TrainerConfig(), 2) == spread_of(TrainerConfig(strategy="ddp"), 2) == "ddp"
        assert spread_of(TrainerConfig(strategy="fsdp"), 2) == "fsdp"


@pytest.mark.parametrize("number", [0, -1])
def test_no_device_at_all(number):
    with pytest.raises(ConfigError, match=f"trainer.devices is {number}; allowed: 1 or more"):
        TrainerConfig(devices=number)


@pytest.mark.parametrize(
    ("trainer", "named"), [({"strategy": "deepspeed"}, "strategy"), ({"devices": "all"}, "devices")]
)
def test_an_unknown_word_names_the_key(toy_run, trainer, named):
    with pytest.raises(ConfigError, match=named):
        toy_run(trainer=trainer)

"""Measures of stability, by hand, and that a resumed run measures what a whole one does."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from lightning_dna.data.batches import IGNORE
from lightning_dna.training.run import fit
from lightning_dna.training.stability import StepLog, adam_variance

LOSSES = (2.0, 1.0, 1.3, 0.0, 1.6, 0.5, 0.9, 0.55)
# Each over the lowest before it; the first has none before, and a step without targets has loss 0.
RATIOS = (0.5, 1.3, 1.6, 0.5, 1.8, 1.1)
NORMS = (3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0)
SCHEDULES = {
    "root": {"kind": "root", "start": 16, "fraction": 0.8},
    "stages": {"kind": "stages", "stages": [[16, 0.25], [32, 0.25]]},
    "mixed": {"kind": "mixed", "start": 16, "draw": "window"},
    "truncated": {"kind": "linear", "start": 16, "long_windows": "truncate"},
    "shuffled": {"kind": "doubling", "start": 16, "fraction": 0.6, "order": "shuffled"},
    "sorted": {"kind": "mixed", "start": 16, "draw": "window", "order": "sorted"},
    "grouped": {"kind": "doubling", "start": 16, "fraction": 0.6, "order": "grouped"},
}


def an_optimizer():
    """AdamW after one step with the gradients 3, -4 and 12."""
    weights = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))]
    weights[0].grad, weights[1].grad = torch.tensor([3.0, -4.0]), torch.tensor([12.0])
    optimizer = torch.optim.AdamW(weights, betas=(0.9, 0.96))
    optimizer.step()
    return optimizer


def log_of(steps, log=None):
    log = log or StepLog()
    for step in steps:
        log.add(torch.tensor(LOSSES[step]), torch.tensor(step / 10))
        log.add_norm(torch.tensor(NORMS[step]))
    return log


def test_a_point_has_the_means_and_extremes_of_its_steps():
    log = log_of(range(5))
    row = log.point(an_optimizer())
    assert row["train_loss"] == pytest.approx(5.9 / 5)
    assert row["train_accuracy"] == pytest.approx(0.2)
    assert row["loss_ratio_max"] == pytest.approx(1.6)
    assert (row["gradient_norm"], row["gradient_norm_max"]) == (3.0, 5.0)
    row = log_of(range(5, 8), log).point(an_optimizer())
    assert row["train_loss"] == pytest.approx(1.95 / 3)
    assert row["loss_ratio_max"] == pytest.approx(1.8)  # the lowest loss is remembered
    assert (row["gradient_norm"], row["gradient_norm_max"]) == (6.0, 9.0)


@pytest.mark.parametrize("points", [(8,), (1, 5, 8), (2, 3, 4, 8)])
@pytest.mark.parametrize("saved", [0, 3, 7])
def test_the_summary_depends_neither_on_points_nor_on_a_resume(points, saved):
    log, summary = StepLog(), {}
    for step in range(8):
        log_of([step], log)
        if step + 1 in points:
            log.point(an_optimizer())
        if step == saved:
            state = log.state_dict()
            log = StepLog()
            log.load_state_dict(state)
    summary = log.summary()
    ordered = sorted(NORMS)
    assert summary["loss_ratio_above_1_2"] == 3 / 6
    assert summary["loss_ratio_above_1_5"] == 2 / 6
    assert summary["loss_ratio_max"] == pytest.approx(max(RATIOS))
    assert summary["gradient_norm_p50"] == (ordered[3] + ordered[4]) / 2
    assert summary["gradient_norm_p95"] == pytest.approx(ordered[6] + 0.65 * (9 - 6))
    assert summary["gradient_norm_p99"] == pytest.approx(ordered[6] + 0.93 * (9 - 6))
    assert summary["gradient_norm_max"] == 9.0


def test_the_variance_of_adam_is_that_of_its_second_moment():
    """After one step it is (1 - 0.96) g^2, whose root is 0.2 |g|."""
    highest, norm = adam_variance(an_optimizer())
    assert highest == pytest.approx(0.2 * 12)
    assert norm == pytest.approx(0.2 * (3 + 4 + 12))
    assert all(math.isnan(value) for value in adam_variance(torch.optim.SGD([torch.zeros(1)])))


def test_a_log_without_steps_says_nothing():
    assert set(StepLog().summary().values()) == {None}
    row = StepLog().point(torch.optim.SGD([torch.zeros(1)]))
    assert all(math.isnan(value) for value in row.values())


def test_many_steps_without_a_point_do_not_pile_up():
    log = StepLog()
    for _ in range(2500):
        log.add(torch.tensor(1.0), torch.tensor(0.5))
    assert len(log._pending) < 1000
    assert log.point(torch.optim.SGD([torch.zeros(1)]))["train_loss"] == 1.0


@pytest.mark.parametrize("clip", [0.0, 0.01])
def test_the_norm_is_that_before_clipping(toy_run, tmp_path, clip):
    """The first step of a run, against the gradient of the same batch taken by hand."""
    from lightning_dna.data.module import GenomeDataModule
    from lightning_dna.models.language_model import build_model

    run = toy_run(optimizer={"gradient_clip": clip}, budget={"tokens": 512})
    record = fit(run, tmp_path, progress=False).record
    data = GenomeDataModule(
        run.data,
        run.length_schedule,
        tokens_per_step=512,
        total_steps=1,
        objective="masked",
        seed=0,
    )
    (batch,) = data.train_dataloader()
    model = build_model(run.model, seed=0)
    logits = model(batch.input_ids, batch.attention_mask).logits
    torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORE
    ).backward()
    squares = sum(float((p.grad.double() ** 2).sum()) for p in model.parameters())
    assert record["gradient_norm_max"] == pytest.approx(math.sqrt(squares), rel=1e-4)
    assert record["loss_ratio_max"] is None  # no step before it


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_run_that_is_cut_anywhere_ends_as_if_it_had_not_been(toy_run, tmp_path, name):
    """Weights, curve and measures, for every schedule; the cut is at a random step."""
    run = toy_run(
        trainer={"checkpoint_every_seconds": 0.0, "validate_every": 1 / 24, "points": 5},
        length_schedule=SCHEDULES[name],
        data={"validation_windows": 2},
    )
    cut = int(np.random.default_rng(len(name)).integers(2, 24))

    def stop(step, metrics):
        if step == cut:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fit(run, tmp_path / "cut", progress=False, on_validation=stop)
    folders = [tmp_path / "cut", tmp_path / "whole"]
    records = [fit(run, folder, progress=False).record for folder in folders]
    first, second = (torch.load(folder / "model.pt", weights_only=True) for folder in folders)
    assert all(torch.equal(first[key], second[key]) for key in second)
    curves = [(folder / "curves.csv").read_bytes() for folder in folders]
    assert curves[0] == curves[1]
    timed = {"seconds", "tokens_per_second", "peak_memory_mib"}
    untimed = [{key: record[key] for key in record if key not in timed} for record in records]
    assert untimed[0] == untimed[1]
    assert (records[0]["truncated_bases"] > 0) == (name == "truncated")
    assert (records[0]["steps"], records[0]["tokens"]) == (24, 24 * 512)


def test_the_curve_and_the_record_hold_the_measures(toy_run, tmp_path):
    fit(toy_run(), tmp_path, progress=False)
    curve = pd.read_csv(tmp_path / "curves.csv")
    record = json.loads((tmp_path / "fit.json").read_text())
    assert curve["loss_ratio_max"].max() == pytest.approx(record["loss_ratio_max"])
    assert curve["gradient_norm_max"].max() == pytest.approx(record["gradient_norm_max"])
    assert curve["adam_variance_max"].max() == pytest.approx(record["adam_variance_max"])
    assert curve["adam_variance_norm"].max() == pytest.approx(record["adam_variance_norm_max"])
    # A point every four steps is too often to look at the variance; validations do.
    looked = curve.dropna(subset="adam_variance_max")
    assert looked["step"].tolist() == [6, 12, 18, 24]
    assert (looked["adam_variance_norm"] > looked["adam_variance_max"]).all()
    assert record["gradient_norm_p50"] <= record["gradient_norm_p95"] <= record["gradient_norm_p99"]


def test_a_resume_point_of_the_first_versions_is_understood(toy_run, tmp_path):
    """It kept the means since the last point among the weights, and no log of steps."""

    def stop(step, metrics):
        raise InterruptedError

    run = toy_run(trainer={"checkpoint_every_seconds": 0.0})
    with pytest.raises(InterruptedError):
        fit(run, tmp_path, progress=False, on_validation=stop)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    del state["step_log"]
    state["state_dict"] |= {"train_loss.mean_value": torch.tensor(1.0)}
    torch.save(state, tmp_path / "last.ckpt")
    assert fit(run, tmp_path, progress=False).record["steps"] == 24

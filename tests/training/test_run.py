"""``fit``: what it leaves behind, what it refuses, and that an interrupted one has no seam."""

import json
import resource
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from lightning_dna.errors import ConfigError, ResultsError
from lightning_dna.training import callbacks
from lightning_dna.training.callbacks import DivergedError
from lightning_dna.training.modules import LanguageModule
from lightning_dna.training.run import fit, load_checkpoint, load_weights


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "model.pt", weights_only=True)


def test_a_run_learns_and_leaves_a_checkpoint_record_and_curve(toy_run, tmp_path, capfd):
    run = toy_run(budget={"tokens": 200 * 512})
    checkpoint = fit(run, tmp_path / "run", progress=False)
    record = checkpoint.record
    assert (record["steps"], record["tokens"]) == (200, 200 * 512)
    assert record["padding_fraction"] == 0.0
    assert record["parameters"] == sum(p.numel() for p in checkpoint.model().parameters())
    assert record["peak_memory_mib"] > 50
    curve = pd.read_csv(tmp_path / "run" / "curves.csv")
    validated = curve.dropna(subset="valid_loss")
    assert validated["step"].tolist() == [50, 100, 150, 200]
    assert validated["tokens"].tolist() == [step * 512 for step in (50, 100, 150, 200)]
    assert validated["valid_loss"].iloc[-1] < np.log(4)
    assert validated["valid_accuracy"].iloc[-1] > 0.3
    assert record["valid_loss"] == validated["valid_loss"].iloc[-1]
    assert not (tmp_path / "run" / "last.ckpt").exists()
    assert capfd.readouterr() == ("", "")


def test_a_finished_run_is_not_trained_again(toy_run, tmp_path):
    first = fit(toy_run(), tmp_path, progress=False)
    stamp = (tmp_path / "model.pt").stat().st_mtime_ns
    again = fit(toy_run(), tmp_path, progress=False)
    assert again.record == first.record
    assert (tmp_path / "model.pt").stat().st_mtime_ns == stamp


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(toy_run, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(toy_run(seed=seed), tmp_path / name, progress=False)
    a, b, c = (weights_of(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


def test_progress_goes_to_stderr_with_a_rate(toy_run, tmp_path, capfd):
    fit(toy_run(), tmp_path, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "tok/s" in err
    assert "seed 0" in err


@pytest.mark.parametrize("kind", ["doubling", "linear"])
def test_warmup_spends_the_same_tokens(toy_run, tmp_path, kind):
    schedule = {"kind": kind, "start": 16, "fraction": 0.5}
    record = fit(toy_run(length_schedule=schedule), tmp_path, progress=False).record
    assert record["tokens"] == 24 * 512
    curve = pd.read_csv(tmp_path / "curves.csv")
    assert curve["length"].iloc[0] < 64
    assert curve["length"].iloc[-1] == 64


@pytest.mark.parametrize("repeats", ["remove", "downweight"])
@pytest.mark.parametrize("mixer", ["attention", "hyena"])
def test_every_repeat_policy_trains_with_every_mixer(toy_run, tmp_path, repeats, mixer):
    run = toy_run(data={"repeats": repeats, "repeat_min_length": 16}, model={"mixer": mixer})
    assert np.isfinite(fit(run, tmp_path, progress=False).record["valid_loss"])


def test_next_token_models_train(toy_run, tmp_path):
    run = toy_run(model={"objective": "next_token"}, budget={"tokens": 200 * 512})
    assert fit(run, tmp_path, progress=False).record["valid_loss"] < np.log(4)


def test_a_training_that_a_callback_stops_goes_on_later(toy_run, tmp_path):
    run = toy_run(trainer={"checkpoint_every_seconds": 0.0, "points": 5}, model={"dropout": 0.1})
    seen = []

    class EnoughError(Exception):
        """Stops the training from a validation."""

    def stop_at_half(step, metrics):
        seen.append((step, metrics["valid_loss"]))
        if step >= 12:
            raise EnoughError

    with pytest.raises(EnoughError):
        fit(run, tmp_path / "cut", progress=False, on_validation=stop_at_half)
    assert [step for step, _ in seen] == [6, 12]
    fit(run, tmp_path / "cut", progress=False)
    fit(run, tmp_path / "whole", progress=False)
    cut, whole = weights_of(tmp_path / "cut"), weights_of(tmp_path / "whole")
    assert all(torch.equal(cut[key], whole[key]) for key in whole)
    # Every column without a seam, although the stop fell between two points of the curve.
    assert (tmp_path / "cut" / "curves.csv").read_text() == (
        tmp_path / "whole" / "curves.csv"
    ).read_text()


def test_weights_of_another_model_are_refused_with_their_keys(toy_run, tmp_path):
    fit(toy_run(), tmp_path / "a", progress=False)
    other = fit(toy_run(model={"mixer": "hyena"}), tmp_path / "b", progress=False)
    with pytest.raises(ResultsError, match=r"missing \[.*unknown \["):
        load_weights(other.model(), tmp_path / "a" / "model.pt")
    (tmp_path / "a" / "model.pt").write_bytes(b"not weights")
    with pytest.raises(ResultsError, match=r"model\.pt"):
        load_checkpoint(tmp_path / "a").model()


def test_an_unfinished_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(ResultsError, match=r"holds no finished run: run\.json is missing"):
        load_checkpoint(tmp_path)


def test_a_logger_that_is_not_installed_is_named(toy_run, tmp_path):
    with pytest.raises(ConfigError, match=r"trainer\.logger is 'wandb'.*csv"):
        fit(toy_run(trainer={"logger": "wandb"}), tmp_path, progress=False)


def test_a_folder_that_cannot_be_written_to_is_named(toy_run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResultsError, match="cannot write"):
        fit(toy_run(), tmp_path / "file" / "run", progress=False)
    assert (tmp_path / "file").read_text() == "in the way"


def test_settings_that_do_not_fit_together_name_both(toy_run):
    with pytest.raises(ConfigError, match=r"data\.length is 128 but model\.max_length is 64"):
        toy_run(data={"length": 128})
    with pytest.raises(ConfigError, match=r"tokens_per_step is 32, less than one window"):
        toy_run(budget={"tokens_per_step": 32})


@pytest.mark.parametrize("finished", [True, False])
def test_the_folder_of_another_run_is_refused_with_the_keys_that_differ(
    toy_run, tmp_path, finished
):
    def stop(step, metrics):
        if not finished:
            raise InterruptedError

    if finished:
        fit(toy_run(), tmp_path, progress=False)
    else:
        with pytest.raises(InterruptedError):
            fit(toy_run(), tmp_path, progress=False, on_validation=stop)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(
        ResultsError,
        match=r"another run: optimizer\.lr is 0\.01 there and 0\.02 here; seed is 0 there",
    ) as error:
        fit(toy_run(seed=1, optimizer={"lr": 0.02}), tmp_path, progress=False)
    assert str(tmp_path) in str(error.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_settings_without_effect_and_the_place_of_the_genome_may_differ(
    toy_run, toy_fasta, tmp_path
):
    first = fit(toy_run(), tmp_path / "run", progress=False)
    moved = tmp_path / "elsewhere.fa"
    moved.write_bytes(toy_fasta.read_bytes())
    trainer = {"validate_every": 0.5, "points": 3, "threads": 1, "checkpoint_every_seconds": 7.0}
    again = toy_run(data={"genome": str(moved)}, trainer=trainer)
    assert fit(again, tmp_path / "run", progress=False).record == first.record
    moved.write_bytes(toy_fasta.read_bytes().replace(b"ACGT", b"ACGA", 1))
    with pytest.raises(ResultsError, match="genome_digest is"):
        fit(again, tmp_path / "run", progress=False)


def test_divergence_is_an_error_that_names_the_settings_and_finishes_nothing(toy_run, tmp_path):
    wild = toy_run(optimizer={"lr": 1e30, "gradient_clip": 0.0})
    with pytest.raises(
        DivergedError,
        match=r"the train_loss is not finite at step 4 of 24; .*optimizer\.lr \(it is 1e\+30\)",
    ) as error:
        fit(wild, tmp_path, progress=False)
    assert isinstance(error.value, ConfigError)
    assert "optimizer.gradient_clip (0.0; 0 is off)" in str(error.value)
    assert not {"model.pt", "fit.json"} & {path.name for path in tmp_path.iterdir()}


def test_a_last_step_that_ruins_the_weights_is_divergence_too(toy_run, tmp_path):
    """One step, finite loss, no validation: only the weights show it."""
    run = toy_run(
        budget={"tokens": 512},
        optimizer={"lr": 1e39, "gradient_clip": 0.0},
        data={"split": {"train": ["chr1"], "valid": [], "test": ["chr3"]}},
    )
    with pytest.raises(DivergedError, match="weights is not finite at step 1 of 1"):
        fit(run, tmp_path, progress=False)
    assert not (tmp_path / "model.pt").exists()


def test_speed_is_that_of_training_alone(toy_run, tmp_path, monkeypatch):
    """On a clock of our own a step takes 1 s, a validation 100 s and a resume point 10 s."""
    now = [0.0]

    def slowed(function, seconds):
        def slow(*arguments):
            now[0] += seconds
            return function(*arguments)

        return slow

    clock = SimpleNamespace(perf_counter=lambda: now[0], monotonic=time.monotonic)
    monkeypatch.setattr(callbacks, "time", clock)
    monkeypatch.setattr(LanguageModule, "training_step", slowed(LanguageModule.training_step, 1.0))
    monkeypatch.setattr(callbacks.Follow, "validate", slowed(callbacks.Follow.validate, 100.0))
    monkeypatch.setattr(callbacks, "write_tensors", slowed(callbacks.write_tensors, 10.0))
    run = toy_run(trainer={"checkpoint_every_seconds": 0.0})
    record = fit(run, tmp_path, progress=False).record
    assert now[0] == 24 + 4 * 100 + 24 * 10
    assert record["seconds"] == 24.0
    assert record["tokens_per_second"] == 512.0


@pytest.mark.parametrize("mixer", ["attention", "hyena"])
def test_mixed_precision_trains_with_clipping(toy_run, tmp_path, mixer):
    run = toy_run(trainer={"precision": "bf16"}, model={"mixer": mixer})
    record = fit(run, tmp_path / "bf16", progress=False).record
    assert record["precision"] == "bf16-mixed"
    whole = fit(toy_run(model={"mixer": mixer}), tmp_path / "32", progress=False).record
    assert record["valid_loss"] == pytest.approx(whole["valid_loss"], abs=0.02)


def test_a_full_disk_is_named_and_leaves_no_half_written_weights(toy_run, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, limits[1]))
    try:
        with pytest.raises(ResultsError, match=r"cannot write .*model\.pt"):
            fit(toy_run(), tmp_path, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "curves.csv"}


def test_without_validation_chromosomes_the_record_is_still_json(toy_run, tmp_path):
    split = {"train": ["chr1"], "valid": [], "test": ["chr3"]}
    record = fit(toy_run(data={"split": split}), tmp_path, progress=False).record
    assert record["valid_loss"] is None
    assert record["valid_accuracy"] is None

    def refuse(word):
        raise AssertionError(word)

    json.loads((tmp_path / "fit.json").read_text(), parse_constant=refuse)


def test_the_callers_generator_is_left_alone(toy_run, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(toy_run(model={"dropout": 0.1}), tmp_path, progress=False)
    assert torch.equal(torch.rand(3), expected)


def test_a_damaged_resume_point_says_what_to_do(toy_run, tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"half of a checkpoint")
    with pytest.raises(ResultsError, match=r"last\.ckpt; delete it"):
        fit(toy_run(), tmp_path, progress=False)

"""``fit``: what it leaves behind, and that a killed run ends with the very same weights."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lightning_dna import settings
from lightning_dna.errors import ConfigError, ResultsError
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
    run = toy_run(trainer={"checkpoint_every_seconds": 0.0}, model={"dropout": 0.1})
    seen = []

    class Enough(Exception):
        """Stops the training from a validation."""

    def stop_at_half(step, metrics):
        seen.append((step, metrics["valid_loss"]))
        if step >= 12:
            raise Enough

    with pytest.raises(Enough):
        fit(run, tmp_path / "cut", progress=False, on_validation=stop_at_half)
    assert [step for step, _ in seen] == [6, 12]
    fit(run, tmp_path / "cut", progress=False)
    fit(run, tmp_path / "whole", progress=False)
    cut, whole = weights_of(tmp_path / "cut"), weights_of(tmp_path / "whole")
    assert all(torch.equal(cut[key], whole[key]) for key in whole)
    curves = [
        pd.read_csv(tmp_path / n / "curves.csv").drop(columns="train_loss") for n in ("cut", "whole")
    ]
    assert curves[0]["step"].tolist() == curves[1]["step"].tolist()
    assert curves[0]["valid_loss"].dropna().tolist() == curves[1]["valid_loss"].dropna().tolist()


def test_kill_minus_nine_at_random_moments_changes_nothing(toy_run, tmp_path):
    run = toy_run(
        budget={"tokens": 400 * 512},
        trainer={"checkpoint_every_seconds": 0.0},
        model={"dropout": 0.1},
        length_schedule={"kind": "linear", "start": 16, "fraction": 0.5},
    )
    fit(run, tmp_path / "whole", progress=False)
    (tmp_path / "run.json").write_text(json.dumps(settings.plain(run)))
    code = (
        "import json, pathlib, sys\n"
        "from lightning_dna import settings\n"
        "from lightning_dna.training.config import RunConfig\n"
        "from lightning_dna.training.run import fit\n"
        "run = settings.build(RunConfig, json.loads(pathlib.Path(sys.argv[1]).read_text()), where='x')\n"
        "fit(run, pathlib.Path(sys.argv[2]), progress=False)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run.json"), str(tmp_path / "killed")]
    rng = np.random.default_rng(2)
    kills = 0
    resume = tmp_path / "killed" / "last.ckpt"
    for _ in range(3):
        stamp = resume.stat().st_mtime_ns if resume.exists() else 0
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if resume.exists() and resume.stat().st_mtime_ns != stamp:
                break  # it trains; now let it go on for a random moment
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0, 0.4)))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 1
    fit(run, tmp_path / "killed", progress=False)
    killed, whole = weights_of(tmp_path / "killed"), weights_of(tmp_path / "whole")
    assert all(torch.equal(killed[key], whole[key]) for key in whole)


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

"""``lightning-dna calibrate``: files written, exit status, resumption, messages."""

from dataclasses import replace

import numpy as np
import pytest

from lightning_dna.cli import main
from lightning_dna.stats.calibration import grid as calibration


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 80)
    paths = []
    for name, skill in (("weak", 0.65), ("strong", 0.85)):
        predicted = np.where(rng.random(80) < skill, labels, 1 - labels)
        rows = [f"e{i},{y},{p}" for i, (y, p) in enumerate(zip(labels, predicted, strict=True))]
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join(["id,label,pred", *rows]) + "\n")
        paths.append(str(path))
    return paths


def calibrate(*words):
    return main(["calibrate", "--jobs", "1", "--resamples", "99", *map(str, words)])


def test_real_predictions_become_equal_arms(files, tmp_path, capsys):
    out = tmp_path / "out"
    asked = ("--out", out, "--sets", 150, "--metrics", "accuracy,mcc", *files)
    assert calibrate(*asked) == 0
    printed = capsys.readouterr().out
    assert "2 cells judged" in printed
    assert "verdict: calibrated" in printed
    assert {path.name for path in out.iterdir()} == {
        "counts",
        "table.csv",
        "table.md",
        "figure.svg",
    }
    assert "exchange weak\\|strong" in (out / "table.md").read_text()
    kept = {path: path.stat().st_mtime_ns for path in (out / "counts").iterdir()}
    assert calibrate(*asked) == 0  # from the counts on disk
    assert capsys.readouterr().out == printed
    assert {path: path.stat().st_mtime_ns for path in (out / "counts").iterdir()} == kept


def test_a_missed_limit_is_exit_status_one(files, tmp_path, capsys, monkeypatch):
    run = calibration.null_grid

    def liberal(*args, **options):
        report = run(*args, **options)
        rows = tuple(replace(row, rate=0.2, status="liberal") for row in report.rows)
        return replace(report, rows=rows)

    monkeypatch.setattr(calibration, "null_grid", liberal)
    assert calibrate("--out", tmp_path / "out", "--sets", 100, *files) == 1
    printed = capsys.readouterr().out
    assert "NOT calibrated" in printed
    assert "false positives 0.2000" in printed


def test_one_model_with_one_seed_is_a_message(files, tmp_path, capsys):
    assert calibrate("--out", tmp_path / "out", "--sets", 10, files[0]) == 2
    assert "two variants of a task" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sets", 1], "--sets must be 2 or more, not 1."),
        (["--resamples", 1], "--resamples must be 2 or more, not 1."),
        (["--jobs", 0], "--jobs must be 1 or more, not 0."),
        (["--unit", "cluster"], "--unit cluster needs a cluster column, and "),
    ],
)
def test_options_that_cannot_be_used(files, tmp_path, capsys, words, said):
    assert calibrate("--out", tmp_path / "out", *words, *files) == 2
    assert said in capsys.readouterr().err


def test_an_output_folder_that_is_a_file_is_a_message(files, tmp_path, capsys):
    (tmp_path / "out").write_text("")
    assert calibrate("--out", tmp_path / "out", "--sets", 10, *files) == 2
    assert "cannot write" in capsys.readouterr().err

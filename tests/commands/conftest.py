"""The commands that read predictions, called as from a shell, and models to call them on."""

import contextlib
import io
import json

import numpy as np
import pandas as pd
import pytest

from lightning_dna.cli import main

N = 400


def _run(*arguments: object) -> tuple[int, str, str]:
    """Call ``main``; its status, and what it wrote to stdout and to stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = int(end.code or 0)
    return status, out.getvalue(), err.getvalue()


def _rows(*arguments: object) -> list[dict]:
    """Run ``compare --format json`` with few resamples and return its rows."""
    status, out, err = _run("compare", *arguments, "--format", "json", "--resamples", 499)
    assert status == 0, err
    return json.loads(out)


def _refusal(*arguments: object) -> str:
    """Run a command that must fail: one message on stderr, nothing on stdout, status 2."""
    status, out, err = _run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("lightning-dna: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err.removeprefix("lightning-dna: ").rstrip("\n")


def _models(names=("A", "B", "C"), *, seed=0, n=N) -> dict[str, pd.DataFrame]:
    """Predictions of models of rising quality that share what makes an example hard."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 2, n)
    hard = generator.normal(size=n)
    frames = {}
    for number, name in enumerate(names):
        signal = (0.8 + 0.4 * number) * (2 * truth - 1) + hard + generator.normal(size=n)
        score = np.round(1 / (1 + np.exp(-signal)), 3)  # ties, as in real files
        frames[name] = pd.DataFrame(
            {"id": [f"{k:04d}" for k in range(n)], "label": truth,
             "pred": (score >= 0.5).astype(int), "score": score}
        )  # fmt: skip
    return frames


def _long_file(path: str, *, seeds=2, tasks=("t", "u"), clusters: int = 0) -> None:
    """Write one file with a column each of models, tasks and seeds."""
    parts = []
    for number, task in enumerate(tasks):
        for seed in range(seeds):
            for name, frame in _models(("A", "B"), seed=10 * number, n=200).items():
                noise = np.random.default_rng([number, seed, len(name), ord(name)])
                flip = noise.random(len(frame)) < 0.1
                one = frame.drop(columns="score").assign(model=name, task=task, seed=seed)
                one["pred"] = np.where(flip, 1 - one["pred"], one["pred"])
                if clusters:
                    one["chrom"] = np.arange(len(one)) % clusters
                parts.append(one)
    frame = pd.concat(parts)
    frame.to_parquet(path) if path.endswith("parquet") else frame.to_csv(path, index=False)


@pytest.fixture(scope="session")
def run():
    """Return a caller of ``main``: status, stdout and stderr."""
    return _run


@pytest.fixture(scope="session")
def rows():
    """Return a caller of ``compare --format json``: its rows."""
    return _rows


@pytest.fixture(scope="session")
def refusal():
    """Return a caller of a command that must fail with one message."""
    return _refusal


@pytest.fixture(scope="session")
def models():
    """Return a maker of predictions of models of rising quality."""
    return _models


@pytest.fixture(scope="session")
def long_file():
    """Return a writer of one file with columns of models, tasks and seeds."""
    return _long_file


@pytest.fixture(scope="session")
def frames():
    """Return predictions of models A, B and C on 400 examples."""
    return _models()


@pytest.fixture
def folder(tmp_path, monkeypatch, frames):
    """Work in a folder with one file for each of A, B and C."""
    monkeypatch.chdir(tmp_path)
    for name, frame in frames.items():
        frame.to_csv(f"{name}.csv", index=False)
    return tmp_path

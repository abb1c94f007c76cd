"""A study whose task files are not all there: it stops before training, skips, or carves.

And nothing that a study does opens the network.
"""

import contextlib
import io
import socket
from pathlib import Path

import pytest
import yaml

from lightning_dna.cli import main
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.study.run import execute
from lightning_dna.study.study import load_study

CARD = {
    "kind": "classification",
    "title": "T",
    "source": "gue",
    "ways": ["frozen"],
    "baselines": ["majority"],
}


@pytest.fixture
def recipe(content, write_yaml, tmp_path) -> Path:
    """A recipe of one arm and seed with two tasks; the second has no training file."""
    for name in ("one", "two"):
        files = {part: f"{name}/{part}.csv" for part in ("train", "valid", "test")}
        write_yaml(f"suite/{name}.yaml", {"name": name, "files": files, **CARD})
        for part, base in (("train", "A"), ("valid", "C"), ("test", "G")):
            rows = [f"{base * 4}{'AT'[i % 2] * (i // 2 + 1)},{i % 2}" for i in range(20)]
            if (name, part) != ("two", "train"):
                write_yaml(f"tasks/{name}/{part}.csv", "\n".join(["sequence,label", *rows]) + "\n")
    content["suite"] = str(write_yaml("suite/suite.yaml", {"tasks": ["./one.yaml", "./two.yaml"]}))
    content["tasks_root"] = str(tmp_path / "tasks")
    content["seeds"] = [0]
    content["arms"] = {"attention": None}
    content["shared"]["finetune"] = {"epochs": 1, "probe_c": [1.0]}
    content["comparison"] = {"scope": "checkpoint", "resamples": 99, "planned": ["two/frozen:mcc"]}
    return write_yaml("recipe.yaml", yaml.safe_dump(content, sort_keys=False))


def test_stops_before_training_and_says_what_still_runs(recipe, tmp_path):
    study = load_study(recipe)
    with pytest.raises(DataError) as caught:
        execute(study, tmp_path / "out", workers=1)
    message = str(caught.value)
    assert "files are missing for 1 of 2 tasks: two (train: two/train.csv)" in message
    assert "suite_missing=skip these still run: one" in message
    assert not list((tmp_path / "out").rglob("weights*"))


def test_skip_and_carve_choose_the_tasks(recipe):
    skipped = load_study(recipe, ["suite_missing=skip"])
    assert [card.name for card in skipped.cards] == ["one"]
    assert skipped.skipped == ("two: left out, because files are missing: two/train.csv.",)
    carved = load_study(recipe, ["suite_missing=carve"])
    assert [card.name for card in carved.cards] == ["one", "two-dev"]
    assert carved.skipped == ()


def test_a_wrong_choice_is_named(recipe):
    with contextlib.redirect_stderr(io.StringIO()) as err:
        assert main(["plan", str(recipe), "--set", "suite_missing=drop"]) == 2
    assert "suite_missing" in err.getvalue()
    assert "skip" in err.getvalue()


def test_runs_without_a_network_and_prints_the_deviation(recipe, tmp_path, monkeypatch):
    def refused(*arguments, **options):
        raise AssertionError(f"a study opened a connection: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "create_connection", refused)
    out = tmp_path / "out"
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        command = ["run", str(recipe), "--out", str(out), "--set", "suite_missing=carve"]
        assert main(command) == 0, err.getvalue()
    page = (out / "report.html").read_text()
    assert "two-dev" in page
    assert "The published training file was not at hand" in page
    assert "Not comparable with published numbers." in page


def test_a_suite_without_the_task_of_the_default_plan_plans_nothing(recipe):
    content = yaml.safe_load(recipe.read_text())
    del content["comparison"]["planned"]
    recipe.write_text(yaml.safe_dump(content, sort_keys=False))
    assert load_study(recipe).recipe.comparison.planned == ()
    content["comparison"]["planned"] = ["heldout_mlm:mlm_accuracy"]
    recipe.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(ConfigError, match="unknown task 'heldout_mlm'"):
        load_study(recipe)

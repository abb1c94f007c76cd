"""Looking after a results folder: states as a person reads them, cleaning, one line a cell."""

import argparse
import json
import shlex

import pytest
import torch

from lightning_dna.commands import upkeep
from lightning_dna.errors import ConfigError
from lightning_dna.study.ledger import State
from lightning_dna.study.run import execute, study_jobs
from lightning_dna.study.scoring import Scorer
from lightning_dna.study.upkeep import remove, status_table, waste
from lightning_dna.training.modules import LanguageModule

ONE_SEED = {"seeds": [0], "comparison": {"scope": "checkpoint"}}


def jobs_in(study, folder):
    return study_jobs(Scorer(study), folder)


def cells(table: str) -> dict[str, list[str]]:
    """Read the rows of a Markdown table by their first column."""
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return {row[0].strip(): [word.strip() for word in row] for row in rows[2:]}


def test_status_names_every_cell_its_state_and_its_last_attempt(make_study, tmp_path):
    study, out = make_study(**ONE_SEED), tmp_path / "out"
    table = status_table(jobs_in(study, out), out)
    assert table.startswith("3 cells: 3 planned\n")
    execute(study, out, workers=1, only=["attention/0"])
    table = status_table(jobs_in(study, out), out)
    assert table.startswith("3 cells: 2 planned, 1 done\n")
    row = cells(table)["attention/0"]
    assert row[1:3] == ["done", "1"]
    assert "cpu, done after" in row[3]
    assert cells(table)["hyena/0"][1:4] == ["planned", "0", ""]


def test_one_that_died_and_one_that_failed_are_told_apart(make_study, tmp_path):
    study, out = make_study(**ONE_SEED), tmp_path / "out"
    jobs = {job.name: job.folder for job in jobs_in(study, out)}
    with jobs["hyena/0"].claim():
        jobs["hyena/0"]._attempts.begin()  # and nothing more: what a kill leaves
        assert cells(status_table(jobs_in(study, out), out))["hyena/0"][1] == "running"
    jobs["attention/0"].record_failure(
        kind="TimeLimit", message="too long\nand more", traceback="", state=State.TIMEOUT
    )
    found = cells(status_table(jobs_in(study, out), out))
    assert found["hyena/0"][1] == "planned"
    assert found["hyena/0"][3].endswith("died")
    assert found["attention/0"][1] == "timeout"
    assert found["attention/0"][5] == "TimeLimit: too long"


def test_an_unknown_cell_is_refused_with_the_nearest(make_study, tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)hyna/0.*hyena/0"):
        execute(make_study(**ONE_SEED), tmp_path / "out", workers=1, only=["hyna/0"])


def test_clean_removes_what_no_result_needs_and_nothing_else(make_study, tmp_path):
    study, out = make_study(**ONE_SEED), tmp_path / "out"
    execute(study, out, workers=1)
    assert waste(jobs_in(study, out), out) == []
    (orphan := out / "runs" / "0123456789ab").mkdir()
    (orphan / "model.pt").write_bytes(b"x" * 100)
    done = jobs_in(study, out)[-1].folder.folder
    (done / "last.ckpt").write_bytes(b"x" * 10)
    (done / "scores" / ".a.parquet.1.ab.partial").write_bytes(b"x")
    kept = {path for path in out.rglob("*") if path.is_file()}
    found = waste(jobs_in(study, out), out)
    assert {item.path.name: item.size for item in found} == {
        "0123456789ab": 100,
        "last.ckpt": 10,
        ".a.parquet.1.ab.partial": 1,
    }
    remove(found)
    gone = kept - {path for path in out.rglob("*") if path.is_file()}
    assert sorted(path.name for path in gone) == [
        ".a.parquet.1.ab.partial",
        "last.ckpt",
        "model.pt",
    ]
    assert waste(jobs_in(study, out), out) == []


def test_every_cell_has_a_shell_line_of_its_own(make_study, tmp_path):
    study = make_study(**ONE_SEED)
    options = argparse.Namespace(
        recipe=tmp_path / "my recipe.yaml", out=tmp_path / "out", overrides=["seeds=[0]"]
    )
    lines = [shlex.split(line) for line in upkeep.shell_lines(study, options).splitlines()]
    assert len(lines) == 3
    assert {line[line.index("--only") + 1] for line in lines} == {
        "baselines of bases",
        "attention/0",
        "hyena/0",
    }
    for line in lines:
        assert line[:5] == ["lightning-dna", "run", str(options.recipe), "--out", str(options.out)]
        assert line[-2:] == ["--set", "seeds=[0]"]


def test_watching_ends_when_nothing_is_left(make_study, tmp_path):
    study, out = make_study(**ONE_SEED), tmp_path / "out"
    execute(study, out, workers=1)
    options = argparse.Namespace(study=out, watch=0.01)
    pages = list(upkeep.status_pages(options))
    assert len(pages) == 1
    assert "3 done" in pages[0]
    with pytest.raises(ConfigError, match="--watch is -1"):
        next(upkeep.status_pages(argparse.Namespace(study=out, watch=-1)))


def test_a_training_without_memory_goes_on_in_parts_to_the_same_model(
    make_study, tmp_path, monkeypatch
):
    """A device that holds two rows at most: 4 rows of 64 bases need 2 parts."""
    study = make_study(**ONE_SEED)
    execute(study, tmp_path / "whole", workers=1)
    plain = LanguageModule.loss

    def small(self, batch):
        if self.training and batch.input_ids.shape[0] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return plain(self, batch)

    monkeypatch.setattr(LanguageModule, "loss", small)
    out = tmp_path / "parts"
    assert execute(study, out, workers=1).failed == 0
    place = jobs_in(study, out)[-1].folder
    assert [attempt.outcome for attempt in place.attempts()] == ["out of memory", "done"]
    # Adam turns rounding into steps where a gradient is next to nothing: not weight by weight.
    whole, parts = (
        json.loads((folder / place.folder.relative_to(out) / "fit.json").read_text())
        for folder in (tmp_path / "whole", out)
    )
    assert (whole["microbatches"], parts["microbatches"]) == (1, 2)
    assert parts["valid_loss"] == pytest.approx(whole["valid_loss"], rel=5e-3)
    assert parts["tokens"] == whole["tokens"]


def test_what_parts_cannot_help_fails_as_out_of_memory(make_study, tmp_path, monkeypatch):
    def never(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(LanguageModule, "loss", never)
    study = make_study(**ONE_SEED)
    out = tmp_path / "out"
    assert execute(study, out, workers=1).failed == 2
    place = jobs_in(study, out)[-1].folder
    assert place.state() is State.OUT_OF_MEMORY
    assert len(place.attempts()) == 3  # whole, 2 parts, 4 parts of one row each

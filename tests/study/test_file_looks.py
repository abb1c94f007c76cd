"""Whoever compares the tables of an unfinished study as files is on record as well."""

import subprocess
import sys

import pytest

from lightning_dna import atomic
from lightning_dna.cli import main
from lightning_dna.study.file_looks import record_file_looks, results_folders
from lightning_dna.study.looks import entries
from lightning_dna.study.study import record_study


@pytest.fixture
def tables(make_study, tmp_path):
    """Two tables of scores in a results folder of which no cell is done."""
    out = tmp_path / "out"
    record_study(make_study(), out)
    found = []
    for name, right in (("attention", 12), ("hyena", 17)):
        rows = [f"{i},{i % 2},{i % 2 if i < right else 1 - i % 2}" for i in range(20)]
        found.append(out / "runs" / f"id-{name}" / "scores" / f"{name}.csv")
        found[-1].parent.mkdir(parents=True)
        found[-1].write_text("\n".join(["id,label,pred", *rows]) + "\n")
    return found


def test_files_of_a_study_are_told_from_others(tmp_path, tables):
    assert results_folders([*tables, tmp_path / "mine.csv"]) == [tmp_path / "out"]
    assert results_folders([tmp_path / "out" / "results" / "estimates.csv"]) == []


@pytest.mark.parametrize("command", ["compare", "power"])
def test_a_look_through_files_is_recorded(tables, tmp_path, capsys, command):
    words = [command, *map(str, tables), "--baseline", "attention"]
    words += ["--metrics", "accuracy", *(["--effect", "0.1"] if command == "power" else [])]
    assert main(words) == 0
    assert "hyena" in capsys.readouterr().out
    (entry,) = entries(tmp_path / "out")
    assert (entry.kind, entry.command, entry.finished, entry.total) == ("look", command, (), 4)
    assert entry.early


def test_what_could_not_be_compared_was_not_seen(tables, tmp_path, capsys):
    assert main(["compare", *map(str, tables), "--baseline", "nobody"]) == 2
    assert "nobody" in capsys.readouterr().err
    assert entries(tmp_path / "out") == []


def test_a_copy_whose_study_cannot_be_opened_is_left_alone(tables, tmp_path):
    record = atomic.read_json(tmp_path / "out" / "study.json")
    record["content"]["shared"]["data"]["genome"] = "/nowhere/genome.fa"
    atomic.write_json(tmp_path / "out" / "study.json", record)
    record_file_looks(tables, command="compare")
    assert not (tmp_path / "out" / "looks").exists()


def test_other_files_are_compared_without_loading_what_a_study_needs(tmp_path):
    code = (
        "import sys; from pathlib import Path;"
        "from lightning_dna.study.file_looks import record_file_looks;"
        f"record_file_looks([Path({str(tmp_path / 'a.csv')!r})], command='compare');"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

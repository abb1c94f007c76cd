"""The ledger: states are read from files, claims end with their process."""

import json
import os
import subprocess
import sys

import pytest

from lightning_dna.errors import ResultsError
from lightning_dna.study.ledger import CellFolder, State

HOLD = """
import sys
from pathlib import Path
from lightning_dna.study.ledger import CellFolder
with CellFolder(Path(sys.argv[1]), ("a",)).claim() as free:
    print(free, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def cell(tmp_path):
    return CellFolder(tmp_path / "runs" / "x", ("a.txt", "scores/b.txt"))


def test_states_follow_the_files(cell):
    assert cell.state() is State.PLANNED
    assert not cell.folder.exists()
    with cell.claim() as free:
        assert free
        assert cell.state() is State.RUNNING
        cell.record_failure(kind="ValueError", message="no", traceback="somewhere")
    assert cell.state() is State.FAILED
    assert cell.finished()
    assert cell.failure()["message"] == "no"
    assert cell.clear_failure()
    assert not cell.clear_failure()
    assert cell.state() is State.PLANNED
    (cell.folder / "a.txt").touch()
    assert cell.missing() == ["scores/b.txt"]
    (cell.folder / "scores").mkdir()
    (cell.folder / "scores" / "b.txt").touch()
    assert cell.state() is State.DONE


def test_a_claim_belongs_to_one_process_and_ends_with_it(cell):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(cell.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout.readline() == b"True\n"
    assert cell.state() is State.RUNNING
    with cell.claim() as free:
        assert not free
    other.kill()
    other.communicate()
    assert cell.state() is State.PLANNED
    with cell.claim() as free:
        assert free


def test_a_claim_removes_what_a_kill_left_half_written(cell):
    half = cell.folder / "scores" / ".b.txt.123.abcd.partial"
    half.parent.mkdir(parents=True)
    half.touch()
    (cell.folder / "a.txt").touch()
    with cell.claim():
        assert not half.exists()
        assert (cell.folder / "a.txt").exists()


def test_attempts_are_kept_in_order_and_damaged_lines_passed_over(cell):
    with cell.claim():
        cell.record_attempt()
    with (cell.folder / "attempts.jsonl").open("a") as handle:
        handle.write('5\n{"pid": 1}\n{"pid": 2, "started": 3.0}\n{"pid": 4, "star')
    assert [attempt.pid for attempt in cell.attempts()] == [os.getpid(), 2]
    assert json.loads((cell.folder / "attempts.jsonl").read_text().splitlines()[0])["pid"]


def test_a_file_in_the_way_is_a_results_error(tmp_path):
    (tmp_path / "runs").write_text("mine")
    cell = CellFolder(tmp_path / "runs" / "x", ("a",))
    with pytest.raises(ResultsError, match=r"cannot write .*runs/x"), cell.claim():
        pass
    assert cell.state() is State.PLANNED


def test_a_lock_or_attempt_that_cannot_be_written_is_a_results_error(cell):
    (cell.folder / "attempts.jsonl").mkdir(parents=True)
    with cell.claim(), pytest.raises(ResultsError, match=r"cannot write .*attempts"):
        cell.record_attempt()
    (cell.folder / "lock").unlink()
    (cell.folder / "lock").mkdir()
    with pytest.raises(ResultsError, match="cannot write"), cell.claim():
        pass

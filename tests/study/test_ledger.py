"""The ledger: states are read from files, claims end with their process."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from lightning_dna.errors import ResultsError
from lightning_dna.study import attempts
from lightning_dna.study.attempts import STALE_SECONDS, Attempts
from lightning_dna.study.journal import Journal
from lightning_dna.study.ledger import CellFolder, LostCellError, State
from lightning_dna.study.upkeep import _last

HOLD = """
import sys
from pathlib import Path
from lightning_dna.study.ledger import CellFolder
with CellFolder(Path(sys.argv[1]), ("a",)).claim() as free:
    print(free, flush=True)
    sys.stdin.read()
"""

# Twenty cells, begun as if there were no locks.
RACE = """
import sys
from pathlib import Path
from lightning_dna.study.attempts import Attempts
print("ready", flush=True)
sys.stdin.readline()
for index in range(20):
    attempts = Attempts(Path("{folder}") / str(index))
    attempts.count = lambda: 0
    if attempts.begin() is not None:
        print(index, flush=True)
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


def test_attempts_are_kept_in_order_with_their_ends(cell):
    with cell.claim():
        with cell.attempt(device="cpu") as first:
            assert first.number == 1
        with pytest.raises(KeyError), cell.attempt():
            raise KeyError("gone\nand more")
        with pytest.raises(KeyboardInterrupt), cell.attempt():
            raise KeyboardInterrupt
    found = cell.attempts()
    assert [attempt.outcome for attempt in found] == ["done", "failed", "stopped"]
    assert {attempt.pid for attempt in found} == {os.getpid()}
    assert {attempt.host for attempt in found} == {socket.gethostname()}
    assert [attempt.device for attempt in found] == ["cpu", "", ""]
    assert found[1].message == "'gone\\nand more'"
    assert all(attempt.ended >= attempt.started for attempt in found)


def test_an_attempt_that_is_only_half_written_counts_and_is_unknown(cell):
    (cell.folder / "attempts").mkdir(parents=True)
    (cell.folder / "attempts" / "0001.json").write_text('{"host": "a", "pi')
    assert cell.attempts()[0].host == "unknown"
    with cell.claim() as free:
        assert not free  # whoever is writing it may be at work
    old = time.time() - 2 * STALE_SECONDS
    os.utime(cell.folder / "attempts" / "0001.json", (old, old))
    with cell.claim() as free, cell.attempt() as attempt:
        assert free
        assert attempt.number == 2


def test_an_attempt_of_a_later_version_is_read_as_far_as_it_is_known(cell):
    elsewhere(cell, ended=time.time(), outcome="done", energy=3.5)
    (found,) = cell.attempts()
    assert (found.host, found.outcome) == ("far", "done")
    with cell.claim() as free:
        assert free


def test_lines_of_a_journal_that_say_nothing_are_passed_over(tmp_path):
    lines = ('["begin", "a", 17]', '{"what": 1}', "[]", '["paused", "a"]', '["end", "a"]', "\0\0")
    (tmp_path / "host-7.jsonl").write_text("".join(f"{line}\n" for line in lines))
    news = [(event.pid, event.happening, event.cell) for event in Journal(tmp_path).news()]
    assert news == [(7, "begin", "a"), (7, "end", "a")]


@pytest.mark.parametrize("ahead", [3600.0, -3600.0])
def test_a_clock_that_is_wrong_by_an_hour_neither_frees_nor_keeps_a_cell(cell, ahead):
    """What counts are the file system's own times of the heartbeat and of a file made now."""
    path = elsewhere(cell, started=time.time() + ahead)
    with cell.claim() as free:
        assert not free
    last = _last(cell, cell.attempts(), State.RUNNING)
    assert "-" not in last.rpartition(", for ")[2]  # never a negative duration
    old = time.time() - 2 * STALE_SECONDS
    os.utime(path, (old, old))
    with cell.claim() as free:
        assert free


def test_a_heartbeat_from_the_future_is_a_live_one(cell):
    path = elsewhere(cell)
    late = time.time() + 3600
    os.utime(path, (late, late))
    assert Attempts(path.parent).age(cell.attempts()[0]) == 0.0
    with cell.claim() as free:
        assert not free


def test_a_heartbeat_from_the_future_that_stands_still_keeps_no_cell(cell, monkeypatch):
    path = elsewhere(cell)
    late = time.time() + 3600
    os.utime(path, (late, late))
    start = time.monotonic()
    for passed, beat, free_then in (
        (0, late, False),
        (STALE_SECONDS - 1, late, False),
        (STALE_SECONDS + 1, late + 1, False),  # it beat: by a clock that is wrong, but it lives
        (2 * STALE_SECONDS, late + 1, False),
        (2 * STALE_SECONDS + 2, late + 1, True),
    ):
        os.utime(path, (beat, beat))
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda passed=passed: start + passed)
            free = not cell._runs_elsewhere()
        assert free is free_then, passed


def elsewhere(cell, **changes):
    """Write the attempt of another machine's process, one hour ago by that machine's clock."""
    content = {"number": 1, "host": "far", "pid": 7, "started": time.time() - 3600, **changes}
    (cell.folder / "attempts").mkdir(parents=True, exist_ok=True)
    path = cell.folder / "attempts" / f"{content['number']:04d}.json"
    path.write_text(json.dumps(content))
    return path


def test_another_machine_that_is_alive_keeps_its_cell_whatever_its_clock_says(cell):
    elsewhere(cell)
    (cell.folder / "lock").touch()
    assert cell.state() is State.RUNNING
    with cell.claim() as free:
        assert not free


def test_another_machine_that_is_dead_loses_its_cell(cell):
    path = elsewhere(cell)
    old = time.time() - 2 * STALE_SECONDS
    os.utime(path, (old, old))
    (cell.folder / "lock").touch()
    assert cell.state() is State.PLANNED
    with cell.claim() as free, cell.attempt() as attempt:
        assert free
        assert attempt.number == 2


def test_another_machine_that_ended_leaves_its_cell_free_at_once(cell):
    elsewhere(cell, ended=time.time(), outcome="stopped")
    with cell.claim() as free:
        assert free


def test_of_two_machines_one_begins(cell):
    """Locks may be worth nothing between them; the file's own creation decides."""
    one, other = Attempts(cell.folder / "attempts"), Attempts(cell.folder / "attempts")
    first = one.begin()
    other.count = lambda: 0  # it looked before the first was there
    assert first.number == 1
    assert other.begin() is None
    assert len(one.all()) == 1


def test_who_was_taken_over_hears_of_it(cell):
    def work():
        with cell.attempt():
            elsewhere(cell, number=2)
            raise OSError("its half-written file was removed")

    with cell.claim(), pytest.raises(LostCellError, match="taken over"):
        work()
    assert cell.attempts()[0].outcome is None


def test_an_interruption_is_never_taken_for_a_loss(cell):
    def work():
        with cell.attempt():
            elsewhere(cell, number=2)
            raise KeyboardInterrupt

    with cell.claim(), pytest.raises(KeyboardInterrupt):
        work()


def test_a_heartbeat_is_kept_up(cell, monkeypatch):
    monkeypatch.setattr(attempts, "HEARTBEAT_SECONDS", 0.02)
    with cell.claim(), cell.attempt() as attempt:
        path = cell.folder / "attempts" / "0001.json"
        os.utime(path, (1.0, 1.0))
        limit = time.monotonic() + 30
        while path.stat().st_mtime < 2.0:
            assert time.monotonic() < limit
            time.sleep(0.01)
        assert Attempts(cell.folder / "attempts").age(attempt) < 30


def test_twenty_races_of_two_processes_have_one_winner_each(tmp_path):
    code = RACE.format(folder=str(tmp_path))
    crew = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for process in crew:
        assert process.stdout.readline() == b"ready\n"
    for process in crew:
        process.stdin.write(b"\n")
        process.stdin.flush()
    won = [process.communicate()[0].split() for process in crew]
    assert sorted(won[0] + won[1], key=int) == [str(i).encode() for i in range(20)]


def test_a_file_in_the_way_is_a_results_error(tmp_path):
    (tmp_path / "runs").write_text("mine")
    cell = CellFolder(tmp_path / "runs" / "x", ("a",))
    with pytest.raises(ResultsError, match=r"cannot write .*runs/x"), cell.claim():
        pass
    assert cell.state() is State.PLANNED


def test_a_lock_or_attempt_that_cannot_be_written_is_a_results_error(cell):
    cell.folder.mkdir(parents=True)
    (cell.folder / "attempts").write_text("a file")
    with (
        cell.claim(),
        pytest.raises(ResultsError, match=r"cannot write .*attempts"),
        cell.attempt(),
    ):
        pass
    (cell.folder / "lock").unlink()
    (cell.folder / "lock").mkdir()
    with pytest.raises(ResultsError, match="cannot write"), cell.claim():
        pass

"""Files are there whole or not at all, whatever happens while they are written."""

import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from lightning_dna import atomic
from lightning_dna.atomic import UnwritableError
from lightning_dna.errors import ResultsError


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def write_half(path, error):
    with atomic.replacing(path) as temporary:
        temporary.write_text("half")
        raise error("no")


def test_a_file_replaces_the_one_before_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "deep" / "er" / "a.txt"
    atomic.write_text(path, "one")
    atomic.write_text(path, "zwei ä")
    assert path.read_text(encoding="utf-8") == "zwei ä"
    assert names_in(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_what_fails_in_between_changes_nothing(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("before")
    expected = UnwritableError if error is OSError else error
    with pytest.raises(expected):
        write_half(path, error)
    assert path.read_text() == "before"
    assert names_in(tmp_path) == ["a.txt"]


def test_a_file_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ResultsError, match=r"cannot write .*a.txt: .*; free space or choose"):
        atomic.write_text(tmp_path / "file" / "a.txt", "x")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_in_the_way_of_the_file(tmp_path):
    (tmp_path / "a.txt" / "b").mkdir(parents=True)
    with pytest.raises(ResultsError, match="cannot write"):
        atomic.write_text(tmp_path / "a.txt", "x")
    assert names_in(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to a read-only folder")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ResultsError, match="Permission denied"):
        atomic.write_text(tmp_path / "a.txt", "x")


def test_no_room_for_the_whole_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    # A limit on the size of files, which the kernel enforces in the middle of the write.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(UnwritableError, match="File too large"):
            atomic.write_text(path, "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_text() == "before"
    assert names_in(tmp_path) == ["a.txt"]


def test_a_kill_leaves_the_old_file_and_a_partial_that_can_be_told(tmp_path):
    code = """
import sys, time
from pathlib import Path
from lightning_dna import atomic
with atomic.replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("written", flush=True)
    time.sleep(60)
"""
    path = tmp_path / "a.txt"
    path.write_text("before")
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"written\n"
        process.kill()
    assert path.read_text() == "before"
    (left,) = [other for other in tmp_path.iterdir() if other != path]
    assert atomic.is_partial(left)
    assert not atomic.is_partial(path)
    atomic.remove_partial(tmp_path)
    assert names_in(tmp_path) == ["a.txt"]


def test_readers_never_see_half_a_file(tmp_path):
    path = tmp_path / "a.json"
    code = """
import sys
from pathlib import Path
from lightning_dna import atomic
for i in range(10**9):
    atomic.write_json(Path(sys.argv[1]), {"i": i, "filling": "x" * 50_000})
"""
    with subprocess.Popen([sys.executable, "-c", code, str(path)]) as process:
        limit = time.monotonic() + 30
        while not path.exists() and time.monotonic() < limit:
            time.sleep(0.01)
        for _ in range(200):
            assert len(atomic.read_json(path)["filling"]) == 50_000
        process.kill()


def test_json_keeps_the_order_of_its_keys_and_is_read_back(tmp_path):
    """The arms of a study are shown in the order in which its recipe declares them."""
    path = tmp_path / "a.json"
    atomic.write_json(path, {"hyena": 1, "attention": {"z": 2, "b": 3}})
    assert list(atomic.read_json(path)) == ["hyena", "attention"]
    assert list(atomic.read_json(path)["attention"]) == ["z", "b"]
    assert path.read_text().endswith("}\n")


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff", b""])
def test_damaged_json_is_a_results_error(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ResultsError, match=r"a\.json"):
        atomic.read_json(path)
    with pytest.raises(ResultsError, match="cannot read"):
        atomic.read_json(tmp_path / "none.json")


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_created_once_and_never_replaced(tmp_path, monkeypatch, links):
    """Also on a file system that has no hard links."""

    def refuse(source, target):
        raise OSError("no links here")

    def create(text):
        with atomic.creating(tmp_path / "deep" / "a.txt") as temporary:
            temporary.write_text(text)

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    create("one")
    with pytest.raises(FileExistsError):
        create("two")
    assert (tmp_path / "deep" / "a.txt").read_text() == "one"
    assert names_in(tmp_path / "deep") == ["a.txt"]
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UnwritableError), atomic.creating(tmp_path / "file" / "a.txt"):
        pass

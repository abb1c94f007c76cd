"""The cached store: rebuilt when it must be, whole or not there, shared between processes."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from lightning_dna.genome import fasta
from lightning_dna.genome.alphabet import encode
from lightning_dna.genome.fasta import Genome
from lightning_dna.genome.store import RecordHasher, open_store, write_footer

TEXT = ">chr1\nACGTacgtNN\n>chr2\nGGGTTT\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "input" / "x.fa"
    path.parent.mkdir()
    path.write_text(TEXT)
    return path


def store_of(cache: Path) -> Path:
    (found,) = cache.rglob("genome.store")
    return found


def write(path: Path, letters: str, stamp: dict[str, object]) -> None:
    hasher = RecordHasher("chr1")
    hasher.update(letters.encode(), encode(letters))
    with path.open("wb") as file:
        file.write(encode(letters).tobytes())
        write_footer(file, [hasher.finish()], stamp)


class TestFile:
    def test_round_trip(self, tmp_path):
        write(tmp_path / "s", "ACGTn", {"fasta": [1, 2, 3]})
        store = open_store(tmp_path / "s", {"fasta": [1, 2, 3]})
        assert store is not None
        assert store.codes.tolist() == [0, 1, 2, 3, 12]
        assert [(record.name, record.length) for record in store.records] == [("chr1", 5)]
        assert type(store.codes) is np.ndarray
        assert not store.codes.flags.writeable

    def test_another_stamp_is_not_accepted(self, tmp_path):
        write(tmp_path / "s", "ACGT", {"fasta": [1, 2, 3]})
        assert open_store(tmp_path / "s", {"fasta": [1, 2, 4]}) is None
        assert open_store(tmp_path / "s") is not None

    def test_missing(self, tmp_path):
        assert open_store(tmp_path / "none") is None

    def test_cut_anywhere_is_not_accepted(self, tmp_path):
        write(tmp_path / "s", "ACGTACGT", {})
        whole = (tmp_path / "s").read_bytes()
        for size in range(len(whole)):
            (tmp_path / "cut").write_bytes(whole[:size])
            assert open_store(tmp_path / "cut") is None

    def test_without_its_last_word_is_not_accepted(self, tmp_path):
        write(tmp_path / "s", "ACGTACGT", {})
        (tmp_path / "s").write_bytes((tmp_path / "s").read_bytes()[:-8] + bytes(8))
        assert open_store(tmp_path / "s") is None

    def test_codes_cut_out_of_the_middle_are_not_accepted(self, tmp_path):
        write(tmp_path / "s", "ACGTACGT", {})
        (tmp_path / "s").write_bytes((tmp_path / "s").read_bytes()[3:])
        assert open_store(tmp_path / "s") is None

    def test_another_format_is_not_accepted(self, tmp_path):
        write(tmp_path / "s", "ACGTACGT", {})
        content = (tmp_path / "s").read_bytes().replace(b'"format": 1', b'"format": 9')
        (tmp_path / "s").write_bytes(content)
        assert open_store(tmp_path / "s") is None

    def test_hasher_refuses_pieces_that_split_a_byte_of_the_mask(self):
        hasher = RecordHasher("chr1")
        hasher.update(b"ACG", encode("ACG"))
        with pytest.raises(RuntimeError, match="divisible by 8"):
            hasher.update(b"ACG", encode("ACG"))

    def test_hasher_does_not_depend_on_the_pieces(self):
        letters = "ACgtNNacGTTTacgtAAcgT"
        records = set()
        for piece in (8, 16, 64):
            hasher = RecordHasher("chr1")
            for start in range(0, len(letters), piece):
                part = letters[start : start + piece]
                hasher.update(part.encode(), encode(part))
            records.add(hasher.finish())
        assert len(records) == 1


class TestCache:
    def test_built_once(self, source, tmp_path, monkeypatch):
        first = Genome.open(source, cache_folder=tmp_path / "cache")

        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("encoded a second time")

        monkeypatch.setattr(fasta, "_build", refuse)
        again = Genome.open(source, cache_folder=tmp_path / "cache")
        assert again.digest == first.digest

    def test_default_folder_follows_the_environment(self, source, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        Genome.open(source)
        assert store_of(tmp_path / "xdg").parents[1] == tmp_path / "xdg/lightning_dna/genomes"
        monkeypatch.setenv("XDG_CACHE_HOME", "")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        Genome.open(source)
        assert store_of(tmp_path / "home/.cache/lightning_dna/genomes")

    def test_nothing_is_written_beside_the_file(self, source, tmp_path):
        source.parent.chmod(0o500)
        try:
            Genome.open(source, cache_folder=tmp_path / "cache")
        finally:
            source.parent.chmod(0o700)
        assert [path.name for path in source.parent.iterdir()] == ["x.fa"]
        names = sorted(path.name for path in store_of(tmp_path / "cache").parent.iterdir())
        assert names == ["genome.store", "lock"]

    def test_links_share_the_store_of_their_file(self, source, tmp_path):
        (tmp_path / "link.fa").symlink_to(source)
        for path in (source, tmp_path / "link.fa"):
            Genome.open(path, cache_folder=tmp_path / "cache")
        assert store_of(tmp_path / "cache")

    def test_rebuilt_when_the_content_changes(self, source, tmp_path):
        before = Genome.open(source, cache_folder=tmp_path / "cache")
        source.write_text(TEXT.replace("GGGTTT", "GGGTTC"))
        after = Genome.open(source, cache_folder=tmp_path / "cache")
        assert after.codes("chr2").tolist() == [2, 2, 2, 3, 3, 1]
        assert before.codes("chr2").tolist() == [2, 2, 2, 3, 3, 3]
        assert store_of(tmp_path / "cache")

    def test_rebuilt_when_only_the_inode_changes(self, source, tmp_path):
        Genome.open(source, cache_folder=tmp_path / "cache")
        stat = source.stat()
        other = source.with_name("y.fa")
        other.write_text(TEXT.replace("GGGTTT", "GGGTTC"))
        os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        other.replace(source)
        assert source.stat().st_mtime_ns == stat.st_mtime_ns
        assert source.stat().st_size == stat.st_size
        again = Genome.open(source, cache_folder=tmp_path / "cache")
        assert again.codes("chr2").tolist() == [2, 2, 2, 3, 3, 1]

    @pytest.mark.parametrize("keep", [0, 1, 7, 100, -1])
    def test_truncated_store_is_rebuilt(self, source, tmp_path, keep):
        expected = Genome.open(source, cache_folder=tmp_path / "cache").digest
        store = store_of(tmp_path / "cache")
        store.write_bytes(store.read_bytes()[:keep])
        again = Genome.open(source, cache_folder=tmp_path / "cache")
        assert again.digest == expected
        assert again.codes("chr2").tolist() == [2, 2, 2, 3, 3, 3]

    def test_read_only_cache_with_a_store_can_be_used(self, source, tmp_path):
        expected = Genome.open(source, cache_folder=tmp_path / "cache").digest
        folder = store_of(tmp_path / "cache").parent
        (folder / "lock").unlink()
        folder.chmod(0o500)
        try:
            assert Genome.open(source, cache_folder=tmp_path / "cache").digest == expected
            assert not (folder / "lock").exists()
        finally:
            folder.chmod(0o700)


KILLED = """
import os, signal, sys
from pathlib import Path
from lightning_dna.genome import fasta

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[3] == "footer":
    fasta.write_footer = die
elif sys.argv[3] == "rename":
    Path.replace = die
else:
    fasta._CHUNK = 8
    real, calls = fasta._fetch, []
    def fetch(*arguments):
        calls.append(1)
        return die() if len(calls) == 3 else real(*arguments)
    fasta._fetch = fetch
fasta.Genome.open(sys.argv[1], cache_folder=sys.argv[2])
"""

OPENER = """
import sys, time
from lightning_dna.genome import fasta

real = fasta._build
def slow(*arguments):
    print("built", flush=True)
    time.sleep(0.5)
    return real(*arguments)
fasta._build = slow
while time.time() < float(sys.argv[3]):
    pass
genome = fasta.Genome.open(sys.argv[1], cache_folder=sys.argv[2])
print(genome.digest, int(genome.codes("chr1").sum()))
"""


class TestProcesses:
    @pytest.mark.parametrize("moment", ["sequence", "footer", "rename"])
    def test_killed_at_any_moment_leaves_no_store(self, source, tmp_path, moment):
        source.write_text(">chr1\n" + "ACGTacgtNNACGTAC\n" * 4)
        cache = tmp_path / "cache"
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, str(source), str(cache), moment], check=False
        )
        assert killed.returncode == -signal.SIGKILL
        assert [path for path in cache.rglob("build-*") if path.is_dir()]
        assert not list(cache.glob("*/genome.store"))
        genome = Genome.open(source, cache_folder=cache)
        assert genome.digest == Genome.from_sequences({"chr1": "ACGTacgtNNACGTAC" * 4}).digest
        assert sorted(path.name for path in next(cache.iterdir()).iterdir()) == [
            "genome.store",
            "lock",
        ]

    def test_several_at_once_build_one_store(self, source, tmp_path):
        start = str(time.time() + 1.5)
        command = [sys.executable, "-c", OPENER, str(source), str(tmp_path / "cache"), start]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        outputs = [process.communicate(timeout=60)[0].split("\n") for process in running]
        assert [process.returncode for process in running] == [0] * 4
        assert sum("built" in lines for lines in outputs) == 1
        expected = Genome.from_sequences({"chr1": "ACGTacgtNN", "chr2": "GGGTTT"})
        for lines in outputs:
            assert lines[-2] == f"{expected.digest} {int(expected.codes('chr1').sum())}"

    def test_travels_to_spawned_workers(self, source, tmp_path):
        genome = Genome.open(source, cache_folder=tmp_path / "cache")
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found = pool.submit(genome.codes, "chr1", 2, 8).result(timeout=60)
        assert found.tolist() == [2, 3, 0, 1, 2, 3]

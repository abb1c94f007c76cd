"""Archives: what is unpacked, and what must never be."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from lightning_dna.data.archives import check_whole, is_archive, unpack
from lightning_dna.errors import DataError

FILES = {"GUE/tf/0/train.csv": b"sequence,label\nAC,0\n", "GUE/README": b"hello" * 50_000}


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("GUE/empty/", b"")
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture(params=["a.zip", "a.tar.gz", "a.tar"])
def make(request, tmp_path):
    """Return a maker of archives of one kind."""

    def made(files: dict[str, bytes]) -> Path:
        path = tmp_path / request.param
        if path.suffix == ".zip":
            return zipped(path, files)
        return tarred(path, files, "w:gz" if path.suffix == ".gz" else "w")

    return made


def test_every_file_in_its_place(make, tmp_path):
    written = unpack(make({**FILES, "__MACOSX/GUE/._x": b"", "GUE/.DS_Store": b""}), tmp_path / "d")
    found = {path.relative_to(tmp_path / "d").as_posix(): path.read_bytes() for path in written}
    assert found == FILES
    assert not (tmp_path / "d" / "__MACOSX").exists()


def test_a_folder_at_the_top_gets_another_name(make, tmp_path):
    unpack(make(FILES), tmp_path / "d", rename={"GUE": "other"})
    assert (tmp_path / "d" / "other" / "tf" / "0" / "train.csv").is_file()


@pytest.mark.parametrize("name", ["../evil", "GUE/../../evil", "/evil", "..\\evil", "C:\\evil"])
def test_nothing_leaves_the_folder(make, tmp_path, name):
    with pytest.raises(DataError, match="would lie outside of the folder") as caught:
        unpack(make({"GUE/good": b"x", name: b"x"}), tmp_path / "d")
    assert "evil" in str(caught.value)
    assert not list(tmp_path.rglob("good")), "nothing is written before all names are checked"
    assert not list(tmp_path.parent.rglob("evil"))


def test_links_are_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        entry = tarfile.TarInfo("link")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(DataError, match="'link' is a link or a device"):
        unpack(tmp_path / "a.tar", tmp_path / "d")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        row = zipfile.ZipInfo("link")
        row.external_attr = 0o120777 << 16
        packed.writestr(row, "/etc/passwd")
    with pytest.raises(DataError, match="'link' is a link or a device"):
        unpack(tmp_path / "a.zip", tmp_path / "d")


@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "text"])
def test_a_damaged_archive_is_named(tmp_path, kind, damage):
    path = tmp_path / kind
    files = {"x": bytes(range(256)) * 2000}
    zipped(path, files) if kind == "a.zip" else tarred(path, files)
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "cut": whole[:middle],
            "flipped": whole[:middle] + bytes(byte ^ 255 for byte in whole[middle : middle + 9])
            + whole[middle + 9 :],
            "text": b"<html>not found</html>" * 50,
        }[damage]
    )  # fmt: skip
    with pytest.raises(DataError) as caught:
        unpack(path, tmp_path / "d")
    assert f"{path} is not a whole zip or tar archive" in str(caught.value)
    assert not (tmp_path / "d" / "x").exists()


def test_a_full_disk(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    path = zipped(tmp_path / "a.zip", FILES)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(DataError, match=r"a\.zip needs 250,020 bytes more"):
        unpack(path, tmp_path / "d")


def test_names_of_archives():
    assert all(is_archive(name) for name in ("a.zip", "a.tar", "a.tar.gz", "a.tgz"))
    assert not any(is_archive(name) for name in ("a.csv.gz", "zip", "a.fna"))


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.bz2", "a.csv.xz"])
def test_a_packed_file_is_read_to_its_end(tmp_path, name):
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[name.rsplit(".")[-1]]
    whole = pack(bytes(range(256)) * 5000)
    path = tmp_path / "file.part"
    path.write_bytes(whole)
    check_whole(path, name)
    for damaged in (whole[:-1], whole[: len(whole) // 2], b"sequence,label\n"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"{name} is not a whole \.{name[6:]} file"):
            check_whole(path, name)


def test_bgzip_and_plain_files_are_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(b"ACGT") + gzip.compress(b"TTTT") + gzip.compress(b""))
    check_whole(path, "a.fa.gz")  # members one after the other, as bgzip writes them
    path.write_bytes(b"ACGT")
    check_whole(path, "a.fa")
    path.write_bytes(b"")
    for name in ("a.fa", "a.fa.gz", "a.zip"):
        with pytest.raises(DataError, match=f"{name} has 0 bytes"):
            check_whole(path, name)


def test_an_archive_is_read_to_its_end(make, tmp_path):
    path = make({"x": bytes(range(256)) * 2000, "y": b"ACGT" * 256})
    whole = path.read_bytes()
    check_whole(path, path.name)
    for size in (len(whole) // 2, len(whole) - len(whole) // 5):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="is not a whole zip or tar archive"):
            check_whole(path, path.name)


def test_an_archive_without_files(make):
    path = make({})
    with pytest.raises(DataError, match="it holds no files"):
        check_whole(path, path.name)


def test_a_tar_archive_cut_between_two_members(tmp_path):
    content = {"x": b"ACGT" * 128, "y": b"TTTT" * 128}  # a block of 512 bytes each, and its header
    path = tarred(tmp_path / "a.tar", content, "w")
    path.write_bytes(path.read_bytes()[:1024])
    for call in (check_whole, unpack):
        with pytest.raises(DataError, match="it breaks off after a member"):
            call(path, "a.tar" if call is check_whole else tmp_path / "d")
    assert not (tmp_path / "d" / "x").exists()

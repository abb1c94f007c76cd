"""``lightning-dna data get`` from a server on this machine: cache, lock, archives and bad input."""

import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from lightning_dna import catalog
from lightning_dna.data.remote_source import load_source
from lightning_dna.errors import ConfigError
from lightning_dna.settings import load_yaml

TABLE = b"sequence,label\n" + b"ACGT,0\nTTTT,1\n" * 2000


def zipped(name: str = "GUE_v2/tf/0") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in ("train", "dev", "test"):
            archive.writestr(f"{name}/{part}.csv", TABLE)
    return packed.getvalue()


class Server:
    """Files by path; each of the first answers breaks off after some bytes."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.drops = 0
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *arguments) -> None:
                pass

            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                outer.asked.append((self.path, asked))
                content = outer.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
                self.send_response(206 if asked else 200)
                size = len(content)
                if asked:
                    self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
                self.send_header("Content-Length", str(size - first))
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()[:8]}"')
                self.end_headers()
                body = content[first:]
                if outer.drops:
                    outer.drops -= 1
                    body = body[: max(1, len(body) // 2)]
                self.wfile.write(body)
                self.close_connection = True

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    started = Server()
    started.files = {"/table.csv": TABLE, "/all.zip": zipped()}
    yield started
    started.close()


def write_source(server: Server, path: Path = Path("mine.yaml"), **changes: str) -> str:
    rows = {
        "table": f"  - url: {server.root}/table.csv\n    path: deep/table.csv\n",
        "all": f"  - url: {server.root}/all.zip\n    path: all.zip\n    unpack: true\n"
        "    rename: {GUE_v2: GUE}\n",
    } | changes
    path.write_text(
        "name: mine\ntitle: My data\nlicence: CC0\ncitation: Me, 2026\nfiles:\n"
        + "".join(rows.values())
    )
    return f"./{path}"


def cached(name: str) -> Path:
    return Path("cache/lightning_dna/downloads/mine") / name


def test_files_and_archives_arrive_over_a_bad_line(server, run):
    server.drops = 3
    status, out, err = run("data", "get", write_source(server), "--to", "data")
    assert (status, err) == (0, "")
    assert Path("data/deep/table.csv").read_bytes() == TABLE
    assert Path("data/GUE/tf/0/dev.csv").read_bytes() == TABLE
    assert f"sha256 {hashlib.sha256(TABLE).hexdigest()}" in out
    assert "all.zip" in out
    assert "3 files" in out
    assert "The source names no checksum of 2 files: theirs are recorded in" in out
    assert "Licence: CC0." in out
    assert "Please cite: Me, 2026." in out
    assert "4 files written to data." in out
    assert any(asked for _, asked in server.asked), "something was resumed"
    assert not list(Path("data").rglob("*.part*"))


def test_the_lock_says_what_came_from_where(server, run):
    run("data", "get", write_source(server), "--to", "data")
    files = json.loads(Path("data/mine.lock.json").read_text())["files"]
    assert files["deep/table.csv"] == {
        "url": f"{server.root}/table.csv",
        "sha256": hashlib.sha256(TABLE).hexdigest(),
        "bytes": len(TABLE),
    }
    names = sorted(f"GUE/tf/0/{part}.csv" for part in ("train", "dev", "test"))
    assert sorted(files["all.zip"]["unpacked"]) == names


def test_a_second_time_and_a_second_folder_need_no_network(server, run):
    source = write_source(server)
    run("data", "get", source, "--to", "data")
    server.asked.clear()
    status, out, _ = run("data", "get", source, "--to", "data")
    assert status == 0
    assert "from the cache" in out
    assert "0 files written" in out
    assert "All checksums are as recorded" in out
    Path("data/GUE/tf/0/dev.csv").unlink()
    Path("data/deep/table.csv").write_text("changed")
    assert "4 files written" in run("data", "get", source, "--to", "data")[1]
    assert "4 files written" in run("data", "get", source, "--to", "other")[1]
    assert Path("other/GUE/tf/0/test.csv").read_bytes() == TABLE
    assert server.asked == []


def test_what_publishers_change_in_silence_is_noticed(server, run, refusal):
    source = write_source(server)
    run("data", "get", source, "--to", "data")
    cached("deep/table.csv").unlink()
    server.files["/table.csv"] = TABLE + b"AAAA,1\n"
    message = refusal("data", "get", source, "--to", "data")
    assert "sha256 found:" in message
    assert "was recorded on the first download, in data/mine.lock.json" in message
    assert cached("deep/table.csv.wrong").is_file()
    assert Path("data/deep/table.csv").read_bytes() == TABLE


def test_a_checksum_of_the_source_that_is_not_met(server, refusal):
    row = f"  - url: {server.root}/table.csv\n    path: t.csv\n    sha256: '{'0' * 64}'\n"
    message = refusal("data", "get", write_source(server, table=row), "--to", "data")
    assert f"expected {'0' * 64}" in message
    assert "kept aside as" in message
    assert not Path("data/t.csv").exists()


def test_a_damaged_cache_is_fetched_again(server, run):
    source = write_source(server)
    run("data", "get", source, "--to", "data")
    cached("deep/table.csv").write_bytes(b"rot")
    status, out, _ = run("data", "get", source, "--to", "data")
    assert status == 0
    assert "fetched again; the cache held another file" in out
    assert cached("deep/table.csv").read_bytes() == TABLE


def test_a_corrupt_archive_is_named_and_fetched_again(server, run, refusal):
    source = write_source(server)
    whole = server.files["/all.zip"]
    server.files["/all.zip"] = whole[: len(whole) // 2]
    message = refusal("data", "get", source, "--to", "data")
    assert "all.zip is not a whole zip or tar archive" in message
    assert "kept aside as" in message
    assert Path("data/deep/table.csv").is_file(), "what is whole is kept"
    server.files["/all.zip"] = whole
    status, _, _ = run("data", "get", source, "--to", "data")
    assert status == 0
    assert Path("data/GUE/tf/0/dev.csv").is_file()


def test_an_archive_that_would_write_elsewhere(server, refusal):
    server.files["/all.zip"] = zipped("../../outside")
    message = refusal("data", "get", write_source(server), "--to", "data")
    assert "would lie outside of the folder" in message
    assert not list(Path().resolve().parent.rglob("outside"))


TARGET = hashlib.sha256(TABLE).hexdigest()


def test_another_address_is_fetched_although_the_cache_holds_the_file(server, run):
    server.files["/new.csv"] = after = TABLE + b"AAAA,1\n"
    run("data", "get", write_source(server), "--to", "data")
    moved = f"  - url: {server.root}/new.csv\n    path: deep/table.csv\n"
    source = write_source(server, table=moved)
    status, out, _ = run("data", "get", source, "--to", "data")
    assert status == 0
    assert "fetched; the cache held the file of another address" in out
    assert Path("data/deep/table.csv").read_bytes() == after
    files = json.loads(Path("data/mine.lock.json").read_text())["files"]
    assert files["deep/table.csv"] == {
        "url": f"{server.root}/new.csv",
        "sha256": hashlib.sha256(after).hexdigest(),
        "bytes": len(after),
    }
    server.asked.clear()
    assert "All checksums are as recorded" in run("data", "get", source, "--to", "data")[1]
    run("data", "get", source, "--to", "other")
    assert Path("other/deep/table.csv").read_bytes() == after
    assert server.asked == []
    run("data", "get", write_source(server), "--to", "data")
    assert Path("data/deep/table.csv").read_bytes() == TABLE


def test_a_file_put_into_the_cache_by_hand(server, run, refusal):
    """As the messages advise where a server answers with a web page, also after another address."""
    run("data", "get", write_source(server), "--to", "data")
    moved = f"  - url: {server.root}/gone.csv\n    path: deep/table.csv\n"
    source = write_source(server, table=moved)
    message = refusal("data", "get", source, "--to", "data")
    place = cached("deep/table.csv")
    assert f"put it at {place.resolve()}" in message
    assert "404" in refusal("data", "get", source, "--to", "data"), "the old file does not count"
    place.write_bytes(b"by hand")
    status, out, _ = run("data", "get", source, "--to", "data")
    assert status == 0
    assert "from the cache" in out
    assert Path("data/deep/table.csv").read_bytes() == b"by hand"


def packed_source(server: Server, name: str = "table.csv.gz", unpack: bool = False) -> str:
    row = f"  - url: {server.root}/{name}\n    path: deep/{name}\n"
    return write_source(server, table="", all=row + ("    unpack: true\n" if unpack else ""))


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_damaged_packed_file_is_not_recorded(server, run, refusal, damage):
    whole = gzip.compress(TABLE)
    broken = {"cut": whole[:-30], "empty": b"", "text": TABLE}[damage]
    server.files["/table.csv.gz"] = broken
    source = packed_source(server)
    message = refusal("data", "get", source, "--to", "data")
    what = "has 0 bytes" if damage == "empty" else "is not a whole .gz file"
    assert f"{server.root}/table.csv.gz: table.csv.gz {what}" in message
    assert "Nothing is recorded" in message
    assert "Run the same command to fetch it again" in message
    assert not Path("data/mine.lock.json").exists()
    assert not Path("data/deep").exists()
    server.files["/table.csv.gz"] = whole
    assert run("data", "get", source, "--to", "data")[0] == 0
    assert Path("data/deep/table.csv.gz").read_bytes() == whole


def test_a_plain_file_of_no_bytes_is_not_recorded(server, refusal):
    server.files["/table.csv"] = b""
    message = refusal("data", "get", write_source(server), "--to", "data")
    assert "table.csv has 0 bytes" in message
    assert not Path("data/mine.lock.json").exists()


def test_a_checksum_of_the_source_makes_any_file_right(server, run):
    server.files["/table.csv"] = b""
    row = f"  - url: {server.root}/table.csv\n    path: t.csv.gz\n"
    row += f"    sha256: '{hashlib.sha256(b'').hexdigest()}'\n"
    assert run("data", "get", write_source(server, table=row), "--to", "data")[0] == 0
    assert Path("data/t.csv.gz").read_bytes() == b""


def test_an_archive_cut_between_two_members_is_not_recorded(server, refusal):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("train.csv", "test.csv"):
            entry = tarfile.TarInfo(name)
            entry.size = 512
            archive.addfile(entry, io.BytesIO(TABLE[:512]))
    server.files["/all.tar"] = packed.getvalue()[:1024]
    message = refusal("data", "get", packed_source(server, "all.tar", unpack=True), "--to", "data")
    assert "all.tar is not a whole zip or tar archive" in message
    assert not Path("data").exists()


def test_a_damaged_file_put_into_the_cache_by_hand(server, run, refusal):
    server.files["/table.csv.gz"] = whole = gzip.compress(TABLE)
    source, place = packed_source(server), cached("deep/table.csv.gz")
    place.parent.mkdir(parents=True)
    place.write_bytes(whole[:-30])
    message = refusal("data", "get", source, "--to", "data")
    assert "table.csv.gz is not a whole .gz file" in message
    assert f"run the same command to fetch it from {server.root}/table.csv.gz" in message
    assert run("data", "get", source, "--to", "data")[0] == 0
    assert Path("data/deep/table.csv.gz").read_bytes() == whole


def test_again_takes_what_the_publishers_changed(server, run, refusal):
    source = write_source(server)
    run("data", "get", source, "--to", "data")
    run("data", "get", source, "--to", "other")
    server.files["/table.csv"] = after = TABLE + b"AAAA,1\n"
    server.asked.clear()
    status, out, _ = run("data", "get", source, "--to", "data", "--again")
    assert status == 0
    assert sorted(path for path, _ in server.asked) == ["/all.zip", "/table.csv"]
    assert f"{len(after):,} bytes, fetched again" in out
    assert "The checksums of 1 files are others than were recorded" in out
    assert "All checksums" not in out
    assert Path("data/deep/table.csv").read_bytes() == after
    assert "All checksums are as recorded" in run("data", "get", source, "--to", "data")[1]
    message = refusal("data", "get", source, "--to", "other")
    assert f"expected {TARGET}" in message
    assert "run the same command with --again" in message
    assert run("data", "get", source, "--to", "other", "--again")[0] == 0
    assert Path("other/deep/table.csv").read_bytes() == after


def test_again_keeps_what_is_there_where_the_new_file_is_damaged(server, run, refusal):
    server.files["/table.csv.gz"] = whole = gzip.compress(TABLE)
    source = packed_source(server)
    run("data", "get", source, "--to", "data")
    before = Path("data/mine.lock.json").read_text()
    server.files["/table.csv.gz"] = whole[:-30]
    assert "not a whole" in refusal("data", "get", source, "--to", "data", "--again")
    assert Path("data/mine.lock.json").read_text() == before
    assert Path("data/deep/table.csv.gz").read_bytes() == whole
    assert "from the cache" in run("data", "get", source, "--to", "data")[1]


def test_again_does_not_overrule_a_checksum_of_the_source(server, run, refusal):
    row = f"  - url: {server.root}/table.csv\n    path: t.csv\n    sha256: '{TARGET}'\n"
    source = write_source(server, table=row)
    assert run("data", "get", source, "--to", "data", "--again")[0] == 0
    server.files["/table.csv"] = TABLE + b"AAAA,1\n"
    message = refusal("data", "get", source, "--to", "data", "--again")
    assert f"expected {TARGET}" in message
    assert Path("data/t.csv").read_bytes() == TABLE


def test_again_needs_a_name(refusal):
    assert "name it" in refusal("data", "get", "--again")


def test_files_changed_after_they_were_unpacked_are_unpacked_again(server, run):
    source = write_source(server)
    run("data", "get", source, "--to", "data")
    names = sorted(f"GUE/tf/0/{part}.csv" for part in ("train", "dev", "test"))
    listed = "".join(f"{TARGET}  {name}\n" for name in names)  # as `sha256sum` prints
    record = json.loads(Path("data/mine.lock.json").read_text())["files"]["all.zip"]
    assert record["unpacked_sha256"] == hashlib.sha256(listed.encode()).hexdigest()
    changed = Path("data/GUE/tf/0/dev.csv")
    changed.write_bytes(TABLE.replace(b"TTTT", b"TTTA", 1))  # of the same size
    server.asked.clear()
    status, out, _ = run("data", "get", source, "--to", "data")
    assert status == 0
    assert "3 files unpacked again, because some were missing or changed" in out
    assert "3 files written" in out
    assert changed.read_bytes() == TABLE
    assert server.asked == []
    out = run("data", "get", source, "--to", "data")[1]
    assert "unpacked again" not in out
    assert "0 files written" in out


def test_a_record_without_checksums_of_what_was_unpacked_is_not_relied_on(server, run):
    source = write_source(server)
    run("data", "get", source, "--to", "data")
    lock = Path("data/mine.lock.json")
    content = json.loads(lock.read_text())
    del content["files"]["all.zip"]["unpacked_sha256"]  # as earlier versions wrote it
    lock.write_text(json.dumps(content))
    changed = Path("data/GUE/tf/0/dev.csv")
    changed.write_bytes(b"changed")
    assert "3 files written" in run("data", "get", source, "--to", "data")[1]
    assert changed.read_bytes() == TABLE


def test_a_file_that_is_not_there(server, refusal):
    del server.files["/all.zip"]
    message = refusal("data", "get", write_source(server), "--to", "data")
    assert f"{server.root}/all.zip: the server answers 404" in message


def test_the_list_and_an_unknown_name(run, refusal):
    status, out, _ = run("data", "get")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == catalog.names("source")
    assert "Did you mean 'gue'" in refusal("data", "get", "gua")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\ntitle: T\n", "key 'files' is missing"),
        ("name: a\ntitle: T\nfiles: []\n", "must list one or more files"),
        ("name: a\ntitle: T\nfiles: [{url: http://x/y}]\n", "file 1: key 'path' is missing"),
        ("name: a\ntitle: T\nfiles: [{url: ftp://x/y, path: y}]\n", "only http and https"),
        ("name: a\ntitle: T\nfiles: [{url: 'http://x:8o/y', path: y}]\n", "port is not a number"),
        ("name: a\ntitle: T\nfiles: [{url: http://x/y z, path: y}]\n", "write %20 in its place"),
        ("name: a\ntitle: T\nfiles: [{url: http://x/y, path: lock.json}]\n", "the cache needs"),
        ("name: a\ntitle: T\nfiles: [{url: http://x/y, path: ../y}]\n", "give one below"),
        ("name: a\ntitle: T\nfiles: [{url: http://x/y, path: y, unpack: true}]\n", "no zip or tar"),
        ("name: a\ntitle: T\nfiles: [{url: http://x/y, path: y, sha256: 1f}]\n", "64 hexadecimal"),
        ("name: a\ntitle: T\nfiles: [{url: http://x/y, path: y, sha: 1}]\n", "unknown key 'sha'"),
        ("name: a/b\ntitle: T\nfiles: [{url: http://x/y, path: y}]\n", "name 'a/b'"),
        ("name: a\ntitle: [T]\nfiles: [{url: http://x/y, path: y}]\n", "key 'title' holds"),
        ("name: a\ntitel: T\ntitle: U\nfiles: [{url: http://x/y, path: y}]\n", "'title'?"),
        (
            "name: a\ntitle: T\nfiles: [{url: http://x/y, path: y}, {url: http://x/z, path: y}]\n",
            "path 'y' stands twice",
        ),
    ],
)
def test_sources_refused(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_source(path)
    assert "bad.yaml" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", catalog.names("source"))
def test_shipped_sources(name):
    source = load_source(name)
    assert source.name == name
    assert source.title
    assert source.description
    assert source.licence
    assert source.citation
    assert source.url.startswith("https://")
    assert len({file.url for file in source.files}) == len(source.files)


def test_every_card_finds_its_files_in_what_its_source_fetches():
    fetched = {
        name: {file.path for file in load_source(name).files} for name in catalog.names("source")
    }
    for name in catalog.names("task"):
        card = load_yaml(catalog.resolve("task", name))
        source = card.get("source")
        if source is None:
            continue
        paths = fetched["gue-mirror" if source == "gue" else source]
        for file in card.get("files", {}).values():
            archive = f"{file.split('/')[0]}_v0.zip"  # GenomicBenchmarks: one for each dataset
            assert file in paths or archive in paths, f"{name}: {file}"


def test_only_the_download_module_knows_the_network():
    import ast

    import lightning_dna

    package = Path(lightning_dna.__file__).parent
    network = {"urllib.request", "http.client", "requests", "httpx", "ftplib", "aiohttp"}
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            if network & {*names}:
                found.add(path.relative_to(package).as_posix())
    assert found == {"data/download.py"}

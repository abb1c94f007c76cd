"""``lightning-dna data get`` from a server on this machine: cache, lock, archives and bad input."""

import hashlib
import http.server
import io
import json
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

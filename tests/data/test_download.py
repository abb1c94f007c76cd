"""Downloads from a server on this machine that drops connections, forgets ranges and lies."""

import hashlib
import http.server
import json
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lightning_dna.data.download import Patience, check_space, fetch
from lightning_dna.errors import DataError

CONTENT = np.random.default_rng(0).integers(0, 256, 400_000, dtype=np.uint8).tobytes()
SUM = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(attempts=3, wait=0.0, timeout=5.0)


class Server:
    """A server whose manners a test sets; it counts what it was asked for."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.etag: str | None = '"one"'
        self.modified: str | None = None
        self.ranges = True
        self.heeds = True  # If-Range
        self.says = True  # of what version a part is
        self.encoding: str | None = None
        self.location: str | None = None
        self.drops = 0  # answers that break off
        self.after = 100_000  # bytes after which they do
        self.status: list[int] = []  # statuses of the first answers
        self.chunked = False
        self.kind = "application/octet-stream"
        self.requests: list[dict[str, str]] = []
        self.sent: Counter[str] = Counter()
        handler = self._handler()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/file.bin"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *arguments) -> None:
                pass

            def do_GET(self) -> None:
                outer.requests.append(dict(self.headers.items()))
                if outer.status:
                    code = outer.status.pop(0)
                    self.send_response(code)
                    self.send_header("Content-Length", "0")
                    if outer.location:
                        self.send_header("Location", outer.location)
                    self.end_headers()
                    return
                outer.answer(self)

        return Handler

    def answer(self, request) -> None:
        asked = request.headers.get("Range") if self.ranges else None
        same = request.headers.get("If-Range") in (None, self.etag, self.modified)
        same = same or not self.heeds
        first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and same else 0
        if asked and same and first >= len(self.content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.content)}")
            request.send_header("ETag", str(self.etag))
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if asked and same else 200)
        body = self.content[first:]
        if asked and same:
            last = len(self.content) - 1
            request.send_header("Content-Range", f"bytes {first}-{last}/{len(self.content)}")
        if self.encoding:
            request.send_header("Content-Encoding", self.encoding)
        if self.etag and (self.says or first == 0):
            request.send_header("ETag", self.etag)
        if self.modified:
            request.send_header("Last-Modified", self.modified)
        request.send_header("Content-Type", self.kind)
        if not self.chunked:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if self.drops:
            self.drops -= 1
            body = body[: self.after]
        self.sent["bytes"] += len(body)
        request.wfile.write(body)
        request.close_connection = True


@pytest.fixture
def server():
    started = Server()
    yield started
    started.close()


def partial_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def test_a_whole_file_in_one_go(server, tmp_path):
    seen = []
    path = tmp_path / "new" / "file.bin"
    found = fetch(server.url, path, progress=lambda have, total: seen.append((have, total)))
    assert found == SUM
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert sorted(item.name for item in path.parent.iterdir()) == ["file.bin"]


@pytest.mark.parametrize("validator", ["etag", "modified"])
def test_dropped_connections_are_resumed_and_nothing_is_sent_twice(server, tmp_path, validator):
    if validator == "modified":
        server.etag, server.modified = None, "Tue, 01 Jul 2025 10:00:00 GMT"
    server.drops = 3
    path = tmp_path / "file.bin"
    assert fetch(server.url, path, sha256=SUM, patience=QUICK) == SUM
    assert [request.get("Range") for request in server.requests] == [
        None,
        "bytes=100000-",
        "bytes=200000-",
        "bytes=300000-",
    ]
    assert server.sent["bytes"] == len(CONTENT)


def test_drops_do_not_count_while_bytes_arrive(server, tmp_path):
    server.drops, server.after = 8, 50_000
    fetch(server.url, tmp_path / "file.bin", sha256=SUM, patience=QUICK)
    assert len(server.requests) == 8


def test_an_interrupted_run_goes_on_in_the_next(server, tmp_path):
    path = tmp_path / "file.bin"

    def interrupt(have: int, total: int | None) -> None:
        if have > 150_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server.url, path, progress=interrupt)
    have = partial_of(path).stat().st_size
    assert 150_000 < have < len(CONTENT)
    assert not path.exists()
    assert fetch(server.url, path, sha256=SUM) == SUM
    assert server.requests[-1]["Range"] == f"bytes={have}-"
    assert server.requests[-1]["If-Range"] == '"one"'


def test_a_server_without_ranges_sends_all_of_it_again(server, tmp_path):
    server.ranges, server.drops = False, 2
    path = tmp_path / "file.bin"
    assert fetch(server.url, path, sha256=SUM, patience=QUICK) == SUM
    assert path.read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(server, tmp_path):
    path = tmp_path / "file.bin"
    server.drops = 1
    with pytest.raises(DataError):
        fetch(server.url, path, patience=Patience(attempts=1, wait=0.0))
    server.content, server.etag = CONTENT[::-1], '"two"'
    assert fetch(server.url, path) == hashlib.sha256(CONTENT[::-1]).hexdigest()


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_validator_parts_are_never_joined(server, tmp_path, etag):
    server.etag, server.drops = etag, 1
    path = tmp_path / "file.bin"
    assert fetch(server.url, path, sha256=SUM, patience=QUICK) == SUM
    assert all("Range" not in request for request in server.requests)


@pytest.mark.parametrize("told", ["etag", "modified", "size"])
def test_parts_of_two_versions_are_never_joined(server, tmp_path, told):
    """Some servers send the rest of whatever they have now, and do not look at If-Range."""
    server.heeds, server.drops = False, 1
    if told == "modified":
        server.etag, server.modified = None, "Tue, 01 Jul 2025 10:00:00 GMT"
    path = tmp_path / "file.bin"
    with pytest.raises(DataError):
        fetch(server.url, path, patience=Patience(attempts=1, wait=0.0))
    assert partial_of(path).stat().st_size == 100_000
    after = CONTENT[::-1]
    if told == "etag":
        server.etag = '"two"'
    elif told == "modified":
        server.modified = "Wed, 02 Jul 2025 10:00:00 GMT"
    else:
        server.says, after = False, after + b"more"
    server.content = after
    assert fetch(server.url, path, patience=QUICK) == hashlib.sha256(after).hexdigest()
    assert path.read_bytes() == after
    assert server.requests[1]["Range"] == "bytes=100000-"
    assert "Range" not in server.requests[2]


def test_a_whole_part_of_another_version_is_not_taken(server, tmp_path):
    path = tmp_path / "file.bin"
    partial_of(path).write_bytes(CONTENT[::-1])
    state = {"url": server.url, "validator": '"none"', "total": None}
    (tmp_path / "file.bin.part.json").write_text(json.dumps(state))
    server.heeds = False
    assert fetch(server.url, path, patience=QUICK) == SUM


def test_an_old_part_never_gets_the_name_of_a_new_version(server, tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    server.drops = 1
    with pytest.raises(DataError):
        fetch(server.url, path, patience=Patience(attempts=1, wait=0.0))
    server.content, server.etag = CONTENT[::-1], '"two"'
    usage = type("Usage", (), {"free": 1000})
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda folder: usage)
        with pytest.raises(DataError, match="bytes more"):
            fetch(server.url, path)
    assert fetch(server.url, path) == hashlib.sha256(CONTENT[::-1]).hexdigest()


def test_a_server_with_another_version_each_time_is_given_up(server, tmp_path):
    server.heeds, server.drops = False, 1000
    versions = iter(range(1000))
    answer = server.answer

    def changed(request) -> None:
        server.etag = f'"{next(versions)}"'
        answer(request)

    server.answer = changed
    with pytest.raises(DataError, match="without a new byte"):
        fetch(server.url, tmp_path / "file.bin", patience=QUICK)
    assert len(server.requests) < 10


def test_a_part_of_another_address_is_not_used(server, tmp_path):
    path = tmp_path / "file.bin"
    partial_of(path).write_bytes(b"x" * 1000)
    state = {"url": "http://127.0.0.1/other", "validator": '"one"'}
    (tmp_path / "file.bin.part.json").write_text(json.dumps(state))
    assert fetch(server.url, path) == SUM
    assert "Range" not in server.requests[0]


def test_a_part_that_is_already_whole(server, tmp_path):
    path = tmp_path / "file.bin"
    partial_of(path).write_bytes(CONTENT)
    state = {"url": server.url, "validator": '"one"'}
    (tmp_path / "file.bin.part.json").write_text(json.dumps(state))
    assert fetch(server.url, path, sha256=SUM) == SUM
    assert server.sent["bytes"] == 0


def test_busy_servers_are_asked_again_and_others_are_not(server, tmp_path):
    server.status = [503, 429]
    assert fetch(server.url, tmp_path / "file.bin", patience=QUICK) == SUM
    server.status = [404]
    with pytest.raises(DataError, match="the server answers 404") as caught:
        fetch(server.url, tmp_path / "other.bin", patience=QUICK)
    assert server.url in str(caught.value)
    assert "put it at" in str(caught.value)


def test_gives_up_and_says_what_is_kept(server, tmp_path):
    server.drops = 1
    server.status = []
    path = tmp_path / "file.bin"
    with pytest.raises(DataError) as caught:
        fetch(server.url, path, patience=Patience(attempts=1, wait=0.0))
    assert "the connection closed after 100,000 of 400,000 bytes" in str(caught.value)
    assert f"100,000 bytes are kept in {partial_of(path)}" in str(caught.value)
    assert "run the same command again" in str(caught.value)


def test_nobody_answers(tmp_path):
    silent = Server()
    silent.close()
    with pytest.raises(DataError, match="2 times in a row") as caught:
        fetch(silent.url, tmp_path / "file.bin", patience=Patience(attempts=2, wait=0.0))
    assert "the connection failed" in str(caught.value)
    assert "without a new byte. Run the same command again" in str(caught.value)


def test_a_wrong_checksum_keeps_the_file_aside(server, tmp_path):
    path = tmp_path / "file.bin"
    with pytest.raises(DataError) as caught:
        fetch(server.url, path, sha256="0" * 64)
    assert f"sha256 found: {SUM}; expected {'0' * 64}" in str(caught.value)
    assert str(tmp_path / "file.bin.wrong") in str(caught.value)
    assert (tmp_path / "file.bin.wrong").read_bytes() == CONTENT
    assert not path.exists()


def test_a_web_page_is_not_taken_for_the_file(server, tmp_path):
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(DataError, match=r"answers with a web page, not with file\.bin") as caught:
        fetch(server.url, tmp_path / "file.bin")
    assert str(tmp_path / "file.bin") in str(caught.value)


def test_a_length_that_is_not_told(server, tmp_path):
    server.chunked = True
    seen = []
    fetch(server.url, tmp_path / "f.bin", progress=lambda have, total: seen.append(total))
    assert seen[-1] is None


def test_a_full_disk_is_told_before_the_first_byte(server, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(DataError, match=r"file\.bin needs 400,000 bytes more"):
        fetch(server.url, tmp_path / "file.bin")
    with pytest.raises(DataError, match="has 1,000 free"):
        check_space(tmp_path, 1, what="x")


@pytest.mark.parametrize("url", ["ftp://host/file", "file:///etc/passwd"])
def test_other_schemes_are_refused(tmp_path, url):
    with pytest.raises(DataError, match="only http and https"):
        fetch(url, tmp_path / "file")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:8o/file", "its port is not a number from 0 to 65535"),
        ("http://127.0.0.1:70000/file", "its port is not a number from 0 to 65535"),
        ("http://127.0.0.1/my file", "it holds ' '; write %20 in its place"),
        ("http://127.0.0.1/a\nb", "write %0A in its place"),
        ("http://127.0.0.1/é", "write %C3%A9 in its place"),
        ("http:///file", "it names no server"),
        ("http://me:word@127.0.0.1/file", "it names a user"),
        ("http://[::1/file", "it is no address"),
    ],
)
def test_an_address_that_is_none_is_refused_at_once(tmp_path, monkeypatch, url, message):
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    with pytest.raises(DataError) as caught:
        fetch(url, tmp_path / "file")
    assert message in str(caught.value)
    assert waits == []


def test_a_redirect_to_an_address_that_is_none(server, tmp_path, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    server.status, server.location = [302], "http://127.0.0.1:8o/file"
    with pytest.raises(DataError, match="sends us to an address that is none"):
        fetch(server.url, tmp_path / "file.bin")
    assert waits == []


def test_a_file_that_the_server_packs_on_its_own(server, tmp_path):
    server.encoding = "gzip"
    with pytest.raises(DataError, match=r"sends file\.bin packed with gzip"):
        fetch(server.url, tmp_path / "file.bin")
    assert fetch(server.url, tmp_path / "file.bin.gz") == SUM


def test_a_download_that_is_refused_is_kept_aside(server, tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"of yesterday")

    def refuse(found: Path) -> None:
        assert found.read_bytes() == CONTENT
        raise DataError("it is blue.")

    with pytest.raises(DataError, match=r"it is blue\. Nothing is recorded") as caught:
        fetch(server.url, path, check=refuse)
    aside = tmp_path / "file.bin.wrong"
    assert f"kept aside as {aside}. Run the same command to fetch it again" in str(caught.value)
    assert aside.read_bytes() == CONTENT
    assert path.read_bytes() == b"of yesterday"
    assert not list(tmp_path.glob("*.part*"))

"""Download: a server on this machine that breaks off, goes on, lies, or is not there."""

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from attnlab.data import download
from attnlab.data.download import DownloadError, fetch

CONTENT = bytes(range(256)) * 1_001
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.understands_ranges else 0
        if self.path != "/file":
            self.send_error(404)
        elif start >= len(CONTENT):
            self.send_error(416)
        else:
            body = CONTENT[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: server.breaks_after.pop(0)] if server.breaks_after else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.ranges, server.breaks_after, server.understands_ranges = [], [], True
    server.url = f"http://127.0.0.1:{server.server_port}/file"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def quiet(done, total):
    pass


def test_file_arrives_whole_and_a_second_call_asks_nobody(server, tmp_path):
    path = fetch(server.url, SHA256.upper(), tmp_path / "new" / "file", progress=quiet)
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["file"]
    assert fetch(server.url, SHA256, path, progress=quiet) == path
    assert server.ranges == [None]


def test_a_broken_download_goes_on_within_one_call(server, tmp_path):
    server.breaks_after = [100_000, 50_000]
    seen = []
    path = fetch(server.url, SHA256, tmp_path / "file", progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert seen[-1] == (len(CONTENT), len(CONTENT)) and {total for _, total in seen} == {len(CONTENT)}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_broken_download_goes_on_in_a_later_call(server, tmp_path):
    server.breaks_after = [70_000]
    with pytest.raises(
        DownloadError, match=r"broke after 70,000 of 256,256 bytes\): check the network .* 70,000 bytes are kept"
    ):
        fetch(server.url, SHA256, tmp_path / "file", progress=quiet, attempts=1)
    assert os.listdir(tmp_path) == ["file.part"]
    assert fetch(server.url, SHA256, tmp_path / "file", progress=quiet).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=70000-"] and os.listdir(tmp_path) == ["file"]


def test_a_server_without_ranges_sends_all_of_it_again(server, tmp_path):
    server.understands_ranges, server.breaks_after = False, [70_000]
    assert fetch(server.url, SHA256, tmp_path / "file", progress=quiet).read_bytes() == CONTENT


def test_a_part_that_is_already_whole_is_taken(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert fetch(server.url, SHA256, tmp_path / "file", progress=quiet).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_a_wrong_checksum_leaves_no_file(server, tmp_path):
    with pytest.raises(DownloadError, match=f"has SHA-256 {SHA256[:12]}…, expected 000000000000…: .* was deleted"):
        fetch(server.url, "0" * 64, tmp_path / "file", progress=quiet)
    assert os.listdir(tmp_path) == []


def test_an_old_file_stays_until_the_new_one_is_right(server, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(DownloadError):
        fetch(server.url, "0" * 64, path, progress=quiet)
    assert path.read_bytes() == b"old"
    assert fetch(server.url, SHA256, path, progress=quiet).read_bytes() == CONTENT


def test_no_server_is_said_in_one_sentence(server, tmp_path):
    gone = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{gone.server_port}/file"
    gone.server_close()
    with pytest.raises(
        DownloadError, match=r"could not be fetched \(.+\): check the network and run it again, 0 bytes"
    ):
        fetch(url, SHA256, tmp_path / "file", progress=quiet)
    assert os.listdir(tmp_path) == []


def test_a_wrong_address_is_said_in_one_sentence(server, tmp_path):
    with pytest.raises(DownloadError, match=r"/nothing answered 404 \(Not Found\): is the address right\?"):
        fetch(server.url.replace("file", "nothing"), SHA256, tmp_path / "file", progress=quiet)
    assert server.ranges == [None]
    with pytest.raises(ValueError, match="starts with http:// or https://, got 'file:///etc/hosts'"):
        fetch("file:///etc/hosts", SHA256, tmp_path / "file")
    with pytest.raises(ValueError, match="64 hexadecimal digits, got 'abc'"):
        fetch(server.url, "abc", tmp_path / "file")


def test_progress_is_one_line_that_ends(capsys):
    download.report(1_500_000, 3_000_000)
    download.report(3_000_000, 3_000_000)
    assert capsys.readouterr().err == "\r1.5 of 3.0 MB\r3.0 of 3.0 MB\n"

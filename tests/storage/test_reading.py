"""What is read is a file, and no more of it than is allowed, whatever it became since."""

import contextlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deepfake_core.records import Failure
from deepfake_core.storage.base import TooLarge
from deepfake_core.storage.local import LocalStorage
from deepfake_core.storage.opening import open_storage
from deepfake_core.storage.reading import read_or_failure

HUGE = 3 * 2**30


def failure(folder: Path, name: str) -> tuple[str, bool]:
    content, outage = read_or_failure(LocalStorage(folder), name, pause=lambda _: None)
    assert isinstance(content, Failure)
    return str(content.code), outage


def test_a_file_that_grew_is_not_read(tmp_path: Path):
    with (tmp_path / "grown.jpg").open("wb") as file:
        file.truncate(HUGE)

    assert failure(tmp_path, "grown.jpg") == ("decode.too_large", False)


@pytest.mark.parametrize("target", ["/dev/zero", "/dev/urandom", "/dev/tty", "/proc", "/"])
def test_a_link_that_leads_to_no_file_is_not_read(tmp_path: Path, target: str):
    (tmp_path / "link.jpg").symlink_to(target)

    code, outage = failure(tmp_path, "link.jpg")

    assert code.startswith("read.")
    assert not outage or target == "/dev/tty"


def test_a_pipe_does_not_keep_a_reader_waiting(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.jpg")

    assert failure(tmp_path, "pipe.jpg") == ("read.failed", False)


@pytest.mark.parametrize("target", ["/proc/kmsg", "/proc/self/mounts", "/proc/kcore"])
def test_files_of_the_system_are_not_read_beyond_their_size(tmp_path: Path, target: str):
    (tmp_path / "link.jpg").symlink_to(target)

    content, _ = read_or_failure(LocalStorage(tmp_path), "link.jpg", pause=lambda _: None)

    assert content == b"" or isinstance(content, Failure)


def test_links_to_files_are_read(tmp_path: Path):
    (tmp_path / "file.jpg").write_bytes(b"picture")
    (tmp_path / "link.jpg").symlink_to("file.jpg")

    assert read_or_failure(LocalStorage(tmp_path), "link.jpg") == (b"picture", False)


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        if self.path == "/told.jpg":
            self.send_header("Content-Length", "6")
        self.end_headers()
        if self.path == "/told.jpg":
            self.wfile.write(b"told..")
        else:
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(bytes(65536))

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_answer_without_end_is_cut(site: str):
    storage = open_storage(site)
    storage.most_bytes = 3_000_000

    assert storage.read("told.jpg") == b"told.."
    with pytest.raises(TooLarge):
        storage.read("endless.jpg")
    content, outage = read_or_failure(storage, "endless.jpg")
    assert isinstance(content, Failure)
    assert (str(content.code), outage) == ("decode.too_large", False)

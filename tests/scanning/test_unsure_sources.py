"""Sources that say too little, or something else than before: nothing is lost or believed."""

import errno
import functools
import os
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from deepfake_core.records import Json
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan
from deepfake_core.storage import reading
from deepfake_core.storage.local import LocalStorage
from deepfake_core.storage.opening import open_storage

Run = Callable[[str], Json]


@pytest.fixture
def run(tiny_registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(reading, "FIRST_PAUSE_SECONDS", 0)

    def scan_it(source: str) -> Json:
        config = ScanConfig(source=source, output=str(tmp_path / "out"), model="tiny")
        return scan(config, registry=tiny_registry)

    return scan_it


def rows_of(result: Json) -> dict[str, Json]:
    rows = pq.read_table(result["verdicts"], partitioning=None).to_pylist()
    return {row["image"]: row for row in rows}


class Entry:
    """An entry of a folder that cannot be looked at."""

    def __init__(self, entry: os.DirEntry[str], error: int) -> None:
        self._entry, self._error = entry, error
        self.name = entry.name

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self._entry.is_dir(follow_symlinks=follow_symlinks)

    def stat(self) -> os.stat_result:
        raise OSError(self._error, os.strerror(self._error), self.name)


class Entries(list[Any]):
    """What `os.scandir` gives."""

    def __enter__(self) -> "Entries":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def close(self) -> None:
        return


@pytest.mark.parametrize(
    ("error", "failure"),
    [(errno.ESTALE, "read.failed"), (errno.EIO, "read.failed"), (errno.EACCES, "read.denied")],
)
def test_a_file_that_cannot_be_looked_at_is_listed_and_gets_a_row(
    run: Run,
    image_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    error: int,
    failure: str,
):
    source = image_folder(4)
    scandir, stat = os.scandir, os.stat

    def entries(path: Any) -> Any:
        if str(path) != f"{source}/":
            return scandir(path)
        with scandir(path) as found:
            return Entries(Entry(one, error) if "0001" in one.name else one for one in found)

    def look(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if str(path).endswith("0001.jpg"):
            raise OSError(error, os.strerror(error), path)
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "scandir", entries)
    monkeypatch.setattr(os, "stat", look)
    first = run(str(source))
    assert (first["listed"], first["judged"], first["failures"]) == (4, 3, {failure: 1})
    row = rows_of(first)["0001.jpg"]
    assert (row["bytes"], row["etag"], row["failure"]) == (None, None, failure)
    monkeypatch.undo()
    again = run(str(source))
    assert rows_of(again)["0001.jpg"]["status"] == "ok"
    assert again["judged"] == 1
    assert run(str(source))["judged"] == 0


def test_a_page_in_the_place_of_the_images_is_no_verdict(
    run: Run, image_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    source = image_folder(5)
    read = LocalStorage.read

    def answer(self: LocalStorage, path: str) -> bytes:
        return b"<html>log in first" if self.root == source else read(self, path)

    monkeypatch.setattr(LocalStorage, "read", answer)
    first = run(str(source))
    assert first["failures"] == {"read.failed": 5}
    assert all("18 bytes came, " in row["detail"] for row in rows_of(first).values())
    monkeypatch.undo()
    assert run(str(source))["judged"] == 5


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and its listing."""

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def web(image_folder: Callable[..., Path]) -> Iterator[str]:
    """A web server with three images."""
    handler = functools.partial(Quiet, directory=str(image_folder(3)))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_web_server_that_says_no_etag_is_read_again(run: Run, web: str):
    listing = open_storage(web).list_files()
    assert sorted(listing.paths) == ["0000.jpg", "0001.jpg", "0002.png"]
    assert listing.etags == [None] * 3
    first = run(web)
    assert first["judged"] == 3
    assert {row["etag"] for row in rows_of(first).values()} == {None}
    assert run(web)["judged"] == 3


def test_a_store_that_says_size_and_date_has_an_etag(image_folder: Callable[..., Path]):
    listing = open_storage(f"file://{image_folder(2)}").list_files()
    assert all(etag and "None" not in etag for etag in listing.etags)

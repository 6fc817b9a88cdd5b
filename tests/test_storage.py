"""A folder of this machine and a folder of a bucket keep the same promises."""

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from deepfake_core.errors import OutputError, OutputLost, SourceError
from deepfake_core.results import LATEST, Results, parquet_bytes, published_name
from deepfake_core.schema import VERDICTS, with_metadata
from deepfake_core.storage import STAGING, LocalStorage, Storage, open_storage
from tests.s3_server import Bucket, bucket, environment, proxy, server, without_pauses

__all__ = ["bucket", "environment", "proxy", "server", "without_pauses"]

Open = Callable[[], Storage]


@pytest.fixture(params=["disk", "s3"])
def open_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same empty folder each time."""
    if request.param == "disk":
        return lambda: open_storage(str(tmp_path / "folder"))
    url = request.getfixturevalue("bucket").url
    return lambda: open_storage(f"{url}/folder")


@pytest.fixture
def storage(open_folder: Open) -> Storage:
    return open_folder()


def test_what_is_put_is_read(storage: Storage):
    storage.put("a/b.bin", b"first")
    storage.put("a/b.bin", b"second")
    assert storage.read("a/b.bin") == b"second"
    with pytest.raises(FileNotFoundError):
        storage.read("a/c.bin")


def test_what_is_there(storage: Storage):
    assert not storage.exists()
    assert storage.names("runs") == []
    storage.put("runs/r1/parts/part-1", b"1")
    storage.put("runs/r2/run.json", b"2")
    storage.put("top.parquet", b"3")
    assert storage.exists()
    assert storage.exists("top.parquet")
    assert not storage.exists("other.parquet")
    assert storage.names("runs") == ["r1", "r2"]
    assert storage.names("runs/r1/parts") == ["part-1"]
    assert storage.names("runs/r3") == []


ODD = ["a b.jpg", "100%25+a.jpg", "über.jpg", "<b>'&\".jpg", "line\nbreak.jpg", "below/c.jpg"]


def test_listing(storage: Storage):
    for name in [*ODD, ".hidden/a.jpg", "below/.b.jpg", "out/x.parquet", "outer.jpg"]:
        storage.put(name, name.encode())
    before = time.time()
    listing = storage.list_files(leave_out=storage.address("out"))
    assert sorted(listing.paths) == sorted([*ODD, "outer.jpg"])
    for path, size, etag, modified in zip(
        listing.paths, listing.sizes, listing.etags, listing.modified, strict=True
    ):
        assert storage.read(path) == path.encode()
        assert size == len(path.encode())
        assert etag
        assert '"' not in etag
        assert abs(modified - before) < 60


def test_an_etag_changes_with_the_content(storage: Storage):
    etags = []
    for content in (b"one", b"three"):
        storage.put("a.jpg", content)
        etags += storage.list_files().etags
    assert len(set(etags)) == 2


def test_a_folder_that_is_missing(storage: Storage):
    with pytest.raises(SourceError, match="cannot list"):
        storage.list_files()


def test_create_leaves_what_is_there(storage: Storage):
    assert storage.create("verdicts/a", b"first")
    assert not storage.create("verdicts/a", b"second")
    assert storage.read("verdicts/a") == b"first"


def at_once(*actions: Callable[[], object]) -> None:
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_updates_at_once_lose_nothing(open_folder: Open, without_pauses: None):
    def add(mark: bytes) -> None:
        storage = open_folder()
        for _ in range(5):
            storage.update("marks", lambda before: (before or b"") + mark)

    at_once(*(lambda mark=mark: add(mark) for mark in (b"a", b"b", b"c")))
    assert sorted(open_folder().read("marks").decode()) == sorted("aaaaabbbbbccccc")


def verdicts(image: str) -> bytes:
    """A published file with one failed row."""
    row = {"image": image, "source": "s", "bytes": 1, "status": "failed", "model_id": "m"}
    row |= {"failure": "decode.corrupt", "run_id": image, "run_started": 0}
    columns = pa.schema([field.with_nullable(True) for field in VERDICTS])
    table = pa.Table.from_pylist([row], schema=columns).cast(VERDICTS)
    return parquet_bytes(with_metadata(table, {}))


def test_runs_that_end_at_once_lose_nothing(open_folder: Open, without_pauses: None):
    names = ["one", "two", "three"]
    paths = {name: published_name("2026-11-25", name) for name in names}
    for name, path in paths.items():
        open_folder().put(path, verdicts(name))
    at_once(
        *(lambda path=path: Results(open_folder()).update_latest(path) for path in paths.values())
    )
    results = Results(open_folder())
    assert sorted(results.storage.names("verdicts/run_date=2026-11-25")) == [
        "one.parquet",
        "three.parquet",
        "two.parquet",
    ]
    from deepfake_core.results import read_verdicts

    assert sorted(read_verdicts(results.storage, LATEST)["image"].to_pylist()) == sorted(names)
    assert results.rebuild_latest() == 3


def test_put_cleans_up_what_was_left_half_written(tmp_path: Path):
    staging = tmp_path / STAGING
    staging.mkdir()
    for name, hours in (("old", 25), ("young", 1)):
        (staging / name).write_bytes(b"half")
        then = time.time() - 3600 * hours
        os.utime(staging / name, (then, then))
    LocalStorage(tmp_path).put("a", b"whole")
    assert [path.name for path in staging.iterdir()] == ["young"]


def test_a_full_disk_is_no_matter_of_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def replace(path: Path, target: Path) -> None:
        raise OSError(error, os.strerror(error))

    storage = LocalStorage(tmp_path)
    monkeypatch.setattr(Path, "replace", replace)
    error = errno.ENOSPC
    with pytest.raises(OutputLost, match="make room"):
        storage.put("a", b"")
    error = errno.EACCES
    with pytest.raises(OutputError, match="--output"):
        storage.put("a", b"")
    monkeypatch.undo()
    storage.put("a", b"")
    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(OutputLost, match="--run-id"):
        storage.put("a", b"")


def test_output_bucket_that_is_missing(bucket: Bucket):
    storage = open_storage(f"{bucket.url}-none/reports")
    for use in (lambda: storage.names("verdicts"), lambda: storage.put("a", b"")):
        with pytest.raises(OutputError, match="no such bucket"):
            use()

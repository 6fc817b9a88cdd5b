"""A folder of this machine and a folder of a bucket keep the same promises."""

import errno
import io
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake_core.errors import OutputError, OutputLost, SourceError
from deepfake_core.results.layout import LATEST, published_name
from deepfake_core.results.schema import VERDICTS, with_metadata
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import parquet_bytes, verdict_chunks
from deepfake_core.storage.base import Readable, Storage, Update
from deepfake_core.storage.local import STAGING, LocalStorage
from deepfake_core.storage.opening import open_source, open_storage
from tests.support.s3_server import Bucket, bucket, environment, proxy, server, without_pauses

__all__ = ["bucket", "environment", "proxy", "server", "without_pauses"]

Open = Callable[[], Storage]


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.processes)])
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


@pytest.mark.parametrize("name", [*ODD, "a.jpg"])
def test_one_file_is_listed_as_in_its_folder(open_folder: Open, storage: Storage, name: str):
    for one in (*ODD, "a.jpg", "a.jpg2"):
        storage.put(one, one.encode())
    listing, found = storage.list_files(), storage.list_file(name)
    at = listing.paths.index(name)
    assert (found.paths, found.sizes, found.etags) == (
        [name],
        [len(name.encode())],
        [listing.etags[at]],
    )
    source, file = open_source(storage.address(name))
    assert file == name.rpartition("/")[2]
    assert source.read(file) == name.encode()
    assert source.address(file) == storage.address(name)


def test_what_is_no_file_is_taken_for_a_folder(storage: Storage):
    storage.put("x.jpg/a.jpg", b"a")
    for name in ("x.jpg", "x.jp", "y.jpg"):
        assert storage.list_file(name).paths == []
        source, file = open_source(storage.address(name))
        assert (source.name, file) == (storage.address(name), None)
    assert open_source(storage.name)[1] is None


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


CREATING = """
import sys
from deepfake_core.storage.opening import open_source, open_storage
storage, mine = open_storage(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
print(*(n for n in range(int(sys.argv[3])) if storage.create(f"a/{n}", mine.encode() * 5000)))
"""


@pytest.mark.processes
def test_of_two_processes_that_create_a_file_one_succeeds(open_folder: Open):
    storage = open_folder()
    count = 300 if isinstance(storage, LocalStorage) else 40
    command = [sys.executable, "-c", CREATING, storage.name]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen([*command, mark, str(count)], stdin=pipe, stdout=pipe, text=True)
        for mark in "xy"
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    created = [list(map(int, process.communicate()[0].split())) for process in processes]
    assert sorted(created[0] + created[1]) == list(range(count))
    for mark, numbers in zip((b"x", b"y"), created, strict=True):
        assert all(storage.read(f"a/{number}") == mark * 5000 for number in numbers)


def test_creating_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(link: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    storage = LocalStorage(tmp_path)
    assert storage.create("a", b"first")
    assert not storage.create("a", b"second")
    assert storage.read("a") == b"first"


def content(place: Readable) -> bytes:
    with open(place, "rb") if isinstance(place, str) else place as stream:
        return stream.read()


def appended(mark: bytes) -> Update:
    """Makes a file longer."""

    def change(before: Readable | None, after: Path) -> None:
        after.write_bytes((b"" if before is None else content(before)) + mark)

    return change


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
            storage.update("marks", appended(mark))

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
    from deepfake_core.results.verdict_files import read_verdicts

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


def test_what_is_spooled_is_put_and_used_up(storage: Storage):
    for name, put in (("a", storage.put), ("b", storage.create), ("b", storage.create)):
        with storage.spool() as file:
            file.write_bytes(name.encode() * 3)
            put(name, file)
        assert not file.exists()
    assert [storage.read(name) for name in "ab"] == [b"aaa", b"bbb"]
    assert sorted(storage.list_files().paths) == ["a", "b"]


def test_a_part_of_a_file_is_read(storage: Storage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("deepfake_core.storage.s3.TAIL_BYTES", 10)
    data = bytes(range(200))
    for path, whole in (("long", data), ("short", b"abc"), ("empty", b"")):
        storage.put(path, whole)
        place = storage.readable(path)
        with open(place, "rb") if isinstance(place, str) else place as stream:
            assert stream.seek(0, os.SEEK_END) == len(whole)
            stream.seek(50)
            assert stream.read(7) == whole[50:57]
            assert stream.read() == whole[57:]
    with pytest.raises(FileNotFoundError):
        content(storage.readable("missing"))


def test_a_file_where_a_folder_is_looked_for_holds_no_names(storage: Storage):
    storage.put("verdicts/run_date=notes", b"mine")
    assert storage.names("verdicts/run_date=notes") == []
    assert Results(storage).published() == []


def test_a_copy_of_a_part_is_no_part(storage: Storage):
    for name in ("part-00003.parquet", "part-00003 (copy).parquet", "part-100000.parquet"):
        storage.put(f"runs/r/parts/{name}", b"")
    assert Results(storage).committed("r") == {3, 100_000}


def test_what_cannot_be_swept_stops_no_write(tmp_path: Path):
    (tmp_path / STAGING / "folder").mkdir(parents=True)
    os.utime(tmp_path / STAGING / "folder", (1, 1))
    LocalStorage(tmp_path).put("a", b"1")
    assert LocalStorage(tmp_path).read("a") == b"1"


def test_verdicts_that_are_changed_while_they_are_read_are_an_error(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("deepfake_core.storage.s3.TAIL_BYTES", 10)
    storage, file = open_storage(bucket.url), io.BytesIO()
    row = pq.read_table(pa.BufferReader(verdicts("one")))
    pq.write_table(pa.concat_tables([row, row]), file, row_group_size=1)
    storage.put("a.parquet", file.getvalue())
    chunks = verdict_chunks(storage, "a.parquet", None, rows=1)
    next(chunks)
    storage.put("a.parquet", b"other")
    with pytest.raises(OutputError, match=r"cannot read .*a\.parquet"):
        next(chunks)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads in parts from 1 MiB on; 5 MiB is the least that S3 takes for a part."""
    monkeypatch.setattr("deepfake_core.storage.s3_multipart.MULTIPART_ABOVE_BYTES", 2**20)
    monkeypatch.setattr("deepfake_core.storage.s3_multipart.PART_BYTES", 5 * 2**20)


def test_what_is_large_is_created_and_changed_as_what_is_small(storage: Storage, small_parts: None):
    large = random.Random(0).randbytes(6 * 2**20)
    assert storage.create("a", large)
    assert storage.read("a") == large
    assert not storage.create("a", large[::-1])
    storage.update("a", appended(b"end"))
    assert storage.read("a") == large + b"end"
    with storage.spool() as file:
        file.write_bytes(large[::-1])
        storage.put("a", file)
    assert storage.read("a") == large[::-1]


def test_a_large_file_that_others_change_meanwhile_loses_nothing(
    open_folder: Open, small_parts: None, without_pauses: None
):
    storage, marks = open_folder(), iter([b"other", None, None])
    storage.put("a", b"x" * 2**21)

    def change(before: Readable | None, after: Path) -> None:
        if not isinstance(storage, LocalStorage) and (mark := next(marks)):
            open_folder().update("a", appended(mark))
        after.write_bytes(content(before) + b"mine")

    storage.update("a", change)
    others = b"" if isinstance(storage, LocalStorage) else b"other"
    assert storage.read("a") == b"x" * 2**21 + others + b"mine"

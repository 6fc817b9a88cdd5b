"""Ten times the images take no more memory, on disk and from a bucket."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake_core.bench.known import SOURCE, known_listing, publish_known
from deepfake_core.bench.setting import Setting, Sizes
from deepfake_core.bench.state import STEPS, state
from deepfake_core.models.registry import find_model
from deepfake_core.results import latest as newest
from deepfake_core.results import store as results
from deepfake_core.results import verdict_files
from deepfake_core.results.layout import LATEST
from deepfake_core.results.store import Results
from deepfake_core.results.verdict_files import verdict_chunks
from deepfake_core.scanning.history import read_history
from deepfake_core.scanning.selection import build_manifest
from deepfake_core.storage.local import LocalStorage
from deepfake_core.storage.opening import open_storage
from tests.support.s3_server import Bucket, bucket, environment, server

pytestmark = pytest.mark.processes

__all__ = ["bucket", "environment", "server"]

CONFIG = "f" * 64


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held at once, a tenth or less of what it is."""
    monkeypatch.setattr(newest, "SORTED_AT_ONCE", 4_000)
    monkeypatch.setattr(newest, "FILES_AT_ONCE", 8)
    monkeypatch.setattr(newest, "ROWS_HELD", 500)
    monkeypatch.setattr(results, "MERGED_AT_ONCE", 2_000)
    monkeypatch.setattr(verdict_files, "ROWS_IN_GROUP", 2_000)
    monkeypatch.setattr(verdict_files, "FILES_AHEAD", 2)


def peak_bytes(action: Callable[[], object]) -> int:
    """How much of Arrow's memory, in which all rows are held, an action takes at most."""
    usual = pa.default_memory_pool()
    watched = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(watched)
    try:
        action()
    finally:
        pa.set_memory_pool(usual)
    return int(watched.max_memory())


def test_latest_takes_no_more_memory_for_ten_times_the_rows(small_portions: None, tmp_path: Path):
    peaks: dict[str, list[int]] = {"update": [], "rebuild": []}
    for count in (8_000, 80_000):
        output = Results(LocalStorage(tmp_path / str(count)))
        paths = publish_known(output, count, CONFIG)
        peaks["rebuild"].append(peak_bytes(output.rebuild_latest))
        rebuilt = pq.read_table(tmp_path / str(count) / LATEST)
        assert rebuilt.num_rows == count
        peaks["update"].append(
            peak_bytes(lambda out=output, path=paths[0]: out.update_latest(path))
        )
        assert pq.read_table(tmp_path / str(count) / LATEST).equals(rebuilt)
    for small, large in peaks.values():
        assert 0 < large < 2 * small


def test_many_files_are_joined_in_several_goes(small_portions: None, tmp_path: Path):
    output = Results(LocalStorage(tmp_path))
    # More portions than are read at once.
    publish_known(output, 50_000, CONFIG)
    assert output.rebuild_latest() == 50_000
    names = pq.read_table(tmp_path / LATEST, columns=["image"])["image"].to_pylist()
    assert names == known_listing(50_000, new=0).paths
    assert not list((tmp_path / ".staging").iterdir())


def test_a_plan_reads_only_some_columns_of_a_bucket(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("deepfake_core.storage.s3.TAIL_BYTES", 2**16)
    storage = open_storage(f"{bucket.url}/out")
    paths = publish_known(Results(storage), 30_000, CONFIG)
    size = sum(storage.list_files().sizes)
    get, received = storage._get, []

    def counted(*arguments: str, **more: str) -> object:
        answer = get(*arguments, **more)
        received.append(len(answer[0]))
        return answer

    monkeypatch.setattr(storage, "_get", counted)
    listed = build_manifest(known_listing(30_000, new=10))
    past = read_history(Results(storage), SOURCE, CONFIG, listed=listed)
    assert np.flatnonzero(~past.known).tolist() == list(range(30_000, 30_010))
    assert sum(received) < 0.6 * size
    # Whole rows are the same, wherever they are read from.
    far = pa.concat_tables(verdict_chunks(storage, paths[0], None, rows=10_000))
    assert far.equals(pq.read_table(pa.BufferReader(storage.read(paths[0]))))


PAGE_KEYS = 1_000
LISTING = """
import resource, sys
from deepfake_core.storage.opening import open_storage

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

open_storage("s3://many/2000").list_files()
before = peak()
listing = open_storage(f"s3://many/{sys.argv[1]}").list_files()
print(len(listing.paths), peak() - before)
"""


class Pages(BaseHTTPRequestHandler):
    """Stands in for a store that holds as many keys as the prefix says; it only lists."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        prefix, start = query["prefix"][0], int(query.get("continuation-token", ["0"])[0])
        end = min(start + PAGE_KEYS, int(prefix.strip("/")))
        entries = "".join(
            f"<Contents><Key>{prefix}2026/11/camera/photograph-{number:09d}.jpg</Key>"
            f"<Size>{number}</Size><ETag>&quot;{number:032x}&quot;</ETag>"
            "<LastModified>2026-11-25T00:00:00.000Z</LastModified></Contents>"
            for number in range(start, end)
        )
        more = end < int(prefix.strip("/"))
        body = (
            f"<ListBucketResult>{entries}<IsTruncated>{str(more).lower()}</IsTruncated>"
            f"<NextContinuationToken>{end}</NextContinuationToken></ListBucketResult>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def pages() -> Iterator[int]:
    """The port of a store that lists pages without end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running.server_port
        running.shutdown()
        thread.join()


def test_a_listing_keeps_little_of_each_page(pages: int, tmp_path: Path):
    """A page of a thousand keys is about 2 MB once it is parsed; 300 bytes of a key are kept."""
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{pages}",
        "AWS_ACCESS_KEY_ID": "anyone",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
    }
    count = 30_000
    command = [sys.executable, "-c", LISTING, str(count)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    listed, kilobytes = map(int, done.stdout.split())
    assert listed == count
    assert kilobytes * 1024 < 450 * count


def test_the_benchmark_of_known_images(tiny_registry: Path, tmp_path: Path):
    sizes = Sizes(known_images=2_000)
    bundle = find_model("tiny", tiny_registry)
    setting = Setting(bundle, tiny_registry, ("fp32",), tmp_path, sizes, lambda line: None)
    figures = {name: value for part in state(setting) for name, value in part.items()}
    assert figures["known_images"] == 2_000
    for step in STEPS:
        assert figures[f"known_{step}_s"] > 0
        assert figures[f"known_{step}_rise_mb"] >= 0

"""A scan from bucket to bucket: against a real server, and against one that fails."""

import json
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake_core import cli
from deepfake_core.bench.s3_proxy import Fault, Proxy
from deepfake_core.bench.s3_server import Server
from deepfake_core.errors import OutputLost, SourceError, SourceOutage
from deepfake_core.events import Notify
from deepfake_core.records import Failure, Json
from deepfake_core.results.layout import LATEST
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.plan import Plan
from deepfake_core.scanning.scan import Execution, commit_shard, scan
from deepfake_core.scanning.shards import ShardJudge
from deepfake_core.storage.opening import open_storage
from deepfake_core.storage.reading import read_or_failure
from deepfake_core.storage.s3_errors import Unconditional
from tests.conftest import make_picture
from tests.scanning.test_kill import Forks
from tests.storage.test_storage import appended
from tests.support.s3_server import (
    SECRET,
    Bucket,
    bucket,
    environment,
    proxy,
    server,
    without_pauses,
)

pytestmark = pytest.mark.processes

__all__ = ["bucket", "environment", "proxy", "server", "without_pauses"]

COUNT = 40
RUN = "r"


@pytest.fixture
def run(
    bucket: Bucket, image_folder: Callable[..., Path], tiny_registry: Path
) -> Callable[..., Json]:
    """Scans 40 pictures of the bucket into the same bucket, as one run."""
    bucket.fill(image_folder(COUNT), "in")

    def scan_it(*, commit: Any = None, **settings: Any) -> Json:
        settings = {"shard_size": 8, "run_id": RUN, "model": "tiny", **settings}
        config = ScanConfig(source=f"{bucket.url}/in", output=f"{bucket.url}/out", **settings)
        return scan(config, registry=tiny_registry, execution=Execution(commit=commit))

    return scan_it


def rows(bucket: Bucket, result: Json) -> pa.Table:
    return pq.read_table(
        pa.BufferReader(bucket.get(result["verdicts"].partition(bucket.name)[2][1:]))
    )


def failures(bucket: Bucket, result: Json) -> Counter[str | None]:
    return Counter(rows(bucket, result)["failure"].to_pylist())


def everything(bucket: Bucket) -> bytes:
    return b"\n".join(bucket.get(key) for key in bucket.keys("out/"))


def test_a_scan_gives_what_a_local_one_gives(
    bucket: Bucket, image_folder: Callable[..., Path], tiny_registry: Path, tmp_path: Path
):
    folder = image_folder(COUNT, broken=True)
    bucket.fill(folder, "in/put")
    results = {}
    places = {
        "s3": (f"{bucket.url}/in/put", f"{bucket.url}/in/put/out"),
        "disk": (folder, tmp_path),
    }
    for name, (source, output) in places.items():
        config = ScanConfig(source=str(source), output=str(output), model="tiny", shard_size=16)
        results[name] = scan(config, registry=tiny_registry)
    far = rows(bucket, results["s3"])
    near = pq.read_table(results["disk"]["verdicts"], partitioning=None)
    for column in ("image", "sha256", "failure", "label", "score"):
        assert far[column].to_pylist() == near[column].to_pylist(), column
    assert set(far["source"].to_pylist()) == {f"{bucket.url}/in/put"}
    assert b"<html" in bucket.get("in/put/out/" + results["s3"]["report"].partition("out/")[2])
    again = ScanConfig(
        source=f"{bucket.url}/in/put", output=f"{bucket.url}/in/put/out", model="tiny"
    )
    assert scan(again, registry=tiny_registry)["judged"] == 0


def test_named_failures_of_single_objects(
    run: Callable[..., Json], bucket: Bucket, proxy: Proxy, without_pauses: None
):
    names = [key for key in bucket.keys("in/") if not key.startswith("in/below")]
    faults = {
        names[0]: Fault(403, "AccessDenied"),
        names[1]: Fault(404, "NoSuchKey"),
        names[2]: Fault(503, "SlowDown"),
        names[3]: Fault(500, "InternalError"),
        names[4]: Fault(),
        names[5]: Fault(cut_after=400),
        names[6]: Fault(403, "InvalidObjectState"),
    }
    bucket.put("in/zzz-archived.jpg", make_picture(1), StorageClass="DEEP_ARCHIVE")
    asked = Counter[str]()

    def fault(method: str, path: str, query: str) -> Fault | None:
        key = path.removeprefix(f"/{bucket.name}/")
        asked[key] += method == "GET"
        return faults.get(key)

    proxy.faults = fault
    result = run()
    found = rows(bucket, result)
    codes = dict(zip(found["image"].to_pylist(), found["failure"].to_pylist(), strict=True))
    assert [codes[name.removeprefix("in/")] for name in names[:8]] == [
        "read.denied",
        "read.not_found",
        "read.failed",
        "read.failed",
        "read.failed",
        "read.failed",
        "read.archived",
        None,
    ]
    assert codes["zzz-archived.jpg"] == "read.archived"
    assert asked["in/zzz-archived.jpg"] == 0
    # Once more than its attempts: the quick way is tried first.
    assert [asked[name] for name in names[:3]] == [2, 2, 6]
    assert asked[names[7]] >= 1
    details = {detail for detail in found["detail"].to_pylist() if detail}
    assert "the store answers SlowDown" in details
    assert not any("s3://" in detail or "/" in detail for detail in details)
    # What could not be read is tried again the next time, and nothing else.
    proxy.faults = lambda method, path, query: None
    assert run(run_id="next")["judged"] == 7


def test_what_passes_is_tried_again(
    run: Callable[..., Json], bucket: Bucket, proxy: Proxy, without_pauses: None
):
    """Every request fails at first; of each second one the answer is lost on its way."""
    seen = Counter[str]()

    def fault(method: str, path: str, query: str) -> Fault | None:
        seen[method + path + query] += 1
        kinds = [Fault(503, "SlowDown"), Fault(cut_after=0)]
        return kinds[len(seen) % 2] if seen[method + path + query] == 1 else None

    proxy.faults = fault
    result = run()
    assert (result["judged"], result["failed"]) == (COUNT, 0)
    latest = pq.read_table(pa.BufferReader(bucket.get(f"out/{LATEST}")))
    assert latest.num_rows == COUNT


def after_first_shard(action: Callable[[], None]) -> Any:
    def commit(plan: Plan, judge: ShardJudge, index: int, notify: Notify) -> Json:
        facts = commit_shard(plan, judge, index, notify)
        if index == 0:
            action()
        return facts

    return commit


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(403, "ExpiredToken"), r"credentials are not accepted \(ExpiredToken\).*--run-id r"),
        (Fault(404, "NoSuchBucket"), "not there any more.*--run-id r"),
        (Fault(), "32 reads in a row failed.*--run-id r"),
    ],
)
def test_an_outage_stops_the_run_and_a_resume_finishes_it(
    run: Callable[..., Json],
    bucket: Bucket,
    proxy: Proxy,
    without_pauses: None,
    fault: Fault,
    words: str,
):
    def begin() -> None:
        # The output still answers: only the source is in trouble.
        proxy.faults = lambda method, path, query: fault if "/in/" in path else None

    with pytest.raises(SourceOutage, match=words):
        run(shard_size=4, commit=after_first_shard(begin), batch_size=4)
    assert not bucket.keys("out/verdicts/")
    proxy.faults = lambda method, path, query: None
    result = run(shard_size=4)
    assert result["listed"] == COUNT == result["judged"] + result["failed"]
    # Nothing of the outage was committed, though the shards are small.
    assert failures(bucket, result) == {None: COUNT}


def test_a_store_that_vanishes_while_results_are_written(
    run: Callable[..., Json], bucket: Bucket, proxy: Proxy, without_pauses: None
):
    def begin() -> None:
        proxy.faults = lambda method, path, query: Fault() if method == "PUT" else None

    with pytest.raises(OutputLost, match="--run-id"):
        run(commit=after_first_shard(begin))
    proxy.faults = lambda method, path, query: None
    assert run()["judged"] == COUNT


def test_the_source_cannot_be_listed(
    run: Callable[..., Json], bucket: Bucket, proxy: Proxy, without_pauses: None
):
    for fault, error in [
        (Fault(503, "SlowDown"), SourceOutage),
        (Fault(403, "AccessDenied"), SourceError),
        (Fault(403, "ExpiredToken"), SourceError),
    ]:
        proxy.faults = lambda method, path, query, fault=fault: fault
        with pytest.raises(error, match="cannot list"):
            open_storage(f"{bucket.url}/in").list_files()


def test_pages_are_read_one_after_the_other(bucket: Bucket, proxy: Proxy):
    """Also names that some stores keep apart: slashes in a row, markers of folders."""
    pages = {
        "": (["p/", "p//a.jpg", "p/dir/", "p/b.jpg", "p/.hidden/c.jpg"], "next"),
        "next": (["p/d.jpg", "p/dir//", "p/e&.jpg"], ""),
    }

    def fault(method: str, path: str, query: str) -> Fault | None:
        token = query.partition("continuation-token=")[2].partition("&")[0]
        keys, following = pages[token]
        entries = "".join(
            f"<Contents><Key>{key.replace('&', '%26')}</Key><Size>1</Size><ETag>e</ETag>"
            "<LastModified>2026-11-25T00:00:00.000Z</LastModified></Contents>"
            for key in keys
        )
        more = f"<NextContinuationToken>{following}</NextContinuationToken>" if following else ""
        body = (
            f"<ListBucketResult><EncodingType>url</EncodingType>{entries}{more}"
            f"<IsTruncated>{str(bool(following)).lower()}</IsTruncated></ListBucketResult>"
        )
        return Fault(200, body=body.encode())

    proxy.faults = fault
    storage = open_storage(f"{bucket.url}/p")
    assert storage.list_files().paths == ["/a.jpg", "b.jpg", "d.jpg", "e&.jpg"]
    asked = []

    def keep(method: str, path: str, query: str) -> Fault:
        asked.append(path)
        return Fault(200, body=b"x")

    proxy.faults = keep
    storage.read("/a.jpg")
    assert asked == [f"/{bucket.name}/p//a.jpg"]


def test_a_restored_object_is_read(bucket: Bucket, proxy: Proxy):
    body = (
        "<ListBucketResult><Contents><Key>p/a.jpg</Key><Size>1</Size><ETag>e</ETag>"
        "<LastModified>2026-11-25T00:00:00.000Z</LastModified><StorageClass>GLACIER</StorageClass>"
        "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>"
        "<RestoreExpiryDate>2026-12-25T00:00:00.000Z</RestoreExpiryDate></RestoreStatus>"
        "</Contents></ListBucketResult>"
    )
    bucket.put("p/a.jpg", b"content")
    proxy.faults = lambda method, path, query: (
        Fault(200, body=body.encode()) if "list-type" in query else None
    )
    storage = open_storage(f"{bucket.url}/p")
    assert storage.list_files().paths == ["a.jpg"]
    assert storage.read("a.jpg") == b"content"


def test_a_store_without_conditional_writes(
    bucket: Bucket, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
):
    storage = open_storage(f"{bucket.url}/out")
    real, conditions = storage._call, []

    def call(method: str, **arguments: Any) -> Any:
        if "IfNoneMatch" in arguments or "IfMatch" in arguments:
            conditions.append(method)
            raise Unconditional
        return real(method, **arguments)

    monkeypatch.setattr(storage, "_call", call)
    for count in (1, 2):
        storage.update("a", appended(b"1"))
        assert bucket.get("out/a") == b"1" * count
    # It is asked once.
    assert conditions == ["put_object"]
    proxy.faults = lambda method, path, query: Fault(501, "NotImplemented")
    with pytest.raises(OutputLost, match="not implemented"):
        storage.put("a", b"")


def test_profile_and_requester_pays_by_configuration_alone(
    bucket: Bucket, environment: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = environment.environment()
    for name in settings:
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text(
        f"[night]\naws_access_key_id = {settings['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {SECRET}\n"
    )
    (tmp_path / "config").write_text(
        f"[profile night]\nregion = us-east-1\nendpoint_url = {settings['AWS_ENDPOINT_URL']}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "night")
    import fsspec

    monkeypatch.setitem(fsspec.config.conf, "s3", {"requester_pays": True})
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    storage = open_storage(f"{bucket.url}/a")
    storage.put("b", b"1")
    assert storage.read("b") == b"1"
    assert storage._fs.req_kw == {"RequestPayer": "requester"}


def test_credentials_that_expire_are_renewed_while_they_are_used(
    bucket: Bucket, environment: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A profile whose program gives credentials for five minutes, less than a client waits for."""
    settings = environment.environment()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    asked = tmp_path / "asked"
    program = tmp_path / "credentials.py"
    program.write_text(
        "import datetime as dt, json\n"
        f"open({str(asked)!r}, 'a').write('x')\n"
        "until = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)\n"
        f"keys = {{'AccessKeyId': {settings['AWS_ACCESS_KEY_ID']!r}}}\n"
        f"keys |= {{'SecretAccessKey': {SECRET!r}, 'Expiration': until.isoformat()}}\n"
        "print(json.dumps({'Version': 1, **keys}))\n"
    )
    (tmp_path / "config").write_text(
        f"[profile short]\ncredential_process = {sys.executable} {program}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "short")
    import fsspec

    fsspec.get_filesystem_class("s3").clear_instance_cache()
    storage = open_storage(f"{bucket.url}/a")
    storage.put("b", b"1")
    before = len(asked.read_text())
    assert storage.read("b") == b"1"
    storage.put("b", b"2")
    assert len(asked.read_text()) > before >= 1


def test_an_error_that_makes_no_sense_is_a_named_failure(
    bucket: Bucket, proxy: Proxy, without_pauses: None
):
    nested = b"<Error><Code><Inner>x</Inner></Code></Error>"
    proxy.faults = lambda method, path, query: Fault(400, body=nested)
    content, outage = read_or_failure(open_storage(bucket.url), "a.jpg")
    assert isinstance(content, Failure)
    assert (content.code, outage) == ("read.failed", True)
    assert content.detail == "the store's answer cannot be understood"


def test_without_credentials_or_with_wrong_ones(bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    import s3fs

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(SourceError, match="credentials are not accepted") as told:
        open_storage(bucket.url).list_files()
    assert "wrong" not in str(told.value)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    # Nothing has to be cleared: after a refusal the environment is read again.
    with pytest.raises(SourceError, match="there are no credentials"):
        open_storage(bucket.url).list_files()


def test_the_secret_is_seen_nowhere(
    bucket: Bucket,
    image_folder: Callable[..., Path],
    proxy: Proxy,
    tiny_registry: Path,
    capfd: pytest.CaptureFixture[str],
    without_pauses: None,
):
    bucket.fill(image_folder(6), "in")
    arguments = ["scan", f"{bucket.url}/in", "--output", f"{bucket.url}/out", "--model", "tiny"]
    arguments += ["--run-id", RUN, "--registry", str(tiny_registry)]
    leak = Fault(503, "SlowDown", message=f"you sent {SECRET}")
    proxy.faults = lambda method, path, query: leak if path.endswith("0001.jpg") else None
    assert cli.main(arguments) == 0
    proxy.faults = lambda method, path, query: Fault(400, "Strange", message=SECRET)
    assert cli.main(["scan", f"{bucket.url}/in", "--output", f"{bucket.url}/o2"]) in (1, 2)
    proxy.faults = lambda method, path, query: None
    printed = capfd.readouterr()
    assert "judged" in printed.out
    assert SECRET not in printed.out + printed.err
    assert "Traceback" not in printed.err
    assert SECRET.encode() not in everything(bucket)
    stored = json.loads(bucket.get(f"out/runs/{RUN}/run.json"))
    assert stored["source"] == f"{bucket.url}/in"


def test_a_url_with_credentials_is_refused():
    with pytest.raises(SourceError, match="holds credentials") as told:
        open_storage(f"s3://key:{SECRET}@bucket/a")
    assert SECRET not in str(told.value)


def test_a_killed_scan_is_resumed(run: Callable[..., Json], bucket: Bucket, tiny_registry: Path):
    config = {"source": f"{bucket.url}/in", "output": f"{bucket.url}/out", "model": "tiny"}
    config |= {"run_id": RUN, "shard_size": 8}
    forks = Forks()
    try:
        order = {"config": config, "registry": str(tiny_registry)}
        forks.start(**order, event="committed", count=2)
        assert forks.wait() == -signal.SIGKILL
        assert len(bucket.keys(f"out/runs/{RUN}/parts/")) == 2
        assert not bucket.keys("out/verdicts/")
    finally:
        forks.close()
    result = run()
    assert (result["listed"], result["judged"]) == (COUNT, COUNT)
    assert len(set(rows(bucket, result)["image"].to_pylist())) == COUNT
    assert pq.read_table(pa.BufferReader(bucket.get(f"out/{LATEST}"))).num_rows == COUNT


def test_a_bucket_that_is_deleted_is_an_outage(bucket: Bucket):
    bucket.put("in/a.jpg", b"x")
    storage = open_storage(f"{bucket.url}/in")
    storage.list_files()
    bucket.delete("in/a.jpg")
    content, outage = read_or_failure(storage, "a.jpg")
    assert isinstance(content, Failure)
    assert not outage
    bucket.remove()
    content, outage = read_or_failure(storage, "a.jpg")
    assert isinstance(content, Failure)
    assert outage

"""Tags on the objects of a bucket: beside those of others, again after a cut, and where denied."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake_core.bench.s3_proxy import Fault, Proxy
from deepfake_core.bench.s3_server import Server
from deepfake_core.errors import BrokenInvariant, UsageError
from deepfake_core.results.run_record import TAG_NAME
from deepfake_core.scanning import scan as scanning
from deepfake_core.scanning import tagging
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.result import ScanResult
from deepfake_core.scanning.scan import scan
from deepfake_core.scanning.tagging import STATES, tag_objects
from deepfake_core.storage.base import Tag, Taggable, Tagged
from deepfake_core.storage.local import LocalStorage
from deepfake_core.storage.opening import open_storage
from tests.support.s3_server import (
    Bucket,
    bucket,
    client,
    environment,
    proxy,
    server,
    without_pauses,
)

__all__ = ["bucket", "environment", "proxy", "server", "without_pauses"]

pytestmark = pytest.mark.processes

COUNT = 12
Run = Callable[..., ScanResult]


@pytest.fixture
def run(bucket: Bucket, image_folder: Callable[..., Path], tiny_registry: Path) -> Run:
    """Scans a folder of the bucket and tags what is in it."""
    bucket.fill(image_folder(COUNT, broken=True), "in")

    def scan_it(told: list[str] | None = None, **settings: Any) -> ScanResult:
        asked = {"source": f"{bucket.url}/in", "output": f"{bucket.url}/out", "model": "tiny"}
        config = ScanConfig(**asked, **({"tag_objects": True, "run_id": "one"} | settings))

        def notify(event: str, facts: Any) -> None:
            if event == "warned" and told is not None:
                told.append(facts["words"])

        return scan(config, registry=tiny_registry, notify=notify)

    return scan_it


def rows(bucket: Bucket, result: ScanResult) -> dict[str, str | None]:
    data = bucket.get(str(result["verdicts"]).partition(bucket.name)[2][1:])
    table = pq.read_table(pa.BufferReader(data))
    return dict(zip(table["image"].to_pylist(), table["label"].to_pylist(), strict=True))


def tags(bucket: Bucket) -> dict[str, str | None]:
    """Ours, of each object below `in`."""
    return {key.removeprefix("in/"): bucket.tags(key).get(TAG_NAME) for key in bucket.keys("in/")}


def test_each_object_says_what_was_found(run: Run, bucket: Bucket):
    result = run()
    labels = rows(bucket, result)
    assert tags(bucket) == {image: STATES[label] for image, label in labels.items()}
    assert {"flagged", "none-found", "failed"} <= set(tags(bucket).values())
    assert result["tags"] is not None
    assert result["tags"] == dict.fromkeys(result["tags"], 0) | {"set": len(labels)}
    record = json.loads(bucket.get("out/runs/one/run.json"))
    assert record["tags"] == result["tags"]
    words = f"{len(labels)} objects bear the tag {TAG_NAME}."
    assert words in bucket.get("out/runs/one/report.html").decode()
    assert words in bucket.get("out/runs/one/summary.md").decode()
    # Nothing is new because of a tag.
    again = run(run_id="two")
    assert (again["judged"], again["skipped"]) == (0, len(labels))


def test_without_the_option_nothing_is_tagged(run: Run, bucket: Bucket):
    assert run(tag_objects=False)["tags"] is None
    assert set(tags(bucket).values()) == {None}


def test_a_folder_of_this_machine_has_no_tags(
    image_folder: Callable[..., Path], tiny_registry: Path, tmp_path: Path
):
    config = ScanConfig(
        source=str(image_folder(2)), output=str(tmp_path / "out"), model="tiny", tag_objects=True
    )
    with pytest.raises(UsageError, match=r"--tag-objects is for images in a bucket of S3"):
        scan(config, registry=tiny_registry)
    assert not (tmp_path / "out").exists()
    assert not isinstance(LocalStorage(tmp_path), Taggable)


def test_the_tags_of_others_stay_and_a_full_object_is_left(run: Run, bucket: Bucket):
    names = bucket.keys("in/")
    ten = {f"other-{number}": "x" for number in range(10)}
    bucket.tag(names[0], {"owner": "press", "class": "a/b:c"})
    bucket.tag(names[1], ten)
    bucket.tag(names[2], {**dict(list(ten.items())[:9]), TAG_NAME: "failed-before"})
    told: list[str] = []
    result = run(told)
    assert bucket.tags(names[0]).items() >= {"owner": "press", "class": "a/b:c"}.items()
    assert TAG_NAME in bucket.tags(names[0])
    assert bucket.tags(names[1]) == ten
    assert len(bucket.tags(names[2])) == 10
    assert bucket.tags(names[2])[TAG_NAME] in STATES.values()
    assert result["tags"] is not None
    assert (result["tags"]["full"], result["tags"]["set"]) == (1, len(names) - 1)
    assert [words for words in told if "1 have as many tags" in words]


def test_what_was_changed_or_removed_meanwhile_is_not_tagged(run: Run, bucket: Bucket):
    run()
    names = bucket.keys("in/")
    store = open_storage(f"{bucket.url}/in")
    assert isinstance(store, Taggable)
    path = names[0].removeprefix("in/")
    assert store.tag(path, Tag(TAG_NAME, "flagged", "another etag")) is Tagged.CHANGED
    assert store.tag("missing.jpg", Tag(TAG_NAME, "flagged", None)) is Tagged.GONE
    assert store.tag(path, Tag("unheard-of", "flagged", None)) is Tagged.SET
    assert store.tag(path, Tag("unheard-of", "flagged", None)) is Tagged.SAME


def test_of_several_versions_the_one_that_was_judged_is_tagged(bucket: Bucket, environment: Server):
    call = client().call_s3
    versioning = {"Status": "Enabled"}
    call("put_bucket_versioning", Bucket=bucket.name, VersioningConfiguration=versioning)
    first, second = (
        call("put_object", Bucket=bucket.name, Key="a", Body=body) for body in (b"1", b"2")
    )
    store = open_storage(bucket.url)
    assert isinstance(store, Taggable)
    assert store.tag("a", Tag(TAG_NAME, "flagged", first["ETag"].strip('"'))) is Tagged.CHANGED
    assert store.tag("a", Tag(TAG_NAME, "uncertain", second["ETag"].strip('"'))) is Tagged.SET
    assert bucket.tags("a") == {TAG_NAME: "uncertain"}
    old = {"Bucket": bucket.name, "Key": "a", "VersionId": first["VersionId"]}
    assert call("get_object_tagging", **old)["TagSet"] == []


def test_what_may_not_be_tagged_is_a_warning_with_its_count(
    run: Run, bucket: Bucket, proxy: Proxy, without_pauses: None
):
    names = bucket.keys("in/")
    faults = {
        names[0]: Fault(403, "AccessDenied"),
        names[1]: Fault(501, "NotImplemented"),
        names[2]: Fault(503, "SlowDown"),
    }
    proxy.faults = lambda method, path, query: (
        faults.get(path.removeprefix(f"/{bucket.name}/")) if "tagging" in query else None
    )
    told: list[str] = []
    result = run(told)
    found = result["tags"]
    assert found is not None
    assert (found["denied"], found["failed"], found["set"]) == (1, 2, len(names) - 3)
    assert result["judged"] > 0
    (words,) = [words for words in told if TAG_NAME in words]
    assert words.endswith("; 1 may not be tagged; 2 could not be tagged")


def test_when_nothing_may_be_tagged_the_rest_is_not_tried(
    run: Run, bucket: Bucket, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tagging, "AT_ONCE", 4)
    asked = Counter[str]()

    def fault(method: str, path: str, query: str) -> Fault | None:
        asked[method] += "tagging" in query
        return Fault(403, "AccessDenied") if "tagging" in query else None

    proxy.faults = fault
    found = run()["tags"]
    assert found is not None
    assert (found["denied"], found["left"]) == (4, len(bucket.keys("in/")) - 4)
    assert asked["GET"] == 4
    assert asked["PUT"] == 0


def test_a_run_that_was_cut_off_sets_the_tags_that_are_missing(
    run: Run, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
):
    class Cut(Exception):
        pass

    def tag_some(source: Taggable, wanted: pa.Table, published: pa.Table) -> None:
        tag_objects(source, wanted.slice(0, 5), published.slice(0, 5))
        raise Cut

    with monkeypatch.context() as cutting:
        cutting.setattr(scanning, "tag_objects", tag_some)
        with pytest.raises(Cut):
            run()
    assert Counter(value is None for value in tags(bucket).values())[False] == 5
    # The option is that of the plan, also where it is not given again.
    found = run(tag_objects=False)["tags"]
    assert found is not None
    assert (found["same"], found["set"]) == (5, len(bucket.keys("in/")) - 5)
    assert None not in tags(bucket).values()


def test_a_suspect_run_tags_nothing(run: Run, bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    count, told = scanning._count, list[str]()

    def suspect(plan: Any, published: pa.Table, seconds: float | None) -> None:
        count(plan, published, seconds)
        plan.run.suspect = True

    monkeypatch.setattr(scanning, "_count", suspect)
    assert run(told)["tags"] is None
    assert set(tags(bucket).values()) == {None}
    assert "the run is suspect, so that no object was tagged" in told


def test_rows_of_other_images_are_not_taken_for_tags(run: Run, bucket: Bucket):
    source = open_storage(f"{bucket.url}/in")
    assert isinstance(source, Taggable)
    listed = pa.table({"image": ["a", "b"], "raw": [None, None], "etag": [None, None]})
    published = pa.table({"image": ["b", "a"], "label": ["fake", "real"]})
    with pytest.raises(BrokenInvariant):
        tag_objects(source, listed, published)

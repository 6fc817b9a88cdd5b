"""The laws of shards and of the manifest."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deepfake_core.inference.opening import Networks
from deepfake_core.models.bundle import Bundle
from deepfake_core.results.manifest import fingerprint, from_bytes, path_of, to_bytes, unskipped
from deepfake_core.results.store import Results
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.plan import Plan
from deepfake_core.scanning.selection import build_manifest, skip_rest, skip_some
from deepfake_core.storage.listing import Listing
from deepfake_core.storage.local import LocalStorage
from tests.support.runs import a_run

LAWS = settings(max_examples=200, deadline=None, derandomize=True)

NAMES = st.lists(st.text("ab\u00fc\U0001f600/. -", min_size=1), max_size=40, unique=True)


def listing_of(names: list[str]) -> Listing:
    count = len(names)
    return Listing(
        paths=list(names),
        sizes=list(range(count)),
        etags=[f"etag{at}" for at in range(count)],
        modified=[float(at) for at in range(count)],
    )


@LAWS
@given(names=NAMES, data=st.data())
def test_sharding_is_a_partition(names: list[str], data: st.DataObject):
    shard_size = data.draw(st.integers(1, 45))
    limit = data.draw(st.none() | st.integers(1, 45))
    config = ScanConfig(source="images", limit=limit)
    listed = build_manifest(listing_of(names))
    plan = Plan(
        config=config,
        source=LocalStorage(Path("images")),
        results=Results(LocalStorage(Path("out"))),
        networks=Networks(Bundle(Path("bundle"), None, ""), "fp32"),
        run=a_run(shard_size=shard_size),
        manifest=skip_some(listed, config, np.zeros(len(listed), bool)),
    )
    shards = [plan.shard(index)["image"].to_pylist() for index in range(plan.shards)]
    wanted = sorted(names, key=str.encode)[:limit]
    assert [name for shard in shards for name in shard] == wanted
    assert all(len(shard) == shard_size for shard in shards[:-1])
    assert all(shards)


@LAWS
@given(names=NAMES, judged=st.integers(0, 45))
def test_what_a_run_had_no_time_for_is_skipped(names: list[str], judged: int):
    rest = skip_rest(build_manifest(listing_of(names)), judged)
    assert unskipped(rest)["image"].to_pylist() == sorted(names, key=str.encode)[:judged]
    assert rest["skip"].null_count == min(judged, len(names))


@LAWS
@given(names=st.lists(st.binary(min_size=1, max_size=6), max_size=10, unique=True))
def test_any_name_is_listed_and_can_be_read_again(names: list[bytes]):
    assume(not any(b"\0" in name for name in names))
    paths = [name.decode("utf-8", "surrogateescape") for name in names]
    stored = from_bytes(to_bytes(build_manifest(listing_of(paths))))
    assert sorted(path_of(row) for row in stored.to_pylist()) == sorted(paths)
    images = stored["image"].to_pylist()
    assert images == sorted(images, key=str.encode)
    assert len(set(images)) == len(names)


def test_names_that_are_escaped_alike_are_told_apart():
    paths = [os.fsdecode(b"a\xff"), "a\\xff", "b", os.fsdecode(b"c\xff"), "a\\\\xff"]
    for order in (paths, paths[::-1]):
        rows = build_manifest(listing_of(order)).to_pylist()
        named = {path_of(row): row["image"] for row in rows}
        escaped = {paths[0]: r"a\\\\xff", paths[3]: r"c\xff"}
        assert named == {path: escaped.get(path, path) for path in paths}


def test_what_is_known_is_skipped_unless_all_is_judged_again():
    listed = build_manifest(listing_of(["a", "b", "c", "d"]))
    known = np.array([True, False, False, False])
    config = ScanConfig(source="images")
    assert skip_some(listed, config, known)["skip"].to_pylist() == ["known", None, None, None]
    full = ScanConfig(source="images", full=True)
    assert skip_some(listed, full, known)["skip"].null_count == 4


@pytest.mark.parametrize(
    ("column", "value"),
    [("paths", "other"), ("paths", "aetag0"), ("sizes", 7), ("etags", "other"), ("etags", None)],
)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_the_fingerprint_changes_with_every_image(column: str, value: Any, position: int):
    names = ["a", "b", "c"]
    before = fingerprint(build_manifest(listing_of(names)))
    changed = listing_of(names)
    getattr(changed, column)[position] = value
    assert fingerprint(build_manifest(changed)) != before
    assert fingerprint(build_manifest(listing_of(names[:position]))) != before


def test_the_fingerprint_is_of_the_list_and_not_of_its_order_or_scope():
    expected = fingerprint(build_manifest(listing_of(["a", "b", "c"])))
    listing = listing_of(["a", "b", "c"])
    for column in (listing.paths, listing.sizes, listing.etags, listing.modified):
        column.reverse()
    listed = build_manifest(listing)
    assert fingerprint(listed) == expected
    assert fingerprint(skip_rest(listed, 1)) == expected

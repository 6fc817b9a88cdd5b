"""The laws of scores, labels, shards, verdict rows and the manifest."""

import datetime as dt
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from deepfake_core.errors import BrokenInvariant
from deepfake_core.models.bundle import Bundle
from deepfake_core.models.decision import Calibration, Thresholds, calibrate, decide
from deepfake_core.records import Float32Array, Label
from deepfake_core.release.calibration import choose_calibration, decide_most
from deepfake_core.results.manifest import fingerprint, from_bytes, path_of, to_bytes, unskipped
from deepfake_core.results.schema import COLUMNS, VERDICTS, validate
from deepfake_core.results.store import Results
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.plan import Plan
from deepfake_core.scanning.selection import build_manifest, skip_rest, skip_some
from deepfake_core.storage.listing import Listing
from deepfake_core.storage.local import LocalStorage

LAWS = settings(max_examples=200, deadline=None, derandomize=True)
FLOAT32 = st.floats(width=32, allow_nan=False)
LOGITS = st.lists(FLOAT32, max_size=30)
CURVES = st.builds(Calibration, temperature=st.floats(0.01, 100), offset=st.floats(-100, 100))
UNIT = st.floats(0, 1)


def float32(values: list[float]) -> Float32Array:
    return np.array(values, dtype=np.float32)


@LAWS
@given(logits=LOGITS, curve=CURVES)
def test_scores_are_probabilities_that_rise_with_the_logit(logits: list[float], curve: Calibration):
    scores = calibrate(float32(sorted(logits)), curve)
    assert scores.dtype == np.float32
    assert len(scores) == len(logits)
    assert np.all((scores >= 0) & (scores <= 1))
    assert np.all(np.diff(scores) >= 0)


@LAWS
@given(curve=CURVES)
def test_extreme_logits_are_certain(curve: Calibration):
    largest = float(np.finfo(np.float32).max)
    logits = float32([-math.inf, -largest, largest, math.inf])
    assert calibrate(logits, curve).tolist() == [0, 0, 1, 1]


@LAWS
@given(logit=st.floats(-20, 20, width=32))
def test_the_curve_is_the_logistic_function(logit: float):
    curve = Calibration(temperature=2.0, offset=0.5)
    expected = 1 / (1 + math.exp(-(logit - 0.5) / 2))
    assert calibrate(float32([logit]), curve)[0] == pytest.approx(expected, rel=1e-6)
    assert calibrate(float32([0.5]), curve)[0] == 0.5


@LAWS
@given(scores=st.lists(UNIT, max_size=30), bounds=st.tuples(UNIT, UNIT))
def test_labels_follow_from_scores_in_order(scores: list[float], bounds: tuple[float, float]):
    thresholds = Thresholds(real_below=min(bounds), fake_from=max(bounds))
    stored = float32(scores)
    labels = decide(stored, thresholds)
    assert len(labels) == len(scores)
    for score, label in zip(stored, labels, strict=True):
        if score >= np.float32(thresholds.fake_from):
            assert label is Label.FAKE
        elif score < np.float32(thresholds.real_below):
            assert label is Label.REAL
        else:
            assert label is Label.UNCERTAIN
    rank = {Label.REAL: 0, Label.UNCERTAIN: 1, Label.FAKE: 2}
    ranked = [rank[label] for label in decide(np.sort(stored), thresholds)]
    assert ranked == sorted(ranked)


@LAWS
@given(threshold=st.floats(0.001, 0.999))
def test_fake_begins_at_its_threshold_and_real_ends_below_its_own(threshold: float):
    at = np.float32(threshold)
    below = np.nextafter(at, np.float32(0))
    above = np.nextafter(at, np.float32(1))
    one = Thresholds(real_below=threshold, fake_from=threshold)
    assert decide(np.array([below, at, above]), one) == [Label.REAL, Label.FAKE, Label.FAKE]
    two = Thresholds(real_below=threshold, fake_from=1)
    assert decide(np.array([below, at]), two) == [Label.REAL, Label.UNCERTAIN]


@pytest.mark.parametrize(
    "bounds", [(0.6, 0.4), (-0.1, 0.5), (0.5, 1.1), (math.nan, 0.5), (0.5, math.nan)]
)
def test_thresholds_out_of_order_or_range_are_refused(bounds: tuple[float, float]):
    with pytest.raises(ValidationError):
        Thresholds(real_below=bounds[0], fake_from=bounds[1])


@pytest.mark.parametrize("temperature", [0, -1, math.nan])
def test_a_curve_must_rise(temperature: float):
    with pytest.raises(ValidationError):
        Calibration(temperature=temperature)


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
        bundle=Bundle(Path("bundle"), None, ""),
        run={"shard_size": shard_size},
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


OK = {
    "image": "a.jpg",
    "source": "/images",
    "etag": "1-2",
    "sha256": "0" * 64,
    "bytes": 1,
    "status": "ok",
    "failure": None,
    "detail": None,
    "format": "JPEG",
    "width": 1,
    "height": 1,
    "logit": 0.0,
    "score": 0.5,
    "label": "uncertain",
    "model_id": "tiny@1+00000000",
    "run_id": "r",
    "run_started": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
}
NO_VERDICT = {"logit": None, "score": None, "label": None}
REFUSED = {**OK, **NO_VERDICT, "label": "not_applicable", "reason": "no_face"}
UNSTABLE = {**OK, "reason": "unstable"}
FAILED = {**OK, **NO_VERDICT, "status": "failed", "failure": "decode.corrupt"}
LOOSE = pa.schema([field.with_nullable(True) for field in VERDICTS])


def table_of(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=LOOSE)


def test_rows_that_obey_the_laws_pass():
    validate(table_of(OK, FAILED, {**OK, "etag": None}, REFUSED, UNSTABLE))
    validate(VERDICTS.empty_table())


@pytest.mark.parametrize(
    ("row", "law"),
    [
        ({**OK, "status": "maybe"}, "neither ok nor failed"),
        ({**OK, "status": None}, "neither ok nor failed"),
        ({**OK, "failure": "decode.corrupt"}, "an ok row has a failure code"),
        ({**FAILED, "failure": None}, "a failed row has no failure code"),
        ({**OK, "label": None}, "an ok row lacks its label"),
        ({**OK, "label": "human"}, "a label is none of the labels"),
        *[({**OK, name: None}, f"a judged row lacks its {name}") for name in ("logit", "score")],
        *[({**FAILED, name: OK[name]}, f"a failed row has {name}") for name in NO_VERDICT],
        *[
            ({**REFUSED, name: OK[name]}, f"a row that is not applicable has a {name}")
            for name in ("logit", "score")
        ],
        ({**REFUSED, "reason": None}, "a row that is not applicable has no reason"),
        ({**OK, "reason": "no_face"}, "a judged row has a reason not to be"),
        ({**UNSTABLE, "label": "fake"}, "an unstable row is not uncertain"),
        ({**OK, "score_low": -0.1}, "a score_low lies outside 0 to 1"),
        *[
            ({**OK, name: None}, f"a row lacks its {name}")
            for name, _, null, _ in COLUMNS
            if null == "never" and name != "status"
        ],
    ],
)
def test_a_row_that_breaks_a_law_is_refused(row: dict[str, Any], law: str):
    with pytest.raises(BrokenInvariant, match=f"{law} \\(1 of 3 rows\\)"):
        validate(table_of(OK, row, FAILED))


def test_other_columns_or_types_are_refused():
    good = table_of(OK)
    at = VERDICTS.get_field_index("score")
    wide = good.set_column(at, "score", good["score"].cast(pa.float64()))
    for bad in (good.drop(["detail"]), good.append_column("more", good["image"]), wide):
        with pytest.raises(BrokenInvariant, match="columns differ"):
            validate(bad)


def test_an_offset_is_fitted_only_where_it_helps_on_images_left_out():
    rng = np.random.default_rng(0)
    fake = np.arange(1000) % 2 == 0
    groups = [f"group{at // 4}" for at in range(len(fake))]
    centred = float32(rng.normal(np.where(fake, 1.5, -1.5), 2))
    found = choose_calibration(centred - 3, fake, groups)
    assert found.offset == pytest.approx(-3, abs=0.3)
    # Of a normal logit the curve is known: its slope is the distance over the variance.
    assert found.temperature == pytest.approx(4 / 3, rel=0.15)
    mirrored = np.concatenate([centred, -centred])
    both, twice = np.concatenate([fake, ~fake]), [*groups, *groups]
    assert choose_calibration(mirrored, both, twice).offset == 0


def test_fakes_pass_as_real_only_as_far_as_the_goal_needs():
    rng = np.random.default_rng(1)
    fake = np.arange(4000) % 2 == 0
    scores = calibrate(float32(rng.normal(np.where(fake, 1.3, -1.3), 1)), Calibration())
    limits = {"max_fpr": 0.01, "misses": (0.02, 0.05, 0.08)}
    missed = []
    for goal in (0.0, 0.78, 1.0):
        chosen = decide_most(scores, fake, goal=goal, **limits)
        missed.append(float((scores[fake] < chosen.real_below).mean()))
        assert (scores[~fake] >= chosen.fake_from).mean() <= 0.01
    assert missed == sorted(missed)
    assert missed[0] == pytest.approx(0.02, abs=0.001)
    assert missed[2] == pytest.approx(0.08, abs=0.001)

"""The review console: which pictures come, in which order, and what becomes of decisions."""

import hashlib
import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from deepfake_core.images.thumbnails import thumbnail
from deepfake_core.records import Label
from deepfake_core.results.review_log import ReviewLog, decided, standings
from deepfake_core.serve.page.launch import SCRIPT
from deepfake_core.serve.page.review_pictures import fingerprint, near_identical
from deepfake_core.serve.page.review_queue import (
    CAMERA,
    COSTLY,
    DECLARED,
    HIGHEST,
    RANDOM,
    SILENT,
    Reviewable,
    Wanted,
    expected_cost,
    queue,
    reviewable,
)
from deepfake_core.serve.page.settings import Settings
from deepfake_core.storage.local import LocalStorage
from tests.support.reviewed import RUN, scan_of, smaller

PICTURES = 64


@pytest.fixture
def reports(tmp_path: Path, picture: Callable[..., bytes]) -> Path:
    return scan_of(tmp_path, picture, count=PICTURES)


@pytest.fixture
def reviewed(reports: Path) -> Reviewable:
    (path,) = reports.glob("verdicts/*/*.parquet")
    return reviewable(pq.read_table(path, partitioning=None), RUN)


def test_every_picture_comes_once_the_costliest_first_with_a_random_share_between(
    reviewed: Reviewable,
):
    order = queue(reviewed, Wanted())
    assert sorted(order) == list(range(PICTURES))
    scores = reviewed.judged["score"].to_numpy()
    cost = expected_cost(scores, reviewed.judged["label"].to_pylist())
    costliest = np.argsort(-cost, kind="stable").tolist()
    first = queue(reviewed, Wanted(order=RANDOM))[0]
    assert order[:3] == costliest[:3]
    assert order[3] == (costliest[3] if first in order[:3] else first)


def test_the_random_share_knows_no_filter_and_no_score(reviewed: Reviewable):
    share = queue(reviewed, Wanted(order=RANDOM))
    assert queue(reviewed, Wanted(order=RANDOM, labels=("fake",), folder="a/")) == share
    labels = reviewed.judged["label"].to_pylist()
    assert {labels[at] for at in share[:3]} == {"fake", "uncertain", "real"}
    digests = reviewed.judged["sha256"].to_pylist()
    for label, ordered in reviewed.ordered.items():
        assert [digests[at] for at in share if labels[at] == label] == list(ordered)[:60]


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        (Wanted(labels=("fake",)), lambda row: row["label"] == "fake"),
        (Wanted(folder="a/"), lambda row: row["image"].startswith("a/")),
        (Wanted(claims=(DECLARED,)), lambda row: row["provenance"] is not None),
        (Wanted(claims=(SILENT,)), lambda row: row["provenance"] is None),
        (Wanted(claims=(DECLARED, SILENT)), lambda row: True),
        (Wanted(claims=(CAMERA,)), lambda row: False),
        (Wanted(reasons=("unstable",)), lambda row: False),
        (Wanted(order=HIGHEST, labels=("real", "fake")), lambda row: row["label"] != "uncertain"),
    ],
)
def test_filters_take_what_they_say(
    reviewed: Reviewable, wanted: Wanted, passes: Callable[[dict], bool]
):
    rows = reviewed.judged.to_pylist()
    assert sorted(queue(reviewed, wanted)) == [at for at, row in enumerate(rows) if passes(row)]


def test_the_highest_scores_come_first_where_asked(reviewed: Reviewable):
    scores = reviewed.judged["score"].to_numpy()[queue(reviewed, Wanted(order=HIGHEST))]
    assert (np.diff(scores) <= 0).all()


def test_a_flag_that_is_likely_wrong_costs_most():
    scores = np.array([0.81, 0.99, 0.01, 0.29, 0.5], np.float32)
    labels = [Label.FAKE, Label.FAKE, Label.REAL, Label.REAL, Label.UNCERTAIN]
    cost = expected_cost(scores, labels).tolist()
    assert cost == pytest.approx([0.95, 0.05, 0.01, 0.29, 0.5], abs=1e-6)


def test_the_same_bytes_are_one_picture_and_what_failed_is_none(reviewed: Reviewable):
    rows = reviewed.judged
    failed = rows.slice(0, 1).to_pylist()[0] | {"label": None, "status": "failed", "score": None}
    more = pa.concat_tables([rows, rows, pa.Table.from_pylist([failed], schema=rows.schema)])
    assert reviewable(more, RUN).judged.num_rows == PICTURES


def test_near_identical_pictures_are_one_group(picture: Callable[..., bytes]):
    contents = [picture(1), picture(2), smaller(picture(1)), b"no picture", picture(3)]
    prints = [fingerprint(content) for content in contents]
    assert prints[3] is None
    assert near_identical(prints) == [[0, 2], [1], [3], [4]]
    flat = io.BytesIO()
    Image.new("RGB", (50, 50), "teal").save(flat, "PNG")
    assert fingerprint(flat.getvalue()) is None


def test_boxes_are_drawn_where_the_faces_are():
    stream = io.BytesIO()
    Image.new("RGB", (1000, 500), "white").save(stream, "PNG")
    face = {"x": 500.0, "y": 100.0, "width": 300.0, "height": 300.0, "label": "fake"}
    shown = thumbnail(stream.getvalue(), side=200, faces=[face, face | {"width": 0.0}])
    assert shown is not None
    image = Image.open(io.BytesIO(shown))
    assert image.size == (200, 100)
    red, green, _ = image.getpixel((100, 50))
    assert red > green + 50
    assert image.getpixel((50, 50))[1] > 200
    assert thumbnail(b"no picture", side=200) is None


# The page itself.


@pytest.fixture
def page(reports: Path, tiny_registry: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    settings = Settings("tiny", str(reports), str(tiny_registry))
    monkeypatch.setattr(sys, "argv", [SCRIPT, settings.as_argument()])
    return opened()


def opened() -> AppTest:
    page = AppTest.from_file(SCRIPT, default_timeout=120).run()
    pages = page._registered_pages.items()
    page._page_hash = next(key for key, info in pages if info["url_pathname"] == "review")
    page = page.run()
    assert not page.exception
    return page


def press(page: AppTest, label: str) -> AppTest:
    page = next(one for one in page.button if one.label == label).click().run()
    assert not page.exception
    return page


def text_of(page: AppTest) -> str:
    said = [one.value for kind in ("markdown", "warning", "caption") for one in getattr(page, kind)]
    return "\n".join([*said, *(one.proto.body for one in page.get("html"))])


def test_a_decision_is_kept_and_still_there_after_a_reload(page: AppTest, reports: Path):
    log = ReviewLog(LocalStorage(reports))
    page = press(page, "Generated")
    assert "Write your name first" in text_of(page)
    assert log.lines() == []
    page = page.text_input(key="reviewer").set_value("Ana").run()
    page = press(page, "Generated")
    page = press(page, "A photograph")
    lines = log.lines()
    assert lines[0].decision == "fake"
    assert {line.reviewer for line in lines} == {"Ana"}
    assert {line.run_id for line in lines} == {RUN}
    known = len(standings(lines))
    assert f"**{known}** of {PICTURES}" in text_of(opened())

    page = press(page, "Undo")
    left = standings(log.lines())
    assert len(left) < known
    assert {one.decision for one in left.values()} == {"fake"}
    assert len(log.lines()) > len(lines)


def test_decisions_of_other_runs_on_the_same_bytes_are_inherited(page: AppTest, reports: Path):
    first = hashlib.sha256((reports.parent / "pictures" / "0000.jpg").read_bytes()).hexdigest()
    log = ReviewLog(LocalStorage(reports))
    log.add([decided(first, "real", reviewer="B", run_id="an-earlier-run")])
    assert f"**1** of {PICTURES}" in text_of(page.run())


def test_the_estimates_speak_when_the_random_share_is_decided(page: AppTest, reports: Path):
    assert "unknown yet" in text_of(page)
    page = page.text_input(key="reviewer").set_value("Ana").run()
    page = page.selectbox(key="order").set_value(RANDOM).run()
    for _ in range(4):
        page = press(page, "A photograph")
    assert "reviewed)" in text_of(page)
    assert page.selectbox(key="order").value == RANDOM != COSTLY


def test_the_grid_shows_what_is_decided_and_opens_one(page: AppTest):
    page = page.text_input(key="reviewer").set_value("Ana").run()
    page = press(page, "Cannot tell")
    page = page.get("button_group")[-1].set_value("Grid").run()
    assert not page.exception
    assert "✓ cannot tell" in text_of(page)
    page = press(page, "Open")
    assert next(one for one in page.button if one.label == "Later")


def test_a_source_that_is_gone_is_said(page: AppTest, reports: Path):
    for path in (reports.parent / "pictures").rglob("*.jpg"):
        path.unlink()
    page = page.run()
    page = press(page, "Later")
    assert any("cannot be shown" in one.value for one in page.info)

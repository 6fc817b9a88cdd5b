"""Drift of what comes in: no alarm from a few pictures, no silence from a million."""

from typing import Any

import numpy as np
import pytest

from deepfake_core.reporting.drift import CERTAIN, LIMITS, drift_warnings
from deepfake_core.reporting.input_profile import (
    Bounds,
    count_brightness,
    profile,
    profile_warnings,
)
from deepfake_core.results.schema import VERDICTS
from tests.reporting.test_drift import a_summary
from tests.reporting.test_findings import table
from tests.support.published import row

BOUNDS = Bounds(LIMITS.inputs, LIMITS.min_images, LIMITS.times, CERTAIN * LIMITS.z)


def test_a_profile_counts_what_pictures_are_like():
    face = {"x": 0.0, "y": 0.0, "width": 9.0, "height": 9.0, "size": 100.0, "roll": 0.0,
            "found": 0.9, "score": 0.1, "label": "real"}  # fmt: skip
    rows = [
        row("a", 0.1, "real", width=100, height=300, bytes=7500, faces=[face], faces_found=1),
        row("b", 0.1, "real", width=3000, height=4000, format="PNG", bytes=48_000_000),
        row("c", None, "not_applicable", reason="no_face", faces=[], faces_found=0),
        row("d", None, None, width=None, height=None, format=None),
    ]
    found = profile(table(rows))
    assert found["format"] == {"JPEG": 2, "PNG": 1}
    assert found["shorter side in pixels"] == {"below 64": 1, "64 to 128": 1, "from 2048": 1}
    assert found["size of the face in pixels"] == {"96 to 128": 1}
    assert found["faces in a picture"] == {"below 1": 1, "1 to 2": 1}
    assert sum(found["bits per pixel"].values()) == 3
    assert found["bits per pixel"]["from 8"] == 1
    assert profile(VERDICTS.empty_table()) == {}


def drawn(rng: np.random.Generator, count: int, shares: list[float]) -> dict[str, dict[str, int]]:
    counts = rng.multinomial(count, shares).tolist()
    return {"format": dict(zip(("JPEG", "PNG", "WEBP"), counts, strict=True))}


def warned(now: Any, before: Any) -> list[str]:
    return [one.measure for one in profile_warnings(now, [before], BOUNDS)]


def test_chance_alone_gives_no_alarm():
    rng = np.random.default_rng(1)
    shares = [0.6, 0.3, 0.1]
    for count in (200, 1000, 100_000):
        for _ in range(300):
            assert warned(drawn(rng, count, shares), drawn(rng, 5000, shares)) == []


def test_a_real_change_is_named_with_its_shares():
    rng = np.random.default_rng(2)
    now, before = drawn(rng, 1000, [0.2, 0.7, 0.1]), drawn(rng, 5000, [0.8, 0.1, 0.1])
    (warning,) = profile_warnings(now, [before], BOUNDS)
    assert warning.measure == "inputs: format"
    assert "format " in warning.words
    assert abs(warning.now - warning.before) > 0.5
    # Eight pictures that are all unlike say nothing.
    assert warned({"format": {"PNG": 8}}, before) == []


def test_a_rare_kind_is_told_of_where_there_are_very_many_pictures():
    rng = np.random.default_rng(3)
    now, before = [0.6, 0.36, 0.04], [0.6, 0.385, 0.015]
    million = drawn(rng, 1_000_000, now), drawn(rng, 5_000_000, before)
    (warning,) = profile_warnings(million[0], [million[1]], BOUNDS)
    assert warning.statistic > warning.limit == 8.0
    assert warning.words.endswith("format WEBP: 4 %, and 1.5 % before")
    assert warned(drawn(rng, 400, now), drawn(rng, 5000, before)) == []
    # Not of a thousandth, and not of what grew by a tenth.
    assert warned(drawn(rng, 10**6, [0.6, 0.394, 0.006]), drawn(rng, 10**6, [0.6, 0.4, 0.0])) == []
    assert warned(drawn(rng, 10**6, [0.6, 0.3, 0.1]), drawn(rng, 10**6, [0.64, 0.27, 0.09])) == []


def test_brightness_is_compared_like_the_rest():
    rng = np.random.default_rng(4)
    day, night = (
        {"mean brightness": count_brightness(rng.normal(mean, 30, 300).clip(0, 255).tolist())}
        for mean in (140, 60)
    )
    assert sum(day["mean brightness"].values()) == 300
    (warning,) = profile_warnings(night, [day], BOUNDS)
    assert warning.measure == "inputs: mean brightness"
    assert warning.words.startswith("the pictures are unlike those of the last runs, mean bright")
    assert warned(day, day) == []
    # Runs of earlier versions did not count it.
    assert profile_warnings(night, [{}], BOUNDS) == []


@pytest.mark.parametrize(("count", "measures"), [(1_000_000, ["fakes"]), (1000, [])])
def test_a_small_share_that_doubles_is_told_where_there_are_enough(count: int, measures: list[str]):
    before = a_summary(fakes=count // 1000, judged=count)
    now = a_summary(fakes=3 * count // 1000, judged=count)
    assert [one.measure for one in drift_warnings(now, [before])] == measures


def test_what_is_not_applicable_is_no_failure():
    before = a_summary(judged=1000, failed=0)
    now = a_summary(judged=1000, failed=0, not_applicable=900)
    assert drift_warnings(now, [before]) == []

"""The laws of scores and labels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from deepfake_core.models.decision import Calibration, Thresholds, calibrate, decide
from deepfake_core.records import Float32Array, Label

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

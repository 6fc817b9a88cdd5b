"""The second look goes face by face, and ends when nobody waits for it."""

from concurrent.futures import CancelledError

import numpy as np
import pytest

from deepfake_core.inference.looks import Looks, SecondLook
from deepfake_core.models.bundle import Curve, Precision
from deepfake_core.models.decision import Calibration, Thresholds
from deepfake_core.records import Float32Array, UInt8Array

FACES = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
SIZES = np.full(len(FACES), 128.0)


class BrightnessEngine:
    """An engine whose logit is how bright a face is; it counts the faces of each call."""

    precision: Precision = "fp32"
    lanes = 1

    def __init__(self) -> None:
        self.calls: list[int] = []

    def logits(self, pixels: UInt8Array) -> Float32Array:
        self.calls.append(len(pixels))
        return pixels.mean((1, 2, 3), dtype=np.float32)


def two(second: BrightnessEngine, *, line: float = 0.0) -> Looks:
    curve = Curve(calibration=Calibration(), thresholds=Thresholds(real_below=0.2, fake_from=0.8))
    slow = SecondLook("slow@1+0", lambda: second, line=line, calibration=Calibration())
    return Looks(BrightnessEngine(), curve, slow)


def test_each_face_that_goes_on_gets_its_own_logit():
    second = BrightnessEngine()
    scored = two(second, line=0.9).look(FACES, SIZES)
    assert scored.went_on.tolist() == [False, False, False, True, True, True]
    np.testing.assert_array_equal(scored.second[3:], [3, 4, 5])
    assert np.isnan(scored.second[:3]).all()
    assert second.calls == [1, 1, 1]


def test_it_ends_between_two_faces_when_nobody_waits():
    second = BrightnessEngine()
    with pytest.raises(CancelledError):
        two(second).look(FACES, SIZES, stopping=lambda: len(second.calls) == 2)
    assert len(second.calls) == 2

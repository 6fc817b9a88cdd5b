"""Whether the engines that answer agree with the network as it was trained, in Keras."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypedDict

import numpy as np

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.engines.engine import open_engine, processor_precisions
from deepfake_core.inference.cropping import open_cropper, read_crops
from deepfake_core.models.bundle import WEIGHTS_FILE, Bundle, Description, Precision
from deepfake_core.models.decision import calibrate, decide
from deepfake_core.records import Float32Array, Label

# The two engines add in another order; 2e-3 of a logit is 1e-4 of a score for the model that
# ships. The second term is for networks whose logits are large.
MAX_LOGIT_DIFFERENCE, MAX_RELATIVE_DIFFERENCE = 2e-3, 1e-4
# Of bf16 and int8, which passed their own comparison with fp32: scores move a little, and no
# label goes from fake to real or back.
MAX_MEAN_SCORE_GAP = 0.03


class Difference(TypedDict):
    """What a precision says against Keras.

    Attributes:
        images: how many were compared.
        logit: the largest difference of a logit.
        mean_score: the mean difference of a score.
        flips: labels that go from fake to real or back.
    """

    images: int
    logit: float
    mean_score: float
    flips: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """The engines of a bundle against Keras.

    Attributes:
        checked: whether they could be compared.
        reasons: what differs by too much; where nothing was checked, why.
        differences: by precision.
    """

    checked: bool
    reasons: tuple[str, ...]
    differences: Mapping[str, Difference]

    @property
    def passed(self) -> bool:
        """Whether nothing differs by too much; what was not checked passes, with its reason."""
        return not (self.checked and self.reasons)

    def as_json(self) -> dict[str, object]:
        """The result as plain data."""
        return {**asdict(self), "passed": self.passed}


def check_engines(bundle: Bundle, images: Sequence[Labelled]) -> Agreement:
    """Compare what a bundle answers with Keras' answers on real images.

    Args:
        bundle: every precision it is qualified for, that this processor has, is checked.
        images: readable images; a few hundred are enough.

    Returns:
        The outcome; nothing is checked where TensorFlow is not installed, or where the bundle
        holds a network from elsewhere that Keras does not have.
    """
    if WEIGHTS_FILE not in bundle.description.files:
        return Agreement(False, ("the network comes from elsewhere, Keras does not have it",), {})
    if importlib.util.find_spec("tensorflow") is None:
        return Agreement(False, ("TensorFlow is not installed here",), {})
    description = bundle.description
    cropper = open_cropper(description.preprocessing)
    crops = read_crops(cropper, [image.path for image in images])
    pixels = crops.pixels
    reference = open_engine(bundle, kind="keras", precision="fp32").logits(pixels)
    reasons: list[str] = []
    differences: dict[str, Difference] = {}
    for precision in description.precisions:
        if precision in processor_precisions():
            engine = open_engine(bundle, kind="openvino", precision=precision)
            answers = Answers(engine.logits(pixels), reference, crops.sizes)
            difference, wrong = _differ(bundle.description, answers, precision)
            differences[precision] = difference
            reasons += [f"{precision} differs from Keras: {complaint}" for complaint in wrong]
    return Agreement(True, tuple(reasons), differences)


@dataclass(frozen=True, slots=True)
class Answers:
    """What an engine and Keras say of the same faces: float32[N] each, and the faces' sizes."""

    logits: Float32Array
    reference: Float32Array
    sizes: Float32Array


def _differ(
    description: Description, answers: Answers, precision: Precision
) -> tuple[Difference, list[str]]:
    """Each precision is judged by its own curve."""
    curves = description.curve(precision), description.curve("fp32")
    logits, reference = answers.logits, answers.reference
    gap = np.abs(logits - reference)
    scores = [
        calibrate(some, curve.calibration, answers.sizes)
        for some, curve in zip((logits, reference), curves, strict=True)
    ]
    labels = [decide(some, curve.thresholds) for some, curve in zip(scores, curves, strict=True)]
    flips = sum({Label.FAKE, Label.REAL} == set(pair) for pair in zip(*labels, strict=True))
    largest, mean = float(gap.max()), float(np.abs(scores[0] - scores[1]).mean())
    allowed = MAX_LOGIT_DIFFERENCE + MAX_RELATIVE_DIFFERENCE * np.abs(reference)
    wrong = []
    if precision == "fp32" and (gap > allowed).any():
        wrong.append(f"a logit by {largest:.4g}, allowed is {MAX_LOGIT_DIFFERENCE:g}")
    if mean > MAX_MEAN_SCORE_GAP:
        wrong.append(f"scores by {mean:.4f} on average, allowed is {MAX_MEAN_SCORE_GAP:g}")
    if flips:
        wrong.append(f"{flips} labels go from fake to real or back")
    difference: Difference = {
        "images": len(logits),
        "logit": largest,
        "mean_score": mean,
        "flips": flips,
    }
    return difference, wrong

"""From logits to scores, and from scores to labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from deepfake_core.records import Float32Array, Label


class Calibration(BaseModel):
    """A logistic curve from logit to score (Platt 1999; with offset 0, Guo et al. 2017).

    Small faces give other logits than large ones. Where knots are given, temperature and offset
    are those of the face's size: linear between the knots in the logarithm of the size, and
    constant beyond the ends.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(1.0, gt=0, description="What the logit is divided by.")
    offset: float = Field(0.0, description="The logit whose score is one half.")
    first_weight: float = Field(
        0.0,
        description="Share of the first look's logit that is added to the second look's, where "
        "both were taken.",
    )
    sizes: tuple[float, ...] = Field(
        (), description="Sizes of faces in pixels, rising: the knots. None: one curve for all."
    )
    temperatures: tuple[float, ...] = Field((), description="The temperature at each knot.")
    offsets: tuple[float, ...] = Field((), description="The offset at each knot.")

    @model_validator(mode="after")
    def _knots_fit(self) -> Calibration:
        if not len(self.sizes) == len(self.temperatures) == len(self.offsets):
            raise ValueError("sizes, temperatures and offsets must be of one length")
        rising = all(a < b for a, b in zip(self.sizes, self.sizes[1:], strict=False))
        if not rising or any(value <= 0 for value in (*self.sizes, *self.temperatures)):
            raise ValueError("sizes must rise, and sizes and temperatures be above 0")
        return self


class Thresholds(BaseModel):
    """Where the labels begin; between the two a score is uncertain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    real_below: float = Field(ge=0, le=1, description="Scores below this are real.")
    fake_from: float = Field(ge=0, le=1, description="Scores from this on are fake.")

    @model_validator(mode="after")
    def _in_order(self) -> Thresholds:
        if self.real_below > self.fake_from:
            raise ValueError(
                f"real_below ({self.real_below}) must not exceed fake_from ({self.fake_from})"
            )
        return self

    def fake_from_among(self, faces: int) -> float:
        """The score from which one of several faces of a picture is fake.

        A picture of many photographed faces has as many chances of a false alarm. The odds that
        are asked of each face grow with their number (Bonferroni, for a calibrated score), so
        that the promise holds for the picture.

        Args:
            faces: how many faces of the picture are judged, at least 1.
        """
        if faces == 1 or self.fake_from in (0.0, 1.0):
            return self.fake_from
        odds = faces * self.fake_from / (1 - self.fake_from)
        return odds / (1 + odds)


def calibrate(
    logits: Float32Array, calibration: Calibration, sizes: npt.ArrayLike | None = None
) -> Float32Array:
    """The calibrated probability that a face was generated.

    Args:
        logits: float32[N]; positive means fake.
        calibration: the curve fitted on validation data.
        sizes: float[N], pixels; needed where the calibration depends on them.

    Returns:
        float32[N] in [0, 1], rising with the logit.

    Raises:
        ValueError: the calibration depends on the sizes and there are none.
    """
    temperature: float | npt.NDArray[np.float64] = calibration.temperature
    offset: float | npt.NDArray[np.float64] = calibration.offset
    if calibration.sizes:
        if sizes is None:
            raise ValueError("this calibration depends on the size of the face; give the sizes")
        at = np.log(np.maximum(np.asarray(sizes, np.float64), 1.0))
        knots = np.log(calibration.sizes)
        temperature = np.interp(at, knots, calibration.temperatures)
        offset = np.interp(at, knots, calibration.offsets)
    scaled = (logits.astype(np.float64) - offset) / temperature
    # The two branches of the logistic function that cannot overflow.
    small = np.exp(-np.abs(scaled))
    return np.where(scaled >= 0, 1.0 / (1.0 + small), small / (1.0 + small)).astype(np.float32)


def decide(
    scores: Float32Array, thresholds: Thresholds, faces: npt.ArrayLike | int = 1
) -> list[Label]:
    """The label of each score, in order.

    Args:
        scores: float32[N] in [0, 1].
        thresholds: compared in float32, as the scores are stored.
        faces: int[N] or one number: how many faces were judged in the picture of each score.
    """
    counts = np.broadcast_to(np.asarray(faces, np.int64), scores.shape)
    kinds, which = np.unique(counts, return_inverse=True)
    fake_from = np.array([thresholds.fake_from_among(int(kind)) for kind in kinds], np.float32)
    fake = scores >= fake_from[which] if len(kinds) else np.zeros(0, bool)
    real = scores < np.float32(thresholds.real_below)
    labels = np.array([Label.UNCERTAIN, Label.REAL, Label.FAKE], dtype=object)
    chosen: list[Label] = labels[np.where(fake, 2, np.where(real, 1, 0))].tolist()
    return chosen


# The label of a picture is that of its strongest face.
STRENGTH = (Label.FAKE, Label.UNCERTAIN, Label.REAL, Label.NOT_APPLICABLE)


def strongest(labels: Sequence[Label], scores: Sequence[float | None]) -> int:
    """The position of the face that decides: fake before uncertain before real, then by score.

    Args:
        labels: at least one.
        scores: in the same order; None where a face was not judged.
    """

    def order(at: int) -> tuple[int, float]:
        score = scores[at]
        return STRENGTH.index(labels[at]), 1.0 if score is None else -score

    return min(range(len(labels)), key=order)

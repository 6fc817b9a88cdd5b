"""From logits to scores, and from scores to labels."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from deepfake_core.records import Float32Array, Label


class Calibration(BaseModel):
    """A logistic curve from logit to score (Platt 1999; with offset 0, Guo et al. 2017)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(1.0, gt=0, description="What the logit is divided by.")
    offset: float = Field(0.0, description="The logit whose score is one half.")


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


def calibrate(logits: Float32Array, calibration: Calibration) -> Float32Array:
    """The calibrated probability that an image is fake.

    Args:
        logits: float32[N]; positive means fake.
        calibration: the curve fitted on validation data.

    Returns:
        float32[N] in [0, 1], rising with the logit.
    """
    scaled = (logits.astype(np.float64) - calibration.offset) / calibration.temperature
    # The two branches of the logistic function that cannot overflow.
    small = np.exp(-np.abs(scaled))
    return np.where(scaled >= 0, 1.0 / (1.0 + small), small / (1.0 + small)).astype(np.float32)


def decide(scores: Float32Array, thresholds: Thresholds) -> list[Label]:
    """The label of each score, in order.

    Args:
        scores: float32[N] in [0, 1].
        thresholds: compared in float32, as the scores are stored.
    """
    fake = scores >= np.float32(thresholds.fake_from)
    real = scores < np.float32(thresholds.real_below)
    labels = np.array([Label.UNCERTAIN, Label.REAL, Label.FAKE], dtype=object)
    chosen: list[Label] = labels[np.where(fake, 2, np.where(real, 1, 0))].tolist()
    return chosen

"""What a model says of the images that the gate tests it on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepfake_core.datasets.labelled import Labelled, is_fake
from deepfake_core.engines.engine import open_engine
from deepfake_core.evaluation.score_cache import ScoreCache
from deepfake_core.evaluation.scoring import score_tiers
from deepfake_core.inference.cropping import Cropper
from deepfake_core.models.bundle import Bundle
from deepfake_core.models.decision import Thresholds, calibrate
from deepfake_core.records import Float32Array


@dataclass(frozen=True, slots=True)
class Answers:
    """A model's answers to N images.

    Attributes:
        scores: float32[N], NaN where an image shows no face.
        fake: bool[N], the truth.
        thresholds: the model's own, from scores to labels.
    """

    scores: Float32Array
    fake: np.ndarray
    thresholds: Thresholds

    @property
    def shown(self) -> np.ndarray:
        """bool[N], which images were judged."""
        return np.isfinite(self.scores)

    @property
    def called_fake(self) -> np.ndarray:
        """bool[N], which images its own thresholds label fake."""
        return np.asarray(self.scores >= np.float32(self.thresholds.fake_from))

    @property
    def called_real(self) -> np.ndarray:
        """bool[N], which images its own thresholds label real."""
        return np.asarray(self.scores < np.float32(self.thresholds.real_below))

    def of(self, rows: np.ndarray) -> Answers:
        """The answers to some of the images."""
        return Answers(self.scores[rows], self.fake[rows], self.thresholds)


def judge(
    bundle: Bundle,
    images: Sequence[Labelled],
    *,
    cropper: Cropper,
    memory: ScoreCache | None = None,
) -> dict[str, Answers]:
    """A model's answers at fp32 by tier of degradation, in the order of the images.

    Two models are compared on the same crops, whatever each was made for.
    """
    engine = open_engine(bundle, kind="openvino", precision="fp32")
    description, fake = bundle.description, is_fake(list(images))
    scored = score_tiers(engine, images, cropper=cropper, memory=memory)
    judged = {}
    for tier, logits in scored.logits.items():
        scores = calibrate(logits, description.calibration, scored.face_sizes[tier])
        judged[tier] = Answers(scores, fake, description.thresholds)
    return judged

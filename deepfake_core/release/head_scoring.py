"""Several heads of one tower on the same labelled images, each face going through it once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from deepfake_core.datasets.labelled import Labelled, is_fake
from deepfake_core.engines.clip_head import ClipHead
from deepfake_core.errors import SourceError
from deepfake_core.evaluation.scoring import PART, decode_part
from deepfake_core.images.degradations import Degradation
from deepfake_core.inference.cropping import Cropper
from deepfake_core.models.bundle import Precision
from deepfake_core.records import Float32Array
from deepfake_core.release.kept_features import KeptTower
from deepfake_core.release.precision_agreement import Truth


@dataclass(frozen=True, slots=True)
class HeadLogits:
    """What a head says of labelled images.

    Attributes:
        images: N images.
        logits: by precision and tier float32[N], NaN where an image shows no face; at the
            fastest precision, which comes first, every tier, at others images as they are.
    """

    images: Sequence[Labelled]
    logits: Mapping[Precision, Mapping[str, Float32Array]]

    @property
    def fastest(self) -> Precision:
        """The precision at which every tier was scored."""
        return next(iter(self.logits))

    def pooled(self, precision: Precision, rows: np.ndarray) -> tuple[Float32Array, list[Labelled]]:
        """The faces of some images, tier after tier: float32[M], and whose they are.

        Args:
            precision: one of those that were scored.
            rows: bool[N], which images.
        """
        faces = [
            (values, np.flatnonzero(rows & np.isfinite(values)))
            for values in self.logits[precision].values()
        ]
        shown = [self.images[row] for _, kept in faces for row in kept.tolist()]
        return np.concatenate([values[kept] for values, kept in faces]), shown


def truth_of(images: Sequence[Labelled]) -> Truth:
    """What is known of labelled images."""
    fake = is_fake(list(images))
    return Truth(fake, np.ones(len(fake), bool), [image.group_id for image in images])


def score_heads(
    tower: KeptTower,
    heads: Sequence[ClipHead],
    images: Sequence[Labelled],
    *,
    cropper: Cropper,
    tiers: Mapping[str, Degradation],
) -> list[dict[str, Float32Array]]:
    """Score images by each head of a tower.

    Returns:
        By head and tier float32[N], NaN where an image shows no face.

    Raises:
        SourceError: an image cannot be judged.
    """
    scored = [{tier: np.full(len(images), np.nan, np.float32) for tier in tiers} for _ in heads]

    def score_part(start: int) -> None:
        part = decode_part(images[start : start + PART], cropper, tiers)
        for row, failure in part.failures.items():
            raise SourceError(f"{images[start + row].path}: {failure.code}; remove the file")
        for tier, pixels in part.pixels.items():
            rows, features = start + np.array(part.rows[tier]), tower.features(pixels)
            for head, logits in zip(heads, scored, strict=True):
                answers = head.logits(features)
                # It would pass for a picture without a face.
                if not np.isfinite(answers).all():
                    wrong = images[rows[~np.isfinite(answers)][0]].path
                    raise SourceError(f"{wrong}: the network gave no number; remove the file")
                logits[tier][rows] = answers

    with ThreadPoolExecutor(tower.lanes) as lanes:
        for _ in lanes.map(score_part, range(0, len(images), PART)):
            pass
    return scored

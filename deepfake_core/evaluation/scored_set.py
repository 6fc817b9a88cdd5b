"""Labelled images with their scores, and the selections that figures are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from deepfake_core.datasets.labelled import Labelled, is_fake
from deepfake_core.evaluation.document import Counts
from deepfake_core.evaluation.metrics import BoolArray, figures
from deepfake_core.evaluation.score_cache import Scored
from deepfake_core.models.decision import Calibration, Thresholds, calibrate, decide
from deepfake_core.models.figures import Figures
from deepfake_core.records import Float32Array, Label

CLEAN = "clean"
# Names of the classes as they stand in file names, headings and keys.
CLASS_NAMES = {False: "real", True: "fake"}


@dataclass(frozen=True, slots=True)
class ScoredSet:
    """Images that a model gave a score, in every tier.

    Attributes:
        images: N labelled images.
        scores: float32[N] by tier, calibrated; NaN where an image shows no face in a tier, which
            all do as they are.
        sizes: int[N, 2], width and height of the files.
        thresholds: what turns scores into labels.
    """

    images: tuple[Labelled, ...]
    scores: dict[str, Float32Array]
    sizes: np.ndarray
    thresholds: Thresholds

    def shown(self, tier: str) -> BoolArray:
        """bool[N], which images show a face in a tier."""
        return np.isfinite(self.scores[tier])

    @property
    def fake(self) -> BoolArray:
        """The truth, bool[N]."""
        return is_fake(list(self.images))

    @property
    def groups(self) -> list[str]:
        """The group of each image."""
        return [image.group_id for image in self.images]

    @property
    def clean(self) -> Float32Array:
        """The scores of the files as they are."""
        return self.scores[CLEAN]

    @property
    def labels(self) -> list[Label]:
        """The labels of the files as they are."""
        return decide(self.clean, self.thresholds)

    def where(self, keep: BoolArray) -> ScoredSet:
        """The images for which bool[N] is true."""
        images = tuple(self.images[row] for row in np.flatnonzero(keep).tolist())
        scores = {tier: values[keep] for tier, values in self.scores.items()}
        return ScoredSet(images, scores, self.sizes[keep], self.thresholds)

    def figures(self, tier: str = CLEAN) -> Figures:
        """See `deepfake_core.evaluation.metrics.figures`; there must be at least one image."""
        shown = self.shown(tier)
        if not shown.any():
            return {"images": 0, "not_applicable": len(shown)}
        scores = self.scores[tier][shown]
        groups = [group for group, kept in zip(self.groups, shown, strict=True) if kept]
        measured = figures(scores, decide(scores, self.thresholds), self.fake[shown], groups)
        refused = int((~shown).sum())
        return {**measured, "not_applicable": refused} if refused else measured


def count_all(sets: Iterable[ScoredSet]) -> Counts:
    """One figure for everything that was judged: how many labels are right.

    Returns:
        ``images``, ``real``, ``fake``, ``right``, ``wrong`` and ``uncertain``, ``right_real`` and
        ``right_fake`` (counts), and ``right_share`` (0 to 1).
    """
    counts: Counter[str] = Counter()
    for scored in sets:
        for label, fake in zip(scored.labels, scored.fake.tolist(), strict=True):
            truth = Label.FAKE if fake else Label.REAL
            outcome = "uncertain" if label is Label.UNCERTAIN else "wrong"
            outcome = "right" if label == truth else outcome
            counts.update(("images", str(truth), outcome, f"{outcome}_{truth}"))
    return {
        "images": counts["images"],
        "real": counts["real"],
        "fake": counts["fake"],
        "right": counts["right"],
        "wrong": counts["wrong"],
        "uncertain": counts["uncertain"],
        "right_real": counts["right_real"],
        "right_fake": counts["right_fake"],
        "right_share": counts["right"] / max(1, counts["images"]),
    }


def judge(
    images: Sequence[Labelled], scored: Scored, calibration: Calibration, thresholds: Thresholds
) -> ScoredSet:
    """Turn logits into scores; images that failed, or show no face, are left out."""
    keep = np.isfinite(scored.logits[CLEAN])
    keep &= np.array([row not in scored.failures for row in range(len(images))], dtype=bool)
    scores = {
        tier: calibrate(logits[keep], calibration, scored.face_sizes[tier][keep])
        for tier, logits in scored.logits.items()
    }
    kept = tuple(images[row] for row in np.flatnonzero(keep).tolist())
    return ScoredSet(kept, scores, scored.sizes[keep], thresholds)

"""Whether a faster precision is as good as fp32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepfake_core.evaluation.metrics import balanced_accuracy, interval, resamples, tpr_at_fpr
from deepfake_core.models.decision import Calibration, Thresholds, calibrate, decide
from deepfake_core.records import Float32Array, Json, Label

MAX_BALANCED_ACCURACY_LOSS = 0.005
MAX_TPR_LOSS = 0.01


@dataclass(frozen=True, slots=True)
class Reference:
    """What precisions are compared on: fp32 logits with the truth.

    Attributes:
        logits: float32[N] at fp32.
        fake: bool[N].
        groups: N group ids.
        more: fp32 logits of further images, on which labels must not flip either.
    """

    logits: Float32Array
    fake: np.ndarray
    groups: Sequence[str]
    more: Float32Array


def compare_precision(
    reference: Reference,
    logits: Float32Array,
    more: Float32Array,
    calibration: Calibration,
    thresholds: Thresholds,
) -> Json:
    """Compare a precision with fp32 on the same images.

    Args:
        reference: the fp32 side.
        logits: float32[N] of the precision, on the images of `reference.logits`.
        more: likewise for `reference.more`.
        calibration: of the bundle.
        thresholds: of the bundle.

    Returns:
        Losses (fp32 minus precision) with 95 % paired bootstrap intervals over groups, the
        labels that flipped between fake and real, and whether the precision is qualified.
    """
    before, after = calibrate(reference.logits, calibration), calibrate(logits, calibration)
    fake, samples = reference.fake, resamples(reference.groups)

    def accuracy_loss(rows: np.ndarray) -> float:
        return balanced_accuracy(before[rows] >= 0.5, fake[rows]) - balanced_accuracy(
            after[rows] >= 0.5, fake[rows]
        )

    def tpr_loss(rows: np.ndarray) -> float:
        return tpr_at_fpr(before[rows], fake[rows], 0.05) - tpr_at_fpr(
            after[rows], fake[rows], 0.05
        )

    everything = np.arange(len(fake))
    accuracy, tpr = interval(accuracy_loss, samples), interval(tpr_loss, samples)
    all_before = np.concatenate([before, calibrate(reference.more, calibration)])
    all_after = np.concatenate([after, calibrate(more, calibration)])
    flips = _flips(decide(all_before, thresholds), decide(all_after, thresholds))
    return {
        "images": len(fake),
        "images_for_flips": len(all_before),
        "balanced_accuracy_loss": round(accuracy_loss(everything), 5),
        "balanced_accuracy_loss_interval": [round(value, 5) for value in accuracy],
        "tpr_at_5_percent_fpr_loss": round(tpr_loss(everything), 5),
        "tpr_at_5_percent_fpr_loss_interval": [round(value, 5) for value in tpr],
        "largest_score_difference": round(float(np.abs(all_before - all_after).max()), 5),
        "labels_changed": _changed(decide(all_before, thresholds), decide(all_after, thresholds)),
        "flips": flips,
        "qualified": bool(
            accuracy[1] < MAX_BALANCED_ACCURACY_LOSS and tpr[1] < MAX_TPR_LOSS and not flips
        ),
    }


def _flips(before: list[Label], after: list[Label]) -> int:
    """How many labels went from fake to real or back without passing uncertain."""
    certain = {Label.FAKE, Label.REAL}
    return sum(a != b and {a, b} == certain for a, b in zip(before, after, strict=True))


def _changed(before: list[Label], after: list[Label]) -> int:
    return sum(a != b for a, b in zip(before, after, strict=True))

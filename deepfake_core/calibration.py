"""Fit the curve from logit to score, and choose the thresholds."""

from __future__ import annotations

import numpy as np

from deepfake_core.decision import Calibration, Thresholds
from deepfake_core.records import Float32Array

NEWTON_STEPS = 50


def fit_calibration(logits: Float32Array, fake: np.ndarray) -> Calibration:
    """Fit score = 1 / (1 + exp(-(logit - offset) / temperature)), classes weighing alike.

    Args:
        logits: float32[N] of images that the network was not trained on.
        fake: bool[N].

    Returns:
        The curve of least cross-entropy (Platt 1999), found by Newton's method.
    """
    weights = np.where(fake, 0.5 / fake.sum(), 0.5 / (~fake).sum())
    design = np.stack([logits.astype(np.float64), np.ones(len(logits))], axis=1)
    slope_and_shift = np.array([1.0 / max(float(np.std(logits)), 1e-6), 0.0])
    for _ in range(NEWTON_STEPS):
        scores = 1.0 / (1.0 + np.exp(-np.clip(design @ slope_and_shift, -500, 500)))
        gradient = design.T @ (weights * (scores - fake))
        # The small ridge keeps separable data from a slope without end.
        ridge = 1e-6 * np.eye(2)
        hessian = (design * (weights * scores * (1 - scores))[:, None]).T @ design + ridge
        step = np.linalg.solve(hessian, gradient + ridge @ slope_and_shift)
        slope_and_shift -= step
        if np.abs(step).max() < 1e-9:
            break
    slope, shift = slope_and_shift
    if slope <= 0:
        raise ValueError("the logits do not rise with the share of fakes; are labels reversed?")
    return Calibration(temperature=float(1 / slope), offset=float(-shift / slope))


def choose_thresholds(
    scores: Float32Array, fake: np.ndarray, *, max_fpr: float, max_miss: float
) -> Thresholds:
    """The thresholds that decide the most while errors stay below both limits.

    Args:
        scores: float32[N], calibrated.
        fake: bool[N].
        max_fpr: at most this share of the reals may be called fake.
        max_miss: at most this share of the fakes may be called real.

    Returns:
        Thresholds half way between neighbouring scores, so that rounding decides nothing.
    """
    reals, fakes = np.sort(scores[~fake])[::-1], np.sort(scores[fake])
    allowed_real = int(np.floor(max_fpr * len(reals)))
    allowed_fake = int(np.floor(max_miss * len(fakes)))
    highest_real, lowest_fake = float(reals[allowed_real]), float(fakes[allowed_fake])
    above = scores[scores > highest_real]
    below = scores[scores < lowest_fake]
    fake_from = (highest_real + float(above.min())) / 2 if len(above) else 1.0
    real_below = (lowest_fake + float(below.max())) / 2 if len(below) else 0.0
    if real_below > fake_from:
        # The classes are so far apart that the limits overlap: nothing need be uncertain there.
        real_below = fake_from = (real_below + fake_from) / 2
    return Thresholds(real_below=real_below, fake_from=fake_from)

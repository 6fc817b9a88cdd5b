"""Fit the curve from logit to score, and choose the thresholds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from deepfake_core.models.decision import Calibration, Thresholds, calibrate
from deepfake_core.records import Float32Array

NEWTON_STEPS = 50
FOLDS = 5


def choose_calibration(
    logits: Float32Array, fake: np.ndarray, groups: Sequence[str]
) -> Calibration:
    """Fit a temperature alone, or with an offset where that is better on images left out.

    Args:
        logits: float32[N] of images that the network was not trained on.
        fake: bool[N].
        groups: N group ids; a group is left out as a whole.
    """
    fold = np.array([_fold(group) for group in groups])
    losses = {True: 0.0, False: 0.0}
    for left_out in (fold == index for index in range(FOLDS)):
        rest = fake[~left_out]
        if left_out.any() and rest.any() and not rest.all():
            for with_offset in losses:
                curve = fit_calibration(logits[~left_out], rest, with_offset=with_offset)
                of_fold = _losses(logits[left_out], fake[left_out], curve)
                losses[with_offset] += float((of_fold / _of_class(fake)[left_out]).sum())
    return fit_calibration(logits, fake, with_offset=losses[True] < losses[False])


def _fold(group: str) -> int:
    """By the end of the group's hash; its first digit already halves the set."""
    return int(hashlib.sha256(group.encode()).hexdigest()[-8:], 16) % FOLDS


def _of_class(fake: np.ndarray) -> np.ndarray:
    """How many images of the same class there are, for each image."""
    counts: np.ndarray = np.where(fake, fake.sum(), (~fake).sum())
    return counts


def _losses(logits: Float32Array, fake: np.ndarray, curve: Calibration) -> np.ndarray:
    """The cross-entropy of each image."""
    scores = calibrate(logits, curve).astype(np.float64)
    return -np.log(np.maximum(np.where(fake, scores, 1 - scores), 1e-7))


def fit_calibration(
    logits: Float32Array,
    fake: np.ndarray,
    *,
    with_offset: bool = True,
    importance: np.ndarray | None = None,
) -> Calibration:
    """Fit score = 1 / (1 + exp(-(logit - offset) / temperature)), classes weighing alike.

    Args:
        logits: float32[N] of images that the network was not trained on.
        fake: bool[N].
        with_offset: whether the offset is fitted too, or stays 0.
        importance: float64[N], what each image counts within its class; all alike by default.

    Returns:
        The curve of least cross-entropy (Platt 1999), found by Newton's method.
    """
    counts = np.ones(len(fake)) if importance is None else importance
    weights = np.where(fake, 0.5 / counts[fake].sum(), 0.5 / counts[~fake].sum()) * counts
    spread = max(float(np.std(logits)), 1e-6)
    middle = float(np.mean(logits)) if with_offset else 0.0
    ones = np.ones(len(logits)) if with_offset else np.zeros(len(logits))
    design = np.stack([(logits.astype(np.float64) - middle) / spread, ones], axis=1)
    slope, shift = _least_loss(design, fake, weights)
    if slope <= 0:
        raise ValueError(
            "its outputs do not rise with the share of fakes, so it is no better than a coin "
            "(or the labels are reversed)"
        )
    offset = middle - shift * spread / slope
    return Calibration(temperature=float(spread / slope), offset=float(offset))


def _least_loss(design: np.ndarray, fake: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Newton's method; a step that makes the loss worse is halved until it does not."""
    # The small ridge keeps separable data from a slope without end.
    ridge = 1e-6 * np.eye(2)

    def loss(point: np.ndarray) -> float:
        raw = design @ point
        return float(
            (weights * (np.logaddexp(0, raw) - fake * raw)).sum() + point @ ridge @ point / 2
        )

    point = np.zeros(2)
    for _ in range(NEWTON_STEPS):
        scores = 0.5 * (1 + np.tanh(design @ point / 2))
        gradient = design.T @ (weights * (scores - fake)) + ridge @ point
        hessian = (design * (weights * scores * (1 - scores))[:, None]).T @ design + ridge
        step = np.linalg.solve(hessian, gradient)
        while np.abs(step).max() > 1e-9 and loss(point - step) > loss(point):
            step /= 2
        point = point - step
        if np.abs(step).max() < 1e-9:
            break
    return point


def decide_most(
    scores: Float32Array, fake: np.ndarray, *, max_fpr: float, misses: Sequence[float], goal: float
) -> Thresholds:
    """Thresholds that decide the share of images that is the goal, with as few misses as can be.

    Args:
        scores: float32[N], calibrated.
        fake: bool[N].
        max_fpr: at most this share of the reals may be called fake.
        misses: shares of the fakes that may be called real, rising; the first that reaches the
            goal is taken, else the last.
        goal: share of images that should not be uncertain, classes weighing alike.
    """
    for max_miss in misses:
        thresholds = choose_thresholds(scores, fake, max_fpr=max_fpr, max_miss=max_miss)
        decided = (scores >= thresholds.fake_from) | (scores < thresholds.real_below)
        if (decided[fake].mean() + decided[~fake].mean()) / 2 >= goal:
            break
    return thresholds


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

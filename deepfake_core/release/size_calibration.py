"""A calibration that knows how large a face is, and thresholds that hold at every size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from deepfake_core.models.decision import Calibration, Thresholds
from deepfake_core.records import Float32Array
from deepfake_core.release.calibration import (
    choose_calibration,
    choose_thresholds,
    fit_calibration,
)

# Sizes in pixels at which a curve is fitted, and how far, in octaves, its images are taken from.
KNOTS = (40.0, 64.0, 96.0, 144.0, 216.0)
KERNEL_OCTAVES = 0.4
# Of each class, in images that count fully, below which a knot has no curve of its own.
LEAST_WEIGHT = 60.0
# Thresholds must hold in each of these ranges of sizes that has so many images of the class.
RANGES = (0.0, 56.0, 88.0, 128.0, 192.0, np.inf)
LEAST_IMAGES = 200


def calibrate_by_size(
    logits: Float32Array, fake: np.ndarray, groups: Sequence[str], face_sizes: Float32Array
) -> Calibration:
    """Fit a curve at each of some sizes, from the images near it; between them it is linear.

    Args:
        logits: float32[N] of images that the network was not trained on.
        fake: bool[N].
        groups: N group ids.
        face_sizes: float32[N], pixels.

    Returns:
        The curve of all images where the sizes hold too few for one of their own.
    """
    whole = choose_calibration(logits, fake, groups)
    octaves = np.log2(face_sizes.astype(np.float64))
    knots: list[tuple[float, Calibration]] = []
    for size in KNOTS:
        weights = np.exp(-0.5 * ((octaves - np.log2(size)) / KERNEL_OCTAVES) ** 2)
        if min(weights[fake].sum(), weights[~fake].sum()) >= LEAST_WEIGHT:
            knots.append((size, fit_calibration(logits, fake, importance=weights)))
    if len(knots) < 2:
        return whole
    return Calibration(
        temperature=whole.temperature,
        offset=whole.offset,
        sizes=tuple(size for size, _ in knots),
        temperatures=tuple(curve.temperature for _, curve in knots),
        offsets=tuple(curve.offset for _, curve in knots),
    )


def thresholds_for_sizes(
    scores: Float32Array,
    fake: np.ndarray,
    face_sizes: Float32Array,
    *,
    max_fpr: float,
    max_miss: float,
) -> Thresholds:
    """The thresholds that keep to both limits in every range of sizes.

    Args:
        scores: float32[N], calibrated.
        fake: bool[N].
        face_sizes: float32[N], pixels.
        max_fpr: at most this share of the reals may be called fake.
        max_miss: at most this share of the fakes may be called real.
    """
    ranges = [np.ones(len(fake), bool)]
    ranges += [(face_sizes >= low) & (face_sizes < high) for low, high in pairwise(RANGES)]
    by_size = [
        choose_thresholds(scores[rows], fake[rows], max_fpr=max_fpr, max_miss=max_miss)
        for rows in ranges
        if min(fake[rows].sum(), (~fake[rows]).sum()) >= LEAST_IMAGES
    ] or [choose_thresholds(scores, fake, max_fpr=max_fpr, max_miss=max_miss)]
    fake_from = max(limits.fake_from for limits in by_size)
    return Thresholds(
        real_below=min(fake_from, *(limits.real_below for limits in by_size)), fake_from=fake_from
    )

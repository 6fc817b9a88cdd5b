"""From the logits of a network to its curve: calibration and thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepfake_core.errors import ModelError
from deepfake_core.models.bundle import Curve
from deepfake_core.models.decision import calibrate
from deepfake_core.records import Float32Array
from deepfake_core.release.calibration import choose_calibration, decide_most
from deepfake_core.release.size_calibration import calibrate_by_size, thresholds_for_sizes

# Half of the one percent that is promised: a quantile of a few hundred photos is uncertain.
MAX_FPR = 0.005
# More fakes may pass as real only where fewer than the goal would be decided otherwise.
MISSES = (0.05, 0.06, 0.07, 0.08)
DECIDED_GOAL = 0.81
# For a model of faces, whose uncertain ones can be given a second look.
MAX_MISS = 0.02


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of some faces besides their logits.

    Attributes:
        fake: bool[N].
        groups: N group ids.
        sizes: float32[N], pixels.
        by_size: whether the curve depends on the size, as for faces that were found.
    """

    fake: np.ndarray
    groups: Sequence[str]
    sizes: Float32Array
    by_size: bool


def fit_curve(logits: Float32Array, known: Known) -> Curve:
    """Fit calibration and thresholds.

    Args:
        logits: float32[N] of faces that the network was not trained on.
        known: of the same faces.

    Raises:
        ModelError: the logits do not rise with the share of fakes.
    """
    fake = known.fake
    try:
        if known.by_size:
            calibration = calibrate_by_size(logits, fake, known.groups, known.sizes)
        else:
            calibration = choose_calibration(logits, fake, known.groups)
    except ValueError as error:
        raise ModelError(f"the network cannot be calibrated: {error}") from error
    scores = calibrate(logits, calibration, known.sizes)
    if known.by_size:
        thresholds = thresholds_for_sizes(
            scores, fake, known.sizes, max_fpr=MAX_FPR, max_miss=MAX_MISS
        )
    else:
        thresholds = decide_most(scores, fake, max_fpr=MAX_FPR, misses=MISSES, goal=DECIDED_GOAL)
    return Curve(calibration=calibration, thresholds=thresholds)

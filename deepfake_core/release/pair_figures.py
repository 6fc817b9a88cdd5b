"""Faces that two looks judged, and what is measured on those that chose nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deepfake_core.binomial import interval
from deepfake_core.evaluation.metrics import figures, threshold_curve
from deepfake_core.models.bundle import Curve, Precision
from deepfake_core.models.decision import Calibration, calibrate, decide
from deepfake_core.models.pair import PairFigures, Share
from deepfake_core.ranking import auc
from deepfake_core.records import Float32Array, Json

# The set of all faces that chose nothing, as in a bundle's figures.
REPORT = "report"
CLEAN = "clean"


@dataclass(frozen=True, slots=True)
class PairFaces:
    """Faces that both looks judged, none of which either was trained on.

    Attributes:
        first_logits: float32[N], of the first look.
        first_scores: float32[N], calibrated, at the same precision.
        second_logits: float32[N] by the second look's precision.
        face_sizes: float32[N], pixels.
        fake: bool[N].
        families: N names: which generator or which photographs; each of one class.
        tiers: N names: what was done to the picture.
        groups: N group ids.
        chosen: bool[N], which faces choose; the others are reported on.
        aside: bool[N], which faces are no task of the looks: they choose nothing, and are
            reported on by family alone.
    """

    first_logits: Float32Array
    first_scores: Float32Array
    second_logits: Mapping[Precision, Float32Array]
    face_sizes: Float32Array
    fake: np.ndarray
    families: Sequence[str]
    tiers: Sequence[str]
    groups: Sequence[str]
    chosen: np.ndarray
    aside: np.ndarray

    @property
    def choosing(self) -> np.ndarray:
        """bool[N], the faces by which line, calibration and thresholds are chosen."""
        choosing: np.ndarray = self.chosen & ~self.aside
        return choosing


def scores_of_both(
    faces: PairFaces, second_logits: Float32Array, line: float, calibration: Calibration
) -> Float32Array:
    """What a scan would say: float32[N], from both looks where the first sends a face on."""
    both = second_logits + np.float32(calibration.first_weight) * faces.first_logits
    went_on = faces.first_scores >= np.float32(line)
    return np.where(went_on, calibrate(both, calibration, faces.face_sizes), faces.first_scores)


def measure_pair(
    faces: PairFaces, second_logits: Float32Array, line: float, curve: Curve
) -> PairFigures:
    """All figures on the faces that chose nothing: pooled, by tier, and by family.

    Args:
        faces: N of them.
        second_logits: float32[N], at the precision of the curve.
        line: first scores from this on are sent on.
        curve: calibration of both logits, and thresholds.
    """
    reported = ~faces.chosen & ~faces.aside
    went_on = faces.first_scores >= np.float32(line)
    families = np.array(faces.families)
    sets = _sets(faces)

    def measured(at: float) -> dict[str, Json]:
        scores = scores_of_both(faces, second_logits, at, curve.calibration)
        by_set = {name: _figures(faces, scores, rows, curve) for name, rows in sets.items()}
        pooled = threshold_curve(scores[reported], faces.fake[reported])
        return {**by_set, REPORT: {**by_set[REPORT], "curve": pooled}}

    return PairFigures(
        first_auc=round(auc(faces.first_scores[reported], faces.fake[reported]), 4),
        reals_sent_on=_share(went_on[reported & ~faces.fake]),
        fakes_lost=_share(~went_on[reported & faces.fake]),
        sent_on={
            str(name): _share(went_on[reported & (families == name)])
            for name in np.unique(families[reported])
        },
        auto=measured(line),
        all=measured(0.0),
    )


def _sets(faces: PairFaces) -> dict[str, np.ndarray]:
    """bool[N] by name of the set: the faces in it; sets without any are left out."""
    reported = ~faces.chosen & ~faces.aside
    tiers, families = np.array(faces.tiers), np.array(faces.families)
    by_tier = {
        f"{REPORT}_{name}": reported & (tiers == name)
        for name in dict.fromkeys(faces.tiers)
        if name != CLEAN
    }
    by_family = {
        str(name): (families == name) & (reported | faces.aside)
        for name in np.unique(families[reported | faces.aside])
    }
    sets = {REPORT: reported, **by_tier, **by_family}
    return {name: rows for name, rows in sets.items() if rows.any()}


def _figures(faces: PairFaces, scores: Float32Array, rows: np.ndarray, curve: Curve) -> Json:
    at = np.flatnonzero(rows)
    groups = [faces.groups[row] for row in at.tolist()]
    called = decide(scores[at], curve.thresholds)
    return dict(figures(scores[at], called, faces.fake[at], groups))


def _share(which: np.ndarray) -> Share:
    """A count with the exact interval of its share."""
    count, total = int(which.sum()), len(which)
    low, high = interval(count, total)
    return Share(count=count, of=total, low=round(low, 4), high=round(high, 4))

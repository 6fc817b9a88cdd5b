"""Pair a first look with a second: who goes on, and what both together say.

All figures hold where fakes and reals are equally frequent before anything is seen, as those of
the first look do: fakes share one half of the weight, reals the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepfake_core.errors import CandidateRefused
from deepfake_core.models.bundle import Curve, Precision
from deepfake_core.models.decision import Thresholds, calibrate
from deepfake_core.models.pair import Pair
from deepfake_core.records import Float32Array
from deepfake_core.release.calibration import choose_calibration, choose_thresholds
from deepfake_core.release.pair_figures import REPORT, PairFaces, measure_pair, scores_of_both
from deepfake_core.release.size_calibration import calibrate_by_size, thresholds_for_sizes

# The share of all fakes that the first look may keep from the second.
MAX_LOST = 0.01
# Half of the one percent that is promised: a quantile of a few hundred photos is uncertain.
MAX_FPR = 0.005
# Three quarters of the two percent that no tier may exceed, likewise.
MAX_MISS = 0.015
# A family that is missed more often is told of by name; the doubt of all would be the price.
MAX_FAMILY_MISS = 0.03
# So many faces of a family have a say of their own in the thresholds.
LEAST_OF_FAMILY = 150
# The line falls in so many steps at most.
LINE_STEPS = 5
# Shares of the first look's logit that are tried.
FIRST_WEIGHTS = (0.0, 0.03, 0.1, 0.2, 0.4, 0.8)


@dataclass(frozen=True, slots=True)
class PairNames:
    """What is paired.

    Attributes:
        first: sha256 of the first look's bundle.
        first_model_id: for people.
        second: sha256 of the second look's bundle.
    """

    first: str
    first_model_id: str
    second: str


def make_pair(names: PairNames, faces: PairFaces) -> Pair:
    """Choose the line, fit the score of both logits, choose thresholds, and measure them.

    Args:
        names: what is paired.
        faces: of all families and tiers.

    Returns:
        The pair, with figures on the faces that chose nothing.

    Raises:
        CandidateRefused: the second look does not better the first on these faces.
    """
    try:
        line, curves = _fit_curves(faces)
    except ValueError as error:
        raise CandidateRefused(f"the second look is of no use on these faces: {error}") from error
    figures = {
        precision: measure_pair(faces, logits, line, curves[precision])
        for precision, logits in faces.second_logits.items()
    }
    for precision, measured in figures.items():
        if (both := measured.auto[REPORT]["auc"]) <= measured.first_auc:
            raise CandidateRefused(
                f"with the second look at {precision} the AUC is {both:.4f}, with "
                f"{names.first_model_id} alone {measured.first_auc:.4f}; use it alone"
            )
    return Pair(
        first=names.first,
        first_model_id=names.first_model_id,
        second=names.second,
        line=line,
        curves=curves,
        figures=figures,
    )


def choose_line(
    first_scores: Float32Array, fake: np.ndarray, *, max_lost: float = MAX_LOST
) -> float:
    """The highest score below which at most a share of the fakes lies.

    Args:
        first_scores: float32[N] in [0, 1].
        fake: bool[N], at least one.
        max_lost: share of the fakes that may lie below.

    Returns:
        A line half way to the next lower score, so that rounding decides nothing; 0 sends all.
    """
    fakes = np.sort(first_scores[fake])
    kept = float(fakes[int(np.floor(max_lost * len(fakes)))])
    lower = first_scores[first_scores < kept]
    return (kept + float(lower.max())) / 2 if len(lower) else 0.0


def _fit_curves(faces: PairFaces) -> tuple[float, dict[Precision, Curve]]:
    """The line, and calibration and thresholds by precision.

    A face that the first look leaves uncertain goes on: the line is at no threshold above
    `real_below`, which rises as the line falls.
    """
    rows = faces.choosing
    line = choose_line(faces.first_scores[rows], faces.fake[rows])
    curves = _curves_at(faces, line)
    for _ in range(LINE_STEPS):
        lowest = min(curve.thresholds.real_below for curve in curves.values())
        if lowest >= line:
            break
        line, curves = lowest, _curves_at(faces, lowest)
    return line, curves


def _curves_at(faces: PairFaces, line: float) -> dict[Precision, Curve]:
    return {
        precision: _fit_curve(faces, logits, line)
        for precision, logits in faces.second_logits.items()
    }


def _fit_curve(faces: PairFaces, second_logits: Float32Array, line: float) -> Curve:
    rows = np.flatnonzero(faces.choosing)
    fake, groups = faces.fake[rows], [faces.groups[row] for row in rows.tolist()]
    first, second, sizes = faces.first_logits[rows], second_logits[rows], faces.face_sizes[rows]
    weight = choose_first_weight(first, second, fake, groups)
    both = second + np.float32(weight) * first
    calibration = calibrate_by_size(both, fake, groups, sizes).model_copy(
        update={"first_weight": weight}
    )
    scores = scores_of_both(faces, second_logits, line, calibration)[rows]
    families = np.array(faces.families)[rows]
    pooled = thresholds_for_sizes(scores, fake, sizes, max_fpr=MAX_FPR, max_miss=MAX_MISS)
    thresholds = thresholds_for_families(scores, fake, families, pooled)
    return Curve(calibration=calibration, thresholds=thresholds)


def thresholds_for_families(
    scores: Float32Array, fake: np.ndarray, families: np.ndarray, pooled: Thresholds
) -> Thresholds:
    """Thresholds whose limits hold in every family that has enough faces, not on average alone.

    Args:
        scores: float32[N], calibrated.
        fake: bool[N].
        families: N names; a family is of one class.
        pooled: thresholds that hold for all together.
    """
    by_family = [pooled]
    for name in np.unique(families):
        own = families == name
        if own.sum() >= LEAST_OF_FAMILY:
            rows = own | (fake != fake[own][0])
            limits = {"max_fpr": MAX_FPR, "max_miss": MAX_FAMILY_MISS}
            by_family.append(choose_thresholds(scores[rows], fake[rows], **limits))
    fake_from = max(chosen.fake_from for chosen in by_family)
    return Thresholds(
        real_below=min(fake_from, *(chosen.real_below for chosen in by_family)), fake_from=fake_from
    )


def choose_first_weight(
    first: Float32Array, second: Float32Array, fake: np.ndarray, groups: Sequence[str]
) -> float:
    """How much of the first look's logit to add to the second's: what tells the classes best.

    Args:
        first: float32[N], logits of the first look.
        second: float32[N], logits of the second.
        fake: bool[N].
        groups: N group ids.
    """
    losses = {}
    for weight in FIRST_WEIGHTS:
        both = second + np.float32(weight) * first
        losses[weight] = balanced_loss(
            calibrate(both, choose_calibration(both, fake, groups)), fake
        )
    return min(losses, key=lambda weight: losses[weight])


def balanced_loss(scores: Float32Array, fake: np.ndarray) -> float:
    """Mean cross-entropy, classes weighing alike."""
    right = np.where(fake, scores, 1 - scores).astype(np.float64)
    losses = -np.log(np.maximum(right, 1e-7))
    return float((losses[fake].mean() + losses[~fake].mean()) / 2)

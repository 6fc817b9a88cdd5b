"""Whether a model errs more often on some groups of people than on others."""

from __future__ import annotations

import numpy as np

from deepfake_core.evaluation.metrics import BoolArray, figures
from deepfake_core.evaluation.scored_set import ScoredSet
from deepfake_core.models.figures import Figures, Gap, People
from deepfake_core.records import Float32Array, Label
from deepfake_core.resampling import resample_counts

# Fewer images of a class say too little of a group: its rate is shown, but not compared.
LEAST_IMAGES = 20
PERMUTATIONS = 2000
SIGNIFICANCE = 0.05
RATES = {"fpr_at_fake": False, "tpr_at_fake": True}


def fairness(judged: ScoredSet) -> dict[str, People]:
    """Rates by group of people, and the largest gaps between them.

    Args:
        judged: images with labels; `Labelled.people` names their groups.

    Returns:
        By column, the groups with their rates and intervals, and ``gaps`` with the largest
        difference of each rate, its bootstrap interval over groups of images, the p value of a
        permutation test, and whether it is ``found``. Empty without columns.
    """
    columns = sorted({name for image in judged.images for name in image.people})
    limit = SIGNIFICANCE / max(1, len(columns) * len(RATES))
    return {column: _column(judged, column, limit) for column in columns}


def _column(judged: ScoredSet, column: str, limit: float) -> People:
    names = np.array([image.people.get(column, "") for image in judged.images])
    flagged = np.array([label == Label.FAKE for label in judged.labels], dtype=bool)
    return {
        "groups": {
            str(name): _rates(judged.where(names == name)) for name in sorted(set(names) - {""})
        },
        "without_group": int((names == "").sum()),
        "gaps": {
            rate: _gap(flagged[rows], names[rows], np.array(judged.groups)[rows], limit)
            for rate, kind in RATES.items()
            for rows in [(judged.fake == kind) & (names != "")]
        },
    }


def _rates(members: ScoredSet) -> Figures:
    """The shares of each class of one group of people, with the number of images."""
    intervals: dict[str, list[float] | None] = {}
    rates: Figures = {"images": len(members.images), "intervals": intervals}
    reals, fakes = members.where(~members.fake), members.where(members.fake)
    if reals.images:
        of_reals = figures(reals.clean, reals.labels, reals.fake, reals.groups)
        rates["real"], rates["fpr_at_fake"] = len(reals.images), of_reals["fpr_at_fake"]
        intervals["fpr_at_fake"] = of_reals["intervals"]["fpr_at_fake"]
    if fakes.images:
        of_fakes = figures(fakes.clean, fakes.labels, fakes.fake, fakes.groups)
        rates["fake"], rates["tpr_at_fake"] = len(fakes.images), of_fakes["tpr_at_fake"]
        intervals["tpr_at_fake"] = of_fakes["intervals"]["tpr_at_fake"]
    return rates


def _gap(flagged: BoolArray, names: np.ndarray, groups: np.ndarray, limit: float) -> Gap | None:
    """The largest gap of a rate between groups; None where fewer than two can be compared."""
    known, counts = np.unique(names, return_counts=True)
    known = known[counts >= LEAST_IMAGES]
    rows = np.isin(names, known)
    if len(known) < 2:
        return None
    flagged, members = flagged[rows].astype(np.float64), names[rows][:, None] == known
    rates = _rates_of(flagged, members)
    low, high = int(rates.argmin()), int(rates.argmax())
    draws = resample_counts(groups[rows].tolist()).astype(np.float64)
    with np.errstate(invalid="ignore"):
        drawn = (draws @ (flagged[:, None] * members)) / (draws @ members.astype(np.float64))
    differences = drawn[:, high] - drawn[:, low]
    bounds = np.nanpercentile(differences, [2.5, 97.5])
    chance = _chance(flagged, members, groups[rows])
    return {
        "highest": str(known[high]),
        "lowest": str(known[low]),
        "gap": round(float(rates[high] - rates[low]), 4),
        "interval": [round(float(bound), 4) for bound in bounds],
        "p_value": round(chance, 4),
        "limit": round(limit, 4),
        "found": bool(chance < limit and bounds[0] > 0),
    }


def _rates_of(flagged: Float32Array, members: BoolArray) -> np.ndarray:
    return np.asarray((flagged @ members) / members.sum(axis=0))


def _chance(flagged: np.ndarray, members: BoolArray, groups: np.ndarray) -> float:
    """How often names dealt out at random give a gap as large: the largest gap is never zero.

    Whole units change places, a unit being the images of one group of images under one name, so
    that many pictures of one person are no more than one witness.
    """
    kinds = members.argmax(axis=1)
    _, units = np.unique(np.stack([_codes(groups), kinds]), axis=1, return_inverse=True)
    order = np.argsort(units, kind="stable")
    sums = np.bincount(units, flagged)
    sizes = np.bincount(units)
    kind_of_unit = kinds[order][np.cumsum(sizes) - sizes]
    seen = _spread(sums, sizes, kind_of_unit)
    rng = np.random.default_rng(0)
    as_large = sum(
        _spread(sums, sizes, rng.permutation(kind_of_unit)) >= seen - 1e-12
        for _ in range(PERMUTATIONS)
    )
    return float((as_large + 1) / (PERMUTATIONS + 1))


def _codes(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1]


def _spread(sums: np.ndarray, sizes: np.ndarray, kinds: np.ndarray) -> float:
    rates = np.bincount(kinds, sums) / np.maximum(1, np.bincount(kinds, sizes))
    return float(rates.max() - rates.min())

"""How well scores tell fake from real, with intervals that resample groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np

from deepfake_core.models.figures import Figures, ThresholdCurve
from deepfake_core.ranking import auc_of_counts
from deepfake_core.records import Float32Array, Label
from deepfake_core.rendering.figure_intervals import figure_interval
from deepfake_core.resampling import resample_counts

BoolArray = np.ndarray
ECE_BINS = 15
# Elements of one array of resampled counts: 16 MB as float64.
CHUNK_ELEMENTS = 2_000_000
# What is measured on one class alone, by whether it is the fake one.
CLASS_SHARES = {
    True: {
        "tpr_at_fake": Label.FAKE,
        "fakes_uncertain": Label.UNCERTAIN,
        "fakes_called_real": Label.REAL,
    },
    False: {
        "fpr_at_fake": Label.FAKE,
        "reals_uncertain": Label.UNCERTAIN,
        "reals_called_real": Label.REAL,
    },
}


def tpr_at_fpr(scores: Float32Array, fake: BoolArray, fpr: float) -> float:
    """The largest share of fakes found while at most `fpr` of the reals are flagged.

    Not a number where there are no fakes.
    """
    flagged = scores[fake] > line_at(scores[~fake], fpr)
    return float(flagged.mean()) if len(flagged) else math.nan


def line_at(reals: Float32Array, fpr: float) -> float:
    """The lowest score that at most a share of the reals exceeds; minus infinity where all may.

    Args:
        reals: float32[N], scores of reals, in any order.
        fpr: the share.
    """
    allowed = int(np.floor(fpr * len(reals) + 1e-9))
    if allowed >= len(reals):
        return -math.inf
    return float(np.partition(reals, len(reals) - 1 - allowed)[len(reals) - 1 - allowed])


def balanced_accuracy(called_fake: BoolArray, fake: BoolArray) -> float:
    """The mean of the shares of fakes and of reals that were called right.

    Not a number where there is one class only.
    """
    if fake.all() or not fake.any():
        return math.nan
    return float((called_fake[fake].mean() + (~called_fake[~fake]).mean()) / 2)


def expected_calibration_error(
    scores: Float32Array, fake: BoolArray, bins: int = ECE_BINS
) -> float:
    """Mean gap between score and share of fakes over equal bins, both classes weighing alike.

    Naeini et al. 2015; reweighted, so that it holds for as many fakes as reals.
    """
    weights = np.where(fake, 0.5 / fake.sum(), 0.5 / (~fake).sum())
    where = np.minimum((scores * bins).astype(int), bins - 1)
    gap = np.bincount(where, weights * (scores - fake), minlength=bins)
    return float(np.abs(gap).sum())


def threshold_curve(scores: Float32Array, fake: BoolArray) -> ThresholdCurve:
    """What each hundredth as a threshold of `fake` would do, for people who choose their own.

    Args:
        scores: float32[N] in [0, 1].
        fake: bool[N], both classes.

    Returns:
        ``threshold`` (0.01 to 0.99), and the shares of photographs (``fpr``) and of fakes
        (``tpr``) whose score reaches it, three lists of one length.
    """
    lines = np.arange(1, 100, dtype=np.float32) / 100
    return {
        "threshold": [round(float(line), 2) for line in lines],
        "fpr": [round(float((scores[~fake] >= line).mean()), 4) for line in lines],
        "tpr": [round(float((scores[fake] >= line).mean()), 4) for line in lines],
    }


def figures(
    scores: Float32Array, called: Sequence[Label], fake: BoolArray, groups: Sequence[str]
) -> Figures:
    """All figures of scores and labels on one set of images.

    Args:
        scores: float32[N] in [0, 1], N at least 1.
        called: N labels.
        fake: bool[N], the truth.
        groups: N group ids; the bootstrap draws whole groups.

    Returns:
        Each figure, the numbers of images, and under ``intervals`` the 95 % interval of each
        figure (bootstrap; for shares never narrower than the exact one), None where the resamples
        do not hold what it needs. With one class only there are the shares of its labels and
        their counts, under ``labels``, and no ``auc``.
    """
    labels = np.array([str(label) for label in called])
    measure = _one_class if fake.all() or not fake.any() else _both_classes
    values = measure(scores, labels, fake, np.ones((1, len(fake))))
    step = max(1, CHUNK_ELEMENTS // len(fake))
    draws = resample_counts(groups)
    parts = [
        measure(scores, labels, fake, draws[at : at + step].astype(np.float64))
        for at in range(0, len(draws), step)
    ]
    # A lone group has no spread that could be resampled.
    alone = len(set(groups)) == 1
    bounds = {
        name: None if alone else _bounds(np.concatenate([part[name] for part in parts]))
        for name in values
    }
    measured: dict[str, object] = {
        name: round(float(value[0]), 4) for name, value in values.items()
    }
    measured |= {"images": len(fake), "real": int((~fake).sum()), "fake": int(fake.sum())}
    if measure is _one_class:
        measured["labels"] = {str(label): int((labels == label).sum()) for label in Label}
        del measured["real" if fake.all() else "fake"]
    measured["intervals"] = bounds
    widened = {name: figure_interval(measured, name) for name in values}
    measured["intervals"] = {name: ends and _rounded(ends) for name, ends in widened.items()}
    return cast(Figures, measured)


def _rounded(ends: Sequence[float]) -> list[float]:
    return [round(float(end), 4) for end in ends]


def _bounds(values: np.ndarray) -> list[float] | None:
    usable = values[np.isfinite(values)]
    # Where most resamples lack a class, the rest says nothing of the whole.
    if len(usable) < len(values) / 2:
        return None
    return _rounded(np.percentile(usable, [2.5, 97.5]).tolist())


def _share(counts: np.ndarray, of: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The share of rows `of` among rows `among` in each resample; NaN where there are none."""
    rows = among.astype(np.float64)
    totals = counts @ rows
    with np.errstate(invalid="ignore"):
        return np.asarray((counts @ (of * rows)) / totals)


def _one_class(
    scores: Float32Array, labels: np.ndarray, fake: BoolArray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    everyone = np.ones(len(scores))
    shares = {
        name: _share(counts, labels == label, everyone)
        for name, label in CLASS_SHARES[bool(fake.all())].items()
    }
    return {**shares, "decided_share": _share(counts, labels != Label.UNCERTAIN, everyone)}


def _both_classes(
    scores: Float32Array, labels: np.ndarray, fake: BoolArray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    shares = {
        name: _share(counts, labels == label, fake if kind else ~fake)
        for kind, names in CLASS_SHARES.items()
        for name, label in names.items()
    }
    right = _share(counts, scores >= 0.5, fake) + _share(counts, scores < 0.5, ~fake)
    error = (scores.astype(np.float64) - fake) ** 2
    squared = _share(counts, error, fake) + _share(counts, error, ~fake)
    undecided = shares["fakes_uncertain"] + shares["reals_uncertain"]
    return {
        **_ranked(scores, fake, counts),
        "balanced_accuracy": right / 2,
        "ece": _calibration_errors(scores, fake, counts),
        "brier": squared / 2,
        **shares,
        "decided_share": 1 - undecided / 2,
    }


def _calibration_errors(scores: Float32Array, fake: BoolArray, counts: np.ndarray) -> np.ndarray:
    where = np.minimum((scores * ECE_BINS).astype(int), ECE_BINS - 1)
    inside = where[:, None] == np.arange(ECE_BINS)
    error = (scores.astype(np.float64) - fake)[:, None] * inside
    with np.errstate(invalid="ignore"):
        fakes, reals = (
            (counts @ (error * rows[:, None])) / (counts @ rows.astype(np.float64))[:, None]
            for rows in (fake, ~fake)
        )
    return np.asarray(np.abs((fakes + reals) / 2).sum(axis=1))


def _ranked(scores: Float32Array, fake: BoolArray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """The figures that depend on the order of the scores alone, one value per resample."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    counts = counts[:, order]
    # Fakes and reals at or above each distinct score, the highest first.
    hits = np.cumsum(counts * fake[order], axis=1)[:, ends]
    alarms = np.cumsum(counts * ~fake[order], axis=1)[:, ends]
    fakes, reals = hits[:, -1:], alarms[:, -1:]
    with np.errstate(invalid="ignore"):
        recall, fpr = hits / fakes, alarms / reals
        precision = recall / (recall + fpr)
    gained = np.diff(recall, axis=1, prepend=0)
    by_score = (np.diff(ranked, axis=1, prepend=0)[:, ::-1] for ranked in (hits, alarms))
    ranked = {
        "auc": auc_of_counts(*by_score),
        "average_precision": (gained * np.where(gained > 0, precision, 0)).sum(axis=1),
    }
    for percent in (1, 5):
        allowed = alarms <= np.floor(percent / 100 * reals + 1e-9)
        name = f"tpr_at_{percent}_percent_fpr"
        ranked[name] = np.where(allowed, recall, 0).max(axis=1)
    empty = ((fakes == 0) | (reals == 0))[:, 0]
    return {name: np.where(empty, np.nan, values) for name, values in ranked.items()}

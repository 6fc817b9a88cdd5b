"""How well scores tell fake from real, with intervals that resample groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from deepfake_core.records import Float32Array, Json, Label

BoolArray = np.ndarray
RESAMPLES = 1000


def auc(scores: Float32Array, fake: BoolArray) -> float:
    """Area under the ROC curve: how often a fake scores above a real, ties count half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last_rank = np.cumsum(counts)
    mean_rank = last_rank - (counts - 1) / 2
    fakes, reals = int(fake.sum()), int((~fake).sum())
    above = mean_rank[inverse][fake].sum() - fakes * (fakes + 1) / 2
    return float(above / (fakes * reals))


def tpr_at_fpr(scores: Float32Array, fake: BoolArray, fpr: float) -> float:
    """The largest share of fakes found while at most `fpr` of the reals are flagged."""
    reals = np.sort(scores[~fake])[::-1]
    allowed = int(np.floor(fpr * len(reals) + 1e-9))
    if allowed >= len(reals):
        return 1.0
    return float((scores[fake] > reals[allowed]).mean())


def balanced_accuracy(called_fake: BoolArray, fake: BoolArray) -> float:
    """The mean of the shares of fakes and of reals that were called right."""
    return float((called_fake[fake].mean() + (~called_fake[~fake]).mean()) / 2)


def expected_calibration_error(scores: Float32Array, fake: BoolArray, bins: int = 15) -> float:
    """Mean gap between score and share of fakes over equal bins, both classes weighing alike.

    Naeini et al. 2015; reweighted, so that it holds for as many fakes as reals.
    """
    weights = np.where(fake, 0.5 / fake.sum(), 0.5 / (~fake).sum())
    where = np.minimum((scores * bins).astype(int), bins - 1)
    gap = np.bincount(where, weights * (scores - fake), minlength=bins)
    return float(np.abs(gap).sum())


def brier(scores: Float32Array, fake: BoolArray) -> float:
    """Mean squared error of the score, both classes weighing alike."""
    error = (scores - fake) ** 2
    return float((error[fake].mean() + error[~fake].mean()) / 2)


def measures(scores: Float32Array, called: Sequence[Label], fake: BoolArray) -> Json:
    """All figures of scores and labels on one set of images with both classes."""
    labels = np.array([str(label) for label in called])
    return {
        "auc": auc(scores, fake),
        "balanced_accuracy": balanced_accuracy(scores >= 0.5, fake),
        "tpr_at_1_percent_fpr": tpr_at_fpr(scores, fake, 0.01),
        "tpr_at_5_percent_fpr": tpr_at_fpr(scores, fake, 0.05),
        "ece": expected_calibration_error(scores, fake),
        "brier": brier(scores, fake),
        "tpr_at_fake": float((labels[fake] == Label.FAKE).mean()),
        "fpr_at_fake": float((labels[~fake] == Label.FAKE).mean()),
        "fakes_called_real": float((labels[fake] == Label.REAL).mean()),
        "decided_share": float(
            ((labels[fake] != Label.UNCERTAIN).mean() + (labels[~fake] != Label.UNCERTAIN).mean())
            / 2
        ),
    }


def resamples(groups: Sequence[str], *, count: int = RESAMPLES, seed: int = 0) -> list[np.ndarray]:
    """Row numbers of bootstrap samples that draw whole groups with replacement."""
    _, inverse = np.unique(np.array(groups), return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(inverse))[:-1])
    rng = np.random.default_rng(seed)
    return [
        np.concatenate([members[group] for group in rng.integers(len(members), size=len(members))])
        for _ in range(count)
    ]


def interval(
    measure: Callable[[np.ndarray], float], samples: list[np.ndarray]
) -> tuple[float, float]:
    """The 95 % percentile interval of a measure of row numbers over bootstrap samples."""
    low, high = np.percentile([measure(rows) for rows in samples], [2.5, 97.5])
    return float(low), float(high)


def figures(
    scores: Float32Array, called: Sequence[Label], fake: BoolArray, groups: Sequence[str]
) -> Json:
    """`measures` with the number of images, and intervals for each of them."""
    labels = np.array(called, dtype=object)
    samples = resamples(groups)
    over = [measures(scores[rows], labels[rows].tolist(), fake[rows]) for rows in samples]
    values = measures(scores, called, fake)
    bounds = {
        name: [round(float(b), 4) for b in np.percentile([m[name] for m in over], [2.5, 97.5])]
        for name in values
    }
    counts = {"images": len(fake), "real": int((~fake).sum()), "fake": int(fake.sum())}
    return {**{k: round(v, 4) for k, v in values.items()}, **counts, "intervals": bounds}

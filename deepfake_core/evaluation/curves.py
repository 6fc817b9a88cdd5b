"""What the plots and the gallery of an evaluation show, as plain numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepfake_core.evaluation.document import Histogram, Mistake, Reliability, Roc
from deepfake_core.evaluation.metrics import BoolArray
from deepfake_core.evaluation.scored_set import CLASS_NAMES, ScoredSet
from deepfake_core.records import Float32Array

ROC_POINTS = 200
RELIABILITY_BINS = 10
HISTOGRAM_BINS = 25
WORST = 12


def roc(scores: Float32Array, fake: BoolArray) -> Roc:
    """The ROC curve of both classes: rising ``fpr`` and ``tpr``, thinned where it is long.

    The points thin out towards high false positive rates: the low ones are what matters.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    tpr = np.cumsum(fake[order])[ends] / fake.sum()
    fpr = np.cumsum(~fake[order])[ends] / (~fake).sum()
    tpr, fpr = np.append(0, tpr), np.append(0, fpr)
    wanted = np.linspace(0, 1, ROC_POINTS) ** 2
    rows = np.unique(np.append(np.searchsorted(fpr, wanted, side="right") - 1, len(fpr) - 1))
    # The last point before each step keeps the steps upright.
    rows = np.unique(np.concatenate([[0], rows, np.minimum(rows + 1, len(fpr) - 1)]))
    return {"fpr": _rounded(fpr[rows]), "tpr": _rounded(tpr[rows])}


def reliability(scores: Float32Array, fake: BoolArray) -> Reliability:
    """Mean score and share of fakes in equal bins of the score, both classes weighing alike."""
    weights = np.where(fake, 0.5 / fake.sum(), 0.5 / (~fake).sum())
    where = np.minimum((scores * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    count = np.bincount(where, minlength=RELIABILITY_BINS)
    used = count > 0
    total = np.bincount(where, weights, minlength=RELIABILITY_BINS)[used]
    mean = np.bincount(where, weights * scores, minlength=RELIABILITY_BINS)[used] / total
    share = np.bincount(where, weights * fake, minlength=RELIABILITY_BINS)[used] / total
    return {"score": _rounded(mean), "fake": _rounded(share), "images": count[used].tolist()}


def histogram(scores: Float32Array, fake: BoolArray) -> Histogram:
    """Counts of the scores in equal bins, by class."""
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    counts = {
        CLASS_NAMES[kind]: np.histogram(scores[fake == kind], edges)[0].tolist()
        for kind in (False, True)
        if (fake == kind).any()
    }
    return {"edges": _rounded(edges), "counts": counts}


def worst_mistakes(
    judged: ScoredSet, root: Path, *, count: int = WORST
) -> dict[str, list[Mistake]]:
    """The images on the wrong side of one half, the worst first, by their true class."""
    error = np.abs(judged.clean - judged.fake)
    labels = judged.labels
    mistakes: dict[str, list[Mistake]] = {}
    for kind, name in CLASS_NAMES.items():
        wrong = np.flatnonzero((judged.fake == kind) & (error > 0.5))
        worst = wrong[np.argsort(-error[wrong], kind="stable")][:count].tolist()
        mistakes[name] = [
            {
                "image": relative(judged.images[row].path, root),
                "source": judged.images[row].source,
                "score": round(float(judged.clean[row]), 6),
                "label": str(labels[row]),
            }
            for row in worst
        ]
    return mistakes


def relative(path: Path, root: Path) -> str:
    """A file's path below the labelled folder, with forward slashes."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 5) for value in values]

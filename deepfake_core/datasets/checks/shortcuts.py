"""The shortcut audit: whether the files tell the classes apart without their pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deepfake_core.datasets.checks.measures import Measured
from deepfake_core.datasets.labelled import Labelled, is_fake

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ALL_TOGETHER = "all_together"
FEATURES: Mapping[str, str] = {
    "file_size": "size of the file",
    "bytes_per_pixel": "bytes per pixel",
    "width": "width",
    "height": "height",
    "aspect": "width over height",
    "format": "format",
    "jpeg_quality": "JPEG quality",
    "chroma_subsampling": "chroma subsampling",
    "progressive": "progressive coding",
    "metadata": "EXIF or other metadata",
    ALL_TOGETHER: "all of these together",
}
# With fewer images of a class a perfect separation can be chance.
MIN_JUDGED = 10
RESAMPLES = 200
# Rarer values of a feature that is no number are taken together.
MIN_OF_A_KIND = 5
FOLDS, TREES, MIN_LEAF, DEPTH, RATE = 5, 30, 5, 3, 0.2
# An AUC of this many images is exact to a hundredth; more would only take longer.
MAX_CLASSIFIED = 10_000


@dataclass(frozen=True, slots=True)
class Shortcut:
    """How well one feature, or all together, tells the classes apart.

    Attributes:
        auc: area under the ROC curve, in the direction that separates better: 0.5 to 1.
        low: lower end of its 95 % interval, from resampled groups.
        high: upper end.
    """

    auc: float
    low: float
    high: float


def judgeable(fake: Bools) -> bool:
    """Whether there are enough images of both classes for an audit."""
    return min(int(fake.sum()), int((~fake).sum())) >= MIN_JUDGED


def audit_shortcuts(
    images: Sequence[Labelled], measured: Sequence[Measured]
) -> dict[str, Shortcut]:
    """Audit one set of images; empty where a class has fewer than `MIN_JUDGED`.

    Returns:
        By the names of `FEATURES`. `ALL_TOGETHER` is the cross-validated AUC of a small
        classifier; it is missing where a class has one group only.
    """
    fake = is_fake(list(images))
    if not judgeable(fake):
        return {}
    groups = np.unique([image.group_id for image in images], return_inverse=True)[1]
    columns = _columns(measured, fake)
    scores = {name: values for name, values in columns.items() if np.ptp(values) > 0}
    together = _cross_validated(np.stack(list(columns.values()), axis=1), fake, groups)
    if together is not None:
        scores[ALL_TOGETHER] = together
    weights = _resampled(groups)
    constant = dict.fromkeys(columns, Shortcut(0.5, 0.5, 0.5))
    return constant | {name: _shortcut(one, fake, weights) for name, one in scores.items()}


def _columns(measured: Sequence[Measured], fake: Bools) -> dict[str, Floats]:
    """The features as numbers; one that is none becomes the share of fakes among its kind."""
    numbers = np.array([[one.size, one.width, one.height, one.quality] for one in measured], float)
    size, width, height, quality = numbers.T
    kinds = {
        "format": [one.format for one in measured],
        "chroma_subsampling": [one.subsampling for one in measured],
        "progressive": [str(one.progressive) for one in measured],
        "metadata": [str(one.metadata) for one in measured],
    }
    columns = {
        "file_size": size,
        "bytes_per_pixel": size / (width * height),
        "width": width,
        "height": height,
        "aspect": width / height,
        "jpeg_quality": quality,
    } | {name: _share_of_fakes(values, fake) for name, values in kinds.items()}
    return {name: columns[name] for name in FEATURES if name in columns}


def _share_of_fakes(values: Sequence[str], fake: Bools) -> Floats:
    _, kinds, counts = np.unique(values, return_inverse=True, return_counts=True)
    kinds = np.where(counts[kinds] < MIN_OF_A_KIND, len(counts), kinds)
    fakes = np.bincount(kinds, fake, len(counts) + 1)
    return (fakes / np.maximum(np.bincount(kinds, minlength=len(counts) + 1), 1))[kinds]


def _cross_validated(features: Floats, fake: Bools, groups: np.ndarray) -> Floats | None:
    """Scores of boosted trees that never saw an image's group; None with one group a class."""
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.model_selection import StratifiedGroupKFold

    fewest = min(len(np.unique(groups[fake])), len(np.unique(groups[~fake])))
    if fewest < 2:
        return None
    scores = np.full(len(fake), np.nan)
    some = np.sort(np.random.default_rng(0).permutation(len(fake))[:MAX_CLASSIFIED])
    folds = StratifiedGroupKFold(min(FOLDS, fewest), shuffle=True, random_state=0)
    for learned, judged in folds.split(features[some], fake[some], groups[some]):
        scores[some[judged]] = 0.5
        if len(np.unique(fake[some[learned]])) > 1:
            trees = GradientBoostingClassifier(
                n_estimators=TREES,
                learning_rate=RATE,
                max_depth=DEPTH,
                min_samples_leaf=MIN_LEAF,
                random_state=0,
            ).fit(features[some[learned]], fake[some[learned]])
            scores[some[judged]] = trees.predict_proba(features[some[judged]])[:, 1]
    return scores


def _resampled(groups: np.ndarray) -> npt.NDArray[np.int32]:
    """How often each image is drawn when whole groups are drawn again: int32[RESAMPLES, N]."""
    rng = np.random.default_rng(0)
    count = int(groups.max()) + 1
    return np.stack([
        np.bincount(rng.integers(count, size=count), minlength=count).astype(np.int32)[groups]
        for _ in range(RESAMPLES)
    ])  # fmt: skip


def _shortcut(scores: Floats, fake: Bools, weights: np.ndarray) -> Shortcut:
    known = ~np.isnan(scores)
    kinds = np.unique(scores[known], return_inverse=True)[1]
    auc = _auc(kinds, fake[known], np.ones(known.sum()))
    resampled = np.array([_auc(kinds, fake[known], one[known]) for one in weights])
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    if auc < 0.5:
        auc, low, high = 1 - auc, 1 - high, 1 - low
    return Shortcut(round(auc, 4), round(float(low), 4), round(float(high), 4))


def _auc(kinds: np.ndarray, fake: Bools, weights: np.ndarray) -> float:
    """The chance that a fake ranks above a real one, ties half: NaN where a class weighs nothing.

    Args:
        kinds: the rank of each image's score, equal scores having one rank, from 0.
        fake: the labels.
        weights: how often each image counts.
    """
    fakes = np.bincount(kinds, weights * fake)
    reals = np.bincount(kinds, weights * ~fake)
    pairs = fakes.sum() * reals.sum()
    if not pairs:
        return float("nan")
    below = np.cumsum(reals) - reals
    return float((fakes * (below + reals / 2)).sum() / pairs)

"""The shortcut audit: whether the files tell the classes apart without their pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deepfake_core.datasets.checks.measures import Measured
from deepfake_core.datasets.labelled import Labelled, is_fake
from deepfake_core.ranking import rank_auc
from deepfake_core.resampling import resample_counts

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
# Rarer values of a feature that is not a number are taken together.
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
    weights = resample_counts([image.group_id for image in images], count=RESAMPLES)
    constant = dict.fromkeys(columns, Shortcut(0.5, 0.5, 0.5))
    return constant | {name: _shortcut(column, fake, weights) for name, column in scores.items()}


def _columns(measured: Sequence[Measured], fake: Bools) -> dict[str, Floats]:
    """The features as numbers; one that is none becomes the share of fakes among its kind."""
    numbers = np.array(
        [[file.size, file.width, file.height, file.quality] for file in measured], float
    )
    size, width, height, quality = numbers.T
    kinds = {
        "format": [file.format for file in measured],
        "chroma_subsampling": [file.subsampling for file in measured],
        "progressive": [str(file.progressive) for file in measured],
        "metadata": [str(file.metadata) for file in measured],
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


def _shortcut(scores: Floats, fake: Bools, weights: np.ndarray) -> Shortcut:
    known = ~np.isnan(scores)
    ranks = np.unique(scores[known], return_inverse=True)[1]
    area = rank_auc(ranks, fake[known])
    resampled = np.array([rank_auc(ranks, fake[known], drawn[known]) for drawn in weights])
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    if area < 0.5:
        area, low, high = 1 - area, 1 - high, 1 - low
    return Shortcut(round(area, 4), round(float(low), 4), round(float(high), 4))

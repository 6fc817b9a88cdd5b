"""Whether the files of two classes differ in more than what they show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.evaluation.metrics import BoolArray
from deepfake_core.ranking import auc

# Above this an AUC of the model may be that of the file's form; chance is 0.5.
MAX_AUC = 0.75
# No less than this many of each class: the AUC of a few files is anything.
LEAST_IMAGES = 10


def separating(
    images: Sequence[Labelled], sizes: np.ndarray, fake: BoolArray, *, max_auc: float = MAX_AUC
) -> dict[str, float]:
    """How well the form of the files alone tells the classes apart, where it does so too well.

    Args:
        images: N files.
        sizes: int[N, 2], their width and height.
        fake: bool[N].
        max_auc: what a feature may reach, in either direction.

    Returns:
        The AUC (0.5 to 1) of width, height, aspect, bytes per pixel, format and coarseness of
        the JPEG tables, for those that exceed `max_auc`.
    """
    if min(int(fake.sum()), int((~fake).sum())) < LEAST_IMAGES:
        return {}
    width, height = sizes.T.astype(np.float32)
    weight = np.array([image.path.stat().st_size for image in images], np.float32)
    headers = [_header(image.path) for image in images]
    features = {
        "width": width,
        "height": height,
        "aspect": width / height,
        "bytes per pixel": weight / (width * height),
        "JPEG quality": np.array([coarseness for _, coarseness in headers], np.float32),
    }
    formats = [name for name, _ in headers]
    for name in sorted(set(formats)):
        features[f"format {name}"] = np.array([stored == name for stored in formats], np.float32)
    measured = {name: auc(values, fake) for name, values in features.items()}
    either = {name: max(value, 1 - value) for name, value in measured.items()}
    return {name: round(value, 4) for name, value in either.items() if value > max_auc}


def _header(path: Path) -> tuple[str, float]:
    """The format and the mean of the JPEG quantisation table; 0 where there is none."""
    try:
        with Image.open(path) as image:
            tables = getattr(image, "quantization", None) or {}
            return image.format or "unknown", float(np.mean(tables[0])) if 0 in tables else 0.0
    except (UnidentifiedImageError, OSError):
        return "other", 0.0

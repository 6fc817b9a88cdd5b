"""Weights that let groups of people count alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.records import Float32Array

# No image counts for more than this many ordinary ones, or a group of one rules the training.
MAX_WEIGHT = 10.0


def group_weights(images: Sequence[Labelled]) -> Float32Array:
    """Weights under which the groups of people count alike within each class.

    Args:
        images: N labelled images; a group is a combination of all their ``people_`` columns.

    Returns:
        float32[N] with mean 1 in each class, so that the balance of the classes stays what it
        is; none is above `MAX_WEIGHT` times its class's least. Ones where no image has groups.
    """
    weights = np.ones(len(images), np.float32)
    fake = np.array([image.fake for image in images], dtype=bool)
    cells = np.array([repr(sorted(image.people.items())) for image in images])
    for kind in (False, True):
        rows = np.flatnonzero(fake == kind)
        if not len(rows):
            continue
        _, inverse, counts = np.unique(cells[rows], return_inverse=True, return_counts=True)
        raw = 1.0 / counts[inverse]
        raw = np.minimum(raw, MAX_WEIGHT * raw.min())
        weights[rows] = raw / raw.mean()
    return weights

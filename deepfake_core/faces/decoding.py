"""From CenterFace's maps to faces: boxes, landmarks, and one face where several were drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepfake_core.faces.records import FoundFace
from deepfake_core.records import Float32Array

# Pixels of the canvas per cell of the maps.
STRIDE = 4
# A cell says how large a face is by a logarithm; beyond this it would be larger than any canvas.
LARGEST_EXPONENT = 7.0
# More cells than this over the threshold are not a picture of faces but noise; the surest are kept.
MOST_CELLS = 4096
# The share of the smaller of two boxes that lies in the larger one, from which both are one face:
# an eye or a mouth taken for a face of its own.
CONTAINED = 0.8
# Intersection over union from which two glances show the same face: a coarse one is rough.
SAME = 0.4


class NotFiniteError(Exception):
    """The network gave what is not a number; never leaves this package."""


def decode_maps(
    maps: Sequence[Float32Array], *, found_from: float, overlap: float
) -> list[FoundFace]:
    """Read the maps of one canvas.

    Args:
        maps: confidence [1, h, w], logarithm of height and width [2, h, w], offset down and
            across in cells [2, h, w], and five landmarks, each down and across in parts of the
            box [10, h, w].
        found_from: confidence from which a cell holds a face.
        overlap: intersection over union from which two boxes are one face.

    Returns:
        The faces in the canvas's pixels, the surest first.

    Raises:
        NotFiniteError: numbers that matter are not finite.
    """
    confidence = maps[0][0]
    if not np.isfinite(confidence).all():
        raise NotFiniteError
    rows, columns = np.nonzero(confidence >= found_from)
    sureness = confidence[rows, columns]
    order = np.argsort(-sureness, kind="stable")[:MOST_CELLS]
    rows, columns, sureness = rows[order], columns[order], sureness[order]
    sizes, offsets, points = (values[:, rows, columns].astype(np.float64) for values in maps[1:])
    if not all(np.isfinite(values).all() for values in (sizes, offsets, points)):
        raise NotFiniteError
    extents = STRIDE * np.exp(np.minimum(sizes, LARGEST_EXPONENT))[::-1].T
    cells = np.stack([columns, rows], axis=1)
    corners = (cells + offsets[::-1].T + 0.5) * STRIDE - extents / 2
    landmarks = points.T.reshape(-1, 5, 2)[:, :, ::-1] * extents[:, None] + corners[:, None]
    kept = keep_one_each(np.concatenate([corners, extents], axis=1), overlap=overlap)
    return [
        FoundFace(
            x=float(corners[at, 0]),
            y=float(corners[at, 1]),
            width=float(extents[at, 0]),
            height=float(extents[at, 1]),
            found=float(sureness[at]),
            landmarks=landmarks[at].astype(np.float32),
        )
        for at in kept
    ]


def one_each(faces: Sequence[FoundFace], *, overlap: float) -> list[FoundFace]:
    """Of faces that are one, keep the surest; the surest first."""
    ordered = sorted(faces, key=lambda face: -face.found)
    return [ordered[at] for at in keep_one_each(_boxes(ordered), overlap=overlap)]


def same_face(place: FoundFace, faces: Sequence[FoundFace]) -> FoundFace | None:
    """The face that overlaps most with a place, or None where none shares half of it."""
    if not faces:
        return None
    overlaps = _overlaps(_boxes([place])[0], _boxes(faces))
    best = int(overlaps.argmax())
    return faces[best] if overlaps[best] >= SAME else None


def _boxes(faces: Sequence[FoundFace]) -> np.ndarray:
    """float64[N, 4]: x, y, width, height."""
    return np.array([(face.x, face.y, face.width, face.height) for face in faces]).reshape(-1, 4)


def keep_one_each(boxes: np.ndarray, *, overlap: float) -> list[int]:
    """Of boxes that overlap, or of which one is almost inside the other, keep the first.

    Args:
        boxes: float64[N, 4]: x, y, width, height; the one to prefer first.
        overlap: intersection over union from which two boxes are one.
    """
    left = np.arange(len(boxes))
    kept: list[int] = []
    while left.size:
        first, left = int(left[0]), left[1:]
        kept.append(first)
        left = left[_overlaps(boxes[first], boxes[left]) < overlap]
    return kept


def _overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of one box with others; 1 where one lies inside the other."""
    upper = np.maximum(box[:2], others[:, :2])
    lower = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:])
    shared = np.maximum(lower - upper, 0).prod(axis=1)
    area, areas = box[2:].prod(), others[:, 2:].prod(axis=1)
    inside = shared >= CONTAINED * np.minimum(area, areas)
    return np.asarray(np.where(inside, 1.0, shared / (area + areas - shared)))

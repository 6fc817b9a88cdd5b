"""Which faces of a picture are judged: the largest and surest, a bounded number, in one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepfake_core.faces.alignment import square_of
from deepfake_core.faces.records import FoundFace

# Most faces of a picture that are judged, unless the configuration says otherwise.
MOST_FACES = 16
# A square larger than this many times the picture's longer side is no face: the widest of 9,000
# aligned crops and photographs had 1.9.
LARGEST_SQUARE = 3.0
# How far eyes, nose and mouth may be from those of a face seen from the front, as a share of
# their own extent, after shift, scale and turn: 0.06 in the median, 0.9 in the most averted
# profile of 5,700.
LARGEST_MISFIT = 1.0
# Mean places of the five landmarks, complex, about their centre, extent 1.
TEMPLATE = np.array(
    [-0.793 - 0.841j, 0.847 - 0.841j, -0.014 + 0.074j, -0.706 + 0.805j, 0.665 + 0.803j]
)


@dataclass(frozen=True, slots=True)
class Selection:
    """The faces of a picture that are judged.

    Attributes:
        faces: the largest and surest first.
        found: how many faces there were.
    """

    faces: tuple[FoundFace, ...]
    found: int


def select_faces(
    faces: Sequence[FoundFace], extent: tuple[int, int], *, most: int = MOST_FACES
) -> Selection:
    """Choose the faces that are judged.

    Args:
        faces: of one picture, as the finder gave them: no two of them are the same face.
        extent: width and height of the picture in the pixels of the faces.
        most: how many are judged.

    Returns:
        Those whose landmarks can be a face's, by area and confidence, then from above to below
        and from left to right: the same for equal pictures.
    """
    plausible = [face for face in faces if _is_plausible(face, max(extent))]
    ordered = sorted(plausible, key=_rank)
    return Selection(tuple(ordered[:most]), len(plausible))


def misfit(face: FoundFace) -> float:
    """How far a face's landmarks are from a face seen from the front, 0 for not at all."""
    places = face.landmarks.astype(np.float64) @ np.array([1, 1j])
    places = places - places.mean()
    turn = (places * TEMPLATE.conj()).sum() / np.square(np.abs(TEMPLATE)).sum()
    away = np.abs(places - turn * TEMPLATE)
    scale = abs(turn) * np.abs(TEMPLATE)
    squares = np.square(scale).sum()
    return float(np.sqrt(np.square(away).sum() / squares)) if squares > 0 else float("inf")


def _is_plausible(face: FoundFace, side: int) -> bool:
    size = square_of(face.landmarks).size
    return 0 < size <= LARGEST_SQUARE * side and misfit(face) <= LARGEST_MISFIT


def _rank(face: FoundFace) -> tuple[float, float, float]:
    return -face.found * face.width * face.height, face.y, face.x

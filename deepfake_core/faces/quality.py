"""How much a face's pixels hold: the size it once had, and whether it shows anything at all."""

from __future__ import annotations

import itertools
import math

import numpy as np
from PIL import Image

from deepfake_core.faces.alignment import Square, square_of
from deepfake_core.records import Float32Array, UInt8Array

# A larger face is made smaller by whole pixels first: what it once had beyond this size does not
# matter, and the cost stays that of a small one.
LARGEST_SIDE = 512
MEASURED_SIDE = 256
# Steps over 1, 2, 4 and 8 pixels: of their mean squares each is up to four times that of half the
# distance, and nearly that where the picture is smooth, as an enlarged one is at small distances.
STEPS = (1, 2, 4, 8)
# The logarithm (base 2) of how much a face was enlarged, as a polynomial of those three ratios:
# 1, a, b, c, aa, ab, ac, bb, bc, cc. Least squares over 6,700 faces of 12 families, as they are,
# made smaller (32 to 200 px, five filters, JPEG), and enlarged again 1.5 to 4 times; 0.2 is taken
# off. With 88 px as the limit, thumbnails of 48 px are seen in 96 to 100 %, of 64 px in 72 to 84 %;
# of 1,321 photographs as they are 0.7 % are taken for thumbnails, and 4 % of UTKFace's, most of
# which are enlarged ones.
COEFFICIENTS = np.array(
    [9.104, -7.3253, 0.1246, 0.3422, 2.4042, -2.8249, 0.2351, 1.9226, -0.3658, -0.0656]
)
# Where steps over two pixels are not much larger than those over one, detail fills every pixel;
# the polynomial knows nothing of such pictures.
SMOOTH_FROM = 2.4
# Beyond four times nothing was measured.
LARGEST_LOG = 2.0
# Repeated pixels: nearly all steps lie between every second, third or fourth column and row.
REPETITIONS = (4, 3, 2)
REPEATED_SHARE = 0.85
# Deviation of the luma, 0 to 255, below which a crop shows nothing; faces in near darkness have 4.
BLANK_DEVIATION = 2.0


def true_size(picture: Image.Image, landmarks: Float32Array) -> float:
    """The size that a face had before its picture was enlarged.

    Args:
        picture: mode RGB, upright.
        landmarks: float32[5, 2] in the picture's pixels.

    Returns:
        Side of the aligned square in pixels of the picture as it once was; the present side where
        nothing speaks for enlargement.
    """
    square = square_of(landmarks)
    luma, reduction = _luma(picture, square)
    if min(luma.shape) <= STEPS[-1]:
        return square.size
    luma, repeated = _without_repetition(luma)
    enlarged = repeated * _smoothness(luma) if min(luma.shape) > STEPS[-1] else repeated
    return min(square.size, square.size / reduction / enlarged if enlarged > 1 else square.size)


def is_blank(crop: UInt8Array) -> bool:
    """Whether an aligned crop, uint8[size, size, 3], is of one colour."""
    luma = np.asarray(Image.fromarray(crop).convert("L"), np.float32)
    return float(luma.std()) < BLANK_DEVIATION


def _luma(picture: Image.Image, square: Square) -> tuple[Float32Array, int]:
    """The part of a face's square that lies in the picture, and by how much it was reduced."""
    half, centre = square.size / 2, square.centre
    low = np.maximum(np.round(centre - half), 0).astype(int)
    high = np.minimum(np.round(centre + half), picture.size).astype(int)
    part = picture.crop((*low, *np.maximum(high, low))).convert("L")
    reduction = 1 if max(part.size) < LARGEST_SIDE else max(part.size) // MEASURED_SIDE
    if reduction > 1:
        part = part.reduce(reduction)
    return np.asarray(part, np.float32), reduction


def _smoothness(luma: Float32Array) -> float:
    """How many times a picture seems to be enlarged, 1 to 4."""
    energies = [_energy(luma, step) for step in STEPS]
    if min(energies) == 0:
        return 1.0
    a, b, c = (further / nearer for nearer, further in itertools.pairwise(energies))
    if a < SMOOTH_FROM:
        return 1.0
    terms = np.array([1, a, b, c, a * a, a * b, a * c, b * b, b * c, c * c])
    return float(2 ** np.clip(COEFFICIENTS @ terms, 0, LARGEST_LOG))


def _energy(luma: Float32Array, step: int) -> float:
    across, down = luma[:, step:] - luma[:, :-step], luma[step:] - luma[:-step]
    return float(np.mean(across * across) + np.mean(down * down)) / 2


def _without_repetition(luma: Float32Array) -> tuple[Float32Array, int]:
    """One of each group of repeated pixels, and how many there are across and down."""
    across = np.square(np.diff(luma, axis=1)).mean(axis=0)
    down = np.square(np.diff(luma, axis=0)).mean(axis=1)
    for repetition in REPETITIONS:
        left, upper = _border(across, repetition), _border(down, repetition)
        if left is not None and upper is not None:
            return luma[upper::repetition, left::repetition], repetition
    return luma, 1


def _border(steps: Float32Array, repetition: int) -> int | None:
    """Where the first group after the first step begins, if the steps lie in one phase."""
    shares = np.array([steps[phase::repetition].sum() for phase in range(repetition)])
    total = float(shares.sum())
    if not math.isfinite(total) or total == 0 or shares.max() < REPEATED_SHARE * total:
        return None
    return int(shares.argmax()) + 1

"""How bright pixels are."""

from __future__ import annotations

import numpy as np

from deepfake_core.records import UInt8Array

# Of red, green and blue, as in JPEG.
WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
# Every so many-th row and column is looked at: 1,024 pixels of a crop of 128.
STEP = 4


def mean_brightness(pixels: UInt8Array) -> float:
    """The mean brightness of a picture, 0 to 255.

    Args:
        pixels: uint8[height, width, 3], RGB.
    """
    return float((pixels[::STEP, ::STEP].astype(np.float32) @ WEIGHTS).mean())

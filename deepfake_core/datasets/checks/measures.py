"""What can be measured of a labelled file without judging it."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from PIL import Image

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.images.decoding import load
from deepfake_core.records import Failure, UInt8Array

# Thumbnails of 16 x 16 grey pixels confirm what equal hashes suggest.
SMALL_SIDE = 16
HASHED_SIDE, REDUCED_SIDE = 64, 32
METADATA = ("exif", "xmp", "icc_profile", "comment", "photoshop", "XML:com.adobe.xmp")
NO_JPEG = {"quality": 0, "subsampling": "none", "progressive": False}
SUBSAMPLINGS = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (4, 1): "4:1:1", (1, 2): "4:4:0"}
# The luminance table of the JPEG standard's annex K, from which encoders scale theirs.
STANDARD_LUMINANCE = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """One readable image file.

    Attributes:
        sha256: of the bytes, hexadecimal.
        size: bytes of the file.
        format: found in the content, such as ``JPEG``.
        width: pixels, upright.
        height: likewise.
        quality: of a JPEG, 1 to 100, estimated from its luminance table; 0 for other formats.
        subsampling: of a JPEG's colours, such as ``4:2:0``; ``grey``, ``other``, or ``none``
            for other formats.
        progressive: whether a JPEG is stored in passes of growing detail.
        metadata: whether there is EXIF, XMP, a colour profile or a comment.
        brightness: mean of the grey pixels, 0 to 255.
        perceptual: a perceptual hash of 64 bits.
        mirrored: that of the image with left and right exchanged.
        small: uint8[256], the image as 16 x 16 grey pixels.
    """

    sha256: str
    size: int
    format: str
    width: int
    height: int
    quality: int
    subsampling: str
    progressive: bool
    metadata: bool
    brightness: float
    perceptual: int
    mirrored: int
    small: UInt8Array


def measure_all(images: Sequence[Labelled]) -> list[Measured | str]:
    """Read and measure files, in order.

    Returns:
        For each image what was measured, or why it cannot be read as text.
    """
    with ThreadPoolExecutor() as threads:
        return list(threads.map(_read, images))


def _read(image: Labelled) -> Measured | str:
    try:
        data = image.path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    measured = measure(data)
    return f"{measured.code}: {measured.detail}" if isinstance(measured, Failure) else measured


def measure(data: bytes) -> Measured | Failure:
    """Measure the bytes of a file; a failure where it cannot be decoded."""
    loaded = load(data, size=HASHED_SIDE)
    if isinstance(loaded, Failure):
        return loaded
    grey = loaded.image.convert("L")
    # The hash is of so many pixels; what is shrunk here is not shrunk again for its mirror image.
    reduced = grey.resize((REDUCED_SIDE, REDUCED_SIDE), Image.Resampling.LANCZOS)
    small = np.asarray(grey.resize((SMALL_SIDE, SMALL_SIDE), Image.Resampling.BOX)).ravel()
    return Measured(
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        format=loaded.format,
        width=loaded.width,
        height=loaded.height,
        brightness=float(np.asarray(grey, np.float32).mean()),
        perceptual=_hash(reduced),
        mirrored=_hash(reduced.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        small=small,
        **_header(data),
    )


def _hash(reduced: Image.Image) -> int:
    """The perceptual hash of 32 x 32 grey pixels as a number."""
    from imagehash import phash

    return int.from_bytes(np.packbits(phash(reduced).hash).tobytes(), "big")


def _header(data: bytes) -> dict[str, Any]:
    """What the header of a readable file says of its coding."""
    try:
        image = Image.open(io.BytesIO(data))
    except OSError:  # HEIC, which Pillow alone does not know
        return NO_JPEG | {"metadata": False}
    metadata = any(image.info.get(name) for name in METADATA)
    if image.format not in ("JPEG", "MPO"):
        return NO_JPEG | {"metadata": metadata}
    tables = cast(dict[int, list[int]], getattr(image, "quantization", {}))
    return {
        "progressive": "progressive" in image.info,
        "quality": estimate_quality(tables[min(tables)]) if tables else 0,
        "subsampling": _subsampling(getattr(image, "layer", [])),
        "metadata": metadata,
    }


def estimate_quality(luminance: Sequence[int]) -> int:
    """The quality, 1 to 100, whose standard table is nearest to a JPEG's luminance table.

    Args:
        luminance: 64 steps in natural order.
    """
    distances = np.abs(_standard_tables() - np.asarray(luminance)).sum(axis=1)
    return int(np.argmin(distances)) + 1


@functools.cache
def _standard_tables() -> np.ndarray:
    """The standard luminance tables of qualities 1 to 100: int64[100, 64]."""
    qualities = np.arange(1, 101)
    scales = np.where(qualities < 50, 5000 // qualities, 200 - 2 * qualities)
    tables: np.ndarray = np.clip((STANDARD_LUMINANCE * scales[:, None] + 50) // 100, 1, 255)
    return tables


def _subsampling(layers: Sequence[tuple[Any, ...]]) -> str:
    """The colours' subsampling from the sampling factors of a JPEG's components."""
    if len(layers) < 3:
        return "grey"
    factors = {(layer[1], layer[2]) for layer in layers[1:3]}
    if factors != {(1, 1)}:
        return "other"
    return SUBSAMPLINGS.get((layers[0][1], layers[0][2]), "other")

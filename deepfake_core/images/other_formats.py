"""Images of all formats but JPEG, which Pillow and libheif decode."""

from __future__ import annotations

import io
from typing import cast

import pi_heif
from PIL import Image, UnidentifiedImageError

from deepfake_core.images.conversion import to_rgb
from deepfake_core.images.exif_orientation import exif_orientation
from deepfake_core.images.formats import HEIF_BRANDS, heif_size, is_heif, pillow_formats
from deepfake_core.images.picture import (
    LARGE_PIXELS,
    MAX_PIXELS,
    Loaded,
    Wanted,
    one_at_a_time,
    too_large,
    upright,
)
from deepfake_core.images.silence import silence_libtiff
from deepfake_core.images.truncation import find_loss
from deepfake_core.records import Failure, FailureCode


def read_other(data: bytes, wanted: Wanted) -> Loaded | Failure:
    """Decode a file to upright RGB; raises what the decoders raise."""
    declared = heif_size(data) if is_heif(data) else (0, 0)
    if declared[0] * declared[1] > MAX_PIXELS:
        return too_large(*declared)
    image = _open(data)
    size, pixels = image.size, image.width * image.height
    if pixels > MAX_PIXELS:
        return too_large(*size)
    if loss := find_loss(data, image.format or ""):
        return Failure(FailureCode.DECODE_CORRUPT, f"truncated or damaged: {loss}")
    # Pillow would also turn a picture by its XMP block, which the standard readers do not.
    image.info.pop("xmp", None)
    with one_at_a_time(pixels):
        image.load()
        reduction = wanted.reduction(*size)
        shrink = wanted.shrink(reduction) if pixels > LARGE_PIXELS else None
        profile = image.info.get("icc_profile") if wanted.colour == "srgb" else None
        rgb = to_rgb(image, wanted.background, profile=profile, shrink=shrink)
    # Pillow itself turns TIFFs upright, and a PNG's EXIF block may follow its pixels.
    orientation = 1 if image.format == "TIFF" else exif_orientation(image.info.get("exif"))
    kind = image.format or "unknown"
    return upright(rgb, orientation, kind=kind, reduction=reduction, size=size)


def _open(data: bytes) -> Image.Image:
    silence_libtiff()
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
        try:
            return Image.open(io.BytesIO(data), formats=("AVIF",))
        except UnidentifiedImageError:
            return cast(Image.Image, pi_heif.HeifImageFile(io.BytesIO(data)))
    return Image.open(io.BytesIO(data), formats=pillow_formats(data))

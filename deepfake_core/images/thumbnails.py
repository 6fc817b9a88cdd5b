"""Small pictures for reports."""

from __future__ import annotations

import io

from PIL import Image

from deepfake_core.images.decoding import load
from deepfake_core.records import Failure

THUMBNAIL_QUALITY = 80


def thumbnail(data: bytes, *, side: int = 144) -> bytes | None:
    """A small JPEG of an image, upright, without metadata.

    Args:
        data: the bytes of a file.
        side: the longer side in pixels; smaller images are not enlarged.

    Returns:
        JPEG bytes; None where the image cannot be decoded.
    """
    loaded = load(data, size=side, colour="srgb")
    if isinstance(loaded, Failure):
        return None
    small, buffer = loaded.image, io.BytesIO()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    # A new image carries the pixels only: no EXIF, no colour profile, no comment.
    bare = Image.new("RGB", small.size)
    bare.paste(small)
    bare.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY, optimize=True)
    return buffer.getvalue()

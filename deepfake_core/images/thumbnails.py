"""Small pictures for reports."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw

from deepfake_core.images.decoding import load
from deepfake_core.records import Failure, Label

THUMBNAIL_QUALITY = 80


# The colour of a face's box by its label.
BOX_COLOURS: Mapping[str, str] = {
    Label.FAKE: "#b3261e",
    Label.UNCERTAIN: "#c07800",
    Label.REAL: "#0b6b5d",
    Label.NOT_APPLICABLE: "#7d8794",
}


def thumbnail(
    data: bytes, *, side: int = 144, faces: Sequence[Mapping[str, Any]] = ()
) -> bytes | None:
    """A small JPEG of an image, upright, without metadata.

    Args:
        data: the bytes of a file.
        side: the longer side in pixels; smaller images are not enlarged.
        faces: of a verdict row: boxes in pixels after EXIF orientation, drawn by their label.

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
    _draw_boxes(bare, faces, scale=small.width / max(1, loaded.width))
    bare.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY, optimize=True)
    return buffer.getvalue()


def _draw_boxes(image: Image.Image, faces: Sequence[Mapping[str, Any]], *, scale: float) -> None:
    pen = ImageDraw.Draw(image)
    for face in faces:
        left, top = face["x"] * scale, face["y"] * scale
        right, bottom = left + face["width"] * scale, top + face["height"] * scale
        if right > left and bottom > top:
            colour = BOX_COLOURS[face["label"]]
            pen.rectangle((left, top, right, bottom), outline=colour, width=2 + image.width // 400)

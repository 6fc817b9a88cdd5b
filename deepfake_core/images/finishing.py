"""The last steps from an opened image to upright RGB, common to most formats."""

from __future__ import annotations

from PIL import Image

from deepfake_core.images.conversion import to_rgb
from deepfake_core.images.exif_orientation import exif_orientation
from deepfake_core.images.picture import (
    LARGE_PIXELS,
    MAX_PIXELS,
    Loaded,
    Wanted,
    one_at_a_time,
    too_large,
    upright,
)
from deepfake_core.records import Failure


def finish(
    image: Image.Image, wanted: Wanted, profile: bytes | None, *, orientation: int | None = None
) -> Loaded | Failure:
    """Load an opened image and make it upright RGB.

    Args:
        image: opened, and perhaps loaded.
        wanted: how it is wanted.
        profile: the ICC profile of its colours.
        orientation: 1 to 8; None for what its EXIF block says, which may follow its pixels.
    """
    size, pixels, kind = image.size, image.width * image.height, image.format or "unknown"
    if pixels > MAX_PIXELS:
        return too_large(*size)
    # Pillow would also turn a picture by its XMP block, which the standard readers do not.
    image.info.pop("xmp", None)
    with one_at_a_time(pixels):
        image.load()
        reduction = wanted.reduction(*size)
        shrink = wanted.shrink(reduction) if pixels > LARGE_PIXELS else None
        told = profile if wanted.colour == "srgb" else None
        rgb = to_rgb(image, wanted.background, profile=told, shrink=shrink)
    if orientation is None:
        orientation = exif_orientation(image.info.get("exif"))
    return upright(rgb, orientation, kind=kind, reduction=reduction, size=size)

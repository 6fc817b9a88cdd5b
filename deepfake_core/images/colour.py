"""From the colours that a file describes to sRGB."""

from __future__ import annotations

import functools
import io
import threading
from typing import Literal, cast

from PIL import Image, ImageCms

Colour = Literal["as_stored", "srgb"]
# What a difference between two pictures of one scene is made of: perceptual intent maps them.
INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
# Profiles of cameras and printers seen so far; a bucket holds few of them.
MAX_TRANSFORMS = 32
MODES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}

_building = threading.Lock()


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert a picture to sRGB by the ICC profile that it came with.

    Args:
        image: mode RGB, L or CMYK.
        profile: an ICC profile; none, a damaged one or one for other channels than the
            picture has is ignored, as the standard readers do.

    Returns:
        Mode RGB; an L or RGB image without a usable profile is returned as it is.
    """
    transform = _transform(profile, image.mode) if profile and image.mode in MODES else None
    if transform is None:
        return image
    return cast(Image.Image, ImageCms.applyTransform(image, transform))


@functools.lru_cache(MAX_TRANSFORMS)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    with _building:
        try:
            source = ImageCms.getOpenProfile(io.BytesIO(profile))
            if source.profile.xcolor_space != MODES[mode]:
                return None
            target = ImageCms.createProfile("sRGB")
            return ImageCms.buildTransform(source, target, mode, "RGB", INTENT)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            return None

"""From any mode of Pillow to RGB with 8 bits: depth, palettes, transparency, colours."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
from PIL import Image, ImageCms

from deepfake_core.images.colour import to_srgb

# The modes in which a large image is made smaller before it is converted: half the memory.
REDUCIBLE_MODES = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})

Background = tuple[int, int, int]


def to_rgb(
    image: Image.Image,
    background: Background,
    *,
    profile: bytes | None = None,
    shrink: Callable[[Image.Image], Image.Image] | None = None,
) -> Image.Image:
    """Convert any mode to RGB: 16 bits to 8, palettes looked up, alpha flattened.

    Args:
        image: a loaded image.
        background: the colour that shows through transparent pixels, in sRGB.
        profile: the ICC profile that its colours are converted by, none to leave them.
        shrink: makes a large image smaller as soon as its mode allows it.

    Returns:
        Mode RGB.
    """
    early = image.mode in REDUCIBLE_MODES and "transparency" not in image.info
    if shrink and early:
        image = shrink(image)
    rgb = _converted(image, background, profile)
    return shrink(rgb) if shrink and not early else rgb


def _converted(image: Image.Image, background: Background, profile: bytes | None) -> Image.Image:
    if image.mode.startswith("I") and isinstance(image.info.get("transparency"), int):
        return _flattened(_with_hole(image), background, profile)
    if image.mode.startswith("I") or image.mode == "F":
        return to_srgb(_deep_grey(image), profile).convert("RGB")
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return cast(Image.Image, ImageCms.profileToProfile(image, *profiles, outputMode="RGB"))
    if image.has_transparency_data:
        return _flattened(image, background, profile)
    if image.mode in ("L", "CMYK"):
        return to_srgb(image, profile).convert("RGB")
    return to_srgb(image if image.mode == "RGB" else image.convert("RGB"), profile)


def _flattened(image: Image.Image, background: Background, profile: bytes | None) -> Image.Image:
    """An image with transparency on a ground of one colour."""
    transparent = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    if profile:
        grey = image.mode in ("L", "LA", "La")
        colours = to_srgb(transparent.convert("L" if grey else "RGB"), profile).convert("RGB")
        colours.putalpha(transparent.getchannel("A"))
        transparent = colours
    flat = Image.new("RGBA", transparent.size, (*background, 255))
    flat.alpha_composite(transparent)
    return flat.convert("RGB")


def _with_hole(image: Image.Image) -> Image.Image:
    """Deep grey of which one value is transparent, as 8 bits with an alpha channel."""
    opaque = np.asarray(image) != image.info["transparency"]
    grey = _deep_grey(image)
    grey.putalpha(Image.fromarray(opaque.astype(np.uint8) * 255))
    return grey


def _deep_grey(image: Image.Image) -> Image.Image:
    """Reduce 16-bit, 32-bit and floating grey to 8 bits; Pillow alone would clip at 255."""
    grey = np.asarray(image).astype(np.float32)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format != "TIFF"):
        ceiling = 65535.0
    else:
        # Such files do not say what is white: the least usual maximum that covers them.
        ceiling = float(np.max(grey, initial=1.0, where=np.isfinite(grey)))
        ceiling = next((top for top in (1.0, 255.0, 65535.0) if ceiling <= top), ceiling)
        np.nan_to_num(grey, copy=False, nan=0.0, posinf=ceiling, neginf=0.0)
    grey *= np.float32(255 / ceiling)
    np.rint(np.clip(grey, 0, 255, out=grey), out=grey)
    return Image.fromarray(grey.astype(np.uint8))

"""From any mode of Pillow to RGB with 8 bits: depth, palettes, transparency, colours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from deepfake_core.images.colour import to_srgb
from deepfake_core.records import UInt8Array

# The modes in which a large image is made smaller before it is converted: half the memory.
REDUCIBLE_MODES = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})

ROWS_AT_ONCE = 256

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
    values = np.asarray(image)
    if image.mode == "I" and image.format != "TIFF":
        values = values.astype(np.uint16)
    return Image.fromarray(to_8_bits(values))


def to_8_bits(values: npt.NDArray[Any]) -> UInt8Array:
    """Deep values as 8 bits: from black, 0, to white, the most that they can be.

    Floating values and 32 bits do not say what is white: 1 or the greatest number, but 255 or
    65,535 in files that only use these. What goes a little beyond white is white.

    Args:
        values: [H, ...] of any type that has numbers of 8 bits or more.
    """
    if values.dtype == np.uint8:
        return values
    scale = np.float32(255 / _white(values))
    reduced = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), ROWS_AT_ONCE):
        part = values[start : start + ROWS_AT_ONCE].astype(np.float32)
        part *= scale
        np.nan_to_num(part, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
        np.rint(np.clip(part, 0, 255, out=part), out=part)
        reduced[start : start + ROWS_AT_ONCE] = part
    return reduced


def _white(values: npt.NDArray[Any]) -> float:
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return 65535.0
    floating = values.dtype.kind == "f"
    finite = np.isfinite(values) if floating else True
    largest = float(np.max(values, initial=0, where=finite))
    # An overshoot of white is small; the ranges lie far apart.
    overshoot = 4.0 if floating else 1.0
    usual = (1.0, 255.0, 65535.0) if floating else (255.0, 65535.0)
    return next((top for top in usual if largest <= top * overshoot), 2.0**32 - 1)

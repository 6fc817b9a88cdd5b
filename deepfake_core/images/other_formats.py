"""Images of all formats but JPEG, which Pillow and libheif decode."""

from __future__ import annotations

import io
import re
from typing import cast

import pi_heif
from PIL import Image, UnidentifiedImageError

from deepfake_core.images.conversion import to_rgb
from deepfake_core.images.cost import resolutions
from deepfake_core.images.finishing import finish
from deepfake_core.images.formats import AVIF_BRANDS, heif_brands, is_heif, pillow_formats
from deepfake_core.images.heif_boxes import declared_size, video_colours
from deepfake_core.images.icc import video_profile
from deepfake_core.images.picture import (
    LARGE_PIXELS,
    MAX_PIXELS,
    Loaded,
    Wanted,
    one_at_a_time,
    too_large,
)
from deepfake_core.images.png_chunks import SIGNATURE, PngDamage, TooManyChunks, read_png
from deepfake_core.images.tiff import TIFF_SIGNATURES, read_tiff
from deepfake_core.images.truncation import find_loss
from deepfake_core.images.unread_variants import unread_variant
from deepfake_core.records import Failure, FailureCode

# Smaller ones are decoded whole, larger ones only where they hold a smaller size.
REDUCED_FROM, MAX_WHOLE_JPEG2000 = 4_000_000, 20_000_000

_NO_CODEC = re.compile("unsupported (codec|feature|image type)|no decod", re.IGNORECASE)


def read_other(data: bytes, wanted: Wanted) -> Loaded | Failure:
    """Decode a file to upright RGB; raises what the decoders raise."""
    if data.startswith(SIGNATURE):
        return _read_png(data, wanted)
    if is_heif(data):
        return _read_heif(data, wanted)
    if data.startswith(TIFF_SIGNATURES):
        return read_tiff(data, wanted)
    if variant := unread_variant(data):
        return Failure(FailureCode.DECODE_UNSUPPORTED, f"{variant}, which is not read here")
    image = Image.open(io.BytesIO(data), formats=pillow_formats(data))
    if loss := find_loss(data, image.format or ""):
        return Failure(FailureCode.DECODE_CORRUPT, f"truncated or damaged: {loss}")
    if image.format == "JPEG2000" and image.width * image.height > REDUCED_FROM:
        return _read_reduced(data, image, wanted)
    return finish(image, wanted, image.info.get("icc_profile"))


def _read_reduced(data: bytes, image: Image.Image, wanted: Wanted) -> Loaded | Failure:
    """Decode a large JPEG 2000 at one of the smaller sizes that it holds."""
    size = image.size
    power = min(wanted.jpeg_reduction(*size).bit_length() - 1, resolutions(data))
    if image.width * image.height >> 2 * power > MAX_WHOLE_JPEG2000:
        return too_large(*size, MAX_WHOLE_JPEG2000)
    if power:
        # Pillow decodes at a smaller size where this attribute, elsewhere a method, is a number.
        image.reduce = power  # type: ignore[method-assign, assignment]
    with one_at_a_time(image.width * image.height):
        image.load()
        profile = image.info.get("icc_profile") if wanted.colour == "srgb" else None
        rgb = to_rgb(image, wanted.background, profile=profile)
    return Loaded(rgb, "JPEG2000", *size, reduction=1 << power)


def _read_png(data: bytes, wanted: Wanted) -> Loaded | Failure:
    try:
        png = read_png(data)
    except PngDamage as damage:
        return Failure(FailureCode.DECODE_CORRUPT, f"truncated or damaged: {damage}")
    except TooManyChunks:
        return Failure(FailureCode.DECODE_TOO_LARGE, "more chunks than a picture has")
    image: Image.Image = Image.open(io.BytesIO(png.bare()), formats=("PNG",))
    if exif := png.chunks.get(b"eXIf"):
        image.info["exif"] = exif
    if (place := png.frame_offset) and png.size[0] * png.size[1] <= LARGE_PIXELS:
        canvas = Image.new("RGBA", png.size)
        canvas.paste(image.convert("RGBA"), place)
        canvas.format = image.format
        image = canvas
    return finish(image, wanted, png.profile() if wanted.colour == "srgb" else None)


def _read_heif(data: bytes, wanted: Wanted) -> Loaded | Failure:
    declared = declared_size(data)
    if declared[0] * declared[1] > MAX_PIXELS:
        return too_large(*declared)
    try:
        image = _open_heif(data)
    except RuntimeError as error:
        if _NO_CODEC.search(str(error)):
            detail = "HEIF with a codec that is not read here"
            return Failure(FailureCode.DECODE_UNSUPPORTED, detail)
        raise
    if loss := find_loss(data, image.format or ""):
        return Failure(FailureCode.DECODE_CORRUPT, f"truncated or damaged: {loss}")
    profile = image.info.get("icc_profile")
    if not profile and (video := video_colours(data)):
        profile = video_profile(video)
    return finish(image, wanted, profile)


def _open_heif(data: bytes) -> Image.Image:
    brands = heif_brands(data)
    if brands & AVIF_BRANDS and data[8:12] not in AVIF_BRANDS:
        # Pillow looks at the first brand only.
        data = data[:8] + b"avif" + data[12:]
    try:
        return Image.open(io.BytesIO(data), formats=("AVIF",))
    except UnidentifiedImageError:
        return cast(Image.Image, pi_heif.HeifImageFile(io.BytesIO(data)))

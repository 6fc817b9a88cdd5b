"""From bytes to pixels: the one decoder that training, scans and the service share."""

import ctypes
import functools
import io
import struct
import threading
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pi_heif
import PIL
from PIL import Image, ImageCms, UnidentifiedImageError

from deepfake_core.images.formats import (
    HEIF_BRANDS,
    has_image_signature,
    heif_size,
    is_heif,
    pillow_formats,
)
from deepfake_core.images.jpeg import decode_jpeg
from deepfake_core.images.truncation import find_loss
from deepfake_core.records import Decoded, Failure, FailureCode, UInt8Array

__all__ = ["MAX_PIXELS", "Loaded", "decode", "has_image_signature", "load", "resize"]

# A 108-megapixel phone photograph fits; larger headers are refused before anything is allocated.
MAX_PIXELS = 120_000_000
# Above this size images without scaled decoding are decoded one at a time, so that the peak
# memory of a scan is that of one large image and not of one per thread.
LARGE_PIXELS = 16_000_000
LARGE_REDUCED_TO = (2048, 2048)
# The modes in which a large image is made smaller before it is converted: half the memory.
REDUCIBLE_MODES = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})
# JPEGs are decoded at the smallest 1/1, 1/2, 1/4 or 1/8 scale that leaves this many times the
# network's input; docs/decisions/0004 holds the measured effect on scores.
SCALED_DECODING_FACTOR = 2
ORIENTATION_TAG = 0x0112
SIDEWAYS_ORIENTATIONS = frozenset({5, 6, 7, 8})

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_large_image = threading.Lock()


class _Silence:
    """Ignores the decoders' warnings while at least one thread decodes.

    `warnings.catch_warnings` puts back the filters that it found, so that of two threads the
    one that leaves last may leave them as the other had changed them. A warning that is an
    error elsewhere (-W error) would turn a readable image into a failure.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filter: Any = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1 or self._filter not in warnings.filters:
                warnings.filterwarnings("ignore", module=r"(PIL|pi_heif)\.")
                self._filter = warnings.filters[0]

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._filter in warnings.filters:
                cast(list[Any], warnings.filters).remove(self._filter)


silence = _Silence()


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image in RGB before it is resized to the network's input.

    Attributes:
        image: mode RGB, upright; a JPEG may have been decoded at a smaller scale.
        format: the format found in the content.
        width: pixels of the whole image after EXIF orientation.
        height: likewise.
    """

    image: Image.Image
    format: str
    width: int
    height: int


def decode(
    data: bytes, *, size: int, background: tuple[int, int, int] = (255, 255, 255)
) -> Decoded | Failure:
    """Decode one image and resize it to a square, stretching it if it is not one.

    Args:
        data: the bytes of a file; the format is found in them, not in a name.
        size: the side of the result in pixels.
        background: the colour that shows through transparent pixels, RGB.

    Returns:
        The pixels, resized with Pillow's bilinear filter, or why there are none.
    """
    loaded = load(data, size=size, background=background)
    if isinstance(loaded, Failure):
        return loaded
    return Decoded(
        pixels=resize(loaded.image, size),
        format=loaded.format,
        width=loaded.width,
        height=loaded.height,
    )


def resize(image: Image.Image, size: int) -> UInt8Array:
    """Resize an RGB image to uint8[size, size, 3]."""
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def load(
    data: bytes, *, size: int, background: tuple[int, int, int] = (255, 255, 255)
) -> Loaded | Failure:
    """Decode one image to upright RGB: first frame, alpha flattened, depth reduced to 8 bits.

    Args:
        data: the bytes of a file.
        size: the side that the image will be resized to; JPEGs are decoded at the smallest
            scale that leaves at least twice this side.
        background: the colour that shows through transparent pixels, RGB.

    Returns:
        The image, or a failure with a ``decode`` code. Never raises on bad bytes.
    """
    if not data:
        return Failure(FailureCode.DECODE_UNSUPPORTED, "the file is empty")
    try:
        with silence:
            return _load(data, size, background)
    except Image.DecompressionBombError:
        return Failure(
            FailureCode.DECODE_TOO_LARGE,
            f"more pixels than the {MAX_PIXELS // 1_000_000} million that are decoded at most",
        )
    except UnidentifiedImageError:
        return _unreadable(data, "starts like an image, but its header is damaged")
    except MemoryError:
        return Failure(FailureCode.DECODE_TOO_LARGE, "decoding needs more memory than there is")
    # Third-party decoders raise nearly every exception type on malformed input; the type is kept.
    except Exception as error:  # noqa: BLE001
        return _unreadable(data, f"{type(error).__name__}: {error}")


def _unreadable(data: bytes, detail: str) -> Failure:
    if has_image_signature(data):
        # Messages may quote bytes of the file, which need not be printable nor even Unicode.
        printable = detail.encode("ascii", "backslashreplace").decode()
        return Failure(FailureCode.DECODE_CORRUPT, printable)
    return Failure(FailureCode.DECODE_UNSUPPORTED, "not an image in a format that is read here")


def _too_large(width: int, height: int) -> Failure:
    return Failure(
        FailureCode.DECODE_TOO_LARGE,
        f"{width} x {height} pixels; at most {MAX_PIXELS // 1_000_000} megapixels are decoded",
    )


def _load(data: bytes, size: int, background: tuple[int, int, int]) -> Loaded | Failure:
    declared = heif_size(data) if is_heif(data) else (0, 0)
    if declared[0] * declared[1] > MAX_PIXELS:
        return _too_large(*declared)
    image = _open(data)
    width, height = image.size
    if width * height > MAX_PIXELS:
        return _too_large(width, height)
    if image.format in ("JPEG", "MPO"):
        orientation = _orientation(image)
        # A progressive JPEG is kept whole in memory before it is scaled.
        large = width * height > LARGE_PIXELS and "progressive" in image.info
        with _large_image if large else nullcontext():
            rgb = decode_jpeg(data, image, minimum=SCALED_DECODING_FACTOR * size)
        if isinstance(rgb, Failure):
            return rgb
    else:
        if loss := find_loss(data, image.format or ""):
            return Failure(FailureCode.DECODE_CORRUPT, f"truncated or damaged: {loss}")
        large = width * height > LARGE_PIXELS
        with _large_image if large else nullcontext():
            rgb = _to_rgb(image, background, large=large)
        # Pillow itself turns TIFFs upright, and a PNG's EXIF block may follow its pixels.
        orientation = 1 if image.format == "TIFF" else _orientation(image)
    if orientation in _TRANSPOSE:
        rgb = rgb.transpose(_TRANSPOSE[orientation])
    if orientation in SIDEWAYS_ORIENTATIONS:
        width, height = height, width
    return Loaded(image=rgb, format=image.format or "unknown", width=width, height=height)


@functools.cache
def _silence_libtiff() -> None:
    """Take libtiff's complaints off standard error: they hold values of the images' tags.

    Pillow has no switch for them, so this asks the library that its wheels bring along.
    """
    for library in Path(PIL.__file__).parent.parent.glob("[pP]illow.libs/libtiff*"):
        loaded = ctypes.CDLL(str(library))
        loaded.TIFFSetErrorHandler(None)
        loaded.TIFFSetWarningHandler(None)


def _open(data: bytes) -> Image.Image:
    _silence_libtiff()
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
        try:
            return Image.open(io.BytesIO(data), formats=("AVIF",))
        except UnidentifiedImageError:
            return cast(Image.Image, pi_heif.HeifImageFile(io.BytesIO(data)))
    return Image.open(io.BytesIO(data), formats=pillow_formats(data))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or where the EXIF block is damaged."""
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except (
        ArithmeticError, AttributeError, LookupError, OSError, SyntaxError, TypeError, ValueError,
        struct.error,
    ):  # fmt: skip
        return 1


def _to_rgb(image: Image.Image, background: tuple[int, int, int], *, large: bool) -> Image.Image:
    """Convert any mode to RGB: 16 bits to 8, palettes looked up, alpha flattened."""
    image.load()
    if large and image.mode in REDUCIBLE_MODES and "transparency" not in image.info:
        image.thumbnail(LARGE_REDUCED_TO, Image.Resampling.BILINEAR)
    if image.mode.startswith("I") or image.mode == "F":
        rgb = _deep_grey(image)
    elif image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        rgb = cast(Image.Image, ImageCms.profileToProfile(image, *profiles, outputMode="RGB"))
    elif image.has_transparency_data:
        opaque = image.convert("LA") if image.mode == "La" else image
        transparent = opaque.convert("RGBA")
        flat = Image.new("RGBA", transparent.size, (*background, 255))
        flat.alpha_composite(transparent)
        rgb = flat.convert("RGB")
    else:
        rgb = image.convert("RGB")
    if large:
        rgb.thumbnail(LARGE_REDUCED_TO, Image.Resampling.BILINEAR)
    return rgb


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
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")

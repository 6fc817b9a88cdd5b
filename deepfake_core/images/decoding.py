"""From bytes to pixels: the one decoder that training, scans and the service share."""

from __future__ import annotations

import ctypes
import functools
import io
import struct
import threading
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import pi_heif
import PIL
from PIL import Image, UnidentifiedImageError

from deepfake_core.images.colour import Colour, to_srgb
from deepfake_core.images.conversion import Background, to_rgb
from deepfake_core.images.formats import (
    HEIF_BRANDS,
    has_image_signature,
    heif_size,
    is_heif,
    pillow_formats,
)
from deepfake_core.images.jpeg import decode_jpeg
from deepfake_core.images.picture import Loaded, Picture, Wanted
from deepfake_core.images.truncation import find_loss
from deepfake_core.records import Decoded, Failure, FailureCode, UInt8Array

__all__ = [
    "MAX_PIXELS", "Loaded", "Picture", "decode", "decode_picture", "has_image_signature", "load",
    "resize",
]  # fmt: skip

# A 108-megapixel phone photograph fits; larger headers are refused before anything is allocated.
MAX_PIXELS = 120_000_000
# Above this size images without scaled decoding are decoded one at a time, so that the peak
# memory of a scan is that of one large image and not of one per thread.
LARGE_PIXELS = 16_000_000
# JPEGs are decoded at the smallest 1/1, 1/2, 1/4 or 1/8 scale that leaves this many times the
# network's input; docs/decisions/0004 holds the measured effect on scores.
SCALED_DECODING_FACTOR = 2
WHITE = (255, 255, 255)
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


def decode(
    data: bytes, *, size: int, background: Background = WHITE, colour: Colour = "as_stored"
) -> Decoded | Failure:
    """Decode one image and resize it to a square, stretching it if it is not one.

    Args:
        data: the bytes of a file; the format is found in them, not in a name.
        size: the side of the result in pixels.
        background: the colour that shows through transparent pixels, RGB.
        colour: ``srgb`` converts by the file's colour profile; ``as_stored`` ignores it.

    Returns:
        The pixels, resized with Pillow's bilinear filter, or why there are none.
    """
    loaded = load(data, size=size, background=background, colour=colour)
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
    data: bytes, *, size: int, background: Background = WHITE, colour: Colour = "as_stored"
) -> Loaded | Failure:
    """Decode one image to upright RGB: first frame, alpha flattened, depth reduced to 8 bits.

    Args:
        data: the bytes of a file.
        size: the side that the image will be resized to; JPEGs are decoded at the smallest
            scale that leaves at least twice this side.
        background: the colour that shows through transparent pixels, RGB.
        colour: ``srgb`` converts by the file's colour profile; ``as_stored`` ignores it.

    Returns:
        The image, or a failure with a ``decode`` code. Never raises on bad bytes.
    """
    wanted = Wanted(SCALED_DECODING_FACTOR * size, None, background, colour)
    decoded = _decoded(data, wanted)
    return decoded if isinstance(decoded, Failure) else decoded[0]


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


def decode_picture(
    data: bytes,
    *,
    background: Background = WHITE,
    colour: Colour = "srgb",
    min_side: int | None = None,
) -> Picture | Failure:
    """Decode one image whole: upright, in 8 bits, its colours in the space that is asked for.

    Args:
        data: the bytes of a file.
        background: the colour that shows through transparent pixels, RGB.
        colour: ``srgb`` converts by the file's colour profile; ``as_stored`` ignores it.
        min_side: JPEGs are decoded at the smallest scale that leaves both sides at least as
            long; None keeps them whole. Images of more than `LARGE_PIXELS` are reduced to
            fewer by a whole factor in any case.

    Returns:
        The picture, or a failure with a ``decode`` code. Never raises on bad bytes.
    """
    decoded = _decoded(data, Wanted(min_side, LARGE_PIXELS, background, colour))
    if isinstance(decoded, Failure):
        return decoded
    loaded, reduction = decoded
    pixels = np.asarray(loaded.image)
    return Picture(pixels, loaded.format, loaded.width, loaded.height, reduction)


def _decoded(data: bytes, wanted: Wanted) -> tuple[Loaded, int] | Failure:
    if not data:
        return Failure(FailureCode.DECODE_UNSUPPORTED, "the file is empty")
    try:
        with silence:
            return _load(data, wanted)
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


def _load(data: bytes, wanted: Wanted) -> tuple[Loaded, int] | Failure:
    declared = heif_size(data) if is_heif(data) else (0, 0)
    if declared[0] * declared[1] > MAX_PIXELS:
        return _too_large(*declared)
    image = _open(data)
    width, height = image.size
    if width * height > MAX_PIXELS:
        return _too_large(width, height)
    if image.format in ("JPEG", "MPO"):
        read = _read_jpeg(data, image, wanted)
    else:
        read = _read_other(data, image, wanted)
    if isinstance(read, Failure):
        return read
    rgb, reduction, orientation = read
    if orientation in _TRANSPOSE:
        rgb = rgb.transpose(_TRANSPOSE[orientation])
    if orientation in SIDEWAYS_ORIENTATIONS:
        width, height = height, width
    return Loaded(rgb, image.format or "unknown", width, height), reduction


def _read_jpeg(
    data: bytes, image: Image.Image, wanted: Wanted
) -> tuple[Image.Image, int, int] | Failure:
    """Pixels, by how much they are reduced, and how they are to be turned."""
    orientation = _orientation(image)
    reduction = wanted.jpeg_reduction(*image.size)
    # A progressive JPEG is kept whole in memory before it is scaled.
    pixels = image.width * image.height
    large = pixels > LARGE_PIXELS and "progressive" in image.info
    large = large or pixels // reduction**2 > LARGE_PIXELS
    with _large_image if large else nullcontext():
        decoded = decode_jpeg(data, image, reduction=reduction)
        if isinstance(decoded, Failure):
            return decoded
        if wanted.colour == "srgb":
            decoded = to_srgb(decoded, image.info.get("icc_profile"))
        return decoded.convert("RGB"), reduction, orientation


def _read_other(
    data: bytes, image: Image.Image, wanted: Wanted
) -> tuple[Image.Image, int, int] | Failure:
    """Pixels, by how much they are reduced, and how they are to be turned."""
    if loss := find_loss(data, image.format or ""):
        return Failure(FailureCode.DECODE_CORRUPT, f"truncated or damaged: {loss}")
    pixels = image.width * image.height
    with _large_image if pixels > LARGE_PIXELS else nullcontext():
        image.load()
        reduction = wanted.reduction(*image.size)
        shrink = wanted.shrink(reduction) if pixels > LARGE_PIXELS else None
        profile = image.info.get("icc_profile") if wanted.colour == "srgb" else None
        rgb = to_rgb(image, wanted.background, profile=profile, shrink=shrink)
    # Pillow itself turns TIFFs upright, and a PNG's EXIF block may follow its pixels.
    orientation = 1 if image.format == "TIFF" else _orientation(image)
    return rgb, reduction, orientation


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

"""From bytes to pixels: the one decoder that training, scans and the service share."""

from __future__ import annotations

import numpy as np
from PIL import Image, UnidentifiedImageError

from deepfake_core.images.colour import Colour
from deepfake_core.images.conversion import Background
from deepfake_core.images.exif_orientation import SIDEWAYS_ORIENTATIONS
from deepfake_core.images.formats import has_image_signature
from deepfake_core.images.jpeg import JPEG_SIGNATURE, read_jpeg
from deepfake_core.images.other_formats import read_other
from deepfake_core.images.picture import LARGE_PIXELS, MAX_PIXELS, Loaded, Picture, Wanted
from deepfake_core.images.silence import silence
from deepfake_core.records import Decoded, Failure, FailureCode, UInt8Array

__all__ = [
    "LARGE_PIXELS", "MAX_PIXELS", "SIDEWAYS_ORIENTATIONS", "Loaded", "Picture", "decode",
    "decode_picture", "has_image_signature", "load", "resize", "silence",
]  # fmt: skip

# JPEGs are decoded at the smallest 1/1, 1/2, 1/4 or 1/8 scale that leaves this many times the
# network's input; docs/decisions/0004 holds the measured effect on scores.
SCALED_DECODING_FACTOR = 2
WHITE = (255, 255, 255)


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
    return _decoded(data, wanted)


def _unreadable(data: bytes, detail: str) -> Failure:
    if has_image_signature(data):
        # Messages may quote bytes of the file, which need not be printable nor even Unicode.
        printable = detail.encode("ascii", "backslashreplace").decode()
        return Failure(FailureCode.DECODE_CORRUPT, printable)
    return Failure(FailureCode.DECODE_UNSUPPORTED, "not an image in a format that is read here")


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
    loaded = _decoded(data, Wanted(min_side, LARGE_PIXELS, background, colour))
    if isinstance(loaded, Failure):
        return loaded
    pixels = np.asarray(loaded.image)
    return Picture(pixels, loaded.format, loaded.width, loaded.height, loaded.reduction)


def _decoded(data: bytes, wanted: Wanted) -> Loaded | Failure:
    if not data:
        return Failure(FailureCode.DECODE_UNSUPPORTED, "the file is empty")
    try:
        with silence:
            read = read_jpeg if data.startswith(JPEG_SIGNATURE) else read_other
            return read(data, wanted)
    except Image.DecompressionBombError:
        return Failure(
            FailureCode.DECODE_TOO_LARGE,
            f"more pixels than the {MAX_PIXELS // 1_000_000} million that are decoded at most",
        )
    except UnidentifiedImageError:
        return _unreadable(data, "starts like an image, but its header is damaged")
    except MemoryError:
        return Failure(FailureCode.DECODE_OUT_OF_MEMORY, "there was not enough memory for it")
    # Third-party decoders raise nearly every exception type on malformed input; the type is kept.
    except Exception as error:  # noqa: BLE001
        return _unreadable(data, f"{type(error).__name__}: {error}")

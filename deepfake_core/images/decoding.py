"""From bytes to pixels: the one decoder that training, scans and the service share."""

from __future__ import annotations

import numpy as np
from PIL import Image, UnidentifiedImageError

from deepfake_core.images import cost, jpeg
from deepfake_core.images.colour import Colour
from deepfake_core.images.conversion import Background
from deepfake_core.images.cost import NOTHING_TOLD, cost_of
from deepfake_core.images.exif_orientation import SIDEWAYS_ORIENTATIONS
from deepfake_core.images.formats import has_image_signature
from deepfake_core.images.isolation import decoders
from deepfake_core.images.jpeg import JPEG_SIGNATURE, expected_seconds, read_jpeg
from deepfake_core.images.jpeg_segments import read_facts
from deepfake_core.images.other_formats import read_other
from deepfake_core.images.picture import (
    LARGE_PIXELS,
    MAX_PIXELS,
    Loaded,
    Picture,
    Wanted,
    one_at_a_time,
)
from deepfake_core.images.silence import silence
from deepfake_core.records import Decoded, Failure, FailureCode, UInt8Array

__all__ = [
    "LARGE_PIXELS", "MAX_PIXELS", "SIDEWAYS_ORIENTATIONS", "Loaded", "Picture", "decode",
    "decode_picture", "has_image_signature", "load", "resize", "silence",
]  # fmt: skip

# JPEGs are decoded at the smallest 1/1, 1/2, 1/4 or 1/8 scale that leaves this many times the
# network's input; docs/decisions/0004 holds the measured effect on scores.
SCALED_DECODING_FACTOR = 2
# JPEGs that take longer are decoded in a process that can be ended.
BESIDE_SECONDS = 1.0
OUT_OF_MEMORY = Failure(
    FailureCode.DECODE_OUT_OF_MEMORY, "there was not enough memory to decode it"
)
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
    """Decode here, or in another process where that may take long or much memory."""
    if data.startswith(JPEG_SIGNATURE):
        facts = read_facts(data)
        heavy, pixels = expected_seconds(data, facts) > BESIDE_SECONDS, 0
        failure = jpeg.refusal(data, facts)
    else:
        told = cost_of(data) if has_image_signature(data) else NOTHING_TOLD
        failure = cost.refusal(data, told)
        heavy, pixels = cost.is_heavy(data, told), told.pixels
    if failure:
        return failure
    if not heavy:
        return decode_here(data, wanted)
    with one_at_a_time(pixels):
        return decoders.decode(data, wanted)


def decode_here(data: bytes, wanted: Wanted) -> Loaded | Failure:
    """Decode in this thread, however long it takes; see `load`."""
    if not data:
        return Failure(FailureCode.DECODE_UNSUPPORTED, "the file is empty")
    decoded = _decode_or_complaint(data, wanted)
    # Asked outside, where no traceback holds what was allocated any more.
    return _unreadable(data, decoded) if isinstance(decoded, str) else decoded


def _decode_or_complaint(data: bytes, wanted: Wanted) -> Loaded | Failure | str:
    try:
        with silence:
            read = read_jpeg if data.startswith(JPEG_SIGNATURE) else read_other
            return read(data, wanted)
    except Image.DecompressionBombError:
        return Failure(FailureCode.DECODE_TOO_LARGE, "more pixels than are decoded at most")
    except UnidentifiedImageError:
        return "starts like an image, but its header is damaged"
    except MemoryError:
        return OUT_OF_MEMORY
    # Third-party decoders raise nearly every exception type on malformed input; the type is kept.
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"


def _unreadable(data: bytes, detail: str) -> Failure:
    if not has_image_signature(data):
        return Failure(FailureCode.DECODE_UNSUPPORTED, "not an image in a format that is read here")
    # Most decoders say the same of a lack of memory as of damage.
    if cost.lacks_memory(cost_of(data)):
        return OUT_OF_MEMORY
    # Messages may quote bytes of the file, which need not be printable nor even Unicode.
    printable = detail.encode("ascii", "backslashreplace").decode()
    return Failure(FailureCode.DECODE_CORRUPT, printable)

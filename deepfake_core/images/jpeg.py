"""Strict decoding of JPEGs: one that lost a part is refused, however it was closed."""

from __future__ import annotations

import io
import re

import numpy as np
import simplejpeg
from PIL import Image

from deepfake_core.images.colour import to_srgb
from deepfake_core.images.exif_orientation import exif_orientation
from deepfake_core.images.jpeg_segments import (
    END_OF_IMAGE,
    JpegFacts,
    read_facts,
    segments,
    with_clean_header,
)
from deepfake_core.images.picture import (
    MAX_PIXELS,
    Loaded,
    Wanted,
    one_at_a_time,
    too_large,
    upright,
)
from deepfake_core.records import Failure, FailureCode, UInt8Array

JPEG_SIGNATURE = b"\xff\xd8\xff"
END = b"\xff\xd9"
# What a pass over a coefficient, a byte and a coefficient's pixel cost, in nanoseconds: measured
# with empty scans, with noise and with smooth pictures, and doubled.
SCANNED_NS, BYTE_NS, COEFFICIENT_NS = 1, 60, 5
# Encoders make about ten scans; a file of thousands would keep a processor busy for hours.
MAX_SECONDS = 5.0
MAX_STRAY = 64
# Decoders keep two bytes per coefficient where several scans bring them.
MAX_BUFFERED = 150_000_000
# Some cameras leave a few bytes before a marker. More is a gap that was filled up.
HARMLESS_EXTRA_BYTES = 16
FILLING = bytes(32)
FILLED_UP = FILLING + END
# Larger files are not searched for the end of their pixels, which takes a dozen decodings.
MAX_STRAY_FILE = 4_000_000
# By chance a file of pixels has not one such newline in 256.
MANY_NEWLINES = 8
# Bytes that the decoder has read ahead when it finds that they are not pixels.
READ_AHEAD = 8

_DAMAGE = re.compile(
    "premature end of data|bad huffman|bad arithmetic|instead of rst|before marker 0xd[0-7]",
    re.IGNORECASE,
)
_NO_END = re.compile("premature end of jpeg file", re.IGNORECASE)
_EXTRA_BYTES = re.compile(r"(\d+) extraneous bytes before marker 0x(..)")

Shape = dict[str, str | int]


def expected_seconds(data: bytes, facts: JpegFacts) -> float:
    """About how long one decoding takes, at most."""
    work = facts.scanned * SCANNED_NS + len(data) * BYTE_NS + facts.coefficients * COEFFICIENT_NS
    return work / 1e9


def read_jpeg(data: bytes, wanted: Wanted) -> Loaded | Failure:
    """Decode a JPEG to upright RGB; raises what the decoders raise."""
    facts = read_facts(data)
    if failure := refusal(data, facts):
        return failure
    reduction, pixels = wanted.jpeg_reduction(facts.width, facts.height), facts.width * facts.height
    with one_at_a_time(pixels if facts.buffered else pixels // reduction**2):
        decoded = _decode(data, facts, reduction)
    if isinstance(decoded, Failure):
        return decoded
    image, kind = decoded
    if wanted.colour == "srgb" and facts.profile:
        grey = facts.components == 1 and image.mode == "RGB"
        image = to_srgb(image.convert("L") if grey else image, facts.profile)
    return upright(
        image if image.mode == "RGB" else image.convert("RGB"),
        exif_orientation(facts.exif),
        kind=kind,
        reduction=reduction,
        size=(facts.width, facts.height),
    )


def refusal(data: bytes, facts: JpegFacts) -> Failure | None:
    """Why a JPEG is not decoded, as far as its markers tell."""
    if facts.width * facts.height > MAX_PIXELS:
        return too_large(facts.width, facts.height)
    if facts.too_many:
        return Failure(FailureCode.DECODE_TOO_LARGE, "more segments than a picture has")
    if facts.unusual:
        whole = data.rstrip(b"\0").endswith(END)
        code = FailureCode.DECODE_UNSUPPORTED if whole else FailureCode.DECODE_CORRUPT
        return Failure(code, f"{facts.unusual}, which is not read here")
    if expected_seconds(data, facts) > MAX_SECONDS:
        detail = f"{facts.scans} scans of {facts.coefficients} values take too long to decode"
        return Failure(FailureCode.DECODE_TOO_LARGE, detail)
    if facts.buffered and facts.coefficients > MAX_BUFFERED:
        detail = f"{facts.coefficients} values that several scans bring need too much memory"
        return Failure(FailureCode.DECODE_TOO_LARGE, detail)
    if facts.frame and not facts.complete:
        return Failure(FailureCode.DECODE_CORRUPT, "truncated: scans of the image are missing")
    if _was_sent_as_text(data, facts.first_scan):
        detail = "damaged: line ends were put into it, as if it were a text"
        return Failure(FailureCode.DECODE_CORRUPT, detail)
    return None


def _was_sent_as_text(data: bytes, start: int) -> bool:
    """Whether each newline among the pixels has got a carriage return before it.

    No decoder complains of that as a rule: pixels drift off, and their number is right.
    """
    end = max(data.rfind(END), 0)
    first = data.find(b"\n", start, end)
    # All but always the first one tells, so that no more of a large file is looked through.
    if first < 1 or data[first - 1] != ord("\r"):
        return False
    newlines = data.count(b"\n", start, end)
    return newlines >= MANY_NEWLINES and data.count(b"\r\n", start, end) == newlines


def _decode(data: bytes, facts: JpegFacts, reduction: int) -> tuple[Image.Image, str] | Failure:
    """The pixels as they are stored, and the format.

    Pillow drops libjpeg's warnings, so that a file cut and closed with an end marker, or filled
    up with zeros, would be judged with half its pixels missing. The strict decoder reports them;
    harmless oddities that it also refuses are left to Pillow, as is what it does not know.

    Returns:
        Mode RGB, CMYK or L, not yet turned upright; or a failure where a part is missing.
    """
    shape: Shape = {
        "colorspace": "CMYK" if facts.components == 4 else "RGB",
        "min_width": -(-facts.width // reduction) if reduction > 1 else 0,
        "min_height": -(-facts.height // reduction) if reduction > 1 else 0,
    }
    decoded = _decode_whole(data, shape)
    if isinstance(decoded, str) and (_is_damage(decoded) or FILLED_UP in data):
        return Failure(FailureCode.DECODE_CORRUPT, f"truncated or damaged: {decoded}")
    if not isinstance(decoded, str) and facts.components != 4 and not facts.several:
        return Image.fromarray(decoded), "JPEG"
    # Pillow goes over what is between the segments byte by byte.
    clean = with_clean_header(data, keep_metadata=True) if facts.stray > MAX_STRAY else data
    image = Image.open(io.BytesIO(clean), formats=("JPEG",))
    if not isinstance(decoded, str) and facts.components != 4:
        return Image.fromarray(decoded), image.format or "JPEG"
    image.draft("RGB", (max(1, image.width // reduction), max(1, image.height // reduction)))
    image.load()
    return image, image.format or "JPEG"


def _decode_whole(data: bytes, shape: Shape) -> UInt8Array | str:
    """The pixels where all are there, or the complaint that counts.

    Only the first complaint is told, so that each that is harmless is removed with its cause.
    """
    decoded = _decode_strictly(data, shape)
    if isinstance(decoded, str) and not _is_about_the_end(decoded):
        clean = with_clean_header(data)
        if not _DAMAGE.search(decoded) and len(clean) < len(data):
            data, decoded = clean, _decode_strictly(clean, shape)
    if isinstance(decoded, str) and _NO_END.search(decoded):
        # The marker alone may be missing: pixels that are too are complained of once it is there.
        # Zeros at the end are none: pixels end in a byte that is filled up with ones.
        data = data.rstrip(b"\0") + END
        decoded = _decode_strictly(data, shape)
    if isinstance(decoded, str) and _is_about_the_end(decoded) and len(data) <= MAX_STRAY_FILE:
        before = _decode_before_strays(data, decoded, shape)
        return decoded if before is None else before
    return decoded


def _decode_strictly(data: bytes, shape: Shape) -> UInt8Array | str:
    """The pixels, or the decoder's first complaint."""
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, **shape))
    except ValueError as error:
        return str(error)


def _is_damage(complaint: str) -> bool:
    """Whether a complaint about what follows the header means that pixels are missing."""
    extra = _EXTRA_BYTES.search(complaint)
    return bool(_DAMAGE.search(complaint)) or bool(extra and int(extra[1]) > HARMLESS_EXTRA_BYTES)


def _is_about_the_end(complaint: str) -> bool:
    """Whether the complaint is that the end marker is missing, or late."""
    extra = _EXTRA_BYTES.search(complaint)
    return bool(_NO_END.search(complaint)) or bool(extra and extra[2] == "d9")


def _decode_before_strays(data: bytes, complaint: str, shape: Shape) -> UInt8Array | None:
    """The pixels without the bytes between them and the end marker, where none is missing.

    A gap in the middle, too, leaves bytes over at the end. But coded pixels end in a byte that
    is filled up with ones, and a decoder that lost its way ends anywhere.
    """
    extra = _EXTRA_BYTES.search(complaint)
    end = next((offset for code, offset, _ in segments(data) if code == END_OF_IMAGE), 0)
    start = end - int(extra[1]) if extra else 0
    if start <= 0 or FILLING in data[start:end]:
        return None
    for last in range(start - READ_AHEAD, start + 1):
        pixels = _decode_strictly(data[:last] + END, shape)
        if not isinstance(pixels, str):
            return pixels if _ends_in_ones(data[:last], pixels, shape) else None
    return None


def _ends_in_ones(data: bytes, pixels: UInt8Array, shape: Shape) -> bool:
    """Whether the bits of the last byte that no pixel needs are all ones."""
    if data[-1] == 0:
        return data[-2] == 0xFF
    ones = 0
    for bits in range(1, 8):
        changed = bytes([data[-1] ^ ((1 << bits) - 1)])
        other = _decode_strictly(data[:-1] + changed + END, shape)
        if isinstance(other, str) or not np.array_equal(other, pixels):
            break
        ones = (1 << bits) - 1
    return data[-1] & ones == ones

"""Strict decoding of JPEGs: one that lost a part is refused, however it was closed."""

import re
from collections.abc import Iterator

import numpy as np
import simplejpeg
from PIL import Image

from deepfake_core.records import Failure, FailureCode, UInt8Array

START_OF_SCAN = 0xDA
END_OF_IMAGE = 0xD9
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE_FRAMES = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
ALL_COEFFICIENTS = (1 << 64) - 1
# Each scan of a progressive JPEG is a pass over all pixels, even an empty one of a dozen bytes.
# Encoders make about ten; a file of thousands would keep a processor busy for hours.
MAX_SCANNED_PIXELS = 2_400_000_000
# Some cameras leave a few bytes before a marker. More is a gap that was filled up.
HARMLESS_EXTRA_BYTES = 16
FILLED_UP = bytes(32) + b"\xff\xd9"

_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_DAMAGE = re.compile(
    "premature end|bad huffman|bad arithmetic|instead of rst|before marker 0xd[0-7]", re.IGNORECASE
)
_EXTRA_BYTES = re.compile(r"(\d+) extraneous bytes")


def decode_jpeg(data: bytes, image: Image.Image, *, reduction: int) -> Image.Image | Failure:
    """Decode a JPEG to RGB, at a smaller scale if asked to.

    Pillow drops libjpeg's warnings, so that a file cut and closed with an end marker, or filled
    up with zeros, would be judged with half its pixels missing. The strict decoder reports them;
    harmless oddities that it also refuses are left to Pillow.

    Args:
        data: the bytes of the file.
        image: the same file, opened with Pillow and not loaded yet.
        reduction: 1, 2, 4 or 8: how many pixels a side of the file become one.

    Returns:
        Mode RGB, CMYK or L, not yet turned upright; or a failure where a part is missing.
    """
    scans, complete = _scans(data)
    if scans * image.width * image.height > MAX_SCANNED_PIXELS:
        return Failure(
            FailureCode.DECODE_TOO_LARGE,
            f"{scans} scans of {image.width} x {image.height} pixels take too long to decode",
        )
    if not complete:
        return Failure(FailureCode.DECODE_CORRUPT, "truncated: scans of the image are missing")
    # The scale is found by Pillow: the strict decoder would also take scales between the powers
    # of two and then resample differently from every other reader of the same file.
    full_size = image.size
    image.draft("RGB", (max(1, image.width // reduction), max(1, image.height // reduction)))
    shape = {
        "colorspace": "CMYK" if image.mode == "CMYK" else "RGB",
        "min_width": image.width if image.size != full_size else 0,
        "min_height": image.height if image.size != full_size else 0,
    }
    decoded = _decode_strictly(data, shape)
    if isinstance(decoded, str) and not _DAMAGE.search(decoded):
        # Only the first complaint is told, so one about the header may hide a worse one.
        decoded = _decode_strictly(_with_clean_header(data), shape)
    if isinstance(decoded, str) and (_is_damage(decoded) or FILLED_UP in data):
        return Failure(FailureCode.DECODE_CORRUPT, f"truncated or damaged: {decoded}")
    if isinstance(decoded, str) or image.mode == "CMYK":
        image.load()
        return image
    rgb = Image.fromarray(decoded)
    return rgb.convert("L") if image.mode == "L" else rgb


def _decode_strictly(data: bytes, shape: dict[str, str | int]) -> UInt8Array | str:
    """The pixels, or the decoder's first complaint."""
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, **shape))
    except ValueError as error:
        return str(error)


def _is_damage(complaint: str) -> bool:
    """Whether a complaint about what follows the header means that pixels are missing."""
    extra = _EXTRA_BYTES.search(complaint)
    return bool(_DAMAGE.search(complaint)) or bool(extra and int(extra[1]) > HARMLESS_EXTRA_BYTES)


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The marker segments up to the end marker: code, offset of the marker, body.

    The search steps over the coded pixels after a scan's header, in which 0xff is always
    followed by 0x00 or a restart marker.
    """
    position = 2
    while marker := _MARKER.search(data, position):
        code, position = marker[1][0], marker.end()
        if code == END_OF_IMAGE:
            return
        if 0xD0 <= code <= 0xD8 or code == 0x01:
            continue
        length = max(int.from_bytes(data[position : position + 2], "big"), 2)
        yield code, marker.start(), data[position + 2 : position + length]
        position += length


def _scans(data: bytes) -> tuple[int, bool]:
    """The number of scans, and whether together they send every bit of every coefficient.

    A progressive file cut between two scans and closed decodes without any complaint, to a
    coarser picture or to one without its colours.
    """
    count, sequential = 0, True
    missing: dict[int, int] = {}
    for code, _, body in _segments(data):
        if code in FRAMES and len(body) > 5:
            sequential = code not in PROGRESSIVE_FRAMES
            missing = dict.fromkeys(body[6 : 6 + 3 * body[5] : 3], ALL_COEFFICIENTS)
        elif code == START_OF_SCAN and len(body) >= 4 + 2 * body[0]:
            count += 1
            names = body[1 : 1 + 2 * body[0] : 2]
            sent = ALL_COEFFICIENTS if sequential else _finished_band(body[1 + 2 * body[0] :])
            missing |= {name: missing.get(name, 0) & ~sent for name in names}
            if sequential and not any(missing.values()):
                break
    return count, count > 0 and not any(missing.values())


def _finished_band(parameters: bytes) -> int:
    """The coefficients, as bits, whose last bit a progressive scan sends."""
    first, last, approximation = parameters[:3]
    if approximation & 0x0F or last < first:
        return 0
    return ((1 << (last - first + 1)) - 1) << first


def _with_clean_header(data: bytes) -> bytes:
    """The file without metadata and without stray bytes before its first scan."""
    parts = [b"\xff\xd8"]
    for code, offset, body in _segments(data):
        if code == START_OF_SCAN:
            return b"".join([*parts, data[offset:]])
        # Of the metadata only JFIF and Adobe's segment say something about the colours.
        if code in (0xE0, 0xEE) or not (0xE0 <= code <= 0xEF or code == 0xFE):
            parts.append(bytes((0xFF, code)) + (len(body) + 2).to_bytes(2, "big") + body)
    return data

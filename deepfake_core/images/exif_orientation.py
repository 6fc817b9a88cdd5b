"""How a picture is to be turned: the one tag of EXIF that its pixels depend on.

Pillow's own reader also asks XMP, which the standard readers do not, and copies every entry.
"""

from __future__ import annotations

import struct

from PIL import Image

ORIENTATION_TAG = 0x0112
SHORT, LONG = 3, 4
SIDEWAYS_ORIENTATIONS = frozenset({5, 6, 7, 8})
TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ENTRY = 12


def exif_orientation(block: object) -> int:
    """The orientation that an EXIF block tells.

    Args:
        block: the bytes, with or without ``Exif`` before them; anything else counts as none.

    Returns:
        1 to 8; 1 where there is none or where the block is damaged.
    """
    if not isinstance(block, bytes):
        return 1
    tiff = block[6:] if block.startswith(b"Exif\0\0") else block
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 10:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
    except struct.error:
        return 1
    entries = memoryview(tiff)[start + 2 : start + 2 + count * _ENTRY]
    return _orientation_of(entries, order)


def _orientation_of(entries: memoryview, order: str) -> int:
    for at in range(0, len(entries) - _ENTRY + 1, _ENTRY):
        tag, kind, number = struct.unpack_from(order + "HHI", entries, at)
        if tag == ORIENTATION_TAG:
            value = struct.unpack_from(order + ("I" if kind == LONG else "H"), entries, at + 8)[0]
            valid = number == 1 and kind in (SHORT, LONG) and 1 <= value <= 8
            return int(value) if valid else 1
    return 1


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The picture upright."""
    return image.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else image

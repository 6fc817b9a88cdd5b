"""Signs that a file lost its end, for formats whose decoders do not notice."""

import zlib

# Compressed pixels never end in a long run of zeros; a download into a file that was given its
# full length beforehand, and that broke off, does.
ZEROS_AT_LEAST = 64
ZEROS_SHARE = 8
PIXEL_BOXES = frozenset({b"meta", b"mdat", b"moov"})


def find_loss(data: bytes, image_format: str) -> str | None:
    """What shows that a part of the file is missing, None where nothing does.

    Args:
        data: the bytes of the file.
        image_format: as Pillow names it. JPEGs have a strict decoder of their own; most other
            formats are refused by their decoders wherever they are cut.
    """
    if image_format == "PNG":
        return None if _checksums_fit(data) else "a checksum of its pixels is wrong"
    if image_format == "WEBP":
        # What lies beyond the length in the header is no part of the image.
        data = data[: int.from_bytes(data[4:8], "little") + 8]
    elif image_format not in ("AVIF", "HEIF"):
        return None
    elif _box_is_cut(data):
        return "it is shorter than it says"
    tail = data[-max(ZEROS_AT_LEAST, len(data) // ZEROS_SHARE) :]
    return None if tail.strip(b"\x00") else "it ends in zeros, as if only partly written"


def _checksums_fit(data: bytes) -> bool:
    """Whether the pixel chunks of a PNG are as they were written; Pillow does not ask.

    Zeros in the place of compressed pixels often decode, to garbage.
    """
    view = memoryview(data)
    position = 8
    while position + 8 <= len(data):
        end = position + 8 + int.from_bytes(view[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        stored = int.from_bytes(view[end : end + 4], "big")
        if kind == b"IDAT" and zlib.crc32(view[position + 4 : end]) != stored:
            return False
        if kind == b"IEND":
            break
        position = end + 4
    return True


def _box_is_cut(data: bytes) -> bool:
    """Whether a HEIC or AVIF file ends within its description or its pixels.

    A photograph of a telephone is a grid of tiles; libheif leaves those grey that it lacks.
    What some telephones append after the last box is no box, so other kinds do not count.
    """
    position = 0
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        if length == 1:
            length = int.from_bytes(data[position + 8 : position + 16], "big")
        if length == 0:
            return False
        position += max(length, 8)
        if position > len(data):
            return kind in PIXEL_BOXES
    return False

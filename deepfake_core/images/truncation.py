"""Signs that a file lost its end, for formats whose decoders do not notice."""

from __future__ import annotations

from deepfake_core.images.heif_boxes import coded_spans

# Compressed pixels never end in a long run of zeros; a download into a file that was given its
# full length beforehand, and that broke off, does.
ZEROS_AT_LEAST = 64
ZEROS_SHARE = 8
WEBP_PIXELS = frozenset({b"VP8 ", b"VP8L", b"ANMF", b"ALPH"})
MAX_CHUNKS = 10_000
CUT = "it is shorter than it says"
ZEROS = "it ends in zeros, as if only partly written"
PIXEL_BOXES = frozenset({b"meta", b"mdat", b"moov"})


def find_loss(data: bytes, image_format: str) -> str | None:
    """What shows that a part of the file is missing, None where nothing does.

    Args:
        data: the bytes of the file.
        image_format: as Pillow names it. JPEGs and PNGs have checks of their own; most other
            formats are refused by their decoders wherever they are cut.
    """
    if image_format == "WEBP":
        parts = [_webp_pixels(data)]
    elif image_format in ("AVIF", "HEIF"):
        if _box_is_cut(data):
            return CUT
        spans = coded_spans(data)
        if spans and max(end for _, end in spans) > len(data):
            return CUT
        parts = [data[start:end] for start, end in spans] if spans else [data]
    else:
        return None
    return ZEROS if any(map(_ends_in_zeros, parts)) else None


def _ends_in_zeros(coded: bytes) -> bool:
    tail = coded[-max(ZEROS_AT_LEAST, len(coded) // ZEROS_SHARE) :]
    return len(coded) >= ZEROS_AT_LEAST and not tail.strip(b"\x00")


def _webp_pixels(data: bytes) -> bytes:
    """The file up to the end of its last pixels; metadata may follow them, and be padded."""
    # What lies beyond the length in the header is not part of the image.
    data = data[: int.from_bytes(data[4:8], "little") + 8]
    position = last = 12
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data):
            break
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        kind, position = data[position : position + 4], position + 8 + length + length % 2
        if kind in WEBP_PIXELS:
            last = position
    return data[:last] if last > 12 else data


def _box_is_cut(data: bytes) -> bool:
    """Whether a HEIC or AVIF file ends within its description or its pixels.

    A photograph of a telephone is a grid of tiles; libheif leaves those grey that it lacks.
    What some telephones append after the last box is not a box, so other kinds do not count.
    """
    position = 0
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data):
            return False
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

"""What decoding a file will cost, told by its first bytes and before anything is allocated."""

from __future__ import annotations

import gc
import mmap
import re
import struct
from typing import NamedTuple

from deepfake_core.images.formats import TGA_FOOTER, is_heif
from deepfake_core.images.heif_boxes import declared_size
from deepfake_core.images.picture import MAX_PIXELS, too_large
from deepfake_core.images.tiff import TIFF_SIGNATURES, tiff_size
from deepfake_core.records import Failure, FailureCode

MEGA = 1_000_000
# OpenJPEG keeps a structure of some kilobytes for each tile and component.
MAX_TILES = 4096
BYTES_PER_PIXEL = 16
MAX_NEEDED_BYTES = 256 * 2**20
_CODESTREAM = b"\xff\x4f\xff\x51"
_CODING_STYLE = b"\xff\x52"
_NUMBERS = re.compile(rb"P[1-6](?:\s+|#[^\r\n]*[\r\n])+(\d+)(?:\s+|#[^\r\n]*[\r\n])+(\d+)")


class Limits(NamedTuple):
    """How many pixels of a format are decoded at most, and how many beside other work.

    Measured with Pillow 13 and pi-heif 1.4: the most bytes that decoding takes for each pixel
    are about 8 (PNG, TIFF), 10 (AVIF, HEIC), 16 (WebP) and 19 (JPEG 2000). Most
    decoders keep the interpreter's lock for 20 to 60 ns a pixel, those in Python for 500.

    Attributes:
        most: pixels; more would take more than some 400 MB, or seconds.
        beside: pixels; more are decoded in a process of their own, which can be ended.
        beside_bytes: likewise, of the file.
    """

    most: int
    beside: int
    beside_bytes: int


LIMITS = {
    "PNG": Limits(MAX_PIXELS, 16 * MEGA, 16 * MEGA),
    "TIFF": Limits(MAX_PIXELS, 16 * MEGA, 50 * MEGA),
    "BMP": Limits(100 * MEGA, 16 * MEGA, 50 * MEGA),
    "GIF": Limits(50 * MEGA, 4 * MEGA, MEGA),
    "WEBP": Limits(25 * MEGA, 4 * MEGA, 4 * MEGA),
    "HEIF": Limits(50 * MEGA, 4 * MEGA, 4 * MEGA),
    "JPEG2000": Limits(MAX_PIXELS, MEGA, MEGA),
    # Decoded in Python, or by parsers in Python that small files keep busy.
    "QOI": Limits(8 * MEGA, MEGA // 10, MEGA // 10),
    "PPM": Limits(50 * MEGA, MEGA // 4, MEGA // 4),
    "OTHER": Limits(50 * MEGA, MEGA // 4, 16_384),
}


class Cost(NamedTuple):
    """What is known of a file before it is opened.

    Attributes:
        kind: the key of its limits.
        width: pixels that it declares; 0 where that is not known.
        height: likewise.
    """

    kind: str
    width: int
    height: int

    @property
    def pixels(self) -> int:
        """Pixels that it declares."""
        return self.width * self.height


NOTHING_TOLD = Cost("OTHER", 0, 0)


def refusal(data: bytes, cost: Cost) -> Failure | None:
    """Why the file is not decoded, as far as its size tells."""
    most = LIMITS[cost.kind].most
    if cost.pixels > most:
        return too_large(cost.width, cost.height, most)
    if cost.kind == "JPEG2000" and (tiles := _tiles(data)) > MAX_TILES:
        detail = f"{tiles} tiles; at most {MAX_TILES} are decoded"
        return Failure(FailureCode.DECODE_TOO_LARGE, detail)
    return None


def is_heavy(data: bytes, cost: Cost) -> bool:
    """Whether decoding may take long, much memory, or keep other threads waiting."""
    limits = LIMITS[cost.kind]
    return cost.pixels > limits.beside or len(data) > limits.beside_bytes


def lacks_memory(cost: Cost) -> bool:
    """Whether there is not even room for what decoding takes."""
    needed = max(min(cost.pixels * BYTES_PER_PIXEL, MAX_NEEDED_BYTES), 1)
    if _has_room(needed):
        return False
    # What failed may lie in a circle that is collected later.
    gc.collect()
    return not _has_room(needed)


def _has_room(needed: int) -> bool:
    try:
        mmap.mmap(-1, needed).close()
    except (OSError, MemoryError):
        return False
    return True


def cost_of(data: bytes) -> Cost:
    """What the first bytes of a file say; any bytes are allowed."""
    try:
        return _told(data)
    except struct.error:
        return NOTHING_TOLD


def _told(data: bytes) -> Cost:
    if data.startswith(b"\x89PNG"):
        return Cost("PNG", *struct.unpack_from(">II", data, 16))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Cost("WEBP", *_webp_size(data))
    if is_heif(data):
        return Cost("HEIF", *declared_size(data))
    if data.startswith((b"GIF87a", b"GIF89a")):
        return Cost("GIF", *struct.unpack_from("<HH", data, 6))
    if data.startswith(TIFF_SIGNATURES):
        return Cost("TIFF", *tiff_size(data))
    if data.startswith((b"\0\0\0\x0cjP  ", _CODESTREAM)):
        return Cost("JPEG2000", *_codestream_size(data))
    if data.startswith(b"qoif"):
        return Cost("QOI", *struct.unpack_from(">II", data, 4))
    return _told_by_rarer(data)


def _told_by_rarer(data: bytes) -> Cost:
    if numbers := _NUMBERS.match(data[:4096]):
        return Cost("PPM", int(numbers[1][:10]), int(numbers[2][:10]))
    if data.startswith(b"BM") and data[14:18] != b"\x0c\0\0\0":
        width, height, _, _, compression = struct.unpack_from("<iiHHI", data, 18)
        return Cost("BMP" if compression in (0, 3) else "OTHER", abs(width), abs(height))
    if data.startswith(b"8BPS"):
        height, width = struct.unpack_from(">II", data, 14)
        return Cost("OTHER", width, height)
    if data.startswith(b"DDS "):
        height, width = struct.unpack_from("<II", data, 12)
        return Cost("OTHER", width, height)
    if data.startswith(b"\x01\xda"):
        return Cost("OTHER", *struct.unpack_from(">HH", data, 6))
    if data.endswith(TGA_FOOTER):
        return Cost("OTHER", *struct.unpack_from("<HH", data, 12))
    return Cost("OTHER", 0, 0)


def _webp_size(data: bytes) -> tuple[int, int]:
    """The canvas, or the picture where there is none."""
    kind = data[12:16]
    if kind == b"VP8X":
        return (
            int.from_bytes(data[24:27], "little") + 1,
            int.from_bytes(data[27:30], "little") + 1,
        )
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _size_marker(data: bytes) -> tuple[int, ...]:
    """The numbers of a codestream: its ends, its offset, tile size, tile offset."""
    start = data.find(_CODESTREAM)
    return struct.unpack_from(">8I", data, start + 8) if start >= 0 else (0,) * 8


def resolutions(data: bytes) -> int:
    """How many times a JPEG 2000 can be halved while it is decoded."""
    style = data.find(_CODING_STYLE, max(data.find(_CODESTREAM), 0))
    return data[style + 9] if 0 <= style < len(data) - 9 else 0


def _codestream_size(data: bytes) -> tuple[int, int]:
    right, bottom, left, top = _size_marker(data)[:4]
    return max(right - left, 0), max(bottom - top, 0)


def _tiles(data: bytes) -> int:
    right, bottom, _, _, width, height, left, top = _size_marker(data)
    if not width or not height:
        return 0
    return -(-max(right - left, 0) // width) * -(-max(bottom - top, 0) // height)

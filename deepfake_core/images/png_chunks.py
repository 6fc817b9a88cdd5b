"""What of a PNG its pixels depend on, taken from its chunks; the rest is left behind.

Pillow refuses whole pictures for the size of a text or for the checksum of a chunk that is only
said about them, and shows the default image of an animation that hides it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from deepfake_core.images.icc import Primaries, Video, gamma_profile, video_profile

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# A picture of 100 million pixels in chunks of 8 kB has some 40,000.
MAX_CHUNKS = 60_000
MAX_PROFILE_BYTES = 16 * 2**20
GREY_TYPES = (0, 4)
# Ancillary chunks that decide how pixels look; a damaged one is as good as none.
KEPT = frozenset({b"tRNS", b"iCCP", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"eXIf", b"acTL", b"fcTL"})
PIXELS = frozenset({b"IDAT", b"fdAT"})


class PngDamage(Exception):
    """A part of the picture is missing or changed."""


class TooManyChunks(Exception):
    """More chunks than any picture needs."""


@dataclass(slots=True)
class Png:
    """A PNG in its parts.

    Attributes:
        header: the body of IHDR.
        chunks: the bodies of the first chunk of each kind that is kept.
        pixels: the bodies of IDAT.
        frame: the body of the first fcTL behind the pixels.
        frame_pixels: of fdAT, up to the next fcTL, without their numbers.
    """

    header: bytes = b""
    chunks: dict[bytes, bytes] = field(default_factory=dict)
    pixels: list[bytes] = field(default_factory=list)
    frame: bytes = b""
    frame_pixels: list[bytes] = field(default_factory=list)
    _frames_after: int = 0

    def take(self, kind: bytes, body: bytes) -> None:
        """Note a chunk."""
        if kind == b"IDAT":
            self.pixels.append(body)
        elif kind == b"fdAT" and self._frames_after == 1:
            self.frame_pixels.append(body[4:])
        elif kind == b"fcTL" and self.pixels:
            self._frames_after += 1
            self.frame = self.frame or body
        else:
            self.chunks.setdefault(kind, body)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole picture."""
        width, height = struct.unpack_from(">II", self.header)
        return int(width), int(height)

    @property
    def depth(self) -> int:
        """Bits per sample."""
        return self.header[8]

    @property
    def is_grey(self) -> bool:
        """Whether it has one channel of colour."""
        return self.header[9] in GREY_TYPES

    @property
    def hides_default(self) -> bool:
        """Whether the default image is not a frame of the animation that viewers show."""
        animated = b"acTL" in self.chunks and b"fcTL" not in self.chunks
        return animated and len(self.frame) >= 20 and bool(self.frame_pixels)

    def bare(self) -> bytes:
        """A PNG of the picture that viewers show first, with nothing but its pixels."""
        header, pixels = self.header, self.pixels
        if self.hides_default:
            header, pixels = self.frame[4:12] + self.header[8:], self.frame_pixels
        parts = [_chunk(b"IHDR", header)]
        if b"PLTE" in self.chunks:
            parts.append(_chunk(b"PLTE", self.chunks[b"PLTE"]))
        if b"tRNS" in self.chunks:
            parts.append(_chunk(b"tRNS", self._transparency(self.chunks[b"tRNS"])))
        return b"".join([SIGNATURE, *parts, _chunk(b"IDAT", b"".join(pixels)), _chunk(b"IEND")])

    @property
    def frame_offset(self) -> tuple[int, int] | None:
        """Where the hidden picture's first frame lies, if it is not all of it."""
        if not self.hides_default or self.frame[4:12] == self.header[:8]:
            return None
        left, top = struct.unpack_from(">II", self.frame, 12)
        return int(left), int(top)

    def _transparency(self, body: bytes) -> bytes:
        """The transparent colour in the values that Pillow's pixels have."""
        if self.header[9] not in (0, 2) or len(body) % 2:
            return body
        values = struct.unpack(f">{len(body) // 2}H", body)
        if self.depth == 16 and self.header[9] == 2:
            values = tuple(value >> 8 for value in values)
        elif self.depth < 8:
            values = tuple(value * 255 // ((1 << self.depth) - 1) & 0xFF for value in values)
        return struct.pack(f">{len(values)}H", *values)

    def profile(self) -> bytes | None:
        """The ICC profile that describes its colours, none where they are sRGB."""
        chunks = self.chunks
        if len(told := chunks.get(b"cICP", b"")) == 4:
            return video_profile(Video(told[0], told[1]), grey=self.is_grey)
        if b"iCCP" in chunks:
            return _inflated(chunks[b"iCCP"])
        if b"sRGB" in chunks or len(gamma := chunks.get(b"gAMA", b"")) != 4:
            return None
        primaries: Primaries | None = None
        if len(told := chunks.get(b"cHRM", b"")) == 32:
            numbers = [value / 100_000 for value in struct.unpack(">8I", told)]
            primaries = tuple(numbers[2:]), (numbers[0], numbers[1])
        exponent = int.from_bytes(gamma, "big") / 100_000
        return gamma_profile(exponent, primaries, grey=self.is_grey)


def read_png(data: bytes) -> Png:
    """Take a PNG apart.

    Raises:
        PngDamage: it is cut, or a chunk that its pixels need is not as it was written.
        TooManyChunks: see `MAX_CHUNKS`.
    """
    png = Png()
    for count, (kind, body, whole) in enumerate(_chunks(data)):
        if count == MAX_CHUNKS:
            raise TooManyChunks
        if not whole and (kind[:1].isupper() or kind in PIXELS):
            what = "pixels" if kind in PIXELS else kind.decode("ascii", "replace")
            raise PngDamage(f"a checksum of its {what} is wrong")
        if kind == b"iCCP" and body.partition(b"\0")[2][:1] not in (b"", b"\0"):
            raise PngDamage("its colour profile is packed in a way that no PNG knows")
        if kind == b"IHDR" and not png.header:
            png.header = body
        elif kind == b"IEND":
            break
        elif whole and (kind in KEPT or kind in PIXELS or kind == b"PLTE"):
            png.take(kind, body)
    if len(png.header) != 13 or not png.pixels:
        raise PngDamage("its header or its pixels are missing")
    return png


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Kind, body and whether the checksum fits, of each chunk."""
    position = len(SIGNATURE)
    while position + 8 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        body = data[position + 8 : end]
        stored = data[end : end + 4]
        yield kind, body, zlib.crc32(body, zlib.crc32(kind)) == int.from_bytes(stored, "big")
        position = end + 4


def _chunk(kind: bytes, body: bytes = b"") -> bytes:
    checksum = zlib.crc32(body, zlib.crc32(kind))
    return b"".join([struct.pack(">I", len(body)), kind, body, struct.pack(">I", checksum)])


def _inflated(body: bytes) -> bytes | None:
    """The profile of an iCCP chunk; none where it is damaged or larger than any."""
    _, _, packed = body.partition(b"\0")
    inflating = zlib.decompressobj()
    try:
        profile = inflating.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if inflating.eof else None

"""What the markers of a JPEG say, found in one pass and without its pixels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

START_OF_SCAN = 0xDA
END_OF_IMAGE = 0xD9
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE_FRAMES = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
ALL_COEFFICIENTS = (1 << 64) - 1
# A header of real files has some dozens; Pillow takes microseconds for each.
MAX_SEGMENTS = 20_000
# What no decoder here reads, by the code of the frame.
_UNUSUAL_FRAMES = {
    0xC3: "lossless JPEG",
    0xC5: "hierarchical JPEG",
    0xC6: "hierarchical JPEG",
    0xC7: "hierarchical lossless JPEG",
    0xCB: "lossless JPEG",
    0xCD: "hierarchical JPEG",
    0xCE: "hierarchical JPEG",
    0xCF: "hierarchical lossless JPEG",
    0xF7: "JPEG-LS",
}
_ALL_FRAMES = FRAMES | _UNUSUAL_FRAMES.keys()
# Each match is one byte further, whatever precedes it: runs of 0xff are legal and of any length.
# Restart markers and those without a body say nothing here, and may be millions.
_MARKER = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])")


@dataclass(slots=True)
class JpegFacts:
    """What the markers say.

    Attributes:
        frame: the code of the frame; 0 where there is none.
        width: pixels as they are stored.
        height: likewise.
        precision: bits per sample.
        components: their number.
        coefficients: how many the frame has, over all its components.
        scans: how many scans are decoded.
        scanned: coefficients that all scans go over.
        missing: the coefficients of each component that no scan finishes, as bits.
        first_scan: where the first scan's marker is; 0 where there is none.
        stray: bytes between the segments before the first scan.
        ended: whether there is an end marker; not looked for behind a single scan.
        too_many: there are more segments than `MAX_SEGMENTS`.
        exif: the first EXIF block, from ``Exif`` on.
        several: it holds more than one picture.
    """

    frame: int = 0
    width: int = 0
    height: int = 0
    precision: int = 8
    components: int = 0
    coefficients: int = 0
    scans: int = 0
    scanned: int = 0
    missing: dict[int, int] = field(default_factory=dict)
    first_scan: int = 0
    stray: int = 0
    ended: bool = False
    too_many: bool = False
    exif: bytes | None = None
    several: bool = False
    _profile: list[bytes] = field(default_factory=list)
    _blocks: dict[int, int] = field(default_factory=dict)

    @property
    def progressive(self) -> bool:
        """Whether its scans refine one another."""
        return self.frame in PROGRESSIVE_FRAMES

    @property
    def complete(self) -> bool:
        """Whether its scans together send every bit of every coefficient."""
        return self.scans > 0 and not any(self.missing.values())

    @property
    def buffered(self) -> bool:
        """Whether a decoder keeps all coefficients, since more than one scan brings them."""
        return self.progressive or self.scans > 1

    @property
    def profile(self) -> bytes | None:
        """The colour profile, put together."""
        return b"".join(chunk[14:] for chunk in sorted(self._profile)) or None

    @property
    def unusual(self) -> str | None:
        """The name of a variant that is not read here."""
        if self.frame in _UNUSUAL_FRAMES:
            return _UNUSUAL_FRAMES[self.frame]
        if self.frame and self.precision != 8:
            return f"{self.precision}-bit JPEG"
        if self.frame and self.components not in (1, 3, 4):
            return f"JPEG with {self.components} components"
        return None

    def take_metadata(self, code: int, body: bytes) -> None:
        """Note what an application's segment says of how the picture is to be shown."""
        if code == 0xE1 and self.exif is None and body.startswith(b"Exif\0\0"):
            self.exif = body
        elif code == 0xE2 and body.startswith(b"ICC_PROFILE\0"):
            self._profile.append(body)
        elif code == 0xE2 and body.startswith(b"MPF\0"):
            self.several = True

    def take_frame(self, code: int, body: bytes) -> None:
        """Note what a frame's header says: size, components, sampling."""
        self.frame, self.precision, self.components = code, body[0], body[5]
        height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        self.width, self.height = width, height
        parts = [body[at : at + 3] for at in range(6, min(len(body), 6 + 3 * body[5]) - 2, 3)]
        across = max((part[1] >> 4 for part in parts), default=1) or 1
        down = max((part[1] & 15 for part in parts), default=1) or 1
        for name, sampling, _ in parts:
            columns = -(-width * (sampling >> 4) // (8 * across))
            self._blocks[name] = columns * -(-height * (sampling & 15) // (8 * down))
        self.coefficients = 64 * sum(self._blocks.values())
        self.missing = dict.fromkeys(self._blocks, ALL_COEFFICIENTS)

    def take_scan(self, body: bytes) -> bool:
        """Note what a scan brings; returns whether no decoder looks at what follows it."""
        self.scans += 1
        names = body[1 : 1 + 2 * body[0] : 2]
        sent = ALL_COEFFICIENTS
        if self.progressive:
            sent = _finished_band(body[1 + 2 * body[0] :])
        for name in names:
            self.missing[name] = self.missing.get(name, 0) & ~sent
            self.scanned += 64 * self._blocks.get(name, 0)
        return not self.progressive and self.scans == 1 and self.complete


def read_facts(data: bytes) -> JpegFacts:
    """Read all markers up to the end marker, or to `MAX_SEGMENTS`."""
    facts, expected = JpegFacts(), 2
    for count, (code, offset, body) in enumerate(segments(data)):
        if count == MAX_SEGMENTS:
            facts.too_many = True
            break
        if not facts.first_scan:
            facts.stray += offset - expected
            expected = offset + 4 + len(body)
        if code == END_OF_IMAGE:
            facts.ended = True
            break
        if 0xE1 <= code <= 0xE2:
            facts.take_metadata(code, body)
        elif code in _ALL_FRAMES and len(body) > 5:
            facts.take_frame(code, body)
        elif code == START_OF_SCAN and body and len(body) >= 4 + 2 * body[0]:
            facts.first_scan = facts.first_scan or offset
            if facts.take_scan(body):
                break
    return facts


def segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The marker segments with the end marker: code, offset of the marker, body.

    The search steps over the coded pixels after a scan's header, in which 0xff is always
    followed by 0x00 or a restart marker.
    """
    position = 2
    while marker := _MARKER.search(data, position):
        code, position = marker[1][0], marker.end()
        if code == END_OF_IMAGE:
            yield code, marker.start(), b""
            return
        length = max(int.from_bytes(data[position : position + 2], "big"), 2)
        yield code, marker.start(), data[position + 2 : position + length]
        position += length


def with_clean_header(data: bytes, *, keep_metadata: bool = False) -> bytes:
    """The file without stray bytes before its first scan, and without metadata.

    Args:
        data: the bytes of the file.
        keep_metadata: keep what an application wrote, and leave out comments only.
    """
    parts = [b"\xff\xd8"]
    for code, offset, body in segments(data):
        if code in (START_OF_SCAN, END_OF_IMAGE):
            return b"".join([*parts, data[offset:]])
        # Of the metadata only JFIF and Adobe's segment say something about the colours.
        metadata = 0xE0 <= code <= 0xEF and code not in (0xE0, 0xEE) and not keep_metadata
        if not metadata and code != 0xFE:
            parts.append(bytes((0xFF, code)) + (len(body) + 2).to_bytes(2, "big") + body)
    return data


def _finished_band(parameters: bytes) -> int:
    """The coefficients, as bits, whose last bit a progressive scan sends."""
    first, last, approximation = parameters[:3]
    if approximation & 0x0F or last < first:
        return 0
    return ((1 << (last - first + 1)) - 1) << first

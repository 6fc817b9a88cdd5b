"""What a HEIC or AVIF file says of its pictures, without its decoders."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deepfake_core.images.icc import Video

MAX_BOXES = 10_000
MAX_EXTENTS = 20_000
# What an item may hold beside coded pixels.
NO_PIXELS = frozenset({b"Exif", b"mime", b"uri ", b"grid", b"iovl", b"iden", b"tmap"})
# The box in which HEIC and AVIF declare the size of an image: width and height follow.
_SIZE = re.compile(rb"\x00\x00\x00\x14ispe\x00\x00\x00\x00(....)(....)", re.DOTALL)
_VIDEO = re.compile(rb"colrnclx\x00(.)\x00(.)", re.DOTALL)

Box = tuple[bytes, int, int]
Span = tuple[int, int]


def declared_size(data: bytes) -> tuple[int, int]:
    """The largest size that a HEIC or AVIF file declares, 0 x 0 where there is none.

    Found without the decoders, which refuse large images with errors of their own or
    allocate them first.
    """
    sizes = (
        (int.from_bytes(match[1], "big"), int.from_bytes(match[2], "big"))
        for match in _SIZE.finditer(_description(data))
    )
    return max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))


def video_colours(data: bytes) -> Video | None:
    """The colours that the file tells by numbers."""
    video = _VIDEO.search(_description(data))
    return Video(video[1][0], video[2][0]) if video else None


def coded_spans(data: bytes) -> list[Span] | None:
    """From where to where the coded pixels lie; None where the file does not say it so."""
    meta = next((box for box in boxes(data, 0, len(data)) if box[0] == b"meta"), None)
    if meta is None:
        return None
    inside = {kind: (start, end) for kind, start, end in boxes(data, meta[1] + 4, meta[2])}
    if b"iloc" not in inside or b"iinf" not in inside:
        return None
    try:
        kinds = _kinds(data, *inside[b"iinf"])
        spans = _extents(data[slice(*inside[b"iloc"])])
    except IndexError:
        return None
    coded = [span for item, span in spans if kinds.get(item, b"mime") not in NO_PIXELS]
    return coded or None


def boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """Kind, and from where to where the body is, of the boxes in a part of a file."""
    for _ in range(MAX_BOXES):
        if start + 8 > end:
            return
        length, head = int.from_bytes(data[start : start + 4], "big"), 8
        if length == 1:
            length, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        stop = start + length if length else end
        yield data[start + 4 : start + 8], start + head, min(stop, end)
        start = max(stop, start + 8)


def _description(data: bytes) -> bytes:
    """The box meta; the whole file where there is none, as in sequences."""
    for kind, start, end in boxes(data, 0, len(data)):
        if kind == b"meta":
            return data[start:end]
    return data


def _kinds(data: bytes, start: int, end: int) -> dict[int, bytes]:
    """The type of each item, by its number."""
    kinds = {}
    for kind, begin, stop in boxes(data, start + (6 if data[start] == 0 else 8), end):
        if kind == b"infe" and data[begin] in (2, 3):
            wide = 2 if data[begin] == 2 else 4
            number = int.from_bytes(data[begin + 4 : begin + 4 + wide], "big")
            kinds[number] = data[begin + 6 + wide : min(begin + 10 + wide, stop)]
    return kinds


def _extents(body: bytes) -> list[tuple[int, Span]]:
    """Item number, and from where to where in the file, of each part of each item."""
    version, sizes = body[0], (body[4] >> 4, body[4] & 15, body[5] >> 4, body[5] & 15)
    offset_size, length_size, base_size = sizes[:3]
    index_size = sizes[3] if version in (1, 2) else 0
    number_size = 4 if version == 2 else 2
    at = 6
    spans: list[tuple[int, Span]] = []

    def number(size: int) -> int:
        nonlocal at
        if at + size > len(body):
            raise IndexError
        at += size
        return int.from_bytes(body[at - size : at], "big")

    for _ in range(number(number_size)):
        item = number(number_size)
        method = number(2) & 15 if version in (1, 2) else 0
        number(2)
        base = number(base_size)
        for _ in range(number(2)):
            number(index_size)
            start = base + number(offset_size)
            length = number(length_size)
            if method == 0 and length and len(spans) < MAX_EXTENTS:
                spans.append((item, (start, start + length)))
    return spans

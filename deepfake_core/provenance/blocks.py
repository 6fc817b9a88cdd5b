"""The blocks of metadata inside an image file, cut out without a decoder and within bounds."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

# Far more than honest files have; a hostile one is read to here and no further.
MAX_BLOCKS = 20_000
MAX_TEXTS = 64
MAX_TEXT_BYTES = 64 * 1024
MAX_BLOCK_BYTES = 1 * 2**20
MAX_STORE_BYTES = 16 * 2**20
XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
XMP_END = b"</x:xmpmeta>"
EXIF_HEAD = b"Exif\0\0"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_XMP = re.compile(rb"<x:xmpmeta\b")
_EXIF = re.compile(rb"Exif\0\0(?=II\*\0|MM\0\*)")


@dataclass(slots=True)
class Blocks:
    """What a file carries beside its pixels.

    Attributes:
        exif: the EXIF block from its byte order mark on; empty where there is none.
        xmp: the XMP packet, likewise.
        store: the JUMBF store of content credentials, likewise.
        texts: PNG text chunks and comments by their key, decompressed, cut to a bound.
    """

    exif: bytes = b""
    xmp: bytes = b""
    store: bytes = b""
    texts: dict[str, str] = field(default_factory=dict)


def read_blocks(data: bytes) -> Blocks:
    """Cut the metadata out of a file of any format; never raises."""
    blocks = Blocks()
    if data.startswith(b"\xff\xd8"):
        _read_jpeg(data, blocks)
    elif data.startswith(PNG_SIGNATURE):
        _read_png(data, blocks)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _read_webp(data, blocks)
    elif data[4:8] == b"ftyp":
        _read_boxes(data, blocks)
    if not blocks.xmp and not data.startswith((b"\xff\xd8", PNG_SIGNATURE)):
        match = _XMP.search(data)
        blocks.xmp = _packet(data, match.start()) if match else b""
    return blocks


def _packet(data: bytes, start: int) -> bytes:
    """An XMP packet that lies somewhere in a file; what follows it are pixels."""
    end = data.find(XMP_END, start, start + MAX_BLOCK_BYTES)
    return data[start : end + len(XMP_END)] if end >= 0 else data[start : start + MAX_TEXT_BYTES]


def _read_jpeg(data: bytes, blocks: Blocks) -> None:
    pieces: dict[bytes, list[bytes]] = {}
    for code, body in _jpeg_segments(data):
        if code == 0xE1 and body.startswith(EXIF_HEAD) and not blocks.exif:
            blocks.exif = body[len(EXIF_HEAD) :]
        elif code == 0xE1 and body.startswith(XMP_HEAD) and not blocks.xmp:
            blocks.xmp = body[len(XMP_HEAD) :]
        elif code == 0xEB and body.startswith(b"JP") and len(body) > 16:
            # Two bytes JP, two name the box, four count its pieces; each piece but the first
            # repeats the head of the box.
            of_box = pieces.setdefault(body[2:4], [])
            of_box.append(body[8:] if not of_box else body[16:])
        elif code == 0xFE:
            _add_text(blocks, "comment", body)
    for of_box in pieces.values():
        if of_box[0][4:8] == b"jumb" and b"c2pa" in of_box[0][:64]:
            blocks.store = b"".join(of_box)[:MAX_STORE_BYTES]


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker codes and bodies up to the first scan."""
    at = 2
    for _ in range(MAX_BLOCKS):
        if data[at : at + 1] != b"\xff" or at + 4 > len(data):
            return
        code = data[at + 1]
        if code == 0xFF:
            at += 1
            continue
        if code == 0xDA:
            return
        length = max(int.from_bytes(data[at + 2 : at + 4], "big"), 2)
        yield code, data[at + 4 : at + 2 + length]
        at += 2 + length


def _read_png(data: bytes, blocks: Blocks) -> None:
    at = len(PNG_SIGNATURE)
    for _ in range(MAX_BLOCKS):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if len(kind) < 4:
            return
        if kind == b"caBX":
            blocks.store = data[at + 8 : at + 8 + min(length, MAX_STORE_BYTES)]
        elif kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
            _read_png_chunk(kind, data[at + 8 : at + 8 + min(length, MAX_BLOCK_BYTES)], blocks)
        at += 12 + length


def _read_png_chunk(kind: bytes, body: bytes, blocks: Blocks) -> None:
    if kind == b"eXIf":
        blocks.exif = body.removeprefix(EXIF_HEAD)
        return
    key, _, rest = body.partition(b"\0")
    compressed = kind == b"zTXt"
    if kind == b"iTXt":
        compressed = rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    elif compressed:
        rest = rest[1:]
    limit = MAX_BLOCK_BYTES if key == b"XML:com.adobe.xmp" else MAX_TEXT_BYTES
    text = _inflate(rest, limit) if compressed else rest[:limit]
    if limit == MAX_BLOCK_BYTES:
        blocks.xmp = text
    else:
        _add_text(blocks, key[:79].decode("latin-1"), text)


def _inflate(data: bytes, limit: int) -> bytes:
    """The first `limit` bytes of what zlib packed; a bomb costs no more than that."""
    try:
        return zlib.decompressobj().decompress(data, limit)
    except zlib.error:
        return b""


def _add_text(blocks: Blocks, key: str, text: bytes) -> None:
    if key not in blocks.texts and len(blocks.texts) < MAX_TEXTS:
        blocks.texts[key] = text[:MAX_TEXT_BYTES].decode("utf-8", "replace")


def _read_webp(data: bytes, blocks: Blocks) -> None:
    at = 12
    for _ in range(MAX_BLOCKS):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if len(kind) < 4:
            return
        body = data[at + 8 : at + 8 + length]
        if kind == b"EXIF":
            blocks.exif = body[:MAX_BLOCK_BYTES].removeprefix(EXIF_HEAD)
        elif kind == b"XMP ":
            blocks.xmp = body[:MAX_BLOCK_BYTES]
        elif kind == b"C2PA":
            blocks.store = body[:MAX_STORE_BYTES]
        at += 8 + length + length % 2


def _read_boxes(data: bytes, blocks: Blocks) -> None:
    """The C2PA box among the outermost boxes of HEIC and AVIF, and the EXIF item wherever it is."""
    match = _EXIF.search(data)
    blocks.exif = data[match.end() : match.end() + MAX_BLOCK_BYTES] if match else b""
    at = 0
    for _ in range(MAX_BLOCKS):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if len(kind) < 4 or size < 8:
            return
        if kind == b"uuid" and data[at + 8 : at + 24] == C2PA_BOX:
            # After the box's name come a version, the word "manifest" and an offset.
            start = data.find(b"jumb", at + 24, at + min(size, 256)) - 4
            blocks.store = (
                data[start : min(at + size, start + MAX_STORE_BYTES)] if start > 0 else b""
            )
            return
        at += size

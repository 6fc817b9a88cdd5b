"""TIFFs of more than 8 bits or with channels apart, which Pillow garbles or does not read.

Their values are unpacked by libtiff through Pillow, as if they were the bytes of a grey picture,
and put together here.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from deepfake_core.images.conversion import to_8_bits
from deepfake_core.images.tiff_layout import Layout
from deepfake_core.records import UInt8Array

# Not packed, LZW, deflate, deflate by its old number, PackBits, LZMA, Zstandard.
PACKINGS = frozenset({1, 5, 8, 32946, 32773, 34925, 50000})
# What Pillow reads in files of at most 8 bits: also fax and JPEG inside of TIFF, and palettes,
# masks, YCbCr and Lab. Its libtiff is built without WebP.
PILLOW_PACKINGS = PACKINGS | {2, 3, 4, 6, 7, 32771}
PILLOW_COLOURS = frozenset({0, 1, 2, 3, 4, 5, 6, 8})
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, INKS = 0, 1, 2, 5
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, INKS: 4}
UNSIGNED, FLOATING, UNTOLD = 1, 3, 4
ASSOCIATED, UNASSOCIATED = 1, 2
NO_PREDICTOR, HORIZONTAL, FLOATING_POINT = 1, 2, 3
# Values that are held at once, several times over.
MAX_BYTES = 150_000_000

# Bytes whose lowest bit comes first.
REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1])

Samples = npt.NDArray[Any]
Undo = Callable[[Samples, int, "np.dtype[Any]"], Samples]
Tags = dict[int, tuple[int, ...]]


def is_for_here(layout: Layout) -> bool:
    """Whether it is deep, planar or rare, so that Pillow is not asked."""
    plain = layout.bits in (1, 2, 4, 8) and not layout.is_planar and _kind(layout) == UNSIGNED
    return not plain or unread_by_pillow(layout) is not None


def unread_by_pillow(layout: Layout) -> str | None:
    """The name of a variant of at most 8 bits that Pillow does not read."""
    if layout.one("compression", 1) not in PILLOW_PACKINGS:
        return f"TIFF, compression {layout.one('compression', 1)}"
    if layout.one("photometric", BLACK_IS_ZERO) not in PILLOW_COLOURS:
        return f"TIFF, photometric {layout.one('photometric', BLACK_IS_ZERO)}"
    if layout.bits < 8 and layout.samples > 1:
        return f"TIFF of {layout.bits} bits and {layout.samples} channels"
    return None


def _kind(layout: Layout) -> int:
    """What values are; those that are not told are whole numbers."""
    told = layout.one("format", UNSIGNED)
    return UNSIGNED if told == UNTOLD else told


def unread_variant(layout: Layout) -> str | None:
    """The name of a variant that is not read here."""
    photometric, kind = layout.one("photometric", BLACK_IS_ZERO), _kind(layout)
    if layout.bits in (1, 2, 4, 8) and not layout.is_planar and kind == UNSIGNED:
        return unread_by_pillow(layout)
    known = {UNSIGNED: (8, 16, 32), FLOATING: (16, 32, 64)}
    if kind not in known:
        return "TIFF of signed or complex values"
    if layout.bits not in known[kind]:
        return f"TIFF of {layout.bits or 'mixed'} bits"
    if layout.one("compression", 1) not in PACKINGS:
        return f"TIFF of {layout.bits} bits, compression {layout.one('compression', 1)}"
    if photometric not in COLOURS:
        return f"TIFF of {layout.bits} bits, photometric {photometric}"
    return None


def _check(layout: Layout) -> None:
    """Refuse what no program writes; raises ValueError."""
    count = COLOURS[layout.one("photometric", BLACK_IS_ZERO)]
    if layout.samples < count or len(layout.tags.get("bits", (1,))) not in (1, layout.samples):
        raise ValueError(f"{count} channels are told of, and {layout.samples} samples")
    if count > 1 and layout.bits == 32 and _kind(layout) == UNSIGNED:
        raise ValueError("colours of whole numbers of 32 bits")


def read_samples(data: bytes, layout: Layout) -> Image.Image:
    """The picture in 8 bits: L, LA, RGB, RGBA or CMYK, not yet turned upright."""
    _check(layout)
    width, height = layout.size
    planes = layout.samples if layout.is_planar else 1
    parts = [_plane(data, layout, at, planes) for at in range(planes)]
    samples = parts[0] if planes == 1 else np.concatenate(parts, axis=2)
    photometric = layout.one("photometric", BLACK_IS_ZERO)
    count = COLOURS[photometric]
    extra = layout.tags.get("extra", ())
    colours = to_8_bits(samples[..., :count])
    if photometric == WHITE_IS_ZERO:
        colours = 255 - colours
    if extra[:1] in ((ASSOCIATED,), (UNASSOCIATED,)) and photometric != INKS:
        alpha = to_8_bits(samples[..., count : count + 1])
        if extra[0] == ASSOCIATED:
            colours = _divided(colours, alpha)
        colours = np.concatenate([colours, alpha], axis=2)
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "CMYK" if photometric == INKS else "RGBA"}
    image = Image.frombytes(mode[colours.shape[2]], (width, height), colours.tobytes())
    image.format = "TIFF"
    return image


def _divided(colours: UInt8Array, alpha: UInt8Array) -> UInt8Array:
    """Colours that were multiplied by their opacity, as they were before."""
    whole = colours.astype(np.float32) * 255 / np.maximum(alpha, 1)
    return np.minimum(np.rint(whole), 255).astype(np.uint8)


def _plane(data: bytes, layout: Layout, index: int, planes: int) -> Samples:
    """[H, W, samples]: one channel, or all where they lie together."""
    width, height = layout.size
    samples = 1 if planes > 1 else layout.samples
    row_bytes = width * samples * layout.bits // 8
    unpacked = _in_place(data, layout, row_bytes, (index, planes))
    if unpacked is None:
        unpacked = np.asarray(_as_bytes(data, layout, row_bytes, (index, planes)))
    kind = "f" if _kind(layout) == FLOATING else "u"
    stored = np.dtype(f"{layout.order}{kind}{layout.bits // 8}")
    predictor = layout.one("predictor", NO_PREDICTOR)
    if predictor == FLOATING_POINT:
        return _by_spans(unpacked, layout, samples, stored, _floating)
    if predictor == HORIZONTAL:
        values = unpacked.view(stored).astype(stored.newbyteorder("="))
        return _by_spans(values, layout, samples, stored, _horizontal)
    return unpacked.view(stored).reshape(height, width, samples)


def _by_spans(
    rows: Samples, layout: Layout, samples: int, stored: np.dtype[Any], undo: Undo
) -> Samples:
    """Undo a prediction, which starts again in each tile."""
    width, height = layout.size
    across = layout.one("tile_width", width)
    values = np.empty((height, width, samples), stored.newbyteorder("="))
    scale = rows.shape[1] // width
    for left in range(0, width, across):
        right = min(left + across, width)
        part = rows[:, left * scale : right * scale]
        values[:, left:right] = undo(part, samples, stored).reshape(height, right - left, samples)
    return values


def _horizontal(part: Samples, samples: int, stored: np.dtype[Any]) -> Samples:
    apart = part.reshape(len(part), -1, samples)
    unsigned = apart.view(f"u{stored.itemsize}")
    summed: Samples = np.add.accumulate(unsigned, axis=1, dtype=unsigned.dtype)
    return summed.view(apart.dtype)


def _floating(part: Samples, samples: int, stored: np.dtype[Any]) -> Samples:
    """Bytes are predicted across the row, the highest ones of all values first."""
    apart = part.reshape(len(part), -1, samples)
    summed = np.add.accumulate(apart, axis=1, dtype=np.uint8).reshape(len(part), -1)
    by_value = summed.reshape(len(part), stored.itemsize, -1).transpose(0, 2, 1)
    big = np.ascontiguousarray(by_value).view(stored.newbyteorder(">"))
    return big.astype(stored.newbyteorder("="))


def _in_place(
    data: bytes, layout: Layout, row_bytes: int, place: tuple[int, int]
) -> UInt8Array | None:
    """uint8[H, bytes of a row] without a copy, where strips that are not packed follow on."""
    height = layout.size[1]
    offsets, counts = layout.tags.get("strip_offsets", ()), layout.tags.get("strip_bytes", ())
    share = len(offsets) // place[1]
    mine = slice(place[0] * share, (place[0] + 1) * share)
    offsets, counts = offsets[mine], counts[mine]
    follow = all(
        start + count == following
        for start, count, following in zip(offsets, counts, offsets[1:], strict=False)
    )
    needed = height * row_bytes
    if layout.one("compression", 1) != 1 or not offsets or not follow or sum(counts) < needed:
        return None
    if offsets[0] + needed > len(data):
        return None
    rows = np.frombuffer(data, np.uint8, needed, offsets[0]).reshape(height, row_bytes)
    return REVERSED[rows] if layout.one("fill_order", 1) == 2 else rows


def _as_bytes(data: bytes, layout: Layout, row_bytes: int, place: tuple[int, int]) -> Image.Image:
    """uint8[H, bytes of a row] as a grey picture, unpacked by libtiff.

    A directory is put behind the file that says so of the same strips or tiles.
    """
    width, height = layout.size
    tiled = "tile_offsets" in layout.tags
    offsets = layout.tags["tile_offsets" if tiled else "strip_offsets"]
    counts = layout.tags["tile_bytes" if tiled else "strip_bytes"]
    if len(counts) != len(offsets) or max(map(sum, zip(offsets, counts, strict=True))) > len(data):
        raise ValueError("its pixels lie beyond its end")
    index, planes = place
    share = len(offsets) // planes
    mine = slice(index * share, (index + 1) * share)
    tags: Tags = {
        256: (row_bytes,),
        257: (height,),
        258: (8,),
        259: (layout.one("compression", 1),),
    }
    tags |= {
        259: (layout.one("compression", 1),),
        262: (BLACK_IS_ZERO,),
        266: (layout.one("fill_order", 1),),
        277: (1,),
    }
    if tiled:
        across = layout.one("tile_width", width) * row_bytes // width
        tags |= {322: (across,), 323: (layout.one("tile_height", height),)}
        tags |= {324: offsets[mine], 325: counts[mine]}
    else:
        rows = min(layout.one("rows_per_strip", height), height)
        tags |= {273: offsets[mine], 278: (rows,), 279: counts[mine]}
    image = Image.open(io.BytesIO(_with_directory(data, layout.order, tags)), formats=("TIFF",))
    image.load()
    return image


def _with_directory(data: bytes, order: str, tags: Tags) -> bytes:
    """The file with another directory, behind it."""
    start = len(data) + len(data) % 2
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    place = start + 2 + 12 * len(tags) + 4
    entries, behind = [], b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            behind, packed = behind + packed, struct.pack(order + "I", place + len(behind))
        entries.append(struct.pack(order + "HHI", tag, 4, len(values)) + packed)
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    return b"".join([head, data[8:], bytes(start - len(data)), directory, behind])

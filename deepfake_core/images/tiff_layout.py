"""How a TIFF lays out its pixels, and which of its pictures is the picture."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAX_DIRECTORIES = 64
MAX_VALUES = 200_000
REDUCED, MASK = 1, 4
OLD_REDUCED = 2
CFA, LINEAR_RAW = 32803, 34892
PROFILE, DNG_VERSION = 34675, 50706

_SIZES = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 13: 4, 16: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 18: "Q"}
_NAMES = {
    254: "subfile", 255: "old_subfile", 256: "width", 257: "height", 258: "bits",
    259: "compression", 262: "photometric", 266: "fill_order", 273: "strip_offsets",
    274: "orientation", 277: "samples", 278: "rows_per_strip", 279: "strip_bytes",
    284: "planar", 317: "predictor", 322: "tile_width", 323: "tile_height",
    324: "tile_offsets", 325: "tile_bytes", 330: "directories", 338: "extra", 339: "format",
    DNG_VERSION: "dng",
}  # fmt: skip

Tags = dict[str, tuple[int, ...]]


class TooManyParts(Exception):
    """More strips, tiles or directories than any picture needs."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What one directory says.

    Attributes:
        order: ``<`` or ``>``.
        tags: the values of those that are known here, by name.
        index: its place among the directories that follow one another.
    """

    order: str
    tags: Tags
    index: int

    def one(self, name: str, default: int) -> int:
        """The first value of a tag."""
        return self.tags.get(name, (default,))[0]

    def profile(self, data: bytes) -> bytes | None:
        """The colour profile."""
        start, length = self.tags.get("profile", (0, 0))
        return data[start : start + length] or None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.one("width", 0), self.one("height", 0)

    @property
    def samples(self) -> int:
        """Values of a pixel, transparency and others included."""
        return self.one("samples", 1)

    @property
    def bits(self) -> int:
        """Bits of a value; 0 where they differ."""
        bits = self.tags.get("bits", (1,))
        return bits[0] if len(set(bits)) == 1 else 0

    @property
    def is_planar(self) -> bool:
        """Whether each channel lies for itself."""
        return self.samples > 1 and self.one("planar", 1) == 2

    @property
    def is_reduced(self) -> bool:
        """Whether it is a smaller copy, or a mask, of another picture of the file."""
        old = self.one("old_subfile", 0) == OLD_REDUCED
        return old or bool(self.one("subfile", 0) & (REDUCED | MASK))

    @property
    def is_raw(self) -> bool:
        """Whether it holds what a camera's sensor saw, which has to be developed."""
        return self.one("photometric", -1) in (CFA, LINEAR_RAW) or "dng" in self.tags


def read_layouts(data: bytes) -> list[Layout]:
    """The directories that follow one another, and those inside of them with the index -1.

    Raises:
        TooManyParts: there are more than `MAX_DIRECTORIES`, or one of them is too long.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    layouts: list[Layout] = []
    seen: set[int] = set()
    start = _number(data, 8 if big else 4, order, 8 if big else 4)
    while start and start not in seen:
        if len(seen) > MAX_DIRECTORIES:
            # Scans of many pages are legal; the first picture is the one that counts.
            break
        seen.add(start)
        tags, following = _directory(data, start, order, big=big)
        layouts.append(Layout(order, tags, len(seen) - 1))
        start = following
    inside = [at for layout in layouts for at in layout.tags.get("directories", ())]
    directories = (_directory(data, at, order, big=big)[0] for at in inside[:MAX_DIRECTORIES])
    return [*layouts, *(Layout(order, tags, -1) for tags in directories)]


def _directory(data: bytes, start: int, order: str, *, big: bool) -> tuple[Tags, int]:
    """The known tags of a directory, and where the next one is."""
    width, entry = (8, 20) if big else (2, 12)
    count = _number(data, start, order, width)
    first = start + width
    tags: Tags = {}
    for at in range(first, min(first + count * entry, len(data) - entry), entry):
        name = _NAMES.get(_number(data, at, order, 2))
        if _number(data, at, order, 2) == PROFILE:
            wide = 8 if big else 4
            length = _number(data, at + 4, order, wide)
            tags["profile"] = (_number(data, at + 4 + wide, order, wide), length)
        elif name is not None and name not in tags:
            tags[name] = tuple(_values(data, at, order, big=big))
    tags = {name: values for name, values in tags.items() if values}
    return tags, _number(data, first + count * entry, order, 8 if big else 4)


def _values(data: bytes, at: int, order: str, *, big: bool) -> Iterator[int]:
    wide = 8 if big else 4
    kind, count = _number(data, at + 2, order, 2), _number(data, at + 4, order, wide)
    if kind not in _SIZES or count * _SIZES[kind] > len(data):
        return
    if count > MAX_VALUES:
        raise TooManyParts
    place = at + 4 + wide
    if count * _SIZES[kind] > wide:
        place = _number(data, place, order, wide)
    try:
        yield from struct.unpack_from(f"{order}{count}{_CODES[kind]}", data, place)
    except struct.error:
        return


def _number(data: bytes, at: int, order: str, width: int) -> int:
    """A whole number; 0 beyond the end of the file."""
    return int.from_bytes(data[at : at + width], "little" if order == "<" else "big")

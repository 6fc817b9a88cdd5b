"""The few fields of EXIF that say where an image comes from, each read for itself."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import ExifTags, Image

from deepfake_core.images.decoding import silence
from deepfake_core.provenance.blocks import MAX_BLOCK_BYTES, MAX_TEXT_BYTES
from deepfake_core.rendering.text import one_line

MAX_CHARACTERS = 80
# What decoders raise on damaged headers and EXIF blocks.
DAMAGED = (
    ArithmeticError, AttributeError, LookupError, OSError, SyntaxError, TypeError, ValueError,
    struct.error, Image.DecompressionBombError,
)  # fmt: skip
LATITUDE, LONGITUDE = 2, 4


@dataclass(frozen=True, slots=True)
class Exif:
    """What was found; empty where a field is missing or damaged.

    Attributes:
        camera: make and model.
        software: the program that wrote the file.
        texts: description and comment, whole.
        has_position: whether there is a GPS position; its values are not kept.
        orientation: 1 to 8.
    """

    camera: str = ""
    software: str = ""
    texts: tuple[str, ...] = ()
    has_position: bool = False
    orientation: int = 1


def read_exif(block: bytes, directory: Image.Exif | None = None) -> Exif:
    """Read an EXIF block, or the directory that a TIFF is made of; never raises."""
    exif = directory
    if exif is None:
        if not block or len(block) > MAX_BLOCK_BYTES:
            return Exif()
        exif = Image.Exif()
        try:
            with silence:
                exif.load(block)
        except DAMAGED:
            return Exif()
    make, model = clean(_tag(exif, ExifTags.Base.Make)), clean(_tag(exif, ExifTags.Base.Model))
    camera = model if model.casefold().startswith(make.casefold()) else f"{make} {model}"
    comment = _inner(exif, ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    texts = (_tag(exif, ExifTags.Base.ImageDescription), _comment(comment))
    orientation = _tag(exif, ExifTags.Base.Orientation)
    position = _inner(exif, ExifTags.IFD.GPSInfo)
    return Exif(
        camera=camera.strip(),
        software=clean(_tag(exif, ExifTags.Base.Software)),
        texts=tuple(text for text in texts if text),
        has_position=LATITUDE in position or LONGITUDE in position,
        orientation=int(orientation) if orientation in tuple("12345678") else 1,
    )


def clean(text: object) -> str:
    """A text from a file on one line, of a length that people read."""
    plain = " ".join(one_line(str(text).partition("\0")[0]).split())
    return plain if len(plain) <= MAX_CHARACTERS else plain[: MAX_CHARACTERS - 1] + "…"


def _tag(exif: Image.Exif, tag: int) -> str:
    try:
        with silence:
            value = exif.get(tag, "")
    except DAMAGED:
        return ""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return text[:MAX_TEXT_BYTES]


def _inner(exif: Image.Exif, tag: int) -> Mapping[int, object]:
    try:
        with silence:
            return dict(exif.get_ifd(tag))
    except DAMAGED:
        return {}


def _comment(value: object) -> str:
    """A user comment: eight bytes name its encoding."""
    if not isinstance(value, bytes):
        return ""
    # Big-endian text has its zero bytes first.
    wide = "utf-16-be" if value[8:9] == b"\0" else "utf-16-le"
    encoding = wide if value.startswith(b"UNICODE") else "utf-8"
    return value[8 : 8 + MAX_TEXT_BYTES].decode(encoding, "replace")

"""What a file itself says of where it comes from: camera, software, a generator's name.

Nothing here is judged, and nothing of it is proof in either direction: metadata is lost when an
image is sent through a messenger or a social network, and anybody can write, copy or remove it.
Positions (GPS) are never given out, only that there is one; prompts are not repeated.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from deepfake_core.images.decoding import SIDEWAYS_ORIENTATIONS, silence
from deepfake_core.images.formats import AVIF_BRANDS, is_heif, pillow_formats
from deepfake_core.images.heif_boxes import declared_size
from deepfake_core.provenance.blocks import Blocks, read_blocks
from deepfake_core.provenance.c2pa import read_credentials
from deepfake_core.provenance.exif import DAMAGED, Exif, clean, read_exif
from deepfake_core.provenance.generators import (
    Finding,
    in_credentials,
    in_settings,
    in_texts,
    in_xmp,
    named,
)


@dataclass(frozen=True, slots=True)
class Origin:
    """What a file says; every field but `bytes` may be unknown.

    Attributes:
        format: from the content, such as ``JPEG``; None where the header cannot be read.
        width: pixels after EXIF orientation, likewise.
        height: likewise.
        bytes: the size of the file.
        camera: make and model, as the file names them.
        software: the program that wrote the file, as the file names it.
        generator: the generator of images that the metadata names.
        has_position: whether a GPS position is in the file; it is not read out.
        evidence: one line for people for each thing that was found, those on generators first.
    """

    format: str | None
    width: int | None
    height: int | None
    bytes: int
    camera: str | None = None
    software: str | None = None
    generator: str | None = None
    has_position: bool = False
    evidence: tuple[str, ...] = ()


def read_origin(data: bytes) -> Origin:
    """Read what a file says of itself; any bytes are allowed, nothing raises.

    The work is bounded: blocks are counted, texts cut, compressed ones unpacked to a bound, and
    pixels are not decoded.
    """
    kind, width, height, directory = _header(data)
    blocks = read_blocks(data)
    exif = read_exif(blocks.exif, directory)
    if exif.orientation in SIDEWAYS_ORIENTATIONS and kind != "TIFF":
        width, height = height, width
    findings = sorted(find(blocks, exif), key=lambda finding: not finding.generator)
    software = exif.software or clean(blocks.texts.get("Software", ""))
    return Origin(
        format=kind,
        width=width,
        height=height,
        bytes=len(data),
        camera=exif.camera or None,
        software=software or None,
        generator=next((finding.generator for finding in findings if finding.generator), None),
        has_position=exif.has_position,
        evidence=tuple(dict.fromkeys(finding.line for finding in findings)),
    )


def find(blocks: Blocks, exif: Exif) -> Iterator[Finding]:
    """All that metadata says, whatever says it."""
    manifests = read_credentials(blocks.store)
    yield from in_credentials(manifests)
    if blocks.store and not manifests:
        line = "content credentials (C2PA) that cannot be read"
        yield Finding(line, "", "c2pa", "unreadable", active=True)
    yield from in_xmp(blocks.xmp)
    yield from in_texts(blocks.texts)
    for text in exif.texts:
        if settings := in_settings("EXIF comment", text):
            yield settings
        yield from named("EXIF description or comment", text)
    yield from named("EXIF software", exif.software)
    if exif.camera:
        yield Finding(f"EXIF names the camera {exif.camera}", "", "camera", exif.camera)
    if exif.software:
        yield Finding(f"EXIF names the software {exif.software}")
    if exif.has_position:
        yield Finding("EXIF holds a GPS position (not shown)")


def _header(data: bytes) -> tuple[str | None, int | None, int | None, Image.Exif | None]:
    """Format and size from the header; the directory of a TIFF is its EXIF block."""
    if is_heif(data):
        width, height = declared_size(data)
        kind = "AVIF" if data[8:12] in AVIF_BRANDS else "HEIF"
        return kind, width or None, height or None, None
    try:
        with silence:
            image = Image.open(io.BytesIO(data), formats=pillow_formats(data))
            directory = image.getexif() if image.format == "TIFF" else None
    except DAMAGED:
        return None, None, None, None
    return image.format, image.width, image.height, directory

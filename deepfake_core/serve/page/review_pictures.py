"""Pictures as a reviewer sees them: with boxes around faces, near-identical ones together."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from deepfake_core.images.decoding import load
from deepfake_core.records import Failure, Label

COLOURS: Mapping[str, str] = {
    Label.FAKE: "#b3261e",
    Label.UNCERTAIN: "#c07800",
    Label.REAL: "#0b6b5d",
    Label.NOT_APPLICABLE: "#7d8794",
}
# Bits of 64 in which two fingerprints of near-identical pictures may differ.
NEAR_BITS = 4


def with_boxes(content: bytes, faces: Sequence[Mapping[str, Any]], *, side: int) -> bytes | None:
    """A small upright JPEG with a box around each face; None where it cannot be decoded.

    Args:
        content: the file.
        faces: of a verdict row; boxes in pixels after EXIF orientation.
        side: pixels of the longer side.
    """
    loaded = load(content, size=side)
    if isinstance(loaded, Failure):
        return None
    image = loaded.image.convert("RGB")
    image.thumbnail((side, side))
    scale = image.width / max(1, loaded.width)
    pen = ImageDraw.Draw(image)
    for face in faces:
        left, top = face["x"] * scale, face["y"] * scale
        right, bottom = left + face["width"] * scale, top + face["height"] * scale
        if right > left and bottom > top:
            pen.rectangle((left, top, right, bottom), outline=COLOURS[face["label"]], width=3)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def fingerprint(content: bytes) -> int | None:
    """64 bits that are nearly the same for near-identical pictures (difference hash).

    Returns:
        None where the picture cannot be decoded, or is too flat to be told from others.
    """
    loaded = load(content, size=32)
    if isinstance(loaded, Failure):
        return None
    small = loaded.image.convert("L").resize((9, 8), Image.Resampling.BILINEAR)
    pixels = np.asarray(small, np.int16)
    if int(pixels.max()) - int(pixels.min()) < 8:
        return None
    bits = np.packbits(pixels[:, 1:] > pixels[:, :-1])
    return int.from_bytes(bits.tobytes(), "big")


def near_identical(fingerprints: Sequence[int | None]) -> list[list[int]]:
    """Groups of positions whose fingerprints nearly agree with that of the group's first.

    Args:
        fingerprints: in the order of the queue; what has none is in a group of its own.
    """
    groups: list[list[int]] = []
    leaders: list[int] = []
    led: list[int] = []
    for at, bits in enumerate(fingerprints):
        found = None if bits is None else _nearest(leaders, bits)
        if found is not None:
            groups[led[found]].append(at)
            continue
        groups.append([at])
        if bits is not None:
            leaders.append(bits)
            led.append(len(groups) - 1)
    return groups


def _nearest(leaders: Sequence[int], bits: int) -> int | None:
    if not leaders:
        return None
    differ: npt.NDArray[np.int64] = np.array(
        [(leader ^ bits).bit_count() for leader in leaders], np.int64
    )
    return int(differ.argmin()) if differ.min() <= NEAR_BITS else None

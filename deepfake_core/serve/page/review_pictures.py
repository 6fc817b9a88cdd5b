"""Near-identical pictures, which a reviewer decides on together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from deepfake_core.images.decoding import load
from deepfake_core.records import Failure

# Bits of 64 in which two fingerprints of near-identical pictures may differ.
NEAR_BITS = 4


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
        leader = None if bits is None else _nearest(leaders, bits)
        if leader is not None:
            groups[led[leader]].append(at)
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

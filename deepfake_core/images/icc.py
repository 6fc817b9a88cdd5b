"""ICC profiles for colours that files describe by numbers: gamma, primaries, video standards."""

from __future__ import annotations

import functools
import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
# x and y of red, green and blue, and of white.
Primaries = tuple[tuple[float, ...], tuple[float, float]]

D65 = (0.3127, 0.3290)
SRGB: Primaries = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06), D65
# By the numbers of ITU-T H.273; those that are not here are close to sRGB, or not told.
PRIMARIES: dict[int, Primaries] = {
    9: ((0.708, 0.292, 0.170, 0.797, 0.131, 0.046), D65),
    11: ((0.680, 0.320, 0.265, 0.690, 0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320, 0.265, 0.690, 0.150, 0.060), D65),
}
GAMMA_22, GAMMA_28, LINEAR, PQ, HLG = 4, 5, 8, 16, 18
# The white of ordinary pictures in nits where absolute brightness is told (ITU-R BT.2408).
WHITE_NITS = 203.0
HLG_PEAK_NITS = 1000.0
# Gammas and colours that differ by less are those of sRGB, written down with few digits.
SAME_GAMMA, SAME_PRIMARIES = 0.05, 0.01
SRGB_GAMMA = 1 / 2.2
CURVE_POINTS = 4096
# From the white of the file to that of profiles, D50.
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
D50 = np.array([0.9642, 1.0, 0.8249])


class Video(NamedTuple):
    """Colours as H.273 numbers them."""

    primaries: int
    transfer: int


def gamma_profile(
    exponent: float, primaries: Primaries | None, *, grey: bool = False
) -> bytes | None:
    """A profile for a file's gamma (such as 0.45455) and primaries; None where it is sRGB."""
    if not 0.05 < exponent < 20:
        return None
    close = abs(exponent / SRGB_GAMMA - 1) < SAME_GAMMA
    if primaries and max(abs(np.subtract(primaries[0], SRGB[0]))) < SAME_PRIMARIES:
        primaries = None
    if close and (primaries is None or grey):
        return None
    levels = np.linspace(0, 1, CURVE_POINTS)
    return _profile(levels ** (1 / exponent), primaries or SRGB, grey=grey)


@functools.lru_cache(16)
def video_profile(video: Video, *, grey: bool = False) -> bytes | None:
    """A profile for video colours, brighter parts than ordinary white cut; None for sRGB."""
    primaries = PRIMARIES.get(video.primaries)
    if video.transfer in (GAMMA_22, GAMMA_28, LINEAR, PQ, HLG):
        curve = _curve(video.transfer)
    elif primaries is None or grey:
        return None
    else:
        curve = _srgb_curve(np.linspace(0, 1, CURVE_POINTS))
    return _profile(curve, primaries or SRGB, grey=grey)


def _curve(transfer: int) -> FloatArray:
    """float64[CURVE_POINTS]: the light of each level, 1 being ordinary white."""
    levels = np.linspace(0, 1, CURVE_POINTS)
    if transfer == PQ:
        power = levels ** (1 / 78.84375)
        light = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
        return np.minimum(light ** (1 / 0.1593017578125) * 10_000 / WHITE_NITS, 1)
    if transfer == HLG:
        dark = levels**2 / 3
        bright = (np.exp((levels - 0.55991073) / 0.17883277) + 0.28466892) / 12
        scene = np.where(levels <= 0.5, dark, bright)
        return np.minimum(scene**1.2 * HLG_PEAK_NITS / WHITE_NITS, 1)
    return levels ** {GAMMA_22: 2.2, GAMMA_28: 2.8, LINEAR: 1.0}[transfer]


def _srgb_curve(levels: FloatArray) -> FloatArray:
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def _profile(curve: FloatArray, primaries: Primaries, *, grey: bool) -> bytes | None:
    """A profile of version 2 by a curve and a matrix."""
    points = np.rint(65535 * curve).astype(">u2").tobytes()
    trc = struct.pack(">4sII", b"curv", 0, CURVE_POINTS) + points
    tags = {b"wtpt": _xyz(D50)}
    if grey:
        tags[b"kTRC"] = trc
    else:
        matrix = _to_d50(primaries)
        if matrix is None:
            return None
        tags |= {name: _xyz(matrix[:, at]) for at, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), trc)
    return _assembled(tags, b"GRAY" if grey else b"RGB ")


def _to_d50(primaries: Primaries) -> FloatArray | None:
    """float64[3, 3]: from linear RGB to XYZ under D50; None where they are not colours."""
    corners, white = np.reshape(primaries[0], (3, 2)), np.array(primaries[1])
    if white[1] <= 0 or np.any(corners[:, 1] <= 0):
        return None
    chromatic = np.stack([corners[:, 0], corners[:, 1], 1 - corners.sum(axis=1)])
    white_xyz = np.array([white[0], white[1], 1 - white.sum()]) / white[1]
    try:
        matrix = chromatic * np.linalg.solve(chromatic, white_xyz)
    except np.linalg.LinAlgError:
        return None
    gains = (BRADFORD @ D50) / (BRADFORD @ white_xyz)
    adapted: FloatArray = np.linalg.inv(BRADFORD) @ np.diag(gains) @ BRADFORD @ matrix
    return adapted


def _xyz(values: FloatArray) -> bytes:
    fixed = np.rint(np.clip(values, -2, 2) * 65536).astype(">i4").tobytes()
    return struct.pack(">4sI", b"XYZ ", 0) + fixed


def _assembled(tags: dict[bytes, bytes], space: bytes) -> bytes:
    """The bytes of a profile; equal tags are stored once."""
    offset, table, bodies = 128 + 4 + 12 * len(tags), [], b""
    stored: dict[bytes, int] = {}
    for name, body in tags.items():
        if body not in stored:
            stored[body] = offset + len(bodies)
            bodies += body + bytes(-len(body) % 4)
        table.append(struct.pack(">4sII", name, stored[body], len(body)))
    header = struct.pack(">I4sI4s4s4s", 0, b"", 0x02400000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + np.rint(D50 * 65536).astype(">i4").tobytes()
    profile = header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + b"".join(table) + bodies
    return bytes(struct.pack(">I", len(profile)) + profile[4:])

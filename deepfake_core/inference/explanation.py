"""Which part of a face a score depends on, and whether hiding it really changes the score.

A map is made by blurring random halves of the picture and seeing what that does to the logit.
It is then put to a test that shares no picture with its making: the area that the map names is
hidden in another way, its surroundings grown into it, and so are areas of the same shape and size
in random places. Only where the named area matters more than nearly all of those is it shown.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from deepfake_core.engines.engine import Engine
from deepfake_core.images.decoding import load, resize
from deepfake_core.inference.classifier import Classifier
from deepfake_core.inference.occlusion import (
    elsewhere,
    heat_of,
    hide_by_blur,
    hide_by_growth,
    hottest,
    random_halves,
    resized,
)
from deepfake_core.records import Failure, FailureCode, Float32Array, Label, UInt8Array

SHARE = 0.15
RANDOM_AREAS = 13
# Of the random areas, how many must matter less. By chance three of fourteen maps pass.
MUST_BEAT = 11
OVERLAY_SIDE = 512
# Orange of the palette that Okabe and Ito chose for all kinds of colour vision; the outline says
# the same without any colour.
ORANGE = (230, 159, 0)
OPACITY = 0.55
OUTLINE = ((9, 0), (5, 255))


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a logit depends on.

    Attributes:
        heat: float32[G, G] in 0 to 1, rows from the top; 1 where hiding changes the logit most.
        overlay: PNG of the face in grey with the heat over it; empty unless `faithful`.
        towards: the label that the score leans to, for which the area speaks.
        drop: by how much the logit moves away from that label when the area is hidden.
        random_drops: the same for each of the random areas.
        faithful: whether the area matters more than nearly all of the random ones.
        share: the share of the picture that the area covers.
    """

    heat: Float32Array
    overlay: bytes
    towards: Label
    drop: float
    random_drops: tuple[float, ...]
    faithful: bool
    share: float = SHARE

    @property
    def beaten(self) -> int:
        """How many of the random areas matter less."""
        return sum(other < self.drop for other in self.random_drops)


def explain(classifier: Classifier, data: bytes) -> Explanation | Failure:
    """Explain the score of one image, in 47 forward passes.

    Args:
        classifier: the model.
        data: the bytes of a file.

    Returns:
        The map and its test, the same each time, or why the image cannot be judged.
    """
    description = classifier.bundle.description
    size = description.preprocessing.size
    told = description.preprocessing
    loaded = load(data, size=size, background=told.background, colour=told.colour)
    if isinstance(loaded, Failure):
        return loaded
    pixels, engine = resize(loaded.image, size), classifier.engine
    hidden = hide_by_blur(pixels, random_halves(size))
    # On its own, so that the engine has what it needs for the few pictures of the test.
    whole = float(engine.logits(pixels[None])[0])
    logits = _logits(engine, hidden)
    if not (np.isfinite(whole) and np.isfinite(logits).all()):
        return Failure(FailureCode.SCORE_NOT_FINITE, "the network gave no number")
    sign = 1.0 if whole >= description.calibration.offset else -1.0
    heat = heat_of(sign * (whole - logits), size)
    area = hottest(heat, size, share=SHARE)
    areas = [area, *elsewhere(area, RANDOM_AREAS)]
    without = np.stack([hide_by_growth(pixels, one) for one in areas])
    drop, *others = (sign * (whole - _logits(engine, without))).tolist()
    faithful = drop > 0 and sum(other < drop for other in others) >= MUST_BEAT
    heat = np.clip(heat, 0, None) / max(float(heat.max()), 1e-9)
    return Explanation(
        heat=heat.astype(np.float32),
        overlay=_overlay(loaded.image, heat, area) if faithful else b"",
        towards=Label.FAKE if sign > 0 else Label.REAL,
        drop=drop,
        random_drops=tuple(others),
        faithful=faithful,
    )


def _logits(engine: Engine, pixels: UInt8Array) -> Float32Array:
    """The logits of pictures, spread over the engine's lanes: one caller keeps one core busy."""
    parts = np.array_split(pixels, min(engine.lanes, len(pixels)))
    with ThreadPoolExecutor(len(parts)) as threads:
        return np.concatenate(list(threads.map(engine.logits, parts)))


def _overlay(face: Image.Image, heat: Float32Array, area: np.ndarray) -> bytes:
    """The face in grey, orange where it is hot, with a line around the tested area."""
    grey = face.convert("L").resize((OVERLAY_SIDE, OVERLAY_SIDE), Image.Resampling.BICUBIC)
    hot = resized(heat, OVERLAY_SIDE, Image.Resampling.BICUBIC)
    tint = OPACITY * np.clip(hot, 0, 1)[..., None]
    painted = (
        np.asarray(grey, np.float32)[..., None] * (1 - tint) + np.array(ORANGE, np.float32) * tint
    )
    large = Image.fromarray((255 * area).astype(np.uint8)).resize(grey.size)
    round_area = large.filter(ImageFilter.GaussianBlur(4)).point(lambda value: 255 * (value > 127))
    inside = np.asarray(round_area) > 0
    for width, shade in OUTLINE:
        grown = np.asarray(round_area.filter(ImageFilter.MaxFilter(width))) > 0
        painted[grown & ~inside] = shade
    stream = io.BytesIO()
    Image.fromarray(np.rint(painted).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()

"""Which part of a face a score depends on, and whether hiding it really changes the score.

A map is made by blurring random halves of the picture and seeing what that does to the logit.
It is then put to a test that shares no picture with its making: the area that the map names is
hidden in another way, its surroundings grown into it, and so are areas of the same shape and size
in random places. Only where the named area matters more than nearly all of those is it shown.
"""

from __future__ import annotations

import io
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from deepfake_core.inference.classifier import Classifier
from deepfake_core.inference.looks import Looks
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


def explain(classifier: Classifier, data: bytes) -> Explanation | Failure | None:
    """Explain the score of one image: that of the face which decided, in 48 forward passes.

    Args:
        classifier: the model.
        data: the bytes of a file.

    Returns:
        The map and its test, the same each time; why the image cannot be judged; or None where
        it shows nothing that is judged.
    """
    judgement, crops = classifier.read(data)
    if crops is None:
        return judgement.failure
    faces = list(judgement.faces or ())
    classifier.score([judgement], [crops])
    if judgement.score is None:
        return judgement.failure
    decided = judgement.faces[0] if judgement.faces else None
    at = next((at for at, face in enumerate(faces) if face is decided), 0)
    # Every pass is of the looks that the score was made of.
    both = decided is not None and decided.second_logit is not None
    sign = 1.0 if judgement.score >= 0.5 else -1.0
    with ThreadPoolExecutor(classifier.engine.lanes) as lanes:
        return _explained(crops[at], _Joined(classifier.looks, lanes, both=both), sign)


@dataclass(frozen=True, slots=True)
class _Joined:
    """The raw number that a score is made of, for pictures of one face."""

    looks: Looks
    lanes: Executor
    both: bool

    def of(self, pixels: UInt8Array) -> Float32Array:
        """float32[N], spread over the engine's lanes: one caller keeps one core busy."""
        parts = np.array_split(pixels, min(self.looks.engine.lanes, len(pixels)))
        return np.concatenate(list(self.lanes.map(self._part, parts)))

    def _part(self, pixels: UInt8Array) -> Float32Array:
        return self.looks.joined(pixels, both=self.both)


def _explained(pixels: UInt8Array, joined: _Joined, sign: float) -> Explanation | Failure:
    """Make the map of a face, and put it to the test."""
    size = len(pixels)
    # On its own, so that the engine has what it needs for the few pictures of the test.
    whole = float(joined.of(pixels[None])[0])
    logits = joined.of(hide_by_blur(pixels, random_halves(size)))
    if not (np.isfinite(whole) and np.isfinite(logits).all()):
        return Failure(FailureCode.SCORE_NOT_FINITE, "the network gave no number")
    heat = heat_of(sign * (whole - logits), size)
    area = hottest(heat, size, share=SHARE)
    areas = [area, *elsewhere(area, RANDOM_AREAS)]
    without = np.stack([hide_by_growth(pixels, hidden) for hidden in areas])
    drop, *others = (sign * (whole - joined.of(without))).tolist()
    faithful = drop > 0 and sum(other < drop for other in others) >= MUST_BEAT
    heat = np.clip(heat, 0, None) / max(float(heat.max()), 1e-9)
    return Explanation(
        heat=heat.astype(np.float32),
        overlay=_overlay(Image.fromarray(pixels), heat, area) if faithful else b"",
        towards=Label.FAKE if sign > 0 else Label.REAL,
        drop=drop,
        random_drops=tuple(others),
        faithful=faithful,
    )


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

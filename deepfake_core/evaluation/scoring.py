"""Score labelled images in every tier of degradation, each file read and decoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.engines.engine import Engine
from deepfake_core.errors import SourceError
from deepfake_core.evaluation.score_cache import ScoreCache, Scored
from deepfake_core.images.decoding import Loaded
from deepfake_core.images.degradations import TIERS, Degradation
from deepfake_core.inference.cropping import Cropper
from deepfake_core.records import Failure, FailureCode, UInt8Array

# With ten tiers of 128 px a part takes 16 MB of pixels; it is a multiple of the engine's group.
PART = 32
NAMED = 3


@dataclass(slots=True)
class Part:
    """Decoded images.

    Attributes:
        pixels: uint8[K, size, size, 3] by tier, of the K images that could be decoded and show
            something to judge there.
        rows: by tier K rows of theirs among the images.
        face_sizes: by tier K sizes of what is judged, in pixels.
        failures: why the others could not be decoded, by row.
        sizes: int[N, 2], width and height of each file.
    """

    pixels: dict[str, UInt8Array]
    rows: dict[str, list[int]]
    face_sizes: dict[str, list[float]]
    failures: dict[int, Failure]
    sizes: np.ndarray


def score_tiers(
    engine: Engine,
    images: Sequence[Labelled],
    *,
    cropper: Cropper,
    tiers: Mapping[str, Degradation] = TIERS,
    memory: ScoreCache | None = None,
) -> Scored:
    """Score images that must all be readable.

    Args:
        engine: the network; as many threads as it has lanes decode and score.
        images: what to score.
        cropper: cuts out of an image what the network is shown.
        tiers: what happens to each image before that, by name. They act on the image
            as it is decoded: a large JPEG at a scale of about twice the network's input.
        memory: what this network, at this precision, gave before; new scores are added.

    Returns:
        Logits by tier, in the order of `images`; NaN where an image shows no face. Memory is
        bounded by the lanes, not by the number of images.

    Raises:
        SourceError: images cannot be judged; the first of them are named.
    """
    scored = score_readable(engine, images, cropper=cropper, tiers=tiers, memory=memory)
    if scored.failures:
        named = "; ".join(
            f"{images[row].path}: {failure.code} ({failure.detail})"
            for row, failure in list(scored.failures.items())[:NAMED]
        )
        raise SourceError(f"{len(scored.failures)} images cannot be judged: {named}; remove them")
    return scored


def score_readable(
    engine: Engine,
    images: Sequence[Labelled],
    *,
    cropper: Cropper,
    tiers: Mapping[str, Degradation] = TIERS,
    memory: ScoreCache | None = None,
) -> Scored:
    """As `score_tiers`, but an image that cannot be judged is a failure and stops nothing."""
    known = ScoreCache() if memory is None else memory
    for rows, lacking in known.missing(images, tiers):
        some = [images[row] for row in rows]
        known.keep(some, _score(engine, some, cropper, lacking))
    return known.recall(images, tiers)


def _score(
    engine: Engine,
    images: Sequence[Labelled],
    cropper: Cropper,
    tiers: Mapping[str, Degradation],
) -> Scored:
    logits = {tier: np.full(len(images), np.nan, np.float32) for tier in tiers}
    face_sizes = {tier: np.full(len(images), np.nan, np.float32) for tier in tiers}
    scored = Scored(logits, {}, np.zeros((len(images), 2), np.int64), face_sizes)

    def score_part(start: int) -> None:
        part = decode_part(images[start : start + PART], cropper, tiers)
        scored.failures.update({start + row: failure for row, failure in part.failures.items()})
        scored.sizes[start : start + len(part.sizes)] = part.sizes
        for tier, pixels in part.pixels.items():
            rows = start + np.array(part.rows[tier])
            face_sizes[tier][rows] = part.face_sizes[tier]
            logits[tier][rows] = engine.logits(pixels)

    with ThreadPoolExecutor(engine.lanes) as lanes:
        for _ in lanes.map(score_part, range(0, len(images), PART)):
            pass
    _refuse_what_is_no_number(scored)
    return scored


def decode_part(
    images: Sequence[Labelled], cropper: Cropper, tiers: Mapping[str, Degradation]
) -> Part:
    """Decode images that are held in memory together, in every tier."""
    pixels: dict[str, list[UInt8Array]] = {tier: [] for tier in tiers}
    empty = np.zeros((len(images), 2), np.int64)
    part = Part({}, {tier: [] for tier in tiers}, {tier: [] for tier in tiers}, {}, empty)
    for row, image in enumerate(images):
        loaded = read_image(image.path, cropper)
        if isinstance(loaded, Failure):
            part.failures[row] = loaded
            continue
        part.sizes[row] = loaded.width, loaded.height
        for tier, change in tiers.items():
            crop = cropper.crop(change(loaded.image))
            if crop is not None:
                part.rows[tier].append(row)
                part.face_sizes[tier].append(crop.size)
                pixels[tier].append(crop.pixels)
    part.pixels = {tier: np.stack(some) for tier, some in pixels.items() if some}
    return part


def read_image(path: Path, cropper: Cropper) -> Loaded | Failure:
    """Read and decode a file as a scan does; a file that cannot be read is a failure too."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Failure(FailureCode.READ_NOT_FOUND, "there is no such file")
    except PermissionError:
        return Failure(FailureCode.READ_DENIED, "its permissions forbid reading it")
    except OSError as error:
        return Failure(FailureCode.READ_FAILED, error.strerror or type(error).__name__)
    return cropper.load(data)


def _refuse_what_is_no_number(scored: Scored) -> None:
    """A network that gives NaN or infinity in any tier has not judged the image."""
    wrong = [
        np.isfinite(scored.face_sizes[tier]) & ~np.isfinite(logits)
        for tier, logits in scored.logits.items()
    ]
    for row in np.flatnonzero(np.any(wrong, axis=0)):
        if int(row) not in scored.failures:
            failure = Failure(FailureCode.SCORE_NOT_FINITE, "the network gave no number")
            scored.failures[int(row)] = failure

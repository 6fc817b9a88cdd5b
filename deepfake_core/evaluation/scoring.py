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
from deepfake_core.images.decoding import Loaded, load, resize
from deepfake_core.images.degradations import TIERS, Degradation
from deepfake_core.models.bundle import Preprocessing
from deepfake_core.records import Failure, FailureCode, Float32Array, UInt8Array

# With ten tiers of 128 px a part takes 16 MB of pixels; it is a multiple of the engine's group.
PART = 32
NAMED = 3


@dataclass(slots=True)
class Part:
    """Decoded images.

    Attributes:
        pixels: uint8[K, size, size, 3] by tier, of the K images that could be decoded.
        rows: K rows of theirs among the images.
        failures: why the others could not, by row.
        sizes: int[N, 2], width and height of each file.
    """

    pixels: dict[str, UInt8Array]
    rows: list[int]
    failures: dict[int, Failure]
    sizes: np.ndarray


def score_tiers(
    engine: Engine,
    images: Sequence[Labelled],
    *,
    preprocessing: Preprocessing,
    tiers: Mapping[str, Degradation] = TIERS,
    memory: ScoreCache | None = None,
) -> dict[str, Float32Array]:
    """Score images that must all be readable.

    Args:
        engine: the network; as many threads as it has lanes decode and score.
        images: what to score.
        preprocessing: how an image becomes the network's input.
        tiers: what happens to each image before it is resized, by name. They act on the image
            as it is decoded: a large JPEG at a scale of about twice the network's input.
        memory: what this network, at this precision, gave before; new scores are added.

    Returns:
        float32[N] by tier, in the order of `images`; positive means fake. Memory is bounded by
        the lanes, not by the number of images.

    Raises:
        SourceError: images cannot be judged; the first of them are named.
    """
    scored = score_readable(engine, images, preprocessing=preprocessing, tiers=tiers, memory=memory)
    if scored.failures:
        named = "; ".join(
            f"{images[row].path}: {failure.code} ({failure.detail})"
            for row, failure in list(scored.failures.items())[:NAMED]
        )
        raise SourceError(f"{len(scored.failures)} images cannot be judged: {named}; remove them")
    return scored.logits


def score_readable(
    engine: Engine,
    images: Sequence[Labelled],
    *,
    preprocessing: Preprocessing,
    tiers: Mapping[str, Degradation] = TIERS,
    memory: ScoreCache | None = None,
) -> Scored:
    """As `score_tiers`, but an image that cannot be judged is a failure and stops nothing."""
    known = ScoreCache() if memory is None else memory
    for rows, lacking in known.missing(images, tiers):
        some = [images[row] for row in rows]
        known.keep(some, _score(engine, some, preprocessing, lacking))
    return known.recall(images, tiers)


def _score(
    engine: Engine,
    images: Sequence[Labelled],
    preprocessing: Preprocessing,
    tiers: Mapping[str, Degradation],
) -> Scored:
    logits = {tier: np.full(len(images), np.nan, np.float32) for tier in tiers}
    scored = Scored(logits, {}, np.zeros((len(images), 2), np.int64))

    def score_part(start: int) -> None:
        part = decode_part(images[start : start + PART], preprocessing, tiers)
        scored.failures.update({start + row: one for row, one in part.failures.items()})
        scored.sizes[start : start + len(part.sizes)] = part.sizes
        for tier, pixels in part.pixels.items():
            if len(pixels):
                logits[tier][start + np.array(part.rows)] = engine.logits(pixels)

    with ThreadPoolExecutor(engine.lanes) as lanes:
        for _ in lanes.map(score_part, range(0, len(images), PART)):
            pass
    _refuse_what_is_no_number(scored)
    return scored


def decode_part(
    images: Sequence[Labelled], preprocessing: Preprocessing, tiers: Mapping[str, Degradation]
) -> Part:
    """Decode images that are held in memory together, in every tier."""
    pixels: dict[str, list[UInt8Array]] = {tier: [] for tier in tiers}
    part = Part({}, [], {}, np.zeros((len(images), 2), np.int64))
    for row, image in enumerate(images):
        loaded = read_image(image.path, preprocessing)
        if isinstance(loaded, Failure):
            part.failures[row] = loaded
            continue
        part.rows.append(row)
        part.sizes[row] = loaded.width, loaded.height
        for tier, change in tiers.items():
            pixels[tier].append(resize(change(loaded.image), preprocessing.size))
    part.pixels = {tier: np.stack(found) for tier, found in pixels.items() if found}
    return part


def read_image(path: Path, preprocessing: Preprocessing) -> Loaded | Failure:
    """Read and decode a file as a scan does; a file that cannot be read is a failure too."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Failure(FailureCode.READ_NOT_FOUND, "there is no such file")
    except PermissionError:
        return Failure(FailureCode.READ_DENIED, "its permissions forbid reading it")
    except OSError as error:
        return Failure(FailureCode.READ_FAILED, error.strerror or type(error).__name__)
    return load(
        data,
        size=preprocessing.size,
        background=preprocessing.background,
        colour=preprocessing.colour,
    )


def _refuse_what_is_no_number(scored: Scored) -> None:
    """A network that gives NaN or infinity in any tier has not judged the image."""
    finite = np.all([np.isfinite(logits) for logits in scored.logits.values()], axis=0)
    for row in np.flatnonzero(~finite):
        if int(row) not in scored.failures:
            failure = Failure(FailureCode.SCORE_NOT_FINITE, "the network gave no number")
            scored.failures[int(row)] = failure

"""Photographs of 12 megapixels: what decoding them at a reduced scale gains and changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np
import simplejpeg
from PIL import Image

from deepfake_core.bench.images import photograph, portrait
from deepfake_core.bench.setting import PartFailed, Setting, cores
from deepfake_core.engines.engine import open_engine
from deepfake_core.images.decoding import decode, resize
from deepfake_core.inference.opening import Faces, open_classifier
from deepfake_core.models.decision import calibrate
from deepfake_core.records import Decoded, UInt8Array

SEEDS = (1, 2)


def large_images(setting: Setting) -> Iterator[dict[str, float]]:
    """Rates with and without scaled decoding, and the difference in pixels and scores."""
    size = setting.bundle.description.preprocessing.size
    contents = [photograph(seed, *setting.sizes.large_size) for seed in SEEDS]
    many = [contents[at % len(contents)] for at in range(setting.sizes.large_images)]
    rates: dict[str, list[float]] = {"decode_12mp_per_s": [], "decode_12mp_whole_per_s": []}
    with ThreadPoolExecutor(cores()) as decoders:
        for _ in range(setting.sizes.rounds):
            for name, pixels_of in zip(rates, (_scaled, _whole), strict=True):
                rates[name].append(_rate(decoders, pixels_of, many, size))
    yield {name: median(each) for name, each in rates.items()}
    yield _differences(setting, contents, size)
    yield _with_faces(setting)


def _with_faces(setting: Setting) -> dict[str, float]:
    """What finding faces adds to judging photographs of 12 megapixels, a third of them a face."""
    precision = setting.precision
    if setting.networks(precision).finder is None:
        return {}
    width, height = setting.sizes.large_size
    contents = [portrait(seed, width, height) for seed in SEEDS]
    many = [contents[at % len(contents)] for at in range(setting.sizes.large_images)]
    rates: dict[str, list[float]] = {"frame_12mp_per_s": [], "find_12mp_per_s": []}
    modes: dict[str, Faces] = {"frame_12mp_per_s": "frame", "find_12mp_per_s": "find"}
    classifiers = {
        name: open_classifier(setting.networks(precision, faces=mode))
        for name, mode in modes.items()
    }
    with ThreadPoolExecutor(cores()) as lanes:
        for number in range(1 + setting.sizes.rounds):
            for name, classifier in classifiers.items():
                started = time.perf_counter()
                list(lanes.map(classifier.judge, [[data] for data in many]))
                # The first round compiles the networks.
                if number:
                    rates[name].append(len(many) / (time.perf_counter() - started))
    figures = {name: median(each) for name, each in rates.items()}
    ratio = figures["frame_12mp_per_s"] / figures["find_12mp_per_s"]
    return {**figures, "find_over_frame_12mp_time": ratio}


def _differences(setting: Setting, contents: list[bytes], size: int) -> dict[str, float]:
    """Mean absolute difference in pixels (0 to 255), largest difference in scores."""
    scaled = np.stack([_scaled(data, size) for data in contents])
    whole = np.stack([_whole(data, size) for data in contents])
    engine = open_engine(setting.bundle, kind="openvino", precision="fp32")
    calibration = setting.bundle.description.calibration
    sizes = np.full(len(contents), min(setting.sizes.large_size), np.float32)
    scores = [calibrate(engine.logits(some), calibration, sizes) for some in (scaled, whole)]
    return {
        "scaled_decoding_pixel_difference": float(
            np.abs(scaled.astype(np.float32) - whole.astype(np.float32)).mean()
        ),
        "scaled_decoding_score_difference": float(np.abs(scores[0] - scores[1]).max()),
    }


def _rate(
    decoders: ThreadPoolExecutor,
    pixels_of: Callable[[bytes, int], UInt8Array],
    contents: list[bytes],
    size: int,
) -> float:
    started = time.perf_counter()
    list(decoders.map(lambda data: pixels_of(data, size), contents))
    return len(contents) / (time.perf_counter() - started)


def _scaled(data: bytes, size: int) -> UInt8Array:
    decoded = decode(data, size=size)
    if not isinstance(decoded, Decoded):
        raise PartFailed(f"a generated photograph could not be decoded: {decoded}")
    return decoded.pixels


def _whole(data: bytes, size: int) -> UInt8Array:
    return resize(Image.fromarray(simplejpeg.decode_jpeg(data, "RGB")), size)

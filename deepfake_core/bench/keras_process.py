"""The process behind `deepfake_core.bench.alternatives`: told by lines of JSON what to measure."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from deepfake_core.engines.keras_network import build_keras, set_keras_weights
from deepfake_core.models.bundle import read_bundle

if TYPE_CHECKING:
    import keras

BATCH = 32


def main(folder: str) -> None:
    """Build the model, answer 0 when it is ready, then each request with images per second."""
    # What libraries print must not be taken for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    model, size = _build(Path(folder))
    print(0.0, file=answers, flush=True)
    for line in sys.stdin:
        what, argument = json.loads(line)
        measure = _dataset_rate if what == "dataset" else _one_by_one_rate
        print(measure(model, size, argument), file=answers, flush=True)


def _build(folder: Path) -> tuple[keras.Model, int]:
    """The bundle's model, after its first prediction at both batch sizes."""
    bundle = read_bundle(folder)
    preprocessing = bundle.description.preprocessing
    size = preprocessing.size
    model = build_keras(
        bundle.architecture,
        size=size,
        mean=preprocessing.mean,
        scale=preprocessing.scale,
    )
    set_keras_weights(model, bundle.weights())
    for count in (BATCH, 1):
        model.predict(np.zeros((count, size, size, 3), np.float32), verbose=0)
    return model, size


def _dataset_rate(model: keras.Model, size: int, folder: str) -> float:
    import keras

    images = keras.utils.image_dataset_from_directory(
        folder,
        labels=None,
        image_size=(size, size),
        batch_size=BATCH,
        shuffle=False,
        verbose=False,
    )
    started = time.perf_counter()
    outputs = model.predict(images, verbose=0)
    return len(outputs) / (time.perf_counter() - started)


def _one_by_one_rate(model: keras.Model, size: int, paths: list[str]) -> float:
    started = time.perf_counter()
    for path in paths:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB").resize((size, size)), np.float32)
        model.predict(pixels[None], verbose=0)
    return len(paths) / (time.perf_counter() - started)


if __name__ == "__main__":
    main(sys.argv[1])

"""Fit the network: first its head on a frozen backbone, then all of it, with or without teachers.

The loss is categorical cross-entropy with the labels and, where teachers are given, with their
mean opinion at a temperature (Hinton et al. 2015) on the same augmented, and at times mixed
(Zhang et al. 2018), pixels: a consistent teacher (Beyer et al. 2022). Unlabelled images can
take part through the teachers alone.
"""

from __future__ import annotations

import csv
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.architectures import build_keras, keras_weights, set_keras_weights
from deepfake_core.dataset import Labelled, is_fake, read_pixels
from deepfake_core.recipe import TrainConfig
from deepfake_core.records import Json
from deepfake_core.stream import Stream, Teachers, targets_of

if TYPE_CHECKING:
    import keras

STATE_EVERY = 200


def fit(
    config: TrainConfig,
    labelled: list[Labelled],
    *,
    work: Path,
    backbone: Path | None = None,
    teachers: list[Path] | None = None,
    unlabelled: list[Labelled] | None = None,
) -> keras.Model:
    """Train a network; a killed training continues from its last saved state.

    Args:
        config: the recipe.
        labelled: the images to learn from.
        work: folder for the saved state and the log, outside the repository.
        backbone: Keras weights of ResNet50 without its top, or none.
        teachers: models to distil, see `Teachers`.
        unlabelled: images of which only the teachers' opinion is used.

    Returns:
        The trained model, in float32.
    """
    import keras

    keras.utils.set_random_seed(config.seed)
    keras.mixed_precision.set_global_policy(config.precision)
    work.mkdir(parents=True, exist_ok=True)
    taught = Teachers(teachers or [])
    state = work / "state.npz"
    start = _start(backbone, config) if backbone else {}
    if not state.exists():
        whole = _build(config, config.size)
        set_keras_weights(whole, {**keras_weights(whole), **start})
        _fit_head(whole, config, labelled, taught)
        _save_state(state, whole, step=0)
    model = _build(config, config.crop)
    _freeze(model, config)
    step = _load_state(state, model)
    _fit_all(model, config, Stream(config, labelled, unlabelled or [], taught), work, step)
    keras.mixed_precision.set_global_policy("float32")
    trained = _build(config, config.size)
    set_keras_weights(trained, _averaged(keras_weights(model), start, config.start_share))
    return trained


def _start(backbone: Path, config: TrainConfig) -> dict[str, np.ndarray]:
    import keras

    side = config.size
    return keras_weights(
        keras.applications.ResNet50(
            include_top=False, weights=str(backbone), input_shape=(side, side, 3)
        )
    )


def _averaged(
    trained: dict[str, np.ndarray], start: dict[str, np.ndarray], start_share: float
) -> dict[str, np.ndarray]:
    """The trained weights, drawn towards those of the start where it had them."""
    mixed = {
        name: np.float32(start_share) * array + np.float32(1 - start_share) * trained[name]
        for name, array in start.items()
    }
    return {**trained, **mixed}


def _freeze(model: keras.Model, config: TrainConfig) -> None:
    for layer in model.layers:
        is_norm = config.frozen_norms and layer.name.endswith("_bn")
        if is_norm or layer.name.startswith(config.frozen):
            layer.trainable = False


def _build(config: TrainConfig, size: int) -> keras.Model:
    return build_keras(
        config.architecture,
        size=size,
        mean=config.mean,
        scale=config.scale,
        dropout=config.dropout,
    )


def _loss(config: TrainConfig) -> object:
    """Cross-entropy with targets [N, 4]: labels (all zero where unknown), then teachers."""
    import keras

    def loss(targets: object, outputs: object) -> object:
        labels, opinions = targets[:, :2], targets[:, 2:]  # type: ignore[index]
        cold = keras.ops.log_softmax(outputs)
        warm = keras.ops.log_softmax(outputs / config.temperature)  # type: ignore[operator]
        by_label = -keras.ops.sum(labels * cold, axis=1)
        by_teacher = -keras.ops.sum(opinions * warm, axis=1) * config.temperature**2
        return by_label + by_teacher

    return loss


def _fit_head(
    model: keras.Model, config: TrainConfig, labelled: list[Labelled], teachers: Teachers
) -> None:
    """Train what comes after the backbone on its features, computed once."""
    import keras

    if config.architecture.kind != "resnet50" or not config.head_epochs:
        return
    features = keras.Model(model.input, model.get_layer("conv5_block3_out").output)
    pixels = read_pixels(labelled, size=config.size)
    pixels = np.concatenate([pixels, pixels[:, :, ::-1]])
    shares = np.tile(is_fake(labelled).astype(np.float32), 2)
    known = np.ones(len(shares), bool)
    batches = [pixels[at : at + 64].astype(np.float32) for at in range(0, len(pixels), 64)]
    inputs = np.concatenate(
        [features.predict_on_batch(batch).astype(np.float16) for batch in batches]
    )
    opinion = None
    if teachers.compiled:
        opinion = np.concatenate([teachers.logits(batch) for batch in batches])
    head = keras.Model(model.get_layer("conv5_block3_out").output, model.output)
    head.compile(keras.optimizers.Adam(config.head_rate), loss=_loss(config))
    targets = targets_of(config, shares, known, opinion)
    head.fit(inputs, targets, batch_size=64, epochs=config.head_epochs, verbose=2)


def _fit_all(
    model: keras.Model, config: TrainConfig, stream: Stream, work: Path, start: int
) -> None:
    """Train every layer; the learning rate rises, then falls along a cosine to zero."""
    import keras

    optimizer = keras.optimizers.AdamW(config.rate, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(optimizer, loss=_loss(config), jit_compile=False)
    began, losses = time.monotonic(), []
    for step, (pixels, targets) in enumerate(stream.batches(start), start=start):
        if step >= config.steps:
            break
        optimizer.learning_rate.assign(rate_at(step, config))
        losses.append(float(model.train_on_batch(pixels, targets)))
        if (step + 1) % STATE_EVERY == 0 or step + 1 == config.steps:
            _save_state(work / "state.npz", model, step=step + 1)
            with (work / "log.csv").open("a") as log:
                seconds = round(time.monotonic() - began)
                csv.writer(log).writerow([step + 1, seconds, round(float(np.mean(losses)), 5)])
            losses = []


def rate_at(step: int, config: TrainConfig) -> float:
    """The learning rate of a step: linear warm-up, then half a cosine to zero."""
    if step < config.warmup:
        return config.rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _save_state(path: Path, model: keras.Model, *, step: int) -> None:
    beside = path.with_suffix(".writing.npz")
    arrays: Json = {"step": np.int64(step), **keras_weights(model)}
    np.savez(beside, **arrays)
    beside.replace(path)


def _load_state(path: Path, model: keras.Model) -> int:
    with np.load(path) as saved:
        set_keras_weights(model, saved)
        return int(saved["step"])

"""What training does to a network, in Keras: how it is built, frozen, changed and judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.engines.keras_network import build_keras
from deepfake_core.training.recipe import TrainConfig

if TYPE_CHECKING:
    import keras

PREDICTED = 64


def build(config: TrainConfig, size: int) -> keras.Model:
    """The recipe's network for square images of a size."""
    return build_keras(
        config.architecture,
        size=size,
        mean=config.mean,
        scale=config.scale,
        dropout=config.dropout,
    )


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Let layers built inside use a dtype policy."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def freeze(model: keras.Model, config: TrainConfig) -> None:
    """Keep the weights of the layers that the recipe freezes."""
    for layer in model.layers:
        is_norm = config.frozen_norms and layer.name.endswith("_bn")
        if is_norm or (config.frozen and layer.name.startswith(config.frozen)):
            layer.trainable = False


def optimizer_of(config: TrainConfig) -> keras.Optimizer:
    """The recipe's optimiser."""
    import keras

    average = {"use_ema": config.average_momentum > 0, "ema_momentum": config.average_momentum}
    if config.optimiser == "adam":
        return keras.optimizers.Adam(config.rate, **average)
    optimizer = keras.optimizers.AdamW(config.rate, weight_decay=config.weight_decay, **average)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def loss_of(config: TrainConfig) -> Callable[[object, object], object]:
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


def predict(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """The raw outputs float32[N, 2] of pixels uint8[N, size, size, 3]."""
    batches = [
        model.predict_on_batch(pixels[at : at + PREDICTED].astype(np.float32))
        for at in range(0, len(pixels), PREDICTED)
    ]
    return np.concatenate(batches)


def spread(images: Sequence[Labelled], most: int) -> list[Labelled]:
    """At most so many of the images, spread evenly over each class."""
    chosen: list[Labelled] = []
    for fake in (False, True):
        members = [image for image in images if image.fake == fake]
        share = max(2, round(most * len(members) / max(1, len(images))))
        rows = np.linspace(0, len(members) - 1, min(len(members), share)).round().astype(int)
        chosen += [members[row] for row in rows]
    return chosen

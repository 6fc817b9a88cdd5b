"""A new head on a backbone that has weights: trained alone first, on features computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.datasets.labelled import Labelled, is_fake, read_pixels
from deepfake_core.training.batches import targets_of
from deepfake_core.training.distillation import Teachers
from deepfake_core.training.objective import PREDICTED, loss_of, spread
from deepfake_core.training.recipe import TrainConfig

if TYPE_CHECKING:
    import keras

BACKBONE_END = "conv5_block3_out"


def fit_head(
    model: keras.Model, config: TrainConfig, labelled: Sequence[Labelled], teachers: Teachers
) -> None:
    """Train what comes after a ResNet50 that starts with weights; otherwise do nothing.

    Args:
        model: the whole network for images of the recipe's size; its head is changed.
        config: the recipe.
        labelled: the images; `TrainConfig.head_images` of them, and as many mirrored, are used.
        teachers: their opinion is learnt too.
    """
    import keras

    has_backbone = config.architecture.kind == "resnet50" and config.start != "none"
    if not has_backbone or not config.head_epochs:
        return
    backbone = keras.Model(model.input, model.get_layer(BACKBONE_END).output)
    features, targets = _lesson(backbone, config, spread(labelled, config.head_images), teachers)
    head = keras.Model(model.get_layer(BACKBONE_END).output, model.output)
    head.compile(keras.optimizers.Adam(config.head_rate), loss=loss_of(config), jit_compile=False)
    head.fit(features, targets, batch_size=PREDICTED, epochs=config.head_epochs, verbose=0)


def _lesson(
    backbone: keras.Model, config: TrainConfig, images: list[Labelled], teachers: Teachers
) -> tuple[np.ndarray, np.ndarray]:
    """Features float16 and targets of the images, each as it is and mirrored."""
    features, targets = [], []
    share = is_fake(images).mean()
    for at in range(0, len(images), PREDICTED):
        batch = images[at : at + PREDICTED]
        pixels = read_pixels(batch, size=config.size)
        fake = is_fake(batch)
        # Both classes weigh alike, whatever their sizes are.
        balance = np.where(fake, 0.5 / share, 0.5 / (1 - share)).astype(np.float32)
        for view in (pixels, pixels[:, :, ::-1]):
            outputs = backbone.predict_on_batch(view.astype(np.float32))
            features.append(outputs.astype(np.float16))
            opinion = teachers.logits(view) if teachers else None
            known = np.ones(len(fake), bool)
            rows = targets_of(config, fake.astype(np.float32), known, opinion)
            targets.append(rows * balance[:, None])
    return np.concatenate(features), np.concatenate(targets)

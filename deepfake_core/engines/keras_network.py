"""The networks in Keras, for training, as reference, and for GPUs.

`deepfake_core.engines.openvino_graph` builds the same networks for OpenVINO from the same weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.errors import ModelError
from deepfake_core.models.architecture import Architecture, Weights

if TYPE_CHECKING:
    import keras


def build_keras(
    architecture: Architecture,
    *,
    size: int,
    mean: float,
    scale: float,
    dropout: float = 0.0,
) -> keras.Model:
    """Build a network that takes pixels and returns two raw outputs.

    Args:
        architecture: the shape of the network.
        size: side of the square input in pixels.
        mean: subtracted from the pixels, in 0 to 255.
        scale: what the centred pixels are divided by.
        dropout: share of units dropped after each dense layer in training.

    Returns:
        A model from float32[N, size, size, 3] in 0 to 255 (RGB) to float32[N, 2], the
        pre-softmax outputs in the order fake, real.
    """
    import keras
    from keras import layers

    pixels = keras.Input((size, size, 3), name="pixels")
    x = layers.Rescaling(1.0 / scale, offset=-mean / scale, name="normalise")(pixels)
    if architecture.kind == "resnet50":
        backbone = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=x)
        x = backbone.output
    else:
        for index, filters in enumerate(architecture.plain_filters):
            x = layers.Conv2D(filters, 3, padding="same", name=f"plain{index}_conv")(x)
            x = layers.BatchNormalization(name=f"plain{index}_bn")(x)
            x = layers.ReLU(name=f"plain{index}_relu")(x)
            x = layers.MaxPooling2D(2, name=f"plain{index}_pool")(x)
    x = layers.Conv2D(architecture.filters, 3, padding="same", activation="relu", name="head_conv")(
        x
    )
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    x = layers.Flatten(name="head_flatten")(x)
    for index, units in enumerate(architecture.dense):
        x = layers.Dense(units, activation="relu", name=f"head_dense{index}")(x)
        x = layers.BatchNormalization(name=f"head_bn{index}")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"head_dropout{index}")(x)
    outputs = layers.Dense(2, dtype="float32", name="head_out")(x)
    return keras.Model(pixels, outputs, name=architecture.kind)


def keras_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """The weights of a model as ``layer/variable`` -> float32 array."""
    return {
        f"{layer.name}/{variable.name}": np.array(variable.numpy(), dtype=np.float32)
        for layer in model.layers
        for variable in layer.weights
        if "seed_generator" not in variable.path
    }


def set_keras_weights(model: keras.Model, weights: Weights) -> None:
    """Put arrays of `keras_weights` into a model of the same architecture.

    Raises:
        ModelError: a variable is missing or has another shape.
    """
    for layer in model.layers:
        for variable in layer.weights:
            if "seed_generator" in variable.path:
                continue
            key = f"{layer.name}/{variable.name}"
            if key not in weights or weights[key].shape != tuple(variable.shape):
                shape = weights[key].shape if key in weights else "nothing"
                raise ModelError(
                    f"the weights do not fit the architecture: {key} should have the shape "
                    f"{tuple(variable.shape)}, found {shape}"
                )
            variable.assign(weights[key].astype(np.float32))


def split_outputs(outputs: np.ndarray) -> np.ndarray:
    """The logit of raw outputs [N, 2] = fake, real: their difference, float32[N]."""
    return np.asarray(outputs[:, 0] - outputs[:, 1], dtype=np.float32)

"""The weights that training starts from: none, ImageNet's, a file's, or a model's."""

from __future__ import annotations

import contextlib
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.engines.keras_network import build_keras, keras_weights
from deepfake_core.errors import ModelError
from deepfake_core.models.architecture import Weights
from deepfake_core.models.registry import DEFAULT_REGISTRY, find_model
from deepfake_core.training.recipe import TrainConfig

if TYPE_CHECKING:
    import keras

SUFFIXES = (".npz", ".h5", ".keras")
# Keras' ImageNet weights of ResNet50 expect blue, green, red minus these means.
IMAGENET_MEANS = (103.939, 116.779, 123.68)
NO_IMAGENET = "there are ImageNet weights for resnet50 only; start the plain CNN from none"
IMAGENET_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """Weights to start from.

    Attributes:
        weights: as `keras_weights` names them; a backbone's, or a whole network's.
        has_head: whether the head's are among them.
    """

    weights: Weights = field(default_factory=dict)
    has_head: bool = False


def read_initial_weights(config: TrainConfig, registry: Path = DEFAULT_REGISTRY) -> InitialWeights:
    """Read what `config.start` names.

    Args:
        config: the recipe.
        registry: where models are looked up by name.

    Returns:
        The weights, as float32, for pixels scaled by the recipe's mean and scale.

    Raises:
        ModelError: they are missing, cannot be fetched, or do not fit the architecture.
    """
    if config.start == "none":
        return InitialWeights()
    if config.start == "imagenet":
        return _checked(for_own_inputs(_imagenet(config), config), config)
    if not config.start.endswith(SUFFIXES):
        return _from_registry(config, registry)
    path = Path(config.start)
    if not path.is_file():
        raise ModelError(f"there is no weights file {path}; name an existing one")
    weights = _from_npz(path) if path.suffix == ".npz" else _from_keras(path, config)
    if config.start_inputs == "imagenet":
        weights = for_own_inputs(weights, config)
    return _checked(weights, config)


def for_own_inputs(weights: Weights, config: TrainConfig) -> dict[str, np.ndarray]:
    """Let ImageNet's ResNet50 take this recipe's pixels: its first layer undoes the difference.

    Args:
        weights: for blue, green, red in 0 to 255 minus ImageNet's means.
        config: says the mean and scale of the pixels.

    Returns:
        Weights for (pixels - mean) / scale in the order red, green, blue. The padding around an
        image is grey of the mean from then on, which was ImageNet's mean colour before.
    """
    changed = dict(weights)
    kernel = changed["conv1_conv/kernel"]
    shift = config.mean - np.array(IMAGENET_MEANS, np.float32)
    changed["conv1_conv/bias"] = changed["conv1_conv/bias"] + np.einsum(
        "hwio,i->o", kernel, shift
    ).astype(np.float32)
    changed["conv1_conv/kernel"] = np.ascontiguousarray(
        kernel[:, :, ::-1] * np.float32(config.scale)
    )
    return changed


def _imagenet(config: TrainConfig) -> dict[str, np.ndarray]:
    if config.architecture.kind != "resnet50":
        raise ModelError(NO_IMAGENET)
    try:
        # Keras tells of its download on standard output, which belongs to the result.
        with contextlib.redirect_stdout(sys.stderr):
            return keras_weights(_backbone(config, "imagenet"))
    # Keras raises a bare Exception where there is no network.
    except Exception as error:
        raise ModelError(
            f"the ImageNet weights cannot be fetched: {' '.join(str(error).split())}. Without a "
            f"network, copy {IMAGENET_FILE} here from a machine that has one, give its path as "
            "start, and start_inputs as imagenet"
        ) from error


def _from_registry(config: TrainConfig, registry: Path) -> InitialWeights:
    bundle = find_model(config.start, registry)
    description = bundle.description
    own = (config.architecture, config.mean, config.scale)
    preprocessing = description.preprocessing
    if (description.architecture, preprocessing.mean, preprocessing.scale) != own:
        raise ModelError(
            f"{bundle.model_id} has another architecture, mean or scale than the recipe; "
            "take those of its bundle.json, or another start"
        )
    weights = {key: np.asarray(array, np.float32) for key, array in bundle.weights().items()}
    return _checked(weights, config)


def _from_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return {key: np.asarray(stored[key], np.float32) for key in stored.files}
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} cannot be read as weights: {error}") from error


def _from_keras(path: Path, config: TrainConfig) -> dict[str, np.ndarray]:
    """The weights alone, loaded into networks built here: a file's code is never run."""
    reasons = []
    for build in (_backbone, _whole):
        try:
            return keras_weights(build(config, str(path)))
        except (ValueError, OSError, KeyError, TypeError) as error:
            reasons.append(" ".join(str(error).split())[:200])
    raise ModelError(
        f"{path} holds neither the backbone nor the whole network of this architecture: "
        f"{'; '.join(dict.fromkeys(reasons))}"
    )


def _backbone(config: TrainConfig, weights: str) -> keras.Model:
    import keras

    if config.architecture.kind != "resnet50":
        raise ValueError("the plain CNN has no backbone of its own")
    return keras.applications.ResNet50(
        include_top=False, weights=weights, input_shape=(config.size, config.size, 3)
    )


def _whole(config: TrainConfig, weights: str) -> keras.Model:
    model = build_keras(config.architecture, size=config.size, mean=config.mean, scale=config.scale)
    model.load_weights(weights)
    return model


def _checked(weights: Mapping[str, np.ndarray], config: TrainConfig) -> InitialWeights:
    """Keep what belongs to the network; all of it must be there, but for the head."""
    wanted = {
        key: array.shape
        for key, array in keras_weights(
            build_keras(config.architecture, size=config.size, mean=config.mean, scale=config.scale)
        ).items()
    }
    head = {key for key in wanted if key.startswith("head_")}
    has_head = head <= set(weights)
    for key, shape in wanted.items():
        if key in head and not has_head:
            continue
        if key not in weights or weights[key].shape != shape:
            there = weights[key].shape if key in weights else "nothing"
            raise ModelError(
                f"{config.start} does not fit the architecture: {key} should have the shape "
                f"{shape}, found {there}"
            )
    kept = wanted if has_head else set(wanted) - head
    return InitialWeights({key: weights[key] for key in wanted if key in kept}, has_head=has_head)

"""Retrain: from labelled folders to a new version in the registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deepfake_core.architectures import keras_weights
from deepfake_core.bundle import Bundle, Preprocessing, read_bundle
from deepfake_core.candidate import Material, make_candidate
from deepfake_core.dataset import read_labelled
from deepfake_core.errors import ModelError, SourceError, UsageError
from deepfake_core.recipe import TrainConfig
from deepfake_core.registry import CURRENT_FILE, DEFAULT_REGISTRY, list_models
from deepfake_core.train import fit


class Recipe(BaseModel):
    """What a model is made by, and what its card says that cannot be measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    training: TrainConfig = Field(TrainConfig(), description="How the network is trained.")
    trained_on: str = Field("", description="The images and weights it comes from; their terms.")
    limits: tuple[str, ...] = Field((), description="What it must not be used for.")
    one_class: tuple[str, ...] = Field(
        (), description="Sets whose classes differ in more than the label: reported class by class."
    )


def read_recipe(path: Path | None) -> Recipe:
    """Read a recipe from a JSON file; the default one without a path.

    Raises:
        UsageError: the file cannot be read or is no recipe.
    """
    if path is None:
        return Recipe()
    try:
        return Recipe.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read the recipe {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path} is no recipe: {where}: {first['msg']}") from error


def retrain(
    recipe: Recipe,
    data: Path,
    *,
    work: Path,
    name: str = "resnet50",
    backbone: Path | None = None,
    teachers: tuple[Path, ...] = (),
    registry: Path = DEFAULT_REGISTRY,
    say: Callable[[str], None] = lambda line: None,
) -> Bundle:
    """Train, calibrate, evaluate and register a new version; the current one stays current.

    Args:
        recipe: how.
        data: labelled folder with ``train`` and ``valid``.
        work: folder for the training's state, from which a killed training continues.
        name: name of the model.
        backbone: Keras weights to start from.
        teachers: ONNX classifiers to distil.
        registry: where the version goes; only a first version becomes current by itself.
        say: told of the steps.

    Raises:
        SourceError: the data cannot be used.
        ModelError: a weights file is missing.
    """
    for path in (*teachers, *([backbone] if backbone else [])):
        if not path.is_file():
            raise ModelError(f"there is no weights file {path}; name an existing one")
    train = read_labelled(data, "train")
    for label in (True, False):
        if sum(image.fake == label for image in train) < 2:
            raise SourceError(f"{data}/train needs at least two images of each class")
    say(f"training on {len(train)} images; the state is kept in {work}")
    model = fit(recipe.training, train, work=work, backbone=backbone, teachers=list(teachers))
    training = recipe.training
    material = Material(
        weights=keras_weights(model),
        architecture=training.architecture,
        preprocessing=Preprocessing(size=training.size, mean=training.mean, scale=training.scale),
        data=data,
        training=training.model_dump(mode="json"),
        trained_on=recipe.trained_on,
        limits=recipe.limits,
        one_class=recipe.one_class,
    )
    versions = list_models(registry).get(name, [])
    version = max(versions, default=0) + 1
    beside = registry / name / f".{version}.writing"
    make_candidate(material, beside, name=name, version=version, say=say)
    folder = registry / name / str(version)
    beside.rename(folder)
    if not versions:
        current = registry / name / CURRENT_FILE
        current.write_text(json.dumps({"version": version}) + "\n")
    return read_bundle(folder)

"""A bundle: weights with their preprocessing, calibration, thresholds and figures, by hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from deepfake_core.errors import ModelError
from deepfake_core.images.colour import Colour
from deepfake_core.models.architecture import Architecture
from deepfake_core.models.decision import Calibration, Thresholds
from deepfake_core.models.hashed_folder import (
    FileName,
    HashedFolder,
    file_digests,
    read_described,
    write_described,
)
from deepfake_core.models.onnx_spec import OnnxSpec
from deepfake_core.records import Json

DESCRIPTION_FILE = "bundle.json"
WEIGHTS_FILE = "weights.npz"
NETWORK_FILE = "network.xml"
NETWORK_WEIGHTS_FILE = "network.bin"
INT8_FILE = "int8.xml"
INT8_WEIGHTS_FILE = "int8.bin"
CARD_FILE = "card.md"
CANARIES_FILE = "canaries.json"

Precision = Literal["fp32", "bf16", "int8"]


class Preprocessing(BaseModel):
    """How an image becomes the network's input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(128, ge=32, description="Side of the square input in pixels.")
    resampling: Literal["bilinear"] = Field("bilinear", description="Pillow's filter.")
    colours: Literal["RGB"] = Field("RGB", description="Order of the channels.")
    background: tuple[int, int, int] = Field(
        (255, 255, 255), description="Colour that shows through transparent pixels."
    )
    colour: Colour = Field(
        "as_stored",
        description="srgb: converted by the picture's colour profile; as_stored: the profile is "
        "ignored, as it was when earlier models were trained.",
    )
    mean: float = Field(127.5, description="Subtracted from the pixels, 0 to 255.")
    scale: float = Field(64.0, gt=0, description="What the centred pixels are divided by.")
    faces: Literal["find", "frame"] = Field(
        "frame",
        description="find: it judges faces that were found and aligned; frame: the whole picture.",
    )
    finder: str | None = Field(
        None, description="The finder whose faces it was trained and calibrated on."
    )
    alignment: Literal["ffhq"] | None = Field(
        None, description="The frame in which it expects a face."
    )
    least_size: float = Field(
        0.0, ge=0, description="Faces of fewer pixels are not judged: its figures do not hold."
    )


class Curve(BaseModel):
    """From logit to label, at one precision."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calibration: Calibration = Field(description="From logit to score.")
    thresholds: Thresholds = Field(description="From score to label.")


class Description(BaseModel):
    """The content of ``bundle.json``; its bytes give the bundle's hash."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Name of the model.")
    version: int = Field(ge=1, description="Version of the model.")
    architecture: Architecture | None = Field(
        None, description="Shape of a network that was trained here."
    )
    foreign: OnnxSpec | None = Field(
        None,
        description="How a network that was made elsewhere is run; colours and scaling are "
        "inside its graph, after the preprocessing.",
    )
    preprocessing: Preprocessing = Field(description="How images become its input.")
    outputs: tuple[str, str] = Field(("fake", "real"), description="Order of the raw outputs.")
    calibration: Calibration = Field(description="From logit to score.")
    prior: float = Field(
        0.5, gt=0, lt=1, description="Share of fakes for which the calibration holds."
    )
    thresholds: Thresholds = Field(description="From score to label.")
    by_precision: dict[Precision, Curve] = Field(
        default_factory=dict,
        description="Calibration and thresholds of the precisions that have some of their own.",
    )
    precisions: tuple[Precision, ...] = Field(
        ("fp32",), description="Precisions that passed the comparison with fp32."
    )
    tolerances: dict[Precision, float] = Field(
        default_factory=dict,
        description="Largest difference of a score over batch sizes 1 to 64, by precision.",
    )
    figures: Json = Field(default_factory=dict, description="What was measured, by data set.")
    qualification: Json = Field(default_factory=dict, description="Precisions against fp32.")
    trained_on: str = Field("", description="The images it was trained on, and their terms.")
    limits: tuple[str, ...] = Field((), description="What it must not be used for.")
    training: Json = Field(default_factory=dict, description="The recipe it was trained by.")
    files: dict[FileName, str] = Field(description="sha256 of each file of the bundle, by name.")

    def curve(self, precision: Precision) -> Curve:
        """Calibration and thresholds at a precision."""
        usual = Curve(calibration=self.calibration, thresholds=self.thresholds)
        return self.by_precision.get(precision, usual)

    @model_validator(mode="after")
    def _made_here_or_elsewhere(self) -> Description:
        if (self.architecture is None) == (self.foreign is None):
            raise ValueError("a bundle has either an architecture or a foreign network")
        return self


@dataclass(frozen=True, slots=True)
class Bundle(HashedFolder[Description]):
    """A bundle on disk whose description, ``bundle.json``, was read."""

    @property
    def architecture(self) -> Architecture:
        """The shape of a network that was trained here.

        Raises:
            ModelError: it was made elsewhere and is only known as a graph.
        """
        if self.description.architecture is None:
            raise ModelError(
                f"{self.model_id} was imported from ONNX, so Keras cannot build it; "
                "use the openvino engine"
            )
        return self.description.architecture

    def weights(self) -> dict[str, np.ndarray]:
        """The arrays as they are stored (fp16 or fp32), by ``layer/variable``.

        Raises:
            ModelError: they are missing, damaged, or not what the hash says.
        """
        return self.arrays(WEIGHTS_FILE)


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle's description.

    Raises:
        ModelError: there is none, or it is not one of a version that is understood here.
    """
    return Bundle(folder, *read_described(folder / DESCRIPTION_FILE, Description, "bundle"))


def store_weights(folder: Path, weights: Mapping[str, np.ndarray]) -> None:
    """Write weights into a bundle's folder: kernels as fp16, the rest as fp32.

    Statistics and offsets are small files and large errors, so they keep their precision.
    """
    stored = {
        key: array.astype(np.float16 if key.endswith("/kernel") else np.float32)
        for key, array in weights.items()
    }
    np.savez_compressed(folder / WEIGHTS_FILE, allow_pickle=False, **stored)


def write_description(folder: Path, description: Description) -> Bundle:
    """Hash the bundle's files and write ``bundle.json``, last and at once."""
    # Its answers to known pictures are made with the finished bundle, which they name by its hash.
    files = file_digests(folder, but=(DESCRIPTION_FILE, CANARIES_FILE))
    write_described(folder / DESCRIPTION_FILE, description.model_copy(update={"files": files}))
    return read_bundle(folder)

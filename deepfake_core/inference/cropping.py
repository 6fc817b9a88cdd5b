"""What a network is shown of a labelled picture: all of it, or its largest face."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from deepfake_core.errors import SourceError
from deepfake_core.faces.alignment import align, square_of
from deepfake_core.faces.finder import FaceFinder
from deepfake_core.images.decoding import Loaded, load, resize
from deepfake_core.inference.face_reading import FINDING_SIDE
from deepfake_core.inference.opening import USUAL_FINDER, find_finder
from deepfake_core.models.bundle import Preprocessing
from deepfake_core.models.registry import DEFAULT_REGISTRY
from deepfake_core.records import Failure, Float32Array, UInt8Array


@dataclass(frozen=True, slots=True)
class Crop:
    """What is shown of a picture.

    Attributes:
        pixels: uint8[side, side, 3].
        size: of the face in pixels of the picture: the side of the square that is shown.
    """

    pixels: UInt8Array
    size: float


class Cropper(Protocol):
    """Decodes labelled pictures and cuts out what the network is shown; thread-safe."""

    def load(self, data: bytes) -> Loaded | Failure:
        """Decode a file as a scan does."""
        ...

    def crop(self, image: Image.Image) -> Crop | None:
        """Cut a decoded picture; None where it shows no face."""
        ...


class WholePictures:
    """The whole picture, stretched to a square."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        """Take how images become the network's input."""
        self._preprocessing = preprocessing

    def load(self, data: bytes) -> Loaded | Failure:
        """See `Cropper.load`."""
        told = self._preprocessing
        return load(data, size=told.size, background=told.background, colour=told.colour)

    def crop(self, image: Image.Image) -> Crop | None:
        """See `Cropper.crop`."""
        return Crop(resize(image, self._preprocessing.size), float(min(image.size)))


class LargestFaces:
    """The largest face, aligned."""

    def __init__(self, finder: FaceFinder, preprocessing: Preprocessing) -> None:
        """Take the finder, and how faces become the network's input."""
        self._finder, self._preprocessing = finder, preprocessing

    def load(self, data: bytes) -> Loaded | Failure:
        """See `Cropper.load`."""
        told = self._preprocessing
        return load(data, size=FINDING_SIDE, background=told.background, colour=told.colour)

    def crop(self, image: Image.Image) -> Crop | None:
        """See `Cropper.crop`."""
        (faces,) = self._finder.find([image])
        if isinstance(faces, Failure) or not faces:
            return None
        largest = max(faces, key=lambda face: square_of(face.landmarks).size)
        aligned = align(image, largest.landmarks, size=self._preprocessing.size)
        return Crop(aligned.crop, aligned.size)


def open_cropper(preprocessing: Preprocessing, registry: Path = DEFAULT_REGISTRY) -> Cropper:
    """The cropper that a bundle's preprocessing asks for, at fp32.

    Raises:
        ModelError: the finder is missing or damaged.
    """
    if preprocessing.faces == "frame":
        return WholePictures(preprocessing)
    finder = find_finder(preprocessing.finder or USUAL_FINDER, registry)
    return LargestFaces(FaceFinder(finder), preprocessing)


@dataclass(frozen=True, slots=True)
class Crops:
    """What the network is shown of some pictures, of those that show something.

    Attributes:
        pixels: uint8[K, side, side, 3].
        sizes: float32[K], pixels.
        rows: K positions among the pictures, rising.
    """

    pixels: UInt8Array
    sizes: Float32Array
    rows: list[int]


def read_crops(cropper: Cropper, paths: Sequence[Path]) -> Crops:
    """What the network is shown of some files.

    Args:
        cropper: cuts it out.
        paths: readable pictures.

    Raises:
        SourceError: one of them cannot be decoded.
    """

    def read(path: Path) -> Crop | None:
        loaded = cropper.load(path.read_bytes())
        if isinstance(loaded, Failure):
            raise SourceError(f"{path}: {loaded.code} ({loaded.detail}); remove the file")
        return cropper.crop(loaded.image)

    with ThreadPoolExecutor() as threads:
        crops = list(threads.map(read, paths))
    rows = [row for row, crop in enumerate(crops) if crop is not None]
    shown = [crop for crop in crops if crop is not None]
    pixels = [crop.pixels for crop in shown]
    return Crops(
        pixels=np.stack(pixels) if pixels else np.empty((0, 0, 0, 3), np.uint8),
        sizes=np.array([crop.size for crop in shown], np.float32),
        rows=rows,
    )

"""Faces to fit a head on: each as it is, and changed as pictures are on their way to a bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.errors import SourceError
from deepfake_core.evaluation.scoring import read_image
from deepfake_core.inference.cropping import Cropper
from deepfake_core.records import Failure, UInt8Array
from deepfake_core.release.head_fitting import HeadFaces
from deepfake_core.release.kept_features import KeptTower
from deepfake_core.training.augmentation import change


def read_faces(
    images: Sequence[Labelled], tower: KeptTower, cropper: Cropper, *, views: int
) -> HeadFaces:
    """Take the features of images, each in several views.

    Args:
        images: readable pictures; what shows no face is left out.
        tower: whose features.
        cropper: finds and aligns the face.
        views: changed copies of each, beside the picture as it is. They depend on its bytes
            alone, so that a run that goes on, or has a few more images, asks for the same ones.

    Raises:
        SourceError: an image cannot be decoded, or none shows a face.
    """

    def read(image: Labelled) -> np.ndarray:
        crops = list(_views(image, cropper, views))
        return tower.features(np.stack(crops)) if crops else np.empty((0, 0), np.float32)

    with ThreadPoolExecutor(tower.lanes) as lanes:
        found = list(lanes.map(read, images))
    if not any(map(len, found)):
        raise SourceError(f"none of {len(images)} pictures shows a face; give portraits")
    shown = [image for image, one in zip(images, found, strict=True) for _ in one]
    return HeadFaces(
        features=np.concatenate([one for one in found if len(one)]),
        fake=np.array([image.fake for image in shown]),
        images=[str(image.path) for image in shown],
        groups=[image.group_id for image in shown],
    )


def _views(image: Labelled, cropper: Cropper, views: int) -> Iterator[UInt8Array]:
    loaded = read_image(image.path, cropper)
    if isinstance(loaded, Failure):
        raise SourceError(f"{image.path}: {loaded.code} ({loaded.detail}); remove the file")
    seed = int.from_bytes(hashlib.sha256(loaded.image.tobytes()).digest()[:8], "big")
    for view in range(1 + views):
        rng = np.random.default_rng((seed, view))
        crop = cropper.crop(change(loaded.image, rng) if view else loaded.image)
        if crop is not None:
            yield crop.pixels

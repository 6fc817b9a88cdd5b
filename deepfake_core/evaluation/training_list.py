"""Which images a model has seen, as hashes in its bundle: nobody is tested on what it learnt."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.models.hashed_folder import Version

TRAINING_LIST_FILE = "trained_on.npz"


@dataclass(frozen=True, slots=True)
class TrainingList:
    """Sorted, unique hashes of 8 bytes, uint64: of files, and of the groups that were declared."""

    contents: np.ndarray
    groups: np.ndarray

    def overlap(self, images: Sequence[Labelled]) -> list[Labelled]:
        """The images whose bytes or whose group are in the list."""
        if not images:
            return []
        known = np.isin(digests(images), self.contents)
        names = np.array([_short(image.group_id.encode()) for image in images], np.uint64)
        declared = np.array([_is_declared(image) for image in images])
        known |= declared & np.isin(names, self.groups)
        return [image for image, is_known in zip(images, known, strict=True) if is_known]

    def joined(self, other: TrainingList) -> TrainingList:
        """All that is in one of both."""
        return TrainingList(
            np.union1d(self.contents, other.contents), np.union1d(self.groups, other.groups)
        )

    def write(self, folder: Path) -> None:
        """Write it into the folder of a bundle that is being made."""
        np.savez_compressed(folder / TRAINING_LIST_FILE, contents=self.contents, groups=self.groups)


def list_training(images: Sequence[Labelled]) -> TrainingList:
    """The list of images that a model learns from or is chosen, calibrated and tuned by."""
    groups = [_short(image.group_id.encode()) for image in images if _is_declared(image)]
    return TrainingList(np.unique(digests(images)), np.unique(np.array(groups, np.uint64)))


def read_training_list(bundle: Version) -> TrainingList | None:
    """The list of a bundle; None where its bundle records none."""
    if TRAINING_LIST_FILE not in bundle.description.files:
        return None
    with np.load(bundle.verified(TRAINING_LIST_FILE), allow_pickle=False) as stored:
        return TrainingList(stored["contents"], stored["groups"])


def digests(images: Sequence[Labelled]) -> np.ndarray:
    """The hashes of the files' bytes, uint64[N]."""
    with ThreadPoolExecutor() as threads:
        hashes = list(threads.map(lambda image: _short(image.path.read_bytes()), images))
    return np.array(hashes, np.uint64)


def _short(data: bytes) -> int:
    """The first 8 bytes of the sha256: among a million images one chance in 10**7 of a clash."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big")


def _is_declared(image: Labelled) -> bool:
    """Whether the manifest gave the group; else its name is the path, which says nothing."""
    return not image.path.as_posix().endswith(image.group_id)

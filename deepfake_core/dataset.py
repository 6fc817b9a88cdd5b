"""Labelled images: class folders or a manifest, and the split by group."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from deepfake_core.errors import SourceError
from deepfake_core.images import load, resize
from deepfake_core.records import Failure, UInt8Array

CLASSES = ("fake", "real")
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".bmp", ".tif"})


@dataclass(frozen=True, slots=True)
class Labelled:
    """One labelled image.

    Attributes:
        path: where the file is.
        fake: the label.
        group_id: images with one group stay in one split.
        set_name: the folder above the class folder, such as ``train``; empty without one.
    """

    path: Path
    fake: bool
    group_id: str
    set_name: str = ""

    @property
    def reported(self) -> bool:
        """Whether the image is only reported on: the first hex digit of its group's hash is 8-f.

        The other half chooses the model, the temperature and the thresholds.
        """
        return hashlib.sha256(self.group_id.encode()).hexdigest()[0] >= "8"


def read_labelled(root: Path, within: str = "") -> list[Labelled]:
    """List labelled images, sorted by path.

    Args:
        root: a folder with ``manifest.csv`` (columns ``path,label[,group_id]``), or with the
            class folders ``real`` and ``fake``.
        within: only images below this folder of `root`, such as ``train``.

    Raises:
        SourceError: there is no manifest and a class folder is missing, or nothing is labelled.
    """
    manifest = root / "manifest.csv"
    if manifest.is_file():
        labelled = _from_manifest(manifest, within)
    else:
        labelled = _from_folders(root / within)
    if not labelled:
        raise SourceError(f"{root / within} holds no labelled images; add some to real/ and fake/")
    return sorted(labelled, key=lambda image: str(image.path))


def _from_manifest(manifest: Path, within: str) -> list[Labelled]:
    prefix = f"{within.rstrip('/')}/" if within else ""
    with manifest.open(newline="") as lines:
        return [
            Labelled(
                path=manifest.parent / row["path"],
                fake=row["label"] == "fake",
                group_id=row.get("group_id") or row["path"],
                set_name=row["path"].rpartition("/")[0].rpartition("/")[0],
            )
            for row in csv.DictReader(lines)
            if row["path"].startswith(prefix)
        ]


def _from_folders(folder: Path) -> list[Labelled]:
    missing = [name for name in CLASSES if not (folder / name).is_dir()]
    if missing:
        raise SourceError(
            f"{folder} should have the folders real/ and fake/; missing: {', '.join(missing)}"
        )
    return [
        Labelled(path=path, fake=name == "fake", group_id=str(path.relative_to(folder)))
        for name in CLASSES
        for path in (folder / name).rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]


def read_pixels(
    images: list[Labelled], *, size: int, change: Callable[[Image.Image], Image.Image] | None = None
) -> UInt8Array:
    """Decode labelled images as a scan does: uint8[N, size, size, 3].

    Args:
        images: what to decode.
        size: side of the result in pixels.
        change: what happens to each image before it is resized.

    Raises:
        SourceError: one of them cannot be decoded.
    """
    pixels = np.empty((len(images), size, size, 3), np.uint8)

    def decode_one(index: int) -> None:
        image = images[index]
        loaded = load(image.path.read_bytes(), size=size)
        if isinstance(loaded, Failure):
            raise SourceError(f"{image.path}: {loaded.code} ({loaded.detail}); remove the file")
        pixels[index] = resize(change(loaded.image) if change else loaded.image, size)

    with ThreadPoolExecutor() as threads:
        for _ in threads.map(decode_one, range(len(images))):
            pass
    return pixels


def is_fake(images: list[Labelled]) -> np.ndarray:
    """The labels as bool[N]."""
    return np.array([image.fake for image in images], dtype=bool)

"""Labelled images: class folders or a manifest, and the split by group."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from deepfake_core.datasets.class_folders import LABELS_FILE, find_files
from deepfake_core.datasets.label_file import read_table
from deepfake_core.datasets.names import FAKE, split_of
from deepfake_core.datasets.reading import PLAIN, Reading
from deepfake_core.errors import SourceError
from deepfake_core.images.decoding import load, resize
from deepfake_core.records import Failure, UInt8Array

SHOWN_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class Labelled:
    """One labelled image.

    Attributes:
        path: where the file is.
        fake: the label.
        group_id: images with one group stay in one split.
        set_name: the folder above the class folder, such as ``train``; empty without one.
        source: what made the image, where a manifest says it (``generator`` or ``source``).
        people: the group of people by the name of the manifest's column (``people_...``).
    """

    path: Path
    fake: bool
    group_id: str
    set_name: str = ""
    source: str = ""
    people: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def reported(self) -> bool:
        """Whether the image is only reported on: the first hex digit of its group's hash is 8-f.

        The other half chooses the model, the temperature and the thresholds.
        """
        return hashlib.sha256(self.group_id.encode()).hexdigest()[0] >= "8"

    @property
    def split(self) -> str:
        """The split that the set belongs to, see `split_of`."""
        return split_of(self.set_name)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a labelled folder holds.

    Attributes:
        images: sorted by path.
        problems: what is wrong, one line each; the images that it concerns are left out.
        ignored: how many files in class folders are not images by their name and content.
        notes: how names were read, and what was left out, one line each.
    """

    images: tuple[Labelled, ...]
    problems: tuple[str, ...] = ()
    ignored: int = 0
    notes: tuple[str, ...] = ()


def read_labelled(root: Path, within: str = "", *, reading: Reading = PLAIN) -> list[Labelled]:
    """List labelled images, sorted by path.

    Args:
        root: a folder with ``manifest.csv`` (columns ``path,label`` and, where there are more,
            ``group_id``, ``split``, ``generator`` or ``source``, ``people_...``), or with the
            class folders ``real`` and ``fake``, or with sets such as ``train`` that have them.
        within: only images below this folder of `root`, or of this set, such as ``train``.
        reading: what names mean that do not say it.

    Raises:
        SourceError: there is no manifest and a class folder is missing, a line of the manifest
            is wrong, or nothing is labelled.
    """
    listing = list_labelled(root, within, reading=reading)
    if listing.problems:
        raise SourceError(_in_short(root, listing.problems))
    if not listing.images:
        raise SourceError(f"{root / within} holds no labelled images; add some to real/ and fake/")
    return list(listing.images)


def list_labelled(root: Path, within: str = "", *, reading: Reading = PLAIN) -> Listing:
    """List labelled images as `read_labelled` does, with what is wrong as lines of text.

    Raises:
        SourceError: the folder or its manifest cannot be read at all.
    """
    manifest = root / LABELS_FILE
    if not manifest.is_file():
        files = find_files(root, within, reading)
        images = [
            Labelled(path, label == FAKE, path.relative_to(root).as_posix(), set_name)
            for path, label, set_name in files.files
        ]
        return Listing(_sorted(images), ignored=files.ignored, notes=tuple(files.notes))
    table = read_table(manifest, within, reading)
    images = [
        Labelled(
            path=root / row.path,
            fake=row.label == FAKE,
            group_id=row.group_id or row.path,
            set_name=row.set_name,
            source=row.source,
            people=row.people,
        )
        for row in table.rows
    ]
    return Listing(_sorted(images), tuple(table.problems), notes=tuple(table.notes))


def _in_short(root: Path, problems: Sequence[str]) -> str:
    more = len(problems) - SHOWN_PROBLEMS
    shown = "; ".join(problems[:SHOWN_PROBLEMS])
    return f"{root}: {shown}" + (f"; and {more} more" if more > 0 else "")


def _sorted(images: Iterable[Labelled]) -> tuple[Labelled, ...]:
    return tuple(sorted(images, key=lambda image: str(image.path)))


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
        loaded = load(image.path.read_bytes(), size=size, colour="srgb")
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

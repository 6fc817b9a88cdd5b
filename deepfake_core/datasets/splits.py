"""Labelled images by their use: what chooses, and what is only reported."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepfake_core.datasets.class_folders import LABELS_FILE
from deepfake_core.datasets.labelled import Labelled, list_labelled, read_labelled
from deepfake_core.datasets.reading import PLAIN, Reading
from deepfake_core.errors import SourceError

# Images of each class in a half.
MIN_PER_CLASS = 2


@dataclass(slots=True)
class Split:
    """The labelled images by their use.

    Attributes:
        train: the set ``train``.
        chosen: of ``valid``, or without such a set of all that are not in ``train``, the half
            that chooses the curve and the thresholds.
        report: its other half, on which nothing is chosen.
        others: every further set, by name.
    """

    train: list[Labelled]
    chosen: list[Labelled]
    report: list[Labelled]
    others: dict[str, list[Labelled]]


def split_labelled(data: Path, one_class: tuple[str, ...] = ()) -> Split:
    """Halve ``valid`` by group, and name every further set; classes apart where they must be.

    Args:
        data: labelled folder.
        one_class: sets whose classes are reported apart, under ``NAME_fake`` and ``NAME_real``.

    Raises:
        SourceError: a half lacks a class.
    """
    images = read_labelled(data)
    named = any(image.set_name == "valid" for image in images)
    split = Split([], [], [], {})
    for image in images:
        if image.set_name == "train":
            split.train.append(image)
        elif image.set_name == "valid" or not named:
            (split.report if image.reported else split.chosen).append(image)
        else:
            kind = f"_{'fake' if image.fake else 'real'}"
            name = image.set_name + (kind if image.set_name in one_class else "")
            split.others.setdefault(name, []).append(image)
    for half, images in {"choose": split.chosen, "report": split.report}.items():
        fakes = sum(image.fake for image in images)
        if fakes < MIN_PER_CLASS or len(images) - fakes < MIN_PER_CLASS:
            raise SourceError(
                f"{data} leaves {fakes} fakes and {len(images) - fakes} reals to {half} "
                f"on; at least {MIN_PER_CLASS} of each are needed in valid/, or without sets in "
                f"all of it"
            )
    return split


def thin(images: list[Labelled], most: int) -> list[Labelled]:
    """At most so many of them, evenly spread over their order."""
    return images[:: -(-len(images) // most) or 1]


VALID_PERCENT = 20


def arrange(
    data: Path,
    images: Sequence[Labelled],
    folder: Path,
    *,
    reading: Reading = PLAIN,
    valid_percent: int = VALID_PERCENT,
) -> Path:
    """The labelled folder to train on: `data` itself, or a view of links where it must differ.

    It differs where names had to be explained, where there is no set ``valid``, and where the
    data checks joined groups, moved an image to the set of its duplicates, or left one out.

    Args:
        data: the folder as it was given.
        images: as the data checks left them; those below `data`.
        folder: where a view goes; it is replaced.
        reading: what names in `data` mean that do not say it.
        valid_percent: of the groups, that become ``valid`` where there is no such set.

    Returns:
        A folder with the sets ``train`` and ``valid``.

    Raises:
        SourceError: a set or a half of the validation set lacks a class.
    """
    split = split_by_group(images, valid_percent)
    _refuse_small(split, data)
    if reading.plain and set(split) == set(list_labelled(data).images):
        return data
    shutil.rmtree(folder, ignore_errors=True)
    for image in split:
        link = folder / _place(image, data)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(image.path.absolute())
    _write_manifest(split, data, folder)
    return folder


def split_by_group(
    images: Sequence[Labelled], valid_percent: int = VALID_PERCENT
) -> list[Labelled]:
    """Give the images sets where they have none: a part of the groups becomes ``valid``.

    Which groups is told by a hash of the group, so that an image stays on its side when others
    come or go. A folder that has ``valid`` is left as it is; one that has other sets, too, gives
    a part of what is not ``test``.
    """
    if any(image.set_name == "valid" for image in images):
        return list(images)
    return [
        replace(image, set_name=_side(image.group_id, valid_percent))
        if image.set_name in ("", "train")
        else image
        for image in images
    ]


def _side(group_id: str, valid_percent: int) -> str:
    """By the last digits of the hash; the first one halves the validation set."""
    digits = hashlib.sha256(group_id.encode()).hexdigest()[-8:]
    return "valid" if int(digits, 16) % 100 < valid_percent else "train"


def _refuse_small(images: Sequence[Labelled], data: Path) -> None:
    valid = [image for image in images if image.set_name == "valid"]
    parts = {
        "to train on": [image for image in images if image.set_name == "train"],
        "to choose by": [image for image in valid if not image.reported],
        "to report on": [image for image in valid if image.reported],
    }
    for purpose, part in parts.items():
        fakes = sum(image.fake for image in part)
        if min(fakes, len(part) - fakes) < MIN_PER_CLASS:
            raise SourceError(
                f"{data} leaves {len(part) - fakes} real and {fakes} fake images {purpose}, at "
                f"least {MIN_PER_CLASS} of each are needed: add images, or groups"
            )


def _place(image: Labelled, data: Path) -> str:
    """Where an image lies in the view: its set, its class, and its path, which is unique."""
    name = image.path.relative_to(data).as_posix()
    return f"{image.set_name}/{'fake' if image.fake else 'real'}/{name}"


def _write_manifest(images: Sequence[Labelled], data: Path, folder: Path) -> None:
    people = sorted({column for image in images for column in image.people})
    with (folder / LABELS_FILE).open("w", newline="", encoding="utf-8") as stream:
        lines = csv.writer(stream)
        lines.writerow(["path", "label", "split", "group_id", "generator", *people])
        for image in images:
            label = "fake" if image.fake else "real"
            groups = [image.people.get(column, "") for column in people]
            known = [image.set_name, image.group_id, image.source]
            lines.writerow([_place(image, data), label, *known, *groups])

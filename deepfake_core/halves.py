"""Labelled images by their use: what chooses, and what is only reported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepfake_core.dataset import Labelled, read_labelled
from deepfake_core.errors import SourceError

# Images of each class in a half.
LEAST = 2


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
        if fakes < LEAST or len(images) - fakes < LEAST:
            raise SourceError(
                f"{data} leaves {fakes} fakes and {len(images) - fakes} reals to {half} "
                f"on; at least {LEAST} of each are needed in valid/, or without sets in all of it"
            )
    return split


def thin(images: list[Labelled], most: int) -> list[Labelled]:
    """At most so many of them, evenly spread over their order."""
    return images[:: -(-len(images) // most) or 1]

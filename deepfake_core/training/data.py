"""The images that a network is trained and validated on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepfake_core.datasets.labelled import Labelled


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What is learnt from.

    Attributes:
        labelled: the images to learn from, both classes.
        validation: the images that choose the best weights; without any the last ones are kept.
        unlabelled: images of which only the teachers' opinion is used; their label is ignored.
        teachers: files of classifiers to distil, see `Teachers`.
    """

    labelled: tuple[Labelled, ...]
    validation: tuple[Labelled, ...] = ()
    unlabelled: tuple[Labelled, ...] = ()
    teachers: tuple[Path, ...] = ()

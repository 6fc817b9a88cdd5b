"""Which images are measured together, so that no figure says what it should not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.evaluation.scored_set import CLASS_NAMES, ScoredSet
from deepfake_core.evaluation.set_figures import has_both
from deepfake_core.evaluation.shortcuts import separating
from deepfake_core.evaluation.training_list import TrainingList

TRAIN, CALIBRATED = "train", "valid"
REPORT, CHOSEN = "_report", "_chosen"


def split_sets(
    judged: Mapping[str, ScoredSet], *, one_class: Sequence[str] = (), halved: Sequence[str] = ()
) -> tuple[dict[str, ScoredSet], list[str]]:
    """Decide what is measured together.

    Args:
        judged: images by set.
        one_class: sets to measure class by class even if their files do not differ.
        halved: sets of which one half chose the calibration and the thresholds.

    Returns:
        Judged images by name: sets, their halves, or their classes where the files alone tell
        these apart; and warnings that belong to the figures.
    """
    parts: dict[str, ScoredSet] = {}
    warnings: list[str] = []
    for name, members in judged.items():
        telling = separating(members.images, members.sizes, members.fake)
        if has_both(members.fake) and (telling or name in one_class):
            parts |= {
                f"{name}_{word}": members.where(members.fake == kind)
                for kind, word in CLASS_NAMES.items()
            }
            warnings.append(_why_class_by_class(name, telling))
        elif name in halved:
            parts |= _halves(name, members)
            warnings.append(
                f"{name} is split by group: calibration and thresholds of such a model were chosen "
                f"on {name}_chosen, so quote {name}_report"
            )
        else:
            parts[name] = members
            if name == TRAIN:
                warnings.append(
                    f"{name}: models are trained on a set of this name; such figures say what was "
                    "learnt by heart"
                )
        if not has_both(members.fake):
            warnings.append(f"{name} holds one class only: it has no AUC, only shares of labels")
    return parts, warnings


def _why_class_by_class(name: str, telling: Mapping[str, float]) -> str:
    measured = ", ".join(f"{feature} (AUC {value:.2f})" for feature, value in telling.items())
    reason = f"the files alone tell its classes apart by {measured}" if telling else "as was asked"
    return (
        f"{name} is measured class by class: {reason}; an AUC of both classes would say how well "
        "the files' form is told apart, not the faces"
    )


def _halves(name: str, whole: ScoredSet) -> dict[str, ScoredSet]:
    """The half that is only reported on, and the half that chose the thresholds."""
    reported = np.array([image.reported for image in whole.images], dtype=bool)
    halves = {f"{name}{REPORT}": whole.where(reported), f"{name}{CHOSEN}": whole.where(~reported)}
    return {part: half for part, half in halves.items() if half.images}


def choose_headline(parts: Mapping[str, ScoredSet]) -> str:
    """The set to quote: the report half, else the first that the model has not learnt from."""
    order = sorted(
        parts,
        key=lambda name: (
            not name.endswith(REPORT),
            not has_both(parts[name].fake),
            name == TRAIN or name.endswith(CHOSEN),
        ),
    )
    return order[0]


def find_halved(
    learnt: TrainingList | None, judged: Mapping[str, ScoredSet], *, calibrated: bool
) -> list[str]:
    """The sets of which one half chose the calibration: ``valid``, or without it what was seen."""
    if CALIBRATED in judged:
        return [CALIBRATED] if calibrated else []
    if learnt is None:
        return []
    return [
        name for name, members in judged.items() if name != TRAIN and learnt.overlap(members.images)
    ]


def find_overlaps(
    learnt: TrainingList | None, images: Sequence[Labelled], parts: Mapping[str, ScoredSet]
) -> list[str]:
    """Say which sets share images or groups with what the model has learnt from.

    Args:
        learnt: what the bundle records of the images that it was trained and tuned on; without
            it the sets ``train`` and ``valid`` of this folder are taken for them.
        images: all images of the folder.
        parts: what is measured.
    """
    warnings: list[str] = []
    tuning = {
        image.group_id
        for image in images
        if image.set_name == TRAIN or (image.set_name == CALIBRATED and not image.reported)
    }
    for name, part in parts.items():
        if name in (TRAIN, CALIBRATED) or name.endswith(CHOSEN):
            continue
        if learnt is not None:
            shared = len(learnt.overlap(part.images))
            what = "that the model was trained or tuned on, as its bundle records"
        else:
            shared = sum(group in tuning for group in part.groups)
            what = "of this folder that models are trained or tuned on"
        if shared:
            warnings.append(
                f"{name}: {shared} of {len(part.images)} images are, or share a group with, images "
                f"{what}"
            )
    return warnings

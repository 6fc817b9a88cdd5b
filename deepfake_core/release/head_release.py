"""Complete a second look that has a new head: weights, calibrations, precisions, figures, card."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

import numpy as np

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.engines.clip_head import ClipHead
from deepfake_core.evaluation.training_list import (
    TRAINING_LIST_FILE,
    list_training,
    read_training_list,
)
from deepfake_core.files import written_beside
from deepfake_core.models.bundle import CARD_FILE, Precision
from deepfake_core.models.decision import Calibration
from deepfake_core.models.second_look import (
    HEAD_FILE,
    LookDescription,
    SecondBundle,
    write_second,
)
from deepfake_core.release.calibration import choose_calibration
from deepfake_core.release.head_scoring import HeadLogits, truth_of
from deepfake_core.release.second_release import figures_alone, second_card

FP32: Precision = "fp32"
# By family: how many faces lie above the cut, and of how many.
Counts = dict[str, tuple[int, int]]
# How much more than the old head's a new head's logits may move at a faster precision.
MOST_MOVED = 1.25
ADVICE = "make room and start again"


class Moved(TypedDict):
    """What a faster precision does to the logits of a new head.

    Attributes:
        faces: how many were compared with fp32.
        moved: root mean square of the difference, over the logits' standard deviation.
        moved_before: the same of the old head on the same faces.
        qualified: whether the precision may be used.
    """

    faces: int
    moved: float
    moved_before: float
    qualified: bool


@dataclass(frozen=True, slots=True)
class HeadMaterial:
    """What a second look with a new head is made from.

    Attributes:
        before: the second look whose tower it shares.
        head: the new head.
        old, new: what both heads say of the validation images, of which the reported half
            chose nothing.
        learnt: the images that the head was fitted on.
        trained_on: what they are and their terms, in words.
        limits: what it must not be used for, besides what the old one must not.
    """

    before: SecondBundle
    head: ClipHead
    old: HeadLogits
    new: HeadLogits
    learnt: Sequence[Labelled]
    trained_on: str
    limits: tuple[str, ...]


def complete_head(folder: Path, version: int, material: HeadMaterial) -> SecondBundle:
    """Write a second look with a new head into an empty folder.

    The tower, the licence and all that is said of origin and limits are carried over. A precision
    that the old head was qualified for is kept where rounding moves the new head's logits no more
    than the old one's: with the same tower nothing else can have changed.
    """
    before, new = material.before, material.new
    told = before.description
    chosen = np.array([not image.reported for image in new.images])
    moved = {name: _moved(material, name) for name in new.logits if name != FP32}
    kept = (FP32, *(name for name in moved if moved[name]["qualified"]))
    _write_files(folder, material)
    learnt = [*material.learnt, *(image for image in new.images if not image.reported)]
    earlier, listed = read_training_list(before), list_training(learnt)
    # The new head is the old one and something more: what that learnt is in it, too.
    (listed.joined(earlier) if earlier else listed).write(folder)
    complete = told.model_copy(
        update={
            "version": version,
            "calibrations": {name: _calibration(new, name, chosen) for name in new.logits},
            "precisions": kept,
            "figures": {name: figures_of(new, name, ~chosen) for name in new.logits},
            "qualification": moved,
            "trained_on": f"{told.trained_on} {_learnt(material)}".strip(),
            "limits": (*told.limits, *material.limits),
            "files": {},
        }
    )
    (folder / CARD_FILE).write_text(head_card(complete, material))
    return write_second(folder, complete)


def _write_files(folder: Path, material: HeadMaterial) -> None:
    """What the old second look has, but for its head and what is written anew."""
    before = material.before
    for name in set(before.description.files) - {HEAD_FILE, CARD_FILE, TRAINING_LIST_FILE}:
        shutil.copyfile(before.verified(name), folder / name)
    with written_beside(folder / HEAD_FILE, ADVICE) as stream:
        np.savez_compressed(stream, allow_pickle=False, **material.head.arrays)


def _calibration(new: HeadLogits, precision: Precision, chosen: np.ndarray) -> Calibration:
    logits, images = new.pooled(precision, chosen)
    truth = truth_of(images)
    return choose_calibration(logits, truth.fake, list(truth.groups))


def figures_of(scored: HeadLogits, precision: Precision, rows: np.ndarray) -> dict[str, object]:
    """AUC, fakes found and counts by family of the faces of some images, bool[N]."""
    logits, images = scored.pooled(precision, rows)
    families = np.array([family_of(image) for image in images])
    return figures_alone(logits, truth_of(images), families)


def family_of(image: Labelled) -> str:
    """What a face is counted under."""
    return image.source or ("fakes" if image.fake else "photographs")


def _moved(material: HeadMaterial, precision: Precision) -> Moved:
    """How far the logits of both heads move at a precision, and whether it stays qualified."""
    before, after = (_rounding(logits, precision) for logits in (material.old, material.new))
    was = precision in material.before.description.precisions
    return {
        "faces": int(np.isfinite(material.new.logits[FP32]["clean"]).sum()),
        "moved": round(after, 4),
        "moved_before": round(before, 4),
        "qualified": was and after <= MOST_MOVED * before,
    }


def _rounding(scored: HeadLogits, precision: Precision) -> float:
    """Root mean square of what a precision moves logits by, over their standard deviation."""
    exact, faster = scored.logits[FP32]["clean"], scored.logits[precision]["clean"]
    shown = np.isfinite(exact)
    moved = np.sqrt(np.mean((exact[shown] - faster[shown]) ** 2))
    return float(moved / np.std(exact[shown]))


def _learnt(material: HeadMaterial) -> str:
    fakes = sum(image.fake for image in material.learnt)
    count = f"{len(material.learnt) - fakes:,} photographs and {fakes:,} fakes"
    origin = material.trained_on or "whoever fitted it did not say which, nor their terms"
    return f"The head was then fitted to {count} more, near what it was: {origin}."


def head_card(told: LookDescription, material: HeadMaterial) -> str:
    """The card as markdown, with what the head was before."""
    changed = [
        f"## What changed\n\nIts tower is that of {material.before.model_id}; only the head "
        "differs.\n",
        change_table((material.old, material.new)),
    ]
    precisions = [_precision(name, moved) for name, moved in told.qualification.items()]
    return "\n".join([second_card(told, precisions), *changed])


def change_table(both: tuple[HeadLogits, HeadLogits]) -> str:
    """The old head and the new one on the same reported faces, as markdown."""
    reported = np.array([image.reported for image in both[1].images])
    precision = both[1].fastest
    old, new = (figures_of(scored, precision, reported) for scored in both)
    above, before = cast(Counts, new["above_the_cut"]), cast(Counts, old["above_the_cut"])
    rows = [
        f"| {name} | {before[name][0]} | {count} | {of} |" for name, (count, of) in above.items()
    ]
    lead = (
        f"On {new['faces']:,} faces that chose nothing, in all tiers together at {precision}: AUC "
        f"{old['auc']} before, {new['auc']} now. Faces above the score that 1 % of these "
        "photographs exceed:\n\n| family | before | now | of |\n|---|---|---|---|\n"
    )
    return lead + "\n".join(rows) + "\n"


def _precision(name: str, moved: Moved) -> str:
    return (
        f"- {name}: on {moved['faces']:,} faces it moves logits by {moved['moved']:.1%} of their "
        f"spread, those of the old head by {moved['moved_before']:.1%}; "
        f"{'it stays qualified' if moved['qualified'] else 'not used'}.\n"
    )

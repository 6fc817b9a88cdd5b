"""What people are told of the networks that judge: the words and figures of those that decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deepfake_core.inference.second_opening import PairedLook
from deepfake_core.models.bundle import Bundle
from deepfake_core.records import Json


@dataclass(frozen=True, slots=True)
class Told:
    """What the cards say.

    Attributes:
        figures: what was measured, by set of images; of both looks together where there are two,
            empty where nothing was measured of them.
        trained_on: the images that they were trained on, and their terms.
        limits: what they must not be used for.
    """

    figures: Mapping[str, Json]
    trained_on: str
    limits: tuple[str, ...]


def told_of(bundle: Bundle, second: PairedLook | None) -> Told:
    """What the cards say of a first look, and of a second if there is one."""
    first = bundle.description
    if second is None:
        return Told(first.figures, first.trained_on, first.limits)
    measured = second.pair.figures.get(second.precision)
    figures = measured.judged(all_looked_twice=second.mode == "all") if measured else {}
    look = second.look.description
    trained = {bundle.model_id: first.trained_on, second.look.model_id: look.trained_on}
    return Told(
        figures=figures,
        trained_on=" ".join(f"{name}: {text}" for name, text in trained.items() if text),
        limits=tuple(dict.fromkeys((*first.limits, *look.limits))),
    )

"""The parts that a candidate is compared with the current model on: tiers, families, people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.release.gate_answers import Answers
from deepfake_core.release.gate_comparison import (
    AUC,
    FOUND,
    OVER_LINE,
    Part,
    Row,
    differences,
    draw,
)
from deepfake_core.release.gate_config import GateConfig


def compare_tiers(
    candidate: Mapping[str, Answers],
    current: Mapping[str, Answers],
    groups: Sequence[str],
    config: GateConfig,
) -> list[Row]:
    """All images at each tier: it must be shown that the candidate is no worse."""
    usual = draw(groups, candidate["clean"].fake, config)
    rows: list[Row] = []
    for tier, answers in candidate.items():
        pair, samples, shown = (answers, current[tier]), usual, answers.shown
        if not shown.all():
            pair = pair[0].of(shown), pair[1].of(shown)
            left = [groups[row] for row in np.flatnonzero(shown).tolist()]
            samples = draw(left, pair[0].fake, config)
        margins, everyone = config.margins(tier), np.ones(len(pair[0].fake), bool)
        limits = {AUC: -margins.auc, FOUND: -margins.found}
        rows += differences(pair, samples, Part(tier, everyone, limits, config.confidence))
    return rows


def compare_families(
    pair: tuple[Answers, Answers], data: Sequence[Labelled], config: GateConfig
) -> tuple[list[Row], list[str]]:
    """Each source of fakes or of photographs; a candidate that is shown to be worse is refused.

    That it is no worse cannot be shown on each of a few dozen images: an equal model would fail
    by chance on one of them.

    Args:
        pair: the answers of candidate and current to the images as they are.
        data: the images.
        config: margins.

    Returns:
        Rows, and notes on families with too few images.
    """
    fake = pair[0].fake
    margins, confidence = config.families, 1 - config.confidence
    named = np.array([image.source for image in data])
    samples = draw([image.group_id for image in data], fake, config)
    rows: list[Row] = []
    notes: list[str] = []
    for name in sorted({image.source for image in data if image.source}):
        for kind, own in (("fake", fake), ("real", ~fake)):
            images = (named == name) & own
            if 0 < images.sum() < config.min_family_images:
                notes.append(f"{name} has {images.sum()} {kind} images, too few to be judged")
            if images.sum() < config.min_family_images:
                continue
            if kind == "fake":
                limits = {AUC: -margins.auc, FOUND: -margins.found}
                part = Part(name, images | ~fake, limits, confidence)
            else:
                part = Part(name, images, {OVER_LINE: margins.alarms}, confidence)
            rows += differences(pair, samples, part)
    return rows, notes


def compare_people(
    pair: tuple[Answers, Answers], data: Sequence[Labelled], config: GateConfig
) -> tuple[list[Row], list[str]]:
    """Each group of people; it must be shown that the candidate is no worse.

    Args:
        pair: the answers of candidate and current to the images as they are.
        data: the images.
        config: margins.

    Returns:
        The rows of every group with enough images, and notes on those without.
    """
    fake, margins = pair[0].fake, config.people
    limits = {AUC: -margins.auc, FOUND: -margins.found, OVER_LINE: margins.alarms}
    samples = draw([image.group_id for image in data], fake, config)
    rows: list[Row] = []
    notes: list[str] = []
    for column, value in sorted({item for image in data for item in image.people.items()}):
        members = np.array([image.people.get(column) == value for image in data])
        fewest = int(min(fake[members].sum(), (~fake[members]).sum()))
        name = f"{column} {value}"
        if fewest < config.min_group_images:
            notes.append(f"{name} has {fewest} images of a class, too few to be judged")
            continue
        rows += differences(pair, samples, Part(name, members, limits, config.confidence))
    return rows, notes

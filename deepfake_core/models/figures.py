"""What was measured of a model, as it stands in bundles and reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict


class Gap(TypedDict):
    """The largest difference of a rate between groups of people.

    Attributes:
        highest: the group with the highest rate.
        lowest: likewise.
        gap: their difference, 0 to 1.
        interval: its 95 % bootstrap interval.
        p_value: of a permutation test.
        limit: what the p value must be below.
        found: whether there is a gap beyond chance.
    """

    highest: str
    lowest: str
    gap: float
    interval: list[float]
    p_value: float
    limit: float
    found: bool


class ThresholdCurve(TypedDict):
    """What each of N thresholds of `fake` would do, three lists of N numbers from 0 to 1.

    Attributes:
        threshold: rising.
        fpr: share of photographs whose score reaches it.
        tpr: share of fakes whose score reaches it.
    """

    threshold: list[float]
    fpr: list[float]
    tpr: list[float]


class Figures(TypedDict, total=False):
    """The figures of a set of images; with one class only, those that need both are missing.

    Shares and the like are from 0 to 1. What a figure means, `deepfake_core.rendering.figure_names`
    says.

    Attributes:
        images: how many were judged; ``real`` and ``fake`` are those of each class.
        not_applicable: how many show no face.
        intervals: of each figure, its 95 % interval; None where nothing is known.
        labels: with one class only, how often each label was given.
        people: by column of people, how the groups differ.
        curve: of the reported half, what other thresholds would do.
    """

    images: int
    real: int
    fake: int
    not_applicable: int
    auc: float
    average_precision: float
    balanced_accuracy: float
    tpr_at_1_percent_fpr: float
    tpr_at_5_percent_fpr: float
    fpr_at_fake: float
    tpr_at_fake: float
    fakes_called_real: float
    fakes_uncertain: float
    reals_called_real: float
    reals_uncertain: float
    decided_share: float
    ece: float
    brier: float
    intervals: dict[str, list[float] | None]
    labels: dict[str, int]
    people: dict[str, People]
    curve: ThresholdCurve


class People(TypedDict):
    """The figures of a column that names groups of people.

    Attributes:
        groups: figures by group.
        without_group: images of which no group is known.
        gaps: by rate; None where fewer than two groups have enough images.
    """

    groups: dict[str, Figures]
    without_group: int
    gaps: dict[str, Gap | None]


def value_of(figures: Mapping[str, object], name: str) -> float | None:
    """One figure by its name; None where it was not measured."""
    value = figures.get(name)
    return value if isinstance(value, int | float) else None

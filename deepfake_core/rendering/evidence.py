"""The words for people: how strong the evidence is that a face was generated.

A score is the share of fakes where the calibration was made; the strength says how much more
often such a score comes from fakes than from photographs, which does not depend on how common
fakes are. Nobody is told that a picture is real: a model that finds nothing has shown nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from deepfake_core.records import Label

# The share of fakes that a calibration assumes unless its bundle says otherwise.
BALANCED = 0.5


class Strength(StrEnum):
    """The words, from the weakest to the strongest."""

    NONE = "none found"
    WEAK = "weak"
    MODERATE = "moderate"
    STRONG = "strong"
    VERY_STRONG = "very strong"


# From these likelihood ratios on; the steps of ten are those of forensic reports (ENFSI 2015).
BOUNDS: Mapping[Strength, float] = {
    Strength.WEAK: 2.0,
    Strength.MODERATE: 10.0,
    Strength.STRONG: 100.0,
    Strength.VERY_STRONG: 1000.0,
}
SCALE = (
    "The strength of the evidence says how many times more often a score like this comes from "
    "generated faces than from photographs: weak from 2 times on, moderate from 10, strong from "
    "100, very strong from 1,000, and none found below 2."
)
# What people read instead of the labels in data.
LABEL_WORDS: Mapping[str, str] = {
    Label.FAKE: "flagged",
    Label.UNCERTAIN: "uncertain",
    Label.REAL: "nothing found",
    "not_applicable": "not applicable",
}


def likelihood_ratio(scores: npt.ArrayLike, *, prior: float = BALANCED) -> npt.NDArray[np.float64]:
    """How many times more often a score comes from fakes than from photographs.

    Args:
        scores: any shape, calibrated, in [0, 1].
        prior: the share of fakes that the calibration assumed.

    Returns:
        float64 of the same shape, from 0 to infinity.
    """
    share = np.asarray(scores, np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(share / (1 - share) * ((1 - prior) / prior))


def strengths(scores: npt.ArrayLike, *, prior: float = BALANCED) -> list[Strength]:
    """The word for each score, in order."""
    ratios = likelihood_ratio(np.atleast_1d(scores), prior=prior)
    words = list(Strength)
    return [words[step] for step in np.digitize(ratios, list(BOUNDS.values()))]


def strength(score: float, label: str | None = None, *, prior: float = BALANCED) -> Strength:
    """The word for one picture.

    Args:
        score: calibrated, in [0, 1].
        label: its label; a line that a user chose lower may flag what a score alone would not,
            and what is flagged never reads ``none found``.
        prior: the share of fakes that the calibration assumed.
    """
    word = strengths(score, prior=prior)[0]
    return Strength.WEAK if word is Strength.NONE and label == Label.FAKE else word


def label_words(label: str | None) -> str:
    """A label as people read it; what has none could not be judged."""
    return "not judged" if label is None else LABEL_WORDS.get(label, label)


def at_prior(score: float, prior: float, *, calibrated_for: float = BALANCED) -> float:
    """The probability of fake where another share of the pictures is fake than in calibration.

    Examples:
        >>> round(at_prior(0.99, 0.001), 3)
        0.09
    """
    ratio = float(likelihood_ratio(score, prior=calibrated_for))
    odds = ratio * prior / (1 - prior) if prior < 1 else float("inf")
    return 1.0 if odds == float("inf") else odds / (1 + odds)


def mistaken_share(hits: float, alarms: float, prior: float) -> float:
    """The share of photographs among what is flagged, by Bayes' rule.

    Args:
        hits: share of fakes that are flagged.
        alarms: share of photographs that are flagged.
        prior: share of fakes among all pictures.
    """
    mistaken, right = alarms * (1 - prior), hits * prior
    return mistaken / (mistaken + right) if mistaken + right else 0.0


def of_hundred(share: float) -> str:
    """A share of flags as a count of a hundred; more than none is never 0, less than all not 100.

    Examples:
        >>> of_hundred(0.004), of_hundred(0.31), of_hundred(0.999)
        ('fewer than 1', 'about 31', 'more than 99')
    """
    if 0 < share < 0.005:
        return "fewer than 1"
    if 0.995 < share < 1:
        return "more than 99"
    return f"about {round(100 * share)}"

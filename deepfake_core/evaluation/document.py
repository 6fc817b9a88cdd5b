"""What an evaluation gives, as its ``evaluation.json`` says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from deepfake_core.models.figures import Figures, People


class Roc(TypedDict):
    """A ROC curve: two lists of N rising shares."""

    fpr: list[float]
    tpr: list[float]


class Reliability(TypedDict):
    """Mean score, share of fakes and number of images of each bin of the score that has any."""

    score: list[float]
    fake: list[float]
    images: list[int]


class Histogram(TypedDict):
    """Counts of scores by class, in N bins of N + 1 edges."""

    edges: list[float]
    counts: dict[str, list[int]]


class Mistake(TypedDict):
    """An image on the wrong side of one half; ``set`` where those of several sets are together."""

    image: str
    source: str
    score: float
    label: str
    set: NotRequired[str]


# The figures of a source against all of the other class; "class" is a word of Python's.
SourceKind = TypedDict("SourceKind", {"class": str, "source": str, "seen": bool | None})


class SourceFigures(SourceKind, Figures):
    """The figures of one source, and whether the model was trained on it."""


class SizeFigures(Figures):
    """The figures of files of one size, in words."""

    size: str


class SetReport(TypedDict):
    """All that was measured on one set.

    Attributes:
        figures: of the files as they are.
        tiers: likewise and of degraded ones, by tier.
        sources: of each source.
        novelty: of fakes that were trained on, and of others.
        sizes: by the shorter side.
        people: by column that names groups of people.
        histogram: of the scores.
        mistakes: the worst, by true class.
        roc: only with both classes, like ``reliability``.
    """

    figures: Figures
    tiers: dict[str, Figures]
    sources: list[SourceFigures]
    novelty: dict[str, Figures]
    sizes: list[SizeFigures]
    people: dict[str, People]
    histogram: Histogram
    mistakes: dict[str, list[Mistake]]
    roc: NotRequired[Roc]
    reliability: NotRequired[Reliability]


class Counts(TypedDict):
    """How many of all images are labelled as they are."""

    images: int
    real: int
    fake: int
    right: int
    wrong: int
    uncertain: int
    right_real: int
    right_fake: int
    right_share: float


# A failed image; "class" is a word of Python's.
FailedImage = TypedDict("FailedImage", {"image": str, "class": str, "code": str, "detail": str})

# A source that was left out, with the figures of heads without and with it.
LeftOut = TypedDict(
    "LeftOut",
    {"source": str, "seen": bool | None, "images": int, "without": Figures, "with": Figures},
)


class Expected(TypedDict):
    """A figure over all sources that were left out: mean, worst, and loss against knowing them."""

    mean: float
    worst: float
    lost: float


class Unseen(TypedDict):
    """What to expect of a source that a model never saw.

    Attributes:
        sources: each in turn.
        too_few: those with too few images.
        expected: by figure.
    """

    sources: list[LeftOut]
    too_few: list[str]
    expected: dict[str, Expected]


class ExplainedShares(TypedDict, total=False):
    """How often explanations hold; of no images only their number."""

    images: int
    shown: float
    above_random_mean: float
    drop_mean: float
    random_drop_mean: float


class Faithfulness(TypedDict):
    """What `deepfake_core.evaluation.faithfulness.measure_explanations` gives."""

    model_id: str
    random_areas: int
    must_beat: int
    shown_by_chance: float
    all: ExplainedShares
    leaning_to_their_label: ExplainedShares
    seconds_median: float | None


class Heading(TypedDict):
    """Which model was measured on what.

    Attributes:
        data: the folder.
        date: when, ISO 8601.
        precision: the arithmetic of the network.
        calibration: from logit to score.
        thresholds: ``real_below`` and ``fake_from``.
        trained_sources: sources of fakes that the model knows; None where that is not known.
        trained_sources_said_by: where they come from, in words.
        limits: what the model must not be used for.
    """

    model_id: str
    name: str
    version: int
    data: str
    date: str
    precision: str
    calibration: Mapping[str, object]
    thresholds: dict[str, float]
    trained_sources: list[str] | None
    trained_sources_said_by: str
    limits: list[str]


class Evaluation(Heading):
    """A model measured on a labelled folder.

    Attributes:
        failures: images that are in no figure.
        sets: what was measured, by set.
        leave_one_out: what to expect of sources that it never saw, where that was asked.
        explanations: how often they hold, likewise.
        warnings: what the figures must not be taken for, one sentence each.
        headline: the set to quote.
        all: one figure for all images.
    """

    failures: list[FailedImage]
    sets: dict[str, SetReport]
    leave_one_out: Unseen | None
    explanations: Faithfulness | None
    warnings: list[str]
    headline: str
    all: Counts

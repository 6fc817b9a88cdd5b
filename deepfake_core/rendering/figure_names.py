"""What the figures of a model are called, on every page that shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FigureName:
    """The two names of a figure.

    Attributes:
        short: heads a column, for people who know the terms.
        plain: says what it is, for people who do not.
    """

    short: str
    plain: str


FIGURES: Mapping[str, FigureName] = {
    "images": FigureName("images", "images"),
    "real": FigureName("real images", "of them photographs"),
    "fake": FigureName("fake images", "of them fake"),
    "auc": FigureName("AUC", "a fake scores above a real one (AUC)"),
    "average_precision": FigureName("average precision", "precision over all thresholds"),
    "balanced_accuracy": FigureName("balanced accuracy at 0.5", "right at score 0.5"),
    "tpr_at_1_percent_fpr": FigureName(
        "fakes found at 1 % false alarms", "fakes found where 1 % of photographs are flagged"
    ),
    "tpr_at_5_percent_fpr": FigureName(
        "fakes found at 5 % false alarms", "fakes found where 5 % of photographs are flagged"
    ),
    "fpr_at_fake": FigureName("reals labelled fake", "photographs flagged by mistake"),
    "tpr_at_fake": FigureName("fakes labelled fake", "fakes that are flagged"),
    "fakes_called_real": FigureName("fakes labelled real", "fakes in which nothing is found"),
    "decided_share": FigureName("decided (not uncertain)", "not uncertain"),
    "ece": FigureName("calibration error (ECE)", "gap between score and truth (ECE)"),
    "brier": FigureName("Brier score", "mean squared error of the score"),
}
# Counts of images; all others are shares, but for these, which are shown as numbers.
COUNTED = ("images", "real", "fake")
AS_NUMBERS = ("auc", "average_precision", "ece", "brier")


def short_name(figure: str) -> str:
    """How a figure heads a column."""
    return FIGURES[figure].short


def plain_name(figure: str) -> str:
    """What a figure is, in plain words."""
    return FIGURES[figure].plain


# What stands in the names of sets of images, for people.
_SET_WORDS = (
    (r"^report$", "all test images"),
    (r"^report_", "test images "),
    (r"size(\d+)", r"\1 px"),
    (r"jpeg(\d+)", r"JPEG \1"),
    (r"webp(\d+)", r"WebP \1"),
    (r"turned(\d+)", r"turned by \1°"),
    (r"thumbnail(\d+)", r"thumbnail of \1 px"),
    (r"_real$", ", photographs"),
    (r"_fake$", ", fakes"),
    ("_", " "),
)


def set_name(name: str) -> str:
    """What a set of images is called in a report, from its name in a model's figures.

    Examples:
        >>> set_name("report_size96_jpeg50")
        'test images 96 px JPEG 50'
        >>> set_name("other_task_fake")
        'other task, fakes'
    """
    for pattern, words in _SET_WORDS:
        name = re.sub(pattern, words, name)
    return name

"""The interval of a model's figure: resampled, and never narrower than counting allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepfake_core.binomial import interval

# Figures that are shares of so many images of a class, by the count that they are shares of.
SHARES_OF: Mapping[str, str] = {
    "fpr_at_fake": "real",
    "reals_uncertain": "real",
    "reals_called_real": "real",
    "tpr_at_fake": "fake",
    "fakes_uncertain": "fake",
    "fakes_called_real": "fake",
    "tpr_at_1_percent_fpr": "fake",
    "tpr_at_5_percent_fpr": "fake",
}


def figure_interval(figures: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    """The 95 % interval of a figure; None where nothing is known.

    Images that belong together widen an interval, which resampling sees; that none of 185 can
    still mean 2 %, resampling does not see, since it draws none again. So the wider ends count.

    Args:
        figures: the figures of a set of images, with its counts and resampled ``intervals``.
        name: the figure.
    """
    resampled = (figures.get("intervals") or {}).get(name)
    if resampled is None:
        return None
    low, high = resampled
    trials = figures.get(SHARES_OF.get(name, ""))
    if trials and figures.get(name) is not None:
        exact = interval(round(figures[name] * trials), trials)
        low, high = min(low, exact[0]), max(high, exact[1])
    return low, high

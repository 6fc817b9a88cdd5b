"""How common fakes are in a source, given or estimated, and what a flag is worth then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepfake_core.binomial import interval
from deepfake_core.rendering.evidence import mistaken_share, of_hundred
from deepfake_core.rendering.figure_intervals import figure_interval
from deepfake_core.rendering.text import percent
from deepfake_core.reporting.summary_record import FlagWorth

# With fewer judged pictures the share of flags says too little of the source.
LEAST_JUDGED = 200


def flag_worth(
    figures: Mapping[str, Any], *, prior: float | None, flagged: int, judged: int
) -> FlagWorth | None:
    """How many of a hundred flags of a run are photographs; None where nothing is known.

    Without a share of fakes that a person gave, it is estimated from the share of flags: what is
    flagged more often than photographs are in the test is fake (Rogan and Gladen 1978).

    Args:
        figures: those of the set ``report`` of the model's card.
        prior: the share of fakes in the source, if a person knows it.
        flagged: pictures that were flagged.
        judged: pictures that got a label.
    """
    hits, alarms = figures.get("tpr_at_fake"), figures.get("fpr_at_fake")
    found_ends = figure_interval(figures, "tpr_at_fake")
    alarm_ends = figure_interval(figures, "fpr_at_fake")
    if hits is None or alarms is None or found_ends is None or alarm_ends is None:
        return None
    if prior is not None:
        low = mistaken_share(found_ends[1], alarm_ends[0], prior)
        high = mistaken_share(found_ends[0], alarm_ends[1], prior)
        best = mistaken_share(hits, alarms, prior)
        return FlagWorth(prior=prior, given=True, low=low, best=best, high=high)
    if judged < LEAST_JUDGED or not flagged or hits <= alarms:
        return None
    share = flagged / judged
    rarest, commonest = interval(flagged, judged)
    best = min(1.0, alarms * (1 - _fakes(share, hits, alarms)) / share)
    low = min(1.0, alarm_ends[0] * (1 - _fakes(commonest, hits, alarm_ends[0])) / commonest)
    high = min(1.0, alarm_ends[1] * (1 - _fakes(rarest, hits, alarm_ends[1])) / rarest)
    prior = _fakes(share, hits, alarms)
    return FlagWorth(prior=prior, given=False, low=low, best=best, high=high)


def _fakes(flagged: float, hits: float, alarms: float) -> float:
    """The share of fakes among pictures of which a share is flagged."""
    if hits <= alarms:
        return 0.0
    return min(1.0, max(0.0, (flagged - alarms) / (hits - alarms)))


def worth_words(worth: FlagWorth) -> str:
    """What a flag of the run is worth, in a sentence or two."""
    basis = (
        f"If {percent(worth.prior)} of the pictures are fake, as was said (--prior)"
        if worth.given
        else f"If about {percent(worth.prior)} of the pictures are fake, as the share of flags "
        "suggests"
    )
    return (
        f"{basis}, {of_hundred(worth.best)} of 100 such flags are photographs "
        f"({percent(worth.low)} to {percent(worth.high)})."
    )

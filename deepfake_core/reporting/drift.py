"""Whether a run differs from the last ones: in its share of fakes, of failures, in its scores."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from deepfake_core.errors import OutputError
from deepfake_core.rendering.text import percent
from deepfake_core.reporting.input_profile import Bounds, profile_warnings
from deepfake_core.reporting.summary_record import Summary
from deepfake_core.results.layout import SUMMARY_FILE
from deepfake_core.results.run_record import RunWarning
from deepfake_core.results.store import Results

SCORE_BINS = 10
# Times the limit of standard errors from which on a change of a small share is worth a word.
CERTAIN = 2
# Summaries that are opened in the search for comparable ones.
OPENED_AT_MOST = 60


class DriftLimits(BaseModel):
    """From where on a difference to the last runs is worth a warning."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runs: int = Field(
        7, ge=0, description="Compare with this many earlier runs of the same source and model."
    )
    min_images: int = Field(
        200, ge=1, description="Compare only where both sides have at least this many images."
    )
    fakes: float = Field(
        0.05, gt=0, description="Warn when the share of fakes among judged images moves by this."
    )
    failures: float = Field(
        0.05, gt=0, description="Warn when the share of failures among tried images moves by this."
    )
    z: float = Field(
        4.0, gt=0, description="Warn of a share only when it moved by this many standard errors."
    )
    scores: float = Field(
        0.25,
        gt=0,
        description="Warn when the population stability index of the scores reaches this.",
    )
    times: float = Field(
        2.0,
        gt=1,
        description="Warn of a share also when it is so many times what it was, however small, "
        "if it moved by twice as many standard errors.",
    )
    inputs: float = Field(
        0.25,
        gt=0,
        description="Warn when the stability index of the pictures' sizes, formats, compression, "
        "brightness or faces reaches this, without the part of chance.",
    )


LIMITS = DriftLimits()


def drift_warnings(
    summary: Summary, earlier: Sequence[Summary], limits: DriftLimits = LIMITS
) -> list[RunWarning]:
    """Compare a run with the ones before it, which are counted together.

    Args:
        summary: of the run.
        earlier: those of the runs to compare with; with none there is nothing to say.
        limits: from where on a difference counts.

    Returns:
        One warning per measure that moved: ``fakes``, ``failures``, ``scores``, and ``inputs: ``
        with the property of the pictures.
    """
    judged = (summary.judged, sum(past.judged for past in earlier))
    failed = (summary.failed, sum(past.failed for past in earlier))
    refused = (summary.not_applicable, sum(past.not_applicable for past in earlier))
    tried = (judged[0] + refused[0] + failed[0], judged[1] + refused[1] + failed[1])
    warnings = []
    if min(judged) >= limits.min_images:
        fakes = (summary.labels["fake"], sum(past.labels["fake"] for past in earlier))
        warnings += _share("fakes", fakes, judged, limits)
        warnings += _scores(summary, earlier, limits)
    if min(tried) >= limits.min_images:
        warnings += _share("failures", failed, tried, limits)
    if earlier:
        profiles = [past.inputs for past in earlier]
        bounds = Bounds(limits.inputs, limits.min_images, limits.times, CERTAIN * limits.z)
        warnings += profile_warnings(summary.inputs, profiles, bounds)
    return warnings


def read_warnings(
    results: Results, summary: Summary, limits: DriftLimits = LIMITS
) -> list[RunWarning]:
    """In what a run is unlike the last ones that lie beside it, see `drift_warnings`."""
    return drift_warnings(summary, earlier_summaries(results, summary, count=limits.runs), limits)


def two_proportion_z(counts: tuple[int, int], of: tuple[int, int]) -> float:
    """By how many standard errors two shares differ, if both came from one population."""
    together = sum(counts) / sum(of)
    error = math.sqrt(together * (1 - together) * (1 / of[0] + 1 / of[1]))
    return (counts[0] / of[0] - counts[1] / of[1]) / error if error else 0.0


def population_stability_index(now: ArrayLike, before: ArrayLike) -> float:
    """How far two histograms of the same bins are apart: 0 for equal shapes.

    Half an image is added to every bin, so that an empty one has a finite weight.
    """
    filled = [np.asarray(counts) + 0.5 for counts in (now, before)]
    new, old = (counts / counts.sum() for counts in filled)
    return float(((new - old) * np.log(new / old)).sum())


def _share(
    measure: str, counts: tuple[int, int], of: tuple[int, int], limits: DriftLimits
) -> list[RunWarning]:
    now, before = counts[0] / of[0], counts[1] / of[1]
    z, limit = two_proportion_z(counts, of), getattr(limits, measure)
    many_times = max(now, before) >= limits.times * min(now, before)
    far = abs(now - before) >= limit and abs(z) >= limits.z
    # A small share is only told of beyond any doubt, as with a million images.
    certain = many_times and abs(z) >= CERTAIN * limits.z
    if not far and not certain:
        return []
    words = f"the share of {measure} is {percent(now)}, and was {percent(before)} in the last runs"
    return [_warning(measure, now, before, (z, limits.z), words)]


def _scores(summary: Summary, earlier: Sequence[Summary], limits: DriftLimits) -> list[RunWarning]:
    now = _histogram(summary)
    before = np.sum([_histogram(past) for past in earlier], axis=0)
    index = population_stability_index(now, before)
    if index < limits.scores:
        return []
    means = _mean(now), _mean(before)
    words = (
        f"the scores are spread otherwise than in the last runs: stability index {index:.2f} "
        f"(from {limits.scores:g} on that is a lot), mean about {means[0]:.2f} instead of "
        f"{means[1]:.2f}"
    )
    return [_warning("scores", means[0], means[1], (index, limits.scores), words)]


def _histogram(summary: Summary) -> NDArray[np.int64]:
    """The scores of a run in `SCORE_BINS` bins."""
    counts = np.asarray(summary.histogram.counts, np.int64)
    together: NDArray[np.int64] = counts.reshape(SCORE_BINS, -1).sum(axis=1)
    return together


def _mean(counts: NDArray[np.int64]) -> float:
    """The mean score of a histogram, to half a bin."""
    return float(np.average((np.arange(SCORE_BINS) + 0.5) / SCORE_BINS, weights=counts))


def _warning(
    measure: str, now: float, before: float, reached: tuple[float, float], words: str
) -> RunWarning:
    """A warning; `reached` is the statistic and its limit."""
    statistic, limit = reached
    return RunWarning(
        measure=measure,
        now=round(now, 6),
        before=round(before, 6),
        statistic=round(statistic, 4),
        limit=limit,
        words=words,
    )


def earlier_summaries(results: Results, summary: Summary, *, count: int) -> list[Summary]:
    """The summaries of the last finished runs of the same source and model, newest first.

    Runs that judged nothing say nothing and do not count. The search goes by the names of runs,
    which begin with their time unless somebody chose another, and stops after 60 of them.
    """
    summaries: list[Summary] = []
    names = sorted(set(results.storage.names("runs")) - {summary.run_id}, reverse=True)
    for name in names[:OPENED_AT_MOST]:
        if len(summaries) >= count:
            break
        try:
            content = results.get_json(name, SUMMARY_FILE)
            past = None if content is None else Summary.model_validate(content)
        except (OutputError, ValueError):
            # A damaged summary of some other run is no reason to fail this one.
            continue
        if past is not None and past.judged and _comparable(past, summary):
            summaries.append(past)
    return summaries


def _comparable(past: Summary, summary: Summary) -> bool:
    # The images of a redecision are counted with the scan that it comes from.
    if past.redecided is not None:
        return False
    same = (past.source, past.model_id) == (summary.source, summary.model_id)
    return same and str(past.finished) <= str(summary.finished)

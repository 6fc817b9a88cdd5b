"""What a reviewed random share says of a run: how many flags are right, how common fakes are.

The pictures of a label are put into an order by their sha256 and the run's name, which nothing
about the picture can influence. Those decided from its beginning on without a gap are a random
sample, whatever else was looked at, and in whatever order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deepfake_core.binomial import interval
from deepfake_core.records import Label
from deepfake_core.results.review_log import Standing

CONFIDENCE = 0.95
JUDGED = (Label.FAKE, Label.UNCERTAIN, Label.REAL)


@dataclass(frozen=True, slots=True)
class Share:
    """An estimate with its exact interval.

    Attributes:
        low: lower end.
        best: the estimate; None where nothing was decided.
        high: upper end.
        reviewed: pictures that it rests on.
    """

    low: float
    best: float | None
    high: float
    reviewed: int


@dataclass(frozen=True, slots=True)
class Estimates:
    """What the random share says.

    Attributes:
        precision: the share of flagged pictures that are fake.
        prevalence: the share of fakes among all pictures that got a label.
        missed: the share of fakes among the pictures in which nothing was found.
    """

    precision: Share
    prevalence: Share
    missed: Share


def random_order(digests: Sequence[str], run_id: str) -> list[str]:
    """Distinct pictures in the order in which a random share is taken from them."""
    return sorted(
        set(digests), key=lambda sha256: hashlib.sha256(f"{run_id}/{sha256}".encode()).digest()
    )


def estimate(by_label: Mapping[str, Sequence[str]], decided: Mapping[str, Standing]) -> Estimates:
    """Estimate from the pictures that were reviewed.

    Args:
        by_label: the sha256 of the run's pictures by their label, each in its `random_order`.
        decided: what stands of the review log, by sha256.

    Returns:
        Shares of distinct pictures. A picture on which reviewers are unsure or in dispute counts
        as either: for the lower end as a photograph, for the upper end as a fake.
    """
    sizes = {label: len(by_label.get(label, ())) for label in JUDGED}
    present = [label for label in JUDGED if sizes[label]]
    # Each stratum takes its part of the doubt, so that the sum keeps the whole confidence.
    shared = 1 - (1 - CONFIDENCE) / max(1, len(present))
    samples = {label: _sample(by_label.get(label, ()), decided) for label in JUDGED}
    return Estimates(
        precision=_share(samples[Label.FAKE], CONFIDENCE),
        prevalence=_weighted({label: _share(samples[label], shared) for label in present}, sizes),
        missed=_share(samples[Label.REAL], CONFIDENCE),
    )


def _sample(order: Sequence[str], decided: Mapping[str, Standing]) -> list[str]:
    """The decisions from the beginning of an order on, up to the first picture without one."""
    sample = []
    for sha256 in order:
        if sha256 not in decided:
            break
        sample.append(decided[sha256].decision)
    return sample


def _share(decisions: Sequence[str], confidence: float) -> Share:
    trials, fakes = len(decisions), decisions.count("fake")
    if not trials:
        return Share(0.0, None, 1.0, 0)
    open_ones = trials - fakes - decisions.count("real")
    low, high = (
        interval(fakes, trials, confidence)[0],
        interval(fakes + open_ones, trials, confidence)[1],
    )
    return Share(low, (fakes + open_ones / 2) / trials, high, trials)


def _weighted(shares: Mapping[Label, Share], sizes: Mapping[Label, int]) -> Share:
    total = sum(sizes[label] for label in shares)
    if not total:
        return Share(0.0, None, 1.0, 0)
    weights = {label: sizes[label] / total for label in shares}
    best = [
        share.best * weights[label] for label, share in shares.items() if share.best is not None
    ]
    return Share(
        low=sum(share.low * weights[label] for label, share in shares.items()),
        best=sum(best) if len(best) == len(shares) else None,
        high=sum(share.high * weights[label] for label, share in shares.items()),
        reviewed=sum(share.reviewed for share in shares.values()),
    )

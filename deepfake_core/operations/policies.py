"""From photographs that are known to be real to a policy."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deepfake_core.binomial import at_most
from deepfake_core.errors import UsageError
from deepfake_core.models.policy import Policy, SecondLookMode, SizeTier
from deepfake_core.records import Float32Array

# Sizes of faces at which tiers may begin: about where the figures of a 128-px network change.
TIER_EDGES = (0.0, 64.0, 96.0, 128.0, 192.0, 256.0)
# Scores that lie this far above the median, in units of the spread of the middle half of the
# logits, are shown as outliers: on normal data under one in 10,000 does.
OUTLYING_SPREADS = 2.5
OUTLIERS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Promise:
    """At most `fpr` of the photographs are flagged, with this confidence."""

    fpr: float
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class Judges:
    """What the photographs were judged by: ids with the hash of each bundle."""

    model_id: str
    second_model_id: str | None = None
    second_look: SecondLookMode = "off"
    finder_id: str | None = None
    precision: str | None = None


def photographs_needed(promise: Promise) -> int:
    """The smallest number of photographs from which the promise can be derived at all.

    Examples:
        >>> photographs_needed(Promise(0.01, 0.95))
        299
    """
    return math.ceil(math.log(1 - promise.confidence) / math.log1p(-promise.fpr) - 1e-9)


def mistakes_allowed(photographs: int, promise: Promise) -> int:
    """How many of the photographs may be flagged so that the promise holds; -1 for too few.

    The true share above the (k+1)-th highest score exceeds `fpr` with the probability of k or
    fewer flags among n at that share, whatever the distribution of scores (Wilks 1941).

    Examples:
        >>> [mistakes_allowed(count, Promise(0.01)) for count in (298, 299, 473, 1000)]
        [-1, 0, 1, 4]
    """
    allowed, beyond = -1, int(photographs * promise.fpr) + 1
    while beyond - allowed > 1:
        middle = (allowed + beyond) // 2
        if at_most(middle, photographs, promise.fpr) <= 1 - promise.confidence:
            allowed = middle
        else:
            beyond = middle
    return allowed


def derive_policy(
    scores: Float32Array,
    sizes: npt.NDArray[np.float32] | None,
    *,
    promise: Promise,
    judges: Judges,
) -> Policy:
    """Derive the lines that keep a promise.

    Tiers are chosen by the sizes alone, before any score is looked at, and each takes its share
    of the permitted doubt, so that the promise holds in all of them at once.

    Args:
        scores: float32[N], the highest score of each photograph's faces, in [0, 1].
        sizes: float32[N], the size of its largest judged face; None where whole pictures are
            judged.
        promise: what the policy keeps.
        judges: what judged them.

    Raises:
        UsageError: there are too few photographs, or the model is certain of too many of them.
    """
    needed, count = photographs_needed(promise), len(scores)
    if count < needed:
        raise UsageError(
            f"{count} photographs could be judged, and {needed} are needed to promise at most "
            f"{100 * promise.fpr:g} % false alarms with {100 * promise.confidence:g} % confidence; "
            f"add {needed - count}, or promise less with --fpr or --confidence"
        )
    edges = [0.0] if sizes is None else tier_starts(sizes, promise)
    within = Promise(promise.fpr, 1 - (1 - promise.confidence) / len(edges))
    tier_of = np.zeros(count, int) if sizes is None else np.searchsorted(edges, sizes, "right") - 1
    tiers = tuple(
        _tier(scores[tier_of == index], (start, end), within)
        for index, (start, end) in enumerate(zip(edges, [*edges[1:], None], strict=True))
    )
    return Policy(
        fpr=promise.fpr,
        confidence=promise.confidence,
        fake_from=max(tier.fake_from for tier in tiers),
        tiers=tiers,
        model_id=judges.model_id,
        second_model_id=judges.second_model_id,
        second_look=judges.second_look,
        finder_id=judges.finder_id,
        precision=judges.precision,
        photographs=count,
        made=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    )


def tier_starts(sizes: npt.NDArray[np.float32], promise: Promise) -> list[float]:
    """Where tiers begin so that each has photographs enough; the largest faces come first.

    Args:
        sizes: float32[N], the size of each photograph's largest judged face.
        promise: what has to be kept in each.
    """
    counts = np.bincount(
        np.searchsorted(TIER_EDGES, sizes, "right") - 1, minlength=len(TIER_EDGES)
    ).tolist()
    occupied = sum(count > 0 for count in counts)
    shared = Promise(promise.fpr, 1 - (1 - promise.confidence) / max(1, occupied))
    needed = photographs_needed(shared)
    starts: list[float] = []
    gathered = 0
    for start, count in zip(TIER_EDGES[::-1], counts[::-1], strict=True):
        gathered += count
        if gathered >= needed:
            starts.append(start)
            gathered = 0
    # What is left of small faces belongs to the next larger ones.
    starts = starts[:-1] if starts and starts[-1] > 0 else starts
    return sorted({0.0, *starts})


def outliers(scores: Float32Array) -> list[int]:
    """Photographs that a person should look at: they score unlike the rest, the highest first.

    A fake among the photographs pulls the line up, so that fakes like it pass.

    Args:
        scores: float32[N], the highest score of each photograph's faces.

    Returns:
        At most 20 positions in `scores`.
    """
    if not len(scores):
        return []
    inside = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    logits = np.log(inside / (1 - inside))
    low, median, high = np.quantile(logits, (0.25, 0.5, 0.75))
    far = logits > median + OUTLYING_SPREADS * max(high - low, 1e-3)
    order = np.argsort(-logits, kind="stable")
    return [int(index) for index in order if far[index]][:OUTLIERS_SHOWN]


def _tier(scores: Float32Array, span: tuple[float, float | None], promise: Promise) -> SizeTier:
    """The lowest line above the first score that is not to be flagged."""
    allowed = mistakes_allowed(len(scores), promise)
    highest = np.sort(scores)[::-1]
    line = np.nextafter(highest[allowed], np.float32(2))
    if line > 1:
        raise UsageError(
            f"the model gives the highest score there is to {int((scores >= 1).sum())} of "
            f"{len(scores)} photographs, so no line keeps the promise; look whether they are "
            "photographs, or promise less with --fpr"
        )
    return SizeTier(
        from_size=span[0],
        below_size=span[1],
        fake_from=float(line),
        photographs=len(scores),
        flagged=int((scores >= line).sum()),
    )

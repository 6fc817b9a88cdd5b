"""Whether a faster precision says what fp32 says: a test that has the power to tell.

On a few hundred images one label more or less decides. Agreement needs no truth, so thousands of
faces of any kind can be asked; only the loss of AUC needs labelled ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import cast

import numpy as np

from deepfake_core.binomial import upper_end
from deepfake_core.models.bundle import Precision
from deepfake_core.models.decision import Thresholds, decide
from deepfake_core.models.qualification import PrecisionRecord
from deepfake_core.ranking import auc
from deepfake_core.records import Float32Array, Label
from deepfake_core.resampling import resampled_interval, resamples

LEAST_FACES = 3000
MAX_AUC_LOSS = 0.003
# The largest share of labels that may change, with 95 % confidence.
MAX_CHANGED: dict[Precision, float] = {"fp32": 0.0, "bf16": 0.01, "int8": 0.04}


@dataclass(frozen=True, slots=True)
class Answers:
    """What a network says of some faces at one precision, by that precision's own curve.

    Attributes:
        scores: float32[N] in [0, 1].
        thresholds: from score to label.
    """

    scores: Float32Array
    thresholds: Thresholds


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of the faces.

    Attributes:
        fake: bool[N].
        labelled: bool[N], where `fake` is known and speaks for the model.
        groups: N group ids, which resampling keeps together.
    """

    fake: np.ndarray
    labelled: np.ndarray
    groups: Sequence[str]


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the test found.

    Attributes:
        faces: how many were asked.
        flips: labels that went from fake to real or back.
        changed: labels that changed in any way.
        changed_at_most: the share of labels that change, one-sided with 95 % confidence.
        largest_difference: of a score.
        labelled: how many faces the AUC is of.
        auc_loss: fp32 minus precision.
        auc_loss_interval: 95 %, paired, groups resampled.
        reasons: why it does not qualify; empty where it does.
    """

    faces: int
    flips: int
    changed: int
    changed_at_most: float
    largest_difference: float
    labelled: int
    auc_loss: float
    auc_loss_interval: tuple[float, float]
    reasons: tuple[str, ...]

    @property
    def qualified(self) -> bool:
        """Whether the precision may be used."""
        return not self.reasons

    def as_json(self) -> PrecisionRecord:
        """For a bundle's record."""
        told = {**asdict(self), "reasons": list(self.reasons), "qualified": self.qualified}
        return cast(PrecisionRecord, told)


def agreement(exact: Answers, faster: Answers, truth: Truth, precision: Precision) -> Agreement:
    """Compare a precision with fp32 on the same faces.

    Args:
        exact: at fp32.
        faster: at the precision.
        truth: of the same faces, in the same order; both classes among the labelled ones.
        precision: says how many labels may change.

    Returns:
        Counts, bounds, and whether the precision qualifies: on enough faces no label flips, few
        change, and the AUC falls by less than 0.003 at the upper end of its interval.
    """
    before, after = (
        np.array(decide(answers.scores, answers.thresholds)) for answers in (exact, faster)
    )
    changed = before != after
    flips = int((changed & (before != Label.UNCERTAIN) & (after != Label.UNCERTAIN)).sum())
    loss, bounds = _auc_loss(exact.scores, faster.scores, truth)
    measured = Agreement(
        faces=len(before),
        flips=flips,
        changed=int(changed.sum()),
        changed_at_most=round(upper_end(int(changed.sum()), len(before)), 5),
        largest_difference=round(float(np.abs(exact.scores - faster.scores).max()), 5),
        labelled=int(truth.labelled.sum()),
        auc_loss=round(loss, 5),
        auc_loss_interval=(round(bounds[0], 5), round(bounds[1], 5)),
        reasons=(),
    )
    return Agreement(**{**asdict(measured), "reasons": _reasons(measured, precision)})


def _auc_loss(
    exact: Float32Array, faster: Float32Array, truth: Truth
) -> tuple[float, tuple[float, float]]:
    rows = truth.labelled
    before, after, fake = exact[rows], faster[rows], truth.fake[rows]
    groups = np.array(truth.groups, dtype=object)[rows].tolist()

    def loss(drawn: np.ndarray) -> float:
        return auc(before[drawn], fake[drawn]) - auc(after[drawn], fake[drawn])

    usable = [drawn for drawn in resamples(groups) if 0 < fake[drawn].sum() < len(drawn)]
    return loss(np.arange(len(fake))), resampled_interval(loss, usable)


def _reasons(measured: Agreement, precision: Precision) -> tuple[str, ...]:
    limit, upper = MAX_CHANGED[precision], measured.auc_loss_interval[1]
    why = {
        f"{measured.faces:,} faces are too few to tell; {LEAST_FACES:,} are needed": measured.faces
        < LEAST_FACES,
        f"{measured.flips} labels flip between fake and real": measured.flips > 0,
        f"{measured.changed} labels change, perhaps {measured.changed_at_most:.1%} of all; at most "
        f"{limit:.0%} may": measured.changed_at_most > limit,
        f"the AUC may fall by {upper:.4f}; less than {MAX_AUC_LOSS} is allowed": not upper
        < MAX_AUC_LOSS,
    }
    return tuple(reason for reason, holds in why.items() if holds)

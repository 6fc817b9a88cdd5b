"""Two models on the same images: figures, their difference, and how sure that is.

A model's thresholds say how careful it is, not how well it tells fakes from photographs. So what
two models find is compared where their false alarms are equal, and what a model's own thresholds
promise is tested apart, whatever the other one's do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deepfake_core.evaluation.metrics import line_at, tpr_at_fpr
from deepfake_core.ranking import auc
from deepfake_core.release.gate_answers import Answers
from deepfake_core.release.gate_config import GateConfig, Limits
from deepfake_core.rendering.figure_names import short_name
from deepfake_core.resampling import resamples

# Where the false alarms of two models are made equal.
LINE_FPR = 0.01
AUC, FOUND = short_name("auc"), short_name("tpr_at_1_percent_fpr")
ALARMS, MISSES = short_name("fpr_at_fake"), short_name("fakes_called_real")
OVER_LINE = "reals over the line of 1 % false alarms"


@dataclass(frozen=True, slots=True)
class Row:
    """One test: a figure of the candidate against a floor or against the current model.

    Attributes:
        images: the tier, the family, or the group of people.
        measure: what is compared.
        candidate: its figure.
        current: the current model's, None for a floor.
        bound: the end that was tested of the interval of candidate minus current, None for a
            floor.
        limit: what `bound`, or for a floor `candidate`, must not pass.
        passed: whether it keeps to the limit.
    """

    images: str
    measure: str
    candidate: float
    current: float | None
    bound: float | None
    limit: float
    passed: bool

    def words(self) -> str:
        """The outcome in one sentence."""
        subject = f"{self.measure} on {self.images}: {self.candidate:.4f}"
        if self.current is None or self.bound is None:
            return f"{subject}, the limit is {self.limit:g}"
        change, rises = self.candidate - self.current, _of_a_rise(self.limit)
        worse = change > self.limit if rises else change < self.limit
        shown = "worse" if worse else "the images are too few to show that it is no worse"
        favourable = self.bound < change if rises else self.bound > change
        return (
            f"{subject}, current {self.current:.4f}: {shown} (change {change:+.4f}, "
            f"{'at best' if favourable else 'up to'} {self.bound:+.4f}, allowed {self.limit:+g})"
        )


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the images, and what is asked of a candidate on them.

    Attributes:
        name: the tier, the family, or the group of people.
        members: bool[N], which images.
        limits: by measure, the change that is allowed: of a loss at most 0, of a rise at least 0.
        confidence: one-sided, of the end of the interval that must keep to the limit. With 0.95
            it must be shown that the candidate is no worse; with 0.05 it is refused where it is
            shown to be worse.
    """

    name: str
    members: np.ndarray
    limits: dict[str, float]
    confidence: float


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Row numbers of all images of a bootstrap sample, and of those that are in the part."""

    everyone: np.ndarray
    part: np.ndarray


def floors(clean: Answers, config: GateConfig) -> list[Row]:
    """How well a candidate must tell the classes apart, whatever the current model does."""
    values = {
        AUC: (auc(clean.scores, clean.fake), config.min_auc),
        FOUND: (tpr_at_fpr(clean.scores, clean.fake, LINE_FPR), config.min_tpr_at_1_percent_fpr),
    }
    return [
        Row("clean", name, value, None, None, least, value >= least)
        for name, (value, least) in values.items()
    ]


def promises(tier: str, answers: Answers, limits: Limits) -> Iterator[Row]:
    """What a candidate's own thresholds must keep to, whatever the current model's do."""
    mistakes = {
        ALARMS: (answers.called_fake[~answers.fake], limits.alarms),
        MISSES: (answers.called_real[answers.fake], limits.misses),
    }
    for measure, (wrong, limit) in mistakes.items():
        if limit is not None and len(wrong):
            share = float(wrong.mean())
            yield Row(tier, measure, share, None, None, limit, share <= limit)


def draw(groups: Sequence[str], fake: np.ndarray, config: GateConfig) -> list[np.ndarray]:
    """Bootstrap samples of whole groups that have both classes, as row numbers."""
    samples = resamples(groups, count=config.resamples)
    return [rows for rows in samples if 0 < fake[rows].sum() < len(rows)]


def differences(
    pair: tuple[Answers, Answers], samples: Sequence[np.ndarray], part: Part
) -> Iterator[Row]:
    """Compare candidate and current on a part of the images.

    Args:
        pair: the answers of candidate and current to the same N images.
        samples: row numbers of bootstrap samples of all N, the same for both models.
        part: what is compared.
    """
    candidate, current = pair
    whole = _Drawn(np.arange(len(part.members)), np.flatnonzero(part.members))
    drawn = [_Drawn(rows, rows[part.members[rows]]) for rows in samples]
    drawn = [rows for rows in drawn if _has_classes(candidate.fake[rows.part], part.limits)]
    for measure, limit in part.limits.items():
        value = MEASURES[measure]
        changes = [value(candidate, rows) - value(current, rows) for rows in drawn]
        rises = _of_a_rise(limit)
        bound = float(np.quantile(changes, part.confidence if rises else 1 - part.confidence))
        passed = bound <= limit if rises else bound >= limit
        before, after = value(current, whole), value(candidate, whole)
        yield Row(part.name, measure, after, before, bound, limit, passed)


def _auc(answers: Answers, drawn: _Drawn) -> float:
    return auc(answers.scores[drawn.part], answers.fake[drawn.part])


def _share_found(answers: Answers, drawn: _Drawn) -> float:
    return float(_over_line(answers, drawn)[answers.fake[drawn.part]].mean())


def _reals_over_line(answers: Answers, drawn: _Drawn) -> float:
    return float(_over_line(answers, drawn)[~answers.fake[drawn.part]].mean())


def _over_line(answers: Answers, drawn: _Drawn) -> np.ndarray:
    """Of the part, which images score above what 1 % of all drawn photographs exceed."""
    reals = answers.scores[drawn.everyone][~answers.fake[drawn.everyone]]
    return np.asarray(answers.scores[drawn.part] > line_at(reals, LINE_FPR))


MEASURES: dict[str, Callable[[Answers, _Drawn], float]] = {
    AUC: _auc,
    FOUND: _share_found,
    OVER_LINE: _reals_over_line,
}


def _has_classes(fake: np.ndarray, measures: Iterable[str]) -> bool:
    fakes, reals = bool(fake.any()), not fake.all()
    needed = {AUC: fakes and reals, FOUND: fakes, OVER_LINE: reals}
    return all(needed[measure] for measure in measures)


def _of_a_rise(limit: float) -> bool:
    """Whether a limit is that of a rise; that of a loss is negative, -0.0 where none is allowed."""
    return math.copysign(1, limit) > 0

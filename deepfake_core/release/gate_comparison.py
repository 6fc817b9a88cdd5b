"""Two models on the same images: figures, their difference, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deepfake_core.datasets.labelled import Labelled, is_fake
from deepfake_core.engines.engine import open_engine
from deepfake_core.evaluation.metrics import tpr_at_fpr
from deepfake_core.evaluation.score_cache import ScoreCache
from deepfake_core.evaluation.scoring import score_tiers
from deepfake_core.inference.cropping import Cropper
from deepfake_core.models.bundle import Bundle
from deepfake_core.models.decision import calibrate
from deepfake_core.ranking import auc
from deepfake_core.records import Float32Array
from deepfake_core.release.gate_config import GateConfig, Margins
from deepfake_core.rendering.figure_names import short_name
from deepfake_core.resampling import resamples


@dataclass(frozen=True, slots=True)
class Row:
    """One test: a figure of the candidate against a floor or against the current model.

    Attributes:
        images: the tier, or the group of people.
        measure: what is compared.
        candidate: its figure.
        current: the current model's, None for a floor.
        bound: unfavourable end of the interval of candidate minus current, None for a floor.
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
        change = self.candidate - self.current
        # The limit of a loss is negative, that of a rise positive.
        worse = change * np.sign(self.limit or 1) > abs(self.limit)
        shown = "worse" if worse else "the images are too few to show that it is no worse"
        return (
            f"{subject}, current {self.current:.4f}: {shown} (change {change:+.4f}, "
            f"up to {self.bound:+.4f}, allowed {self.limit:+g})"
        )


@dataclass(frozen=True, slots=True)
class Answers:
    """A model's answers: scores float32[N], called (labelled fake) bool[N], fake bool[N].

    A score is NaN where the image shows no face.
    """

    scores: Float32Array
    called: np.ndarray
    fake: np.ndarray

    @property
    def shown(self) -> np.ndarray:
        """bool[N], which images were judged."""
        return np.isfinite(self.scores)

    def of(self, rows: np.ndarray) -> Answers:
        """The answers to some of the images."""
        return Answers(self.scores[rows], self.called[rows], self.fake[rows])


def judge(
    bundle: Bundle,
    images: Sequence[Labelled],
    *,
    cropper: Cropper,
    memory: ScoreCache | None = None,
) -> dict[str, Answers]:
    """A model's answers at fp32 by tier of degradation, in the order of the images.

    Two models are compared on the same crops, whatever each was made for.
    """
    engine = open_engine(bundle, kind="openvino", precision="fp32")
    description, fake = bundle.description, is_fake(list(images))
    scored = score_tiers(engine, images, cropper=cropper, memory=memory)
    judged = {}
    for tier, logits in scored.logits.items():
        scores = calibrate(logits, description.calibration, scored.face_sizes[tier])
        judged[tier] = Answers(scores, scores >= description.thresholds.fake_from, fake)
    return judged


def _auc(answers: Answers) -> float:
    return auc(answers.scores, answers.fake)


def _found(answers: Answers) -> float:
    return float(answers.called[answers.fake].mean())


def _alarms(answers: Answers) -> float:
    return float(answers.called[~answers.fake].mean())


AUC, FOUND, ALARMS = map(short_name, ("auc", "tpr_at_fake", "fpr_at_fake"))
MEASURES: dict[str, Callable[[Answers], float]] = {AUC: _auc, FOUND: _found, ALARMS: _alarms}


def floors(clean: Answers, config: GateConfig) -> list[Row]:
    """What a candidate must reach whatever the current model is like."""
    values = {
        AUC: (_auc(clean), config.min_auc),
        short_name("tpr_at_1_percent_fpr"): (
            tpr_at_fpr(clean.scores, clean.fake, 0.01),
            config.min_tpr_at_1_percent_fpr,
        ),
    }
    alarms, limit = _alarms(clean), config.max_fpr_at_fake
    return [
        *(
            Row("clean", name, value, None, None, least, value >= least)
            for name, (value, least) in values.items()
        ),
        Row("clean", ALARMS, alarms, None, None, limit, alarms <= limit),
    ]


def draw(groups: Sequence[str], fake: np.ndarray, config: GateConfig) -> list[np.ndarray]:
    """Bootstrap samples of whole groups that have both classes, as row numbers."""
    samples = resamples(groups, count=config.resamples)
    return [rows for rows in samples if 0 < fake[rows].sum() < len(rows)]


def differences(
    name: str,
    pair: tuple[Answers, Answers],
    samples: list[np.ndarray],
    *,
    margins: Margins,
    confidence: float,
) -> Iterator[Row]:
    """Compare candidate and current by every measure.

    Args:
        name: what the images are called.
        pair: the answers of candidate and current to the same images.
        samples: row numbers of bootstrap samples, the same for both models.
        margins: what is allowed.
        confidence: one-sided, of the unfavourable end.
    """
    candidate, current = pair
    limits = {AUC: -margins.auc, FOUND: -margins.found, ALARMS: margins.alarms}
    for measure, limit in limits.items():
        value = MEASURES[measure]
        changes = [value(candidate.of(rows)) - value(current.of(rows)) for rows in samples]
        rises = measure == ALARMS
        bound = float(np.quantile(changes, confidence if rises else 1 - confidence))
        passed = bound <= limit if rises else bound >= limit
        yield Row(name, measure, value(candidate), value(current), bound, limit, passed)

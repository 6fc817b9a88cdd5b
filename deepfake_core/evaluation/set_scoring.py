"""Which tiers of degradation a set is scored in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deepfake_core.datasets.labelled import Labelled, is_fake
from deepfake_core.engines.engine import (
    Engine,
    open_engine,
    processor_precisions,
    resolve_precision,
)
from deepfake_core.evaluation.config import EvaluateConfig
from deepfake_core.evaluation.score_cache import ScoreCache, Scored
from deepfake_core.evaluation.scored_set import CLEAN
from deepfake_core.evaluation.scoring import score_readable
from deepfake_core.evaluation.set_figures import has_both
from deepfake_core.evaluation.shortcuts import separating
from deepfake_core.events import Say
from deepfake_core.images.degradations import Degradation
from deepfake_core.images.face_tiers import tiers_for
from deepfake_core.inference.cropping import Cropper, open_cropper
from deepfake_core.models.bundle import Bundle, Precision


def open_scorer(
    bundle: Bundle, config: EvaluateConfig, *, memory: ScoreCache | None, say: Say
) -> SetScorer:
    """Load a bundle to score sets; what it gave before counts at fp32 alone."""
    precision = resolve_precision(bundle, config.precision, processor_precisions())
    engine = open_engine(bundle, kind="openvino", precision=precision)
    preprocessing = bundle.description.preprocessing
    known = memory if memory is not None and precision == "fp32" else ScoreCache()
    return SetScorer(engine, open_cropper(preprocessing), config, known, say, preprocessing.faces)


@dataclass(frozen=True, slots=True)
class SetScorer:
    """Scores sets as they are, and degraded where that says something.

    Attributes:
        engine: the network.
        cropper: cuts out of an image what the network is shown.
        config: what is asked.
        memory: what the engine gave before.
        say: told of the steps.
        faces: whether it judges faces (``find``) or whole pictures (``frame``).
    """

    engine: Engine
    cropper: Cropper
    config: EvaluateConfig
    memory: ScoreCache
    say: Say
    faces: str = "frame"

    @property
    def precision(self) -> Precision:
        """The arithmetic of the network."""
        return self.engine.precision

    def score_set(self, name: str, images: Sequence[Labelled]) -> Scored:
        """Score the images of a set; one that is judged class by class is not degraded."""
        self.say(f"scoring {len(images)} images of {name}")
        tiers = tiers_for(self.faces)
        scored = self._score(images, {CLEAN: tiers[CLEAN]})
        if not self.config.tiers:
            return scored
        if not self.config.one_class_tiers and self._is_judged_by_class(name, images, scored):
            self.say(f"{name} has no figure of both classes, so it is not degraded")
            return scored
        self.say(f"scoring them in {len(tiers) - 1} degraded tiers")
        return self._score(images, tiers)

    def _score(self, images: Sequence[Labelled], tiers: Mapping[str, Degradation]) -> Scored:
        return score_readable(
            self.engine,
            images,
            cropper=self.cropper,
            tiers=tiers,
            memory=self.memory,
        )

    def _is_judged_by_class(self, name: str, images: Sequence[Labelled], scored: Scored) -> bool:
        rows = [row for row in range(len(images)) if row not in scored.failures]
        kept = [images[row] for row in rows]
        fake = is_fake(kept)
        if name in self.config.one_class or not has_both(fake):
            return True
        return bool(separating(kept, scored.sizes[rows], fake))

"""What is measured on one set of judged images, and on its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepfake_core.evaluation.curves import histogram, reliability, roc, worst_mistakes
from deepfake_core.evaluation.document import SetReport, SizeFigures, SourceFigures
from deepfake_core.evaluation.fairness import fairness
from deepfake_core.evaluation.metrics import BoolArray
from deepfake_core.evaluation.scored_set import CLASS_NAMES, CLEAN, ScoredSet
from deepfake_core.models.figures import Figures

# Bounds of the shorter side in pixels; 128 is what the shipped network sees.
SIZE_BOUNDS = (128, 256, 512, 1024)


@dataclass(frozen=True, slots=True)
class Known:
    """The sources that a model was trained on.

    Attributes:
        names: the sources of its fakes; None where nothing is known of them.
        said_by: where the names come from, in words.
    """

    names: frozenset[str] | None
    said_by: str

    def saw(self, source: str) -> bool | None:
        """Whether a source was trained on; None where that is not known."""
        return None if self.names is None or not source else source in self.names


def measure_set(judged: ScoredSet, root: Path, known: Known) -> SetReport:
    """All figures of a set with one class or both, as plain numbers.

    Args:
        judged: at least one image.
        root: what the paths of the mistakes are relative to.
        known: the sources that the model was trained on.
    """
    tiers = {tier: judged.figures(tier) for tier in judged.scores}
    parts = _Parts(judged, tiers[CLEAN])
    report: SetReport = {
        "figures": tiers[CLEAN],
        "tiers": tiers,
        "sources": _by_source(parts, known),
        "novelty": _by_novelty(parts, known),
        "sizes": _by_size(parts),
        "people": fairness(judged),
        "histogram": histogram(judged.clean, judged.fake),
        "mistakes": worst_mistakes(judged, root),
    }
    if has_both(judged.fake):
        report["roc"] = roc(judged.clean, judged.fake)
        report["reliability"] = reliability(judged.clean, judged.fake)
    return report


def has_both(fake: BoolArray) -> bool:
    """Whether both classes are there."""
    return bool(fake.any() and not fake.all())


@dataclass(frozen=True, slots=True)
class _Parts:
    """A set, of whose parts figures are made; ``whole`` are its own."""

    judged: ScoredSet
    whole: Figures

    @property
    def sources(self) -> np.ndarray:
        """The source of each image, str[N]."""
        return np.array([image.source for image in self.judged.images])

    def figures(self, keep: BoolArray) -> Figures:
        """Of the images for which bool[N] is true; not measured twice where these are all."""
        return self.whole if keep.all() else self.judged.where(keep).figures()


def _by_source(parts: _Parts, known: Known) -> list[SourceFigures]:
    """Figures by source, each against all of the other class; the fakes first."""
    sources, fake = parts.sources, parts.judged.fake
    return [
        {
            "class": CLASS_NAMES[kind],
            "source": str(source),
            "seen": known.saw(str(source)) if kind else None,
            **parts.figures((fake != kind) | (sources == source)),
        }
        for kind in (True, False)
        for source in np.unique(sources[(fake == kind) & (sources != "")])
    ]


def _by_novelty(parts: _Parts, known: Known) -> dict[str, Figures]:
    """Fakes of sources that were trained on, and of others, each against all reals."""
    judged = parts.judged
    seen = np.array([known.saw(str(source)) for source in parts.sources], dtype=object)
    kinds = {"trained on": True, "never seen": False, "not known": None}
    figures: dict[str, Figures] = {}
    for name, wanted in kinds.items():
        fakes = judged.fake & np.array([known_to_be is wanted for known_to_be in seen], dtype=bool)
        if fakes.any():
            figures[name] = parts.figures(fakes | ~judged.fake)
    return figures


def _by_size(parts: _Parts) -> list[SizeFigures]:
    """Figures by the shorter side of the files, the smallest first."""
    shorter = parts.judged.sizes.min(axis=1)
    bins = np.digitize(shorter, SIZE_BOUNDS)
    return [
        {"size": _size_words(int(step)), **parts.figures(bins == step)} for step in np.unique(bins)
    ]


def _size_words(step: int) -> str:
    bounds: Sequence[int] = SIZE_BOUNDS
    if step == 0:
        return f"below {bounds[0]} px"
    if step == len(bounds):
        return f"{bounds[-1]} px and more"
    return f"{bounds[step - 1]} to {bounds[step] - 1} px"

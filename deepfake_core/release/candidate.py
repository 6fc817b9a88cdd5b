"""From a network to a complete bundle: calibrated, evaluated, quantised, described."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.datasets.labelled import Labelled, is_fake
from deepfake_core.datasets.splits import split_labelled, thin
from deepfake_core.engines.engine import OpenVinoEngine
from deepfake_core.engines.openvino_graph import build_graph, save_graph
from deepfake_core.evaluation.metrics import figures, threshold_curve
from deepfake_core.evaluation.score_cache import ScoreCache
from deepfake_core.evaluation.scoring import score_tiers
from deepfake_core.evaluation.training_list import list_training
from deepfake_core.events import Say, silent
from deepfake_core.images.degradations import TIERS, Degradation
from deepfake_core.images.face_tiers import FACE_TIERS, SIZED, tiers_for
from deepfake_core.inference.cropping import Cropper, open_cropper
from deepfake_core.models.architecture import Architecture, Weights
from deepfake_core.models.bundle import (
    CARD_FILE,
    NETWORK_FILE,
    WEIGHTS_FILE,
    Bundle,
    Curve,
    Description,
    Preprocessing,
    store_weights,
    write_description,
)
from deepfake_core.models.card import card
from deepfake_core.models.decision import calibrate, decide
from deepfake_core.models.figures import Figures
from deepfake_core.models.onnx_spec import OnnxSpec
from deepfake_core.ranking import auc
from deepfake_core.records import Float32Array
from deepfake_core.release.canary_answers import record_first
from deepfake_core.release.curves import Known, fit_curve
from deepfake_core.release.precision_trials import qualify
from deepfake_core.release.trial_faces import make_trial

if TYPE_CHECKING:
    from deepfake_core.engines.libraries import ov

# Pictures arrive compressed and shrunk: curve and thresholds are chosen on these tiers together.
# Tiers of faces are many: each is measured on at most so many images.
TIER_IMAGES = 250
# A tier of sizes counts as judged where a fake scores above a photograph this often.
LEAST_AUC = 0.85
CALIBRATION_TIERS = {
    "frame": ("clean", "jpeg75", "half"),
    "find": ("clean", "jpeg75", "half", "size48", "size64", "size96", "size96_jpeg50", "turned10"),
}


@dataclass(frozen=True, slots=True)
class ForeignNetwork:
    """A network that was made elsewhere: as `foreign_graph` wrapped it, and how."""

    graph: ov.Model
    spec: OnnxSpec


@dataclass(slots=True)
class Material:
    """What a candidate is made from: either weights of an architecture, or a foreign network.

    Attributes:
        preprocessing: how images become its input.
        data: labelled folder; nothing is calibrated or reported but on its set ``valid``, or on
            all of it where there is no such set.
        training: the recipe, for the record.
        trained_on: the images and weights it comes from and their terms, in words.
        limits: what it must not be used for, in words.
        one_class: sets whose classes differ in more than the label, so that only each class
            alone says something.
        weights: as `keras_weights` names them.
        architecture: the network's shape.
        foreign: in place of weights and architecture.
        seen: further images that it learnt from, besides the set ``train`` of `data`.
        int8: whether ways to int8 are tried.
        memory: where the scores are kept for later steps.
    """

    preprocessing: Preprocessing
    data: Path
    training: Mapping[str, object]
    trained_on: str
    limits: tuple[str, ...]
    one_class: tuple[str, ...] = ()
    weights: Weights | None = None
    architecture: Architecture | None = None
    foreign: ForeignNetwork | None = None
    seen: Sequence[Labelled] = ()
    int8: bool = True
    memory: ScoreCache = field(default_factory=ScoreCache)


@dataclass(slots=True)
class _Set:
    """Labelled images that show something to judge, with their logits at fp32.

    Attributes:
        images: N images.
        logits: float32[N].
        face_sizes: float32[N], pixels.
        refused: how many images beside these show no face.
    """

    images: list[Labelled]
    logits: Float32Array
    face_sizes: Float32Array
    refused: int = 0


def _shown(images: list[Labelled], logits: Float32Array, face_sizes: Float32Array) -> _Set:
    """The images of a tier that show something to judge."""
    rows = np.flatnonzero(np.isfinite(face_sizes))
    some = [images[row] for row in rows.tolist()]
    return _Set(some, logits[rows], face_sizes[rows], len(images) - len(rows))


def make_candidate(
    material: Material,
    folder: Path,
    *,
    name: str,
    version: int,
    say: Say = silent,
) -> Bundle:
    """Write a complete bundle into an empty folder.

    Args:
        material: what it is made from.
        folder: where the bundle goes.
        name: name of the model.
        version: its version.
        say: told of the steps, in words.

    Returns:
        The bundle; all its figures were measured on the network as it is stored.

    Raises:
        SourceError: images cannot be judged, or a class is missing in a half of them.
        ModelError: its scores do not rise with the share of fakes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    split = split_labelled(material.data, material.one_class)
    graph = _store(material, folder)
    told = material.preprocessing
    engine = OpenVinoEngine(graph, size=told.size, precision="fp32")
    score = _Scoring(engine, open_cropper(told), material.memory, say)
    chosen = score(split.chosen, "to calibrate", CALIBRATION_TIERS[told.faces])
    curve = _calibrate(chosen, told)
    tiers = _report_tiers(score, split.report, told.faces)
    sets = {
        "report" if tier == "clean" else f"report_{tier}": scored for tier, scored in tiers.items()
    }
    others = {n: score(images, n, ("clean",))["clean"] for n, images in split.others.items()}
    say("comparing precisions with fp32")
    fitted_on = CALIBRATION_TIERS[told.faces]
    trial = make_trial(split, score.cropper, curve, faces=told.faces, tiers=fitted_on)
    outcome = qualify(trial, graph, folder, say, int8=material.int8)
    list_training([*split.train, *split.chosen, *material.seen]).write(folder)
    description = Description(
        name=name,
        version=version,
        architecture=material.architecture,
        foreign=material.foreign.spec if material.foreign else None,
        preprocessing=_with_least_size(told, tiers, curve),
        calibration=curve.calibration,
        thresholds=curve.thresholds,
        by_precision=outcome.curves,
        precisions=outcome.precisions,
        tolerances=outcome.tolerances,
        figures=_all_figures({**sets, **others}, curve),
        qualification=outcome.record,
        trained_on=material.trained_on,
        limits=material.limits,
        training=material.training,
        files={},
    )
    (folder / CARD_FILE).write_text(card(description))
    bundle = write_description(folder, description)
    record_first(bundle)
    return bundle


def _store(material: Material, folder: Path) -> ov.Model:
    """Write the network into the bundle, and read it as it is stored."""
    from deepfake_core.engines.libraries import ov

    if material.foreign is not None:
        save_graph(material.foreign.graph, folder / NETWORK_FILE)
        return ov.Core().read_model(folder / NETWORK_FILE)
    if material.weights is None or material.architecture is None:
        raise ValueError("a candidate needs weights and an architecture, or a foreign network")
    store_weights(folder, material.weights)
    with np.load(folder / WEIGHTS_FILE) as stored:
        return build_graph(
            material.architecture,
            dict(stored),
            size=material.preprocessing.size,
            mean=material.preprocessing.mean,
            scale=material.preprocessing.scale,
        )


@dataclass(slots=True)
class _Scoring:
    """Scores sets of images in some tiers."""

    engine: OpenVinoEngine
    cropper: Cropper
    memory: ScoreCache
    say: Say

    def __call__(self, images: list[Labelled], what: str, tiers: Sequence[str]) -> dict[str, _Set]:
        self.say(f"scoring {len(images)} images {what}, {', '.join(tiers)}")
        changes: Mapping[str, Degradation] = {tier: FACE_TIERS[tier] for tier in tiers}
        scored = score_tiers(
            self.engine, images, cropper=self.cropper, tiers=changes, memory=self.memory
        )
        return {
            tier: _shown(images, logits, scored.face_sizes[tier])
            for tier, logits in scored.logits.items()
        }


def _report_tiers(score: _Scoring, images: list[Labelled], faces: str) -> dict[str, _Set]:
    """Every tier of the images; those that models of pictures do not have, of some images."""
    usual = score(images, "to report", tuple(TIERS))
    more = [tier for tier in tiers_for(faces) if tier not in usual]
    return usual | score(thin(images, TIER_IMAGES), "to report", more) if more else usual


def _with_least_size(told: Preprocessing, tiers: dict[str, _Set], curve: Curve) -> Preprocessing:
    """The preprocessing with the size below which a model of faces does not tell fakes apart.

    It is that of the smallest tier of sizes from which on every tier reaches `LEAST_AUC`.
    """
    if told.faces == "frame":
        return told
    sized: list[tuple[float, float]] = []
    for tier in SIZED:
        some = tiers[tier]
        fake = is_fake(some.images)
        if fake.any() and not fake.all():
            scores = calibrate(some.logits, curve.calibration, some.face_sizes)
            sized.append((float(np.median(some.face_sizes)), auc(scores, fake)))
    holding: list[float] = []
    for size, reached in sorted(sized, reverse=True):
        if reached < LEAST_AUC:
            break
        holding.append(size)
    # Half of the faces of the tier are smaller than its median.
    least = round(0.9 * min(holding)) if holding else told.size
    return told.model_copy(update={"least_size": float(least)})


def _calibrate(tiers: dict[str, _Set], preprocessing: Preprocessing) -> Curve:
    known = Known(
        fake=np.concatenate([is_fake(tier.images) for tier in tiers.values()]),
        groups=[image.group_id for tier in tiers.values() for image in tier.images],
        sizes=np.concatenate([tier.face_sizes for tier in tiers.values()]),
        by_size=preprocessing.faces == "find",
    )
    return fit_curve(np.concatenate([tier.logits for tier in tiers.values()]), known)


def _all_figures(sets: dict[str, _Set], curve: Curve) -> dict[str, Figures]:
    """The figures of each set; the report half also has a curve over thresholds."""
    measured = {name: _figures(scored, curve) for name, scored in sets.items()}
    report = sets["report"]
    scores = calibrate(report.logits, curve.calibration, report.face_sizes)
    fake = is_fake(report.images)
    if fake.any() and not fake.all():
        measured["report"]["curve"] = threshold_curve(scores, fake)
    return measured


def _figures(scored: _Set, curve: Curve) -> Figures:
    if not scored.images:
        return {"images": 0, "not_applicable": scored.refused}
    scores = calibrate(scored.logits, curve.calibration, scored.face_sizes)
    groups = [image.group_id for image in scored.images]
    measured = figures(scores, decide(scores, curve.thresholds), is_fake(scored.images), groups)
    return {**measured, "not_applicable": scored.refused} if scored.refused else measured

"""From a network to a complete bundle: calibrated, evaluated, quantised, described."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.datasets.labelled import Labelled, is_fake
from deepfake_core.datasets.splits import Split, split_labelled, thin
from deepfake_core.engines.engine import OpenVinoEngine
from deepfake_core.engines.openvino_graph import build_graph, save_graph
from deepfake_core.errors import ModelError
from deepfake_core.evaluation.metrics import figures, threshold_curve
from deepfake_core.evaluation.score_cache import ScoreCache
from deepfake_core.evaluation.scoring import score_tiers
from deepfake_core.evaluation.training_list import list_training
from deepfake_core.images.degradations import Degradation
from deepfake_core.images.face_tiers import FACE_TIERS, tiers_for
from deepfake_core.inference.cropping import Cropper, open_cropper, read_crops
from deepfake_core.models.architecture import Architecture, Weights
from deepfake_core.models.bundle import (
    CARD_FILE,
    NETWORK_FILE,
    WEIGHTS_FILE,
    Bundle,
    Description,
    Preprocessing,
    store_weights,
    write_description,
)
from deepfake_core.models.card import card
from deepfake_core.models.decision import Calibration, Thresholds, calibrate, decide
from deepfake_core.models.onnx_spec import OnnxSpec
from deepfake_core.records import Float32Array, Json, UInt8Array
from deepfake_core.release.calibration import choose_calibration, decide_most
from deepfake_core.release.precision_comparison import Reference
from deepfake_core.release.precision_trials import Trial, qualify
from deepfake_core.release.size_calibration import calibrate_by_size, thresholds_for_sizes

if TYPE_CHECKING:
    from deepfake_core.engines.libraries import ov

# Half of the one percent that is promised: a quantile of a few hundred photos is uncertain.
MAX_FPR = 0.005
# More fakes may pass as real only where fewer than the goal would be decided otherwise.
MISSES = (0.05, 0.06, 0.07, 0.08)
DECIDED_GOAL = 0.81
# The same for a model of faces, whose uncertain ones are given a second look.
MAX_MISS = 0.02
# Pictures arrive compressed and shrunk: curve and thresholds are chosen on these tiers together.
CALIBRATION_TIERS = {
    "frame": ("clean", "jpeg75", "half"),
    "find": ("clean", "jpeg75", "half", "size48", "size64", "size96", "size96_jpeg50", "turned10"),
}
QUANTISATION_IMAGES = 300
# Precisions are compared on at most so many images of a set: all are held in memory for that.
TRIAL_IMAGES = 4000


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
    training: Json
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

    def thinned(self, most: int) -> _Set:
        """At most so many of them, evenly spread."""
        step = -(-len(self.images) // most) or 1
        return _Set(self.images[::step], self.logits[::step], self.face_sizes[::step])


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
    say: Callable[[str], None] = lambda line: None,
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
    calibration, thresholds = _calibrate(chosen, told)
    tiers = score(split.report, "to report", tuple(tiers_for(told.faces)))
    sets = {"report" if tier == "clean" else f"report_{tier}": one for tier, one in tiers.items()}
    others = {n: score(images, n, ("clean",))["clean"] for n, images in split.others.items()}
    say("comparing precisions with fp32")
    trial = _trial(material, split, {"report": sets["report"], **others}, calibration, thresholds)
    outcome = qualify(trial, graph, folder, say, int8=material.int8)
    list_training([*split.train, *split.chosen, *material.seen]).write(folder)
    description = Description(
        name=name,
        version=version,
        architecture=material.architecture,
        foreign=material.foreign.spec if material.foreign else None,
        preprocessing=material.preprocessing,
        calibration=calibration,
        thresholds=thresholds,
        precisions=outcome.precisions,
        tolerances=outcome.tolerances,
        figures=_all_figures({**sets, **others}, calibration, thresholds),
        qualification=outcome.record,
        trained_on=material.trained_on,
        limits=material.limits,
        training=material.training,
        files={},
    )
    (folder / CARD_FILE).write_text(card(description))
    return write_description(folder, description)


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
    say: Callable[[str], None]

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


def _calibrate(
    tiers: dict[str, _Set], preprocessing: Preprocessing
) -> tuple[Calibration, Thresholds]:
    fake = np.concatenate([is_fake(one.images) for one in tiers.values()])
    logits = np.concatenate([one.logits for one in tiers.values()])
    groups = [image.group_id for one in tiers.values() for image in one.images]
    face_sizes = np.concatenate([one.face_sizes for one in tiers.values()])
    by_size = preprocessing.faces == "find"
    try:
        if by_size:
            calibration = calibrate_by_size(logits, fake, groups, face_sizes)
        else:
            calibration = choose_calibration(logits, fake, groups)
    except ValueError as error:
        raise ModelError(f"the network cannot be calibrated: {error}") from error
    scores = calibrate(logits, calibration, face_sizes)
    if by_size:
        return calibration, thresholds_for_sizes(
            scores, fake, face_sizes, max_fpr=MAX_FPR, max_miss=MAX_MISS
        )
    thresholds = decide_most(scores, fake, max_fpr=MAX_FPR, misses=MISSES, goal=DECIDED_GOAL)
    return calibration, thresholds


def _trial(
    material: Material,
    split: Split,
    sets: dict[str, _Set],
    calibration: Calibration,
    thresholds: Thresholds,
) -> Trial:
    """What precisions are compared on, and what int8 ranges are found on."""
    cropper = open_cropper(material.preprocessing)
    report, *others = [one.thinned(TRIAL_IMAGES) for one in sets.values()]
    more = [image for one in others for image in one.images]
    examples = thin(split.train or split.chosen, QUANTISATION_IMAGES)
    return Trial(
        reference=Reference(
            logits=report.logits,
            fake=is_fake(report.images),
            groups=[image.group_id for image in report.images],
            more=np.concatenate([np.empty(0, np.float32), *(one.logits for one in others)]),
        ),
        pixels=_crops(cropper, report.images),
        more_pixels=_crops(cropper, more),
        examples=_crops(cropper, examples),
        calibration=calibration,
        thresholds=thresholds,
    )


def _crops(cropper: Cropper, images: Sequence[Labelled]) -> UInt8Array:
    return read_crops(cropper, [image.path for image in images]).pixels


def _all_figures(sets: dict[str, _Set], calibration: Calibration, thresholds: Thresholds) -> Json:
    """The figures of each set; the report half also has a curve over thresholds."""
    found = {name: _figures(one, calibration, thresholds) for name, one in sets.items()}
    report = sets["report"]
    scores = calibrate(report.logits, calibration, report.face_sizes)
    fake = is_fake(report.images)
    if fake.any() and not fake.all():
        found["report"]["curve"] = threshold_curve(scores, fake)
    return found


def _figures(one: _Set, calibration: Calibration, thresholds: Thresholds) -> Json:
    if not one.images:
        return {"images": 0, "not_applicable": one.refused}
    scores = calibrate(one.logits, calibration, one.face_sizes)
    groups = [image.group_id for image in one.images]
    measured = figures(scores, decide(scores, thresholds), is_fake(one.images), groups)
    return measured | ({"not_applicable": one.refused} if one.refused else {})

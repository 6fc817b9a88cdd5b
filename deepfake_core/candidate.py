"""From trained weights to a complete bundle: calibrated, evaluated, quantised, described."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_core.architectures import Architecture, Weights
from deepfake_core.bundle import (
    CARD_FILE,
    WEIGHTS_FILE,
    Bundle,
    Description,
    Preprocessing,
    store_weights,
    write_description,
)
from deepfake_core.calibration import choose_thresholds, fit_calibration
from deepfake_core.card import card
from deepfake_core.dataset import Labelled, is_fake, read_labelled, read_pixels
from deepfake_core.decision import Calibration, Thresholds, calibrate, decide
from deepfake_core.degradations import TIERS
from deepfake_core.engine import OpenVinoEngine
from deepfake_core.graph import build_graph
from deepfake_core.metrics import figures
from deepfake_core.precisions import Trial, qualify, score_all
from deepfake_core.qualification import Reference
from deepfake_core.records import Float32Array, Json, Label

if TYPE_CHECKING:
    import openvino as ov

# Half of the one percent that is promised: a quantile of a few hundred photos is uncertain.
MAX_FPR = 0.005
MAX_MISS = 0.05
# Pictures arrive compressed and shrunk: curve and thresholds are chosen on these tiers together.
CALIBRATION_TIERS = ("clean", "jpeg75", "half")
QUANTISATION_IMAGES = 300


@dataclass(slots=True)
class Material:
    """What a candidate is made from.

    Attributes:
        weights: as `keras_weights` names them.
        architecture: the network's shape.
        preprocessing: how images become its input.
        data: labelled folder with the sets ``train`` and ``valid``, and further ones.
        training: the recipe, for the record.
        trained_on: the images and weights it comes from and their terms, in words.
        limits: what it must not be used for, in words.
        one_class: sets whose classes differ in more than the label, so that only each class
            alone says something.
    """

    weights: Weights
    architecture: Architecture
    preprocessing: Preprocessing
    data: Path
    training: Json
    trained_on: str
    limits: tuple[str, ...]
    one_class: tuple[str, ...] = ()


@dataclass(slots=True)
class _Set:
    """Labelled images with their logits at fp32."""

    images: list[Labelled]
    logits: Float32Array

    def where(self, keep: list[bool]) -> _Set:
        chosen = [image for image, kept in zip(self.images, keep, strict=True) if kept]
        return _Set(chosen, self.logits[np.array(keep)])


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
        The bundle; all its figures were measured on the weights as they are stored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store_weights(folder, material.weights)
    size = material.preprocessing.size
    graph = _graph(material, folder)
    engine = OpenVinoEngine(graph, size=size, precision="fp32")
    tiers = _score_tiers(material, engine, say)
    chosen = [not image.reported for image in tiers["clean"].images]
    calibration, thresholds = _calibrate([tiers[tier].where(chosen) for tier in CALIBRATION_TIERS])
    reported = [not one for one in chosen]
    sets = {
        "report" if tier == "clean" else f"report_{tier}": one.where(reported)
        for tier, one in tiers.items()
    }
    others = _other_sets(material, engine)
    say("comparing precisions with fp32")
    trial = _trial(material, sets["report"], others, calibration, thresholds)
    outcome = qualify(trial, graph, folder, say)
    description = Description(
        name=name,
        version=version,
        architecture=material.architecture,
        preprocessing=material.preprocessing,
        calibration=calibration,
        thresholds=thresholds,
        precisions=outcome.precisions,
        tolerances=outcome.tolerances,
        figures={
            set_name: _figures(one, calibration, thresholds)
            for set_name, one in {**sets, **others}.items()
        },
        qualification=outcome.record,
        trained_on=material.trained_on,
        limits=material.limits,
        training=material.training,
        files={},
    )
    (folder / CARD_FILE).write_text(card(description))
    return write_description(folder, description)


def _score_tiers(
    material: Material, engine: OpenVinoEngine, say: Callable[[str], None]
) -> dict[str, _Set]:
    """The validation images in every tier of degradation."""
    valid = read_labelled(material.data, "valid")
    tiers: dict[str, _Set] = {}
    for tier, change in TIERS.items():
        say(f"scoring {len(valid)} images, {tier}")
        pixels = read_pixels(valid, size=material.preprocessing.size, change=change)
        tiers[tier] = _Set(valid, score_all(engine, pixels))
    return tiers


def _calibrate(selection: list[_Set]) -> tuple[Calibration, Thresholds]:
    fake = np.concatenate([is_fake(part.images) for part in selection])
    logits = np.concatenate([part.logits for part in selection])
    calibration = fit_calibration(logits, fake)
    scores = calibrate(logits, calibration)
    return calibration, choose_thresholds(scores, fake, max_fpr=MAX_FPR, max_miss=MAX_MISS)


def _trial(
    material: Material,
    report: _Set,
    others: dict[str, _Set],
    calibration: Calibration,
    thresholds: Thresholds,
) -> Trial:
    """What precisions are compared on, and what int8 ranges are found on."""
    size = material.preprocessing.size
    more = [image for one in others.values() for image in one.images]
    train = read_labelled(material.data, "train")
    examples = train[:: max(1, len(train) // QUANTISATION_IMAGES)][:QUANTISATION_IMAGES]
    logits = [one.logits for one in others.values()] or [np.empty(0, np.float32)]
    return Trial(
        reference=Reference(
            logits=report.logits,
            fake=is_fake(report.images),
            groups=[image.group_id for image in report.images],
            more=np.concatenate(logits),
        ),
        pixels=read_pixels(report.images, size=size),
        more_pixels=read_pixels(more, size=size),
        examples=read_pixels(examples, size=size),
        calibration=calibration,
        thresholds=thresholds,
    )


def _graph(material: Material, folder: Path) -> ov.Model:
    """The graph of the weights as they were rounded when they were stored."""
    with np.load(folder / WEIGHTS_FILE) as stored:
        return build_graph(
            material.architecture,
            dict(stored),
            size=material.preprocessing.size,
            mean=material.preprocessing.mean,
            scale=material.preprocessing.scale,
        )


def _other_sets(material: Material, engine: OpenVinoEngine) -> dict[str, _Set]:
    """Every further set that the data's manifest names; classes apart where they must be."""
    if not (material.data / "manifest.csv").is_file():
        return {}
    members: dict[str, list[Labelled]] = {}
    for image in read_labelled(material.data):
        name = image.set_name
        if name in ("train", "valid"):
            continue
        if name in material.one_class:
            name = f"{name}_{'fake' if image.fake else 'real'}"
        members.setdefault(name, []).append(image)
    return {
        name: _Set(images, score_all(engine, read_pixels(images, size=material.preprocessing.size)))
        for name, images in members.items()
    }


def _figures(one: _Set, calibration: Calibration, thresholds: Thresholds) -> Json:
    scores = calibrate(one.logits, calibration)
    labels = decide(scores, thresholds)
    fake = is_fake(one.images)
    if fake.all() or not fake.any():
        counts = {str(label): labels.count(label) for label in Label}
        kind = "fake" if fake.all() else "real"
        return {"images": len(labels), kind: len(labels), "labels": counts}
    return figures(scores, labels, fake, [image.group_id for image in one.images])

"""Pair two looks on a labelled folder: score its faces with both, in a few tiers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepfake_core.datasets.labelled import Labelled, read_labelled
from deepfake_core.engines.clip_engine import open_second_look, processor_flags, second_precisions
from deepfake_core.engines.engine import (
    Engine,
    open_engine,
    processor_precisions,
    resolve_precision,
)
from deepfake_core.errors import SourceError, UsageError
from deepfake_core.evaluation.score_cache import Scored
from deepfake_core.evaluation.scored_set import CLASS_NAMES
from deepfake_core.evaluation.scoring import score_tiers
from deepfake_core.events import Say, silent
from deepfake_core.images.face_tiers import FACE_TIERS
from deepfake_core.inference.cropping import open_cropper
from deepfake_core.models.bundle import Bundle, Precision
from deepfake_core.models.decision import Calibration, calibrate
from deepfake_core.models.pair import Pair
from deepfake_core.models.registry import DEFAULT_REGISTRY
from deepfake_core.models.second_look import SecondBundle
from deepfake_core.records import Float32Array
from deepfake_core.release.pair_figures import PairFaces
from deepfake_core.release.pairing import PairNames, make_pair

# Pictures arrive compressed and shrunk: the line must lose no more fakes then.
PAIR_TIERS = ("clean", "jpeg75", "size64", "size96_jpeg50")
# Fewer fakes cannot say where one percent of them lies.
LEAST_FAKES = 100
LEAST_REALS = 100


@dataclass(frozen=True, slots=True)
class Looked:
    """The faces that both looks judged: N of all tiers together.

    Attributes:
        images: N labelled images.
        tiers: N names.
        first: float32[N], logits of the first look.
        second: float32[N] by precision, logits of the second.
        face_sizes: float32[N], pixels.
    """

    images: list[Labelled]
    tiers: list[str]
    first: Float32Array
    second: dict[Precision, Float32Array]
    face_sizes: Float32Array


@dataclass(frozen=True, slots=True)
class Making:
    """How a pair is made.

    Attributes:
        registry: where the finder is.
        aside: sets that are no task of the looks, such as face swaps: they choose nothing, and
            are reported on by family alone.
        precisions: of the second look; without any the fastest of this processor.
        open_look: opens the second look at a precision.
    """

    registry: Path = DEFAULT_REGISTRY
    aside: Sequence[str] = ()
    precisions: Sequence[Precision] = ()
    open_look: Callable[[SecondBundle, Precision], Engine] = open_second_look


AS_USUAL = Making()


def pair_models(
    first: Bundle,
    look: SecondBundle,
    data: Path,
    making: Making = AS_USUAL,
    *,
    say: Say = silent,
) -> Pair:
    """Make the pair of two looks; nothing is written.

    Args:
        first: the first look, which must judge faces.
        look: the second look.
        data: labelled folder; its set ``train`` is left out.
        making: how.
        say: is told what is done.

    Raises:
        UsageError: the first look judges whole pictures.
        SourceError: the folder has too few faces of a class.
        CandidateRefused: the second look does not better the first.
    """
    preprocessing = first.description.preprocessing
    if preprocessing.faces == "frame":
        raise UsageError(
            f"{first.model_id} judges whole pictures, the second look judges faces; pair a model "
            "whose bundle says faces: find"
        )
    images = [image for image in read_labelled(data) if image.set_name != "train"]
    _refuse_few(images, making.aside, data)
    cropper = open_cropper(preprocessing, making.registry)
    tiers = {name: FACE_TIERS[name] for name in PAIR_TIERS}

    def score(engine: Engine) -> Scored:
        say(f"scoring {len(images)} images in {len(tiers)} tiers at {engine.precision}")
        return score_tiers(engine, images, cropper=cropper, tiers=tiers)

    precision = resolve_precision(first, "auto", processor_precisions())
    scored = score(open_engine(first, kind="openvino", precision=precision))
    names = tuple(making.precisions) or second_precisions(look, processor_flags())[:1]
    others = {name: score(making.open_look(look, name)) for name in names}
    looked = _join(images, scored, others)
    _refuse_few(looked.images, making.aside, data)
    calibration = first.description.curve(precision).calibration
    return make_pair(
        PairNames(first.digest, first.model_id, look.digest),
        faces_of(looked, calibration, making.aside),
    )


def _join(images: list[Labelled], first: Scored, others: dict[Precision, Scored]) -> Looked:
    """Tier after tier, the images that show a face."""
    shown = {tier: np.flatnonzero(np.isfinite(first.face_sizes[tier])) for tier in first.logits}

    def joined(values: dict[str, Float32Array]) -> Float32Array:
        return np.concatenate([values[tier][rows] for tier, rows in shown.items()])

    return Looked(
        images=[images[row] for rows in shown.values() for row in rows.tolist()],
        tiers=[tier for tier, rows in shown.items() for _ in range(len(rows))],
        first=joined(first.logits),
        second={name: joined(other.logits) for name, other in others.items()},
        face_sizes=joined(first.face_sizes),
    )


def faces_of(looked: Looked, calibration: Calibration, aside: Sequence[str] = ()) -> PairFaces:
    """The faces that a pair is made of.

    Args:
        looked: what both looks said.
        calibration: of the first look, at its precision.
        aside: sets that are no task of the looks.
    """
    return PairFaces(
        first_logits=looked.first,
        first_scores=calibrate(looked.first, calibration, looked.face_sizes),
        second_logits=looked.second,
        face_sizes=looked.face_sizes,
        fake=np.array([image.fake for image in looked.images]),
        families=_families(looked.images),
        tiers=looked.tiers,
        groups=[image.group_id for image in looked.images],
        chosen=np.array([not image.reported for image in looked.images]),
        aside=np.array([image.set_name in aside for image in looked.images]),
    )


def _families(images: Sequence[Labelled]) -> list[str]:
    """What made each image, or its set; where both classes have the name, the class as well."""
    names = [image.source or image.set_name for image in images]
    classes: dict[str, set[bool]] = {}
    for image, name in zip(images, names, strict=True):
        classes.setdefault(name, set()).add(image.fake)
    return [
        name if len(classes[name]) == 1 and name else f"{name}_{kind}".strip("_")
        for name, kind in (
            (name, CLASS_NAMES[image.fake]) for image, name in zip(images, names, strict=True)
        )
    ]


def _refuse_few(images: Sequence[Labelled], aside: Sequence[str], data: Path) -> None:
    judged = [image for image in images if image.set_name not in aside]
    fakes = sum(image.fake for image in judged)
    reals = len(judged) - fakes
    if fakes < LEAST_FAKES or reals < LEAST_REALS:
        raise SourceError(
            f"{data} shows {fakes} generated and {reals} photographed faces outside of its set "
            f"train; to pair two models at least {LEAST_FAKES} and {LEAST_REALS} are needed"
        )

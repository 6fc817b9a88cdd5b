"""Whether the networks answer known pictures as they did when they were released.

What is compared is all that a scan does with a picture: decoding, finding, aligning, scoring. So
an engine that computes otherwise, weights of another network and pixels in another order are seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from deepfake_core.engines.engine import Engine
from deepfake_core.inference.classifier import Classifier
from deepfake_core.inference.judgement import JudgedFace
from deepfake_core.inference.opening import Networks
from deepfake_core.models.bundle import Bundle, Precision
from deepfake_core.models.canaries import (
    Answers,
    CanaryCheck,
    CanaryDrift,
    Place,
    Setting,
    read_canaries,
    read_pictures,
)
from deepfake_core.models.second_look import SecondBundle
from deepfake_core.records import Float32Array, UInt8Array


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How far an answer may be from the recorded one.

    Attributes:
        exact: where all arithmetic is fp32, whose results hardly depend on the machine.
        rounded: where some of it is rounded to bf16 or int8.
    """

    exact: float
    rounded: float

    def of(self, *used: Precision | None) -> float:
        """The tolerance of an answer that was computed with these precisions."""
        return self.exact if set(used) <= {"fp32", None} else self.rounded


# Of looks in log-odds of the score, of the finder in sizes of the face. Other instruction sets and
# versions of OpenVINO were less than 0.001 away at fp32, and else up to 0.12 (first look), 0.38
# (second) and 0.001 (finder); pixels in another order, no alignment, crops moved by a pixel and the
# like at least 0.33 and 0.95 (docs/decisions/0028).
FIRST = Tolerances(exact=0.05, rounded=0.3)
SECOND = Tolerances(exact=0.05, rounded=0.75)
PLACES = Tolerances(exact=0.005, rounded=0.03)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is judged of some pictures.

    Attributes:
        crops: uint8[K, size, size, 3], of those that show something to judge.
        rows: K positions among the pictures, rising.
        places: for each picture where its face is; None where none was found, and for all where
            pictures are judged whole.
    """

    crops: UInt8Array
    rows: list[int]
    places: list[Place | None]


@dataclass(frozen=True, slots=True)
class _Known:
    """The pictures that a network was asked about, and what it said."""

    names: list[str]
    pictures: list[bytes]
    answers: Answers


@dataclass(frozen=True, slots=True)
class _Look:
    """A look that is asked.

    Attributes:
        network: ``name@version+hash8``.
        temperature: of its calibration: a logit over it is in log-odds of the score.
        tolerance: in log-odds.
    """

    network: str
    temperature: float
    tolerance: float


def check_first(networks: Networks, classifier: Classifier) -> CanaryCheck:
    """Ask the finder and the first look.

    Returns:
        What became of the pictures; nothing was checked where there are no answers for how the
        networks are run.

    Raises:
        ModelError: the answers or a picture are damaged.
    """
    bundle, finder = networks.bundle, networks.finder
    known = _known(networks, bundle, networks.precision)
    if known is None:
        return CanaryCheck()
    seen, answers = see(classifier, known.pictures), known.answers
    drifts = _unseen(finder.model_id if finder else bundle.model_id, known, seen)
    if finder is not None:
        drifts += _moved(finder.model_id, known, seen)
    tolerance = FIRST.of(answers.precision, answers.finder_precision)
    look = _Look(bundle.model_id, networks.curve.calibration.temperature, tolerance)
    drifts += _answered(look, known, seen, classifier.engine.logits(seen.crops))
    checked = (finder.model_id, bundle.model_id) if finder else (bundle.model_id,)
    return CanaryCheck(checked=checked, drifts=tuple(drifts))


def check_second(networks: Networks, classifier: Classifier, engine: Engine) -> CanaryCheck:
    """Ask the second look about the faces that the finder gives; see `check_first`."""
    second = networks.second
    known = _known(networks, second.look, second.precision) if second else None
    if second is None or known is None:
        return CanaryCheck()
    seen, answers = see(classifier, known.pictures), known.answers
    tolerance = SECOND.of(answers.precision, answers.finder_precision)
    look = _Look(second.look.model_id, second.curve.calibration.temperature, tolerance)
    drifts = _answered(look, known, seen, ask(engine, seen.crops))
    return CanaryCheck(checked=(look.network,), drifts=tuple(drifts))


def see(classifier: Classifier, pictures: Sequence[bytes]) -> Seen:
    """What is judged of pictures, as a scan sees them: of each its largest face, or all of it."""
    with ThreadPoolExecutor(classifier.engine.lanes) as lanes:
        read = list(lanes.map(classifier.read, pictures))
    side = classifier.crop_side
    shown = [crops[:1] for _, crops in read if crops is not None]
    return Seen(
        crops=np.concatenate([np.empty((0, side, side, 3), np.uint8), *shown]),
        rows=[row for row, (_, crops) in enumerate(read) if crops is not None],
        places=[_place(judged.faces[0]) if judged.faces else None for judged, _ in read],
    )


def ask(engine: Engine, crops: UInt8Array) -> Float32Array:
    """The logits of faces, each asked by itself and several at once: float32[N]."""
    with ThreadPoolExecutor(engine.lanes) as lanes:
        parts = list(lanes.map(lambda at: engine.logits(crops[at : at + 1]), range(len(crops))))
    return np.concatenate([np.empty(0, np.float32), *parts])


def _known(
    networks: Networks, network: Bundle | SecondBundle, precision: Precision
) -> _Known | None:
    """What a network is held against, if there is anything for how it is run."""
    canaries, finder = read_canaries(network.folder, network.digest), networks.finder
    if canaries is None or (finder and canaries.finder != finder.model_id):
        return None
    setting = Setting(precision, networks.finder_precision if finder else None)
    answers, pictures = canaries.of(setting), read_pictures(canaries)
    return _Known(list(canaries.pictures), pictures, answers) if answers and pictures else None


def _place(face: JudgedFace) -> Place:
    return (face.x, face.y, face.width, face.height, face.size)


def _unseen(network: str, known: _Known, seen: Seen) -> list[CanaryDrift]:
    """The pictures in which nothing is seen any more that could be judged."""
    return [
        _drift(network, name, None, f"{network} sees nothing to judge in {name}")
        for row, name in enumerate(known.names)
        if row not in seen.rows
    ]


def _moved(network: str, known: _Known, seen: Seen) -> list[CanaryDrift]:
    """The pictures in which the finder sees the face elsewhere."""
    tolerance = PLACES.of(known.answers.finder_precision)
    drifts = []
    for row in seen.rows:
        name, now, before = known.names[row], seen.places[row], known.answers.places[row]
        apart = float(np.abs(np.subtract(now or np.nan, before)).max()) / before[-1]
        # What is not a number is not near either.
        if not apart <= tolerance:
            where = f"{100 * apart:.1f} % of its size away" if np.isfinite(apart) else "nowhere"
            words = f"{network} finds the face in {name} {where}"
            drifts.append(_drift(network, name, (apart, tolerance), words))
    return drifts


def _answered(look: _Look, known: _Known, seen: Seen, logits: Float32Array) -> list[CanaryDrift]:
    """The pictures to which a look gives another logit."""
    drifts = []
    for row, now in zip(seen.rows, logits.tolist(), strict=True):
        name, before = known.names[row], known.answers.logits[row]
        apart = abs(now - before) / look.temperature
        # What is no number is within no tolerance.
        if not apart <= look.tolerance:
            words = f"{look.network} gives {name} the logit {now:.2f} instead of {before:.2f}"
            drifts.append(_drift(look.network, name, (apart, look.tolerance), words))
    return drifts


def _drift(
    network: str, picture: str, apart: tuple[float, float] | None, words: str
) -> CanaryDrift:
    """A drift; `apart` is how far and how far at most."""
    far = round(apart[0], 4) if apart and np.isfinite(apart[0]) else None
    limit = apart[1] if apart else None
    return CanaryDrift(network=network, picture=picture, apart=far, tolerance=limit, words=words)

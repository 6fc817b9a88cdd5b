"""Whether a verdict survives what happens to pictures on their way.

A flag that one more compression would lift is not a ground to act on. The face that decided is
judged again after a few cheap changes of the picture, through finder, alignment and the looks
that had judged it; the range of its scores is kept, and a flag that does not last is uncertain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from deepfake_core.faces.alignment import align, square_of
from deepfake_core.faces.records import FoundFace
from deepfake_core.images.degradations import Degradation, saved
from deepfake_core.inference.classifier import Classifier, largest_judged
from deepfake_core.inference.face_reading import AlignedFaces
from deepfake_core.inference.judgement import JudgedFace, Judgement
from deepfake_core.records import DECIDED, Failure, Label, Reason, UInt8Array

# Of a shard's images this share is judged again, and in small shards at least so many.
MOST_SHARE, LEAST_IMAGES = 0.02, 8
# Of what is neither flagged nor uncertain, chosen by the hash of the file.
SAMPLED_SHARE = 0.005
SHIFT_PIXELS = 4


def _half_and_back(image: Image.Image) -> Image.Image:
    half = image.resize(
        (max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BICUBIC
    )
    return half.resize(image.size, Image.Resampling.BICUBIC)


def _shifted(image: Image.Image) -> Image.Image:
    """Moved right and down, its edge repeated: what a crop of some pixels less does to a finder."""
    pixels = np.pad(np.asarray(image), ((SHIFT_PIXELS, 0), (SHIFT_PIXELS, 0), (0, 0)), "edge")
    return Image.fromarray(pixels[: image.height, : image.width])


CHANGES: dict[str, Degradation] = {
    "jpeg75": saved("JPEG", 75),
    "half": _half_and_back,
    "shift": _shifted,
}


def choose(judgements: Sequence[Judgement]) -> list[int]:
    """Which images of a shard are judged again, the same whenever it is judged.

    Args:
        judgements: of the whole shard, in its order.

    Returns:
        Positions: flags first, then what is uncertain, then a sample of the rest.
    """
    most = max(LEAST_IMAGES, int(MOST_SHARE * len(judgements)))
    faces = [
        at
        for at, judgement in enumerate(judgements)
        if judgement.faces and judgement.label in DECIDED
    ]
    flagged = [at for at in faces if judgements[at].label is Label.FAKE]
    uncertain = [at for at in faces if judgements[at].label is Label.UNCERTAIN]
    rest = [at for at in faces if judgements[at].label is Label.REAL]
    sampled = [at for at in rest if _is_sampled(judgements[at].sha256 or "")]
    return [*flagged, *uncertain, *sampled][:most]


def _is_sampled(sha256: str) -> bool:
    return int(sha256[:8] or "f", 16) < SAMPLED_SHARE * 2**32


def judge_again(
    classifier: Classifier, reader: AlignedFaces, judgement: Judgement, data: bytes
) -> None:
    """Judge the face that decided an image again; fills the range, and lifts a flag that breaks.

    Args:
        classifier: as it judged the image.
        reader: finds faces in the changed pictures.
        judgement: of the image; an image whose bytes are not those that were judged is left.
        data: its bytes.
    """
    if not judgement.faces or hashlib.sha256(data).hexdigest() != judgement.sha256:
        return
    loaded = reader.load(data)
    if isinstance(loaded, Failure):
        return
    scale = loaded.width / loaded.image.width
    face = judgement.faces[0]
    crops: list[UInt8Array] = []
    sizes: list[float] = []
    for change in CHANGES.values():
        image = change(loaded.image)
        seen = _same(reader.find(image), face, scale)
        if seen is not None:
            crops.append(align(image, seen.landmarks, size=classifier.crop_side).crop)
            sizes.append(square_of(seen.landmarks).size * scale)
    if crops and face.score is not None:
        _weigh(classifier, judgement, np.stack(crops), sizes)


def _same(faces: Sequence[FoundFace], face: JudgedFace, scale: float) -> FoundFace | None:
    """The face that lies where the judged one does; None where it is found no more."""

    def distance(other: FoundFace) -> float:
        across = (other.x + other.width / 2) * scale - (face.x + face.width / 2)
        down = (other.y + other.height / 2) * scale - (face.y + face.height / 2)
        return float(np.hypot(across, down))

    near = min(faces, key=distance, default=None)
    return near if near is not None and distance(near) < face.width / 2 else None


def _weigh(
    classifier: Classifier, judgement: Judgement, crops: UInt8Array, sizes: Sequence[float]
) -> None:
    face = (judgement.faces or [])[0]
    scored = classifier.looks.look(crops, sizes, both=face.second_logit is not None)
    scores = scored.scores[np.isfinite(scored.scores)]
    if not len(scores) or face.score is None:
        return
    judgement.score_low = float(min(scores.min(), face.score))
    judgement.score_high = float(max(scores.max(), face.score))
    judged = sum(other.score is not None for other in judgement.faces or ())
    labels = classifier.decide(scores, largest=largest_judged(judgement), faces=judged)
    if judgement.label is Label.FAKE and any(label is not Label.FAKE for label in labels):
        judgement.label, judgement.reason = Label.UNCERTAIN, Reason.UNSTABLE

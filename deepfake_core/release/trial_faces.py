"""The faces that precisions are compared on: real ones, and views of them up to enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from deepfake_core.datasets.labelled import Labelled, is_fake
from deepfake_core.datasets.splits import Split, thin
from deepfake_core.evaluation.scoring import PART, decode_part
from deepfake_core.images.degradations import Degradation
from deepfake_core.images.face_tiers import cut_middle, tiers_for
from deepfake_core.inference.cropping import Cropper, read_crops
from deepfake_core.models.bundle import Curve
from deepfake_core.records import UInt8Array
from deepfake_core.release.curves import Known
from deepfake_core.release.precision_agreement import LEAST_FACES
from deepfake_core.release.precision_trials import Faces, Trial

QUANTISATION_IMAGES = 300
# All faces of a trial are held in memory.
MOST_FACES = 6000
# The views that are asked beside the images as they are, in this order, until there are enough.
VIEWS = ("clean", "jpeg75", "half", "jpeg50", "blur", "quarter", "webp80", "jpeg30", "screenshot")
# Where even these are too few, the same of the mirrored image, and of its middle.
MIDDLES = (1.0, 0.95, 0.9, 0.85)


def make_trial(
    split: Split, cropper: Cropper, curve: Curve, *, faces: str, tiers: Sequence[str]
) -> Trial:
    """Gather the faces of a trial.

    Args:
        split: curves are fitted on its chosen images; answers are compared on the others.
        cropper: cuts out of an image what the network is shown.
        curve: of fp32.
        faces: ``find`` or ``frame``.
        tiers: those that the curve was fitted on.
    """
    asked = [*split.report, *(image for images in split.others.values() for image in images)]
    examples = thin(split.train or split.chosen, QUANTISATION_IMAGES)
    return Trial(
        curve=curve,
        chosen=_gather(
            thin(split.chosen, MOST_FACES // len(tiers)),
            cropper,
            [tiers_for(faces)[tier] for tier in tiers],
            faces,
        ),
        asked=_gather(thin(asked, MOST_FACES), cropper, _views(len(asked), faces), faces),
        examples=_crops(examples, cropper),
    )


def _crops(images: Sequence[Labelled], cropper: Cropper) -> UInt8Array:
    return read_crops(cropper, [image.path for image in images]).pixels


def _views(images: int, faces: str) -> list[Degradation]:
    """As many views as make enough faces of so many images; one where none would."""
    changes = tiers_for(faces)
    views = [
        _viewed(changes[tier], mirrored=mirrored, middle=middle)
        for middle in MIDDLES
        for mirrored in (False, True)
        for tier in VIEWS
    ]
    needed = -(-LEAST_FACES // max(1, images))
    # A few images are found without a face in some of the views.
    return views[: needed + needed // 8] if needed <= len(views) else views[:1]


def _viewed(change: Degradation, *, mirrored: bool, middle: float) -> Degradation:
    def view(image: Image.Image) -> Image.Image:
        seen = ImageOps.mirror(image) if mirrored else image
        return change(cut_middle(middle)(seen) if middle < 1 else seen)

    return view


def _gather(
    images: Sequence[Labelled], cropper: Cropper, views: Sequence[Degradation], faces: str
) -> Faces:
    """The faces of images in some views."""
    pixels: list[UInt8Array] = []
    sizes: list[float] = []
    shown: list[Labelled] = []
    for view in views:
        for start in range(0, len(images), PART):
            some = images[start : start + PART]
            part = decode_part(some, cropper, {"view": view})
            if "view" in part.pixels:
                pixels.append(part.pixels["view"])
                sizes += part.face_sizes["view"]
                shown += [some[row] for row in part.rows["view"]]
    groups = [image.group_id for image in shown]
    known = Known(is_fake(shown), groups, np.array(sizes, np.float32), faces == "find")
    return Faces(np.concatenate(pixels), known)

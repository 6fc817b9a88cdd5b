"""Whether faces unlike those that a model was made with could be told from its own, by family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from deepfake_core.binomial import interval
from deepfake_core.datasets.class_folders import folders_in, is_image
from deepfake_core.datasets.labelled import Labelled, is_fake, read_labelled
from deepfake_core.datasets.splits import thin
from deepfake_core.errors import SourceError, UsageError
from deepfake_core.evaluation.depths import (
    Depths,
    Look,
    Picture,
    open_depths,
    open_second_depths,
    read_depths,
)
from deepfake_core.evaluation.metrics import BoolArray
from deepfake_core.evaluation.strangeness import (
    Float64Array,
    Known,
    familiarity,
    fit_known,
    together,
)
from deepfake_core.events import Say, silent
from deepfake_core.images.face_tiers import FACE_TIERS
from deepfake_core.inference.cropping import Cropper, open_cropper
from deepfake_core.models.bundle import Bundle
from deepfake_core.models.registry import DEFAULT_REGISTRY
from deepfake_core.models.second_look import SecondBundle
from deepfake_core.ranking import auc, rank_auc
from deepfake_core.records import Float32Array
from deepfake_core.resampling import resample_counts

# The share of familiar faces that a test may refuse.
LOSS = 0.01
# A test that orders pairs of a stranger and a familiar face less surely than this is no test.
LEAST_AUC = 0.8
# Compressed and shrunk faces are familiar: the model was calibrated on them.
USUAL_TIERS = ("clean", "jpeg75", "size64", "size96_jpeg50")
LEAST_OF_CLASS = 100
TOGETHER = "together"


@dataclass(frozen=True, slots=True)
class Told:
    """How well a family is told from familiar faces at one depth, with 95 % intervals.

    Attributes:
        auc: how often a stranger is less familiar than a familiar face.
        auc_interval: by the bootstrap over faces.
        refused: strangers that a test refuses which loses `LOSS` of the familiar.
        refused_interval: of their share.
    """

    auc: float
    auc_interval: tuple[float, float]
    refused: int
    refused_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Family:
    """A family of strangers: pictures, those that show a face, and what is told by depth."""

    name: str
    pictures: int
    faces: int
    depths: dict[str, Told]


@dataclass(frozen=True, slots=True)
class Strangers:
    """What was measured.

    Attributes:
        model_id: the model.
        learnt: faces whose place was learnt, of the set ``train``.
        compared: familiar faces that say how far is far.
        familiar: familiar faces that the strangers are told from.
        lost: of these, the ones that are refused, by depth.
        families: of strangers, in the order of their names.
    """

    model_id: str
    learnt: int
    compared: int
    familiar: int
    lost: dict[str, int]
    families: list[Family]


@dataclass(frozen=True, slots=True)
class _Faces:
    depths: Depths
    fake: BoolArray


@dataclass(frozen=True, slots=True)
class Seer:
    """What looks at faces.

    Attributes:
        model_id: its name.
        look: what it sees of faces at several depths.
        cropper: cuts them out.
    """

    model_id: str
    look: Look
    cropper: Cropper


def open_seer(
    bundle: Bundle, second: SecondBundle | None = None, *, registry: Path = DEFAULT_REGISTRY
) -> Seer:
    """A model, or a second look at the same faces; the finder is in the registry.

    Raises:
        UsageError: the model judges whole pictures, or it should look itself and is no ResNet50
            that was built here.
    """
    if bundle.description.preprocessing.faces == "frame":
        raise UsageError(f"{bundle.model_id} judges whole pictures, and strangers are faces")
    cropper = open_cropper(bundle.description.preprocessing, registry)
    if second is not None:
        return Seer(second.model_id, open_second_depths(second), cropper)
    return Seer(bundle.model_id, open_depths(bundle), cropper)


def measure_strangers(
    seer: Seer, data: Path, strangers: Path, *, most: int, say: Say = silent
) -> Strangers:
    """Tell strangers from familiar faces by what a network sees at several depths.

    Args:
        seer: looks at the faces.
        data: labelled folder: its set ``train`` is learnt, the others are familiar.
        strangers: a folder whose folders are families of pictures.
        most: at most so many pictures are learnt, are familiar, and of each family.
        say: told of the steps.

    Raises:
        SourceError: there is no family, or there are too few familiar faces.
    """
    listed = _families(strangers)
    read: list[_Faces] = []
    for name, images in _parts(data).items():
        say(f"looking at {min(most, len(images))} images that are {name}")
        read.append(_read(seer, thin(images, most)))
        _refuse_few(read[-1], name, data)
    test = _Test.fit(read[0], read[1])
    familiar = test.ask(read[2].depths)
    found: list[Family] = []
    for name, paths in listed.items():
        some = [Picture(path, _unchanged) for path in paths[:most]]
        say(f"looking at {len(some)} pictures of {name}")
        seen = read_depths(seer.look, seer.cropper, some)
        told = _tell(test.ask(seen), familiar) if seen.rows else {}
        found.append(Family(name, len(some), len(seen.rows), told))
    lost = {name: int((values <= LOSS).sum()) for name, values in familiar.items()}
    learnt, compared, others = (len(one.fake) for one in read)
    return Strangers(seer.model_id, learnt, compared, others, lost, found)


def _parts(data: Path) -> dict[str, list[Labelled]]:
    images = read_labelled(data)
    others = [image for image in images if image.set_name != "train"]
    return {
        "learnt": [image for image in images if image.set_name == "train"],
        "compared with": [image for image in others if not image.reported],
        "familiar": [image for image in others if image.reported],
    }


def _families(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise SourceError(f"there is no folder {folder}; name one that holds a folder by family")
    found = {
        place.name: [path for path in sorted(place.iterdir()) if is_image(path)]
        for place in folders_in(folder)
    }
    if not any(found.values()):
        raise SourceError(f"{folder} holds no folders of pictures; make one for each family")
    return found


def _read(seer: Seer, images: Sequence[Labelled]) -> _Faces:
    """The faces of images, a quarter in each of the usual tiers."""
    changes = [FACE_TIERS[tier] for tier in USUAL_TIERS]
    pictures = [Picture(image.path, changes[at % len(changes)]) for at, image in enumerate(images)]
    seen = read_depths(seer.look, seer.cropper, pictures)
    return _Faces(seen, is_fake([images[row] for row in seen.rows]))


def _unchanged(image: Image.Image) -> Image.Image:
    return image


def _refuse_few(faces: _Faces, name: str, data: Path) -> None:
    fakes = int(faces.fake.sum())
    reals = len(faces.fake) - fakes
    if min(fakes, reals) < LEAST_OF_CLASS:
        raise SourceError(
            f"{data} shows {reals} photographed and {fakes} generated faces that are {name}; at "
            f"least {LEAST_OF_CLASS} of each are needed"
        )


@dataclass(frozen=True, slots=True)
class _Test:
    """What was learnt, and the faces that say how far is far."""

    known: dict[str, Known]
    compared: dict[str, Float32Array]
    fake: BoolArray

    @classmethod
    def fit(cls, learnt: _Faces, compared: _Faces) -> _Test:
        """Learn where faces lie, and how far those lie that were not learnt."""
        known = {
            name: fit_known(values, learnt.fake) for name, values in learnt.depths.values.items()
        }
        distances = {
            name: known[name].distances(values) for name, values in compared.depths.values.items()
        }
        return cls(known, distances, compared.fake)

    def ask(self, seen: Depths) -> dict[str, Float64Array]:
        """The familiarity of faces by depth, and that of all depths together."""
        asked = {
            name: familiarity(self.known[name].distances(values), self.compared[name], self.fake)
            for name, values in seen.values.items()
        }
        own = {
            name: familiarity(values, values, self.fake) for name, values in self.compared.items()
        }
        return {**asked, TOGETHER: together(asked, own)}


def _tell(strange: dict[str, Float64Array], familiar: dict[str, Float64Array]) -> dict[str, Told]:
    return {name: _told(values, familiar[name]) for name, values in strange.items()}


def _told(strange: Float64Array, familiar: Float64Array) -> Told:
    unfamiliar = -np.concatenate([familiar, strange])
    is_strange = np.arange(len(unfamiliar)) >= len(familiar)
    ranks = np.unique(unfamiliar, return_inverse=True)[1]
    # Each face is a group of its own; strangers and familiar faces are drawn apart.
    weights = np.concatenate(
        [resample_counts([str(at) for at in range(len(some))]) for some in (familiar, strange)],
        axis=1,
    )
    drawn = [rank_auc(ranks, is_strange, row) for row in weights]
    low, high = np.percentile(drawn, [2.5, 97.5])
    refused = int((strange <= LOSS).sum())
    return Told(
        auc=auc(unfamiliar, is_strange),
        auc_interval=(float(low), float(high)),
        refused=refused,
        refused_interval=interval(refused, len(strange)),
    )

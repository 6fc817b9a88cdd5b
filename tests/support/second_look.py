"""A registry with two looks: a first one that judges faces, and a second that sees brightness."""

import shutil
from pathlib import Path

import numpy as np

from deepfake_core.models.bundle import Curve, write_description
from deepfake_core.models.decision import Calibration, Thresholds
from deepfake_core.models.pair import Pair, PairFigures, Share
from deepfake_core.models.registry import find_model
from deepfake_core.models.second_look import (
    LookDescription,
    SecondBundle,
    find_second,
    write_pair,
    write_second,
)
from deepfake_core.release.clip_import import store_arrays
from tests.support.vision_transformer import TINY_SHAPE, reference_logits, tiny_arrays

SOME_FIGURES = {
    "images": 16, "real": 8, "fake": 8, "tpr_at_fake": 0.5, "fakes_called_real": 0.125,
    "fpr_at_fake": 0.125, "reals_called_real": 0.75,
}  # fmt: skip


def two_looks(registry: Path, tiny_registry: Path) -> Path:
    """Copy the registry of `tiny`, let it judge faces, and add the second look ``clip@1``."""
    shutil.copytree(tiny_registry, registry)
    first = find_model("tiny", registry)
    preprocessing = first.description.preprocessing.model_copy(update={"faces": "find"})
    write_description(
        first.folder, first.description.model_copy(update={"preprocessing": preprocessing})
    )
    size = preprocessing.size
    shape = TINY_SHAPE.model_copy(update={"size": size})
    arrays = tiny_arrays()
    grey = np.stack([np.full((size, size, 3), value, np.uint8) for value in (80, 170)])
    dark, bright = reference_logits(shape, arrays, grey)
    for name in ("head/linear/kernel", "head/out/kernel"):
        arrays[name] *= np.sign(bright - dark)
    folder = registry / "clip" / "1"
    store_arrays(folder, arrays)
    told = LookDescription(
        name="clip",
        version=1,
        shape=shape,
        finder="centerface@1",
        calibrations={"fp32": Calibration()},
        files={},
    )
    write_second(folder, told)
    (registry / "clip" / "current.json").write_text('{"version": 1}')
    return registry


def add_pair(registry: Path, *, line: float) -> tuple[SecondBundle, Pair]:
    """Pair the two looks; faces whose first score is at least the line go on."""
    first, look = find_model("tiny", registry), find_second(None, registry)
    assert look is not None
    curve = Curve(
        calibration=Calibration(temperature=2.0, offset=0.5, first_weight=0.25),
        thresholds=Thresholds(real_below=0.3, fake_from=0.7),
    )
    nobody = Share(count=0, of=8, low=0, high=0.37)
    measured = PairFigures(
        first_auc=0.7,
        reals_sent_on=nobody,
        fakes_lost=nobody,
        sent_on={},
        auto={"report": {**SOME_FIGURES, "auc": 0.8}},
        all={"report": {**SOME_FIGURES, "auc": 0.9}},
    )
    pair = Pair(
        first=first.digest,
        first_model_id=first.model_id,
        second=look.digest,
        line=line,
        curves={"fp32": curve},
        figures={"fp32": measured},
    )
    write_pair(look, pair)
    return look, pair

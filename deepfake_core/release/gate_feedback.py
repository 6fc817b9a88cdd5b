"""Images that people corrected, as a test that a candidate must pass.

They are a test and never learnt from: an answer is one person's opinion that nobody has checked,
whoever reaches the page can give it, and an image that was learnt from could test nothing. They
were chosen by the current model's mistakes, so they ask one thing only: whether a candidate makes
more of these than the current model does.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from deepfake_core.datasets.labelled import Labelled, is_fake, list_labelled
from deepfake_core.engines.engine import open_engine
from deepfake_core.errors import SourceError
from deepfake_core.evaluation.scoring import score_readable
from deepfake_core.evaluation.training_list import read_training_list
from deepfake_core.images.degradations import TIERS
from deepfake_core.inference.cropping import open_cropper
from deepfake_core.models.bundle import Bundle
from deepfake_core.models.decision import calibrate
from deepfake_core.release.gate_comparison import Row
from deepfake_core.release.gate_config import GateConfig
from deepfake_core.resampling import resamples
from deepfake_core.results.feedback import gather

CLEAN = {"clean": TIERS["clean"]}
NAME, MEASURE = "what people corrected", "wrongly labelled"


def check_output(output: str | None) -> None:
    """Refuse a local folder of results that is not there: a typing error would test nothing."""
    if output is not None and "://" not in output and not Path(output).is_dir():
        raise SourceError(
            f"there is no folder {output} with feedback; name the --output of scans and service"
        )


@contextlib.contextmanager
def gathered(output: str | None) -> Iterator[list[Labelled]]:
    """Copies of the images that have an answer; they are gone afterwards.

    Args:
        output: where verdicts and feedback are; None for no images.
    """
    if output is None:
        yield []
        return
    with tempfile.TemporaryDirectory(prefix="deepfake-") as folder:
        gather(output, Path(folder))
        yield list(list_labelled(Path(folder)).images)


def judge_answered(
    candidate: Bundle, current: Bundle | None, images: Sequence[Labelled], config: GateConfig
) -> tuple[list[Row], list[str]]:
    """Compare how often candidate and current give images the label that people called wrong.

    Images that either model has learnt from, and files that cannot be judged, are left out.

    Returns:
        A row where there are enough images, and notes.
    """
    if not images:
        return [], []
    bundles = [candidate] if current is None else [candidate, current]
    kept = _unseen(images, bundles)
    answers = [_mistakes(bundle, kept) for bundle in bundles]
    usable = np.all([np.isfinite(answer) for answer in answers], axis=0)
    wrong = [answer[usable] for answer in answers]
    counted = [
        f"{bundle.model_id} labels {int(is_wrong.sum())} of them wrongly"
        for bundle, is_wrong in zip(bundles, wrong, strict=True)
    ]
    used = f"{len(images)} images have an answer of people, {int(usable.sum())} of use here"
    notes = [f"{used}: {', '.join(counted)}"]
    if current is None or len(wrong[0]) < config.min_corrected:
        return [], [*notes, f"at least {config.min_corrected} are needed to compare two models"]
    groups = [image.group_id for image, is_wrong in zip(kept, usable, strict=True) if is_wrong]
    changes = wrong[0] - wrong[1]
    drawn = [changes[rows].mean() for rows in resamples(groups, count=config.resamples)]
    bound, limit = float(np.quantile(drawn, config.confidence)), config.corrected
    before, after = float(wrong[1].mean()), float(wrong[0].mean())
    return [Row(NAME, MEASURE, after, before, bound, limit, bound <= limit)], notes


def _unseen(images: Sequence[Labelled], bundles: Sequence[Bundle]) -> list[Labelled]:
    learnt = [known for bundle in bundles if (known := read_training_list(bundle)) is not None]
    seen = {image.path for known in learnt for image in known.overlap(images)}
    return [image for image in images if image.path not in seen]


def _mistakes(bundle: Bundle, images: Sequence[Labelled]) -> np.ndarray:
    """1 for an image with the wrong label, 0 for another, NaN for one that failed: float64[N]."""
    description = bundle.description
    engine = open_engine(bundle, kind="openvino", precision="fp32")
    scored = score_readable(
        engine, images, cropper=open_cropper(description.preprocessing), tiers=CLEAN
    )
    logits, sizes = scored.logits["clean"], scored.face_sizes["clean"]
    scores, thresholds = calibrate(logits, description.calibration, sizes), description.thresholds
    fake = is_fake(list(images))
    wrong = np.where(fake, scores < thresholds.real_below, scores >= thresholds.fake_from)
    return np.where(np.isfinite(logits), wrong, np.nan)

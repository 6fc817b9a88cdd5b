"""Judge the photographs that a policy is derived from, as a scan would judge them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deepfake_core.errors import UsageError
from deepfake_core.inference.classifier import Classifier, largest_judged
from deepfake_core.inference.judgement import Judgement
from deepfake_core.records import Float32Array
from deepfake_core.storage.base import Storage
from deepfake_core.storage.reading import read_or_failure

READ_THREADS, BATCH = 8, 16


@dataclass(frozen=True, slots=True)
class Photographs:
    """What was judged of a folder of photographs.

    Attributes:
        images: paths of those that got a score; identical files count once.
        scores: float32[N], the highest score among the faces of each.
        sizes: float32[N], the largest face that was judged in each; None where whole pictures
            are judged.
        generated: paths of those whose files declare themselves generated.
        left_out: how many were not used, by the reason: a failure code, a reason of
            `not_applicable`, or `duplicate`.
    """

    images: list[str]
    scores: Float32Array
    sizes: npt.NDArray[np.float32] | None
    generated: list[str]
    left_out: dict[str, int]


def judge_photographs(
    source: Storage, classifier: Classifier, *, told: Callable[[int, int], None] = lambda *_: None
) -> Photographs:
    """Judge all images below a folder.

    Args:
        source: the folder.
        classifier: with the finder and the looks that scans will use.
        told: called with the number of images that are done, and of all.

    Raises:
        UsageError: there is nothing in the folder, or it stopped answering.
    """
    paths = sorted(source.list_files().paths)
    if not paths:
        raise UsageError(f"there are no files in {source.name}; give a folder of photographs")
    left_out: Counter[str] = Counter()
    images: list[str] = []
    kept: list[Judgement] = []
    seen: set[str | None] = set()
    with ThreadPoolExecutor(READ_THREADS, "read") as pool:
        for start in range(0, len(paths), BATCH):
            some = paths[start : start + BATCH]
            reads = list(pool.map(lambda path: read_or_failure(source, path), some))
            if all(outage for _, outage in reads) and len(reads) == BATCH:
                raise UsageError(f"{source.name} stopped answering; try again when it is back")
            judged = classifier.judge([content for content, _ in reads]).judgements
            for path, judgement in zip(some, judged, strict=True):
                reason = _unused(judgement, seen)
                if reason:
                    left_out[reason] += 1
                    continue
                seen.add(judgement.sha256)
                images.append(path)
                kept.append(judgement)
            told(start + len(some), len(paths))
    return _together(images, kept, dict(left_out))


def _unused(judgement: Judgement, seen: set[str | None]) -> str | None:
    """Why a picture does not count; None where it does."""
    if judgement.failure is not None:
        return str(judgement.failure.code)
    if judgement.score is None:
        return str(judgement.reason)
    return "duplicate" if judgement.sha256 in seen else None


def _together(
    images: list[str], judged: Sequence[Judgement], left_out: dict[str, int]
) -> Photographs:
    largest = np.array([largest_judged(judgement) for judgement in judged], np.float32)
    return Photographs(
        images=images,
        scores=np.array([_highest(judgement) for judgement in judged], np.float32),
        sizes=None if np.isnan(largest).any() else largest,
        generated=[
            image
            for image, judgement in zip(images, judged, strict=True)
            if any(claim.says_generated for claim in judgement.provenance)
        ],
        left_out=left_out,
    )


def _highest(judgement: Judgement) -> float:
    """The highest score of a picture's faces; the label's face need not have it."""
    scores = [face.score for face in judgement.faces or () if face.score is not None]
    return max([*scores, judgement.score or 0.0])

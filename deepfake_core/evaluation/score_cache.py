"""Scores that were computed before in this process, so that no image is judged twice.

A retraining calibrates, reports, evaluates and gates one network on overlapping images; on a
processor the network is nearly all that these steps cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deepfake_core.datasets.labelled import Labelled
from deepfake_core.images.degradations import Degradation
from deepfake_core.records import Failure, Float32Array


@dataclass(slots=True)
class Scored:
    """Logits of labelled images.

    Attributes:
        logits: float32[N] by tier, in the order of the images; NaN for one that failed, or
            shows no face there.
        failures: why an image has no logit, by its row.
        sizes: int[N, 2], width and height as the file has them, upright; 0 for one that failed.
        face_sizes: float32[N] by tier, of what was judged, in pixels of the image in that tier;
            NaN where there is no face.
    """

    logits: dict[str, Float32Array]
    failures: dict[int, Failure]
    sizes: np.ndarray
    face_sizes: dict[str, Float32Array]


@dataclass(slots=True)
class _Known:
    """What is known of one file: its size and its logits by tier, or why it has none."""

    size: tuple[int, int]
    logits: dict[str, float]
    face_sizes: dict[str, float]
    failure: Failure | None


@dataclass(slots=True)
class ScoreCache:
    """Logits of one network at fp32, by file; the files must stay as they are meanwhile."""

    _files: dict[Path, _Known] = field(default_factory=dict)

    def missing(
        self, images: Sequence[Labelled], tiers: Mapping[str, Degradation]
    ) -> Iterator[tuple[list[int], dict[str, Degradation]]]:
        """What must be scored yet: rows of images, and the tiers that all of them lack."""
        rows: dict[tuple[str, ...], list[int]] = {}
        for row, image in enumerate(images):
            known = self._files.get(image.path)
            if known is None:
                rows.setdefault(tuple(tiers), []).append(row)
            elif known.failure is None:
                rows.setdefault(tuple(t for t in tiers if t not in known.logits), []).append(row)
        for lacking, some in rows.items():
            if lacking:
                yield some, {tier: tiers[tier] for tier in lacking}

    def keep(self, images: Sequence[Labelled], scored: Scored) -> None:
        """Remember scores of images, in their order."""
        columns = {tier: values.tolist() for tier, values in scored.logits.items()}
        measured = {tier: values.tolist() for tier, values in scored.face_sizes.items()}
        for row, (image, size) in enumerate(zip(images, scored.sizes.tolist(), strict=True)):
            known = self._files.setdefault(image.path, _Known((size[0], size[1]), {}, {}, None))
            known.logits |= {tier: values[row] for tier, values in columns.items()}
            known.face_sizes |= {tier: values[row] for tier, values in measured.items()}
            known.failure = scored.failures.get(row, known.failure)

    def recall(self, images: Sequence[Labelled], tiers: Mapping[str, Degradation]) -> Scored:
        """The scores of images that are all known, in their order."""
        files = [self._files[image.path] for image in images]
        failures = {
            row: known.failure for row, known in enumerate(files) if known.failure is not None
        }
        logits = {
            tier: np.array([file.logits.get(tier, np.nan) for file in files], np.float32)
            for tier in tiers
        }
        face_sizes = {
            tier: np.array([file.face_sizes.get(tier, np.nan) for file in files], np.float32)
            for tier in tiers
        }
        for values in logits.values():
            values[list(failures)] = np.nan
        sizes = np.array([file.size for file in files]).reshape(-1, 2)
        return Scored(logits, failures, sizes, face_sizes)

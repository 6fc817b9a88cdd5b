"""The images of training: endless augmented batches with their targets."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from deepfake_core.augment import augment
from deepfake_core.dataset import Labelled, is_fake
from deepfake_core.errors import SourceError
from deepfake_core.images import load
from deepfake_core.recipe import TrainConfig
from deepfake_core.records import Failure, Float32Array, UInt8Array

if TYPE_CHECKING:
    import openvino as ov


class Teachers:
    """ONNX or OpenVINO classifiers whose mean logit, over mirrored images too, is taught."""

    def __init__(self, paths: list[Path], *, precision: str = "bf16") -> None:
        """Read models from float32[N, S, S, 3] (RGB, 0 to 255) to [N, 2] = real, fake."""
        import openvino as ov

        core = ov.Core()
        options = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1}
        self.compiled: list[ov.CompiledModel] = [
            core.compile_model(core.read_model(path), "CPU", options) for path in paths
        ]

    def logits(self, pixels: np.ndarray) -> Float32Array:
        """The mean logit of float32[N, S, S, 3]: float32[N], positive means fake."""
        total = np.zeros(len(pixels), np.float32)
        for compiled in self.compiled:
            for view in (pixels, pixels[:, :, ::-1]):
                outputs = compiled([np.ascontiguousarray(view)])[0]
                total += outputs[:, 1] - outputs[:, 0]
        return total / np.float32(max(1, 2 * len(self.compiled)))


def targets_of(
    config: TrainConfig, shares: Float32Array, known: np.ndarray, teacher: Float32Array | None
) -> Float32Array:
    """Pack labels (share of fake in [0, 1]) and the teachers' logits as the loss reads them."""
    weight = config.teacher_weight if teacher is not None else 0.0
    targets = np.zeros((len(shares), 4), np.float32)
    label_weight = np.where(known, 1.0 - weight, 0.0)
    targets[:, 0], targets[:, 1] = shares * label_weight, (1 - shares) * label_weight
    if teacher is not None:
        opinion = 1.0 / (1.0 + np.exp(-teacher / config.temperature))
        teacher_weight = np.where(known, weight, 1.0)
        targets[:, 2], targets[:, 3] = opinion * teacher_weight, (1 - opinion) * teacher_weight
    return targets


class Stream:
    """Endless augmented batches; batch number n is the same whenever it is asked for."""

    def __init__(
        self,
        config: TrainConfig,
        labelled: list[Labelled],
        unlabelled: list[Labelled],
        teachers: Teachers,
    ) -> None:
        self.config, self.teachers = config, teachers
        self.labelled, self.unlabelled = labelled, unlabelled
        self.fake = [image for image in labelled if image.fake]
        self.real = [image for image in labelled if not image.fake]

    def batches(self, start: int) -> Iterator[tuple[np.ndarray, Float32Array]]:
        """All batches from a number on; the next is made while the last is trained on."""
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(self.batch, start)
            for number in range(start + 1, 2**62):
                ready, coming = coming.result(), ahead.submit(self.batch, number)
                yield ready

    def batch(self, number: int) -> tuple[np.ndarray, Float32Array]:
        """Batch `number`: float32[N, crop, crop, 3] in 0 to 255, and targets float32[N, 4]."""
        config, rng = self.config, np.random.default_rng((self.config.seed, number))
        count = config.batch_size
        unknown = int(count * config.unlabelled_share) if self.unlabelled else 0
        # Half of the labelled images of a batch are fake, whatever the classes' sizes are.
        chosen = [self.fake[i] for i in rng.integers(len(self.fake), size=(count - unknown) // 2)]
        missing = count - unknown - len(chosen)
        chosen += [self.real[i] for i in rng.integers(len(self.real), size=missing)]
        chosen += [self.unlabelled[i] for i in rng.integers(len(self.unlabelled), size=unknown)]
        pixels = np.stack([self._pixels(image, rng) for image in chosen]).astype(np.float32)
        shares = is_fake(chosen).astype(np.float32)
        known = np.arange(count) < count - unknown
        if rng.random() < config.mixed_share:
            order, part = rng.permutation(count), np.float32(rng.beta(1.0, 1.0))
            pixels = part * pixels + (1 - part) * pixels[order]
            shares = part * shares + (1 - part) * shares[order]
            known = known & known[order]
        opinion = self.teachers.logits(pixels) if self.teachers.compiled else None
        left, top = rng.integers(config.size - config.crop + 1, size=2)
        cropped = pixels[:, top : top + config.crop, left : left + config.crop]
        return cropped, targets_of(config, shares, known, opinion)

    def _pixels(self, image: Labelled, rng: np.random.Generator) -> UInt8Array:
        loaded = load(image.path.read_bytes(), size=self.config.size)
        if isinstance(loaded, Failure):
            raise SourceError(f"{image.path}: {loaded.code}; remove the file")
        upright: Image.Image = loaded.image
        return augment(upright, size=self.config.size, rng=rng)

"""Fit the network: first its head on a frozen backbone, then all of it, with or without teachers.

The loss is categorical cross-entropy with the labels and, where teachers are given, with their
mean opinion at a temperature (Hinton et al. 2015) on the same augmented, and at times mixed
(Zhang et al. 2018), pixels: a consistent teacher (Beyer et al. 2022). Unlabelled images can
take part through the teachers alone.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from deepfake_core.architectures import Architecture, build_keras, keras_weights, set_keras_weights
from deepfake_core.augment import augment
from deepfake_core.dataset import Labelled, is_fake, read_pixels
from deepfake_core.errors import SourceError
from deepfake_core.images import load
from deepfake_core.records import Failure, Float32Array, Json, UInt8Array

if TYPE_CHECKING:
    import keras
    import openvino as ov

STATE_EVERY = 200


class TrainConfig(BaseModel):
    """The recipe; saved with the bundle it made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Architecture = Field(Architecture(), description="The network's shape.")
    size: int = Field(128, ge=32, description="Side of the input in pixels.")
    crop: int = Field(112, ge=32, description="Side of the random crops trained on, at most size.")
    frozen: tuple[str, ...] = Field(
        ("conv1", "conv2"),
        description="Layers that keep their weights, by the start of their name.",
    )
    frozen_norms: bool = Field(
        True, description="Whether the backbone's batch normalisation keeps its statistics."
    )
    mean: float = Field(127.5, description="Subtracted from the pixels.")
    scale: float = Field(64.0, gt=0, description="What the centred pixels are divided by.")
    seed: int = Field(0, description="Seed of every random choice.")
    batch_size: int = Field(32, ge=2, description="Images in a step.")
    head_epochs: int = Field(8, ge=0, description="Epochs of the head on a frozen backbone.")
    head_rate: float = Field(1e-3, gt=0, description="Learning rate of Adam for the head.")
    steps: int = Field(3000, ge=0, description="Steps in which the whole network is trained.")
    rate: float = Field(3e-4, gt=0, description="Peak learning rate of AdamW for the network.")
    warmup: int = Field(200, ge=0, description="Steps in which the rate rises to its peak.")
    weight_decay: float = Field(0.02, ge=0, description="Decoupled weight decay.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropped share after dense layers.")
    teacher_weight: float = Field(0.6, ge=0, le=1, description="Weight of the teachers.")
    temperature: float = Field(2.0, gt=0, description="Temperature of the teachers' opinion.")
    mixed_share: float = Field(0.4, ge=0, le=1, description="Share of batches that are mixed.")
    unlabelled_share: float = Field(0.2, ge=0, lt=1, description="Unlabelled part of a batch.")
    precision: str = Field("mixed_bfloat16", description="Keras' dtype policy in training.")


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


def fit(
    config: TrainConfig,
    labelled: list[Labelled],
    *,
    work: Path,
    backbone: Path | None = None,
    teachers: list[Path] | None = None,
    unlabelled: list[Labelled] | None = None,
) -> keras.Model:
    """Train a network; a killed training continues from its last saved state.

    Args:
        config: the recipe.
        labelled: the images to learn from.
        work: folder for the saved state and the log, outside the repository.
        backbone: Keras weights of ResNet50 without its top, or none.
        teachers: models to distil, see `Teachers`.
        unlabelled: images of which only the teachers' opinion is used.

    Returns:
        The trained model, in float32.
    """
    import keras

    keras.utils.set_random_seed(config.seed)
    keras.mixed_precision.set_global_policy(config.precision)
    work.mkdir(parents=True, exist_ok=True)
    taught = Teachers(teachers or [])
    state = work / "state.npz"
    if not state.exists():
        whole = _build(config, config.size)
        if backbone is not None:
            start = keras.applications.ResNet50(
                include_top=False, weights=str(backbone), input_shape=(config.size, config.size, 3)
            )
            set_keras_weights(whole, {**keras_weights(whole), **keras_weights(start)})
        _fit_head(whole, config, labelled, taught)
        _save_state(state, whole, step=0)
    model = _build(config, config.crop)
    _freeze(model, config)
    step = _load_state(state, model)
    _fit_all(model, config, _Stream(config, labelled, unlabelled or [], taught), work, step)
    keras.mixed_precision.set_global_policy("float32")
    trained = _build(config, config.size)
    set_keras_weights(trained, keras_weights(model))
    return trained


def _freeze(model: keras.Model, config: TrainConfig) -> None:
    for layer in model.layers:
        is_norm = config.frozen_norms and layer.name.endswith("_bn")
        if is_norm or layer.name.startswith(config.frozen):
            layer.trainable = False


def _build(config: TrainConfig, size: int) -> keras.Model:
    return build_keras(
        config.architecture,
        size=size,
        mean=config.mean,
        scale=config.scale,
        dropout=config.dropout,
    )


def _loss(config: TrainConfig) -> object:
    """Cross-entropy with targets [N, 4]: labels (all zero where unknown), then teachers."""
    import keras

    def loss(targets: object, outputs: object) -> object:
        labels, opinions = targets[:, :2], targets[:, 2:]  # type: ignore[index]
        cold = keras.ops.log_softmax(outputs)
        warm = keras.ops.log_softmax(outputs / config.temperature)  # type: ignore[operator]
        by_label = -keras.ops.sum(labels * cold, axis=1)
        by_teacher = -keras.ops.sum(opinions * warm, axis=1) * config.temperature**2
        return by_label + by_teacher

    return loss


def _targets(
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


def _fit_head(
    model: keras.Model, config: TrainConfig, labelled: list[Labelled], teachers: Teachers
) -> None:
    """Train what comes after the backbone on its features, computed once."""
    import keras

    if config.architecture.kind != "resnet50" or not config.head_epochs:
        return
    features = keras.Model(model.input, model.get_layer("conv5_block3_out").output)
    pixels = read_pixels(labelled, size=config.size)
    pixels = np.concatenate([pixels, pixels[:, :, ::-1]])
    shares = np.tile(is_fake(labelled).astype(np.float32), 2)
    known = np.ones(len(shares), bool)
    batches = [pixels[at : at + 64].astype(np.float32) for at in range(0, len(pixels), 64)]
    inputs = np.concatenate(
        [features.predict_on_batch(batch).astype(np.float16) for batch in batches]
    )
    opinion = None
    if teachers.compiled:
        opinion = np.concatenate([teachers.logits(batch) for batch in batches])
    head = keras.Model(model.get_layer("conv5_block3_out").output, model.output)
    head.compile(keras.optimizers.Adam(config.head_rate), loss=_loss(config))
    targets = _targets(config, shares, known, opinion)
    head.fit(inputs, targets, batch_size=64, epochs=config.head_epochs, verbose=2)


def _fit_all(
    model: keras.Model, config: TrainConfig, stream: _Stream, work: Path, start: int
) -> None:
    """Train every layer; the learning rate rises, then falls along a cosine to zero."""
    import keras

    optimizer = keras.optimizers.AdamW(config.rate, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(optimizer, loss=_loss(config), jit_compile=False)
    began, losses = time.monotonic(), []
    for step, (pixels, targets) in enumerate(stream.batches(start), start=start):
        if step >= config.steps:
            break
        optimizer.learning_rate.assign(rate_at(step, config))
        losses.append(float(model.train_on_batch(pixels, targets)))
        if (step + 1) % STATE_EVERY == 0 or step + 1 == config.steps:
            _save_state(work / "state.npz", model, step=step + 1)
            with (work / "log.csv").open("a") as log:
                seconds = round(time.monotonic() - began)
                csv.writer(log).writerow([step + 1, seconds, round(float(np.mean(losses)), 5)])
            losses = []


def rate_at(step: int, config: TrainConfig) -> float:
    """The learning rate of a step: linear warm-up, then half a cosine to zero."""
    if step < config.warmup:
        return config.rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class _Stream:
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
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(self.batch, start)
            for number in range(start + 1, 2**62):
                ready, coming = coming.result(), ahead.submit(self.batch, number)
                yield ready

    def batch(self, number: int) -> tuple[np.ndarray, Float32Array]:
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
        return cropped, _targets(config, shares, known, opinion)

    def _pixels(self, image: Labelled, rng: np.random.Generator) -> UInt8Array:
        loaded = load(image.path.read_bytes(), size=self.config.size)
        if isinstance(loaded, Failure):
            raise SourceError(f"{image.path}: {loaded.code}; remove the file")
        upright: Image.Image = loaded.image
        return augment(upright, size=self.config.size, rng=rng)


def _save_state(path: Path, model: keras.Model, *, step: int) -> None:
    beside = path.with_suffix(".writing.npz")
    arrays: Json = {"step": np.int64(step), **keras_weights(model)}
    np.savez(beside, **arrays)
    beside.replace(path)


def _load_state(path: Path, model: keras.Model) -> int:
    with np.load(path) as saved:
        set_keras_weights(model, saved)
        return int(saved["step"])

"""The recipe that a network is trained by."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from deepfake_core.models.architecture import Architecture
from deepfake_core.models.onnx_spec import OnnxSpec


class TrainConfig(BaseModel):
    """The recipe; saved with the bundle it made. Without options: Adam from random weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Architecture = Field(Architecture(), description="The network's shape.")
    start: str = Field(
        "none",
        min_length=1,
        description="The weights to start from: none, imagenet (fetched by Keras), a file "
        "(.weights.h5, .h5, .keras, .npz), or NAME[@VERSION] of the registry, head included.",
    )
    start_inputs: Literal["own", "imagenet"] = Field(
        "own",
        description="What a file of weights expects: pixels scaled by mean and scale as here, or "
        "as Keras' ImageNet weights of ResNet50 do.",
    )
    size: int = Field(128, ge=32, description="Side of the input in pixels.")
    crop: int = Field(128, ge=32, description="Side of the random crops trained on, at most size.")
    frozen: tuple[str, ...] = Field(
        (), description="Layers that keep their weights, by the start of their name."
    )
    frozen_norms: bool = Field(
        False, description="Whether the backbone's batch normalisation keeps its statistics."
    )
    faces: Literal["find", "frame"] = Field(
        "frame",
        description="find: the network sees faces that were found and aligned; frame: whole "
        "pictures.",
    )
    mean: float = Field(127.5, description="Subtracted from the pixels.")
    scale: float = Field(64.0, gt=0, description="What the centred pixels are divided by.")
    seed: int = Field(0, ge=0, description="Seed of every random choice.")
    batch_size: int = Field(32, ge=2, description="Images in a step.")
    head_epochs: int = Field(
        8, ge=0, description="Epochs of a new head on a backbone that starts with weights."
    )
    head_rate: float = Field(1e-3, gt=0, description="Learning rate of Adam for the head.")
    head_images: int = Field(
        4096, ge=2, description="At most so many images, and as many mirrored, train the new head."
    )
    steps: int = Field(3000, ge=0, description="Steps in which the whole network is trained.")
    epochs: float = Field(
        0.0, ge=0, description="Rounds through the labelled images in place of steps; 0: steps."
    )
    optimiser: Literal["adam", "adamw"] = Field("adam", description="What changes the weights.")
    rate: float = Field(1e-3, gt=0, description="Peak learning rate for the whole network.")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="Whether the learning rate falls to zero after its peak, or stays."
    )
    warmup: int = Field(200, ge=0, description="Steps in which the rate rises to its peak.")
    weight_decay: float = Field(0.02, ge=0, description="Decoupled weight decay; of AdamW only.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropped share after dense layers.")
    group_balanced: bool = Field(
        False, description="Whether groups of people are drawn alike often within each class."
    )
    teacher_weight: float = Field(0.6, ge=0, le=1, description="Weight of the teachers.")
    temperature: float = Field(2.0, gt=0, description="Temperature of the teachers' opinion.")
    teacher_format: OnnxSpec = Field(
        OnnxSpec(), description="What the teachers' files do not say of themselves."
    )
    mixed_share: float = Field(0.0, ge=0, le=1, description="Share of batches that are mixed.")
    unlabelled_share: float = Field(0.2, ge=0, lt=1, description="Unlabelled part of a batch.")
    average_momentum: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Momentum of a moving average of the weights that is the result; 0: none.",
    )
    start_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the start in the average of weights that is the result "
        "(Wortsman et al. 2022).",
    )
    validate_every: int = Field(
        200, ge=1, description="Steps between two validations; each saves the state."
    )
    validation_images: int = Field(
        2000, ge=2, description="At most so many images choose the best weights."
    )
    patience: int = Field(
        0, ge=0, description="Validations without a better AUC after which training ends; 0: never."
    )
    precision: Literal["float32", "mixed_bfloat16"] = Field(
        "float32", description="Keras' dtype policy in training."
    )

    def steps_for(self, images: int) -> int:
        """How many steps are trained on a number of labelled images."""
        return math.ceil(self.epochs * images / self.batch_size) if self.epochs else self.steps


def warmup_line(config: TrainConfig, steps: int) -> str:
    """Says that a training ends before its learning rate has risen."""
    reached = rate_at(steps - 1, config, steps)
    return (
        f"note: the learning rate rises over {config.warmup} steps and the training has {steps}: "
        f"it reaches {reached:.2g} of {config.rate:g}; set a smaller warmup, or train longer"
    )


def rate_at(step: int, config: TrainConfig, steps: int) -> float:
    """The learning rate of a step of so many: linear warm-up, then the schedule."""
    if step < config.warmup:
        return config.rate * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.rate
    done = (step - config.warmup) / max(1, steps - config.warmup)
    return config.rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

"""The recipe that a network is trained by."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from deepfake_core.architectures import Architecture


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
    start_share: float = Field(
        0.75,
        ge=0,
        le=1,
        description="Share of the start's backbone in the average of weights that is the result "
        "(Wortsman et al. 2022); 0 where training starts from nothing.",
    )
    precision: str = Field("mixed_bfloat16", description="Keras' dtype policy in training.")

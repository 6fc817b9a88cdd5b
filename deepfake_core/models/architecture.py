"""The shape of a network, and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

Weights = Mapping[str, np.ndarray]


class Architecture(BaseModel):
    """The shape of a network; saved in its bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["resnet50", "plain_cnn"] = Field(
        "resnet50", description="ResNet50 backbone, or the plain CNN that is the baseline."
    )
    filters: int = Field(8, ge=1, description="Filters of the 3x3 convolution on the backbone.")
    dense: tuple[int, ...] = Field(
        (512, 512), description="Units of the dense layers, each with batch normalisation."
    )
    plain_filters: tuple[int, ...] = Field(
        (32, 64, 128, 128), description="Filters of the plain CNN's convolutions."
    )

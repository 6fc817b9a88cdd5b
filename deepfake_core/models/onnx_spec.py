"""What an ONNX file does not say of itself."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

Triple = tuple[float, float, float]
Layout = Literal["NHWC", "NCHW"]


class OnnxSpec(BaseModel):
    """What an ONNX file does not say of itself; saved in the bundle of an imported network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int | None = Field(
        None, ge=16, le=1024, description="Side of the input in pixels; none: as the file says."
    )
    colours: Literal["RGB", "BGR"] = Field("RGB", description="Order of the colour channels.")
    mean: Triple = Field(
        (0.0, 0.0, 0.0),
        description="Subtracted from the pixels, 0 to 255, channel by channel in the network's "
        "order of colours.",
    )
    scale: Triple = Field(
        (1.0, 1.0, 1.0), description="What the centred pixels are divided by, likewise."
    )
    layout: Literal["auto", "NHWC", "NCHW"] = Field(
        "auto", description="Order of the input's axes; auto looks for the axis of length three."
    )
    fake_output: Literal[0, 1] = Field(0, description="Of two outputs, the one that means fake.")
    positive: Literal["fake", "real"] = Field(
        "fake", description="What a high value means where there is one output."
    )
    output_kind: Literal["auto", "logit", "probability"] = Field(
        "auto", description="Whether the outputs are logits or probabilities."
    )

    @model_validator(mode="after")
    def _scaled_by_something(self) -> OnnxSpec:
        if not np.isfinite([*self.mean, *self.scale]).all() or 0 in self.scale:
            raise ValueError("mean and scale must be numbers, and scale not 0")
        return self

"""What is evaluated, and how; the descriptions appear in ``--help``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from deepfake_core.datasets.reading import PLAIN, Reading


class EvaluateConfig(BaseModel):
    """What is evaluated, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sets: tuple[str, ...] = Field((), description="Sets to evaluate; all but train without any.")
    one_class: tuple[str, ...] = Field(
        (), description="Sets whose classes differ in more than the label: each class alone."
    )
    trained_sources: tuple[str, ...] = Field(
        (), description="Sources of fakes that the model was trained on, if the bundle is silent."
    )
    reading: Reading = Field(PLAIN, description="What names in the labelled folder mean.")
    leave_one_out: bool = Field(False, description="Estimate the accuracy on a new generator.")
    tiers: bool = Field(True, description="Whether the degraded tiers are measured too.")
    one_class_tiers: bool = Field(
        False, description="Whether they are measured where each class is judged alone, too."
    )
    explanations: int = Field(
        0,
        ge=0,
        description="How many fakes of the set to quote are explained, to count how often the "
        "area that an explanation names matters more than others.",
    )
    precision: str = Field("fp32", description="auto, fp32, bf16 or int8.")

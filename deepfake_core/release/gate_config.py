"""What a candidate must reach to become current."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from deepfake_core.images.degradations import TIERS


class Margins(BaseModel):
    """How much worse than the current model a candidate may be, as differences of shares.

    What is judged is an end of the difference's interval, not the difference itself: on all
    images and on groups of people the unfavourable one, so that a candidate passes only if the
    images show that it is not worse than this; on families the favourable one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    auc: float = Field(ge=0, le=1, description="Allowed loss of AUC.")
    found: float = Field(
        ge=0, le=1, description="Allowed loss of fakes found where 1 % of the reals are flagged."
    )


class PartMargins(Margins):
    """The same for a part of the images; the line that 1 % exceed is that of all reals."""

    alarms: float = Field(
        ge=0, le=1, description="Allowed rise of the part's reals over the line that 1 % of all "
        "reals exceed."
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What a candidate's own labels must keep to; None: not tested.

    Attributes:
        alarms: largest share of reals labelled fake.
        misses: largest share of fakes labelled real.
    """

    alarms: float | None
    misses: float | None


class GateConfig(BaseModel):
    """The tests that a candidate must pass to become current."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_auc: float = Field(0.9, ge=0, le=1, description="Least AUC on images as they are.")
    min_tpr_at_1_percent_fpr: float = Field(
        0.5, ge=0, le=1, description="Least share of fakes found at 1 % false alarms."
    )
    max_fpr_at_fake: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Largest share of reals labelled fake. Twice the 1 % that the thresholds are "
        "chosen for, because a few hundred photographs do not tell the two apart.",
    )
    max_fpr_at_fake_degraded: float = Field(
        0.05, ge=0, le=1, description="The same on each tier of degraded images."
    )
    max_fakes_called_real: float = Field(
        0.04,
        ge=0,
        le=1,
        description="Largest share of fakes labelled real by a model that judges faces, on every "
        "tier: twice what its thresholds are chosen for.",
    )
    max_fakes_called_real_in_pictures: float = Field(
        0.16,
        ge=0,
        le=1,
        description="The same for a model that judges whole pictures, as they are.",
    )
    clean: Margins = Field(
        Margins(auc=0.01, found=0.05),
        description="Allowed losses against the current model on images as they are.",
    )
    degraded: Margins = Field(
        Margins(auc=0.02, found=0.1),
        description="Allowed losses on each tier of degraded images.",
    )
    tiers: dict[str, Margins] = Field(
        default_factory=dict,
        description="Allowed losses of single tiers, by name, in place of those of `degraded`.",
    )
    families: PartMargins = Field(
        PartMargins(auc=0.02, found=0.05, alarms=0.02),
        description="Changes for the worse on a source that the data's manifest names, beyond "
        "which a candidate is refused where they are sure.",
    )
    min_family_images: int = Field(
        20, ge=2, description="Sources with fewer images are not judged by themselves."
    )
    people: PartMargins = Field(
        PartMargins(auc=0.03, found=0.1, alarms=0.05),
        description="Allowed losses on each group of people that the data's manifest names.",
    )
    min_group_images: int = Field(
        50, ge=2, description="Groups of people with fewer images of a class are not judged."
    )
    corrected: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Allowed rise of the share that is labelled wrongly among images that people "
        "corrected.",
    )
    min_corrected: int = Field(
        20, ge=2, description="Fewer images that people corrected are counted, not judged."
    )
    confidence: float = Field(
        0.95,
        ge=0.5,
        lt=1,
        description="One-sided confidence of the intervals of differences.",
    )
    resamples: int = Field(1000, ge=100, description="Bootstrap samples of whole groups.")
    require_shortcut_audit: bool = Field(
        True,
        description="Whether the training data must have passed the audit for shortcuts such as "
        "a file format that gives the label away.",
    )

    @field_validator("tiers")
    @classmethod
    def _known(cls, tiers: dict[str, Margins]) -> dict[str, Margins]:
        unknown = sorted(set(tiers) - set(TIERS))
        if unknown:
            raise ValueError(f"no tier {', '.join(unknown)}; there are: {', '.join(TIERS)}")
        return tiers

    def margins(self, tier: str) -> Margins:
        """The allowed losses of a tier."""
        return self.tiers.get(tier, self.clean if tier == "clean" else self.degraded)

    def limits(self, tier: str, faces: Literal["find", "frame"]) -> Limits:
        """What the labels of a candidate that judges faces, or whole pictures, must keep to."""
        clean = tier == "clean"
        misses = self.max_fakes_called_real_in_pictures if clean else None
        return Limits(
            alarms=self.max_fpr_at_fake if clean else self.max_fpr_at_fake_degraded,
            misses=self.max_fakes_called_real if faces == "find" else misses,
        )

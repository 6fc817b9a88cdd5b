"""A policy: where ``fake`` begins by a user's own photographs, for the models they were judged by.

The promise is that of a split conformal bound: of photographs like the ones given, at most the
stated share is flagged, with the stated confidence over the choice of photographs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from deepfake_core.errors import UsageError
from deepfake_core.models.decision import Thresholds, decide
from deepfake_core.records import Float32Array, Label

SecondLookMode = Literal["off", "auto", "all"]


class SizeTier(BaseModel):
    """Pictures whose largest face has a size in this range, and the line that holds for them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    from_size: float = Field(
        ge=0, description="Smallest size in it: the side of the aligned crop in source pixels."
    )
    below_size: float | None = Field(
        gt=0, description="Sizes from this on are in the next one; null for no end."
    )
    fake_from: float = Field(gt=0, le=1, description="Scores from this on are fake.")
    photographs: int = Field(ge=1, description="Photographs that the line was derived from.")
    flagged: int = Field(ge=0, description="How many of them the line flags.")


class Policy(BaseModel):
    """The content of a policy file."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    policy_version: Literal[1] = Field(1, description="Version of this format.")
    fpr: float = Field(
        gt=0, lt=1, description="Largest share of photographs that may be flagged by mistake."
    )
    confidence: float = Field(gt=0, lt=1, description="How sure that is, in every tier at once.")
    fake_from: float = Field(
        gt=0, le=1, description="The line where the size of the face is not known."
    )
    tiers: tuple[SizeTier, ...] = Field(min_length=1, description="The lines by size of face.")
    model_id: str = Field(min_length=1, description="The first look that judged them.")
    second_model_id: str | None = Field(None, description="The second look, where there was one.")
    second_look: SecondLookMode = Field("off", description="Which faces were given it.")
    finder_id: str | None = Field(None, description="The finder; null for whole pictures.")
    precision: str | None = Field(None, description="The arithmetic of the first look.")
    photographs: int = Field(ge=1, description="Photographs that were judged.")
    made: str = Field("", description="When it was made, UTC.")

    @model_validator(mode="after")
    def _without_gaps(self) -> Policy:
        """Every size of a face must have exactly one line."""
        ends = [0.0, *(tier.below_size for tier in self.tiers)]
        starts: list[float | None] = [tier.from_size for tier in self.tiers]
        if ends != [*starts, None]:
            raise ValueError("the tiers must follow one another, from size 0 to an open end")
        if self.fake_from < max(tier.fake_from for tier in self.tiers):
            raise ValueError("fake_from must not lie below the line of a tier")
        return self

    def line(self, size: float | None) -> float:
        """The score from which on a picture is fake.

        Args:
            size: of the largest face that was judged in it; None where that is unknown.
        """
        if size is None:
            return self.fake_from
        return next(
            tier.fake_from
            for tier in self.tiers
            if tier.below_size is None or size < tier.below_size
        )

    @property
    def digest(self) -> str:
        """sha256 of what the policy decides and for whom; goes into a run's fingerprint."""
        return hashlib.sha256(self.model_dump_json(exclude={"made"}).encode()).hexdigest()


def decide_by_policy(
    scores: Float32Array,
    thresholds: Thresholds,
    *,
    policy: Policy,
    sizes: npt.NDArray[np.float32],
) -> list[Label]:
    """The label of each score by a policy, in order.

    The number of a picture's faces needs no allowance here: the photographs of which the policy
    was made had several faces too, and counted with the highest score among them.

    Args:
        scores: float32[N] in [0, 1].
        thresholds: of the bundle.
        policy: says where `fake` begins.
        sizes: float32[N], the largest face that is judged in the picture of each score; NaN
            where that is unknown.
    """
    labels = np.empty(len(scores), object)
    lines = np.array([policy.line(None if math.isnan(size) else size) for size in sizes.tolist()])
    for line in np.unique(lines):
        rows = lines == line
        own = Thresholds(real_below=min(thresholds.real_below, line), fake_from=line)
        labels[rows] = decide(scores[rows], own)
    return list(labels)


def parse_policy(data: bytes, address: str) -> Policy:
    """Read a policy file.

    Args:
        data: its bytes.
        address: where it came from, for the message.

    Raises:
        UsageError: it is not a policy.
    """
    try:
        return Policy.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its content"
        raise UsageError(
            f"{address} is not a policy: {where}: {first['msg']}; "
            "make one with deepfake calibrate --real DIR --fpr 0.01 --to FILE"
        ) from error


def check_made_for(
    policy: Policy,
    *,
    looks: Sequence[str | None],
    finder: str | None,
    second_look: SecondLookMode = "off",
) -> None:
    """Refuse a policy whose photographs were judged by other models than a scan would use.

    Args:
        policy: what was given.
        looks: the model ids of the first and of the second look; None for no second one.
        finder: the id of the finder; None where whole pictures are judged.
        second_look: which faces are given a second look.

    Raises:
        UsageError: they differ; the message names which.
    """
    first, second = looks
    for name, made_with, now in (
        ("first look", policy.model_id, first),
        ("second look", policy.second_model_id, second),
        ("finder", policy.finder_id, finder),
        ("--second-look", policy.second_look, second_look),
    ):
        if made_with != now:
            raise UsageError(
                f"the policy was made with the {name} {made_with or 'none'}, this scan uses "
                f"{now or 'none'}; make a policy for it with deepfake calibrate, or scan with the "
                "models that the policy names"
            )

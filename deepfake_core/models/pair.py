"""A pair: how a first look and a second one work together, and what was measured of both."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from deepfake_core.errors import ModelError
from deepfake_core.models.bundle import Curve, Precision
from deepfake_core.records import Json


class Share(BaseModel):
    """A share that was counted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int = Field(ge=0, description="Of so many it is true.")
    of: int = Field(ge=0, description="All of them.")
    low: float = Field(ge=0, le=1, description="Lower end of the exact 95 % interval.")
    high: float = Field(ge=0, le=1, description="Upper end.")

    @property
    def share(self) -> float | None:
        """In 0 to 1; None where there were none."""
        return self.count / self.of if self.of else None


class PairFigures(BaseModel):
    """What was measured of a pair on faces that chose nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first_auc: float = Field(description="AUC of the first look alone.")
    reals_sent_on: Share = Field(description="Photographs that the first look does not clear.")
    fakes_lost: Share = Field(description="Fakes that it keeps from the second look.")
    sent_on: dict[str, Share] = Field(description="What goes on, by family.")
    auto: dict[str, Json] = Field(
        description="By set of faces, as a bundle's figures are: what both say where the first "
        "look chooses who goes on; the set `report` is all of them."
    )
    all: dict[str, Json] = Field(description="The same where every face is given both looks.")

    def judged(self, *, all_looked_twice: bool) -> dict[str, Json]:
        """Figures by set of faces, for one of the ways in which the second look is used."""
        return self.all if all_looked_twice else self.auto


class Pair(BaseModel):
    """How two looks work together.

    Its scores mean the same share of fakes as those of the first look alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: str = Field(pattern=r"^[0-9a-f]{64}$", description="Hash of the first look's bundle.")
    first_model_id: str = Field(description="The first look, for people.")
    second: str = Field(pattern=r"^[0-9a-f]{64}$", description="Hash of the second look.")
    line: float = Field(
        ge=0,
        le=1,
        description="First scores from this on are sent on; calibrated, so that it "
        "holds at each precision of the first look.",
    )
    curves: dict[Precision, Curve] = Field(
        min_length=1,
        description="By the second look's precision: the score of a face that both judged, and "
        "from score to label where faces are sent on.",
    )
    figures: Mapping[Precision, PairFigures] = Field(
        default_factory=dict, description="What was measured, by the second look's precision."
    )

    @property
    def digest(self) -> str:
        """sha256 of its content: what a run's record names, for another pair judges otherwise."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def curve(self, precision: Precision) -> Curve:
        """Calibration of both logits, and thresholds, at a precision of the second look.

        Raises:
            ModelError: the pair was not made at this precision.
        """
        if precision not in self.curves:
            raise ModelError(
                f"{self.first_model_id} and its second look were paired at "
                f"{' and '.join(self.curves)}, not at {precision}; pair them again"
            )
        return self.curves[precision]

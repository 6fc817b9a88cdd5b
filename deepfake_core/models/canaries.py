"""Known pictures with the answers that a network gave when it was released.

The answers lie beside the network, in ``canaries.json``, and name it by its hash; its own hash does
not cover them, so that a network which is known by it can be given answers later. The pictures are
the same for all networks and lie once, in ``canaries/`` of the registry that ships.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deepfake_core.errors import ModelError
from deepfake_core.models.bundle import CANARIES_FILE, Precision
from deepfake_core.models.hashed_folder import FileName, read_described, write_described
from deepfake_core.models.registry import DEFAULT_REGISTRY

PICTURES = DEFAULT_REGISTRY / "canaries"

# x, y, width and height of the box and the side of the aligned square, in pixels of the picture.
Place = Annotated[tuple[float, ...], Field(min_length=5, max_length=5)]


@dataclass(frozen=True, slots=True)
class Setting:
    """What answers depend on, beside the networks.

    Attributes:
        precision: arithmetic of the network that judges.
        finder_precision: that of the finder; None where whole pictures are judged.
    """

    precision: Precision
    finder_precision: Precision | None


class Answers(BaseModel):
    """What the networks said of the pictures in one setting, in their order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    precision: Precision = Field(description="Arithmetic of the network that judges.")
    finder_precision: Precision | None = Field(
        None, description="That of the finder; null where whole pictures are judged."
    )
    places: tuple[Place, ...] = Field(
        (), description="Where the face that is judged is; empty where pictures are judged whole."
    )
    logits: tuple[float, ...] = Field(description="Of each picture's face; positive means fake.")


class Canaries(BaseModel):
    """The content of ``canaries.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str = Field(description="sha256 of the description of the network that judges.")
    finder: str | None = Field(None, description="The finder whose faces it judged.")
    pictures: dict[FileName, str] = Field(min_length=1, description="sha256 by name, in order.")
    answers: tuple[Answers, ...] = Field(description="By setting.")

    @model_validator(mode="after")
    def _one_for_each_picture(self) -> Canaries:
        for answer in self.answers:
            placed = len(answer.places) if answer.finder_precision else len(self.pictures)
            if {len(answer.logits), placed} != {len(self.pictures)}:
                raise ValueError(f"the answers at {answer.precision} are not one for each picture")
        return self

    def of(self, setting: Setting) -> Answers | None:
        """The answers in a setting; None where none were recorded."""
        for answer in self.answers:
            if (answer.precision, answer.finder_precision) == (
                setting.precision,
                setting.finder_precision,
            ):
                return answer
        return None


class CanaryDrift(BaseModel):
    """A known picture that a network answered otherwise than when it was released."""

    model_config = ConfigDict(extra="allow", frozen=True)

    network: str = Field(description="``name@version+hash8`` of the finder or of a look.")
    picture: str = Field(description="Name of the picture.")
    apart: float | None = Field(
        description="How far apart the answers are: of a look in log-odds of the score, of the "
        "finder in sizes of the face; null where it gave no number."
    )
    tolerance: float | None = Field(description="How far apart they may be; null likewise.")
    words: str = Field(description="The same for people.")


class CanaryCheck(BaseModel):
    """What became of the known pictures.

    A run is suspect where a network drifted; a network without canaries is not among `checked`.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    checked: tuple[str, ...] = Field((), description="The networks that were asked.")
    drifts: tuple[CanaryDrift, ...] = Field((), description="Answers beyond their tolerance.")

    @property
    def suspect(self) -> bool:
        """Whether a network answered otherwise than it should."""
        return bool(self.drifts)


def join_checks(checks: Sequence[CanaryCheck]) -> CanaryCheck:
    """All that was asked and found, each thing once."""
    return CanaryCheck(
        checked=tuple(dict.fromkeys(name for check in checks for name in check.checked)),
        drifts=tuple(dict.fromkeys(drift for check in checks for drift in check.drifts)),
    )


def read_canaries(folder: Path, digest: str) -> Canaries | None:
    """The answers of a network; None where there are none, or only those of another one.

    Args:
        folder: of the network.
        digest: sha256 of its description.

    Raises:
        ModelError: they cannot be read.
    """
    path = folder / CANARIES_FILE
    if not path.exists():
        return None
    canaries, _ = read_described(path, Canaries, "list of answers")
    return canaries if canaries.network == digest else None


def write_canaries(folder: Path, canaries: Canaries) -> None:
    """Put answers beside their network."""
    write_described(folder / CANARIES_FILE, canaries)


def read_pictures(canaries: Canaries, folder: Path = PICTURES) -> list[bytes] | None:
    """The bytes of the pictures, in order; None where one of them is not there.

    Raises:
        ModelError: one of them has other bytes.
    """
    contents = []
    for name, expected in canaries.pictures.items():
        path = folder / name
        if not path.is_file():
            return None
        contents.append(path.read_bytes())
        if hashlib.sha256(contents[-1]).hexdigest() != expected:
            raise ModelError(f"{path} is not the picture that was answered; restore it")
    return contents


def known_pictures(kind: Literal["all", "clean"], folder: Path = PICTURES) -> dict[str, bytes]:
    """The pictures that ship, by name: all, or without the degraded ones."""
    paths = sorted(folder.glob("*.jpg"))
    wanted = [path for path in paths if kind == "all" or not path.stem.endswith("-degraded")]
    return {path.name: path.read_bytes() for path in wanted}

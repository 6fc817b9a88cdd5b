"""A second look: a slower, exact network that judges the faces which a first look cannot clear.

Its description lies in a file of another name than a first look's, so that the registry never
offers it as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from deepfake_core.errors import ModelError
from deepfake_core.models.bundle import CANARIES_FILE, Precision
from deepfake_core.models.decision import Calibration
from deepfake_core.models.hashed_folder import (
    FileName,
    HashedFolder,
    file_digests,
    read_described,
    write_described,
)
from deepfake_core.models.pair import Pair
from deepfake_core.models.registry import DEFAULT_REGISTRY
from deepfake_core.models.versions import Kind
from deepfake_core.records import Json

LOOK_FILE = "second_look.json"
# Apart, because a new head is small and the tower never changes.
TOWER_FILE = "tower.npz"
HEAD_FILE = "head.npz"
PAIRS = "pairs"


class ClipShape(BaseModel):
    """The shape of a tower and its head."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(128, ge=8, description="Side of the square input in pixels.")
    enlarged: int = Field(224, ge=8, description="Side that the tower sees, after bicubic.")
    patch: int = Field(16, ge=1, description="Side of a patch in pixels.")
    heads: int = Field(12, ge=1, description="Heads of each attention.")
    blocks: int = Field(12, ge=1, description="Blocks that are computed.")
    read: tuple[int, ...] = Field(
        tuple(range(4, 13)), min_length=1, description="Blocks, from 1, whose tokens the head sees."
    )
    mean: tuple[float, float, float] = Field(
        (0.48145466, 0.4578275, 0.40821073), description="Subtracted from RGB in 0 to 1."
    )
    deviation: tuple[float, float, float] = Field(
        (0.26862954, 0.26130258, 0.27577711), description="What the centred RGB is divided by."
    )

    @model_validator(mode="after")
    def _fits(self) -> ClipShape:
        if self.enlarged % self.patch:
            raise ValueError(f"{self.enlarged} px are not whole patches of {self.patch} px")
        if min(self.read) < 1 or max(self.read) > self.blocks:
            raise ValueError(f"blocks {self.read} are not all among 1 to {self.blocks}")
        return self


class LookDescription(BaseModel):
    """The content of ``second_look.json``; its bytes give the second look's hash."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Name of the model.")
    version: int = Field(ge=1, description="Version of the model.")
    shape: ClipShape = Field(description="Shape of the network; colours and scaling are in it.")
    finder: str = Field(description="The finder and alignment that its faces came from.")
    calibrations: dict[Precision, Calibration] = Field(
        min_length=1, description="From logit to score where it judges alone, by precision."
    )
    precisions: tuple[Precision, ...] = Field(
        ("fp32",), description="Precisions that passed the comparison with fp32."
    )
    processors: str = Field("", description="What they were qualified on.")
    figures: Json = Field(default_factory=dict, description="What was measured, by data set.")
    qualification: Json = Field(default_factory=dict, description="Precisions against fp32.")
    trained_on: str = Field("", description="The images it was trained on, and their terms.")
    origin: str = Field("", description="Where the tower comes from, and its licence.")
    limits: tuple[str, ...] = Field((), description="What it must not be used for.")
    files: dict[FileName, str] = Field(description="sha256 of each file, by name.")


@dataclass(frozen=True, slots=True)
class SecondBundle(HashedFolder[LookDescription]):
    """A second look on disk whose description, ``second_look.json``, was read."""

    def weights(self) -> dict[str, np.ndarray]:
        """The arrays as they are stored (int8, fp16 or fp32), by ``layer/array``.

        Raises:
            ModelError: they are missing, damaged, or not what the hash says.
        """
        return {**self.arrays(TOWER_FILE), **self.arrays(HEAD_FILE)}

    def pair_with(self, first: str) -> Pair | None:
        """How it works with a first look, or None where no pair was made.

        Args:
            first: sha256 of the first look's bundle.

        Raises:
            ModelError: the pair cannot be read, or was made with another second look.
        """
        path = self.folder / PAIRS / f"{first}.json"
        if not path.exists():
            return None
        pair, _ = read_described(path, Pair, "pair of looks")
        if (pair.first, pair.second) != (first, self.digest):
            raise ModelError(f"{path} was made with other models than its name says; make it again")
        return pair


def read_second(folder: Path) -> SecondBundle:
    """Read a second look's description; its weights are not touched.

    Raises:
        ModelError: there is none, or it is not one of a version that is understood here.
    """
    return SecondBundle(folder, *read_described(folder / LOOK_FILE, LookDescription, "second look"))


SECOND = Kind(LOOK_FILE, read_second, "run the gate with deepfake retrain --head")


def find_second(
    reference: str | None = None, registry: Path = DEFAULT_REGISTRY
) -> SecondBundle | None:
    """Find a second look.

    Args:
        reference: ``NAME`` or ``NAME@VERSION``; None takes the only one that is current.
        registry: the folder of models.

    Returns:
        The second look; None where none was named and the registry has none.

    Raises:
        ModelError: there is no such second look, or several are current and none was named.
    """
    if reference is not None:
        return SECOND.find(reference, registry)
    looks = [SECOND.find_current(name, registry) for name in SECOND.known(registry)]
    current = [look for look in looks if look is not None]
    if len(current) > 1:
        names = ", ".join(look.description.name for look in current)
        raise ModelError(f"several second looks are current: {names}; name one")
    return current[0] if current else None


def write_second(folder: Path, description: LookDescription) -> SecondBundle:
    """Hash its files and write ``second_look.json``, last and at once."""
    files = file_digests(folder, but=(LOOK_FILE, CANARIES_FILE))
    write_described(folder / LOOK_FILE, description.model_copy(update={"files": files}))
    return read_second(folder)


def write_pair(look: SecondBundle, pair: Pair) -> Path:
    """Put a pair beside the second look, in place of an earlier one with the same first look."""
    path = look.folder / PAIRS / f"{pair.first}.json"
    path.parent.mkdir(exist_ok=True)
    write_described(path, pair)
    return path

"""A face finder on disk: a network with its origin, licence, canvases and thresholds, by hash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from deepfake_core.models.bundle import Precision
from deepfake_core.models.hashed_folder import FileName, HashedFolder, read_described

FINDER_FILE = "finder.json"
GRAPH_FILE = "finder.xml"
GRAPH_WEIGHTS_FILE = "finder.bin"
LICENCE_FILE = "LICENSE"
DEFAULT_FINDER = Path(__file__).resolve().parents[2] / "models" / "centerface" / "2"

CanvasSide = Annotated[int, Field(multiple_of=32, ge=64)]


class CloserLooks(BaseModel):
    """How a finder looks once more at what one look does not settle."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    finer_canvases: tuple[CanvasSide, ...] = Field(
        min_length=1,
        description="Sides in pixels of the squares that are looked at where the first shows no "
        "clear face, rising.",
    )
    finer_scale: float = Field(
        gt=0,
        description="Pixels of the finer canvas for one of the picture that show the smallest "
        "faces; the smallest canvas that gives them is taken, else the largest.",
    )
    clear_size: int = Field(
        ge=1, description="Size of a face on a canvas in pixels from which landmarks are exact."
    )
    glance_canvas: CanvasSide = Field(
        description="That on which an uncertain place is looked at once more, enlarged."
    )
    seen_from: float = Field(
        gt=0, lt=1, description="Confidence from which a place is looked at once more."
    )
    sure_from: float = Field(
        gt=0, lt=1, description="Confidence from which a clear face needs no second glance."
    )


class FinderDescription(BaseModel):
    """The content of ``finder.json``; its bytes give the finder's hash."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Name of the finder.")
    version: int = Field(ge=1, description="Version of the finder.")
    licence: str = Field(description="SPDX identifier of the licence of the weights.")
    origin: str = Field(description="Where the weights are from, with the hash of that file.")
    small_canvas: int = Field(
        multiple_of=32, ge=64, description="Side in pixels of the canvas for small pictures."
    )
    small_up_to: int = Field(
        ge=1, description="Longer side in pixels up to which a picture is small."
    )
    canvas: int = Field(multiple_of=32, ge=64, description="Canvas of larger pictures.")
    fine_canvas: int = Field(
        multiple_of=32, ge=64, description="Canvas where nothing was found on the first."
    )
    found_from: float = Field(
        gt=0, lt=1, description="Confidence from which a place is called a face."
    )
    overlap: float = Field(
        gt=0, le=1, description="Intersection over union from which two boxes are one face."
    )
    closer: CloserLooks | None = Field(
        None, description="How it looks once more; null where one look settles it."
    )
    replaces: tuple[str, ...] = Field(
        (),
        description="Finders whose faces it gives, too, so that models which were made with them "
        "may be given its faces.",
    )
    precisions: tuple[Precision, ...] = Field(
        ("fp32",), description="Precisions that were seen to find the same faces."
    )
    files: dict[FileName, str] = Field(description="sha256 of each file of the finder, by name.")


@dataclass(frozen=True, slots=True)
class Finder(HashedFolder[FinderDescription]):
    """A finder on disk whose description, ``finder.json``, was read."""


def read_finder(folder: Path = DEFAULT_FINDER) -> Finder:
    """Read a finder's description.

    Raises:
        ModelError: there is none, or it is not one of a version that is understood here.
    """
    return Finder(folder, *read_described(folder / FINDER_FILE, FinderDescription, "face finder"))

"""A face finder on disk: a network with its origin, licence, canvases and thresholds, by hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deepfake_core.errors import ModelError
from deepfake_core.models.bundle import FileName, Precision, file_digest

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
class Finder:
    """A finder on disk whose description was read; files are verified as they are loaded.

    Attributes:
        folder: where its files are.
        description: the content of ``finder.json``.
        digest: sha256 of the bytes of ``finder.json``, which names the hash of every file.
    """

    folder: Path
    description: FinderDescription
    digest: str

    @property
    def finder_id(self) -> str:
        """``name@version+hash8``."""
        return f"{self.description.name}@{self.description.version}+{self.digest[:8]}"

    def verified(self, name: str) -> Path:
        """The path of one of the finder's files after its hash was checked.

        Raises:
            ModelError: the file is missing, unknown, or not what the hash says.
        """
        path, expected = self.folder / name, self.description.files.get(name)
        if expected is None or not path.is_file():
            raise ModelError(
                f"the face finder {self.finder_id} lacks {name} in {self.folder}; "
                "restore the folder"
            )
        found = file_digest(path)
        if found != expected:
            raise ModelError(
                f"{path} of the face finder has the sha256 {found[:12]}…, {FINDER_FILE} says "
                f"{expected[:12]}…; it was changed or damaged, restore it"
            )
        return path


def read_finder(folder: Path = DEFAULT_FINDER) -> Finder:
    """Read a finder's description.

    Raises:
        ModelError: there is none, or it is not one of a version that is understood here.
    """
    path = folder / FINDER_FILE
    try:
        data = path.read_bytes()
        description = FinderDescription.model_validate_json(data)
    except OSError as error:
        raise ModelError(f"no face finder in {folder}: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{path} is not a face finder: {where}: {first['msg']}") from error
    return Finder(folder, description, hashlib.sha256(data).hexdigest())

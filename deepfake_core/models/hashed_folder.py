"""A folder of a model's files, which one description names with their hashes."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from deepfake_core.errors import ModelError
from deepfake_core.files import write_whole

# In the folder itself, and in none below or above it.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]
_Model = TypeVar("_Model", bound=BaseModel)


class Described(Protocol):
    """What a description has in any case."""

    @property
    def name(self) -> str:
        """Name of the model."""
        ...

    @property
    def version(self) -> int:
        """Version of the model."""
        ...

    @property
    def files(self) -> Mapping[str, str]:
        """sha256 of each file, by name."""
        ...


D = TypeVar("D", bound=Described, covariant=True)


@dataclass(frozen=True, slots=True)
class HashedFolder(Generic[D]):
    """A model on disk whose description was read; its files are verified as they are loaded.

    Attributes:
        folder: where its files are.
        description: the content of the file that describes it.
        digest: sha256 of the bytes of that file, which names the hash of every other.
    """

    folder: Path
    description: D
    digest: str

    @property
    def model_id(self) -> str:
        """``name@version+hash8``."""
        return f"{self.description.name}@{self.description.version}+{self.digest[:8]}"

    def verified(self, name: str) -> Path:
        """The path of one of its files after its hash was checked.

        Raises:
            ModelError: the file is missing, unknown, or not what the hash says.
        """
        path, expected = self.folder / name, self.description.files.get(name)
        if expected is None or not path.is_file():
            raise ModelError(f"{self.model_id} lacks {name} in {self.folder}; restore the folder")
        digest = file_digest(path)
        if digest != expected:
            raise ModelError(
                f"{path} has the sha256 {digest[:12]}…, the description of {self.model_id} says "
                f"{expected[:12]}…; it was changed or damaged, restore it"
            )
        return path

    def verify(self) -> None:
        """Check the hash of every file; raises ModelError."""
        for name in self.description.files:
            self.verified(name)

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of one of its ``.npz`` files, as they are stored.

        Raises:
            ModelError: the file is missing, damaged, or not what the hash says.
        """
        path = self.verified(name)
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                return dict(stored)
        # What needs pickle, which could run anything, is a ValueError; what is not an archive lacks
        # the methods of one.
        except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
            raise ModelError(f"{path} cannot be read as weights: {error}") from error


# A version of a model, of whichever kind.
Version = HashedFolder[Described]


def file_digest(path: Path) -> str:
    """The sha256 of a file as hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_digests(folder: Path, *, but: Collection[str]) -> dict[str, str]:
    """sha256 of each file in a folder, by name, but for some; folders in it do not count."""
    paths = sorted(path for path in folder.iterdir() if path.is_file() and path.name not in but)
    return {path.name: file_digest(path) for path in paths}


def read_described(path: Path, model: type[_Model], what: str) -> tuple[_Model, str]:
    """Read a description.

    Args:
        path: of the JSON file.
        model: its shape.
        what: it describes, for people.

    Returns:
        The description, and the sha256 of the file's bytes.

    Raises:
        ModelError: there is none, or it is not one of a version that is understood here.
    """
    try:
        data = path.read_bytes()
        return model.model_validate_json(data), hashlib.sha256(data).hexdigest()
    except OSError as error:
        raise ModelError(f"no {what} in {path.parent}: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{path} is not a {what}: {where}: {first['msg']}") from error


def write_described(path: Path, content: BaseModel) -> None:
    """Write a description at once."""
    write_whole(path, (content.model_dump_json(indent=1) + "\n").encode())
